"""How good a model is on labelled videos: it sees each as the command would that runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmm_cli.batch.gather import gather
from vmm_cli.batch.tally import Standing
from vmm_cli.bundles import Bundle
from vmm_cli.errors import DataError, InputError, ModelError
from vmm_cli.training.data.left_out import samples_left_out
from vmm_cli.training.data.manifest import SPLIT_NAMES
from vmm_cli.training.data.samples import NO_DURATIONS, DataSet, Problem, Sample, length_s
from vmm_cli.training.encoding import Means, limit_s
from vmm_cli.training.model_labels import knows, spelt_as
from vmm_cli.training.predictions import Measured, measured
from vmm_cli.training.tasks.catalogue import TASKS
from vmm_cli.training.tasks.task import Predictions, Task

SCHEMA = "vmm.evaluate/1"


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What a model predicts for labelled samples, and how good that is.

    Attributes:
        task: as which it was measured.
        predictions: for the samples that could be judged.
        failed: by name, why others could not be judged.
        left_out: what was no sample to begin with, such as a row whose file is missing.
        document: the metrics, as JSON types.
    """

    task: Task
    predictions: Predictions
    failed: Mapping[str, str]
    left_out: Sequence[Problem]
    document: dict[str, Any]

    def to_record(self) -> dict[str, Any]:
        """Return the metrics, as `vmm evaluate --format json` prints them."""
        return self.document

    def __repr__(self) -> str:
        return (
            f"Evaluation({self.task.name}: {self.document['n']} samples, {len(self.failed)} failed)"
        )


def evaluate(
    bundle: Bundle,
    data: DataSet,
    means: Means,
    *,
    split: str | None = None,
    durations: Mapping[Path, float | None] = NO_DURATIONS,
    on_progress: Callable[[Standing], None] = lambda standing: None,
) -> Evaluation:
    """Predict every sample, or those of one split, and compare with what is right.

    `split` is spelt as a manifest may spell it, such as "validation". `durations`: of files, in
    seconds, as far as they are known: progress goes by them.

    Raises:
        DataError: the split has no samples, the data set has labels that the model does not know
            (samples of such emotions beside others fail alone), or no sample can be judged.
        ModelError: the model cannot be run.
    """
    if split is not None:
        split = SPLIT_NAMES.get(split.strip().lower(), split)
    task = TASKS[data.task]
    samples = [spelt_as(bundle.labels, sample) for sample in _chosen(data, split)]
    task.check(bundle, data, samples)
    known = [sample for sample in samples if knows(bundle, sample)]
    results = gather(
        task.predict_file,
        [(bundle, sample, means) for sample in known],
        [limit_s(sample) for sample in known],
        jobs=means.jobs,
        device=means.device,
        lengths_s=[length_s(sample, durations) for sample in known],
        on_progress=on_progress,
    )
    failed = {
        sample.name: f"unknown_label: model {bundle.name!r} does not know {sample.labels[0]!r}"
        for sample in samples
        if not knows(bundle, sample)
    }
    kept, values = [], []
    for sample, result in zip(known, results, strict=True):
        if not isinstance(result, InputError):
            kept.append(sample)
            values.append(result)
        elif result.code == ModelError.code:
            raise ModelError(result.message)  # it is the same for every sample
        else:
            failed[sample.name] = f"{result.code}: {result.message}"
    if not kept:
        raise DataError(f"{data.source}: no sample could be judged: {next(iter(failed.values()))}")
    multi_label = bool(bundle.network.get("multi_label"))
    predictions = Predictions(kept, values, bundle.labels, multi_label, data.has_groups)
    found = measured(data.task, predictions, bundle)
    left_out = samples_left_out(data, split)
    lost = len(samples) - len(kept) + sum(problem.rows for problem in left_out)
    document = _document(bundle, data, split, found, lost)
    return Evaluation(task, found.predictions, failed, left_out, document)


def _chosen(data: DataSet, split: str | None) -> list[Sample]:
    """Return the samples of a split, all where it is None. DataError where there are none."""
    samples = [s for s in data.samples if split is None or s.split == split]
    if not samples:
        splits = sorted({sample.split for sample in data.samples if sample.split})
        there = f"it has {', '.join(splits)}" if splits else "it has no splits"
        raise DataError(f"{data.source}: has no samples in the split {split!r}; {there}")
    return samples


def _document(
    bundle: Bundle, data: DataSet, split: str | None, found: Measured, failed: int
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "model": {"name": bundle.name, "version": bundle.version},
        "data": str(data.source),
        "n": len(found.predictions.samples),
        "failed": failed,
        "split": split or "all",
        "metrics": found.metrics,
    }
