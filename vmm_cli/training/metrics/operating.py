"""Operating curves: how much of a label is found, against false alarms an hour, by threshold.

Of a label that is asked for from a threshold on, *recall* is the share of its true actions (or of
the clips that have it) that are found, and a *false alarm* what is found and is not there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vmm_cli.bundles.operating import MOST_POINTS

# No threshold lies lower: with less a label is told nearly everywhere.
LOWEST = 1e-3
DIGITS = 6  # of thresholds


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What was found of one label in videos that were held out.

    Attributes:
        best: float [M], the best score with which each true action was found; NaN: it never was.
        alarms: float [N], from which threshold down each false alarm is told.
        merged: float [K], from which threshold down two of them have become one.
        hours: of video in which there could be false alarms.
    """

    best: np.ndarray
    alarms: np.ndarray
    merged: np.ndarray
    hours: float

    def recall_at(self, thresholds: np.ndarray) -> np.ndarray:
        """Return the recall at each threshold; NaN where nothing is true."""
        if not len(self.best):
            return np.full(len(thresholds), np.nan)
        found = _at_least(self.best[~np.isnan(self.best)], thresholds)
        return np.array(found / len(self.best))

    def alarms_at(self, thresholds: np.ndarray) -> np.ndarray:
        """Return how many false alarms there are at each threshold."""
        return np.array(_at_least(self.alarms, thresholds) - _at_least(self.merged, thresholds))


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Points of a label's curve, the highest threshold first; of equal alarms the lowest one.

    Attributes:
        n: how many true actions there were; hours: see `Evidence`.
        thresholds, recall, hourly: float [P]. `hourly`: false alarms an hour at this threshold or
            at any higher one, as alarms that become one can be fewer at a lower one.
    """

    n: int
    hours: float
    thresholds: np.ndarray
    recall: np.ndarray
    hourly: np.ndarray

    def with_at_most(self, hourly: float) -> float:
        """Return the lowest threshold with so many false alarms an hour, or the highest there is.

        That one where a false alarm has the highest score that there can be.
        """
        allowed = np.flatnonzero(self.hourly <= hourly + 1e-9)
        return float(self.thresholds[allowed[-1] if len(allowed) else 0])


def curve_of(found: Evidence) -> Curve:
    """Return the whole curve of a label.

    A threshold lies just above the score of a false alarm that is one too many.

    Worked by hand, for an hour: true actions found with 0.9 and 0.4, false alarms 0.6 and 0.2. From
    just above 0.6 on there is none, and half is found; from just above 0.2 on one, and all is
    found; at the lowest threshold both.
    """
    above = (np.floor(found.alarms * 10**DIGITS) + 1) / 10**DIGITS
    thresholds = np.unique(np.clip(np.append(above, LOWEST), LOWEST, 1.0))[::-1]
    alarms = np.maximum.accumulate(found.alarms_at(thresholds))
    last = np.append(alarms[1:] != alarms[:-1], True)  # of as many alarms the lowest threshold
    last[0] |= alarms[0] > 0  # and the highest, where no threshold is above an alarm
    kept = thresholds[last]
    return Curve(
        len(found.best), found.hours, kept, found.recall_at(kept), alarms[last] / found.hours
    )


def curve_json(curve: Curve, told: float) -> dict[str, Any]:
    """Return a curve as JSON types, with the threshold from which on the label is told.

    `points` are [threshold, recall or null, false alarms an hour], 40 at most, closer together
    where there are few alarms.
    """
    places = np.arange(len(curve.thresholds))
    if len(places) > MOST_POINTS:
        spread = np.geomspace(1, len(places), MOST_POINTS).round().astype(int) - 1
        lacking = MOST_POINTS - len(np.unique(spread))
        places = np.union1d(spread, np.setdiff1d(places, spread)[:lacking])
    return {
        "n": curve.n,
        "hours": curve.hours,
        "threshold": told,
        "points": [
            [round(float(t), DIGITS), None if math.isnan(r) else float(r), float(h)]
            for t, r, h in zip(
                curve.thresholds[places], curve.recall[places], curve.hourly[places], strict=True
            )
        ],
    }


def alarms_of_runs(runs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return alarms and merged, as of `Evidence`, where each run above a threshold is one alarm.

    runs: each float [K], the scores of cells that follow each other.

    >>> alarms, merged = alarms_of_runs([np.array([0.9, 0.2, 0.8])])
    >>> alarms.tolist(), merged.tolist()
    ([0.9, 0.2, 0.8], [0.2, 0.2])
    """
    alarms, merged = [np.zeros(0)], [np.zeros(0)]
    for scores in runs:
        # Each cell begins a run from its score down, and joins the one before from the lower of
        # the two down.
        alarms.append(scores)
        merged.append(np.minimum(scores[1:], scores[:-1]))
    return np.concatenate(alarms), np.concatenate(merged)


def _at_least(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return how many scores there are from each threshold on: int [T]."""
    ordered = np.sort(scores)
    return np.array(len(ordered) - np.searchsorted(ordered, thresholds, side="left"))
