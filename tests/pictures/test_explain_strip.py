"""What a decision rests on, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.squares import squares_clip
from vmm_cli.media.video import Video
from vmm_cli.output.png import save_png
from vmm_cli.pictures.explain_strip import (
    AGAINST,
    BACKGROUND,
    BAR_HEIGHT,
    FOR,
    FRAME_HEIGHT,
    MARGIN,
    MAX_FRAMES,
    TEXT_HEIGHT,
    TRACK,
    draw_strip,
    drop_text,
    strongest,
)
from vmm_cli.pictures.text import TEXT, shortened, text_width

WIDTH = FRAME_HEIGHT * 160 // 120


def explained(*drops: float, label: str = "moving", step_s: float = 0.5) -> dict[str, Any]:
    seconds = [
        {"start_s": i * step_s, "end_s": (i + 1) * step_s, "drop": drop}
        for i, drop in enumerate(drops)
    ]
    without = {"image": 0.5, "audio": 0.8}
    return {"label": label, "score": 0.9, "without": without, "seconds": seconds}


def drawn(path: Path, what: dict[str, Any], target: Path) -> np.ndarray:
    save_png(draw_strip(Video(path), what), target)
    with Image.open(target) as picture:
        return np.asarray(picture.convert("RGB"))


def bar(picture: np.ndarray, i: int) -> np.ndarray:
    """The middle row of a frame's bar."""
    top = TEXT_HEIGHT + FRAME_HEIGHT + MARGIN // 2 + BAR_HEIGHT // 2
    left = MARGIN + i * (WIDTH + MARGIN)
    return picture[top, left : left + WIDTH + 1]


def share(row: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((row == colour).all(axis=1).mean())


def test_bars_are_as_long_as_parts_matter(tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "a.mp4", seconds=2)
    picture = drawn(clip, explained(0.4, 0.2, -0.1, 0.0), tmp_path / "a.png")
    assert share(bar(picture, 0), FOR) == pytest.approx(1, abs=0.02)
    assert share(bar(picture, 1), FOR) == pytest.approx(0.5, abs=0.02)
    assert share(bar(picture, 2), AGAINST) == pytest.approx(0.25, abs=0.02)
    assert share(bar(picture, 3), TRACK) == 1
    frames = picture[TEXT_HEIGHT : TEXT_HEIGHT + FRAME_HEIGHT]
    yellow = (frames[..., 0] > 180) & (frames[..., 2] < 110)
    columns = [
        np.flatnonzero(yellow[:, MARGIN + i * (WIDTH + MARGIN) :][:, :WIDTH].any(axis=0))
        for i in range(4)
    ]
    middles = [float(found.mean()) for found in columns]
    assert middles == sorted(middles) and middles[0] < middles[-1], "each shows its own time"


def test_what_hardly_matters_has_a_short_bar(tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "a.mp4")
    picture = drawn(clip, explained(0.01, -0.001), tmp_path / "a.png")
    assert share(bar(picture, 0), FOR) == pytest.approx(0.1, abs=0.02)


def test_a_long_window_shows_some_of_its_parts(tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "a.mp4", seconds=2)
    picture = drawn(clip, explained(*[0.1] * 40, step_s=0.05), tmp_path / "a.png")
    assert picture.shape[1] == MAX_FRAMES * (WIDTH + MARGIN) + MARGIN


def test_the_parts_that_matter_most_are_never_hidden(tmp_path: Path) -> None:
    drops = [0.01] * 40
    drops[17], drops[30] = 0.4, -0.2
    what = explained(*drops, step_s=0.05)
    chosen = strongest(what["seconds"], MAX_FRAMES)
    times = [one["start_s"] for one in chosen]
    assert len(chosen) == MAX_FRAMES and times == sorted(times)
    assert {0.4, -0.2} <= {one["drop"] for one in chosen}
    picture = drawn(squares_clip(tmp_path / "a.mp4", seconds=2), what, tmp_path / "a.png")
    shares = [share(bar(picture, i), FOR) for i in range(MAX_FRAMES)]
    assert max(shares) > 0.9


@pytest.mark.parametrize(
    "label", ["x" * 300, "\x1b[2J" * 40, "подготовка" * 30, "料理の準備" * 30, "short"]
)
def test_a_label_is_no_wider_than_what_it_stands_over(tmp_path: Path, label: str) -> None:
    clip = squares_clip(tmp_path / "a.mp4")
    picture = drawn(clip, explained(0.1, 0.2, label=label), tmp_path / "a.png")
    assert (picture[:TEXT_HEIGHT, -MARGIN:] == BACKGROUND).all()
    assert picture.shape[1] < 800
    six = drawn(clip, explained(*[0.1] * 6, label=label), tmp_path / "a.png")
    assert six.shape[1] == 6 * (WIDTH + MARGIN) + MARGIN, "the frames decide where they are many"


def test_a_text_is_cut_only_where_it_must_be() -> None:
    assert shortened("moving", text_width("moving")) == "moving"
    cut = shortened("moving" * 9, 100)
    assert cut.endswith("…") and 80 < text_width(cut) <= 100
    assert shortened("moving", 1) == "…"


def test_labels_are_drawn_in_their_own_letters(tmp_path: Path) -> None:
    """Letters that no font has would all look like the same box."""
    clip = squares_clip(tmp_path / "a.mp4")
    labels = ("дождь", "площадь", "走る", "歩く")
    titles = [
        drawn(clip, explained(0.1, label=label), tmp_path / "a.png")[:TEXT_HEIGHT].tobytes()
        for label in labels
    ]
    assert len(set(titles)) == len(labels)


def test_a_drop_says_what_its_bar_does(tmp_path: Path) -> None:
    said = [drop_text(drop) for drop in (0.256, -0.5, -0.002, 0.0051, 0.0004, -0.0004, 0.0)]
    assert said == ["+0.26", "-0.50", "-0.002", "+0.01", "0.00", "0.00", "0.00"]
    clip = squares_clip(tmp_path / "a.mp4")
    picture = drawn(clip, explained(-0.002, -0.0004), tmp_path / "a.png")
    assert share(bar(picture, 0), AGAINST) > 0
    assert share(bar(picture, 1), TRACK) == 1


def test_sound_alone_has_boxes_that_say_so(tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "a.m4a", picture=False, sound=True)
    picture = drawn(clip, explained(0.1, 0.2), tmp_path / "a.png")
    box = picture[TEXT_HEIGHT : TEXT_HEIGHT + FRAME_HEIGHT, MARGIN : MARGIN + FRAME_HEIGHT]
    assert (box[5, 5] == TRACK).all()
    assert (box == TEXT).all(axis=2).any(), "a word"
