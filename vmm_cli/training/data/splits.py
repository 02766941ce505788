"""Which samples are trained on and which measured: whole groups, every label on both sides.

A unit is what must not be divided: the samples of one group, or of one file where there are no
groups; units that share a file, or content that is known to be equal, are one. Negatives are
divided by themselves, so that they change nothing for the others.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np

from vmm_cli.errors import DataError
from vmm_cli.training.data.samples import (
    NONE,
    DataSet,
    Sample,
    Split,
    group_of,
    label_counts,
    length_s,
    with_samples,
    with_splits,
)

VALIDATION_FRACTION = 0.2
LABELS_TO_MEASURE = 2  # a validation of one label says nothing about telling labels apart


def with_validation(
    dataset: DataSet,
    *,
    seed: int,
    fraction: float = VALIDATION_FRACTION,
    contents: Mapping[Path, str] | None = None,
) -> DataSet:
    """Return the data set with a split for every sample; what the user split stays as it is.

    Where there is no `val`, of negatives or of the others, whole groups with about `fraction` of
    the samples of each label are taken from what is `train` or has no split; every label keeps
    samples in `train`. Samples with a valence and no label count by the third of the valences that
    theirs is in. A sample without a split, where others have one, goes where its group is, else to
    `train`. With groups few or large the fraction is missed rather than a group divided. The same
    samples and seed give the same split, in whatever order they come.

    Args:
        seed: draws which groups.
        fraction: between 0 and 1.
        contents: what stands for a file's content (see `inspection.Inspection`): files with equal
            content stay together.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"a fraction lies between 0 and 1, not at {fraction}")
    strata = _strata(dataset)
    units = _units(dataset.samples, strata, contents or {})
    splits: list[Split | None] = [sample.split for sample in dataset.samples]
    for negative in (False, True):
        part = [unit for unit in units if unit.negative == negative]
        if any(splits[i] == "val" for unit in part for i in unit.members):
            continue
        free = [unit for unit in part if all(splits[i] in (None, "train") for i in unit.members)]
        # Without those who go to test with their unit: they leave nothing in train.
        stays = {i for unit in free for i in unit.members}
        everything = Counter(
            label
            for unit in part
            for i in unit.members
            if i in stays or splits[i] == "train"
            for label in strata[i]
        )
        for unit in _choose(_shuffled(free, seed), everything, fraction):
            for member in unit.members:
                splits[member] = "val"
    for unit in units:
        company = {splits[i] for i in unit.members} - {None}
        home: Split = next((s for s in ("train", "val", "test") if s in company), "train")
        for member in unit.members:
            splits[member] = splits[member] or home
    return with_splits(dataset, [split or "train" for split in splits])


def without_test(dataset: DataSet, contents: Mapping[Path, str]) -> DataSet:
    """Return the data set without what is `test`, and without what belongs to it."""
    at = with_validation(dataset, seed=0, contents=contents).samples  # `test` hangs on no seed
    kept = (s for s, home in zip(dataset.samples, at, strict=True) if home.split != "test")
    return with_samples(dataset, kept)


def check_divisible(
    dataset: DataSet,
    *,
    seed: int,
    folds: bool,
    contents: Mapping[Path, str],
    stops_early: bool = True,
) -> None:
    """Raise DataError where a data set cannot be divided and trained on; `folds`: by its folds."""
    if folds:
        without_folds(dataset, seed=seed, contents=contents, stops_early=stops_early)
    else:
        check_for_training(with_validation(dataset, seed=seed, contents=contents))


def without_folds(
    dataset: DataSet, *, seed: int, contents: Mapping[Path, str], stops_early: bool = True
) -> dict[str, DataSet]:
    """Return, for each fold, the data set with that fold as `test` and a part of the rest as `val`.

    Unless a training `stops_early` nothing has to say when: then all of the rest is `train`. The
    splits that rows have already count for nothing. A row of another fold that shares a file or
    content with the fold is left without a split: it must be neither learnt from nor judged.

    Raises:
        DataError: rows have no fold, there is one fold only, a group lies in several, or what is
            left without a fold cannot be trained on.
    """
    _check_folds(dataset)
    divided = {}
    for name in sorted({sample.fold or "" for sample in dataset.samples}):
        marked = (replace(s, split="test" if s.fold == name else None) for s in dataset.samples)
        found = with_validation(with_samples(dataset, marked), seed=seed, contents=contents)
        if not stops_early:
            moved = (replace(s, split="train") if s.split == "val" else s for s in found.samples)
            found = with_samples(found, moved)
        try:
            check_for_training(found, validated=stops_early)
        except DataError as error:
            raise DataError(f"without fold {name!r}: {error}") from error
        apart = (
            replace(s, split=None) if s.split == "test" and s.fold != name else s
            for s in found.samples
        )
        divided[name] = with_samples(found, apart)
    return divided


