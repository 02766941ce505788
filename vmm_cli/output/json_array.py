"""One JSON array of all records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from vmm_cli.output.jsonl import encode


class JsonArray:
    """Writes an array, one element a line; `close` ends it, so the text is JSON even when cut."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._any = False

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one element."""
        self._stream.write((",\n" if self._any else "[\n") + encode(record))
        self._stream.flush()
        self._any = True

    def close(self) -> None:
        """End the array; an empty one is `[]`."""
        self._stream.write("\n]\n" if self._any else "[]\n")
        self._stream.flush()
