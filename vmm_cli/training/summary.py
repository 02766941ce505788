"""What a data set holds, as JSON types: how many of what, how long, and what overlaps."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict
from statistics import median
from typing import Any

from vmm_cli.training.data.inspection import Inspection
from vmm_cli.training.data.samples import DataSet, Problem, Split, by_split, group_of, length_s
from vmm_cli.training.tasks.catalogue import TASKS

SCHEMA = "vmm.dataset/1"


def summary(inspection: Inspection) -> dict[str, Any]:
    """Return what an inspection found, as JSON types; durations are seconds.

    `balance` is that of the labels among what has some: see `Kind.labelled`. What a task alone can
    say stands under its name, null where the data set is of another.
    """
    dataset = inspection.dataset
    counts = dataset.kind.counts(dataset.samples)
    sections = {name: task.report.data_section for name, task in sorted(TASKS.items())}
    return {
        "schema": SCHEMA,
        "data": str(dataset.source),
        "n": len(dataset.samples),
        "files": len({sample.path for sample in dataset.samples}),
        "multi_label": dataset.multi_label,
        "labels": _labels_by_split(dataset),
        "balance": _balance(counts, dataset.kind.labelled(dataset.samples)),
        "splits": by_split(sample.split for sample in dataset.samples),
        "durations_s": _durations(inspection),
        "negatives": _negatives(inspection),
        "groups": _groups(dataset) if dataset.has_groups else None,
        "folds": _folds(dataset) if dataset.has_folds else None,
        **{
            name: section(inspection) if name == dataset.task else None
            for name, section in sections.items()
            if section is not None
        },
        "problems": [*map(_problem, dataset.problems)],
    }


def _problem(problem: Problem) -> dict[str, Any]:
    """Return a problem as JSON has it: `rows` only where it stands for several."""
    fields = asdict(problem)
    if problem.rows == 1:
        del fields["rows"]
    return fields


def _balance(counts: Counter[str], number: int) -> dict[str, Any] | None:
    """Return how evenly labels are spread; None where there are none."""
    if not counts:
        return None
    return {
        "majority": max(sorted(counts), key=counts.__getitem__),
        "majority_share": max(counts.values()) / number,
        "largest_to_smallest": max(counts.values()) / min(counts.values()),
    }


def _labels_by_split(dataset: DataSet) -> dict[str, dict[str, int]]:
    splits: defaultdict[str, list[Split | None]] = defaultdict(list)
    for sample in dataset.samples:
        for label in sample.labels:
            splits[label].append(sample.split)
    return {label: by_split(splits[label]) for label in dataset.labels}


def _durations(inspection: Inspection) -> dict[str, float | int | None]:
    """Return the durations of the samples: of their spans where they have some."""
    lengths = []
    for sample in inspection.dataset.samples:
        end = sample.end_s if sample.end_s is not None else inspection.durations[sample.path]
        if end is not None:
            lengths.append(end - sample.start_s)
    return {
        "min": min(lengths, default=None),
        "median": median(lengths) if lengths else None,
        "max": max(lengths, default=None),
        "total": sum(lengths),
        "unknown": len(inspection.dataset.samples) - len(lengths),
    }


def _negatives(inspection: Inspection) -> dict[str, float | int] | None:
    """Return how many negatives there are, and how long they are where that is known."""
    found = [sample for sample in inspection.dataset.samples if sample.negative]
    if not found:
        return None
    lengths = [length_s(sample, inspection.durations) or 0.0 for sample in found]
    return {"n": len(found), "files": len({s.path for s in found}), "seconds": sum(lengths)}


def _groups(dataset: DataSet) -> dict[str, int]:
    grouped = (s for s in dataset.samples if s.group is not None or not s.negative)
    sizes = Counter(map(group_of, grouped))
    return {"n": len(sizes), "smallest": min(sizes.values()), "largest": max(sizes.values())}


def _folds(dataset: DataSet) -> dict[str, int]:
    counts = Counter("none" if sample.fold is None else sample.fold for sample in dataset.samples)
    return {fold: counts[fold] for fold in sorted(counts)}
