"""Did you mean: the known name nearest to what was typed, where one is near."""

from __future__ import annotations

from collections.abc import Iterable

LETTERS_PER_SLIP = 3  # a word of six letters may have two slips and still be meant, one of two none
MOST_SLIPS = 3
LEAST_PREFIX = 4  # letters; fewer begin too many names
LONGEST_WORD = 100  # characters; comparing takes time by their square


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the name nearest to `word`, or "" where none is near.

    Near is what a few slips of the hand lead to (see `distance`), or what begins or is begun by it.
    A name FAMILY/NAME is as near as its NAME to a word without a family.

    >>> did_you_mean("--evry", ["--every", "--start"])
    "; did you mean '--every'?"
    >>> did_you_mean("resnet81", ["torchvision/resnet18"])
    "; did you mean 'torchvision/resnet18'?"
    >>> did_you_mean("--min-score", ["--no-store"])
    ''
    """
    if len(word) > LONGEST_WORD:
        return ""
    typed = word.strip("-")
    has_family = "/" in typed
    most = min(MOST_SLIPS, len(typed) // LETTERS_PER_SLIP)
    near: list[tuple[int, str]] = []
    for name in sorted(set(known)):
        bare = name.strip("-")
        if not has_family:
            bare = bare.rpartition("/")[2]
        slips = distance(typed, bare)
        begins = bare.startswith(typed) or typed.startswith(bare)
        if slips <= most:
            near.append((slips, name))
        elif begins and min(len(typed), len(bare)) >= LEAST_PREFIX:
            near.append((MOST_SLIPS + 1, name))
    return f"; did you mean {min(near)[1]!r}?" if near else ""


def distance(first: str, second: str) -> int:
    """Return how many letters must be put in, left out, changed or swapped with the next.

    The optimal string alignment distance, regardless of case.

    >>> distance("fihgts", "fights"), distance("min", "no")
    (1, 3)
    """
    a, b = first.casefold(), second.casefold()
    before, last = [0] * (len(b) + 1), list(range(len(b) + 1))
    for i in range(1, len(a) + 1):
        row = [i]
        for j in range(1, len(b) + 1):
            best = min(last[j] + 1, row[-1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                best = min(best, before[j - 2] + 1)
            row.append(best)
        before, last = last, row
    return last[-1]
