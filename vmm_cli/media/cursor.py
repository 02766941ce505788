"""What one request still wants while a video is read: arithmetic on ticks, no decoding.

Evenly spaced times are asked for ("the first from here on"), never listed: a million of them in a
short video cost no more than its pictures do.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from vmm_cli.media.packets import Clock
from vmm_cli.media.sampling import Sampling, Steps, is_even, steps, wanted_times


@dataclass(frozen=True, slots=True)
class EvenTicks:
    """The ticks floor((first + k * step) / denominator) for k from 0 to n - 1; n None: for ever."""

    first: int
    step: int
    denominator: int
    n: int | None

    @classmethod
    def of(cls, even: Steps, clock: Clock) -> EvenTicks:
        """Return evenly spaced times as ticks."""
        first, step = clock.exact_ticks(even.first), even.step / clock.time_base
        denominator = lcm(first.denominator, step.denominator)
        return cls(int(first * denominator), int(step * denominator), denominator, even.n)

    def first_from(self, tick: int) -> int | None:
        """Return the first wanted tick not before `tick`, or None."""
        k = max(0, -((self.first - tick * self.denominator) // self.step))
        if self.n is not None and k >= self.n:
            return None
        return (self.first + k * self.step) // self.denominator


class Cursor:
    """Where one request stands: which of its wanted ticks are still to be answered.

    `duration`: where the video ends, in seconds, or a time by which it has ended; None: unknown.
    `past_end`: the wanted ticks for which there was no picture, once `finish` was called. `span_s`:
    from where to where it wants pictures, in seconds; None: to the end, wherever that is.
    """

    def __init__(self, sampling: Sampling, duration: Fraction | None, clock: Clock) -> None:
        self.kind = sampling.kind
        self.past_end: tuple[int, ...] = ()
        self._start = clock.first_from(sampling.start)
        self._end = None if sampling.end is None else clock.first_from(sampling.end)
        until = duration if sampling.end is None else sampling.end
        self.span_s = float(sampling.start), None if until is None else float(until)
        self._even: tuple[EvenTicks, ...] = ()
        self._listed: tuple[int, ...] = ()
        if is_even(sampling):
            self._even = tuple(EvenTicks.of(even, clock) for even in steps(sampling, duration))
        elif self.explicit:
            self._listed = tuple(map(clock.ticks, wanted_times(sampling, duration)))
        self._answered = clock.origin_ticks  # the wanted ticks below it have been answered
        # Stretches whose picture the decoder has been given: [from, to) in ticks, ascending.
        self._fed: list[tuple[int, int]] = []
        self._last_pts: int | None = None

    @property
    def explicit(self) -> bool:
        """Whether the times are given by the plan and not by the stream."""
        return self.kind not in ("keyframes", "all")

    def wants(self, low: int, high: int | None, keyframe: bool) -> bool:
        """Tell whether the picture shown during [low, high) ticks is wanted, and note it as fed."""
        if self.kind == "keyframes" and not keyframe:
            return False
        if not self.explicit:
            return self.holds(low)
        tick = self._first_from(max(low, self._answered))
        if tick is None or (high is not None and tick >= high):
            return False
        insort(self._fed, (low, low + 1 if high is None else high))
        return True

    def holds(self, ticks: int) -> bool:
        """Tell whether a picture's own time lies in the window."""
        return ticks >= self._start and (self._end is None or ticks < self._end)

    def first_unfed(self, position: int) -> int | None:
        """Return the smallest tick that still needs packets; None when the request is served."""
        if not self.explicit:
            tick = max(self._start, position)
            return tick if self._end is None or tick < self._end else None
        wanted = self._first_from(self._answered)
        for low, high in self._fed:
            if wanted is None or wanted < low:
                break
            if wanted < high:
                wanted = self._first_from(high)
        return wanted

    @property
    def fed_until(self) -> int:
        """The tick up to which the decoder was given what is wanted and not answered."""
        return max((high for _, high in self._fed), default=self._answered)

    def start_over(self) -> None:
        """Note that what the decoder was given and has not answered will be given again."""
        self._fed.clear()

    def awaits_picture(self) -> bool:
        """Tell whether the decoder holds a picture that answers something."""
        for low, high in self._fed:
            wanted = self._first_from(max(low, self._answered))
            if wanted is not None and wanted < high:
                return True
        return False

    def answer(self, upto: int, pts: int) -> bool:
        """Answer the wanted ticks below `upto` with the picture `pts`; tell if it is new."""
        wanted = self._first_from(self._answered)
        self.give_up(upto)
        if wanted is None or wanted >= upto:
            return False
        if self._last_pts is not None and pts <= self._last_pts:
            return False  # that one is given, or a later one, and is still shown
        self._last_pts = pts
        return True

    def give_up(self, upto: int) -> None:
        """Leave the wanted ticks below `upto` that are left without an answer."""
        self._answered = max(self._answered, upto)
        while self._fed and self._fed[0][1] <= self._answered:
            del self._fed[0]

    def finish(self) -> None:
        """Note what is left as past the end: the video has nothing more to show."""
        self.past_end = self._listed[bisect_left(self._listed, self._answered) :]

    def _first_from(self, tick: int) -> int | None:
        """Return the first wanted tick not before `tick`, or None."""
        if self._even:
            found = (even.first_from(tick) for even in self._even)
            return min((one for one in found if one is not None), default=None)
        at = bisect_left(self._listed, tick)
        return self._listed[at] if at < len(self._listed) else None
