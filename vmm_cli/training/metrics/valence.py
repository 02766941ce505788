"""How good ratings of valence and emotions are: numpy arrays in, JSON types out.

Valence is measured as in the literature on CMU-MOSI and CMU-MOSEI (Zadeh et al. 2018, Multimodal
Language Analysis in the Wild; Mao et al. 2022, M-SENA): two ways of making two classes of it are in
use, which here have names. F1 is the mean over the two classes, weighted by how many truly are of
each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# scikit-learn ships no types
from sklearn.metrics import f1_score

from vmm_cli.training.metrics.classes import bootstrap, score

# What counts as which class, as its name says: of the second, a true valence of 0 is left out.
NON_NEGATIVE, POSITIVE = "negative/non-negative", "negative/positive"


def score_ratings(
    labels: Sequence[str],
    predicted: np.ndarray,
    valence: np.ndarray,
    emotion: np.ndarray,
    *,
    groups: Sequence[str] | None,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the metrics of N ratings: `valence` and `emotions`, null where nothing can be said.

    `valence`, over the samples that have one and were given one: `n`; `mae`, the mean absolute
    error; `pearson`, the correlation; `acc2` and `f1` by convention ("negative/non-negative",
    "negative/positive"), and `acc2_n`, over how many samples each is; `undefined`: by name, why one
    of them is null; with groups `per_group` (n, mae) and `interval`, the 95 % interval of the mae.

    `emotions`, over the samples that have one: `n`; `uar`, the unweighted average recall; the rest
    as of `metrics.score`.

    Args:
        predicted: float [N, 1 + E], valence, then the probabilities of the E labels; a valence
            that was not predicted is NaN.
        valence: float [N]; NaN: the sample has none.
        emotion: int [N], places in `labels`; -1: the sample has none.
        groups: [N].
        seed: of the bootstrap.

    Raises:
        ValueError: the shapes do not agree, or a predicted valence is not from -1 to 1.
    """
    number = len(predicted)
    if predicted.shape != (number, 1 + len(labels)) or not number == len(valence) == len(emotion):
        raise ValueError(f"ratings {predicted.shape} for {len(valence)} x {len(labels)} emotions")
    there, named = ~np.isnan(valence) & ~np.isnan(predicted[:, 0]), emotion >= 0
    metrics: dict[str, Any] = {"valence": None, "emotions": None}
    if there.any():
        metrics["valence"] = _of_valence(
            predicted[there, 0], valence[there], _chosen(groups, there), seed
        )
    if len(labels) > 1 and named.any():
        metrics["emotions"] = _of_emotions(
            labels, predicted[named, 1:], emotion[named], _chosen(groups, named), seed
        )
    return metrics


def _chosen(groups: Sequence[str] | None, rows: np.ndarray) -> list[str] | None:
    return None if groups is None else [groups[i] for i in np.flatnonzero(rows).tolist()]


def _of_emotions(
    labels: Sequence[str],
    probabilities: np.ndarray,
    truth: np.ndarray,
    groups: Sequence[str] | None,
    seed: int,
) -> dict[str, Any]:
    found = score(labels, probabilities, truth, groups=groups, multi_label=False, seed=seed)
    del found["top5"]
    return {"n": len(truth), "uar": found.pop("balanced_accuracy"), **found}


def _of_valence(
    predicted: np.ndarray, truth: np.ndarray, groups: Sequence[str] | None, seed: int
) -> dict[str, Any]:
    if not (np.abs(predicted) <= 1).all():
        raise ValueError("valences must be numbers from -1 to 1")
    undefined: dict[str, str] = {}
    error = np.abs(predicted - truth)
    found: dict[str, Any] = {
        "n": len(truth),
        "mae": float(error.mean()),
        "pearson": _pearson(predicted, truth, undefined),
    }
    found |= {"acc2": {}, "f1": {}, "acc2_n": {}}
    for name, rows, positive in (
        (NON_NEGATIVE, np.ones(len(truth), bool), truth >= 0),
        (POSITIVE, truth != 0, truth > 0),
    ):
        # A predicted valence of exactly 0 is no negative one, but a positive one neither.
        taken = predicted[rows] >= 0 if name == NON_NEGATIVE else predicted[rows] > 0
        found["acc2_n"][name] = int(rows.sum())
        found["acc2"][name] = found["f1"][name] = None
        if not rows.any():
            undefined[f"acc2 {name}"] = "every true valence is 0"
            continue
        found["acc2"][name] = float((taken == positive[rows]).mean())
        found["f1"][name] = float(
            f1_score(positive[rows], taken, average="weighted", zero_division=0)
        )
    found["undefined"] = undefined
    if groups is not None:
        found |= _by_group(groups, error, seed)
    return found


def _pearson(predicted: np.ndarray, truth: np.ndarray, undefined: dict[str, str]) -> float | None:
    """Return the correlation; None, with the reason in `undefined`, where there is none."""
    for values, what in ((truth, "true valences"), (predicted, "predicted valences")):
        if len(values) < 2 or np.ptp(values) == 0:
            alike = "there is one sample only" if len(values) < 2 else f"all {what} are alike"
            undefined["pearson"] = alike
            return None
    with np.errstate(invalid="ignore"):
        found = float(np.corrcoef(predicted, truth)[0, 1])
    if np.isnan(found):
        undefined["pearson"] = "the valences differ by roundings only"
        return None
    return found


def _by_group(groups: Sequence[str], error: np.ndarray, seed: int) -> dict[str, Any]:
    names, places = np.unique(np.array(groups, dtype=object), return_inverse=True)
    numbers = np.bincount(places, minlength=len(names))
    sums = np.bincount(places, weights=error, minlength=len(names))
    return {
        "per_group": {
            str(name): {"n": int(n), "mae": float(total / n)}
            for name, n, total in zip(names, numbers, sums, strict=True)
        },
        "interval": bootstrap(
            len(names),
            lambda weights: float((weights * sums).sum() / (weights * numbers).sum()),
            seed,
        ),
    }
