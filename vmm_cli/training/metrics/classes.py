"""How good predictions are: numpy arrays in, JSON types out; the metrics are scikit-learn's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

# scikit-learn ships no types
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
    recall_score,
    top_k_accuracy_score,
)

CALIBRATION_BINS = 15  # as Guo et al. 2017 report it
THRESHOLD = 0.5  # a label of several is predicted from this probability on
TOP = 5
RESAMPLES = 2000  # the ends of a 95 % interval then vary in the third decimal only
LEVEL = 0.95
LEAST_GROUPS = 10  # drawn from fewer, an interval is far too narrow
ROUNDING = 1e-4


class CalibrationBin(NamedTuple):
    """Predictions of about one confidence: their mean confidence, their accuracy, their number."""

    confidence: float
    accuracy: float
    n: int


def score(
    labels: Sequence[str],
    probabilities: np.ndarray,
    truth: np.ndarray,
    *,
    groups: Sequence[str] | None,
    multi_label: bool,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the metrics of N predictions over C labels.

    `accuracy`; `top5` (None for five labels or fewer); `balanced_accuracy`: the mean recall of the
    labels that occur; `macro_f1`: the mean F1 of the labels that occur or are predicted;
    `per_class`: precision, recall, F1 and support by label, 0 where nothing is to be divided;
    `confusion`: a row per true label, a column per predicted one; `ece`: see `calibration_error`.

    With several labels a sample, a label counts as predicted from a probability of 0.5 on:
    `accuracy` then is that of whole label sets, `balanced_accuracy` the mean over labels of the
    mean recall of "there" and "not there", `confusion` has a matrix [[true negative, false
    positive], [false negative, true positive]] per label, and `macro_average_precision` is the mean
    over the labels that occur.

    With groups, `per_group` has n and accuracy by group, and `interval` the 95 % interval of the
    accuracy from 2000 bootstrap samples of whole groups (percentiles; Efron and Tibshirani 1993,
    chapter 13); None for fewer than two groups.

    Args:
        probabilities: float [N, C].
        truth: int [N], places in `labels`; with `multi_label` bool [N, C].
        groups: [N].
        seed: of the bootstrap.

    Raises:
        ValueError: the shapes do not agree, N is 0, C is 1, or a probability is not a number from
            0 to 1.
    """
    probabilities, truth = np.asarray(probabilities, np.float64), np.asarray(truth)
    _check(labels, probabilities, truth, groups, multi_label)
    if multi_label:
        metrics, correct = _of_label_sets(labels, probabilities, truth.astype(bool))
    else:
        metrics, correct = _of_labels(labels, probabilities, truth)
    metrics["ece"] = calibration_error(probabilities, truth)
    if groups is not None:
        metrics["per_group"] = _per_group(groups, correct)
        metrics["interval"] = interval(groups, correct, seed)
    return metrics


def calibration_bins(probabilities: np.ndarray, truth: np.ndarray) -> list[CalibrationBin]:
    """Return how often predictions are right, by confidence: 15 equal bins, those that hold any.

    The confidence of a prediction is its label's probability. Where `truth` is bool [N, C], each
    label of each sample is a prediction of its own, "there" or "not there".

    Args:
        probabilities: float [N, C].
        truth: int [N] or bool [N, C].
    """
    probabilities, truth = np.asarray(probabilities, np.float64), np.asarray(truth)
    if truth.ndim == 2:
        predicted = probabilities >= THRESHOLD
        confidence = np.where(predicted, probabilities, 1 - probabilities).ravel()
        correct = (predicted == truth.astype(bool)).ravel()
    else:
        confidence = probabilities.max(axis=1)
        correct = probabilities.argmax(axis=1) == truth
    # Bin m holds the confidences in ((m - 1) / M, m / M], as in the paper.
    edges = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    places = np.searchsorted(edges, confidence, side="left")
    return [
        CalibrationBin(float(confidence[here].mean()), float(correct[here].mean()), int(here.sum()))
        for here in (places == m for m in range(CALIBRATION_BINS))
        if here.any()
    ]


