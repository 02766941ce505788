"""How a video feels, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.squares import squares_clip
from vmm_cli.analysis.sentiment.evidence import EMOTIONS
from vmm_cli.errors import OutputError
from vmm_cli.media.video import Video
from vmm_cli.output.png import save_png
from vmm_cli.pictures.sentiment_plot import (
    CURVE_HEIGHT,
    EMOTION_COLOURS,
    LANE_GAP,
    LANE_HEIGHT,
    NEGATIVE,
    POSITIVE,
    draw_sentiment,
)
from vmm_cli.pictures.time_picture import (
    BACKGROUND,
    GUTTER_WIDTH,
    MARGIN,
    PICTURE_HEIGHT,
    TEXT_HEIGHT,
    TRACK,
    WIDTH,
)

LEFT = MARGIN + GUTTER_WIDTH
LENGTH = WIDTH - MARGIN - LEFT
TOP = MARGIN + 2 * TEXT_HEIGHT
FIRST_LANE = TOP + CURVE_HEIGHT + LANE_GAP
LANE = LANE_HEIGHT + LANE_GAP

REASONS = {"face": "no_face", "voice": "no_speech", "text": "no_text"}


def point(
    time_s: float,
    valence: float,
    *,
    confidence: float | None = 0.5,
    emotion: str | None = "neutral",
    evidence: dict[str, float] | None = None,
    faces: int = 0,
) -> dict[str, Any]:
    return {
        "time_s": time_s,
        "valence": valence,
        "confidence": confidence,
        "emotions": {} if emotion is None else {emotion: 0.8, "neutral": 0.2},
        "evidence": {"face": 0.5} if evidence is None else evidence,
        "faces": faces,
    }


def recorded(
    duration_s: float, curve: Sequence[dict[str, Any]], peaks: Sequence[float] = ()
) -> dict[str, Any]:
    """A record with peaks at some of the times of its curve."""
    values = [one["valence"] for one in curve]
    used = list(dict.fromkeys(kind for one in curve for kind in one["evidence"]))
    return {
        "duration_s": duration_s,
        "experts": {kind: {"model": kind, "version": 1, "calibrated": False} for kind in used},
        "evidence": used,
        "missing": {
            kind: {"code": code, "message": code}
            for kind, code in REASONS.items()
            if kind not in used
        },
        "curve": list(curve),
        "summary": {
            "valence": float(np.mean(values)) if values else None,
            "min": min(values, default=None),
            "max": max(values, default=None),
            "peaks": [
                {"time_s": one["time_s"], "valence": one["valence"]}
                for one in curve
                if one["time_s"] in peaks
            ],
            "dominant": "neutral" if values else None,
            "covered": 0.5 if values else 0.0,
        },
    }


def drawn(
    path: Path, record: dict[str, Any], target: Path, every_s: float = 1, **window: Fraction
) -> np.ndarray:
    image = draw_sentiment(Video(path, **window), record, every_s=every_s)
    save_png(image, target)
    with Image.open(target) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def column(share: float) -> int:
    """A column of pixels, by how much of the time has passed."""
    return LEFT + round(share * LENGTH)


def coloured(picture: np.ndarray, share: float, colour: Sequence[int]) -> np.ndarray:
    """The rows of the curve's panel in which a column has more of a colour than of grey."""
    panel = picture[TOP : TOP + CURVE_HEIGHT, column(share)]
    strongest, weakest = int(np.argmax(colour)), int(np.argmin(colour))
    return np.flatnonzero(panel[:, strongest] - panel[:, weakest] > 5)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=4)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares_clip(
        tmp_path_factory.mktemp("sound") / "clip.m4a", seconds=4, picture=False, sound=True
    )


def test_the_curve_is_above_the_middle_or_below_by_its_sign(sound: Path, tmp_path: Path) -> None:
    record = recorded(4, [point(0.5, 0.5), point(1.5, 0.5), point(3.5, -1.0)])
    picture = drawn(sound, record, tmp_path / "a.png")
    middle = CURVE_HEIGHT / 2
    above = coloured(picture, 0.1, POSITIVE)
    assert above.min() == pytest.approx(middle / 2, abs=6)
    assert above.max() == pytest.approx(middle, abs=2)
    below = coloured(picture, 0.9, NEGATIVE)
    assert below.min() == pytest.approx(middle, abs=2)
    assert below.max() == pytest.approx(CURVE_HEIGHT, abs=9)
    for colour in (POSITIVE, NEGATIVE):
        assert not len(coloured(picture, 0.6, colour)), "nothing is known from 2 s to 3 s"


