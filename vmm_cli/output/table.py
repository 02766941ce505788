"""Tables for people, drawn by rich."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vmm_cli.output.escape import escape_controls


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
    """Draw one table on `stream`, as wide as the terminal; cells hold plain text, never markup."""
    # Off a terminal nothing says how wide lines may be: let no cell be cut.
    console = Console(
        file=stream,
        width=None if stream.isatty() else _FILE_WIDTH,
        soft_wrap=False,
        highlight=False,
        emoji=False,
        markup=False,
    )
    table = Table(
        box=box.SIMPLE_HEAD,
        title=None if title is None else Text(escape_controls(title), style="bold"),
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
            *(Text(escape_controls(cell)) for cell in row.cells),
            style="red" if row.failed else None,
            end_section=row.rule,
        )
    console.print(table)
    stream.flush()


_FILE_WIDTH = 100_000  # columns; a table is as wide as its cells, never wider


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
