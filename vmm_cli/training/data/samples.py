"""What a data set is made of: samples, and the problems found on the way to them."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

Split = Literal["train", "val", "test"]
Level = Literal["error", "warning"]

SPLITS: tuple[Split, ...] = ("train", "val", "test")
MAX_LISTED = 3  # reasons in one error message; the others look alike
MOST_ALIKE = 1000  # problems of one kind that are listed
NO_DURATIONS: Mapping[Path, float | None] = {}
# What a sample is labelled that shows nothing of what is to be learnt: see `Sample.negative`.
NONE = "none of these"

# Errors that tell of labels, groups, equal content or a folder without files: no sample is left out
# for them.
_OF_NO_SAMPLE = {
    *("unseen_in_train", "group_across_splits", "empty_class", "label_lost"),
    *("across_splits", "two_labels", "two_valences", "other_actions", "duplicate"),
}


@dataclass(frozen=True, order=True, slots=True)
class Segment:
    """An action: [start_s, end_s) in seconds on the file's clock, and its label."""

    start_s: float
    end_s: float
    label: str

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s < math.inf:
            raise ValueError(f"no span: [{self.start_s}, {self.end_s}) s")
        if not self.label:
            raise ValueError("a segment has a label")

    @property
    def in_order(self) -> tuple[float, float, str]:
        """What segments are sorted by; much faster than comparing them."""
        return self.start_s, self.end_s, self.label


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of a data set: a file, or the span [start_s, end_s) of it, with labels or a valence.

    Attributes:
        path: where the file is.
        name: what the user calls it: the manifest's text, or the path inside the data folder.
        labels: sorted; more than one only where the data set is multi-label, none only where
            `segments` says that nothing happens, or where there is a valence. Of a data set for
            valence its emotion.
        split: None where the user gave none.
        group: what must not be divided between splits, such as the source recording.
        fold: which part of a cross-validation holds it out.
        start_s, end_s: seconds on the file's clock; None for its end.
        text: words that belong to it.
        segments: None where the labels hold for the whole span; else the actions in it, sorted,
            whose labels `labels` are. They may overlap.
        valence: how pleasant it is, from -1 to 1; None where that is not known.
        negative: whether nothing of what is to be learnt happens in it, on purpose. Its label is
            `NONE`, or it has no segments.
    """

    path: Path
    name: str
    labels: tuple[str, ...]
    split: Split | None
    group: str | None
    fold: str | None
    start_s: float = 0.0
    end_s: float | None = None
    text: str | None = None
    segments: tuple[Segment, ...] | None = None
    valence: float | None = None
    negative: bool = False

    def __post_init__(self) -> None:
        if self.segments is not None:
            if list(self.segments) != in_order(self.segments):
                raise ValueError("segments must be sorted")
            if self.labels != labels_of(self.segments):
                raise ValueError(f"labels must be those of the segments, not {self.labels!r}")
        elif len(self.labels) > 1 and list(self.labels) != sorted(set(self.labels)):
            raise ValueError(f"labels must be sorted, each once, not {self.labels!r}")
        elif not self.labels and self.valence is None:
            raise ValueError("a sample has labels or a valence")
        if self.valence is not None and not -1 <= self.valence <= 1:
            raise ValueError(f"a valence is from -1 to 1, not {self.valence}")
        if self.negative and self.labels != (() if self.segments is not None else (NONE,)):
            raise ValueError(f"a negative has no labels, not {self.labels!r}")
        if not 0 <= self.start_s < (float("inf") if self.end_s is None else self.end_s):
            raise ValueError(f"no span: [{self.start_s}, {self.end_s}) s")


@dataclass(frozen=True)
class Problem:
    """Something about a data set that the user should know.

    Attributes:
        level: "error" where a row is left out or a measurement would not be honest; else "warning".
        kind: a short word for programs: missing, unreadable, no_video, duplicate, times, ...
        where: the file, the manifest's line ("clips.csv:12"), the label or the group.
        rows: how many rows it stands for: see `Problems`.
    """

    level: Level
    kind: str
    where: str
    message: str
    rows: int = 1

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


class Problems:
    """Problems in the order they are found.

    Of one level, kind and split (as far as `append` is told it) the first thousand are kept; the
    others are one more problem, which says how many they are. So a manifest of a million wrong rows
    takes no more memory, and no more of the reader's time, than one of a thousand.
    """

    def __init__(self, found: Iterable[Problem] = ()) -> None:
        self._kept: list[Problem] = []
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._places: dict[Hashable, int] = {}  # of what further ones are counted with
        self._more: Counter[int] = Counter()  # how many, by place
        self._rows: Counter[int] = Counter()  # how many of these are rows of their own
        for problem in found:
            self.append(problem)

    def append(self, problem: Problem, *, split: str = "", same: Hashable = None) -> None:
        """Add a problem of a row that is of a split.

        same: what makes it one with those that have the same: they are counted as one row.
        """
        if same is not None and same in self._places:
            self._more[self._places[same]] += 1
            return
        alike = (problem.level, problem.kind, split)
        self._counts[alike] += 1
        place = len(self._kept)
        if self._counts[alike] > MOST_ALIKE:
            place = self._places.setdefault(alike, place)
        elif same is not None:
            self._places[same] = place
        if place == len(self._kept):
            self._kept.append(problem)
        else:
            self._more[place] += 1
            self._rows[place] += 1

    def __iter__(self) -> Iterator[Problem]:
        for place, problem in enumerate(self._kept):
            if more := self._more[place]:
                message = f"{problem.message} (and {more} more like it)"
                rows = problem.rows + self._rows[place]
                problem = replace(problem, message=message, rows=rows)
            yield problem

    def __bool__(self) -> bool:
        return bool(self._kept)


@dataclass(frozen=True, slots=True)
class Kind:
    """What all data sets of one task have in common.

    Attributes:
        name: of the task.
        unit: of what labels are counted, such as "sample".
        counts: how many of these have each label.
        labelled: how many of these have any.
        splits_named: (manifest, places of problems) -> which splits rows name there, lower case.
        lacking: (data set whose samples have a split, whether some are wanted for validation) ->
            why it cannot be trained on, but for what is said of every data set.
        needs_all_labels: whether each label must be in `train`.
        errors_of_parts: kinds of errors for which a part of a sample is left out, not the sample.
        by_labels: whether labels are what is learnt. Else none need be known, and nothing need be
            held out.
    """

    name: str
    unit: str
    counts: Callable[[Iterable[Sample]], Counter[str]]
    labelled: Callable[[Iterable[Sample]], int]
    splits_named: Callable[[Path, Set[str]], dict[str, set[str]]]
    lacking: Callable[[DataSet, bool], Iterable[str]]
    needs_all_labels: bool = True
    errors_of_parts: frozenset[str] = frozenset()
    by_labels: bool = True


@dataclass(frozen=True, repr=False)
class DataSet:
    """Labelled samples, and what was wrong with the rest.

    Attributes:
        source: the folder or manifest it was read from.
        labels: those that samples have, sorted.
        multi_label: whether a sample may have several labels.
        has_groups, has_folds: whether any sample names one.
    """

    source: Path
    kind: Kind
    samples: tuple[Sample, ...]
    labels: tuple[str, ...]
    multi_label: bool
    has_groups: bool
    has_folds: bool
    problems: tuple[Problem, ...]

    @property
    def task(self) -> str:
        """The name of the task that it is for."""
        return self.kind.name

    def __repr__(self) -> str:
        return (
            f"DataSet({str(self.source)!r}: {len(self.samples)} samples, "
            f"{len(self.labels)} labels, {len(self.problems)} problems)"
        )


def make_dataset(
    source: Path,
    samples: Iterable[Sample],
    *,
    kind: Kind,
    multi_label: bool,
    problems: Iterable[Problem],
) -> DataSet:
    """Return the data set of these samples; the problems with its labels and groups are added."""
    samples = tuple(samples)
    return DataSet(
        source=source,
        kind=kind,
        samples=samples,
        labels=tuple(sorted({label for sample in samples for label in sample.labels})),
        multi_label=multi_label,
        has_groups=any(sample.group is not None for sample in samples),
        has_folds=any(sample.fold is not None for sample in samples),
        problems=(*problems, *Problems(_problems_of_all(samples, kind.by_labels))),
    )


def with_samples(
    dataset: DataSet, samples: Iterable[Sample], problems: Iterable[Problem] = ()
) -> DataSet:
    """Return the data set with other samples and further problems."""
    kept = (problem for problem in dataset.problems if problem.kind not in _KINDS_OF_ALL)
    return make_dataset(
        dataset.source,
        samples,
        kind=dataset.kind,
        multi_label=dataset.multi_label,
        problems=(*kept, *problems),
    )


def with_splits(dataset: DataSet, splits: Sequence[Split]) -> DataSet:
    """Return the data set with these splits, one for each sample in order."""
    pairs = zip(dataset.samples, splits, strict=True)
    changed = (s if s.split == split else replace(s, split=split) for s, split in pairs)
    return replace(dataset, samples=tuple(changed))


def labels_of(segments: Iterable[Segment]) -> tuple[str, ...]:
    """Return the labels of segments as a sample has them: sorted, each once."""
    return tuple(sorted({segment.label for segment in segments}))


def in_order(segments: Iterable[Segment]) -> list[Segment]:
    """Return segments sorted by start, end and label."""
    return sorted(segments, key=lambda segment: segment.in_order)


def with_segments(sample: Sample, segments: Iterable[Segment]) -> Sample:
    """Return the sample with these segments and their labels."""
    found = tuple(in_order(segments))
    return replace(sample, segments=found, labels=labels_of(found))


def length_s(sample: Sample, durations: Mapping[Path, float | None]) -> float | None:
    """Return how long a sample is, None where that is unknown; `durations`: of files, by path."""
    until_s = durations.get(sample.path) if sample.end_s is None else sample.end_s
    return None if until_s is None or until_s <= sample.start_s else until_s - sample.start_s


def left_out_of(data: DataSet) -> list[Problem]:
    """Return the problems for which a sample was left out, one each."""
    of_none = _OF_NO_SAMPLE | data.kind.errors_of_parts
    return [p for p in data.problems if p.level == "error" and p.kind not in of_none]


def group_of(sample: Sample) -> str:
    """Return what must stay together with the sample: its group, its file where it has none."""
    return sample.name if sample.group is None else sample.group


def nothing_left(source: Path, problems: Sequence[Problem]) -> str:
    """Say that no sample of a data set can be used, and why."""
    errors = [problem for problem in problems if problem.level == "error"]
    if not errors:
        return f"{source}: has no rows"
    others = sum(problem.rows for problem in errors[MAX_LISTED:])
    more = f" (and {others} more)" if others else ""
    return f"{source}: no sample can be used: {'; '.join(map(str, errors[:MAX_LISTED]))}{more}"


def label_counts(samples: Iterable[Sample]) -> Counter[str]:
    """Return how many samples have each label."""
    return Counter(label for sample in samples for label in sample.labels)


def by_split(splits: Iterable[Split | None]) -> dict[str, int]:
    """Return the number of all samples as "n", and of those in each split that there is."""
    counts = Counter(splits)
    there = (split for split in (*SPLITS, None) if counts[split])
    return {"n": counts.total(), **{split or "none": counts[split] for split in there}}


def segment_counts(samples: Iterable[Sample]) -> Counter[str]:
    """Return how many timed actions have each label."""
    return Counter(segment.label for sample in samples for segment in sample.segments or ())


# --- what only shows when all samples are looked at ---------------------------------------------

_KINDS_OF_ALL = {
    *("label_case", "one_sample", "unseen_in_train", "group_across_splits", "no_group"),
    "nothing_annotated",
}


def _problems_of_all(samples: Sequence[Sample], by_labels: bool) -> Iterator[Problem]:
    if by_labels:
        yield from _label_problems(samples)
    yield from _groups_problems(samples)
    if by_labels:
        yield from _nothing_annotated(samples)


def _label_problems(samples: Sequence[Sample]) -> Iterator[Problem]:
    counts = label_counts(samples)
    yield from _similar_labels(counts)
    segments = segment_counts(samples)
    for label in sorted(label for label, count in counts.items() if count == 1):
        what = "sample has"
        if label in segments:
            what = "segment has" if segments[label] == 1 else "video has segments with"
        message = f"only one {what} this label; nothing can be measured on it"
        yield Problem("warning", "one_sample", label, message)
    yield from _unseen_labels(samples)


def _similar_labels(labels: Iterable[str]) -> Iterator[Problem]:
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        folded = unicodedata.normalize("NFKC", label).casefold()
        alike["".join(folded.split())].append(label)
    for first, *others in alike.values():
        if others:
            listed = ", ".join(map(repr, others))
            is_spelt_alike = len({"".join(x.casefold().split()) for x in (first, *others)}) == 1
            # "\uff46ight", in full width, and "fight"; "\ufb01ght", with a ligature
            what = "in case or spaces" if is_spelt_alike else "in the kind of its characters"
            message = f"differs from {listed} only {what}; they count as different"
            yield Problem("warning", "label_case", first, message)


def _unseen_labels(samples: Sequence[Sample]) -> Iterator[Problem]:
    seen = label_counts(s for s in samples if s.split in ("train", None))
    if not any(sample.split == "train" for sample in samples):
        return  # nothing was called training data: it is chosen later, or none is wanted
    for label, count in sorted(label_counts(samples).items()):
        if label not in seen:
            rows = "1 sample has" if count == 1 else f"{count} samples have"
            message = f"{rows} this label and none of them is in train"
            yield Problem("error", "unseen_in_train", label, message)


def _groups_problems(samples: Sequence[Sample]) -> Iterator[Problem]:
    splits: defaultdict[str, set[Split]] = defaultdict(set)
    without = []
    for sample in samples:
        if sample.group is None:
            if not sample.negative:
                without.append(sample)
        elif sample.split is not None:
            splits[sample.group].add(sample.split)
    for group, found in sorted(splits.items()):
        if len(found) > 1:
            listed = " and ".join(split for split in SPLITS if split in found)
            message = f"this group is in {listed}; what is measured there will look too good"
            yield Problem("error", "group_across_splits", group, message)
    if without and any(sample.group is not None for sample in samples):
        message = f"{len(without)} samples have no group; each file of them is one of its own"
        yield Problem("warning", "no_group", without[0].name, message)


def _nothing_annotated(samples: Sequence[Sample]) -> Iterator[Problem]:
    """Yield a warning for a split without any action: published test sets keep theirs back."""
    if not any(sample.segments for sample in samples):
        return  # it is so everywhere, and not likely to be forgotten
    for split in SPLITS:
        here = [
            s for s in samples if s.split == split and s.segments is not None and not s.negative
        ]
        if here and not any(sample.segments for sample in here):
            message = (
                f"none of its {len(here)} videos has an annotation: does nothing happen there?"
            )
            yield Problem("warning", "nothing_annotated", split, message)
