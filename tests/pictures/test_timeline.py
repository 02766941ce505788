"""What happens when, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.squares import squares_clip
from vmm_cli.errors import OutputError
from vmm_cli.media.video import Video
from vmm_cli.output.png import save_png
from vmm_cli.pictures.time_picture import (
    BACKGROUND,
    GUTTER_WIDTH,
    LEADER_HEIGHT,
    MARGIN,
    MAX_PICTURES,
    PICTURE_HEIGHT,
    TEXT_HEIGHT,
    TRACK,
    WIDTH,
)
from vmm_cli.pictures.timeline import (
    BAR_HEIGHT,
    COLOURS,
    CURVE_HEIGHT,
    FAINT,
    LANE_GAP,
    MAX_LANES,
    Lane,
    draw_timeline,
    peak_s,
)

LEFT = MARGIN + GUTTER_WIDTH
LENGTH = WIDTH - MARGIN - LEFT
FIRST_BAR = MARGIN + 2 * TEXT_HEIGHT + CURVE_HEIGHT
PLAIN_LANE = CURVE_HEIGHT + BAR_HEIGHT + LANE_GAP
PICTURE_ROW = LEADER_HEIGHT + PICTURE_HEIGHT + TEXT_HEIGHT

Segment = tuple[float, float, str, float]


def recorded(
    duration_s: float,
    *segments: Segment,
    times: Sequence[float] = (),
    curves: dict[str, list[float]] | None = None,
) -> dict[str, Any]:
    names = ("start_s", "end_s", "label", "score")
    return {
        "duration_s": duration_s,
        "model": {"name": "squares", "version": 1},
        "segments": [dict(zip(names, segment, strict=True)) for segment in segments],
        "curves": {"times_s": list(times), "labels": curves or {}},
    }


def test_labels_that_are_not_to_be_drawn_have_bars_and_no_pictures(
    tmp_path: Path, bikes: Path
) -> None:
    record = recorded(10.0, (2, 4, "explicit", 0.9), (6, 8, "safe", 0.8))
    plain = draw_timeline(Video(bikes), record)
    undrawn = draw_timeline(Video(bikes), record, undrawn=("explicit",))
    assert plain.height - undrawn.height >= PICTURE_ROW
    assert len(undrawn.getcolors(10**6) or ()) < 1000 < len(plain.getcolors(10**6) or ())


def drawn(path: Path, record: dict[str, Any], target: Path, **window: Fraction) -> np.ndarray:
    save_png(draw_timeline(Video(path, **window), record), target)
    with Image.open(target) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def column(share: float) -> int:
    return LEFT + round(LENGTH * share)


def is_bar(pixel: np.ndarray, colour: tuple[int, int, int]) -> bool:
    """Whether a pixel has a bar's colour, which is the stronger the higher the score."""
    faint = [FAINT * c + (1 - FAINT) * b for c, b in zip(colour, BACKGROUND, strict=True)]
    return bool(
        all(
            min(f, c) - 1 <= p <= max(f, c) + 1
            for p, f, c in zip(pixel, faint, colour, strict=True)
        )
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=4)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares_clip(
        tmp_path_factory.mktemp("sound") / "clip.m4a", seconds=4, picture=False, sound=True
    )


def test_bars_stand_where_segments_are(clip: Path, tmp_path: Path) -> None:
    record = recorded(4, (1, 2, "moving", 0.9), (3, 4, "moving", 0.6))
    row = drawn(clip, record, tmp_path / "a.png")[FIRST_BAR + 3]
    inside = [is_bar(row[column(share)], COLOURS[0]) for share in (0.26, 0.49, 0.76, 0.99)]
    assert all(inside)
    for share in (0.01, 0.24, 0.51, 0.74):
        assert tuple(row[column(share)]) == TRACK
    strong, weak = row[column(0.26)], row[column(0.76)]
    assert strong.sum() > weak.sum(), "a higher score is stronger"


def test_only_the_wanted_range_is_drawn(clip: Path, tmp_path: Path) -> None:
    record = recorded(4, (2, 3, "moving", 0.9))
    row = drawn(clip, record, tmp_path / "a.png", start=Fraction(2), end=Fraction(4))[FIRST_BAR + 3]
    assert is_bar(row[column(0.01)], COLOURS[0])
    assert is_bar(row[column(0.49)], COLOURS[0])
    assert tuple(row[column(0.51)]) == TRACK


