"""Fit the maps of `analysis.calibration` to what was predicted of samples that were held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vmm_cli.analysis.calibration import Platt, tempered
from vmm_cli.training.metrics.classes import calibration_error

LEAST_SAMPLES = 20  # fewer say nothing of how far confidence is off
LEAST_OF_EACH = 10  # detections that are right, and that are wrong
TEMPERATURES = np.geomspace(0.2, 10, 118)  # a step of them is 3.4 %
# Detections that score less are never told, and so many that they would decide the map.
LEAST_SCORE = 0.01
PARTS = 5  # of groups; each is judged by a map that was fitted to the others
STEPS, LARGEST_STEP = 100, 1.0  # of Newton's method, which needs some five
RIDGE = 1e-3  # keeps the slope finite where scores tell right from wrong without a mistake

# Windows of a sample, float64 [W, C], before any calibration.
Windows = np.ndarray


def fit_temperature(
    windows: Sequence[Windows], truth: np.ndarray, groups: Sequence[str], multi_label: bool
) -> dict[str, Any] | None:
    """Return the temperature under which what is right is likeliest, and what it changes.

    JSON types: `temperature`, `n`, and the expected calibration error `ece_before` and `ece_after`;
    for the latter each part of the groups is judged by a temperature of the others. None where
    samples are too few. A sample's probability is the mean over its windows.

    Args:
        truth: int [N], or bool [N, C] with several labels a sample.
        groups: [N], which samples belong together.
    """
    if len(windows) < LEAST_SAMPLES:
        return None
    means = np.stack([_means(windows, t, multi_label) for t in TEMPERATURES])  # [T, N, C]
    losses = np.stack([_losses(mean, truth) for mean in means])  # [T, N]
    parts = _parts(groups)
    after = means[0].copy()
    for part in np.unique(parts):
        here = parts == part
        rest = ~here if (~here).any() else here
        after[here] = means[losses[:, rest].sum(axis=1).argmin()][here]
    return {
        "temperature": float(TEMPERATURES[losses.sum(axis=1).argmin()]),
        "n": len(windows),
        "ece_before": calibration_error(_means(windows, 1.0, multi_label), truth),
        "ece_after": calibration_error(after, truth),
    }


def fit_platt(
    scores: np.ndarray, right: np.ndarray, groups: Sequence[str]
) -> dict[str, Any] | None:
    """Return the map under which detections are as often right as they score, and what it changes.

    JSON types: `slope`, `offset`, `n`, `right`, and the mean distance of score from precision,
    `ece_before` and `ece_after`, over 15 bins, as of `fit_temperature`. None where too few are
    right or wrong, or the higher scores are no better.

    Args:
        scores: [N]; right: bool [N]; groups: [N], such as the video of each.
    """
    told = scores >= LEAST_SCORE
    scores, right = scores[told], right[told]
    parts = _parts([group for group, kept in zip(groups, told, strict=True) if kept])
    whole = _platt(scores, right)
    if whole is None:
        return None
    after = whole(scores)
    for part in np.unique(parts):
        here = parts == part
        other = _platt(scores[~here], right[~here])
        after[here] = (other or whole)(scores[here])
    return {
        "slope": whole.slope,
        "offset": whole.offset,
        "n": len(scores),
        "right": int(right.sum()),
        "ece_before": _precision_error(scores, right),
        "ece_after": _precision_error(after, right),
    }


def _means(windows: Sequence[Windows], temperature: float, multi_label: bool) -> np.ndarray:
    """Return each sample's probabilities: float64 [N, C]."""
    return np.stack([tempered(w, temperature, multi_label).mean(axis=0) for w in windows])


def _losses(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the cross-entropy of each sample: [N].

    What is right counts as a little less than sure, as in Platt 1999: else a few samples without a
    mistake would make a model of boundless confidence.
    """
    sure = (len(truth) + 1) / (len(truth) + 2)
    likely = np.clip(probabilities, 1e-12, 1 - 1e-12)
    if truth.ndim == 2:
        wanted = np.where(truth, sure, 1 - sure)
        each = -(wanted * np.log(likely) + (1 - wanted) * np.log1p(-likely))
        summed: np.ndarray = each.sum(axis=1)
        return summed
    wanted = np.full(probabilities.shape, (1 - sure) / max(1, probabilities.shape[1] - 1))
    wanted[np.arange(len(truth)), truth] = sure
    losses: np.ndarray = -(wanted * np.log(likely)).sum(axis=1)
    return losses


def _platt(scores: np.ndarray, right: np.ndarray) -> Platt | None:
    """Return the map of the highest likelihood, by Newton's method; None where there is none."""
    positive, negative = int(right.sum()), int((~right).sum())
    if min(positive, negative) < LEAST_OF_EACH:
        return None
    inside = np.clip(scores, 1e-6, 1 - 1e-6)
    x = np.stack([np.log(inside) - np.log1p(-inside), np.ones(len(scores))], axis=1)  # [N, 2]
    wanted = np.where(right, (positive + 1) / (positive + 2), 1 / (negative + 2))
    weights = np.array([1.0, 0.0])
    for _ in range(STEPS):
        likely = np.exp(-np.logaddexp(0.0, -x @ weights))
        slope = x.T @ (likely - wanted) + RIDGE * (weights - [1.0, 0.0])
        curvature = (x * (likely * (1 - likely))[:, None]).T @ x + RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, slope)
        step *= min(1.0, LARGEST_STEP / np.abs(step).max(initial=1e-12))  # else it can go astray
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    if not np.isfinite(weights).all() or weights[0] <= 0:
        return None
    return Platt(float(weights[0]), float(weights[1]))


def _precision_error(scores: np.ndarray, right: np.ndarray) -> float:
    """Return how far scores are from the share that is right, on average over 15 equal bins."""
    places = np.minimum((scores * 15).astype(int), 14)
    return float(
        sum(
            (places == place).sum()
            * abs(scores[places == place].mean() - right[places == place].mean())
            for place in np.unique(places)
        )
        / len(scores)
    )


def _parts(groups: Sequence[str]) -> np.ndarray:
    """Return the part of each group, by the order of their names: int [N]."""
    place = {name: i % PARTS for i, name in enumerate(sorted(set(groups)))}
    return np.array([place[group] for group in groups], int)
