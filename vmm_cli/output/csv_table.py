"""CSV: a header line and rows, as RFC 4180 says but with plain line feeds."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from vmm_cli.output.escape import escape_controls

Cell = str | int | float | None


class CsvTable:
    """Writes the rows that `rows` makes of each record under one header.

    Numbers are written as Python's `repr` writes them: a point whatever the locale, and digits
    enough to read the same number back. None is an empty cell. Control characters in text are
    escaped, so that a row is always one line.
    """

    def __init__(
        self,
        stream: TextIO,
        header: Sequence[str],
        rows: Callable[[Mapping[str, Any]], Iterable[Sequence[Cell]]],
    ) -> None:
        self._stream = stream
        self._writer = csv.writer(stream, lineterminator="\n")
        self._rows = rows
        self._header: Sequence[str] | None = header  # None once it is written

    def write(self, record: Mapping[str, Any]) -> None:
        """Write the rows of one record and flush them."""
        self._begin()
        for row in self._rows(record):
            self._writer.writerow(
                escape_controls(cell) if isinstance(cell, str) else cell for cell in row
            )
        self._stream.flush()

    def close(self) -> None:
        """See to it that the header is there where there was no record."""
        self._begin()
        self._stream.flush()

    def _begin(self) -> None:
        if self._header is not None:
            self._writer.writerow(self._header)
            self._header = None
