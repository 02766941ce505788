from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vmm_cli import bundles
from vmm_cli.errors import ModelError
from vmm_cli.features.boxes import overlap
from vmm_cli.features.encoder import Compute
from vmm_cli.features.object_networks import detector
from vmm_cli.features.objects import (
    BOX,
    COLUMNS,
    LABEL,
    LEAST_SCORE,
    MOST_OBJECTS,
    MOST_SHARED,
    SCORE,
    ObjectPictures,
    Placed,
    check_objects,
    letterboxed,
    object_compute,
    objects_in,
)
from vmm_cli.media.sampling import every
from vmm_cli.networks.pretrained.shapes import CANDIDATES, OBJECT_SIDE, OBJECT_STEP

pytestmark = pytest.mark.usefixtures("one_thread")

SHOWN = 0.45  # from here on a find is worth telling
SIDES = st.one_of(st.sampled_from([1, 2, 3, 1500]), st.integers(1, 600))


@pytest.fixture(scope="module")
def model() -> bundles.Bundle:
    return bundles.load("objects")


def computing(model: bundles.Bundle, engine: str) -> Compute:
    object_compute.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VMM_ENGINE", engine)
        return object_compute(model.folder, model.digest, "cpu")


@pytest.fixture(scope="module", params=["onnxruntime", "torch"])
def compute(model: bundles.Bundle, request: pytest.FixtureRequest) -> Compute:
    return computing(model, request.param)


def found_in(compute: Compute, image: np.ndarray) -> np.ndarray:
    frame, place = letterboxed(image)
    return objects_in(compute.run(frame[None]).reshape(-1, 6), place)


# --- the model ------------------------------------------------------------------------------------


def test_the_bundle_says_what_it_is(model: bundles.Bundle) -> None:
    assert (model.task, model.streams, len(model.labels)) == ("objects", ("objects",), 80)
    assert model.labels[0] == "person" and model.labels[-1] == "toothbrush"
    assert model.thresholds["score"] == SHOWN
    assert sum(file.stat().st_size for file in model.folder.iterdir()) < 20e6
    assert "Apache License" in (model.folder / "NOTICE").read_text()
    assert "nanodet" in (model.folder / "CARD.md").read_text()


def test_another_model_is_refused(model: bundles.Bundle) -> None:
    with pytest.raises(ModelError, match="finds no objects; the one that vmm carries is called"):
        check_objects(bundles.load("imagenet"))
    with pytest.raises(ModelError, match="cannot run"):
        check_objects(replace(model, labels=model.labels[:3]))
    with pytest.raises(ModelError, match="changed while it was in use"):
        object_compute(model.folder, "0" * 64, "cpu")
    tensors = bundles.load_tensors(model)
    del tensors["heads.2.1.bias"]
    with pytest.raises(ModelError, match=r"heads\.2\.1\.bias"):
        detector(tensors, "broken")


# --- frames ---------------------------------------------------------------------------------------


@given(SIDES, SIDES)
@settings(max_examples=40)
def test_a_picture_lies_in_the_middle_of_its_frame(width: int, height: int) -> None:
    frame, place = letterboxed(np.full((height, width, 3), 255, np.uint8))
    rows = slice(place.top, place.top + place.height)
    columns = slice(place.left, place.left + place.width)
    assert (frame[rows, columns] == 255).all()
    assert int((frame == 255).sum()) == place.width * place.height * 3
    assert ((frame == 255) | (frame == (124, 116, 104))).all()
    high, wide, _ = frame.shape
    assert max(place.width, place.height) == max(high, wide) == OBJECT_SIDE
    assert high % OBJECT_STEP == wide % OBJECT_STEP == 0
    assert (2 * place.left + place.width, 2 * place.top + place.height) == (wide, high)
    for side, length in ((wide, place.width), (high, place.height)):
        assert side == OBJECT_SIDE or 16 <= side - length < 16 + OBJECT_STEP
    aspect = min(place.width, place.height) - OBJECT_SIDE * min(width, height) / max(width, height)
    assert abs(aspect) <= 2  # sizes are even, and at least 2


@pytest.mark.parametrize(
    ("picture", "frame"),
    [
        ((720, 1280), (256, 416)),
        ((1280, 720), (416, 256)),
        ((480, 640), (352, 416)),
        ((500, 500), (416, 416)),
        ((408, 416), (416, 416)),
        ((2, 2000), (32, 416)),
    ],
)
def test_a_frame_is_no_larger_than_it_must_be(
    picture: tuple[int, int], frame: tuple[int, int]
) -> None:
    assert letterboxed(np.zeros((*picture, 3), np.uint8))[0].shape == (*frame, 3)


