"""How much of a picture another one does not hold: what tells two scenes from one that moves.

A picture is predicted from another one as a video encoder would: block by block, each block sought
near its own place. A block is new as far as the best match is no better a prediction than the
block's own mean colour.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vmm_cli.media.miniatures import HEIGHT, WIDTH, Miniature

BLOCK = 8  # pixels; a miniature has 4 x 6 blocks
SEARCH = 3  # pixels in each direction: a sixteenth of the width
CELL = 4  # pixels; a cell's colour is followed over time
DETAIL_FLOOR = 5.0  # levels: noise, and what coding leaves, is no detail
DARK = 40  # luma; bars at the edges of a picture stay below

# As when a lamp is switched on or the camera adapts to the light.
TONE_GAIN = (0.5, 2.0)
TONE_SHIFT = (60.0, 12.0, 12.0)  # levels of Y, U and V

BLANK_CONTRAST = 6.0  # standard deviation in levels; of what is darker nothing can be seen


class View:
    """A miniature and what is told from it once. `lit`: bool [4, 6], the blocks that count.

    Bars at the edges do not count, so that a small picture between them is judged as a large one.
    """

    def __init__(self, miniature: Miniature, lit: np.ndarray | None = None) -> None:
        self.time_s = miniature.time_s
        self.pixels = miniature.pixels.astype(np.int16)  # [3, 32, 48]
        bright = _blocks(self.pixels[:1]).max(axis=(2, 4))[0] > DARK  # [4, 6]
        self.lit: np.ndarray = bright if lit is None else lit | bright

    @cached_property
    def detail(self) -> np.ndarray:
        """How badly its mean colour predicts each block: levels, [4, 6]."""
        blocks = _blocks(self.pixels)
        means = blocks.mean(axis=(2, 4), keepdims=True)
        detail: np.ndarray = np.abs(blocks - means).mean(axis=(2, 4)).sum(axis=0) + DETAIL_FLOOR
        return detail

    @cached_property
    def cells(self) -> np.ndarray:
        """The mean colours of small squares: float64 [288]."""
        cells = self.pixels.reshape(3, HEIGHT // CELL, CELL, WIDTH // CELL, CELL)
        means: np.ndarray = cells.mean(axis=(2, 4)).ravel()
        return means

    @cached_property
    def contrast(self) -> float:
        """The largest standard deviation among Y, U and V, in levels."""
        return float(self.pixels.reshape(3, -1).std(axis=1).max())

    @property
    def blank(self) -> bool:
        """Whether it shows one colour and nothing else."""
        return self.contrast < BLANK_CONTRAST


def novelty(one: View, other: View, *, alike: float = 0.0) -> float:
    """Return how much of two pictures is not in both, whatever moved: 0 to 1.

    `alike`: a value that is so low already without a search is returned as it is.
    """
    errors = np.abs(one.pixels - other.pixels).sum(axis=0, dtype=np.int16)
    errors = _blocks(errors).mean(axis=(2, 4))[0]
    glance = (_share(errors, other) + _share(errors, one)) / 2
    if glance <= alike:
        return glance
    return (_share(_errors(one.pixels, other), other) + _share(_errors(other.pixels, one), one)) / 2


def novelty_in_any_light(one: View, other: View) -> float:
    """Return `novelty`, or where that is less, what it is once both have the same light."""
    toned = (
        _share(_errors(_toned(one, other), other), other)
        + _share(_errors(_toned(other, one), one), one)
    ) / 2
    return min(toned, novelty(one, other))


def _blocks(pixels: np.ndarray) -> np.ndarray:
    """Return a view of the blocks: [C, 32, 48] -> [C, 4, 8, 6, 8]."""
    return pixels.reshape(-1, HEIGHT // BLOCK, BLOCK, WIDTH // BLOCK, BLOCK)


def _share(errors: np.ndarray, view: View) -> float:
    """Return the mean over blocks of how far errors [4, 6] reach what counts as new."""
    new = np.minimum(errors / view.detail, 1)
    return float(new[view.lit].mean() if view.lit.any() else new.mean())


def _errors(source: np.ndarray, target: View) -> np.ndarray:
    """Return how badly the best place nearby predicts each block: [3, 32, 48] -> levels, [4, 6]."""
    padded = np.pad(source, ((0, 0), (SEARCH, SEARCH), (SEARCH, SEARCH)), mode="edge")
    shifted = sliding_window_view(padded, (HEIGHT, WIDTH), axis=(1, 2))  # [3, 7, 7, 32, 48]
    errors = shifted - target.pixels[:, None, None]
    np.abs(errors, out=errors)
    # Channels, then rows, then columns: several times as fast as all at once.
    errors = errors[0] + errors[1] + errors[2]  # [7, 7, 32, 48]
    rows = errors.reshape(-1, BLOCK, WIDTH).sum(axis=1, dtype=np.int16)  # [7 * 7 * 4, 48]
    sums = rows.reshape(-1, HEIGHT // BLOCK, WIDTH // BLOCK, BLOCK).sum(axis=3, dtype=np.int32)
    best: np.ndarray = sums.min(axis=0) / BLOCK**2
    return best


def _toned(source: View, target: View) -> np.ndarray:
    """Return a picture in the light of another one: each of Y, U, V scaled and shifted to fit."""
    x = source.pixels.reshape(3, -1).astype(np.float64)  # [3, 1536]
    y = target.pixels.reshape(3, -1).astype(np.float64)
    mean, wanted = x.mean(axis=1, keepdims=True), y.mean(axis=1, keepdims=True)
    covariance = ((x - mean) * (y - wanted)).mean(axis=1, keepdims=True)
    variance = x.var(axis=1, keepdims=True) + 1  # a plain channel is not scaled up
    gain = np.clip(covariance / variance, *TONE_GAIN)
    limit = np.array(TONE_SHIFT)[:, None]
    toned = (x - mean) * gain + mean + np.clip(wanted - mean, -limit, limit)
    rounded: np.ndarray = toned.clip(0, 255).round().astype(np.int16)
    return rounded.reshape(source.pixels.shape)
