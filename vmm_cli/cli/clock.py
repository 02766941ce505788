"""Times as people read and type them."""

from __future__ import annotations


def clock(seconds: float | None) -> str:
    """Return H:MM:SS.mmm, the way --start reads it.

    >>> clock(3723.5)
    '1:02:03.500'
    """
    if seconds is None:
        return "?"
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