def test_a_curve_runs_straight_from_point_to_point(sound: Path, tmp_path: Path) -> None:
    record = recorded(4, [point(i + 0.5, i / 3) for i in range(4)])
    picture = drawn(sound, record, tmp_path / "a.png")
    heights = [
        CURVE_HEIGHT / 2 - coloured(picture, (time + 0.03) / 4, POSITIVE).min()
        for time in (1, 1.5, 2, 2.5, 3)
    ]
    assert np.diff(heights) == pytest.approx(np.diff(heights).mean(), abs=2)


def test_what_is_surer_is_stronger(sound: Path, tmp_path: Path) -> None:
    curve = [point(0.5, 0.8, confidence=0.1), point(2.5, 0.8, confidence=0.9)]
    picture = drawn(sound, recorded(4, curve), tmp_path / "a.png")
    row = TOP + CURVE_HEIGHT // 4
    weak, strong = picture[row, column(0.1)], picture[row, column(0.6)]
    assert strong.sum() > weak.sum() + 50
    assert weak.sum() > sum(BACKGROUND)
    unmeasured = drawn(sound, recorded(4, [point(0.5, 0.8, confidence=None)]), tmp_path / "b.png")
    assert unmeasured[row, column(0.1)].sum() > strong.sum()


def test_lanes_say_what_counts_and_what_is_missing(sound: Path, tmp_path: Path) -> None:
    curve = [
        point(0.5, 0.1, evidence={"face": 0.9, "voice": 0.1}, emotion="happiness"),
        point(1.5, 0.1, evidence={"face": 0.2, "voice": 0.1}, emotion=None),
        point(3.5, 0.1, evidence={"voice": 0.1}, emotion="anger"),
    ]
    picture = drawn(sound, recorded(4, curve), tmp_path / "a.png")
    emotion, face, voice, text = (picture[FIRST_LANE + i * LANE + 3] for i in range(4))
    assert tuple(emotion[column(0.2)]) == EMOTION_COLOURS["happiness"]
    assert tuple(emotion[column(0.4)]) == TRACK
    assert tuple(emotion[column(0.9)]) == EMOTION_COLOURS["anger"]
    assert face[column(0.1)].sum() > face[column(0.4)].sum() > sum(TRACK)
    assert tuple(face[column(0.6)]) == tuple(face[column(0.9)]) == TRACK
    assert tuple(voice[column(0.9)]) == tuple(voice[column(0.1)]) != TRACK
    assert (text[column(0.3) : column(0.9)] == TRACK).all()
    said = picture[FIRST_LANE + 3 * LANE :][:LANE_HEIGHT, LEFT : column(0.2)]
    assert (said > 150).any(), "the reason stands in the lane"


def test_nobody_asked_has_no_lane(sound: Path, tmp_path: Path) -> None:
    record = recorded(4, [point(0.5, 0.1)])
    all_asked = drawn(sound, record, tmp_path / "a.png")
    del record["missing"]["text"], record["missing"]["voice"]
    assert all_asked.shape[0] - drawn(sound, record, tmp_path / "b.png").shape[0] == 2 * LANE


def test_faces_have_a_lane_as_high_as_they_are_many(sound: Path, tmp_path: Path) -> None:
    curve = [point(i + 0.5, 0.1, faces=faces) for i, faces in enumerate((0, 1, 2, 4))]
    picture = drawn(sound, recorded(4, curve), tmp_path / "a.png")
    lane = picture[FIRST_LANE + 4 * LANE :][:LANE_HEIGHT]
    for share, faces in ((0.1, 0), (0.4, 1), (0.6, 2), (0.9, 4)):
        filled = int((lane[:, column(share)] != TRACK).any(axis=1).sum())
        assert filled == pytest.approx(LANE_HEIGHT * faces / 4, abs=1.5)


def test_pictures_show_the_peaks(clip: Path, sound: Path, tmp_path: Path) -> None:
    record = recorded(4, [point(i + 0.5, (-0.5) ** i) for i in range(4)], peaks=[0.5, 3.5])
    seen = drawn(clip, record, tmp_path / "a.png")
    heard = drawn(sound, record, tmp_path / "b.png")
    assert seen.shape[0] - heard.shape[0] == PICTURE_HEIGHT
    below = seen[FIRST_LANE + 4 * LANE :]
    yellow = (below[..., 0] > 180) & (below[..., 2] < 110)
    places = np.flatnonzero(yellow.any(axis=0))
    assert places.min() < column(0.3), "the square, at the first peak"
    assert places.max() > column(0.7), "and at the last one"
    assert not yellow[:, column(0.3) : column(0.7)].any()


def test_the_furthest_point_is_marked_beside_the_peaks(clip: Path, tmp_path: Path) -> None:
    for peaks, pictures in (([], 1), ([0.5], 2), ([0.5, 3.5], 2)):
        record = recorded(4, [point(0.5, 0.1), point(3.5, -0.2)], peaks)
        below = drawn(clip, record, tmp_path / "a.png")[FIRST_LANE + 4 * LANE :]
        yellow = (below[..., 0] > 180) & (below[..., 2] < 110)
        assert yellow[:, column(0.7) :].any()
        assert yellow[:, : column(0.3)].any() == (pictures == 2)


