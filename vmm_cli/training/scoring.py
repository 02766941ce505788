"""What was said of samples, and how good that is; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vmm_cli.analysis.segments import Detection
from vmm_cli.training.metrics import score
from vmm_cli.training.rating_metrics import score_ratings
from vmm_cli.training.samples import Sample, group_of
from vmm_cli.training.segment_metrics import best_threshold, score_segments

# Where nothing that was found is right, so that nothing says which threshold is a good one.
DEFAULT_THRESHOLD = 0.5
NO_EMOTION = -1


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What a model says of samples that it did not learn from.

    Attributes:
        said: by sample, the probabilities of the labels, float64 [C]; of a model for valence with
            the valence before them, [1 + C]; or the actions found.
        metrics: how good that is, as JSON types.
        seconds: by sample, how much video was looked at; None but of a model for segments.
        threshold: the score from which on an action is told; None but of a model for segments.
    """

    samples: Sequence[Sample]
    said: Sequence[Any]
    metrics: dict[str, Any]
    seconds: Sequence[float] | None = None
    threshold: float | None = None


def labels_judged(
    labels: Sequence[str],
    samples: Sequence[Sample],
    said: Sequence[np.ndarray],
    *,
    multi_label: bool,
    has_groups: bool,
) -> Judged:
    """Compare probabilities with the labels of the samples, all of which are among `labels`."""
    truth = truth_of(samples, labels, multi_label)
    groups = [group_of(sample) for sample in samples] if has_groups else None
    metrics = score(labels, np.stack(said), truth, groups=groups, multi_label=multi_label)
    return Judged(samples, said, metrics)


def ratings_judged(
    labels: Sequence[str],
    samples: Sequence[Sample],
    said: Sequence[np.ndarray],
    *,
    has_groups: bool,
) -> Judged:
    """Compare ratings with those of the samples; an emotion not in `labels` counts as none."""
    groups = [group_of(sample) for sample in samples] if has_groups else None
    valence, emotion = ratings_truth(samples, labels)
    metrics = score_ratings(labels, np.stack(said), valence, emotion, groups=groups)
    return Judged(samples, said, metrics)


def actions_judged(
    labels: Sequence[str],
    samples: Sequence[Sample],
    said: Sequence[list[Detection]],
    seconds: Sequence[float],
    *,
    has_groups: bool,
    threshold: float | None = None,
) -> Judged:
    """Compare the actions found with those of the samples, all of whose labels are among `labels`.

    `seconds`: how much of each sample was looked at. `threshold`: from which score on actions are
    told; None: the best one for these very samples.
    """
    detections = {sample.name: found for sample, found in zip(samples, said, strict=True)}
    truth = {sample.name: sample.segments or () for sample in samples}
    if threshold is None:
        threshold = best_threshold(labels, detections, truth) or DEFAULT_THRESHOLD
    groups = {sample.name: group_of(sample) for sample in samples} if has_groups else None
    hours = sum(seconds) / 3600
    metrics = score_segments(labels, detections, truth, hours, threshold=threshold, groups=groups)
    return Judged(samples, said, {**metrics, "threshold": threshold}, seconds, threshold)


def truth_of(samples: Sequence[Sample], labels: Sequence[str], multi_label: bool) -> np.ndarray:
    """Return the place of each sample's label: int [N]; or which it has, bool [N, C]."""
    number = {label: i for i, label in enumerate(labels)}
    truth = np.zeros((len(samples), len(labels)), bool)
    for row, sample in zip(truth, samples, strict=True):
        row[[number[label] for label in sample.labels]] = True
    return truth if multi_label else truth.argmax(axis=1)


def ratings_truth(
    samples: Sequence[Sample], labels: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return valences, float64 [N] or NaN, and places of emotions, int64 [N] or `NO_EMOTION`."""
    number = {label: i for i, label in enumerate(labels)}
    valence = [np.nan if sample.valence is None else sample.valence for sample in samples]
    emotion = [number.get(next(iter(sample.labels), ""), NO_EMOTION) for sample in samples]
    return np.array(valence, np.float64), np.array(emotion, np.int64)
