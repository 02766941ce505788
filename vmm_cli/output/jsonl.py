"""JSON Lines: one record a line, each written as soon as it is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TextIO

from vmm_cli.output.escape import escape_json


def encode(record: Mapping[str, Any]) -> str:
    """Return `record` as one line of JSON without its line end.

    It is valid UTF-8 whatever the record holds: characters that a terminal obeys and bytes of file
    names that are no UTF-8 are written as ASCII escapes, which Python's json reads back as they
    were. ValueError for NaN and infinity, which JSON does not have.
    """
    return escape_json(json.dumps(record, ensure_ascii=False, allow_nan=False))


class JsonLines:
    """Writes each record as a line and flushes it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one record."""
        self._stream.write(encode(record) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: every line is whole already."""