def _check_folds(dataset: DataSet) -> None:
    """Raise DataError where the data set cannot be divided by its folds."""
    without = [sample.name for sample in dataset.samples if sample.fold is None]
    if without:
        raise DataError(
            f"{dataset.source}: {len(without)} samples have no fold, such as {without[0]}"
        )
    if len({sample.fold for sample in dataset.samples}) < 2:
        raise DataError(f"{dataset.source}: there is one fold only, so nothing could be left out")
    homes: dict[str, set[str | None]] = {}
    for sample in dataset.samples:
        homes.setdefault(group_of(sample), set()).add(sample.fold)
    split_up = [group for group, found in homes.items() if len(found) > 1]
    if split_up:
        raise DataError(
            f"{dataset.source}: {len(split_up)} groups lie in several folds, such as "
            f"{split_up[0]!r}; give all rows of a group one fold"
        )


def with_folds_of_negatives(
    dataset: DataSet, contents: Mapping[Path, str], durations: Mapping[Path, float | None]
) -> DataSet:
    """Return the data set with a fold for each negative, where the other samples have folds.

    Whole groups go to the fold that has least of them so far, the longest first, so that each fold
    leaves out about as much. One that shares its group or content with a fold goes there.
    """
    samples = list(dataset.samples)
    folds = sorted({s.fold for s in samples if s.fold is not None and not s.negative})
    if not folds or not any(sample.negative for sample in samples):
        return dataset
    total_s = dict.fromkeys(folds, 0.0)

    def seconds(unit: _Unit) -> float:
        return sum(length_s(samples[i], durations) or 0.0 for i in unit.members)

    units = _shuffled(_units(samples, _strata(dataset), contents), seed=0)
    units.sort(key=seconds, reverse=True)
    for unit in units:
        if not any(samples[i].negative for i in unit.members):
            continue
        given = sorted({samples[i].fold or "" for i in unit.members} - {""})
        home = given[0] if given else min(folds, key=total_s.__getitem__)
        total_s[home] += seconds(unit)
        for i in unit.members:
            if samples[i].fold is None:
                samples[i] = replace(samples[i], fold=home)
    return with_samples(dataset, samples)


def parts_of(
    dataset: DataSet, most: int, *, seed: int, contents: Mapping[Path, str] | None = None
) -> list[int] | None:
    """Divide a data set into at most so many parts: the part of each sample, counted from 0.

    Groups stay whole, and without any one part there is something left of every label. None where
    that cannot be had. The parts are as alike as groups allow.
    """
    units = _units(dataset.samples, _strata(dataset), contents or {})
    homes = Counter(label for unit in units for label in unit.labels)
    wanted = min(most, min(homes.values(), default=0))
    if wanted < 2:
        return None
    found = [0] * len(dataset.samples)
    held = [Counter[str]() for _ in range(wanted)]
    # The large ones first: the small ones then even out what these leave uneven.
    for unit in sorted(_shuffled(units, seed), key=lambda unit: -len(unit.members)):
        costs = [
            (sum(n * part[label] for label, n in unit.labels.items()), part.total())
            for part in held
        ]
        home = min(range(wanted), key=costs.__getitem__)
        held[home] += unit.labels
        for member in unit.members:
            found[member] = home
    whole = sum(held, Counter[str]())
    if any(part[label] == whole[label] for part in held for label in part):
        return None
    return found


def check_for_training(dataset: DataSet, *, validated: bool = True) -> None:
    """Check that a data set whose samples all have a split can be trained on.

    `validated`: whether it needs samples for validation.

    Raises:
        DataError: it lacks what its kind needs (see `Kind.lacking`), has no training or no
            validation samples, or labels that are not in `train` (all labels, where one alone can
            be learnt); the message says all of it.
    """
    reasons = [*dataset.kind.lacking(dataset, validated)]
    counts = Counter(sample.split for sample in dataset.samples)
    if not counts["train"]:
        reasons.append("no sample is in train")
    if validated and dataset.kind.by_labels and not counts["val"]:
        kind = "group" if dataset.has_groups else "file"
        reasons.append(
            "no sample is left for validation: every "
            f"{kind} is in test or the last one in train with some label; add samples, or give "
            "rows the split 'val'"
        )
    seen = label_counts(sample for sample in dataset.samples if sample.split == "train")
    unseen = [label for label in dataset.labels if label not in seen]
    wanted = counts["train"] and dataset.kind.by_labels
    if unseen and wanted and (dataset.kind.needs_all_labels or not seen):
        hint = "; give negatives of two files or groups, or more" if NONE in unseen else ""
        reasons.append(f"no sample in train has the label {', '.join(map(repr, unseen))}{hint}")
    if reasons:
        raise DataError(f"{dataset.source}: cannot be trained on: {'; '.join(reasons)}")


# --- units --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Unit:
    """Samples that stay together: their places in the data set, and how many of each stratum.

    negative: whether all of them are.
    """

    name: str
    members: tuple[int, ...]
    labels: Counter[str]
    negative: bool


