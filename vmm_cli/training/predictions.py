"""What is predicted for samples that a network did not learn from, and how good that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vmm_cli.features.windows import Encoded
from vmm_cli.training.data.samples import DataSet, Sample
from vmm_cli.training.tasks.catalogue import TASKS
from vmm_cli.training.tasks.task import Predictions

if TYPE_CHECKING:
    import torch

    from vmm_cli.bundles import Bundle
    from vmm_cli.training.learnt import Learnt


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a model predicts, and how good that is.

    Attributes:
        predictions: as its bundle gives them.
        metrics: as JSON types.
        uncalibrated: the predictions as the network gives them.
    """

    predictions: Predictions
    metrics: dict[str, Any]
    uncalibrated: Predictions


def predict(
    learnt: Learnt,
    data: DataSet,
    encoded: Sequence[Encoded],
    split: str,
    device: torch.device,
    *,
    max_false_alarms: float | None = None,
) -> Measured:
    """Predict the samples of a split, with the network on `device`, and measure that.

    `max_false_alarms`: see `Predictions`.
    """
    chosen = [i for i, sample in enumerate(data.samples) if sample.split == split]
    values = TASKS[data.task].predict(learnt, [encoded[i] for i in chosen], device)
    samples = [data.samples[i] for i in chosen]
    given = replace(_predictions(samples, values, data, max_false_alarms), labels=learnt.labels)
    found = measured(data.task, given)
    if learnt.thresholds is not None:
        found.metrics["threshold"] = dict(learnt.thresholds)
    return found


def together(parts: Sequence[Measured], data: DataSet) -> Measured:
    """Measure what all folds' networks predict for the samples that each did not see."""
    found = [part.uncalibrated for part in parts]
    samples = [sample for part in found for sample in part.samples]
    values = [value for part in found for value in part.values]
    return measured(data.task, _predictions(samples, values, data, found[0].max_false_alarms))


def _predictions(
    samples: Sequence[Sample], values: Sequence[Any], data: DataSet, max_false_alarms: float | None
) -> Predictions:
    return Predictions(
        samples, values, data.labels, data.multi_label, data.has_groups, max_false_alarms
    )


def measured(task: str, predictions: Predictions, bundle: Bundle | None = None) -> Measured:
    """Compare predictions with what is right.

    `bundle`: that gave them; None: it is to be made, and calibrated by them.
    """
    row, shown = TASKS[task], predictions
    fitted = row.fit(predictions) if bundle is None else None
    if fitted is not None:
        shown = row.calibrated(predictions, fitted)
    metrics = row.score(shown, bundle)
    if fitted is not None:
        metrics["calibration"] = fitted
    return Measured(shown, metrics, predictions)
