"""What torchvision's detectors and segmentation networks are shown, and how it is read. No torch.

Pictures are scaled as torchvision does, from the size that they are displayed in. Its detectors
(GeneralizedRCNNTransform) scale floats; here values are rounded to 8 bits, as they came.
"""

from __future__ import annotations

import math

import numpy as np

from vmm_cli.bundles.published_coco import MASKS, CocoModel
from vmm_cli.features.clips import MAX_SHORT_SIDE
from vmm_cli.features.torchvision_resize import resized
from vmm_cli.media.geometry import Size
from vmm_cli.networks.pretrained.shapes import POINTS

DECODED_SIZE = Size(short=MAX_SHORT_SIDE, enlarge=False)

# What a detector gives of an object: left, top, right and bottom in shares of the picture, score,
# and number of the label; then x and y in shares and score of each point of a person.
FOUND, FOUND_WITH_POINTS = 6, 6 + 3 * POINTS
MOST_FOUND = 100  # of a picture; where there are fewer, the rest is zeros

CELL = 4  # pixels of what a segmentation network sees, to a side of what masks are made of


def shown(row: CocoModel, image: np.ndarray) -> np.ndarray:
    """Return what a network sees of a picture: uint8 [H, W, 3] of any size -> [h, w, 3]."""
    return resized(image, shown_size(row, *image.shape[:2]), antialias=row.task == MASKS)


def shown_size(row: CocoModel, height: int, width: int) -> tuple[int, int]:
    """Return height and width that a picture is scaled to; at least a pixel each.

    Rounded as torchvision does, which differs between its detectors (with floats, down) and its
    presets for segmentation (whole numbers); those know no longest side, which is vmm's.
    """
    if row.squashed:
        return row.short_side, row.short_side
    short, long = min(height, width), max(height, width)
    if row.task == MASKS:
        short_, long_ = row.short_side, row.short_side * long // short
        if long_ > row.long_side:
            short_, long_ = max(1, row.long_side * short // long), row.long_side
        return (short_, long_) if height <= width else (long_, short_)
    scale = min(row.short_side / short, row.long_side / long)
    return max(1, math.floor(height * scale)), max(1, math.floor(width * scale))


def read_found(values: np.ndarray, with_points: bool) -> np.ndarray:
    """Return what a detector gave of one picture: [n, 6 or 57], as `objects.COLUMNS`, then points.

    values: [100 x 6] or [100 x 57], see `FOUND`.
    """
    rows = values.reshape(MOST_FOUND, FOUND_WITH_POINTS if with_points else FOUND)
    rows = rows[rows[:, 4] > 0]
    sides = rows[:, 2:4] - rows[:, :2]
    found = np.column_stack([rows[:, 5], rows[:, 4], rows[:, :2], sides, rows[:, FOUND:]])
    seen: np.ndarray = found[(sides > 0).all(axis=1)]
    return seen


def cells_of(side: int) -> int:
    """Return how many cells masks have for a side of what a network sees, in pixels."""
    return max(1, side // CELL)
