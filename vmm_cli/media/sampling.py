"""Which times of a video are wanted: pure arithmetic, no decoding.

A `Sampling` is a plan in seconds on the video's clock (0 is where the container starts). Times are
exact fractions, so that `fps(30000/1001)` does not drift over hours.

    >>> [float(t) for t in wanted_times(every(2), Fraction(5))]
    [0.0, 2.0, 4.0]
    >>> [float(t) for t in wanted_times(count(2), Fraction(8))]
    [2.0, 6.0]
    >>> [float(t) for t in wanted_times(every(2, start=1, end=4), Fraction(9))]
    [1.0, 3.0]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Literal

Seconds = int | float | Fraction


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which times are wanted, within [start, end) seconds; `end` None: to the end of the video.

    kind `every` uses step_s, `count` uses n, `at` uses offsets_s (counted from start);
    `keyframes` and `all` take what the stream has.
    """

    kind: Literal["every", "count", "at", "keyframes", "all"]
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    step_s: Fraction | None = None
    n: int | None = None
    offsets_s: tuple[Fraction, ...] = ()

    def __post_init__(self) -> None:
        if self.start < 0:
            raise ValueError(f"start must not be negative, got {float(self.start):g}")
        if self.end is not None and self.end <= self.start:
            raise ValueError(
                f"end ({float(self.end):g} s) must lie after start ({float(self.start):g} s)"
            )


def _window(start: Seconds, end: Seconds | None) -> tuple[Fraction, Fraction | None]:
    return Fraction(start), None if end is None else Fraction(end)


def every(seconds: Seconds, *, start: Seconds = 0, end: Seconds | None = None) -> Sampling:
    """Return one time each `seconds`, the first at `start`. ValueError unless positive."""
    step = Fraction(seconds)
    if step <= 0:
        raise ValueError(f"the step must be positive, got {float(step):g} s")
    return Sampling("every", *_window(start, end), step_s=step)


def fps(rate: Seconds, *, start: Seconds = 0, end: Seconds | None = None) -> Sampling:
    """Return `rate` times a second, the first at `start`. ValueError unless positive."""
    if rate <= 0:
        raise ValueError(f"the rate must be positive, got {float(rate):g} per second")
    return every(1 / Fraction(rate), start=start, end=end)


def count(n: int, *, start: Seconds = 0, end: Seconds | None = None) -> Sampling:
    """Return the middles of `n` equal parts of the window; n = 1 is its middle.

    Where the video has fewer than `n` pictures each picture comes once. ValueError if n < 1.
    """
    if n < 1:
        raise ValueError(f"the count must be at least 1, got {n}")
    return Sampling("count", *_window(start, end), n=n)


def at(times: Iterable[Seconds], *, start: Seconds = 0, end: Seconds | None = None) -> Sampling:
    """Return the given times, counted from `start`, sorted, each once. ValueError if negative."""
    offsets = tuple(sorted({Fraction(t) for t in times}))
    if not offsets:
        raise ValueError("no times are given")
    if offsets[0] < 0:
        raise ValueError(f"times must not be negative, got {float(offsets[0]):g} s")
    return Sampling("at", *_window(start, end), offsets_s=offsets)


def keyframes(*, start: Seconds = 0, end: Seconds | None = None) -> Sampling:
    """Return every keyframe whose own time lies in the window."""
    return Sampling("keyframes", *_window(start, end))


def all(*, start: Seconds = 0, end: Seconds | None = None) -> Sampling:
    """Return every picture whose own time lies in the window."""
    return Sampling("all", *_window(start, end))


def needs_duration(sampling: Sampling) -> bool:
    """Tell whether `wanted_times` cannot do without the video's duration."""
    return sampling.kind == "count" and sampling.end is None


def wanted_times(sampling: Sampling, duration: Fraction | None) -> Iterator[Fraction]:
    """Yield the wanted times, ascending, in seconds on the video's clock.

    `duration` is the time at which the last picture ends; None where it is unknown: `every` then
    goes on for ever and the reader stops at the last picture. `at` yields times past the end too,
    so that the reader can say which were not there. ValueError for `keyframes` and `all`, whose
    times only the stream knows, and for `count` without an end.
    """
    end = sampling.end
    if duration is not None and (end is None or duration < end):
        end = duration
    if sampling.kind == "every":
        assert sampling.step_s is not None
        k = 0
        while end is None or sampling.start + k * sampling.step_s < end:
            yield sampling.start + k * sampling.step_s
            k += 1
    elif sampling.kind == "count":
        assert sampling.n is not None
        if end is None:
            raise ValueError("a count needs the duration of the video or an end")
        part = (end - sampling.start) / sampling.n
        if part > 0:
            for i in range(sampling.n):
                yield sampling.start + (i + Fraction(1, 2)) * part
    elif sampling.kind == "at":
        for offset in sampling.offsets_s:
            if sampling.end is None or sampling.start + offset < sampling.end:
                yield sampling.start + offset
    else:
        raise ValueError(f"only the stream knows the times of {sampling.kind!r}")


def within(sampling: Sampling, start: Fraction, end: Fraction | None) -> Sampling:
    """Return the part of a plan of explicit times that lies in [start, end), as an `at` plan.

    For splitting one video over workers. Only for plans whose `wanted_times` end.
    """
    times = [t for t in wanted_times(sampling, None) if t >= start and (end is None or t < end)]
    return Sampling("at", offsets_s=tuple(times))


def split(sampling: Sampling, cuts: Iterable[Fraction], duration: Fraction) -> list[Sampling]:
    """Cut a plan at the given times (ascending seconds after its start) into plans that add up.

    For splitting one video over workers. The last part keeps the plan's own end, so that wanted
    times past the end of the video are still seen to be there. Parts without a time are left out.
    """
    bounds = [sampling.start, *cuts, None]
    parts = []
    for low, high in pairwise(bounds):
        assert low is not None
        end = sampling.end if high is None else high
        if sampling.kind in ("keyframes", "all"):
            parts.append(replace(sampling, start=low, end=end))
        elif sampling.kind == "every":
            assert sampling.step_s is not None
            steps = -((sampling.start - low) // sampling.step_s)  # the first step at or after low
            first = sampling.start + steps * sampling.step_s
            if end is None or first < end:
                parts.append(replace(sampling, start=first, end=end))
        else:
            # Past the video's end only what was asked for by its time is kept.
            times = wanted_times(sampling, duration if sampling.kind == "count" else None)
            inside = tuple(t for t in times if t >= low and (high is None or t < high))
            if inside:
                parts.append(Sampling("at", offsets_s=inside))
    return parts
