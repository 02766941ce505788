"""What a data set holds, as JSON types: how many of what, how long, and what overlaps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from vmm_cli.training.inspection import Inspection
from vmm_cli.training.samples import (
    SPLITS,
    DataSet,
    Sample,
    Segment,
    Split,
    group_of,
    label_counts,
    segment_counts,
)

SCHEMA = "vmm.dataset/1"
VALENCE_BINS = 8  # from -1 to 1: each a quarter wide
PAIRS_LISTED = 10  # of labels that overlap; more would be no summary


def summary(inspection: Inspection) -> dict[str, Any]:
    """Return what an inspection found, as JSON types; durations are seconds.

    `balance` is that of the labels among samples that have some, or among timed actions where those
    are given. `labels` of a data set for valence are its emotions.
    """
    dataset = inspection.dataset
    counts = (segment_counts if dataset.timed else label_counts)(dataset.samples)
    labelled = sum(bool(sample.labels) for sample in dataset.samples)
    return {
        "schema": SCHEMA,
        "data": str(dataset.source),
        "n": len(dataset.samples),
        "files": len({sample.path for sample in dataset.samples}),
        "multi_label": dataset.multi_label,
        "labels": _labels_by_split(dataset),
        "balance": _balance(counts, counts.total() if dataset.timed else labelled),
        "splits": dict(_in_order(sample.split for sample in dataset.samples)),
        "durations_s": _durations(inspection),
        "groups": _groups(dataset) if dataset.has_groups else None,
        "folds": _folds(dataset) if dataset.has_folds else None,
        "segments": _segments(dataset, inspection.durations) if dataset.timed else None,
        "valence": _valence(dataset) if dataset.rated else None,
        "problems": [asdict(problem) for problem in dataset.problems],
    }


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
    return {label: dict(_in_order(splits[label])) for label in dataset.labels}


def _in_order(splits: Iterable[Split | None]) -> Iterator[tuple[str, int]]:
    """Yield the number of all samples, and of those in each split that there is."""
    counts = Counter(splits)
    yield "n", counts.total()
    for split in (*SPLITS, None):
        if counts[split]:
            yield split or "none", counts[split]


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


def _groups(dataset: DataSet) -> dict[str, int]:
    sizes = Counter(map(group_of, dataset.samples))
    return {"n": len(sizes), "smallest": min(sizes.values()), "largest": max(sizes.values())}


def _folds(dataset: DataSet) -> dict[str, int]:
    counts = Counter("none" if sample.fold is None else sample.fold for sample in dataset.samples)
    return {fold: counts[fold] for fold in sorted(counts)}


def _valence(dataset: DataSet) -> dict[str, Any]:
    """Return how many samples have a valence and an emotion, and how the valences are spread."""
    found = [sample.valence for sample in dataset.samples if sample.valence is not None]
    counts, edges = np.histogram(found, bins=VALENCE_BINS, range=(-1, 1))
    return {
        "n": len(found),
        "missing": len(dataset.samples) - len(found),
        "min": min(found, default=None),
        "mean": mean(found) if found else None,
        "max": max(found, default=None),
        "histogram": [
            {"from": float(low), "to": float(high), "n": int(n)}
            for low, high, n in zip(edges, edges[1:], counts, strict=False)
        ],
        "without_emotion": sum(not sample.labels for sample in dataset.samples),
    }


# --- timed actions ------------------------------------------------------------------------------


def _segments(dataset: DataSet, durations: Mapping[Path, float | None]) -> dict[str, Any]:
    """Return how many actions there are, how long they last, and how they overlap.

    Shares are of the time of the videos whose duration is known.
    """
    known = {
        sample.path: duration_s
        for sample in dataset.samples
        if (duration_s := durations[sample.path]) is not None
    }
    total_s = sum(known.values())
    covered_s = sum(
        _covered_s(sample.segments or (), known[sample.path])
        for sample in dataset.samples
        if sample.path in known
    )
    return {
        "n": segment_counts(dataset.samples).total(),
        "videos_without": sum(not sample.segments for sample in dataset.samples),
        "labels": {
            label: _of_label(label, dataset.samples, known, total_s) for label in dataset.labels
        },
        "overlaps": _overlaps(dataset.samples),
        "share": covered_s / total_s if total_s else None,
        "unlabelled_s": total_s - covered_s,
    }


def _of_label(
    label: str, samples: Iterable[Sample], known: Mapping[Path, float], total_s: float
) -> dict[str, Any]:
    lengths: list[float] = []
    splits: list[Split | None] = []
    videos, covered_s = 0, 0.0
    for sample in samples:
        found = [segment for segment in sample.segments or () if segment.label == label]
        lengths += (segment.end_s - segment.start_s for segment in found)
        splits += [sample.split] * len(found)
        videos += bool(found)
        covered_s += _covered_s(found, known.get(sample.path, 0))
    return {
        "segments": dict(_in_order(splits)),
        "videos": videos,
        "durations_s": {
            "min": min(lengths),
            "median": median(lengths),
            "max": max(lengths),
            "total": sum(lengths),
        },
        "share": covered_s / total_s if total_s else None,
    }


def _covered_s(segments: Iterable[Segment], end_s: float) -> float:
    """Return for how many seconds before `end_s` one segment or more holds."""
    covered_s = reached_s = 0.0
    for segment in sorted(segments):
        covered_s += max(0.0, min(segment.end_s, end_s) - max(segment.start_s, reached_s))
        reached_s = max(reached_s, segment.end_s)
    return covered_s


def _overlaps(samples: Iterable[Sample]) -> dict[str, Any]:
    """Return how many segments share time with another one, and which labels do so most often."""
    number = same_label = 0
    pairs: Counter[tuple[str, str]] = Counter()
    shared_s: defaultdict[tuple[str, str], float] = defaultdict(float)
    for sample in samples:
        overlapping: set[Segment] = set()
        with_its_label: set[Segment] = set()
        for a, b in _overlapping(sample.segments or ()):
            overlapping |= {a, b}
            if a.label == b.label:
                with_its_label |= {a, b}
            labels = (min(a.label, b.label), max(a.label, b.label))
            pairs[labels] += 1
            shared_s[labels] += min(a.end_s, b.end_s) - max(a.start_s, b.start_s)
        number += len(overlapping)
        same_label += len(with_its_label)
    most = sorted(pairs, key=lambda labels: (-pairs[labels], -shared_s[labels], labels))
    return {
        "segments": number,
        "with_their_own_label": same_label,
        "pairs": [
            {"labels": list(labels), "n": pairs[labels], "shared_s": shared_s[labels]}
            for labels in most[:PAIRS_LISTED]
        ],
    }


def _overlapping(segments: Sequence[Segment]) -> Iterator[tuple[Segment, Segment]]:
    """Yield each two segments, of some sorted by start, that share time."""
    going_on: list[Segment] = []
    for segment in segments:
        going_on = [earlier for earlier in going_on if earlier.end_s > segment.start_s]
        yield from ((earlier, segment) for earlier in going_on)
        going_on.append(segment)
