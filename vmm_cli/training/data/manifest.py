"""What the cells of a manifest mean: files, labels, times and splits; each row is a sample."""

from __future__ import annotations

import math
import os
import stat
import sys
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Set
from functools import lru_cache
from pathlib import Path

from vmm_cli.batch.listing import as_on_disk
from vmm_cli.spelling import composed
from vmm_cli.training.data.rows import Row, Table, read_rows
from vmm_cli.training.data.samples import NONE, Problem, Sample, Split

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
    cells: Cells,
    files: Files,
    labels: tuple[str, ...],
    *,
    valence: float | None = None,
    negative: bool = False,
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
        negative=negative,
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
    if NONE in labels and len(labels) > 1:
        others = " and ".join(repr(label) for label in labels if label != NONE)
        raise RowError("label", f"contradicts itself: {NONE!r}, and {others}")
    for label in labels:
        if (wrong := label_problem(label)) is not None:
            raise RowError("label_name", wrong)
    return tuple(labels), {part for part in parts if part.strip()}


def splits_named(source: Path, wanted: Set[str]) -> dict[str, set[str]]:
    """Return which split each of the wanted rows names, lower case, if it names one."""
    rows = read_rows(source, ("path",)).rows
    return {row.where: split_names(row) for row in rows if row.where in wanted}


def split_names(row: Row) -> set[str]:
    """Return the split that a row names, lower case, if it names one."""
    return {str(row.cells["split"]).strip().lower()} if "split" in row.cells else set()


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
