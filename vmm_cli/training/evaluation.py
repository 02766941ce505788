"""How good a model is on labelled videos: it sees each as `vmm classify` would."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli.analysis import classify, classify_windows
from vmm_cli.batch.gather import gather
from vmm_cli.batch.inputs import Input
from vmm_cli.bundle import Bundle
from vmm_cli.encoders.plan import plan_of
from vmm_cli.errors import DataError, InputError, ModelError
from vmm_cli.training.dataset import SPLIT_NAMES
from vmm_cli.training.encoding import limit_s
from vmm_cli.training.metrics import score
from vmm_cli.training.rows import read_rows
from vmm_cli.training.samples import DataSet, Problem, Sample, group_of, span

SCHEMA = "vmm.evaluate/1"

# Errors that tell of labels, groups or a folder without files: no row is left out for them.
_OF_NO_ROW = {"unseen_in_train", "group_across_splits", "empty_class"}


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What a model said of labelled samples.

    Attributes:
        samples: those that could be judged.
        chances: float64 [S, C], the probabilities of the model's labels.
        failed: by name, why others could not be judged.
        left_out: rows that were no samples to begin with, such as one whose file is missing.
        document: the metrics, as JSON types.
    """

    samples: Sequence[Sample]
    chances: np.ndarray
    truth: np.ndarray
    failed: Mapping[str, str]
    left_out: Sequence[Problem]
    document: dict[str, Any]


def evaluate(
    bundle: Bundle,
    data: DataSet,
    *,
    split: str | None,
    jobs: int,
    use_store: bool,
    max_pixels: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Judge every sample, or those of one split, and compare with its labels.

    `split` is spelt as a manifest may spell it, such as "validation".

    Raises:
        DataError: the split has no samples, the data set has labels that the model does not know,
            or no sample can be judged.
        ModelError: the model cannot be run.
    """
    if split is not None:
        split = SPLIT_NAMES.get(split.strip().lower(), split)
    samples = [s for s in data.samples if split is None or s.split == split]
    if not samples:
        splits = sorted({sample.split for sample in data.samples if sample.split})
        there = f"it has {', '.join(splits)}" if splits else "it has no splits"
        raise DataError(f"{data.source}: has no samples in the split {split!r}; {there}")
    _check_labels(bundle, data, samples)
    multi_label = bool(bundle.network.get("multi_label"))
    if not multi_label and any(len(sample.labels) > 1 for sample in samples):
        raise DataError(f"{data.source}: has several labels a sample, model {bundle.name!r} one")
    if classify_windows.is_for(bundle):  # says now, not for each sample, what is wrong
        plan_of(bundle)
        classify_windows.check(bundle)
    results = gather(
        judge_sample,
        [(bundle, sample, use_store, max_pixels) for sample in samples],
        [limit_s(sample) for sample in samples],
        jobs=jobs,
        on_progress=on_progress,
    )
    for result in results:
        if isinstance(result, InputError) and result.code == ModelError.code:
            raise ModelError(result.message)  # it is the same for every sample
    judged = [
        (sample, result)
        for sample, result in zip(samples, results, strict=True)
        if isinstance(result, np.ndarray)
    ]
    failed = {
        sample.name: f"{result.code}: {result.message}"
        for sample, result in zip(samples, results, strict=True)
        if isinstance(result, InputError)
    }
    if not judged:
        raise DataError(f"{data.source}: no sample could be judged: {next(iter(failed.values()))}")
    left_out = _left_out(data, split)
    kept = [sample for sample, _ in judged]
    chances = np.stack([result for _, result in judged])
    number = {label: i for i, label in enumerate(bundle.labels)}
    truth = np.zeros((len(kept), len(number)), bool)
    for row, sample in zip(truth, kept, strict=True):
        row[[number[label] for label in sample.labels]] = True
    target = truth if multi_label else truth.argmax(axis=1)
    metrics = score(
        bundle.labels,
        chances,
        target,
        groups=[group_of(sample) for sample in kept] if data.has_groups else None,
        multi_label=multi_label,
    )
    document = {
        "schema": SCHEMA,
        "model": {"name": bundle.name, "version": bundle.version},
        "data": str(data.source),
        "n": len(kept),
        "failed": sum(isinstance(result, InputError) for result in results) + len(left_out),
        "split": split or "all",
        "metrics": metrics,
    }
    return Evaluation(kept, chances, target, failed, left_out, document)


def _left_out(data: DataSet, split: str | None) -> list[Problem]:
    """Return the problems for which a row was left out; those of one split, where that is known."""
    found = [p for p in data.problems if p.level == "error" and p.kind not in _OF_NO_ROW]
    if split is None or not found:
        return found
    if data.source.is_dir():
        return [p for p in found if SPLIT_NAMES.get(p.where.split("/")[0].strip().lower()) == split]
    cells = {row.where: row.cells.get("split", "") for row in read_rows(data.source).rows}
    named = {where: str(cell).strip().lower() for where, cell in cells.items()}
    # A row that cannot be read, or has no split that there is, may have been meant for this one.
    others = {where for where, name in named.items() if SPLIT_NAMES.get(name, "") != split}
    unclear = {where for where, name in named.items() if name and name not in SPLIT_NAMES}
    return [p for p in found if p.where not in others or p.where in unclear]


def _check_labels(bundle: Bundle, data: DataSet, samples: Sequence[Sample]) -> None:
    unknown = sorted({label for s in samples for label in s.labels} - set(bundle.labels))
    if unknown:
        raise DataError(
            f"{data.source}: model {bundle.name!r} does not know the labels "
            f"{', '.join(map(repr, unknown[:5]))}{', ...' if len(unknown) > 5 else ''}; "
            f"`vmm models show {bundle.folder}` lists those it knows"
        )


def judge_sample(bundle: Bundle, sample: Sample, use_store: bool, max_pixels: int) -> np.ndarray:
    """Return the probabilities of a model's labels for one sample: float64 [C].

    What a worker does.

    Raises:
        InputError: the file cannot be read, or has nothing the model looks at.
    """
    start, end = span(sample)
    input = Input(sample.path, sample.name, Path(sample.name).name)
    if classify_windows.is_for(bundle):
        wanted = classify_windows.windows_request(
            bundle, start=start, end=end, use_store=use_store, max_pixels=max_pixels
        )
        scores = classify_windows.run(wanted, input, None, text=sample.text)
        classify_windows.require_streams(bundle, scores.streams)
        mean: np.ndarray = scores.chances.mean(axis=0)
        return mean
    request = classify.classify_request(
        bundle,
        start=start,
        end=end,
        device="cpu",
        use_store=use_store,
        max_pixels=max_pixels,
        top_k=len(bundle.labels),
    )
    found = classify.run(request, input, None)
    shown = classify.classification(request, found.features, found.end_s)
    by_label = {label.label: label.score for label in shown.labels}
    return np.array([by_label[label] for label in bundle.labels])
