"""From scores over time to actions that begin and end: numpy only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

# Soft non-maximum suppression: what overlaps a better one by an IoU of 0.5 keeps 61 % of its score.
NMS_SIGMA = 0.5
# Probabilities are cut at these levels, and every run above one is a candidate.
CUTS = tuple(round(0.05 * i, 2) for i in range(1, 19))
SMOOTHING_S = 2.0  # steps shorter than that are noise of a classifier that sees them one by one


@dataclass(frozen=True)
class Detection:
    """A detected action: [start_s, end_s) in seconds, its label, and how sure the model is.

    `reason`: why, as JSON types, of a model that says so. ValueError where it has no length or its
    score is no number.
    """

    start_s: float
    end_s: float
    label: str
    score: float
    reason: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not -math.inf < self.start_s < self.end_s < math.inf:
            raise ValueError(f"no span: [{self.start_s}, {self.end_s}) s")
        if not math.isfinite(self.score):
            raise ValueError(f"{self.score} is no score")


def from_anchors(
    probabilities: np.ndarray, spans: np.ndarray, labels: Sequence[str], min_score: float
) -> list[Detection]:
    """Return the actions that places of a pyramid tell of, the same one kept by many once.

    Args:
        probabilities: [P, C], each label's probability at each anchor point.
        spans: [P, 2], begin and end in seconds.
        min_score: below it nothing is an action.
    """
    found: list[Detection] = []
    long = spans[:, 1] > spans[:, 0]
    for column, label in enumerate(labels):
        scores = probabilities[:, column]
        kept = long & (scores >= min_score)
        found += _soft_nms(spans[kept], scores[kept], label, min_score)
    return found


def from_steps(
    probabilities: np.ndarray,
    start_s: float,
    step_s: float,
    labels: Sequence[str],
    min_score: float,
) -> list[Detection]:
    """Return the actions in the probabilities of single steps: [T, C].

    They are smoothed and cut at many levels; every run above a cut may be an action. Its score
    is by how much the mean in it exceeds the mean beside it, half as long to either side: the ends
    of an action are where that is largest.
    """
    smooth = moving_mean(probabilities, steps_to_smooth(step_s))
    found: list[Detection] = []
    for column, label in enumerate(labels):
        curve = smooth[:, column]
        runs = np.array(sorted({run for cut in CUTS for run in _runs(curve > cut)}))
        if not len(runs):
            continue
        scores = _contrast(curve, runs)
        chosen = scores >= min_score
        spans = start_s + runs[chosen] * step_s
        found += _soft_nms(spans, scores[chosen], label, min_score)
    return found


def from_cells(
    bounds: np.ndarray,
    probabilities: np.ndarray,
    labels: Sequence[str],
    min_score: Callable[[str], float],
) -> list[Detection]:
    """Return the runs of cells in which a label has at least a probability of its `min_score`.

    The score is the mean over the cells.

    Args:
        bounds: [T, 2], begin and end of each cell in seconds; they abut.
        probabilities: [T, C].
    """
    probabilities = probabilities.astype(np.float64)  # float32 would round `min_score`, too
    return [
        Detection(
            float(bounds[first, 0]),
            float(bounds[last - 1, 1]),
            label,
            max(least, float(probabilities[first:last, column].mean())),  # less is rounding
        )
        for column, label in enumerate(labels)
        for least in (min_score(label),)
        for first, last in _runs(probabilities[:, column] >= least)
    ]


def rescored(
    detections: Sequence[Detection], to: Callable[[np.ndarray], np.ndarray]
) -> list[Detection]:
    """Return detections with other scores; `to`: from the scores [N] to those."""
    scores = to(np.array([one.score for one in detections]))
    return [replace(one, score=float(s)) for one, s in zip(detections, scores, strict=True)]


def tidied(
    detections: Iterable[Detection],
    *,
    min_score: float,
    min_duration_s: float = 0.0,
    merge_gap_s: float | None = None,
) -> list[Detection]:
    """Return what counts, in the order of time.

    Those of one label that lie no further apart than `merge_gap_s`, or overlap, become one with the
    highest of their scores; only then what is shorter than `min_duration_s` is left out.
    """
    counted = [one for one in detections if one.score >= min_score]
    if merge_gap_s is not None:
        counted = list(_merged(counted, merge_gap_s))
    kept = (one for one in counted if one.end_s - one.start_s >= min_duration_s)
    return sorted(kept, key=lambda one: (one.start_s, one.end_s, one.label))


def steps_to_smooth(step_s: float) -> int:
    """Return over how many steps, an odd number, the probabilities of single steps are smoothed."""
    return max(1, round(SMOOTHING_S / step_s)) | 1


def moving_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Return the mean over `width` (odd) steps around each: [T, C] -> [T, C]; less at the ends."""
    half = width // 2
    sums = np.concatenate([np.zeros((1, values.shape[1])), values.cumsum(axis=0, dtype=np.float64)])
    steps = np.arange(len(values))
    first, last = np.maximum(steps - half, 0), np.minimum(steps + half + 1, len(values))
    mean: np.ndarray = (sums[last] - sums[first]) / (last - first)[:, None]
    return mean


