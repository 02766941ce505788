"""Tables for people: as wide as the terminal, or as wide as their cells where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from vmm_cli.output.escape import escape_controls
from vmm_cli.output.rows import Cell, Column, Row, Table, Times, span

# With what tables are made of: who draws one needs this module alone.
__all__ = [
    "Cell",
    "Column",
    "Row",
    "TableOfRecords",
    "Tables",
    "Times",
    "print_table",
    "shortened",
    "span",
]

_GAP = "  "  # between columns
_INDENT = "  "  # of what goes on in a line of its own
_UNBOUNDED = 100_000  # columns; where nothing says how wide lines may be, no cell is cut
_LEAST_TEXT_WIDTH = 8  # text that is folded more narrowly stands letter below letter
_WHOLE_WORD = 16  # words up to here are not broken
_LEAST_SPAN_WIDTH = 30  # a message with less room goes on a line of its own
_READABLE_NAME = 20  # so much of a cut name still tells which one it is
_HOUR_S = 3600.0
_NOTHING = ("", "-")
_LINE = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def print_table(
    stream: TextIO, columns: Sequence[Column], rows: Iterable[Row], title: str | None = None
) -> None:
    """Draw one table on `stream`, no wider than the terminal; cells hold plain text, never markup.

    A column in which nothing stands is left out. Where the terminal is too narrow for columns that
    can be read, each row becomes a few lines.
    """
    width = _width_of(stream)  # told to rich, which takes COLUMNS=0 for no room at all
    console = Console(file=stream, width=width, highlight=False, emoji=False, markup=False)
    page = _Page(console, width)
    if title is not None:
        _print(page, escape_controls(title), "bold")
    for text, style in _laid_out(page, *_without_empty(columns, _plain(columns, rows))):
        _print(page, text, style)
    stream.flush()


def _width_of(stream: TextIO) -> int:
    """Return how wide lines may be: as the terminal is, or as COLUMNS says of standard output."""
    if stream.isatty():
        return max(1, shutil.get_terminal_size().columns)
    wanted = os.environ.get("COLUMNS", "")
    if getattr(stream, "obeys_columns", False) and wanted.isascii() and wanted.isdigit():
        return int(wanted) or _UNBOUNDED
    return _UNBOUNDED


@dataclass(frozen=True)
class _Page:
    """Where lines go, and how wide they may be; to rich every dumb terminal has 80 columns."""

    console: Console
    width: int


# --- what is shown ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Line:
    """A row with its cells as text; `spans`: the last one takes all the room that is left."""

    cells: tuple[str, ...]
    spans: bool
    failed: bool
    rule: bool

    @property
    def alone(self) -> tuple[str, ...]:
        """The cells that keep to their columns."""
        return self.cells[:-1] if self.spans else self.cells


def _plain(columns: Sequence[Column], rows: Iterable[Row]) -> list[_Line]:
    kept = list(rows)
    hours = [False] * len(columns)
    for row in kept:
        for i, cell in enumerate(row.cells):
            if isinstance(cell, Times) and cell.latest_s >= _HOUR_S:
                hours[i] = True
    return [
        _Line(
            tuple(
                escape_controls(cell.text(hours=hours[i]) if isinstance(cell, Times) else cell)
                for i, cell in enumerate(row.cells)
            ),
            spans=len(row.cells) < len(columns),
            failed=row.failed,
            rule=row.rule,
        )
        for row in kept
    ]


def _without_empty(
    columns: Sequence[Column], lines: Sequence[_Line]
) -> tuple[list[Column], list[_Line]]:
    """Return the columns in which something stands, the first one in any case, and their cells."""
    filled = {0}
    for line in lines:
        filled |= {i for i, cell in enumerate(line.alone) if cell not in _NOTHING}
    if not lines:
        filled = set(range(len(columns)))
    return [column for i, column in enumerate(columns) if i in filled], [
        _Line(
            (
                *(cell for i, cell in enumerate(line.alone) if i in filled),
                *(line.cells[-1:] if line.spans else ()),
            ),
            line.spans,
            line.failed,
            line.rule,
        )
        for line in lines
    ]


# --- how wide -----------------------------------------------------------------------------------


def _fitted(columns: Sequence[Column], lines: Sequence[_Line], room: int) -> list[int] | None:
    """Return the width of each column, or None where columns that can be read do not fit."""
    inner = room - len(_GAP) * (len(columns) - 1)
    widths = [min(width, inner) for width in _natural(columns, lines)]
    least = _least(columns, lines)
    if sum(least) > inner:
        return None
    while sum(widths) > inner:
        giving = [i for i in range(len(columns)) if widths[i] > least[i]]
        widths[max(giving, key=lambda i: widths[i])] -= 1
    return widths


def _natural(columns: Sequence[Column], lines: Sequence[_Line]) -> list[int]:
    """Return how wide each column is whose cells are whole and on one line."""
    return [
        max(cell_len(column.title), max(map(cell_len, _cells_of(i, lines)), default=0))
        for i, column in enumerate(columns)
    ]


def _least(columns: Sequence[Column], lines: Sequence[_Line]) -> list[int]:
    """Return how wide each column must be to be read."""
    widths = []
    for i, (column, natural) in enumerate(zip(columns, _natural(columns, lines), strict=True)):
        cells = _cells_of(i, lines)
        if column.number:
            least = max(map(cell_len, cells), default=0)
        else:
            words = 0 if column.shorten else max((_longest_word(cell) for cell in cells), default=0)
            readable = max(_LEAST_TEXT_WIDTH, column.min_width or 0, min(words, _WHOLE_WORD))
            least = min(natural, readable)
        widths.append(max(least, _longest_word(column.title)))
    return widths


def _cells_of(index: int, lines: Sequence[_Line]) -> list[str]:
    return [line.alone[index] for line in lines if len(line.alone) > index]


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def shortened(text: str, width: int, at: Literal["start", "end"] = "end") -> str:
    """Return `text`, or what of it fits `width` with an ellipsis: its end, or whole items of it.

    >>> shortened("videos/beach.mp4", 12, "start"), shortened("one, two, three", 12)
    ('…/beach.mp4', 'one, two, …')
    """
    if cell_len(text) <= width:
        return text
    if at == "start":
        kept = text[-width:]  # a letter is as wide as a column or wider
        while cell_len(kept) > width - 1:
            kept = kept[1:]
        folder = kept.find("/")
        return f"{ELLIPSIS}{kept[folder:] if folder >= 0 else kept}"
    kept = text[:width]
    while cell_len(kept) > width - 1:
        kept = kept[:-1]
    items = kept.rfind(", ")
    return f"{kept[: items + 2] if items > 0 else kept}{ELLIPSIS}"


# --- drawing ------------------------------------------------------------------------------------

_Styled = Iterator[tuple[str, str]]  # lines, and rich's style of each


def _print(page: _Page, text: str, style: str = "") -> None:
    page.console.print(Text(text, style), soft_wrap=True)


def _laid_out(page: _Page, columns: Sequence[Column], lines: Sequence[_Line]) -> _Styled:
    """Yield the lines of a table in the first of these layouts that can be read.

    Columns side by side, their cells whole; made narrower; the first one's cells on lines of their
    own, if it would be cut to little or several rows belong to one (their first cells are empty);
    a line for each cell.
    """
    natural = _natural(columns, lines)
    widths = _fitted(columns, lines, page.width)
    grouped = any(line.cells[0] == "" for line in lines)
    named = columns[0].shorten is not None or columns[0].min_width is not None
    if widths != natural and named and len(columns) > 1:
        tails = [replace(line, cells=line.cells[1:]) for line in lines]
        others = _fitted(columns[1:], tails, page.width - len(_INDENT))
        cut = widths is None or widths[0] < min(natural[0], columns[0].min_width or _READABLE_NAME)
        if others and (grouped or cut):
            yield from _headed(page, columns[0].title, columns[1:], lines, tails, others)
            return
    if widths is not None:
        yield from _head(page, columns, widths)
        for line in lines:
            yield from _row(page, columns, line, widths)
            if line.rule and line is not lines[-1]:
                yield "", ""
    else:
        for line in lines:
            yield from _stacked(page, columns, line)


def _head(page: _Page, columns: Sequence[Column], widths: Sequence[int]) -> _Styled:
    titles = [_folded(page, column.title, w) for column, w in zip(columns, widths, strict=True)]
    for text in _side_by_side(columns, titles, widths):
        yield text, "bold"
    yield _LINE * (sum(widths) + len(_GAP) * (len(widths) - 1)), ""


def _headed(
    page: _Page,
    title: str,
    columns: Sequence[Column],
    lines: Sequence[_Line],
    tails: Sequence[_Line],
    widths: Sequence[int],
) -> _Styled:
    """Yield a table whose first column stands above the rows that belong to it."""
    yield title, "bold"
    for text, style in _head(page, columns, widths):
        yield (_LINE * len(_INDENT) if text.startswith(_LINE) else _INDENT) + text, style
    for line, tail in zip(lines, tails, strict=True):
        if line.cells[0]:
            for text in _folded(page, line.cells[0], page.width):
                yield text, _style(line)
        for text, style in _row(page, columns, tail, widths, _INDENT):
            yield text, style
        if line.rule and line is not lines[-1]:
            yield "", ""


def _row(
    page: _Page,
    columns: Sequence[Column],
    line: _Line,
    widths: Sequence[int],
    indent: str = "",
) -> _Styled:
    """Yield the lines that a row takes."""
    cells = [
        [shortened(cell, width, column.shorten)] if column.shorten else _folded(page, cell, width)
        for column, cell, width in zip(columns, line.alone, widths, strict=False)
    ]
    kinds, own = [*columns[: len(cells)]], [*widths[: len(cells)]]
    rest: list[str] = []
    if line.spans:
        room = page.width - len(indent) - sum(own) - len(_GAP) * len(own)
        text = line.cells[-1]
        if room < min(_LEAST_SPAN_WIDTH, cell_len(text)):
            rest = _folded(page, text, page.width - len(indent + _INDENT))
        else:
            kinds, own = [*kinds, Column("")], [*own, room]
            cells.append(_folded(page, text, room))
    for text in _side_by_side(kinds, cells, own):
        yield indent + text, _style(line)
    for text in rest:
        yield indent + _INDENT + text, _style(line)


def _stacked(page: _Page, columns: Sequence[Column], line: _Line) -> _Styled:
    """Yield a row as a line for each of its cells, and an empty one."""
    titles = [column.title for column in columns[: len(line.alone)]]
    for title, cell in zip([*titles, *([""] if line.spans else ())], line.cells, strict=True):
        if cell not in _NOTHING:
            for text in _folded(page, f"{title}: {cell}" if title else cell, page.width):
                yield text, _style(line)
    yield "", ""


def _style(line: _Line) -> str:
    return "red" if line.failed else ""


def _side_by_side(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], widths: Sequence[int]
) -> Iterator[str]:
    for i in range(max(map(len, cells), default=0)):
        parts = []
        for column, lines, width in zip(columns, cells, widths, strict=False):
            text = lines[i] if i < len(lines) else ""
            space = " " * max(0, width - cell_len(text))
            parts.append(space + text if column.number else text + space)
        yield _GAP.join(parts).rstrip()


def _folded(page: _Page, text: str, width: int) -> list[str]:
    if cell_len(text) <= width:
        return [text]
    wrapped = Text(text).wrap(page.console, max(1, width), overflow="fold")
    return [part.plain.rstrip() for part in wrapped]


class TableOfRecords:
    """Keeps the rows that `rows` makes of each record and draws them all in `close`."""

    def __init__(
        self,
        stream: TextIO,
        columns: Sequence[Column],
        rows: Callable[[Mapping[str, Any]], Iterable[Row]],
    ) -> None:
        self._stream = stream
        self._columns = columns
        self._make_rows = rows
        self.rows: list[Row] = []

    def write(self, record: Mapping[str, Any]) -> None:
        """Keep the rows of one record."""
        self.rows.extend(self._make_rows(record))

    def close(self) -> None:
        """Draw the table."""
        print_table(self._stream, self._columns, self.rows)


class Tables:
    """Draws tables of records, one below the other; but for the first, only those with rows."""

    def __init__(self, stream: TextIO, tables: Sequence[Table]) -> None:
        self._stream = stream
        self._tables = [TableOfRecords(stream, one.columns, one.rows) for one in tables]

    def write(self, record: Mapping[str, Any]) -> None:
        """Keep the rows of one record."""
        for table in self._tables:
            table.write(record)

    def close(self) -> None:
        """Draw the tables."""
        first, *others = self._tables
        first.close()
        for table in others:
            if table.rows:
                self._stream.write("\n")
                table.close()
