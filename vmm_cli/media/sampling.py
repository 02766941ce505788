"""Which times of a video are wanted: pure arithmetic, no decoding.

A `Sampling` is a plan in seconds on the video's clock (0 is where the container starts). Times are
exact fractions, so that `fps(30000/1001)` does not drift over hours.

    >>> [float(t) for t in wanted_times(every(2), Fraction(5))]
    [0.0, 2.0, 4.0]
    >>> [float(t) for t in wanted_times(count(2), Fraction(8))]
    [2.0, 6.0]
    >>> [float(t) for t in wanted_times(every(2, start=1, end=4), Fraction(9))]
    [1.0, 3.0]
    >>> two_each = replace(every(2), clip=Clip(2, Fraction(1, 4)))
    >>> [float(t) for t in wanted_times(two_each, Fraction(4))]
    [0.0, 0.25, 2.0, 2.25]
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import count as whole_numbers
from itertools import pairwise
from math import ceil
from typing import Literal, TypeVar

Seconds = int | float | Fraction
Bound = TypeVar("Bound", Fraction, int)


@dataclass(frozen=True, slots=True)
class Clip:
    """How many times are wanted in place of one: it and those that follow it in equal steps.

    Times from `end` (seconds) on are left out; None: nothing ends a clip but the video. A plan's
    own end keeps clips from beginning, not from going on: where a video is split over workers, a
    clip reaches into the next part.
    """

    frames: int
    step_s: Fraction
    end: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which times are wanted, within [start, end) seconds; `end` None: to the end of the video.

    kind `every` uses step_s, `count` uses n, `at` uses offsets_s (counted from start);
    `keyframes` and `all` take what the stream has, `shots` the middle of each shot, which its
    pictures say. With `clip` each time begins a clip.
    """

    kind: Literal["every", "count", "at", "keyframes", "all", "shots"]
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    step_s: Fraction | None = None
    n: int | None = None
    offsets_s: tuple[Fraction, ...] = ()
    clip: Clip | None = field(default=None, repr=False)  # follows from the model, not the user

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


def shots(*, start: Seconds = 0, end: Seconds | None = None) -> Sampling:
    """Return the middle of every shot of what the window shows: see `vmm_cli.analysis.shots`."""
    return Sampling("shots", *_window(start, end))


def needs_duration(sampling: Sampling) -> bool:
    """Tell whether `wanted_times` cannot do without the video's duration."""
    return sampling.kind == "count" and sampling.end is None


@dataclass(frozen=True, slots=True)
class Steps:
    """The times first + k * step seconds for k from 0 to n - 1; n None: for ever."""

    first: Fraction
    step: Fraction
    n: int | None


def is_even(sampling: Sampling) -> bool:
    """Tell whether `steps` can say what a plan wants."""
    return sampling.kind in ("every", "count")


def steps(sampling: Sampling, duration: Fraction | None) -> tuple[Steps, ...]:
    """Return what an even plan wants without listing it: all times of these steps together.

    Those of `wanted_times`, which says more.

    >>> steps(count(1_000_000), Fraction(8))[0].step
    Fraction(1, 125000)
    """
    begins = _begins(sampling, duration)
    clip = sampling.clip
    if clip is None:
        return (begins,)
    end = _earlier(clip.end, duration)
    firsts = (begins.first + j * clip.step_s for j in range(clip.frames))
    return tuple(
        Steps(first, begins.step, _earlier(begins.n, _steps_before(end, first, begins.step)))
        for first in firsts
    )


def _begins(sampling: Sampling, duration: Fraction | None) -> Steps:
    """Return the times of an even plan at which pictures, or clips, begin."""
    end = _earlier(sampling.end, duration)
    if sampling.kind == "every":
        assert sampling.step_s is not None
        n = _steps_before(end, sampling.start, sampling.step_s)
        return Steps(sampling.start, sampling.step_s, n)
    assert sampling.n is not None
    if end is None:
        raise ValueError("a count needs the duration of the video or an end")
    if end <= sampling.start:
        return Steps(sampling.start, Fraction(1), 0)
    part = (end - sampling.start) / sampling.n
    return Steps(sampling.start + part / 2, part, sampling.n)


def _steps_before(end: Fraction | None, first: Fraction, step: Fraction) -> int | None:
    """Return how many of the times from `first` on lie before `end`; None: no end to them."""
    return None if end is None else max(0, ceil((end - first) / step))


def wanted_times(sampling: Sampling, duration: Fraction | None) -> Iterator[Fraction]:
    """Yield the wanted times, ascending, in seconds on the video's clock.

    `duration` is the time at which the last picture ends; None where it is unknown: `every` then
    goes on for ever and the reader stops at the last picture. `at` yields times past the end too,
    so that the reader can say which were not there. ValueError for `keyframes`, `all` and `shots`,
    whose times only the stream knows, and for `count` without an end.
    """
    if sampling.clip is not None:
        firsts = wanted_times(replace(sampling, clip=None), duration)
        yield from _clip_times(firsts, sampling.clip, duration)
        return
    if is_even(sampling):
        begins = _begins(sampling, duration)
        for k in whole_numbers() if begins.n is None else range(begins.n):
            yield begins.first + k * begins.step
    elif sampling.kind == "at":
        for offset in sampling.offsets_s:
            if sampling.end is None or sampling.start + offset < sampling.end:
                yield sampling.start + offset
    else:
        raise ValueError(f"only the stream knows the times of {sampling.kind!r}")


def _clip_times(
    begins: Iterable[Fraction], clip: Clip, duration: Fraction | None
) -> Iterator[Fraction]:
    """Yield the times of clips that may overlap, ascending, each once."""
    end = _earlier(clip.end, duration)
    waiting: list[Fraction] = []  # a heap
    for begin in begins:
        while waiting and waiting[0] < begin:
            yield _pop_equal(waiting)
        for k in range(clip.frames):
            if end is None or begin + k * clip.step_s < end:
                heapq.heappush(waiting, begin + k * clip.step_s)
    while waiting:
        yield _pop_equal(waiting)


def _pop_equal(heap: list[Fraction]) -> Fraction:
    smallest = heapq.heappop(heap)
    while heap and heap[0] == smallest:
        heapq.heappop(heap)
    return smallest


def _earlier(one: Bound | None, other: Bound | None) -> Bound | None:
    """Return the smaller of two ends, where None is no end."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


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
        elif is_even(sampling):
            parts += _even_part(sampling, low, high, duration)
        else:
            # Past the video's end, too, what was asked for by its time is kept.
            times = wanted_times(sampling, None)
            inside = tuple(t for t in times if t >= low and (high is None or t < high))
            if inside:
                parts.append(Sampling("at", offsets_s=inside))
    return parts


def _even_part(
    sampling: Sampling, low: Fraction, high: Fraction | None, duration: Fraction
) -> list[Sampling]:
    """Return what begins in [low, high) of an even plan as an `every` plan; none: an empty list."""
    until = duration if sampling.kind == "count" else None  # `every` goes on for as long as it can
    begins = _begins(sampling, until)
    end = _earlier(_earlier(sampling.end, until), high)
    first = begins.first + max(0, ceil((low - begins.first) / begins.step)) * begins.step
    if begins.n == 0 or (end is not None and first >= end):
        return []
    return [replace(sampling, kind="every", start=first, end=end, step_s=begins.step, n=None)]
