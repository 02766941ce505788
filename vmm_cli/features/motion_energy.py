"""How much moves where: the change from picture to picture in the cells of a coarse grid.

It says what a network for objects does not see, a fall from a seat, and costs next to nothing: it
looks at very small pictures. After the motion-energy images of Bobick and Davis 2001. numpy only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import ceil

import numpy as np

from vmm_cli.features.encoder import Job
from vmm_cli.features.grid import ROUNDING_S, Window, grid_times
from vmm_cli.features.motion import grey
from vmm_cli.features.values import Features
from vmm_cli.media.frames import FrameRequest
from vmm_cli.media.geometry import Size
from vmm_cli.media.sampling import Sampling, every

ENERGY_VERSION = "1"  # part of what kept features are named by: changes when a value changes

# Whatever its shape a picture is brought to these pixels, and they are averaged over 4 x 4.
WIDTH, HEIGHT, CELL = 64, 48, 4
GRID = (HEIGHT // CELL, WIDTH // CELL)
CELLS = GRID[0] * GRID[1]
# Between pictures, at most; as good as 0.08 s, and half of the decoding.
LONGEST_STEP_S = Fraction(1, 4)


def energy_sampling(start: Fraction, end: Fraction, rate_hz: Fraction) -> Sampling:
    """Return which pictures are needed for [start, end) seconds: those in it and one before.

    Always of the same raster, so that a part of a video has the values of the same part of the
    whole.
    """
    step = _between(rate_hz)
    first = max(Fraction(0), (start // step - 1) * step)
    return every(step, start=first, end=end + step)


def _between(rate_hz: Fraction) -> Fraction:
    """Return how far apart the wanted pictures are, in seconds."""
    return min(LONGEST_STEP_S, 1 / rate_hz)


class EnergyTrack:
    """Adds up the change in each step of a window, picture by picture."""

    def __init__(self, window: Window, rate_hz: Fraction) -> None:
        self._times = grid_times(window, rate_hz)
        # A picture a rounding before the end belongs to the step that begins there.
        self._end_s = float(window.end - ROUNDING_S)
        self._sums = np.zeros((len(self._times), CELLS))
        self._counts = np.zeros(len(self._times))
        self._before: np.ndarray | None = None
        self._between = _between(rate_hz)

    def take(self, time_s: float, image: np.ndarray) -> None:
        """Take the next picture: uint8 [48, 64, 3] RGB; times ascend."""
        shown = grey(image)
        if self._before is not None:
            # It came before the time that it was wanted at, which can be in another step.
            time_s = float(ceil((Fraction(time_s) - ROUNDING_S) / self._between) * self._between)
            step = int(np.searchsorted(self._times, time_s + float(ROUNDING_S), side="right")) - 1
            if step >= 0 and time_s < self._end_s:
                self._sums[step] += cell_means(np.abs(shown - self._before))
                self._counts[step] += 1
        self._before = shown

    def features(self) -> Features:
        """Return the square root of the mean change in each step: values float32 [T, 192].

        0 where no new picture came; without any picture at all there are no steps.
        """
        if self._before is None:
            return Features(np.empty(0), np.empty((0, CELLS), np.float32))
        means = self._sums / np.maximum(self._counts, 1)[:, None]
        return Features(self._times, np.sqrt(means).astype(np.float32))


class EnergyPictures:
    """Measures how much moves where, in all windows of a job together: a `FrameLoader`."""

    def __init__(self, job: Job, batch: int) -> None:
        whole = job.whole
        self._track = EnergyTrack(whole, job.rate_hz)
        wanted = energy_sampling(whole.start, whole.end, job.rate_hz)
        self.requests = [FrameRequest("motion", wanted, Size(WIDTH, HEIGHT))]

    def take(self, request: str, time_s: float, image: np.ndarray) -> Iterator[np.ndarray]:
        """See `FrameLoader`: nothing is left to compute."""
        self._track.take(time_s, image)
        yield from ()

    def finish(self, end_s: float | None) -> Iterator[np.ndarray]:
        """See `FrameLoader`."""
        yield from ()

    def tracks(self, values: Sequence[np.ndarray], width: int) -> list[Features]:
        """See `FrameLoader`."""
        return [self._track.features()]


def cell_means(picture: np.ndarray) -> np.ndarray:
    """Return the mean of each cell, row by row: [48, 64] -> [192]."""
    cells = picture.reshape(HEIGHT // CELL, CELL, WIDTH // CELL, CELL)
    means: np.ndarray = cells.mean(axis=(1, 3)).ravel()
    return means
