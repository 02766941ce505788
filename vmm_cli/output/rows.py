"""Records as rows: what a table and a CSV file have in their columns, said once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vmm_cli.output.clock import clock_text

Record = Mapping[str, Any]
Value = str | int | float | None  # a cell of a CSV file


@dataclass(frozen=True)
class Times:
    """Text with times in it: `parts` in a row, numbers among them being seconds, None unknown.

    A column shows all its times alike: with hours where one of them has some.
    """

    parts: tuple[str | float | None, ...]

    def text(self, *, hours: bool) -> str:
        """Return the text, with or without hours."""
        return "".join(_time_text(part, hours=hours) for part in self.parts)

    @property
    def latest_s(self) -> float:
        """The latest time in it; 0 where there is none."""
        return max((part for part in self.parts if isinstance(part, int | float)), default=0.0)


def _time_text(part: str | float | None, *, hours: bool) -> str:
    if isinstance(part, str):
        return part
    return "?" if part is None else clock_text(part, hours=hours)


Cell = str | Times  # of a table


def span(start_s: float | None, end_s: float | None) -> Times:
    """Return the text of a span of time."""
    return Times((start_s, " - ", end_s))


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: what stands above it.
        number: whether it holds numbers: those stand to the right and are never cut.
        min_width: the least width worth showing.
        shorten: where a cell that is too long is cut, with an ellipsis: at its "start" (paths,
            whose ends tell most) or its "end"; None: it is folded over several lines.
    """

    title: str
    number: bool = False
    min_width: int | None = None
    shorten: Literal["start", "end"] | None = None


@dataclass(frozen=True)
class Row:
    """One line of a table; `failed` ones are shown in red, `rule` parts it from the next.

    Of a row with fewer cells than there are columns the last one takes all the room that is left.
    """

    cells: Sequence[Cell]
    failed: bool = False
    rule: bool = False


def failure_text(record: Record) -> str:
    """Return the code and the message of a record's error; "" where it has none.

    >>> failure_text({"error": {"code": "missing", "message": "no such file or folder"}})
    'missing: no such file or folder'
    """
    error = record.get("error")
    return f"{error['code']}: {error['message']}" if error else ""


@dataclass(frozen=True)
class Table:
    """How records are shown to people, each in some rows behind the input's name.

    Attributes:
        own: the columns after that of the input.
        cells: makes of a record that is ok the cells of its rows.
        grouped: whether the rows of an input are parted from the next one's.
        tells_failures: whether inputs that failed have a row too; another table has it otherwise.
    """

    own: Sequence[Column]
    cells: Callable[[Record], Iterable[Sequence[Cell]]]
    grouped: bool = True
    tells_failures: bool = True

    @property
    def columns(self) -> Sequence[Column]:
        """All columns."""
        return Column("input", shorten="start"), *self.own

    def rows(self, record: Record) -> Iterator[Row]:
        """Yield the rows of a record; the input stands in the first one only."""
        name = record["input"]
        if record["status"] != "ok":
            if self.tells_failures:
                reason = failure_text(record)
                said = name, reason or record["status"]
                yield Row(said, failed=bool(reason), rule=self.grouped)
            return
        rows = [*self.cells(record)]
        for number, cells in enumerate(rows, start=1):
            yield Row((name, *cells), rule=self.grouped and number == len(rows))
            name = ""


@dataclass(frozen=True)
class Sheet:
    """How records are written as CSV.

    Attributes:
        own: the columns between input and status, and the error.
        cells: makes of a record that is ok the cells of its rows.
    """

    own: Sequence[str]
    cells: Callable[[Record], Iterable[Sequence[Value]]]

    @property
    def header(self) -> Sequence[str]:
        """The names of all columns."""
        return "input", "status", *self.own, "error"

    def rows(self, record: Record) -> Iterator[Sequence[Value]]:
        """Yield the rows of a record; one without any cells where there are none."""
        rows = [*self.cells(record)] if record["status"] == "ok" else []
        for cells in rows or [[None] * len(self.own)]:
            yield record["input"], record["status"], *cells, failure_text(record)
