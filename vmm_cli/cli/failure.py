"""Why an input failed, on one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def failure_text(record: Mapping[str, Any]) -> str:
    """Return the code and the message of a record's error; "" where it has none.

    >>> failure_text({"error": {"code": "missing", "message": "no such file or folder"}})
    'missing: no such file or folder'
    """
    error = record.get("error")
    return f"{error['code']}: {error['message']}" if error else ""
