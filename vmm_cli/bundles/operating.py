"""A bundle's operating curves: recall against false alarms an hour, as measured on what was held
out. They are read as what comes from others: bounded and checked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from vmm_cli.bundles.damaged import short

MOST_POINTS = 40  # of a label's curve
MOST_LABELS = 200  # of a model that has curves
MOST_HOURS = 1e6


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """From a threshold on: which share is found (None: unknown), and how many false alarms."""

    threshold: float
    recall: float | None
    false_alarms_per_hour: float


@dataclass(frozen=True, slots=True)
class Operating:
    """The curve of a label.

    Attributes:
        n: how many true actions it was measured on; hours: of how much video.
        threshold: from which score on the label is told; None: from the bundle's own.
        points: the highest threshold first, false alarms ascending.
    """

    n: int
    hours: float
    threshold: float | None
    points: tuple[OperatingPoint, ...]

    @property
    def smallest_rate(self) -> float:
        """The smallest number of false alarms an hour above 0 that could be seen."""
        return 1 / self.hours

    def at(self, false_alarms_per_hour: float) -> OperatingPoint:
        """Return the last point with at most so many false alarms an hour, else the first one."""
        allowed = [p for p in self.points if p.false_alarms_per_hour <= false_alarms_per_hour]
        return allowed[-1] if allowed else self.points[0]


def operating_of(value: object, labels: Sequence[str]) -> dict[str, Operating]:
    """Return the curves by label that a `bundle.yaml` holds; ValueError says what is wrong."""
    if not isinstance(value, dict):
        raise ValueError("its 'operating' are not labels with curves")
    if len(value) > MOST_LABELS:
        raise ValueError(f"has operating curves of {len(value)} labels, more than {MOST_LABELS}")
    for label in value:
        if label not in labels:
            raise ValueError(f"has an operating curve of {short(label)}, which is no label")
    return {label: _curve(label, fields) for label, fields in value.items()}


def _curve(label: str, fields: object) -> Operating:
    where = f"its operating curve of {short(label)}"
    if not isinstance(fields, dict):
        raise ValueError(f"{where} is not names with values")
    n, hours = fields.get("n"), _number(fields.get("hours"), MOST_HOURS, f"{where}: hours")
    if not isinstance(n, int) or isinstance(n, bool) or not 0 <= n <= 10**9:
        raise ValueError(f"{where}: n is {short(n)}")
    if hours <= 0:
        raise ValueError(f"{where}: hours is {short(hours)}")
    points = fields.get("points")
    if not isinstance(points, list) or not 1 <= len(points) <= MOST_POINTS:
        raise ValueError(f"{where} has not from 1 to {MOST_POINTS} points")
    threshold = fields.get("threshold")
    found = tuple(_point(point, where) for point in points)
    for before, after in pairwise(found):
        falls = after.threshold >= before.threshold
        if falls or after.false_alarms_per_hour < before.false_alarms_per_hour:
            raise ValueError(f"{where} is not in order: thresholds fall and false alarms rise")
    told = None if threshold is None else _number(threshold, 1, f"{where}: threshold")
    return Operating(n, hours, told, found)


def _point(point: object, where: str) -> OperatingPoint:
    if not isinstance(point, list) or len(point) != 3:
        raise ValueError(f"{where}: a point is not [threshold, recall, false alarms an hour]")
    threshold, recall, hourly = point
    return OperatingPoint(
        _number(threshold, 1, f"{where}: a threshold"),
        None if recall is None else _number(recall, 1, f"{where}: a recall"),
        _number(hourly, math.inf, f"{where}: false alarms an hour"),
    )


def _number(value: object, most: float, what: str) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not 0 <= value <= most
    ):
        raise ValueError(f"{what} is {short(value)}")
    return float(value)


def as_fields(curves: Mapping[str, Mapping[str, Any]], *, told: bool) -> dict[str, Any]:
    """Return curves as `metrics.json` has them as a `bundle.yaml` holds them; none of too many.

    told: whether each label is told from its own threshold on.
    """
    if len(curves) > MOST_LABELS:
        return {}
    keys = ("n", "hours", "threshold", "points") if told else ("n", "hours", "points")
    return {label: {key: curve[key] for key in keys} for label, curve in curves.items()}
