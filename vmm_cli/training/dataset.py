"""Read a data set: a folder per class, or a manifest of files with their labels."""

from __future__ import annotations

import math
import os
import stat
import sys
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence, Set
from functools import lru_cache
from pathlib import Path

from vmm_cli.batch.inputs import looks_like_sound, looks_like_video
from vmm_cli.batch.listing import as_on_disk
from vmm_cli.errors import DataError
from vmm_cli.spelling import column_name, composed
from vmm_cli.training.rows import (
    OPTIONAL,
    RATINGS,
    REQUIRED,
    Row,
    Table,
    read_rows,
    require_columns,
)
from vmm_cli.training.samples import DataSet, Problem, Sample, Split, make_dataset, nothing_left

LABEL_SEPARATOR = "|"  # in manifests

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "training": "train",
    "testing": "test",
}


def read_dataset(source: Path, *, group: str | None = None, fold: str | None = None) -> DataSet:
    """Read a folder of class folders (train, val and test above them if there are), or a manifest.

    A manifest is CSV or JSON lines, with the columns `path,label[,split,group,fold,start,end,text]`
    and paths relative to it; `|` separates the labels of one row, and JSON may have a list. A
    folder's samples are its videos, or its files of sound where no class has a video. What
    cannot be used is left out and listed in `problems`. Whether files can be read as media is not
    looked at here: see `inspection.inspect`.

    Args:
        source: the folder, or the `.csv` or `.jsonl` file.
        group: the column of groups where it is not called so.
        fold: the column of folds where it is not called so.

    Raises:
        DataError: it cannot be read, has no such columns, or has not one usable sample.
    """
    renamed = {"group": group, "fold": fold}
    columns = {name: column_name(column) for name, column in renamed.items() if column}
    if _is_folder(source):
        if columns:
            listed = " or ".join(map(repr, columns.values()))
            raise DataError(f"{source}: a folder has no column {listed}; write a manifest")
        dataset = _read_folder(source)
    else:
        try:
            require_file(source, str(source))
        except RowError as error:
            raise DataError(f"the data set {error}; give a folder or a manifest") from None
        dataset = _read_manifest(source, columns)
    if not dataset.samples:
        raise DataError(nothing_left(source, dataset.problems))
    return dataset


# --- folders ------------------------------------------------------------------------------------


def _read_folder(source: Path) -> DataSet:
    samples, problems = _folder_samples(source, looks_like_video)
    if not samples:
        # Only then: beside videos, sound is most often a copy of theirs.
        heard, others = _folder_samples(source, looks_like_sound)
        if heard:
            kept = [problem for problem in problems if problem.kind != "empty_class"]
            samples, problems = heard, list(dict.fromkeys((*kept, *others)))
    if not samples and not problems:
        raise DataError(
            f"{source}: no folder in it holds a video or a sound; vmm trains on a folder per "
            "class, or on a manifest that names the files and their labels"
        )
    return make_dataset(source, samples, multi_label=False, problems=problems)


def _folder_samples(
    source: Path, is_wanted: Callable[[Path], bool]
) -> tuple[list[Sample], list[Problem]]:
    """Return the samples of all class folders, of the wanted files, and what is wrong there."""
    problems: list[Problem] = []
    samples: list[Sample] = []
    raw_labels: set[str] = set()
    tops = _entries(source, problems, source)
    with_splits = _has_splits(source, tops)
    for top in tops:
        split = SPLIT_NAMES.get(top.name.strip().lower()) if with_splits else None
        if with_splits and split is None:
            message = f"lies beside {', '.join(SPLIT_NAMES)} and so in no split; left out"
            problems += _unclaimed(source, top, is_wanted, "no_split", message)
        elif split is not None:
            for inner in _entries(top, problems, source):
                samples += _class_samples(source, inner, split, is_wanted, raw_labels, problems)
        else:
            samples += _class_samples(source, top, None, is_wanted, raw_labels, problems)
    problems += spaced_labels(raw_labels)
    return samples, problems


