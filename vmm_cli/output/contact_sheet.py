"""One overview picture of a video: small frames in rows, each with its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from vmm_cli.output.clock import clock_text

MAX_CELLS = 48
COLUMNS = 6
CELL_WIDTH = 240
MARGIN = 8
LABEL_HEIGHT = 22
FONT_SIZE = 15
BACKGROUND = (24, 24, 24)
TEXT = (230, 230, 230)
JPEG_QUALITY = 88


def draw_contact_sheet(folder: Path, frames: Sequence[Mapping[str, Any]], target: Path) -> None:
    """Draw at most 48 of the frames, evenly chosen, from `folder` into the JPEG `target`.

    frames: the lines of frames.jsonl (`file`, `time_s`, `width`, `height`). OSError where a
    picture cannot be read or the sheet not written.
    """
    chosen = evenly(len(frames), MAX_CELLS)
    columns = min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    first = frames[0]
    # One shape of cell for all, after the first picture; a tall one is no taller than wide.
    cell_height = min(CELL_WIDTH, max(1, round(CELL_WIDTH * first["height"] / first["width"])))
    sheet = Image.new(
        "RGB",
        (
            columns * (CELL_WIDTH + MARGIN) + MARGIN,
            rows * (cell_height + LABEL_HEIGHT + MARGIN) + MARGIN,
        ),
        BACKGROUND,
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_SIZE)
    for cell, index in enumerate(chosen):
        frame = frames[index]
        left = MARGIN + cell % columns * (CELL_WIDTH + MARGIN)
        top = MARGIN + cell // columns * (cell_height + LABEL_HEIGHT + MARGIN)
        with Image.open(folder / frame["file"]) as image:
            image.draft("RGB", (CELL_WIDTH, cell_height))  # JPEG decodes at a fraction of its size
            small = image.convert("RGB")
            small.thumbnail((CELL_WIDTH, cell_height))
        sheet.paste(
            small,
            (left + (CELL_WIDTH - small.width) // 2, top + (cell_height - small.height) // 2),
        )
        draw.text(
            (left + CELL_WIDTH // 2, top + cell_height + LABEL_HEIGHT // 2),
            clock_text(frame["time_s"]),
            fill=TEXT,
            font=font,
            anchor="mm",
        )
    sheet.save(target, "JPEG", quality=JPEG_QUALITY)


def evenly(n: int, most: int) -> list[int]:
    """Return at most `most` indices of range(n), the first and the last among them.

    >>> evenly(10, 4)
    [0, 3, 6, 9]
    """
    if n <= most:
        return list(range(n))
    return [round(i * (n - 1) / (most - 1)) for i in range(most)]
