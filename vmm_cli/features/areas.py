"""Pictures made smaller by the mean over the area of each new pixel. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True, eq=False)
class Sums:
    """The integral image of a picture of H rows and W columns.

    Attributes:
        values: uint32 [H + 1, W + 1, 3], what is left of and above each corner of pixels. It may
            overflow: differences are right all the same, up to areas of 16 million pixels.
    """

    values: np.ndarray

    @property
    def height(self) -> int:
        """H."""
        return len(self.values) - 1

    @property
    def width(self) -> int:
        """W."""
        return int(self.values.shape[1]) - 1


def sums_of(image: np.ndarray) -> Sums:
    """Return the integral image of a picture: uint8 [H, W, 3]."""
    height, width, channels = image.shape
    values = np.zeros((height + 1, width + 1, channels), np.uint32)
    inner = values[1:, 1:]
    inner[:] = image
    np.cumsum(inner, axis=1, out=inner)
    for above, row in pairwise(values):  # numpy's own sum down the rows takes three times as long
        row += above
    return Sums(values)


def whole_in(sums: Sums, rows: int, columns: int) -> np.ndarray:
    """Return the picture in another size: -> float32 [3, rows, columns], 0 to 255.

    Each new pixel is the mean over those that its area touches, as PyTorch's adaptive pooling.
    """
    tops, bottoms = (one[0] for one in _bounds(np.array([0]), np.array([sums.height]), rows))
    lefts, rights = (one[0] for one in _bounds(np.array([0]), np.array([sums.width]), columns))
    bands = sums.values.take(bottoms, axis=0)
    bands -= sums.values.take(tops, axis=0)  # [rows, W + 1, 3]
    total = bands.take(rights, axis=1)
    total -= bands.take(lefts, axis=1)  # [rows, columns, 3]
    return _means(total, bottoms - tops, rights - lefts)


def cuts_in(sums: Sums, edges: np.ndarray, side: int) -> np.ndarray:
    """Return cuts of a picture as squares of `side` pixels: -> float32 [N, 3, side, side].

    edges: int64 [N, 4], left, top, right and bottom, none of them empty; see `whole_in`.
    """
    lefts, rights = _bounds(edges[:, 0], edges[:, 2], side)  # [N, side] each
    tops, bottoms = _bounds(edges[:, 1], edges[:, 3], side)
    corners = sums.values.reshape(-1, sums.values.shape[2])
    wide = sums.width + 1

    def at(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        places = rows[:, :, None] * wide + columns[:, None, :]  # [N, side, side]
        taken: np.ndarray = corners.take(places, axis=0)
        return taken

    total = at(bottoms, rights) - at(tops, rights) - at(bottoms, lefts) + at(tops, lefts)
    return _means(total, bottoms - tops, rights - lefts)


def _bounds(first: np.ndarray, last: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where each of `number` new pixels begins and ends: int64 [N] twice -> [N, number]."""
    sizes, steps = (last - first)[:, None], np.arange(number)
    begin = first[:, None] + steps * sizes // number
    end = first[:, None] - (-(steps + 1) * sizes // number)  # rounded up
    return begin, end


def _means(total: np.ndarray, heights: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Divide sums by areas: uint32 [..., rows, columns, 3] -> float32 [..., 3, rows, columns]."""
    areas = heights[..., None, :, None] * widths[..., None, None, :]
    planes = np.moveaxis(total, -1, -3)
    means: np.ndarray = np.divide(planes, areas, dtype=np.float32, casting="unsafe", order="C")
    return means