def _has_splits(source: Path, tops: Sequence[Path]) -> bool:
    """Tell whether the folders are splits: a class may be called "test" as well."""
    folders = [top for top in tops if _is_folder(top)]
    named = [folder for folder in folders if folder.name.strip().lower() in SPLIT_NAMES]
    return bool(named) and (
        len(named) == len(folders)
        or any(_is_folder(inner) for folder in named for inner in _entries(folder, [], source))
    )


def _class_samples(
    source: Path,
    folder: Path,
    split: Split | None,
    is_wanted: Callable[[Path], bool],
    raw_labels: set[str],
    problems: list[Problem],
) -> Iterator[Sample]:
    """Yield the samples of one class folder; what lies in its place and is none is a problem."""
    if not _is_folder(folder):
        message = "lies in no class folder, and so has no label; left out"
        problems += _unclaimed(source, folder, is_wanted, "unlabelled", message)
        return
    label = composed(folder.name)
    if (wrong := label_problem(label)) is not None:
        problems.append(Problem("error", "label_name", _name(source, folder), wrong))
        return
    found = False
    for path in _media(source, folder, is_wanted, problems):
        found = True
        yield Sample(path, _name(source, path), (label,), split, group=None, fold=None)
    if found:
        raw_labels.add(folder.name)
        return
    message = "this class folder holds no video and no sound"
    if next(_media(source, folder, looks_like_sound, []), None) is not None:
        message = (
            "this class folder holds sound alone, and others hold video; name the files in a "
            "manifest to train on both"
        )
    problems.append(Problem("error", "empty_class", _name(source, folder), message))


def _unclaimed(
    source: Path, path: Path, is_wanted: Callable[[Path], bool], kind: str, message: str
) -> Iterator[Problem]:
    for file in _media(source, path, is_wanted, []):
        yield Problem("error", kind, _name(source, file), message)


def _media(
    source: Path, top: Path, is_wanted: Callable[[Path], bool], problems: list[Problem]
) -> Iterator[Path]:
    """Yield the wanted files in a folder and below, by path, or the one file that `top` is.

    What is hidden is left out. Links are followed, but not to a folder that contains this one: a
    loop, or all classes at once.
    """
    outer = _real_folders_above(top)
    entered: set[Path] = set()
    waiting = [top]
    while waiting:
        path = waiting.pop()
        if _is_folder(path):
            real = _real(path)
            if real in entered or real in outer:
                message = "links to a folder that was searched already, or holds it; not followed"
                problems.append(Problem("warning", "loop", _name(source, path), message))
                continue
            entered.add(real)
            waiting += reversed(_entries(path, problems, source))
        elif is_wanted(path):
            try:
                require_file(path, path.name)
                yield path
            except RowError as error:
                problems.append(Problem("error", error.kind, _name(source, path), f"{error}"))


def _real_folders_above(folder: Path) -> set[Path]:
    """Return the folders that hold this one, by the way it was come to and by where it is."""
    ways = (*folder.absolute().parents, *_real(folder).parents)
    return {_real(parent) for parent in ways}


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve raises where a link leads to itself


def _entries(folder: Path, problems: list[Problem], source: Path) -> list[Path]:
    """Return what is in a folder and not hidden, by name."""
    try:
        return _listed(folder)
    except OSError as error:
        message = f"the folder cannot be listed: {error.strerror}"
        problems.append(Problem("error", "unreadable", _name(source, folder), message))
        return []


