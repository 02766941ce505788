"""A curve of sentiment over time: its points, its summary and its peaks, as records have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np

from vmm_cli.digits import SCORE_DIGITS, TIME_DIGITS

LEAST_PROMINENCE = 0.1  # of a peak, in units of valence
MOST_PEAKS = 6
# Of a peak: what a title can reach alone (`text.TITLE_COUNTS`), which says nothing of a moment.
LEAST_CONFIDENCE = 0.2


@dataclass(frozen=True, eq=False)
class Steps:
    """The G steps of a curve: float64 [G + 1] bounds in seconds; the last can be shorter."""

    bounds_s: np.ndarray

    @property
    def times_s(self) -> np.ndarray:
        """The middle of each step: float64 [G]."""
        middles: np.ndarray = (self.bounds_s[:-1] + self.bounds_s[1:]) / 2
        return middles


@dataclass(frozen=True, eq=False)
class Curve:
    """What is known at each step.

    Attributes:
        known: bool [G]: at which steps there is something to go on.
        valence: float64 [G], from -1 to 1.
        confidence: float64 [G], from 0 to 1; None where nothing measures it.
        emotions: names of the E emotions; probabilities: float64 [G, E], 0 for one that nobody who
            speaks at the time knows.
        weights: by kind of evidence, float64 [G]: how much it counts, from 0 to 1.
        faces: int [G], how many at once; None where nobody looked for them.
    """

    steps: Steps
    known: np.ndarray
    valence: np.ndarray
    confidence: np.ndarray | None
    emotions: Sequence[str]
    probabilities: np.ndarray
    weights: Mapping[str, np.ndarray]
    faces: np.ndarray | None = None


def steps_between(start: Fraction, end: Fraction, every: Fraction) -> Steps:
    """Return the steps of length `every` that cover [start, end) seconds; one at least."""
    count = max(1, ceil((end - start) / every))
    bounds = [float(start + i * every) for i in range(count)]
    return Steps(np.array([*bounds, max(float(end), np.nextafter(bounds[-1], np.inf))]))


def points(curve: Curve) -> Iterator[dict[str, Any]]:
    """Yield a point for each step at which something is known."""
    times = curve.steps.times_s
    for i in np.flatnonzero(curve.known).tolist():
        confidence = None if curve.confidence is None else _rounded(curve.confidence[i])
        shares = {name: _rounded(weight[i]) for name, weight in curve.weights.items()}
        point = {
            "time_s": round(float(times[i]), TIME_DIGITS),
            "valence": _rounded(curve.valence[i]),
            "confidence": confidence,
            "emotions": _distribution(curve.emotions, curve.probabilities[i]),
            "evidence": {name: share for name, share in shares.items() if share > 0},
        }
        if curve.faces is not None:
            point["faces"] = int(curve.faces[i])
        yield point


def summary(curve: Curve) -> dict[str, Any]:
    """Return what the whole curve comes to; nulls where nothing is known.

    Means are weighted with confidence, where it is measured. `covered` is the share of time that
    has points; `confidence` the mean over all of the time, where what has no point counts as 0.
    """
    known = curve.known
    confidence = _mean_confidence(curve)
    if not known.any():
        nothing = dict.fromkeys(("valence", "min", "max"))
        return {
            **nothing,
            "peaks": [],
            "dominant": None,
            "covered": 0.0,
            "confidence": confidence,
        }
    valence = curve.valence[known]
    weight = _weight(curve)
    emotions = dict(mean_emotions(curve))
    lengths = np.diff(curve.steps.bounds_s)
    return {
        "valence": _rounded(np.average(valence, weights=weight)),
        "min": _rounded(valence.min()),
        "max": _rounded(valence.max()),
        "peaks": [
            {
                "time_s": round(float(curve.steps.times_s[i]), TIME_DIGITS),
                "valence": _rounded(curve.valence[i]),
            }
            for i in peaks(curve)
        ],
        "dominant": max(emotions, key=lambda name: emotions[name]) if emotions else None,
        "covered": _rounded(lengths[known].sum() / lengths.sum()),
        "confidence": confidence,
    }


def _mean_confidence(curve: Curve) -> float | None:
    if curve.confidence is None:
        return None
    lengths = np.diff(curve.steps.bounds_s)
    return _rounded(np.average(np.where(curve.known, curve.confidence, 0.0), weights=lengths))


def mean_emotions(curve: Curve) -> dict[str, float]:
    """Return the mean distribution over emotions, weighted as in `summary`; {} without any."""
    has_emotion = curve.known & (curve.probabilities.sum(axis=1) > 0)
    if not has_emotion.any():
        return {}
    mean = np.average(curve.probabilities[has_emotion], axis=0, weights=_weight(curve, has_emotion))
    return _distribution(curve.emotions, mean / mean.sum())


def peaks(curve: Curve) -> list[int]:
    """Return the steps at which valence is highest or lowest of its surroundings, in order.

    The most prominent ones. Steps of less than `LEAST_CONFIDENCE` are passed over: neither are they
    peaks, nor does anything stand out against them. A stretch without a gap begins and ends as if
    its median came before and after, so that a video of one mood has none.
    """
    is_sure = np.ones(len(curve.known), bool)
    if curve.confidence is not None:
        is_sure = curve.confidence >= LEAST_CONFIDENCE
    found: list[tuple[float, int]] = []
    for first, last in _stretches(curve.known):
        steps = first + np.flatnonzero(is_sure[first:last])
        if not len(steps):
            continue
        valence = curve.valence[steps]
        middle = np.median(valence)
        padded = np.concatenate([[middle], valence, [middle]])
        for sign in (1, -1):
            found += [(high, int(steps[at - 1])) for high, at in prominent(sign * padded)]
    chosen = sorted(found, reverse=True)[:MOST_PEAKS]
    return sorted(step for _, step in chosen)


def prominent(values: np.ndarray) -> Iterator[tuple[float, int]]:
    """Yield prominence and place of local maxima that stand out: the middle of a level one.

    A maximum's prominence is by how much it is higher than the higher one of two values: the lowest
    ones to its left and right before something higher comes. (Topographic prominence, as
    scipy.signal.find_peaks has it; importing that takes most of a second.)
    """
    begins = np.flatnonzero(np.diff(values, prepend=np.nan))  # of runs of one value
    heights = values[begins]
    rising = np.diff(heights) > 0
    tops = np.flatnonzero(rising[:-1] & ~rising[1:]) + 1
    left, right = _lowest_so_far(values), _lowest_so_far(values[::-1])[::-1]
    for top in tops.tolist():
        place = int(begins[top] + begins[top + 1] - 1) // 2
        prominence = float(values[place]) - max(left[place], right[place])
        if prominence >= LEAST_PROMINENCE:
            yield prominence, place


def _lowest_so_far(values: np.ndarray) -> list[float]:
    """Return of each value the lowest one since something higher than it, itself included."""
    lowest: list[float] = []
    higher: list[tuple[float, float]] = []  # falling values, each with what is lowest up to it
    for value in values.tolist():
        low = value
        while higher and higher[-1][0] <= value:
            low = min(low, higher.pop()[1])
        higher.append((value, low))
        lowest.append(low)
    return lowest


def _stretches(known: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the runs [first, last) of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    yield from zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True)


def _weight(curve: Curve, chosen: np.ndarray | None = None) -> np.ndarray:
    lengths = np.diff(curve.steps.bounds_s)
    # Two experts that contradict each other wholly leave a confidence of 0.
    measured = lengths if curve.confidence is None else lengths * curve.confidence.clip(1e-6)
    weight: np.ndarray = measured[curve.known if chosen is None else chosen]
    return weight


def _distribution(emotions: Sequence[str], probabilities: np.ndarray) -> dict[str, float]:
    pairs = zip(emotions, map(_rounded, probabilities.tolist()), strict=True)
    return {name: chance for name, chance in pairs if chance > 0}


def _rounded(value: float) -> float:
    return round(float(value), SCORE_DIGITS)
