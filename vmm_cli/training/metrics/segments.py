"""How good detected actions are: mean average precision as ActivityNet has it, recall, alarms.

A detection *meets* a true segment of its label, in its video, where their temporal IoU reaches a
threshold. A *false alarm* is a detection that meets none at 0.3; that one segment is detected twice
counts against the average precision, but is no false alarm.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vmm_cli.analysis.segments import Detection
from vmm_cli.training.data.samples import Segment
from vmm_cli.training.metrics.classes import bootstrap
from vmm_cli.training.metrics.operating import Evidence

IOUS = (0.3, 0.4, 0.5, 0.6, 0.7)
MET_IOU = IOUS[0]
THRESHOLD_IOU = 0.5  # where what is told is to be of use to the eye, not only roughly there
# Each is an evaluation of all detections; the ends of the interval then vary by about 0.01.
MAP_RESAMPLES = 500


Detections = Mapping[str, Sequence[Detection]]
Truth = Mapping[str, Sequence[Segment]]


def temporal_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the time two spans share, divided by the time they cover: [N, 2], [M, 2] -> [N, M].

    Rows are [start, end] with start < end, in any unit.

    >>> temporal_iou(np.array([[0.0, 4.0]]), np.array([[2.0, 8.0], [0.0, 4.0], [4.0, 5.0]]))
    array([[0.25, 1.  , 0.  ]])
    """
    shared = np.minimum(a[:, None, 1], b[None, :, 1]) - np.maximum(a[:, None, 0], b[None, :, 0])
    shared = shared.clip(0)
    lengths = (a[:, 1] - a[:, 0])[:, None] + (b[:, 1] - b[:, 0])[None, :]
    found: np.ndarray = shared / (lengths - shared)
    return found


def average_precision(
    detections: Detections, truth: Truth, label: str, ious: Sequence[float] = IOUS
) -> np.ndarray:
    """Return the interpolated average precision of a label at each temporal IoU: [T].

    As ActivityNet's evaluation computes it (Caba Heilbron et al., CVPR 2015; the interpolation is
    that of PASCAL VOC 2011): all detections of all videos are gone through from the highest score
    down. Each takes, of the true segments in its video that it meets and that none took before, the
    one with the largest IoU, and is then right; else it is wrong. The precision at a rank counts as
    the best one at it or below, and is averaged over the true segments, 0 for those never taken.

    Worked by hand, for one video with the true segments A = [0, 10) and B = [20, 30), at IoU 0.5:
    detections [0, 9) with score 0.9 (IoU 9/10 with A: right), [1, 10) with 0.8 (IoU 9/10 with A,
    which is taken: wrong) and [20, 26) with 0.7 (IoU 6/10 with B: right). The precisions at the
    three ranks are 1, 1/2 and 2/3, so A counts 1 and B counts 2/3: (1 + 2/3) / 2 = 5/6.

    Args:
        detections: by video; of any label, only those of `label` count.
        truth: by video, likewise. A video may be absent where it has none.

    Raises:
        ValueError: no true segment has the label.
    """
    found = _match(detections, truth, label, _videos(detections, truth), ious)
    if not len(found.true_videos):
        raise ValueError(f"no true segment is {label!r}")
    return _average_precisions(found, np.ones(found.n_videos))


