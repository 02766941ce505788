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
        seconds: of video that this run has gone over; None where no length is known.
    """

    done: int
    total: int
    share: float
    seconds: float | None


@dataclass(slots=True)
class Tally:
    """Adds up what is done. The length of an input nobody has opened yet is taken as usual.

    total: how many inputs there are. settled: how many have a record. idle: how many of these were
    no work.
    """

    total: int
    settled: int = 0
    idle: int = 0
    _known: int = 0  # of those worked on, how many have a known length
    _known_s: float = 0.0

    def settle(self, length_s: float | None = None, *, was_work: bool = True) -> None:
        """Count an input that has its record; `length_s`: of its video."""
        self.settled += 1
        if not was_work:
            self.idle += 1
        elif length_s is not None:
            self._known += 1
            self._known_s += length_s

    def standing(self, under_way: Iterable[tuple[float, float | None]] = ()) -> Standing:
        """Return how far the run is; `under_way`: share and length of what is worked on."""
        current = list(under_way)
        lengths = [length_s for _, length_s in current if length_s is not None]
        known = self._known + len(lengths)
        usual_s = (self._known_s + sum(lengths)) / known if known else 1.0
        worked = self.settled - self.idle
        done_s = self._known_s + (worked - self._known) * usual_s
        gone_s = self._known_s
        for share, length_s in current:
            done_s += share * (usual_s if length_s is None else length_s)
            gone_s += share * (length_s or 0.0)
        waiting = self.total - self.settled - len(current)
        all_s = done_s + waiting * usual_s
        all_s += sum((1 - share) * (length_s or usual_s) for share, length_s in current)
        share = done_s / all_s if all_s > 0 else 1.0
        return Standing(self.settled, self.total, share, gone_s if known else None)
