"""The overview picture: which frames, where, and what is written under them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vmm_cli.output.clock import clock_text
from vmm_cli.output.contact_sheet import (
    BACKGROUND,
    CELL_WIDTH,
    COLUMNS,
    LABEL_HEIGHT,
    MARGIN,
    MAX_CELLS,
    draw_contact_sheet,
    evenly,
)


def write_frames(folder: Path, n: int, size: tuple[int, int]) -> list[dict[str, object]]:
    """Write `n` flat pictures whose red says which one it is."""
    lines = []
    for i in range(n):
        name = f"{i}.png"
        Image.new("RGB", size, (40 + 3 * i, 80, 160)).save(folder / name)
        lines.append({"file": name, "time_s": i / 2, "width": size[0], "height": size[1]})
    return lines


def cells(sheet: np.ndarray, n: int, cell_height: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cut a sheet into (picture, label) of its first `n` cells."""
    found = []
    for i in range(n):
        left = MARGIN + i % COLUMNS * (CELL_WIDTH + MARGIN)
        top = MARGIN + i // COLUMNS * (cell_height + LABEL_HEIGHT + MARGIN)
        bottom = top + cell_height
        right = left + CELL_WIDTH
        found.append(
            (sheet[top:bottom, left:right], sheet[bottom : bottom + LABEL_HEIGHT, left:right])
        )
    return found


@pytest.mark.parametrize(("n", "shown"), [(1, 1), (7, 7), (48, 48), (60, 48)])
def test_every_cell_has_its_picture_and_its_time(tmp_path: Path, n: int, shown: int) -> None:
    lines = write_frames(tmp_path, n, (320, 180))
    draw_contact_sheet(tmp_path, lines, tmp_path / "sheet.jpg")
    sheet = np.asarray(Image.open(tmp_path / "sheet.jpg")).astype(int)
    rows = -(-shown // COLUMNS)
    assert sheet.shape[0] == rows * (135 + LABEL_HEIGHT + MARGIN) + MARGIN
    assert sheet.shape[1] == min(shown, COLUMNS) * (CELL_WIDTH + MARGIN) + MARGIN
    for index, (picture, label) in zip(evenly(n, MAX_CELLS), cells(sheet, shown, 135), strict=True):
        assert np.abs(picture[4:-4, 4:-4].mean(axis=(0, 1)) - (40 + 3 * index, 80, 160)).max() < 3
        assert label.max() > 150  # the time is written there
    for picture, label in cells(sheet, rows * COLUMNS, 135)[shown:] if rows > 1 else []:
        assert np.abs(picture - BACKGROUND).max() < 12
        assert np.abs(label - BACKGROUND).max() < 12


def test_tall_pictures_stand_whole_in_their_cells(tmp_path: Path) -> None:
    lines = write_frames(tmp_path, 2, (90, 320))
    draw_contact_sheet(tmp_path, lines, tmp_path / "sheet.jpg")
    sheet = np.asarray(Image.open(tmp_path / "sheet.jpg")).astype(int)
    for picture, _ in cells(sheet, 2, CELL_WIDTH):
        inside = np.abs(picture - (40, 80, 160)).max(axis=2) < 30
        assert inside.any(axis=1).all()  # from top to bottom
        assert 60 <= inside.any(axis=0).sum() <= 72  # 240 * 90 / 320 wide
        assert inside[:, 110:130].all()  # in the middle


def test_sizes_that_change_on_the_way_keep_their_shape(tmp_path: Path) -> None:
    lines = write_frames(tmp_path, 2, (320, 180))
    Image.new("RGB", (180, 320), (220, 220, 220)).save(tmp_path / "1.png")
    lines[1] |= {"width": 180, "height": 320}
    draw_contact_sheet(tmp_path, lines, tmp_path / "sheet.jpg")
    sheet = np.asarray(Image.open(tmp_path / "sheet.jpg")).astype(int)
    picture, _ = cells(sheet, 2, 135)[1]
    assert 70 <= (picture[67, :, 0] > 200).sum() <= 80  # 135 * 180 / 320 wide


def test_evenly_keeps_both_ends() -> None:
    for n in range(1, 300):
        chosen = evenly(n, MAX_CELLS)
        assert len(chosen) == min(n, MAX_CELLS)
        assert chosen == sorted(set(chosen))
        assert (chosen[0], chosen[-1]) == (0, n - 1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00.000"), (59.9996, "1:00.000"), (3723.25, "1:02:03.250"), (-0.04, "-0:00.040")],
)
def test_clock_text(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text
