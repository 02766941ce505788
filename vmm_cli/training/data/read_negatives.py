"""Read negatives: material in which nothing of what is to be learnt happens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vmm_cli.batch.inputs import looks_like_sound, looks_like_video
from vmm_cli.errors import DataError
from vmm_cli.training.data.folders import is_folder, media_in
from vmm_cli.training.data.manifest import (
    Cells,
    Files,
    RowError,
    located,
    read_labels,
    require_file,
    samples_of,
)
from vmm_cli.training.data.rows import OPTIONAL, READERS, REQUIRED, read_rows
from vmm_cli.training.data.samples import (
    NONE,
    DataSet,
    Problem,
    Sample,
    nothing_left,
    with_samples,
)

# What a negative is in a data set of some task; RowError where it can be none there.
AsNegative = Callable[[Sample], Sample]


def with_negatives(data: DataSet, sources: Sequence[Path], as_negative: AsNegative) -> DataSet:
    """Return a data set with negatives, each of them a sample; what cannot be used is a problem.

    A source is a folder, whose videos are all taken (its files of sound where it has no video), one
    file, or a CSV or JSONL manifest with the column `path` and perhaps `start`, `end`, `group`,
    `fold`, `split` and `text`. A row labelled as what is to be learnt is left out.

    Raises:
        DataError: a source cannot be read, or has not one negative.
    """
    found: list[Sample] = []
    problems: list[Problem] = []
    taken = {sample.name: sample.path for sample in data.samples}
    seen: set[tuple[str, float, float | None]] = set()
    for source in sources:
        for sample in _read(source, data, as_negative, problems):
            place = os.path.realpath(sample.path), sample.start_s, sample.end_s
            if place in seen:
                message = "is among the negatives already; left out"
                problems.append(Problem("warning", "duplicate", sample.name, message))
                continue
            seen.add(place)
            found.append(_named_apart(sample, taken))
    return with_samples(data, (*data.samples, *found), problems)


def require_some(data: DataSet, sources: Sequence[Path]) -> None:
    """Raise DataError where negatives were given and no sample of a data set is one."""
    if sources and not any(sample.negative for sample in data.samples):
        listed = " and ".join(map(str, sources))
        errors = [problem for problem in data.problems if problem.level == "error"]
        reason = f": {errors[-1]}" if errors else ""
        raise DataError(f"{listed}: no negative can be used{reason}")


def _named_apart(sample: Sample, taken: dict[str, Path]) -> Sample:
    """Return a sample with a name that no other file has."""
    if taken.setdefault(sample.name, sample.path) != sample.path:
        return replace(sample, name=str(sample.path.absolute()))
    return sample


def _read(
    source: Path, data: DataSet, as_negative: AsNegative, problems: list[Problem]
) -> list[Sample]:
    if not is_folder(source) and source.suffix.lower() in READERS:
        return _of_manifest(source, data, as_negative, problems)
    here: list[Problem] = []
    files = _files(source, here)
    try:
        found = [
            as_negative(Sample(path, str(path), (NONE,), None, None, None, negative=True))
            for path in files
        ]
    except RowError as error:
        raise DataError(f"the negatives {error}") from None
    problems += here
    if not found:
        reason = f": {here[0]}" if here else ""
        raise DataError(f"{source}: holds no video and no sound to take as negatives{reason}")
    return found


def _files(source: Path, problems: list[Problem]) -> list[Path]:
    """Return the videos of a folder and below, its files of sound where it has none; or a file."""
    if not is_folder(source):
        try:
            require_file(source, str(source))
        except RowError as error:
            raise DataError(f"the negatives {error}; give a folder, a file or a manifest") from None
        return [source]
    videos = list(media_in(source, source, looks_like_video, problems))
    return videos or list(media_in(source, source, looks_like_sound, []))


def _of_manifest(
    source: Path, data: DataSet, as_negative: AsNegative, problems: list[Problem]
) -> list[Sample]:
    try:
        require_file(source, str(source))
    except RowError as error:
        raise DataError(f"the negatives {error}") from None
    table = read_rows(source, ("path",))
    columns = {name: name for name in (*REQUIRED, *OPTIONAL)}
    learnt = set(data.labels) - {NONE}
    folds = {sample.fold for sample in data.samples}

    def negative(cells: Cells, files: Files) -> Sample:
        labels = read_labels(cells, set()) if cells.raw("label") is not None else ()
        if wrong := sorted(learnt.intersection(labels)):
            message = f"its label {wrong[0]!r} is one to be learnt, so that it is no negative"
            raise RowError("label", message)
        sample = as_negative(located(cells, files, (NONE,), negative=True))
        if sample.fold is not None and sample.fold not in folds:
            raise RowError("fold", f"its fold {sample.fold!r} is none of those of the data")
        return sample

    found = samples_of(table, columns, source.parent, negative)
    here = list(table.problems)
    if not found:
        raise DataError(nothing_left(source, here))
    problems += here
    problems += _ignored_labels(source, found, table.columns)
    # Named from where the user is, as those of a folder are.
    return [replace(sample, name=str(source.parent / sample.name)) for sample in found]


def _ignored_labels(
    source: Path, found: Sequence[Sample], columns: dict[str, None]
) -> Iterator[Problem]:
    if "label" in columns:
        message = f"what its {len(found)} rows are labelled is not looked at: they are negatives"
        yield Problem("warning", "other_labels", source.name, message)
