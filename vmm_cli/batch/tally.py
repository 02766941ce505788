"""How far a run is: inputs that are done, and how much of the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run is.

    Attributes:
        done: inputs that have a record; total: all there are.
        share: how much of the work is done, from 0 to 1, by the length of the videos. What an
            earlier run has done is no work.
        seconds: of video that this run has gone over; None where few lengths are known.
    """

    done: int
    total: int
    share: float
    seconds: float | None


@dataclass(slots=True)
class Tally:
    """Adds up what is done. The length of an input nobody has opened yet is taken as usual.

    total: how many inputs there are. whole_s: how long all are together, where that is known before
    they are opened; each then counts with that length. settled: how many have a record. idle: how
    many of these were no work, or not the work of a whole input.
    """

    total: int
    whole_s: float | None = None
    settled: int = 0
    idle: int = 0
    _known: int = 0  # of those worked on, how many have a known length
    _known_s: float = 0.0
    _failed_s: float = 0.0  # of those that failed, how much was gone over

    def settle(self, length_s: float | None = None, *, was_work: bool = True) -> None:
        """Count an input that has its record; `length_s`: of its video."""
        self.settled += 1
        if not was_work:
            self.idle += 1
        elif length_s is not None:
            self._known += 1
            self._known_s += length_s

    def fail(self, share: float = 0.0, length_s: float | None = None) -> None:
        """Count an input that failed: of its work there was what was done, the rest is none.

        A file that cannot be opened took no time; as a usual video it would promise that the others
        take as little.
        """
        self.settle(was_work=False)
        if length_s is not None:
            self._failed_s += share * length_s
            if self.whole_s is not None:
                self.whole_s -= length_s

    def standing(self, under_way: Iterable[tuple[float, float | None]] = ()) -> Standing:
        """Return how far the run is; `under_way`: share and length of what is worked on."""
        current = list(under_way)
        lengths = [length_s for _, length_s in current if length_s is not None]
        known = self._known + len(lengths)
        usual_s = (self._known_s + sum(lengths)) / known if known else 1.0
        worked = self.settled - self.idle
        gone_s = self._known_s + self._failed_s
        done_s = gone_s + (worked - self._known) * usual_s
        for share, length_s in current:
            done_s += share * (usual_s if length_s is None else length_s)
            gone_s += share * (length_s or 0.0)
        waiting = self.total - self.settled - len(current)
        waiting_s = waiting * usual_s
        if self.whole_s is not None and waiting > 0:  # sums of lengths differ by their rounding
            waiting_s = max(self.whole_s - self._known_s - sum(lengths), 0.0)
        all_s = done_s + waiting_s
        all_s += sum((1 - share) * (length_s or usual_s) for share, length_s in current)
        share = done_s / all_s if all_s > 0 else 1.0
        # Where most of what is done has no known length the others do not tell how fast it goes.
        tells_s = (known > 0 or self._failed_s > 0) and 2 * self._known >= worked
        return Standing(self.settled, self.total, share, gone_s if tells_s else None)