def score_segments(
    labels: Sequence[str],
    detections: Detections,
    truth: Truth,
    hours: float,
    *,
    threshold: float | Mapping[str, float],
    groups: Mapping[str, str] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Return how good detections are, as JSON types.

    `mAP`: the mean, over the labels that occur in the truth, of `average_precision` at each of
    `IOUS`, and `mean`, the mean of those; whatever the scores are. All else is of the detections
    from the threshold on: `recall_at`: the share of all true segments that one of their label
    meets, at each IoU; `false_alarms_per_hour`, by label and of `all`; `per_class`: the number `n`
    of true segments, `ap` at each IoU, and at IoU 0.3 `recall`, `precision` (the share of
    detections that are no false alarms) and `false_alarms_per_hour`. None stands for what cannot be
    said: the recall where nothing is true, the precision where nothing is detected.

    With groups, `per_group` has, by group, n, recall at 0.3 and the number of false alarms, and
    `interval` is the 95 % interval of the mean mAP by bootstrap over groups (see
    `metrics.bootstrap`), over the labels that occur in a draw.

    Args:
        labels: those that the model knows.
        detections, truth: by video.
        hours: how much video was looked at.
        threshold: the score from which a detection is told, for all labels or by label.
        groups: by video.
        seed: of the bootstrap.

    Raises:
        ValueError: `hours` is not above 0, or a detection or true segment has another label.
    """
    if not 0 < hours < math.inf:
        raise ValueError(f"{hours} hours of video")
    _check_labels(labels, detections, truth)
    videos = _videos(detections, truth)
    matches = {label: _match(detections, truth, label, videos, IOUS) for label in labels}
    least = {
        label: threshold[label] if isinstance(threshold, Mapping) else threshold for label in labels
    }
    occurring = [found for found in matches.values() if len(found.true_videos)]
    per_class = {label: _of_label(found, least[label], hours) for label, found in matches.items()}
    mean_ap = _mean_average_precisions(occurring, np.ones(len(videos)))
    met = [found.best_scores >= least[label] for label, found in matches.items()]
    alarms = {label: per_class[label]["false_alarms_per_hour"] for label in labels}
    metrics: dict[str, Any] = {
        "mAP": {**_by_iou(mean_ap), "mean": None if mean_ap is None else float(mean_ap.mean())},
        "per_class": per_class,
        "recall_at": _by_iou(np.concatenate(met, axis=1).mean(axis=1) if occurring else None),
        "false_alarms_per_hour": {**alarms, "all": sum(alarms.values())},
    }
    if groups is not None:
        metrics["per_group"] = _per_group(matches, least, [groups[video] for video in videos])
        metrics["interval"] = _interval(occurring, [groups[video] for video in videos], seed)
    return metrics


def best_threshold(labels: Sequence[str], detections: Detections, truth: Truth) -> float | None:
    """Return the score from which on detections are best told: where F1 at IoU 0.5 is highest.

    Over all labels together; None where nothing is detected that is right. It lies half way to the
    next lower score: new videos are not to need the very score of the last one that was right.
    Chosen on what is measured on, recall and false alarms come out a little too good.
    """
    videos = _videos(detections, truth)
    matches = [_match(detections, truth, label, videos, (THRESHOLD_IOU,)) for label in labels]
    scores = np.concatenate([found.scores for found in matches])
    order = np.argsort(-scores, kind="stable")
    right = np.concatenate([found.right[0] for found in matches])[order].cumsum()
    if not len(right) or not right[-1]:
        return None
    true = sum(len(found.true_videos) for found in matches)
    f1 = 2 * right / (np.arange(1, len(right) + 1) + true)
    ranked = scores[order]
    last = ranked[f1.argmax()]
    lower = ranked[ranked < last]
    return float(last + (lower[0] if len(lower) else 0.0)) / 2


def recall_at_false_alarms(
    detections: Detections, truth: Truth, label: str, allowed: int, iou: float = MET_IOU
) -> float:
    """Return the best recall of a label with at most `allowed` false alarms over all videos.

    The threshold is put where one false alarm more would be let in; detections of equal score stand
    or fall together. A true segment counts as found where a detection from there on meets it.

    Raises:
        ValueError: no true segment has the label, or fewer than no false alarms are allowed.
    """
    if allowed < 0:
        raise ValueError(f"{allowed} false alarms cannot be allowed")
    found = _match(detections, truth, label, _videos(detections, truth), (iou,))
    if not len(found.true_videos):
        raise ValueError(f"no true segment is {label!r}")
    return _recall_with(found, allowed, iou, np.ones(found.n_videos))


def recall_interval(
    detections: Detections,
    truth: Truth,
    label: str,
    allowed: int,
    iou: float = MET_IOU,
    *,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Return the 95 % interval of `recall_at_false_alarms`, by bootstrap over videos.

    The threshold is chosen anew for each draw. None below 10 videos, see `metrics.bootstrap`.
    """
    videos = _videos(detections, truth)
    found = _match(detections, truth, label, videos, (iou,))
    return bootstrap(len(videos), lambda weights: _recall_with(found, allowed, iou, weights), seed)


def evidence_of(
    labels: Sequence[str], detections: Detections, truth: Truth, hours: float
) -> dict[str, Evidence]:
    """Return what was found of each label, for its operating curve: met is met at IoU 0.3."""
    videos = _videos(detections, truth)
    matches = {label: _match(detections, truth, label, videos, (MET_IOU,)) for label in labels}
    return {
        label: Evidence(
            best=found.best_scores[0],
            alarms=found.scores[found.largest_iou < MET_IOU],
            merged=np.zeros(0),
            hours=hours,
        )
        for label, found in matches.items()
    }


def rights_of(
    labels: Sequence[str], detections: Detections, truth: Truth
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the scores of all detections, which are right at IoU 0.3, and the video of each.

    To find an action once more is not right, as for the average precision.
    """
    videos = _videos(detections, truth)
    matches = [_match(detections, truth, label, videos, (MET_IOU,)) for label in labels]
    return (
        np.concatenate([np.zeros(0), *(found.scores for found in matches)]),
        np.concatenate([np.zeros(0, bool), *(found.right[0] for found in matches)]),
        [videos[place] for found in matches for place in found.videos],
    )


# --- which detections meet which segments -------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Match:
    """The detections of one label, from the highest score down, and what they meet.

    Attributes:
        n_videos: V.
        scores: float [N].
        videos: int [N], the place of each detection's video.
        right: bool [T, N], at each IoU: it took a true segment that none took before.
        largest_iou: float [N], with any true segment.
        true_videos: int [M], the place of each true segment's video.
        best_scores: float [T, M], at each IoU the best score of a detection that meets the segment;
            NaN, which is above no threshold, where none does.
    """

    n_videos: int
    scores: np.ndarray
    videos: np.ndarray
    right: np.ndarray
    largest_iou: np.ndarray
    true_videos: np.ndarray
    best_scores: np.ndarray


def _match(
    detections: Detections, truth: Truth, label: str, videos: Sequence[str], ious: Sequence[float]
) -> _Match:
    thresholds = np.array(ious)
    scores, right, largest, best_scores = [], [], [], []
    places, true_places = [], []
    for place, video in enumerate(videos):
        found = [d for d in detections.get(video, ()) if d.label == label]
        # Of equal scores the first begins first: the result must not hang on the order given.
        found.sort(key=lambda d: (-d.score, d.start_s, d.end_s))
        here = sorted(s for s in truth.get(video, ()) if s.label == label)
        iou = temporal_iou(_spans(found), _spans(here))  # [N_v, M_v]
        score = np.array([d.score for d in found])
        meets = iou >= thresholds[:, None, None]  # [T, N_v, M_v]
        scores.append(score)
        right.append(_right(iou, meets))
        largest.append(iou.max(axis=1, initial=0))
        best = np.where(meets, score[:, None], -np.inf).max(axis=1, initial=-np.inf)  # [T, M_v]
        best_scores.append(np.where(np.isfinite(best), best, np.nan))
        places += [place] * len(found)
        true_places += [place] * len(here)
    empty = np.zeros((len(ious), 0))
    all_scores = np.concatenate([empty[0], *scores])
    order = np.argsort(-all_scores, kind="stable")
    return _Match(
        n_videos=len(videos),
        scores=all_scores[order],
        videos=np.array(places, int)[order],
        right=np.concatenate([empty.astype(bool), *right], axis=1)[:, order],
        largest_iou=np.concatenate([empty[0], *largest])[order],
        true_videos=np.array(true_places, int),
        best_scores=np.concatenate([empty, *best_scores], axis=1),
    )


def _right(iou: np.ndarray, meets: np.ndarray) -> np.ndarray:
    """Return which detections of a video take a true segment: [N, M], [T, N, M] -> bool [T, N]."""
    right = np.zeros(meets.shape[:2], bool)
    if not iou.size:
        return right
    free = np.ones((meets.shape[0], iou.shape[1]), bool)  # [T, M]
    every = np.arange(len(free))
    for n in np.flatnonzero(meets.any(axis=(0, 2))):
        possible = np.where(free & meets[:, n], iou[n], -1.0)  # [T, M]
        taken = possible.argmax(axis=1)
        right[:, n] = possible[every, taken] >= 0
        free[every[right[:, n]], taken[right[:, n]]] = False
    return right


def _spans(found: Sequence[Detection] | Sequence[Segment]) -> np.ndarray:
    return np.array([(span.start_s, span.end_s) for span in found], float).reshape(-1, 2)


def _videos(detections: Detections, truth: Truth) -> list[str]:
    return sorted(detections.keys() | truth.keys())


def _check_labels(labels: Sequence[str], detections: Detections, truth: Truth) -> None:
    found = {s.label for spans in truth.values() for s in spans}
    found |= {d.label for spans in detections.values() for d in spans}
    if unknown := sorted(found - set(labels)):
        raise ValueError(f"no labels of the model: {', '.join(map(repr, unknown))}")


# --- numbers from matches -----------------------------------------------------------------------


def _average_precisions(found: _Match, weights: np.ndarray) -> np.ndarray:
    """Return the average precision at each IoU, each video counted `weights` [V] times: [T]."""
    times = weights[found.videos]  # [N]
    right = found.right * times  # [T, N]
    ranks = np.cumsum(times)
    precision = np.cumsum(right, axis=1) / np.maximum(ranks, 1)  # a weight is 0, 1, 2, ...
    best_below = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    averages: np.ndarray = (best_below * right).sum(axis=1) / weights[found.true_videos].sum()
    return averages


def _mean_average_precisions(matches: Sequence[_Match], weights: np.ndarray) -> np.ndarray | None:
    """Return the mean over labels of what occurs in the videos: [T]; None where nothing does."""
    values = [_average_precisions(m, weights) for m in matches if weights[m.true_videos].any()]
    return np.mean(values, axis=0) if values else None


def _recall_with(found: _Match, allowed: int, iou: float, weights: np.ndarray) -> float:
    """Return the recall at the one IoU of `found`, each video counted `weights` [V] times.

    NaN where nothing is true.
    """
    true = weights[found.true_videos]  # [M]
    if not true.any():
        return math.nan
    alarms = np.cumsum((found.largest_iou < iou) * weights[found.videos])  # [N]
    too_many = alarms > allowed
    above = found.scores[too_many.argmax()] if too_many.any() else -math.inf
    return float(true[found.best_scores[0] > above].sum() / true.sum())


def _of_label(found: _Match, least: float, hours: float) -> dict[str, Any]:
    number = len(found.true_videos)
    told = found.scores >= least
    alarms = int((told & (found.largest_iou < MET_IOU)).sum())
    here = _average_precisions(found, np.ones(found.n_videos)) if number else None
    return {
        "n": number,
        "ap": _by_iou(here),
        "recall": float((found.best_scores[0] >= least).mean()) if number else None,
        "precision": 1 - alarms / int(told.sum()) if told.any() else None,
        "false_alarms_per_hour": alarms / hours,
    }


def _per_group(
    matches: Mapping[str, _Match], least: Mapping[str, float], groups: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return n, recall and false alarms by group; `groups`: [V]."""
    counts = {group: Counter[str]() for group in sorted(set(groups))}
    for label, found in matches.items():
        for place, score in zip(found.true_videos, found.best_scores[0], strict=True):
            counts[groups[place]].update(n=1, met=int(score >= least[label]))
        alarms = (found.scores >= least[label]) & (found.largest_iou < MET_IOU)
        for place in found.videos[alarms]:
            counts[groups[place]]["alarms"] += 1
    return {
        group: {
            "n": count["n"],
            "recall": count["met"] / count["n"] if count["n"] else None,
            "false_alarms": count["alarms"],
        }
        for group, count in counts.items()
    }


def _interval(matches: Sequence[_Match], groups: Sequence[str], seed: int) -> dict[str, Any] | None:
    """Return the interval of the mean mAP by bootstrap over groups; `groups`: [V]."""
    place = {name: i for i, name in enumerate(sorted(set(groups)))}
    places = np.array([place[group] for group in groups], int)

    def mean_map(weights: np.ndarray) -> float:
        values = _mean_average_precisions(matches, weights[places])
        return math.nan if values is None else float(values.mean())

    return bootstrap(len(place), mean_map, seed, MAP_RESAMPLES)


def _by_iou(values: np.ndarray | None) -> dict[str, float | None]:
    """Return values [T] by the name of their IoU."""
    numbers = [None] * len(IOUS) if values is None else values.tolist()
    return {f"{iou:g}": number for iou, number in zip(IOUS, numbers, strict=True)}
