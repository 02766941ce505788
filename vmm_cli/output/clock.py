"""Times as people read and type them."""

from __future__ import annotations


def clock_text(seconds: float, *, hours: bool = False) -> str:
    """Return a time as M:SS.mmm, or as H:MM:SS.mmm from an hour on or where `hours` asks for it.

    >>> clock_text(62.5), clock_text(3723.25), clock_text(62.5, hours=True)
    ('1:02.500', '1:02:03.250', '0:01:02.500')
    """
    milliseconds = round(seconds * 1000)
    sign = "-" if milliseconds < 0 else ""
    minutes, rest = divmod(abs(milliseconds), 60_000)
    whole, minutes = divmod(minutes, 60)
    clock = f"{rest // 1000:02d}.{rest % 1000:03d}"
    return f"{sign}{whole}:{minutes:02d}:{clock}" if whole or hours else f"{sign}{minutes}:{clock}"
