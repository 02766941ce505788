"""What is predicted for samples that a network did not learn from, and how good that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vmm_cli.features.windows import Encoded
from vmm_cli.training.data.samples import DataSet
from vmm_cli.training.tasks.catalogue import TASKS
from vmm_cli.training.tasks.task import Predictions

if TYPE_CHECKING:
    import torch

    from vmm_cli.training.learnt import Learnt


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Predictions, and how good they are: `metrics` as JSON types."""

    predictions: Predictions
    metrics: dict[str, Any]


def predict(
    learnt: Learnt, data: DataSet, encoded: Sequence[Encoded], split: str, device: torch.device
) -> Measured:
    """Predict the samples of a split, at least one; `encoded`: of all samples of the data set."""
    chosen = [i for i, sample in enumerate(data.samples) if sample.split == split]
    values = TASKS[data.task].predict(learnt, [encoded[i] for i in chosen], device)
    samples = [data.samples[i] for i in chosen]
    return measured(
        data.task,
        Predictions(samples, values, data.labels, data.multi_label, data.has_groups),
    )


def together(parts: Sequence[Measured], data: DataSet) -> Measured:
    """Measure what all folds' networks predict for the samples that each did not see."""
    found = [part.predictions for part in parts]
    samples = [sample for part in found for sample in part.samples]
    values = [value for part in found for value in part.values]
    return measured(
        data.task,
        Predictions(samples, values, data.labels, data.multi_label, data.has_groups),
    )


def measured(
    task: str, predictions: Predictions, thresholds: Mapping[str, float] | None = None
) -> Measured:
    """Compare predictions with what is right; `thresholds`: of a bundle, None: to be chosen."""
    return Measured(predictions, TASKS[task].score(predictions, thresholds))