def _strata(dataset: DataSet) -> list[tuple[str, ...]]:
    """Return what each sample is to be represented by on both sides: its labels.

    Those with a valence alone are of its lower, middle or upper third.
    """
    alone = [s.valence for s in dataset.samples if not s.labels and s.valence is not None]
    bounds = np.quantile(alone or [0.0], [1 / 3, 2 / 3])

    def stratum(sample: Sample) -> tuple[str, ...]:
        if sample.negative:
            return (NONE,)
        if sample.labels or sample.valence is None:
            return sample.labels
        return (f"valence {np.searchsorted(bounds, sample.valence)}",)

    return [stratum(sample) for sample in dataset.samples]


def _units(
    samples: Sequence[Sample], strata: Sequence[tuple[str, ...]], contents: Mapping[Path, str]
) -> list[_Unit]:
    """Join the samples that share a group, a file or content (disjoint sets, union by path)."""
    parents: dict[tuple[str, object], tuple[str, object]] = {}

    def root(key: tuple[str, object]) -> tuple[str, object]:
        while (above := parents.setdefault(key, key)) != key:
            parents[key] = parents[above]  # halves the way for the next one
            key = above
        return key

    for sample in samples:
        group = ("group", sample.group) if sample.group is not None else ("path", sample.path)
        content = contents.get(sample.path)
        shared = ("path", sample.path) if content is None else ("content", content)
        parents[root(("path", sample.path))] = root(group)
        parents[root(shared)] = root(group)
    members: defaultdict[tuple[str, object], list[int]] = defaultdict(list)
    for i, sample in enumerate(samples):
        members[root(("path", sample.path))].append(i)
    return [
        _Unit(
            name=min(group_of(samples[i]) for i in places),
            members=tuple(places),
            labels=Counter(label for i in places for label in strata[i]),
            negative=all(samples[i].negative for i in places),
        )
        for places in members.values()
    ]


def _shuffled(units: Iterable[_Unit], seed: int) -> list[_Unit]:
    """Return the units in an order that the seed draws.

    It hangs on names, not on the order that they come in nor on a library's random numbers.
    """

    def draw(unit: _Unit) -> str:
        return hashlib.sha256(f"{seed}\0{unit.name}".encode("utf-8", "surrogatepass")).hexdigest()

    return sorted(units, key=lambda unit: (draw(unit), unit.name))


# --- the choice ---------------------------------------------------------------------------------


def _choose(units: Sequence[_Unit], everything: Counter[str], fraction: float) -> list[_Unit]:
    """Choose units for validation, greedily: for each label's share, then for the whole's."""
    choice = _Choice(everything, fraction)
    for unit in units:
        if choice.fits(unit) and choice.cost_of(unit) < 0:
            choice.take(unit)
    for unit in units:  # too much of a label where that is nearer to what is wanted than too little
        if choice.leaves_all_labels(unit) and choice.cost_of(unit) < 0:
            choice.take(unit)
    wanted = fraction * sum(len(unit.members) for unit in units)
    for unit in units:  # rare labels alone would each be rounded to nothing
        if choice.fits(unit) and len(unit.members) <= 2 * (wanted - choice.size):
            choice.take(unit)
    while len(choice.taken_labels) < LABELS_TO_MEASURE:
        possible = [
            unit
            for unit in units
            if choice.leaves_all_labels(unit) and unit.labels.keys() - choice.taken_labels.keys()
        ]
        if not possible:
            break
        choice.take(min(possible, key=choice.cost_of))
    return choice.taken


class _Choice:
    """The units taken so far, and how far their labels are from what is wanted."""

    def __init__(self, everything: Counter[str], fraction: float) -> None:
        self.taken: list[_Unit] = []
        self.taken_labels: Counter[str] = Counter()
        self.size = 0
        self._places: set[int] = set()
        self._left = Counter(everything)
        self._wanted = {label: fraction * count for label, count in everything.items()}

    def leaves_all_labels(self, unit: _Unit) -> bool:
        """Tell whether the unit is free, and every label of it stays in train without it."""
        return unit.members[0] not in self._places and all(
            self._left[label] > n for label, n in unit.labels.items()
        )

    def fits(self, unit: _Unit) -> bool:
        """Tell whether the unit can be taken without too much of any label."""
        return self.leaves_all_labels(unit) and all(
            self.taken_labels[label] + n <= ceil(self._wanted[label])
            for label, n in unit.labels.items()
        )

    def cost_of(self, unit: _Unit) -> float:
        """Return how much further taking the unit leads from what is wanted, by chi-square.

        The squared distance counts in proportion to what is wanted, so that rare labels count.
        """
        return sum(
            n * (n + 2 * (self.taken_labels[label] - self._wanted[label])) / self._wanted[label]
            for label, n in unit.labels.items()
        )

    def take(self, unit: _Unit) -> None:
        self.taken.append(unit)
        self._places.update(unit.members)
        self.size += len(unit.members)
        self.taken_labels += unit.labels
        self._left -= unit.labels