def test_what_a_title_alone_says_is_not_marked(clip: Path, tmp_path: Path) -> None:
    for counts, confidence, pictures in ((0.19, 0.19, 0), (0.9, 0.1, 1), (0.1, None, 1)):
        of = {"face": counts}
        record = recorded(4, [point(0.5, 0.1, confidence=confidence, evidence=of)])
        below = drawn(clip, record, tmp_path / "a.png")[FIRST_LANE + 4 * LANE :]
        assert ((below[..., 0] > 180) & (below[..., 2] < 110)).any() == bool(pictures)


def test_nothing_to_go_on_is_said(clip: Path, tmp_path: Path) -> None:
    picture = drawn(clip, recorded(4, []), tmp_path / "a.png")
    assert picture.shape[0] == FIRST_LANE + 3 * LANE + 2 * TEXT_HEIGHT + MARGIN
    for colour in (POSITIVE, NEGATIVE):
        assert not len(coloured(picture, 0.3, colour))
    panel = picture[TOP : TOP + CURVE_HEIGHT // 2, column(0.45) : column(0.55)]
    assert (panel > 200).any(), "the words"


def test_one_point_of_hours_is_seen(sound: Path, tmp_path: Path) -> None:
    record = recorded(3 * 3600, [point(7000.5, 0.4)])
    picture = drawn(sound, record, tmp_path / "a.png")
    share = 7000.5 / (3 * 3600)
    assert len(coloured(picture, share, POSITIVE))
    lanes = picture[FIRST_LANE + LANE + 3, LEFT : LEFT + LENGTH]
    assert (lanes != TRACK).any(axis=1).sum() >= 3


def test_no_peak_of_hours_is_lost(sound: Path, tmp_path: Path) -> None:
    curve = [point(i + 0.5, 0.9 if i == 5000 else 0.0) for i in range(10_000)]
    picture = drawn(sound, recorded(10_000, curve), tmp_path / "a.png")
    columns = [coloured(picture, i / LENGTH, POSITIVE) for i in range(LENGTH)]
    highest = min(int(rows.min()) for rows in columns if len(rows))
    assert highest == pytest.approx(CURVE_HEIGHT * 0.05, abs=8)


def test_only_the_wanted_range_is_drawn(sound: Path, tmp_path: Path) -> None:
    record = recorded(4, [point(2.25, 0.5), point(2.75, 0.5)])
    picture = drawn(
        sound, record, tmp_path / "a.png", every_s=0.5, start=Fraction(2), end=Fraction(4)
    )
    assert len(coloured(picture, 0.1, POSITIVE))
    assert len(coloured(picture, 0.45, POSITIVE))
    assert not len(coloured(picture, 0.55, POSITIVE))


def test_the_last_step_ends_with_the_video(sound: Path, tmp_path: Path) -> None:
    record = recorded(2.5, [point(0.5, 0.5), point(2.25, 0.5)])
    picture = drawn(sound, record, tmp_path / "a.png")
    assert len(coloured(picture, 0.39, POSITIVE))
    assert not len(coloured(picture, 0.6, POSITIVE))
    assert len(coloured(picture, 0.81, POSITIVE))


@pytest.mark.parametrize("emotion", ["x" * 300, "\x1b[2J", "скука", "退屈", "a\nb", "$x$", ""])
def test_a_model_has_words_of_its_own(sound: Path, tmp_path: Path, emotion: str) -> None:
    record = recorded(4, [point(0.5, 0.1, emotion=emotion, evidence={"image": 0.4})])
    record["summary"]["dominant"] = emotion
    del record["experts"]
    picture = drawn(sound, record, tmp_path / "a.png")
    lane = picture[FIRST_LANE + 3]
    assert tuple(lane[column(0.2)]) in EMOTION_COLOURS.values()
    assert (picture[:, WIDTH - MARGIN + 1 :] == BACKGROUND).all()


def test_each_emotion_has_a_colour() -> None:
    assert {*EMOTION_COLOURS} == {*EMOTIONS}


def test_a_long_file_name_leaves_room_for_what_was_found(tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / f"{'n' * 200}.mp4")
    picture = drawn(clip, recorded(1, [point(0.5, 0.1)]), tmp_path / "a.png")
    assert (picture[: MARGIN + TEXT_HEIGHT, WIDTH - MARGIN :] == BACKGROUND).all()


def test_what_cannot_be_written_is_said(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        drawn(clip, recorded(4, []), tmp_path / "no" / "a.png")