def test_the_curve_is_as_high_as_the_score(sound: Path, tmp_path: Path) -> None:
    record = recorded(
        4, (0, 4, "tone", 0.9), times=(1.0, 3.0), curves={"tone": [0.25, 1.0], "other": [0, 0]}
    )
    picture = drawn(sound, record, tmp_path / "a.png")
    # Beside the lines at ticks
    for share, score in ((0.11, 0.25), (0.51, 0.64), (0.89, 1.0)):
        above = picture[FIRST_BAR - CURVE_HEIGHT : FIRST_BAR, column(share)]
        filled = int((above != BACKGROUND).any(axis=1).sum())
        assert filled == pytest.approx(score * CURVE_HEIGHT, abs=2)


def test_pictures_show_the_peaks_in_order(clip: Path, tmp_path: Path) -> None:
    times = [0.5, 1.5, 2.5, 3.5]
    record = recorded(
        4,
        (0, 1, "moving", 0.9),
        (3, 4, "moving", 0.8),
        times=times,
        curves={"moving": [0.9, 0.1, 0.1, 0.8]},
    )
    picture = drawn(clip, record, tmp_path / "a.png")
    top = FIRST_BAR + BAR_HEIGHT + LEADER_HEIGHT
    shown = picture[top : top + PICTURE_HEIGHT]
    width = PICTURE_HEIGHT * 4 // 3
    places = []
    for share in (1 / 8, 7 / 8):
        part = shown[:, column(share) - width // 2 :][:, :width]
        yellow = (part[..., 0] > 180) & (part[..., 2] < 110)
        assert yellow.any(), "the square"
        places.append(float(np.flatnonzero(yellow.any(axis=0)).mean()))
    assert places[0] != pytest.approx(places[1], abs=3), "each shows its own time"
    between = shown[:, column(0.4) : column(0.45)]
    assert (between == BACKGROUND).all()


def test_a_peak_is_where_the_score_is_highest() -> None:
    times, scores = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.9, 0.2, 0.7, 0.7])
    lane = Lane("a", [], times, scores)
    assert peak_s(lane, {"start_s": 1.5, "end_s": 5.5}) == 3.0, "of two the one near the middle"
    assert peak_s(lane, {"start_s": 0.0, "end_s": 5.0}) == 1.0
    assert peak_s(lane, {"start_s": 2.25, "end_s": 2.75}) == 2.5
    unknown = Lane("a", [], np.array([]), np.array([]))
    assert peak_s(unknown, {"start_s": 1.0, "end_s": 2.0}) == 1.5


def test_lanes_are_in_the_order_of_the_model(sound: Path, tmp_path: Path) -> None:
    record = recorded(
        4,
        (0, 1, "b", 0.9),
        (3, 4, "a", 0.9),
        times=(2.0,),
        curves={"a": [0.0], "silent": [0.9], "b": [0.0]},
    )
    picture = drawn(sound, record, tmp_path / "a.png")
    assert is_bar(picture[FIRST_BAR + 3, column(0.9)], COLOURS[0])
    assert is_bar(picture[FIRST_BAR + PLAIN_LANE + 3, column(0.1)], COLOURS[1])
    two_lanes = FIRST_BAR - CURVE_HEIGHT + 2 * PLAIN_LANE + 2 * TEXT_HEIGHT + MARGIN
    assert picture.shape[0] == two_lanes, "a label without segments has no lane"


def test_sound_alone_has_no_row_of_pictures(sound: Path, clip: Path, tmp_path: Path) -> None:
    record = recorded(4, (1, 2, "moving", 0.9))
    heard = drawn(sound, record, tmp_path / "a.png")
    seen = drawn(clip, record, tmp_path / "b.png")
    assert seen.shape[0] - heard.shape[0] == PICTURE_ROW


def test_where_nothing_is_found_the_nearest_are_shown(clip: Path, tmp_path: Path) -> None:
    curves = {f"label {i}": [0.01 * i, 0.02 * i] for i in range(20)}
    picture = drawn(clip, recorded(4, times=(1, 3), curves=curves), tmp_path / "a.png")
    assert picture.shape[0] == FIRST_BAR - CURVE_HEIGHT + 3 * PLAIN_LANE + 2 * TEXT_HEIGHT + MARGIN
    assert (picture[FIRST_BAR + 3, LEFT : LEFT + LENGTH] == TRACK).all()
    nothing = drawn(clip, recorded(4), tmp_path / "b.png")
    assert nothing.shape[1] == WIDTH


