"""Names that look the same and are written in different ways: labels, groups, columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable


def composed(name: str) -> str:
    """Return a name without outer spaces and with its accents composed (Unicode's form C).

    What looks the same is the same then, whichever system wrote it.
    """
    return unicodedata.normalize("NFC", name.strip())


def column_name(name: str) -> str:
    """Return what a column is known by: `composed`, and without regard to case."""
    return composed(name).lower()


def spelling_of(known: Iterable[str]) -> Callable[[str], str]:
    """Return what spells a label as the known ones are, which may have their accents apart.

    >>> spelt = spelling_of(["e\u0301te\u0301"])
    >>> len(spelt("\u00e9t\u00e9")), spelt("other")
    (5, 'other')
    """
    exact = frozenset(known)
    by_composed = {composed(label): label for label in sorted(exact)}
    return lambda label: label if label in exact else by_composed.get(composed(label), label)
