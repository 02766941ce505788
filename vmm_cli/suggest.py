"""Did you mean: the known names nearest to what was typed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_WORD = 100  # characters; comparing takes time by their square


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the name nearest to `word`, or "" where none is near.

    >>> did_you_mean("--evry", ["--every", "--start"])
    "; did you mean '--every'?"
    """
    if len(word) > LONGEST_WORD:
        return ""
    near = difflib.get_close_matches(word, sorted(set(known)), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
