"""How well what is unusual is told from what is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vmm_cli.analysis.unusual import events

# What is usual is cut into pieces of the length of the events, but no shorter than this.
LEAST_PIECE_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """How surprising a video was, and what is true of it.

    Attributes:
        surprise: float64 [T]; there: bool [T], at which steps it was looked at.
        truth: [first, last) steps in which something unusual happens.
        level: from which surprise on something is told.
    """

    surprise: np.ndarray
    there: np.ndarray
    truth: Sequence[tuple[int, int]]
    level: float

    @property
    def unusual(self) -> np.ndarray:
        """Which steps are unusual: bool [T]."""
        unusual = np.zeros(len(self.surprise), bool)
        for first, last in self.truth:
            unusual[first:last] = True
        return unusual


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """Return how often a positive scores higher than a negative, ties as half; None without both.

    >>> area_under_curve(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
    0.875
    """
    from sklearn.metrics import roc_auc_score

    if positive.all() or not positive.any():
        return None
    return float(roc_auc_score(positive, scores))


def score_unusual(videos: Sequence[Judged], step_s: float) -> dict[str, Any]:
    """Return how well events are told, as JSON types; `step_s`: seconds of a step.

    `auc.frame` is of steps, `auc.event` of events against as long pieces of usual time, each by its
    highest surprise, `auc.clip` of videos likewise. An event is found where one that is told
    overlaps it; what is told and overlaps none is a false alarm, an hour of usual time.
    """
    told = [list(events(one.surprise, one.level)) for one in videos]
    found = sum(_overlaps(span, spans) for one, spans in zip(videos, told, strict=True)
                for span in one.truth)  # fmt: skip
    false = sum(not _overlaps(span, one.truth) for one, spans in zip(videos, told, strict=True)
                for span in spans)  # fmt: skip
    truth = sum(len(one.truth) for one in videos)
    hours = sum(int((~one.unusual).sum()) for one in videos) * step_s / 3600
    return {
        "n": len(videos),
        "auc": {
            "frame": _frames(videos),
            "event": _events(videos, step_s),
            "clip": _clips(videos),
        },
        "events": {"n": truth, "found": found, "recall": found / truth if truth else None},
        "usual_hours": hours,
        "false_alarms": false,
        "false_alarms_per_hour": false / hours if hours else None,
    }


def _overlaps(span: tuple[int, int], others: Sequence[tuple[int, int]]) -> bool:
    return any(span[0] < last and first < span[1] for first, last in others)


def _frames(videos: Sequence[Judged]) -> float | None:
    if not videos:
        return None
    there = np.concatenate([one.there for one in videos])
    scores = np.concatenate([one.surprise for one in videos])[there]
    return area_under_curve(scores, np.concatenate([one.unusual for one in videos])[there])


def _clips(videos: Sequence[Judged]) -> float | None:
    if not videos:
        return None
    scores = np.array([one.surprise.max() for one in videos])
    return area_under_curve(scores, np.array([bool(one.truth) for one in videos]))


def _events(videos: Sequence[Judged], step_s: float) -> float | None:
    lengths = [last - first for one in videos for first, last in one.truth]
    if not lengths:
        return None
    piece = max(1, round(max(float(np.median(lengths)), LEAST_PIECE_S / step_s)))
    scores, positive = [], []
    for one in videos:
        for first, last in one.truth:
            scores.append(float(one.surprise[first:last].max()))
            positive.append(True)
        for first, last in _usual_pieces(one, piece):
            scores.append(float(one.surprise[first:last].max()))
            positive.append(False)
    return area_under_curve(np.array(scores), np.array(positive))


def _usual_pieces(one: Judged, piece: int) -> Iterator[tuple[int, int]]:
    """Yield [first, last) of pieces of usual time; what is left of a stretch is one, too."""
    edges = np.flatnonzero(np.diff(~one.unusual, prepend=False, append=False)).tolist()
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        for begin in range(first, last, piece):
            yield begin, min(begin + piece, last)


def figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers that a model is known by: those that there are, areas first."""
    areas = {f"auc_by_{name}": value for name, value in metrics["auc"].items()}
    known = {**areas, "false_alarms_per_hour": metrics["false_alarms_per_hour"]}
    return {name: value for name, value in known.items() if value is not None}