def test_what_decoders_have_scaled_stays_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (234, OBJECT_SIDE, 3), np.uint8)
    frame, place = letterboxed(image)
    assert place == Placed(0, 11, OBJECT_SIDE, 234)
    assert np.array_equal(frame[11 : 11 + 234], image)


@given(SIDES, SIDES, st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_boxes_go_back_to_where_they_are(width: int, height: int, seed: int) -> None:
    """A box drawn in shares of a picture, seen in the frame, comes back as it was drawn."""
    _, place = letterboxed(np.zeros((height, width, 3), np.uint8))
    draw = np.random.default_rng(seed)
    corners = np.sort(draw.uniform(0, 1, (2, 2)), axis=0)  # left, top; right, bottom
    origin, sides = np.array([place.left, place.top]), np.array([place.width, place.height])
    candidates = np.zeros((CANDIDATES, 6), np.float32)
    candidates[0] = [*(corners * sides + origin).ravel(), 0.9, 7]
    (row,) = objects_in(candidates, place)
    assert (row[LABEL], row[SCORE]) == (7, np.float32(0.9))
    wanted = [*corners[0], *(corners[1] - corners[0])]
    np.testing.assert_allclose(row[BOX], wanted, atol=1e-3 / min(sides) + 1e-6)


# --- candidates and objects -----------------------------------------------------------------------


def candidates_of(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 6)


WHOLE = Placed(0, 0, OBJECT_SIDE, OBJECT_SIDE)


def test_of_boxes_of_one_kind_that_cover_each_other_the_best_stays() -> None:
    found = objects_in(
        candidates_of(
            [0, 0, 208, 208, 0.8, 2],
            [4, 0, 208, 208, 0.9, 2],  # covers the first
            [0, 4, 208, 208, 0.7, 3],  # of another kind
            [300, 300, 400, 400, 0.3, 2],
        ),
        WHOLE,
    )
    assert found[:, LABEL].tolist() == [2, 3, 2]
    np.testing.assert_allclose(found[:, SCORE], [0.9, 0.7, 0.3], atol=1e-6)
    np.testing.assert_allclose(found[0, BOX], [4 / 416, 0, 204 / 416, 0.5], atol=1e-6)


def test_boxes_end_where_the_picture_does() -> None:
    place = Placed(0, 104, 416, 208)
    found = objects_in(
        candidates_of(
            [-50, 50, 208, 500, 0.9, 0], [0, 0, 416, 100, 0.8, 0]
        ),  # the second: above it
        place,
    )
    np.testing.assert_allclose(found[:, BOX], [[0, 0, 0.5, 1]], atol=1e-6)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_what_is_told_is_sorted_apart_and_within(seed: int) -> None:
    draw = np.random.default_rng(seed)
    corners = np.sort(draw.uniform(-100, 516, (CANDIDATES, 2, 2)), axis=1).reshape(-1, 4)
    scores = draw.uniform(0, 1, (CANDIDATES, 1))
    kinds = draw.integers(0, 3, (CANDIDATES, 1))
    found = objects_in(np.hstack([corners, scores, kinds]).astype(np.float32), WHOLE)
    assert found.dtype == np.float32 and found.shape[1] == len(COLUMNS)
    assert len(found) <= MOST_OBJECTS
    assert (np.diff(found[:, SCORE]) <= 0).all() and (found[:, SCORE] >= LEAST_SCORE).all()
    x, y, w, h = found[:, BOX].T
    assert (w > 0).all() and (h > 0).all()
    assert min(x.min(), y.min()) >= 0 and max((x + w).max(), (y + h).max()) <= 1 + 1e-6


def test_nothing_is_found_where_no_candidate_is_likely() -> None:
    found = objects_in(np.zeros((CANDIDATES, 6), np.float32), WHOLE)
    assert found.shape == (0, 6)


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(272, 640), (1, 1), (3, 2000), (2000, 3)])
def test_a_black_picture_has_nothing_worth_telling(
    compute: Compute, shape: tuple[int, int]
) -> None:
    found = found_in(compute, np.zeros((*shape, 3), np.uint8))
    assert not (found[:, SCORE] >= SHOWN).any()


