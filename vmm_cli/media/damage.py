"""Which stretches of a file's pictures could not be decoded, for whoever makes its record.

Whatever decodes a file notes it here; whoever had it decoded asks afterwards. A worker has one file
at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

Gap = tuple[float, float]  # from, to, seconds on the clock

# Shorter ones are seen as a picture that stands still.
GAP_MIN_S = 0.5
MAX_NAMED = 3  # in a warning; records have them all

_noted: dict[str, list[Gap]] = {}


def note(path: Path, gaps: Iterable[Gap]) -> None:
    """Note stretches of a file that could not be decoded."""
    found = [gap for gap in gaps if gap[1] - gap[0] >= GAP_MIN_S]
    if found:
        _noted.setdefault(str(path), []).extend(found)


def is_noted(path: Path) -> bool:
    """Tell whether something was noted of a file since `noted` was last asked."""
    return str(path) in _noted


def noted(path: Path) -> tuple[Gap, ...]:
    """Return what was noted of a file, and forget it."""
    return joined(_noted.pop(str(path), ()))


def joined_text(gaps: Sequence[Gap]) -> str:
    """Return a warning of stretches, joined ones, that could not be decoded."""
    told = [f"{begin_s:.1f} to {end_s:.1f} s" for begin_s, end_s in gaps[:MAX_NAMED]]
    more = f" and {len(gaps) - MAX_NAMED} more" if len(gaps) > MAX_NAMED else ""
    return f"its pictures could not be decoded from {', '.join(told)}{more}"


def joined(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """Return the same stretches in order, none touching another.

    >>> joined([(3.0, 5.0), (0.0, 1.0), (4.0, 6.0)])
    ((0.0, 1.0), (3.0, 6.0))
    """
    whole: list[Gap] = []
    for begin, end in sorted(gaps):
        if whole and begin <= whole[-1][1]:
            whole[-1] = whole[-1][0], max(whole[-1][1], end)
        else:
            whole.append((begin, end))
    return tuple(whole)
