"""What is right for samples, as arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vmm_cli.training.data.samples import Sample

NO_EMOTION = -1


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