def alike(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Compare the candidates of some pictures, of which there must be something to suppress."""
    assert ours.shape == theirs.shape and ours.shape[1] == CANDIDATES * 6
    for one, other in zip(ours.reshape(-1, 300, 6), theirs.reshape(-1, 300, 6), strict=True):
        np.testing.assert_allclose(one[:, 4], other[:, 4], rtol=0, atol=1e-5)
        likely = one[(one[:, 4] >= LEAST_SCORE) & (one[:, 4] > one[-1, 4] + 1e-5)]
        # Those of nearly one score may come in another order.
        apart = np.abs(likely[:, None] - other).max(axis=2).min(axis=1)
        assert apart.max() < 2e-3
        assert overlap(likely[:, :4]).max() > MOST_SHARED


def test_the_graph_gives_what_pytorch_gives(model: bundles.Bundle, bikes: Path) -> None:
    from vmm_cli.features.objects import PICTURE_SIZE
    from vmm_cli.media.frames import FrameRequest, iter_frames

    request = FrameRequest("objects", every(4), PICTURE_SIZE)
    pictures = [frame.image for frame in iter_frames(bikes, [request])]
    upright = [np.rot90(picture) for picture in pictures]
    graph, network = (computing(model, engine) for engine in ("onnxruntime", "torch"))
    for images in (pictures, upright, pictures):  # of two shapes, in turns
        frames = np.stack([letterboxed(image)[0] for image in images])
        alike(graph.run(frames), network.run(frames))


def test_a_picture_is_judged_alone(compute: Compute) -> None:
    draw = np.random.default_rng(0)
    squares = draw.integers(0, 256, (3, OBJECT_SIDE, OBJECT_SIDE, 3), np.uint8)
    alone = np.concatenate([compute.run(square[None]) for square in squares])
    scores = compute.run(squares).reshape(3, CANDIDATES, 6)[..., 4]
    np.testing.assert_allclose(scores, alone.reshape(3, CANDIDATES, 6)[..., 4], atol=1e-5)


def test_the_loader_hands_on_batches_and_gives_sets(compute: Compute) -> None:
    loader = ObjectPictures(every(1), 2)
    draw = np.random.default_rng(1)
    yielded: list[np.ndarray] = []
    for second, shape in enumerate([(100, 200), (50, 100), (100, 200), (200, 100)]):
        image = draw.integers(0, 256, (*shape, 3), np.uint8)
        yielded += loader.take("objects", float(second), image)
    yielded += loader.finish(4.0)
    shapes = [images.shape for images in yielded]
    assert shapes == [(2, 224, 416, 3), (1, 224, 416, 3), (1, 416, 224, 3)]
    (track,) = loader.tracks([compute.run(images) for images in yielded], compute.width)
    assert track.times.tolist() == [0, 1, 2, 3] and track.columns == COLUMNS
    (empty,) = ObjectPictures(every(1), 2).tracks([], compute.width)
    assert len(empty) == 0


# --- real pictures --------------------------------------------------------------------------------


def test_large_objects_of_real_pictures_are_found(
    model: bundles.Bundle, vmm_data: Path, one_thread: None
) -> None:
    folder = vmm_data / "pictures"
    document = json.loads((folder / "instances.json").read_text())
    names = {one["id"]: one["name"] for one in document["categories"]}
    compute = computing(model, "onnxruntime")
    there = found = 0
    for image in document["images"][:24]:
        size = image["width"], image["height"]
        large = [
            one
            for one in document["annotations"]
            if one["image_id"] == image["id"] and one["area"] > 0.1 * size[0] * size[1]
        ]
        with Image.open(folder / "images" / image["file_name"]) as picture:
            rows = found_in(compute, np.asarray(picture.convert("RGB")))
        scale = np.array([*size, *size])
        boxes = rows[:, BOX] * scale
        for one in large:
            of_kind = boxes[rows[:, LABEL] == model.labels.index(names[one["category_id"]])]
            whole = np.array([one["bbox"], *of_kind.tolist()], np.float32)
            corners = np.concatenate([whole[:, :2], whole[:, :2] + whole[:, 2:]], axis=1)
            there += 1
            found += overlap(corners)[0, 1:].max(initial=0) >= 0.5
    assert there >= 8
    assert found / there > 0.7


@pytest.mark.slow
def test_accuracy_is_as_it_was_measured(vmm_data: Path) -> None:
    pytest.importorskip("pycocotools", reason="pycocotools, of the group bench, is not installed")
    from benchmarks.objects import accuracy

    measured = accuracy(vmm_data / "pictures")
    assert measured["objects: mAP"] >= 0.26
    assert measured["objects: AP50 of people"] >= 0.58
    assert measured["poses: OKS AP of people that are found"] >= 0.38
