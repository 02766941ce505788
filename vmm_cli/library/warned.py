"""What of a file could not be read or believed, as a warning of Python's."""

from __future__ import annotations

import inspect
import warnings


class VmmWarning(UserWarning):
    """What of a file could not be read or believed."""


def warn(line: str) -> None:
    """Warn of something, at the line that called the library."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("vmm_cli."):
        frame, level = frame.f_back, level + 1
    warnings.warn(line, VmmWarning, stacklevel=level)