def _merged(detections: Sequence[Detection], gap_s: float) -> Iterator[Detection]:
    current: Detection | None = None
    for one in sorted(detections, key=lambda one: (one.label, one.start_s)):
        if current is None:
            current = one
        elif one.label == current.label and one.start_s - current.end_s <= gap_s:
            end_s, best = max(current.end_s, one.end_s), max(current, one, key=lambda d: d.score)
            current = replace(current, end_s=end_s, score=best.score, reason=best.reason)
        else:
            yield current
            current = one
    if current is not None:
        yield current


def _runs(above: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield [first, last) of each run of True in bool [T]."""
    edges = np.flatnonzero(np.diff(above, prepend=False, append=False)).tolist()
    yield from zip(edges[::2], edges[1::2], strict=True)


def _contrast(curve: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Return by how much the mean of a curve in each run exceeds the mean beside it: [N]."""
    sums = np.concatenate([[0.0], curve.cumsum()])
    first, last = runs.T
    beside = np.maximum(1, (last - first) // 2)
    before, after = np.maximum(first - beside, 0), np.minimum(last + beside, len(curve))
    inside = (sums[last] - sums[first]) / (last - first)
    outside = (sums[after] - sums[last] + sums[first] - sums[before]) / np.maximum(
        1, (after - last) + (first - before)
    )
    contrast: np.ndarray = inside - outside
    return contrast


def _soft_nms(
    spans: np.ndarray, scores: np.ndarray, label: str, min_score: float
) -> Iterator[Detection]:
    """Yield the best span, lower the scores of what overlaps it, and so on.

    Soft non-maximum suppression with a Gaussian: Bodla, Singh, Chellappa, Davis 2017. Each time
    only what overlaps is looked at, so that hours take no longer than they must.
    """
    order = np.argsort(spans[:, 0], kind="stable")
    spans, scores = spans[order].astype(np.float64), scores[order].astype(np.float64)
    starts, ends = spans.T
    longest = (ends - starts).max(initial=0)
    while len(scores):
        best = int(scores.argmax())
        if scores[best] < min_score:
            return
        start_s, end_s = float(starts[best]), float(ends[best])
        yield Detection(start_s, end_s, label, float(scores[best]))
        near = slice(*np.searchsorted(starts, [start_s - longest, end_s]).tolist())
        shared = np.minimum(ends[near], end_s) - np.maximum(starts[near], start_s)
        shared = shared.clip(0)
        iou = shared / (ends[near] - starts[near] + (end_s - start_s) - shared)
        scores[near] *= np.exp(-(iou**2) / NMS_SIGMA)
        scores[best] = -1.0
