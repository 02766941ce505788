"""The common time grid of a model's streams, and the windows in which a video is judged.

A trained model looks at windows of a fixed length, each half over the one before; a video no longer
than a window is one window. Within a window all streams meet on a grid of equal steps that starts
with the window.

    >>> [(float(w.start), float(w.end)) for w in windows(Fraction(0), Fraction(9), Fraction(4))]
    [(0.0, 4.0), (2.0, 6.0), (4.0, 8.0), (6.0, 9.0)]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from vmm_cli.features.values import Features

# A rest this short is rounding of the container's clock, and makes no step or window of its own.
ROUNDING_S = Fraction(1, 1000)
MAX_STEPS = 4096  # of a window: attention over more takes gigabytes


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch [start, end) of a video, in seconds on its clock. ValueError if it is empty."""

    start: Fraction
    end: Fraction

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"no window: [{float(self.start):g}, {float(self.end):g}) s")


def windows(start: Fraction, end: Fraction, length: Fraction) -> list[Window]:
    """Return the windows that cover [start, end), the last one cut at `end`.

    All begin half a length after the one before; the fewest that reach the end, but for a rest
    that is rounding. ValueError if there is nothing between `start` and `end`.
    """
    hop = length / 2
    number = max(1, ceil((end - start - length - ROUNDING_S) / hop) + 1)
    begins = [start + i * hop for i in range(number)]
    return [Window(begin, min(begin + length, end)) for begin in begins]


def grid_times(window: Window, rate_hz: Fraction) -> np.ndarray:
    """Return the times of a window's steps: float64 [T], seconds; T >= 1."""
    steps = max(1, ceil((window.end - window.start - ROUNDING_S) * rate_hz))
    return np.array([float(window.start + k / rate_hz) for k in range(steps)])


def on_grid(
    features: Features, times: np.ndarray, lasts_s: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return what holds at each step: values [T, ...] and a mask bool [T].

    At a step holds the last value not after it, as pictures are shown, and before the first value
    that one. With `lasts_s` a value holds for so many seconds only. Nothing where there are none.
    """
    if not len(features):
        shape = (len(times), *features.values.shape[1:])
        return np.zeros(shape, features.values.dtype), np.zeros(len(times), bool)
    # A printed or binary time may lie a rounding before the tick that it names.
    rounding_s = float(ROUNDING_S)
    at = np.searchsorted(features.times, times + rounding_s, side="right") - 1
    age_s = times - features.times[np.maximum(at, 0)]
    there = np.ones(len(times), bool)
    if lasts_s is not None:
        there = (at >= 0) & (age_s < lasts_s - rounding_s)
    return features.values[np.maximum(at, 0)], there


def pad(parts: Sequence[np.ndarray], steps: int) -> np.ndarray:
    """Stack arrays [T_i, ...] into one [N, steps, ...], zeros behind the shorter ones."""
    whole = np.zeros((len(parts), steps, *parts[0].shape[1:]), parts[0].dtype)
    for row, part in zip(whole, parts, strict=True):
        row[: len(part)] = part
    return whole
