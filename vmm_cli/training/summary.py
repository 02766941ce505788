"""What a data set holds, as JSON types: how many of what, how long, and what overlaps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice, zip_longest
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from vmm_cli.training.inspection import Inspection
from vmm_cli.training.samples import (
    SPLITS,
    DataSet,
    Problem,
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
MAX_PAIRS = 1_000_000  # of actions that overlap, which can be as many as their square


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
        "labels": _of_labels(dataset.samples, known, total_s),
        "overlaps": _overlaps(dataset.samples),
        "share": covered_s / total_s if total_s else None,
        "unlabelled_s": total_s - covered_s,
    }


def _of_labels(
    samples: Iterable[Sample], known: Mapping[Path, float], total_s: float
) -> dict[str, dict[str, Any]]:
    """Return how often and how long the actions of each label are, by label."""
    lengths: defaultdict[str, list[float]] = defaultdict(list)
    splits: defaultdict[str, list[Split | None]] = defaultdict(list)
    videos: Counter[str] = Counter()
    covered_s: defaultdict[str, float] = defaultdict(float)
    for sample in samples:
        by_label: defaultdict[str, list[Segment]] = defaultdict(list)
        for segment in sample.segments or ():
            by_label[segment.label].append(segment)
        for label, found in by_label.items():
            lengths[label] += (segment.end_s - segment.start_s for segment in found)
            splits[label] += [sample.split] * len(found)
            videos[label] += 1
            covered_s[label] += _covered_s(found, known.get(sample.path, 0))
    return {
        label: {
            "segments": dict(_in_order(splits[label])),
            "videos": videos[label],
            "durations_s": {
                "min": min(lengths[label]),
                "median": median(lengths[label]),
                "max": max(lengths[label]),
                "total": sum(lengths[label]),
            },
            "share": covered_s[label] / total_s if total_s else None,
        }
        for label in sorted(lengths)
    }


def _covered_s(segments: Iterable[Segment], end_s: float) -> float:
    """Return for how many seconds before `end_s` one segment or more, in order, holds."""
    covered_s = reached_s = 0.0
    for segment in segments:
        covered_s += max(0.0, min(segment.end_s, end_s) - max(segment.start_s, reached_s))
        reached_s = max(reached_s, segment.end_s)
    return covered_s


def _overlaps(samples: Iterable[Sample]) -> dict[str, Any]:
    """Return how many segments share time with another one, and which labels do so most often.

    Of many pairs the first `MAX_PAIRS` say which labels.
    """
    number = same_label = 0
    pairs: Counter[tuple[str, str]] = Counter()
    shared_s: defaultdict[tuple[str, str], float] = defaultdict(float)
    for sample in samples:
        segments = sample.segments or ()
        by_label: defaultdict[str, list[Segment]] = defaultdict(list)
        for segment in segments:
            by_label[segment.label].append(segment)
        number += sharing_time(segments)
        same_label += sum(map(sharing_time, by_label.values()))
        for a, b in islice(_overlapping(segments), MAX_PAIRS - pairs.total()):
            labels = (min(a.label, b.label), max(a.label, b.label))
            pairs[labels] += 1
            shared_s[labels] += min(a.end_s, b.end_s) - max(a.start_s, b.start_s)
    most = sorted(pairs, key=lambda labels: (-pairs[labels], -shared_s[labels], labels))
    return {
        "segments": number,
        "with_their_own_label": same_label,
        "pairs": [
            {"labels": list(labels), "n": pairs[labels], "shared_s": shared_s[labels]}
            for labels in most[:PAIRS_LISTED]
        ],
    }


def sharing_time(segments: Sequence[Segment]) -> int:
    """Return how many of segments, in order, share time with another one of them."""
    number, reached_s = 0, 0.0
    for segment, after in zip_longest(segments, segments[1:]):
        # Of those that begin later the next one begins first.
        shares = after is not None and after.start_s < segment.end_s
        number += shares or segment.start_s < reached_s
        reached_s = max(reached_s, segment.end_s)
    return number


def _overlapping(segments: Sequence[Segment]) -> Iterator[tuple[Segment, Segment]]:
    """Yield each two segments, of some in order, that share time."""
    going_on: list[Segment] = []
    for segment in segments:
        going_on = [earlier for earlier in going_on if earlier.end_s > segment.start_s]
        yield from ((earlier, segment) for earlier in going_on)
        going_on.append(segment)