def calibration_error(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the expected calibration error: the mean distance of accuracy from confidence.

    Over the bins of `calibration_bins`, weighted by how many predictions they hold (Guo, Pleiss,
    Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, equation 3).
    """
    bins = calibration_bins(probabilities, truth)
    total = sum(part.n for part in bins)
    return sum(part.n * abs(part.accuracy - part.confidence) for part in bins) / total


def _check(
    labels: Sequence[str],
    probabilities: np.ndarray,
    truth: np.ndarray,
    groups: Sequence[str] | None,
    multi_label: bool,
) -> None:
    number = len(truth)
    if number == 0:
        raise ValueError("there is nothing to score")
    if len(labels) < 2:
        raise ValueError("one label tells nothing apart")
    if probabilities.shape != (number, len(labels)):
        raise ValueError(f"probabilities {probabilities.shape} for {number} x {len(labels)} labels")
    if truth.shape != ((number, len(labels)) if multi_label else (number,)):
        raise ValueError(f"truth has the shape {truth.shape}")
    if not multi_label and not ((truth >= 0) & (truth < len(labels))).all():
        raise ValueError("truth names labels that are not there")
    if groups is not None and len(groups) != number:
        raise ValueError(f"{len(groups)} groups for {number} samples")
    # Means of float32 probabilities may pass 1 by a rounding; a comparison with NaN is false.
    if not ((probabilities >= 0) & (probabilities <= 1 + ROUNDING)).all():
        raise ValueError("probabilities must be numbers from 0 to 1")


def _of_labels(
    labels: Sequence[str], probabilities: np.ndarray, truth: np.ndarray
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the metrics of one label a sample, and which samples are right: bool [N]."""
    every = np.arange(len(labels))
    predicted = probabilities.argmax(axis=1)  # [N, C] -> [N]
    per_class = _per_class(labels, truth, predicted)
    occurring = np.union1d(truth, predicted).tolist()
    top = None
    if len(labels) > TOP:
        top = float(top_k_accuracy_score(truth, probabilities, k=TOP, labels=every))
    metrics = {
        "accuracy": float(accuracy_score(truth, predicted)),
        "top5": top,
        "balanced_accuracy": _mean_recall(truth, predicted),
        "macro_f1": float(np.mean([per_class[labels[i]]["f1"] for i in occurring])),
        "per_class": per_class,
        "confusion": {
            "labels": list(labels),
            "matrix": confusion_matrix(truth, predicted, labels=every).tolist(),
        },
    }
    return metrics, predicted == truth


def _of_label_sets(
    labels: Sequence[str], probabilities: np.ndarray, truth: np.ndarray
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the metrics of several labels a sample, and which samples are wholly right."""
    predicted = probabilities >= THRESHOLD  # [N, C]
    per_class = _per_class(labels, truth, predicted)
    here = truth.any(axis=0)  # [C]
    precisions = [
        average_precision_score(truth[:, c], probabilities[:, c]) for c in np.flatnonzero(here)
    ]
    occurring = np.flatnonzero(here | predicted.any(axis=0)).tolist()
    f1 = [per_class[labels[c]]["f1"] for c in occurring]
    recalls = [_mean_recall(truth[:, c], predicted[:, c]) for c in range(len(labels))]
    metrics = {
        "accuracy": float(accuracy_score(truth, predicted)),
        "top5": None,
        "balanced_accuracy": float(np.mean(recalls)),
        "macro_f1": float(np.mean(f1)) if f1 else 0.0,
        "macro_average_precision": float(np.mean(precisions)) if precisions else None,
        "per_class": per_class,
        "confusion": {
            "labels": list(labels),
            "matrix": multilabel_confusion_matrix(truth, predicted).tolist(),
        },
    }
    return metrics, (predicted == truth).all(axis=1)


def _per_class(
    labels: Sequence[str], truth: np.ndarray, predicted: np.ndarray
) -> dict[str, dict[str, float | int]]:
    columns = precision_recall_fscore_support(
        truth, predicted, labels=np.arange(len(labels)), zero_division=0
    )
    return {
        label: {
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "support": int(support),
        }
        for label, precision, recall, f1, support in zip(labels, *columns, strict=True)
    }


def _mean_recall(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the balanced accuracy: the mean recall of the classes that occur in `truth`."""
    # balanced_accuracy_score is the same but warns of each predicted class that does not occur.
    return float(recall_score(truth, predicted, labels=np.unique(truth), average="macro"))


def _per_group(groups: Sequence[str], correct: np.ndarray) -> dict[str, dict[str, float | int]]:
    names, numbers, right = _group_counts(groups, correct)
    return {
        str(name): {"n": int(n), "accuracy": float(k / n)}
        for name, n, k in zip(names, numbers, right, strict=True)
    }


def interval(
    groups: Sequence[str], correct: np.ndarray, seed: int, resamples: int = RESAMPLES
) -> dict[str, Any] | None:
    """Return where the accuracy would lie with other groups of the kind, by bootstrap over them.

    `correct`: bool [N]. None below `LEAST_GROUPS` groups, and where all are alike.
    """
    _, numbers, right = _group_counts(groups, correct)
    return bootstrap(
        len(numbers),
        lambda weights: float((weights * right).sum() / (weights * numbers).sum()),
        seed,
        resamples,
    )


def bootstrap(
    count: int, statistic: Callable[[np.ndarray], float], seed: int, resamples: int = RESAMPLES
) -> dict[str, Any] | None:
    """Return the 95 % interval of a statistic of groups, with others of the kind drawn for them.

    None below `LEAST_GROUPS` groups, and where all draws are alike.

    Args:
        count: how many groups there are, G.
        statistic: from how often each group was drawn, int [G]; NaN where such a draw has none.
    """
    if count < LEAST_GROUPS:
        return None
    generator = np.random.default_rng(seed)
    values = np.empty(resamples)
    for i in range(resamples):
        drawn = generator.integers(count, size=count)
        values[i] = statistic(np.bincount(drawn, minlength=count))
    if np.isnan(values).all():
        return None
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    if low == high:  # all groups alike: drawing from them says nothing about others
        return None
    return {"level": LEVEL, "low": float(low), "high": float(high), "resamples": resamples}


def _group_counts(
    groups: Sequence[str], correct: np.ndarray
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the groups by name, how many samples each has, and how many of those are right."""
    names = sorted(set(groups))
    place = {name: i for i, name in enumerate(names)}
    places = np.array([place[group] for group in groups])
    numbers = np.bincount(places, minlength=len(names))
    right = np.bincount(places, weights=correct, minlength=len(names))
    return names, numbers, right
