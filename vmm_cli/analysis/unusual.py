"""From how surprising each step is to when something unusual happens: numpy only.

Surprise is -log10 of the share of usual time that is as surprising; a score is 1 less that share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

# Something unusual begins and ends where the surprise is this part of what makes it count.
LOW = 0.5
# Levels that are tried for a threshold, of the highest of what was held out.
LEVELS = 400
MARGIN = 1e-3


def score_of(surprise: np.ndarray | float) -> np.ndarray:
    """Return scores from 0 to 1.

    >>> score_of(np.array([0.0, 1.0, 3.0])).round(4).tolist()
    [0.0, 0.9, 0.999]
    """
    scores: np.ndarray = 1 - 10.0 ** -np.asarray(surprise, np.float64)
    return scores


def surprise_of(score: float) -> float:
    """Return the surprise of a score; infinite for 1."""
    return float("inf") if score >= 1 else float(-np.log10(1 - score))


def events(surprise: np.ndarray, level: float) -> Iterator[tuple[int, int]]:
    """Yield [first, last) of the steps of each event: float64 [T].

    It reaches `level` somewhere, and `LOW` of that throughout (hysteresis).

    >>> list(events(np.array([0.0, 2.0, 3.0, 1.6, 0.0, 2.0, 0.0]), 3.0))
    [(1, 4)]
    """
    above = surprise >= LOW * level
    edges = np.flatnonzero(np.diff(above, prepend=False, append=False)).tolist()
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        if surprise[first:last].max() >= level:
            yield first, last


def level_for(
    held_out: Sequence[np.ndarray], rate_hz: float, *, alarms_per_hour: float, span_s: float
) -> float:
    """Return the lowest surprise from which on usual videos give so many false alarms an hour.

    Of what was held out; no less than what is to be expected, where that lasts too short to show
    it: a share of time is one of spans of `span_s`, over which scores are averaged.

    Args:
        held_out: surprise of usual time, [T] each.
        alarms_per_hour: above 0.
    """
    hours = sum(map(len, held_out)) / rate_hz / 3600
    expected = max(0.0, float(-np.log10(min(1.0, alarms_per_hour * span_s / 3600))))
    if not hours:
        return expected
    allowed = int(alarms_per_hour * hours)
    every = np.concatenate(held_out)
    chosen = highest = float(every.max()) + MARGIN
    for level in np.linspace(highest, float(np.median(every)), LEVELS).tolist():
        if alarms(held_out, level) > allowed:
            break
        chosen = level
    # It can be told from what was held out alone where that lasts for an alarm and more.
    return chosen if allowed else max(chosen, expected)


def alarms(held_out: Sequence[np.ndarray], level: float) -> int:
    """Return how many events there are in all."""
    return sum(1 for one in held_out for _ in events(one, level))
