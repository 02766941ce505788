"""Where times lie on a picture: ticks, columns of pixels, and room for what stands at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from vmm_cli.output.clock import clock_text

MIN_TICK_DISTANCE = 100  # pixels
# Seconds between ticks, up to a day; beyond that, whole days.
TICK_STEPS_S = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400),
)
SHORTEST_S = 1e-3  # what is shorter is drawn as if it were so long


@dataclass(frozen=True)
class TimeAxis:
    """From `start_s` to `end_s` in `width` pixels from `left`."""

    start_s: float
    end_s: float
    left: int
    width: int

    def x(self, time_s: float) -> float:
        """Return where a time is drawn; what lies outside, at the nearer end."""
        share = (time_s - self.start_s) / self._length_s
        return self.left + self.width * min(1.0, max(0.0, share))

    def ticks(self) -> list[float]:
        """Return the times to write at the axis: round ones, far enough apart to be read."""
        min_s = self._length_s * MIN_TICK_DISTANCE / self.width
        day_s = TICK_STEPS_S[-1]
        step_s = next((s for s in TICK_STEPS_S if s >= min_s), day_s * ceil(min_s / day_s))
        first, last = ceil(self.start_s / step_s - 1e-9), floor(self.end_s / step_s + 1e-9)
        return [round(i * step_s, 2) for i in range(first, last + 1)]

    def columns(self, times: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the value to draw in each column of pixels: float64 [width].

        times, values: float64 [T], T > 0, in order of time. Between the times the curve runs
        straight; where several fall into one column the highest counts, so that no peak is lost.
        """
        edges = np.linspace(self.start_s, self.start_s + self._length_s, self.width + 1)
        columns: np.ndarray = np.interp((edges[1:] + edges[:-1]) / 2, times, values)
        places = np.searchsorted(edges, times, side="right") - 1
        inside = (places >= 0) & (places < self.width)
        np.maximum.at(columns, places[inside], values[inside])
        return columns

    @property
    def _length_s(self) -> float:
        return max(self.end_s - self.start_s, SHORTEST_S)


def spread(wanted: Sequence[float], width: float, low: float, high: float) -> list[float]:
    """Return where to put things of one width, in order, near where each is wanted: left edges.

    None lies over another, and all lie from `low` to `high`, into which they must fit. The sum of
    the squared moves is the least there is: isotonic regression, by pooling adjacent violators
    (Barlow et al., 1972).

    >>> spread([0, 40, 50], 20, 0, 100)
    [0, 35.0, 55.0]
    """
    runs: list[tuple[float, int]] = []  # things that touch: where the first is wanted, their number
    for i, edge in enumerate(wanted):
        place, number = edge - i * width, 1
        while runs and runs[-1][0] > place:
            before, count = runs.pop()
            place = (before * count + place * number) / (count + number)
            number += count
        runs.append((place, number))
    last = high - len(wanted) * width
    places = [min(max(place, low), last) for place, number in runs for _ in range(number)]
    return [place + i * width for i, place in enumerate(places)]


def tick_text(time_s: float) -> str:
    """Return a time as M:SS or H:MM:SS, with as many decimals as it has.

    >>> tick_text(90), tick_text(0.5), tick_text(7200)
    ('1:30', '0:00.5', '2:00:00')
    """
    return clock_text(time_s).rstrip("0").rstrip(".") if time_s % 1 else clock_text(time_s)[:-4]
