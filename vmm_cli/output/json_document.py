"""One JSON document, indented for people and programs."""

from __future__ import annotations

import json
from typing import Any, TextIO

from vmm_cli.output.escape import escape_json


def write_document(stream: TextIO, document: Any) -> None:
    """Write `document` with indentation; unsafe characters are escaped as in `jsonl.encode`."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2)
    # Line by line: the line feeds between them are layout, those in strings are escaped already.
    stream.write("\n".join(escape_json(line) for line in text.split("\n")) + "\n")
    stream.flush()
