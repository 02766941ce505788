"""The rows of a manifest: CSV or JSON lines, as text; what the cells mean is not looked at here.

Rows are made as they are asked for, so that a manifest takes little more memory than its text.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from vmm_cli.errors import DataError
from vmm_cli.plain_file import UnreadableError, read_regular
from vmm_cli.spelling import column_name
from vmm_cli.suggest import did_you_mean
from vmm_cli.training.data.samples import Problem, Problems

REQUIRED = ("path", "label")
OPTIONAL = ("split", "group", "fold", "start", "end", "text")
# What a row for --task valence says instead of a label: one of them or both.
RATINGS = ("valence", "emotion")

MAX_MANIFEST_BYTES = 2**30  # some ten million rows
MOST_COLUMNS = 100  # that are named in a message, or compared with one that is lacking

# As files are read with newline="": the reader of CSV tells ends of lines from those inside quotes.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `where` ("clips.csv:12") and its cells by column, without the empty ones.

    The cells of a CSV file are str, those of JSON lines any JSON type.
    """

    where: str
    cells: Mapping[str, object]


@dataclass
class Table:
    """A manifest's columns (lower case, in the order found), rows, and the rows left out.

    `rows` can be gone through once; `problems` is complete after that.
    """

    columns: dict[str, None] = field(default_factory=dict)
    rows: Iterable[Row] = ()
    problems: Problems = field(default_factory=Problems)


def read_rows(path: Path, required: tuple[str, ...] = REQUIRED) -> Table:
    """Read a manifest.

    Names of columns are read as `column_name` has them; blank rows are skipped.

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
    known = [*islice(table.columns, MOST_COLUMNS)]
    more = len(table.columns) - len(known)
    found = ", ".join(map(_shortened, known)) or "none"
    found += f" and {more} more" if more else ""
    hint = "".join(did_you_mean(name, known) for name in lacking)
    if not table.columns and table.problems:
        hint = f" ({next(iter(table.problems))})"
    if "label" in lacking and (rated := [name for name in RATINGS if name in table.columns]):
        hint = f"; what {' and '.join(rated)} say is for --task valence"
    raise DataError(f"{path}: has no {listed}; found: {found}{hint}")


def read_text(path: Path) -> str:
    """Return what a manifest says. DataError where it cannot be read or is not UTF-8."""
    try:
        data = read_regular(path, MAX_MANIFEST_BYTES)
    except UnreadableError as error:
        raise DataError(f"{path}: {error}") from None
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
    lines = (line[0] for line in _LINE.finditer(text))
    reader = csv.reader(lines, strict=True, skipinitialspace=True)
    try:
        header = [column_name(cell) for cell in _first_line(reader)]
    except csv.Error as error:
        raise _no_csv(path, reader.line_num, error) from None
    table.columns = dict.fromkeys(name for name in header if name)
    if len(table.columns) < sum(map(bool, header)):
        shown = ", ".join(map(_shortened, header[:MOST_COLUMNS]))
        raise DataError(f"{path}: names a column twice: {shown}")

    name, width = path.name, len(header)

    def rows() -> Iterator[Row]:
        try:
            for cells in reader:
                where = f"{name}:{reader.line_num}"
                if len(cells) > width and any(cell.strip() for cell in cells[width:]):
                    message = f"has {len(cells)} cells under {width} columns"
                    table.problems.append(Problem("error", "cells", where, f"{message}; left out"))
                    continue
                pairs = zip(header, cells, strict=False)  # a short row lacks its last cells
                named = {column: cell for column, cell in pairs if column and cell.strip()}
                if named:
                    yield Row(where, named)
        except csv.Error as error:
            raise _no_csv(path, reader.line_num, error) from None

    table.rows = rows()
    return table


def _no_csv(path: Path, line: int, error: csv.Error) -> DataError:
    return DataError(f"{path}: line {line} is not readable as CSV: {error}")


def _first_line(reader: Iterator[list[str]]) -> list[str]:
    return next(cells for cells in reader if any(cell.strip() for cell in cells))


def _refuse_other_separators(path: Path, text: str) -> None:
    lines = (match[0].rstrip("\r\n") for match in _LINE.finditer(text))
    header = next(line for line in lines if line.strip())
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
    for _, fields in _json_objects(path, text, table.problems):
        table.columns |= dict.fromkeys(fields)

    def rows() -> Iterator[Row]:
        for where, fields in _json_objects(path, text, Problems()):  # they were told above
            named = {name: cell for name, cell in fields.items() if not is_empty(cell)}
            if named:
                yield Row(where, named)

    table.rows = rows()
    return table


def _json_objects(
    path: Path, text: str, problems: Problems
) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield where each object stands, and its fields; what is none goes to `problems`."""
    # Only line feeds end a line: JSON text may hold other separators of lines as they are.
    for number, match in enumerate(re.finditer(r"[^\n]*\n|[^\n]+", text), start=1):
        line = match[0]
        if not line.strip():
            continue
        where = f"{path.name}:{number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", "nested too deeply")
            message = f"line {number} is not readable as JSON ({reason}); left out"
            problems.append(Problem("error", "json", where, message))
            continue
        if not isinstance(fields, dict):
            message = f"line {number} is no JSON object; left out"
            problems.append(Problem("error", "json", where, message))
            continue
        yield where, {column_name(name): cell for name, cell in fields.items()}


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