def test_of_many_labels_the_best_have_lanes_and_the_others_are_named(
    sound: Path, tmp_path: Path
) -> None:
    few, many = MAX_LANES, MAX_LANES + 8
    short = many - few  # of two that score the same the one that lasts longer has a lane
    at = [
        (0.2 * i, 0.2 * i + (0.05 if i == short else 0.1)) for i in range(many)
    ]  # each label has a time of its own

    def of(number: int) -> np.ndarray:
        # The first ones score least; of two that score the same the one that lasts longer counts.
        scores = [0.5 if i < many - few else 0.9 for i in range(number)]
        segments = [(*at[i], f"label {i}", scores[i]) for i in range(number)]
        segments.append((3.9, 4.0, "label 0", 0.9 if number == many else 0.5))
        return drawn(sound, recorded(4, *segments), tmp_path / f"{number}.png")

    all_shown, some = of(few), of(many)
    assert some.shape[0] == all_shown.shape[0] + TEXT_HEIGHT, "a line names the others"
    line = some[-MARGIN - 2 * TEXT_HEIGHT - TEXT_HEIGHT // 2 : -MARGIN - TEXT_HEIGHT * 3 // 2]
    assert (line != BACKGROUND).any()
    lanes = [0, *range(many - few + 1, many)]  # label 0 lasts longer than label 8
    for lane, label in enumerate(lanes):
        middle = sum(at[label]) / 2 / 4
        row = some[FIRST_BAR + lane * PLAIN_LANE + 3]
        assert is_bar(row[column(middle)], COLOURS[lane % len(COLOURS)]), label


def test_a_picture_is_bounded_whatever_it_shows(clip: Path, tmp_path: Path) -> None:
    hours = 8 * 3600.0
    labels = [f"label {i}" for i in range(70)]
    segments = [(i * 5.0, i * 5.0 + 4, labels[i % 70], i % 101 / 100) for i in range(5000)]
    times = np.arange(0, hours, 5).tolist()
    curves = {label: [0.5] * len(times) for label in labels}
    record = recorded(hours, *segments, times=times, curves=curves)
    picture = drawn(clip, record, tmp_path / "a.png")
    assert picture.shape[0] <= MAX_LANES * PLAIN_LANE + 8 * PICTURE_ROW + 200
    short = recorded(1, *((i / 5000, (i + 1) / 5000, "a", 0.5) for i in range(5000)))
    assert drawn(clip, short, tmp_path / "b.png").shape[0] < 400


def test_many_peaks_at_one_place_lie_side_by_side(clip: Path, tmp_path: Path) -> None:
    segments = [(3.9 + i / 100, 3.91 + i / 100, "moving", 0.9) for i in range(9)]
    picture = drawn(clip, recorded(4, *segments), tmp_path / "a.png")
    middle = FIRST_BAR + BAR_HEIGHT + LEADER_HEIGHT + PICTURE_HEIGHT // 2
    row = (picture[middle, LEFT:] != BACKGROUND).any(axis=1)
    beginnings = int((np.diff(row.astype(int)) == 1).sum())
    ticks = 9  # every half second
    assert MAX_PICTURES <= beginnings <= MAX_PICTURES + ticks
    width = PICTURE_HEIGHT * 4 // 3
    assert row.sum() >= MAX_PICTURES * width
    assert (picture[middle, WIDTH - MARGIN + 1 :] == BACKGROUND).all()


@pytest.mark.parametrize(
    "label", ["x" * 300, "\x1b[2J" * 40, "подготовка" * 30, "料理の準備" * 30, "a\nb", "$x$", ""]
)
def test_a_label_stays_in_its_place(sound: Path, tmp_path: Path, label: str) -> None:
    picture = drawn(sound, recorded(4, (1, 2, label, 0.9)), tmp_path / "a.png")
    beside = picture[FIRST_BAR - CURVE_HEIGHT + 1 : FIRST_BAR, LEFT - 5 : LEFT]
    assert (beside == BACKGROUND).all()


def test_a_long_file_name_leaves_room_for_what_was_found(tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / f"{'n' * 200}.mp4")
    picture = drawn(clip, recorded(1), tmp_path / "a.png")
    assert (picture[: MARGIN + TEXT_HEIGHT, WIDTH - MARGIN :] == BACKGROUND).all()


def test_what_cannot_be_written_is_said(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        drawn(clip, recorded(4), tmp_path / "no" / "a.png")
