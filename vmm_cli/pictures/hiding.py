"""Parts of a picture made unrecognisable: a few large blocks of one colour each.

However large a part is it becomes as few blocks, and their colours a few of all: what is left says
that somebody is there, and no more. A smooth blur could be undone, and fine mosaics be recognised
(McPherson et al., "Defeating Image Obfuscation with Deep Learning", 2016).
"""

from __future__ import annotations

from math import ceil, floor

import numpy as np

BLOCKS = 4  # along the longer side of a part
SHADES = 8  # of each of red, green and blue


def hidden(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return a picture whose boxes cannot be recognised: uint8 [H, W, 3] RGB -> the same.

    boxes: [n, 4], left, top, right and bottom in shares of its width and height; they may reach
    beyond it.
    """
    if not len(boxes):
        return image
    height, width = image.shape[:2]
    covered = image.copy()
    for left, top, right, bottom in boxes.tolist():
        columns = slice(max(0, floor(left * width)), min(width, ceil(right * width)))
        rows = slice(max(0, floor(top * height)), min(height, ceil(bottom * height)))
        if columns.start < columns.stop and rows.start < rows.stop:
            covered[rows, columns] = _in_blocks(image[rows, columns])
    return covered


def _in_blocks(part: np.ndarray) -> np.ndarray:
    """Return a part of a picture in blocks: uint8 [h, w, 3] -> the same."""
    height, width = part.shape[:2]
    side = max(height, width) / BLOCKS
    row_starts, column_starts = _starts(height, side), _starts(width, side)
    sums = np.add.reduceat(part, row_starts, axis=0, dtype=np.float64)
    sums = np.add.reduceat(sums, column_starts, axis=1)
    high, wide = np.diff([*row_starts, height]), np.diff([*column_starts, width])
    means = sums / np.outer(high, wide)[..., None]  # [rows, columns, 3]
    shade = 256 // SHADES
    flat = (means // shade * shade + shade // 2).astype(np.uint8)
    blocks: np.ndarray = flat.repeat(high, axis=0).repeat(wide, axis=1)
    return blocks


def _starts(length: int, side: float) -> list[int]:
    """Return where blocks of about `side` pixels begin, which together are `length` long."""
    count = max(1, round(length / side))
    return sorted({length * i // count for i in range(count)})
