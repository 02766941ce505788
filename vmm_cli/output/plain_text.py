"""Plain text: what a record says, in a paragraph; where there are several, below their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TextIO

from vmm_cli.output.escape import escape_controls
from vmm_cli.output.rows import failure_text

Record = Mapping[str, Any]
NO_TEXT = "(no text)"  # below a name, so that nothing seems to be missing


class PlainText:
    """Writes the text of each record; the first one waits until it is known that there are more."""

    def __init__(self, stream: TextIO, text_of: Callable[[Record], str]) -> None:
        self._stream = stream
        self._text_of = text_of
        self._first: Record | None = None
        self._any = False

    def write(self, record: Record) -> None:
        """Write one record, or keep it."""
        if self._first is None and not self._any:
            self._first = record
            return
        if self._first is not None:
            self._write_named(self._first)
            self._first = None
        self._write_named(record)

    def close(self) -> None:
        """Write the only record, if it is one: of one that failed, nothing."""
        if self._first is not None and self._first["status"] == "planned":
            self._write_named(self._first)
        elif self._first is not None and (text := self._text(self._first)):
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def _write_named(self, record: Record) -> None:
        if self._any:
            self._stream.write("\n")
        self._any = True
        failure = failure_text(record)
        self._stream.write(f"{escape_controls(record['input'])}\n")
        if failure:
            self._stream.write(f"({escape_controls(failure)})\n")
        elif record["status"] == "ok":
            self._stream.write(f"{self._text(record) or NO_TEXT}\n")
        self._stream.flush()

    def _text(self, record: Record) -> str:
        if record["status"] != "ok":
            return ""
        return escape_controls(" ".join(self._text_of(record).split()))
