"""How many actions a data set has, how long they last, and how they overlap."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from statistics import median
from typing import Any

from vmm_cli.training.data.samples import (
    DataSet,
    Sample,
    Segment,
    Split,
    by_split,
    segment_counts,
)

PAIRS_LISTED = 10  # of labels that overlap; more would be no summary
MAX_PAIRS = 1_000_000  # of actions that overlap, which can be as many as their square


def action_times(dataset: DataSet, durations: Mapping[Path, float | None]) -> dict[str, Any]:
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
            "segments": by_split(splits[label]),
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
