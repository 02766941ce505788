"""Tables for people, drawn by rich."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vmm_cli.output.escape import escape_controls

_FILE_WIDTH = 100_000  # columns; a table is as wide as its cells, never wider
_BETWEEN_COLUMNS = 3  # what the box and its padding take
_LEAST_TEXT_WIDTH = 8  # text that is folded more narrowly stands letter below letter


@dataclass(frozen=True)
class Column:
    """A column: its title, whether it holds numbers, and the least width worth showing."""

    title: str
    number: bool = False
    min_width: int | None = None


@dataclass(frozen=True)
class Row:
    """One line of a table; `failed` ones are shown in red, `rule` draws a line after it."""

    cells: Sequence[str]
    failed: bool = False
    rule: bool = False


def print_table(
    stream: TextIO, columns: Sequence[Column], rows: Iterable[Row], title: str | None = None
) -> None:
    """Draw one table on `stream`, as wide as the terminal; cells hold plain text, never markup.

    Where the terminal is too narrow for columns that can be read, each row becomes a few lines.
    """
    lines = [Row(tuple(map(escape_controls, row.cells)), row.failed, row.rule) for row in rows]
    # Off a terminal nothing says how wide lines may be: let no cell be cut.
    console = Console(
        file=stream,
        width=None if stream.isatty() else _FILE_WIDTH,
        soft_wrap=False,
        highlight=False,
        emoji=False,
        markup=False,
    )
    heading = None if title is None else Text(escape_controls(title), style="bold")
    if _least_width(columns, lines) > console.width:
        _print_stacked(console, columns, lines, heading)
    else:
        console.print(_table(columns, lines, heading))
    stream.flush()


def _least_width(columns: Sequence[Column], rows: Sequence[Row]) -> int:
    """Return how wide a table is whose columns can still be read."""
    least = _BETWEEN_COLUMNS * (len(columns) - 1)
    for column, cells in zip(columns, zip(*(row.cells for row in rows), strict=True), strict=False):
        longest = max(map(cell_len, (column.title, *cells)))
        foldable = min(longest, _LEAST_TEXT_WIDTH)
        least += longest if column.number else max(foldable, column.min_width or 0)
    return least


def _print_stacked(
    console: Console, columns: Sequence[Column], rows: Sequence[Row], heading: Text | None
) -> None:
    if heading is not None:
        console.print(heading)
    for row in rows:
        for column, cell in zip(columns, row.cells, strict=True):
            if cell:
                said = Text(f"{column.title}: {cell}", style="red" if row.failed else "")
                console.print(said, overflow="fold")
        console.print()


def _table(columns: Sequence[Column], rows: Sequence[Row], heading: Text | None) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        title=heading,
        title_justify="left",
        pad_edge=False,
        show_edge=False,
    )
    for column in columns:
        table.add_column(
            Text(column.title),
            justify="right" if column.number else "left",
            overflow="fold",
            no_wrap=column.number,
            min_width=column.min_width,
        )
    for row in rows:
        table.add_row(
            *map(Text, row.cells), style="red" if row.failed else None, end_section=row.rule
        )
    return table


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
        self._rows: list[Row] = []

    def write(self, record: Mapping[str, Any]) -> None:
        """Keep the rows of one record."""
        self._rows.extend(self._make_rows(record))

    def close(self) -> None:
        """Draw the table."""
        print_table(self._stream, self._columns, self._rows)
