"""Scores made to say how often they are right: maps of one or two numbers that a model carries.

All are monotone: what scored higher before does so after. How they are fitted:
`training.metrics.calibration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# Nearer to 0 or 1 the odds are no finite numbers.
NEAREST = 1e-9


def tempered(probabilities: np.ndarray, temperature: float, multi_label: bool) -> np.ndarray:
    """Return the probabilities of the same logits divided by a temperature: float64 [..., C].

    Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017. With several
    labels a sample each is a probability of its own.
    """
    if temperature == 1:
        return probabilities
    if multi_label:
        return _sigmoid(_logit(probabilities) / temperature)
    logits = np.log(np.maximum(probabilities.astype(np.float64), 1e-300)) / temperature
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True, initial=-np.inf))
    shares: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return shares


@dataclass(frozen=True, slots=True)
class Platt:
    """The map sigmoid(slope x logit(score) + offset), of a slope above 0.

    Platt: Probabilistic Outputs for Support Vector Machines, 1999.
    """

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Return calibrated scores: float64 [N]."""
        if self == Platt():
            return scores
        return _sigmoid(self.slope * _logit(scores) + self.offset)

    def before(self, score: float) -> float:
        """Return the score that becomes this one."""
        if self == Platt():
            return score
        return float(_sigmoid((_logit(np.array(score)) - self.offset) / self.slope))


def platt_of(thresholds: Mapping[str, float]) -> Platt:
    """Return the map that a bundle's numbers say; scores as they are where they say none."""
    return Platt(thresholds.get("slope", 1.0), thresholds.get("offset", 0.0))


def _logit(probabilities: np.ndarray) -> np.ndarray:
    inside = np.clip(probabilities.astype(np.float64), NEAREST, 1 - NEAREST)
    odds: np.ndarray = np.log(inside) - np.log1p(-inside)
    return odds


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    chances: np.ndarray = np.exp(-np.logaddexp(0.0, -logits))
    return chances