def _listed(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # no permission to look
        return False


def _name(source: Path, path: Path) -> str:
    return path.relative_to(source).as_posix()


# --- manifests ----------------------------------------------------------------------------------


def _read_manifest(source: Path, renamed: dict[str, str]) -> DataSet:
    table = read_rows(source)
    require_columns(source, table, tuple(renamed.values()))
    columns = {name: name for name in (*REQUIRED, *OPTIONAL)} | renamed
    raw_labels: set[str] = set()
    if rated := [name for name in RATINGS if name in table.columns]:
        message = f"what {' and '.join(rated)} say is for --task valence; not looked at"
        table.problems.append(Problem("warning", "other_task", source.name, message))

    def labelled(cells: Cells, files: Files) -> Sample:
        return located(cells, files, read_labels(cells, raw_labels))

    samples = samples_of(table, columns, source.parent, labelled)
    problems = [*table.problems, *spaced_labels(raw_labels)]
    multi_label = any(len(sample.labels) > 1 for sample in samples)
    return make_dataset(source, samples, multi_label=multi_label, problems=problems)


def samples_of(
    table: Table, columns: dict[str, str], folder: Path, sample_of: Callable[[Cells, Files], Sample]
) -> list[Sample]:
    """Return the samples of a manifest's rows, each once; rows left out go to its `problems`.

    columns: by what they mean. folder: what paths are relative to. sample_of: raises RowError for a
    row that cannot be used.
    """
    samples: list[Sample] = []
    files = Files(folder)
    first_rows: dict[Hashable, str] = {}
    for row in table.rows:
        try:
            sample = sample_of(Cells(row, columns), files)
        except RowError as error:
            problem = Problem("error", error.kind, row.where, f"{error}; left out")
            split = str(row.cells.get(columns["split"], "")).strip().lower()
            table.problems.append(problem, split=split)
            continue
        first = first_rows.setdefault(_said_in(sample, files), row.where)
        if first == row.where:
            samples.append(sample)
        else:
            message = f"repeats {first}: {sample.name!r}; left out"
            table.problems.append(Problem("warning", "duplicate", row.where, message))
    return samples


def _said_in(sample: Sample, files: Files) -> Hashable:
    """Return what two rows say that repeat each other, however they call the file."""
    span = sample.start_s, sample.end_s
    told = sample.labels, sample.split, sample.group, sample.fold, sample.text, sample.valence
    return files.real(sample.path), *span, *told


class Files:
    """The files that rows name: each is looked at once, and has one `Path`, in however many rows.

    Names are relative to `folder`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}
        self._real: dict[Path, str] = {}

    def path(self, name: str) -> Path:
        """Return where a file is; see `as_on_disk`. RowError where there is no regular one."""
        path = self._paths.get(name)
        if path is None:
            path = Path(as_on_disk(str(self._folder / name)))
            require_file(path, name)
            self._paths[name] = path
        return path

    def real(self, path: Path) -> str:
        """Return what stands for a file under all its names."""
        real = self._real.get(path)
        if real is None:
            real = self._real[path] = os.path.realpath(path)
        return real


class RowError(Exception):
    """A row cannot be used."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Cells:
    """A row's cells by what they mean; RowError where one cannot mean that."""

    def __init__(self, row: Row, columns: dict[str, str]) -> None:
        self._cells, self._columns = row.cells, columns

    def raw(self, name: str) -> object:
        """Return a cell as it is; None where it is empty."""
        return self._cells.get(self._columns[name])

    def text(self, name: str) -> str | None:
        """Return a cell's text without outer spaces; a whole number of JSON counts as text."""
        cell = self._cells.get(self._columns[name])
        if cell is None:
            return None
        if isinstance(cell, bool) or not isinstance(cell, str | int):
            raise RowError(name, f"its {name} {cell!r} is not text")
        return sys.intern(str(cell).strip())  # the same in many rows, most often

    def name(self, name: str) -> str | None:
        """Return a cell's text as the name of something, which is the same however it is stored."""
        text = self.text(name)
        return None if text is None else composed(text)

    def seconds(self, name: str) -> float | None:
        """Return a time from 0 on; None where the cell is empty."""
        cell = self.raw(name)
        if cell is None:
            return None
        try:
            if isinstance(cell, bool) or not isinstance(cell, str | int | float):
                raise ValueError
            seconds = float(cell)
        except (ValueError, OverflowError):
            raise RowError("times", f"its {name} {cell!r} is not a number of seconds") from None
        if not math.isfinite(seconds) or seconds < 0:
            raise RowError("times", f"its {name} {cell!r} is no time in the file")
        return seconds

    def split(self) -> Split | None:
        """Return the split, however it is spelt."""
        name = self.text("split")
        if name is not None and name.lower() not in SPLIT_NAMES:
            raise RowError("split", f"its split {name!r} is none of {', '.join(SPLIT_NAMES)}")
        return None if name is None else SPLIT_NAMES[name.lower()]


def located(
    cells: Cells, files: Files, labels: tuple[str, ...], valence: float | None = None
) -> Sample:
    """Return the sample that a row names; RowError where it cannot be used."""
    name = cells.text("path")
    if name is None:
        raise RowError("missing", "names no path")
    start_s, end_s = cells.seconds("start") or 0.0, cells.seconds("end")
    if end_s is not None and end_s <= start_s:
        raise RowError("times", f"its end {end_s:g} is not after its start {start_s:g}")
    return Sample(
        path=files.path(name),
        name=name,
        labels=labels,
        split=cells.split(),
        group=cells.name("group"),
        fold=cells.name("fold"),
        start_s=start_s,
        end_s=end_s,
        text=cells.text("text"),
        valence=valence,
    )


def read_labels(cells: Cells, raw_labels: set[str]) -> tuple[str, ...]:
    """Return the labels of a row, sorted; how they are spelt goes to `raw_labels`."""
    cell = cells.raw("label")
    if isinstance(cell, list):
        if not all(isinstance(part, str) for part in cell):
            raise RowError("label", f"its labels {cell!r} are not texts")
        parts = tuple(cell)
    else:
        cells.text("label")  # refuses what is no text
        parts = () if cell is None else tuple(str(cell).split(LABEL_SEPARATOR))
    labels, written = _labels(parts)
    raw_labels |= written
    return labels


@lru_cache(maxsize=10_000)  # most rows repeat some
def _labels(parts: tuple[str, ...]) -> tuple[tuple[str, ...], Set[str]]:
    """Return labels, sorted, and how they are written."""
    labels = sorted({composed(part) for part in parts} - {""})
    if not labels:
        raise RowError("unlabelled", "has no label")
    for label in labels:
        if (wrong := label_problem(label)) is not None:
            raise RowError("label_name", wrong)
    return tuple(labels), {part for part in parts if part.strip()}


def label_problem(label: str) -> str | None:
    """Say why a label cannot be one: labels become names in files and pictures."""
    if "/" in label or "\\" in label or label in (".", ".."):
        return f"its label {label!r} reads as a path; a label has no '/' or '\\' and is no '..'"
    if not label or not label.isprintable():
        return f"its label {label!a} has characters that cannot be printed"
    return None


def spaced_labels(raw_labels: set[str]) -> Iterator[Problem]:
    """Yield a warning for each label that is written in several ways that count as one."""
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    for raw in raw_labels:
        spellings[composed(raw)].add(raw)
    for label, found in sorted(spellings.items()):
        if len({raw.strip() for raw in found}) < len(found):
            message = f"is written with and without spaces around it; all count as {label!r}"
            yield Problem("warning", "label_spaces", label, message)
        if len({raw.strip() for raw in found}) > 1:
            message = "is stored with its accents composed and decomposed; all count as one label"
            yield Problem("warning", "label_form", label, message)


def require_file(path: Path, name: str) -> None:
    """Raise RowError where there is no regular file; `name` is what the user calls it."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: NUL in the name
        raise RowError("missing", f"{name!r}: no such file") from None
    except OSError as error:
        message = f"{name!r}: cannot be looked at: {error.strerror}"
        raise RowError("unreadable", message) from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise RowError("unreadable", f"{name!r}: is {kind}")
