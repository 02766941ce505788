"""How many of what are seen from when to when, of what is seen in pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

Stretch = tuple[float, float, Mapping[str, int]]


def stretches(
    times_s: Sequence[float], until_s: float, seen: Iterable[tuple[float, str]]
) -> Iterator[Stretch]:
    """Yield begin, end (s) and the number of each label, the most first, while that is the same.

    Nothing is yielded while nothing is seen.

    Args:
        times_s: of the pictures, ascending; each stands until the next one.
        until_s: how long the last one stands.
        seen: of each object in each picture the picture's time and the label.
    """
    counts: dict[float, Counter[str]] = {}
    for time_s, label in seen:
        counts.setdefault(time_s, Counter())[label] += 1
    spans = zip(times_s, [*times_s[1:], until_s], strict=False)  # there may be no times
    for labels, same in groupby(spans, key=lambda span: counts.get(span[0])):
        stretch = list(same)
        if labels is not None:
            yield stretch[0][0], stretch[-1][1], dict(labels.most_common())
