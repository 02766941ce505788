from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmm_cli import bundles
from vmm_cli.errors import ModelError
from vmm_cli.features.encoder import Compute
from vmm_cli.features.object_networks import pose_network
from vmm_cli.features.poses import (
    COLUMNS,
    LEAST_SCORE,
    MARGIN,
    WIDTH,
    Square,
    check_poses,
    cut_out,
    people_in,
    points_in,
    pose_compute,
    pose_spec,
    poses_of,
    square_about,
)
from vmm_cli.networks.pretrained.shapes import POINTS, POSE_SIDE

pytestmark = pytest.mark.usefixtures("one_thread")

SIDES = st.one_of(st.sampled_from([1, 2, 3, 1500]), st.integers(1, 500))
PERSON = 0


@pytest.fixture(scope="module")
def model() -> bundles.Bundle:
    return bundles.load("pose")


def computing(model: bundles.Bundle, engine: str) -> Compute:
    pose_compute.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VMM_ENGINE", engine)
        return pose_compute(model.folder, model.digest, "cpu")


@pytest.fixture(scope="module", params=["onnxruntime", "torch"])
def compute(model: bundles.Bundle, request: pytest.FixtureRequest) -> Compute:
    return computing(model, request.param)


def person_row(score: float, *box: float, label: float = PERSON) -> np.ndarray:
    return np.array([label, score, *box], np.float32)


def test_the_bundle_says_what_it_is(model: bundles.Bundle) -> None:
    assert (model.task, model.streams, len(model.labels)) == ("poses", ("pose",), POINTS)
    assert (model.labels[0], model.labels[-1]) == ("nose", "right ankle")
    assert sum(file.stat().st_size for file in model.folder.iterdir()) < 20e6
    assert "Apache License" in (model.folder / "NOTICE").read_text()
    assert "MoveNet" in (model.folder / "CARD.md").read_text()


def test_another_model_is_refused(model: bundles.Bundle) -> None:
    with pytest.raises(ModelError, match="reads no poses; the one that vmm carries is called"):
        check_poses(bundles.load("objects"))
    with pytest.raises(ModelError, match="cannot run"):
        check_poses(replace(model, labels=model.labels[:3]))
    tensors = bundles.load_tensors(model)
    del tensors["heads.heat.1.bias"]
    with pytest.raises(ModelError, match=r"heads\.heat\.1\.bias"):
        pose_network(tensors, "broken")


def test_poses_hang_on_the_model_that_finds_people(model: bundles.Bundle) -> None:
    objects = bundles.load("objects")
    spec = pose_spec(model, objects)
    assert spec.digest != pose_spec(model, replace(objects, weights_digest="0" * 64)).digest
    assert spec.preprocess == {"margin": MARGIN, "score": LEAST_SCORE}


# --- squares --------------------------------------------------------------------------------------


@given(SIDES, SIDES, st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_a_person_lies_in_the_middle_of_the_square(width: int, height: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    left, right = np.sort(draw.uniform(0, 1, 2))
    top, bottom = np.sort(draw.uniform(0, 1, 2))
    box = np.array([left, top, right - left, bottom - top])
    square = square_about(box, width, height)
    longer = max((right - left) * width, (bottom - top) * height)
    assert abs(square.side - max(1, MARGIN * longer)) <= 0.5
    middle = np.array([square.left + square.side / 2, square.top + square.side / 2])
    there = np.array([(left + right) / 2 * width, (top + bottom) / 2 * height])
    assert np.abs(middle - there).max() <= 1
    image = np.full((height, width, 3), 200, np.uint8)
    cut = cut_out(image, square)
    assert cut.shape == (POSE_SIDE, POSE_SIDE, 3) and cut.dtype == np.uint8


def test_what_lies_beyond_the_picture_is_black() -> None:
    image = np.full((100, 50, 3), 200, np.uint8)
    cut = cut_out(image, Square(-50, 0, 100))
    assert (cut[:, : POSE_SIDE // 2 - 3] == 0).all()
    assert (cut[:, POSE_SIDE // 2 + 3 :] == 200).all()
    assert (cut_out(image, Square(-300, -300, 10)) == 0).all()  # all of it beyond
    image = np.random.default_rng(0).integers(0, 256, (POSE_SIDE, POSE_SIDE, 3), np.uint8)
    assert np.array_equal(cut_out(image, Square(0, 0, POSE_SIDE)), image)


@given(SIDES, SIDES, st.integers(-500, 500), st.integers(-500, 500), st.integers(1, 900))
@settings(max_examples=60)
def test_points_go_back_to_where_they_are(
    width: int, height: int, left: int, top: int, side: int
) -> None:
    """A point drawn in shares of a picture, seen in the square, comes back as it was drawn."""
    draw = np.random.default_rng(side)
    places = draw.uniform(-0.2, 1.2, (POINTS, 2))
    pixels = places * [width, height]
    seen = np.column_stack([(pixels - [left, top]) / side, draw.uniform(0, 1, POINTS)])
    found = points_in(seen.ravel(), Square(left, top, side), width, height)
    np.testing.assert_allclose(found[:, :2], places, atol=1e-5)
    np.testing.assert_allclose(found[:, 2], seen[:, 2], atol=1e-6)


# --- people and poses -----------------------------------------------------------------------------


def test_only_people_that_are_likely_are_read() -> None:
    rows = np.stack(
        [
            person_row(0.9, 0, 0, 1, 1, label=2),
            person_row(0.8, 0, 0, 1, 1),
            person_row(LEAST_SCORE - 0.01, 0, 0, 1, 1),
        ]
    )
    assert people_in(rows, PERSON).tolist() == [1]
    assert people_in(rows, 5).tolist() == []


def test_a_picture_without_people_asks_no_network() -> None:
    def never(images: np.ndarray) -> np.ndarray:
        raise AssertionError("asked")

    image = np.zeros((10, 10, 3), np.uint8)
    found = poses_of(Compute(never, WIDTH), image, np.empty((0, 6), np.float32), PERSON)
    assert found.shape == (0, len(COLUMNS))


@pytest.mark.parametrize("shape", [(1, 1), (2, 3000), (3000, 2), (480, 640)])
def test_pictures_of_any_shape_can_be_read(compute: Compute, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    rows = np.stack([person_row(0.9, 0, 0, 1, 1), person_row(0.5, 0.5, 0.5, 0.01, 0.01)])
    found = poses_of(compute, image, rows, PERSON)
    assert found.dtype == np.float32 and found.shape == (2, len(COLUMNS))
    assert found[:, 0].tolist() == [0, 1]
    scores = found[:, 3::3]
    assert np.isfinite(found).all() and (scores >= 0).all() and (scores <= 1).all()


def test_the_graph_gives_what_pytorch_gives(model: bundles.Bundle) -> None:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (3, POSE_SIDE, POSE_SIDE, 3), np.uint8)
    ours, theirs = (computing(model, engine).run(images) for engine in ("onnxruntime", "torch"))
    assert ours.shape == theirs.shape == (3, WIDTH)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)
    alone = np.concatenate([computing(model, "torch").run(image[None]) for image in images])
    np.testing.assert_allclose(alone, theirs, rtol=0, atol=1e-4)
