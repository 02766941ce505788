"""The rows of a manifest: CSV or JSON lines, as text; what the cells mean is not looked at here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vmm_cli.errors import DataError
from vmm_cli.suggest import did_you_mean
from vmm_cli.training.samples import Problem

REQUIRED = ("path", "label")
OPTIONAL = ("split", "group", "fold", "start", "end", "text")
# What a row for --task valence says instead of a label: one of them or both.
RATINGS = ("valence", "emotion")

_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Row:
    """One row: `where` ("clips.csv:12") and its cells by column, without the empty ones.

    The cells of a CSV file are str, those of JSON lines any JSON type.
    """

    where: str
    cells: Mapping[str, object]


@dataclass
class Table:
    """A manifest's columns (lower case, in the order found), rows, and the rows left out."""

    columns: dict[str, None] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_rows(path: Path, required: tuple[str, ...] = REQUIRED) -> Table:
    """Read a manifest.

    Names of columns are read without regard to case and outer spaces; blank rows are skipped.

    Raises:
        DataError: it is neither .csv nor .jsonl, cannot be read, is not UTF-8, is separated by
            something else than commas, or lacks a column of those required.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        timed = "; annotated actions are for segments, and not for classes"
        raise DataError(
            f"{path}: is neither a folder nor a manifest; vmm reads {', '.join(READERS)} "
            f"with the columns {', '.join((*REQUIRED, *OPTIONAL))}"
            + (timed if path.suffix == ".json" else "")
        )
    text = read_text(path)
    if not text.strip():
        raise DataError(f"{path}: the manifest is empty")
    table = reader(path, text)
    require_columns(path, table, required)
    return table


def require_columns(path: Path, table: Table, wanted: tuple[str, ...]) -> None:
    """Raise DataError, with the columns that were found, where a wanted one is not among them."""
    lacking = [name for name in wanted if name not in table.columns]
    if not lacking:
        return
    listed = ("columns " if len(lacking) > 1 else "column ") + " and ".join(map(repr, lacking))
    found = ", ".join(map(_shortened, table.columns)) or "none"
    hint = "".join(did_you_mean(name, table.columns) for name in lacking)
    if not table.columns and table.problems:
        hint = f" ({table.problems[0]})"
    if "label" in lacking and (rated := [name for name in RATINGS if name in table.columns]):
        hint = f"; what {' and '.join(rated)} say is for --task valence"
    raise DataError(f"{path}: has no {listed}; found: {found}{hint}")


def read_text(path: Path) -> str:
    """Return what a manifest says. DataError where it cannot be read or is not UTF-8."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if data.startswith(_UTF_16_MARKS):
        raise DataError(f"{path}: is written in UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: line {line} is not UTF-8; save the manifest as UTF-8") from None


def _read_csv(path: Path, text: str) -> Table:
    _refuse_other_separators(path, text)
    table = Table()
    # newline="": the reader itself tells the ends of lines from those inside quotes.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        header = [cell.strip().lower() for cell in _first_line(reader)]
        table.columns = dict.fromkeys(name for name in header if name)
        if len(table.columns) < sum(map(bool, header)):
            raise DataError(f"{path}: names a column twice: {', '.join(header)}")
        for cells in reader:
            where = f"{path.name}:{reader.line_num}"
            if any(cell.strip() for cell in cells[len(header) :]):
                message = f"has {len(cells)} cells under {len(header)} columns"
                table.problems.append(Problem("error", "cells", where, f"{message}; left out"))
                continue
            pairs = zip(header, cells, strict=False)  # a short row lacks its last cells
            named = {name: cell for name, cell in pairs if name and cell.strip()}
            if named:
                table.rows.append(Row(where, named))
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num} is not readable as CSV: {error}") from None
    return table


def _first_line(reader: Iterator[list[str]]) -> list[str]:
    return next(cells for cells in reader if any(cell.strip() for cell in cells))


def _refuse_other_separators(path: Path, text: str) -> None:
    header = next(line for line in text.splitlines() if line.strip())
    if "path" in _names(header, ","):
        return
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if separator in header and "path" in _names(header, separator):
            raise DataError(f"{path}: is separated by {name}; save it with commas between cells")


def _names(header: str, separator: str) -> list[str]:
    return [name.strip(' "').lower() for name in header.split(separator)]


def _read_json_lines(path: Path, text: str) -> Table:
    if text.lstrip().startswith("["):
        raise DataError(f"{path}: holds a JSON list; write one JSON object per line")
    table = Table()
    # Only line feeds end a line: JSON text may hold other separators of lines as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path.name}:{number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", "nested too deeply")
            message = f"line {number} is not readable as JSON ({reason}); left out"
            table.problems.append(Problem("error", "json", where, message))
            continue
        if not isinstance(fields, dict):
            message = f"line {number} is no JSON object; left out"
            table.problems.append(Problem("error", "json", where, message))
            continue
        cells = {name.strip().lower(): cell for name, cell in fields.items()}
        table.columns |= dict.fromkeys(cells)
        named = {name: cell for name, cell in cells.items() if not is_empty(cell)}
        if named:
            table.rows.append(Row(where, named))
    return table


def is_empty(cell: object) -> bool:
    """Tell whether a cell of JSON says nothing."""
    return cell is None or cell == [] or (isinstance(cell, str) and not cell.strip())


def _shortened(name: str) -> str:
    """Return a column's name fit for a message: without a header it is somebody's data."""
    return name if len(name) <= 40 else f"{name[:40]}..."


READERS: dict[str, Callable[[Path, str], Table]] = {
    ".csv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
}
