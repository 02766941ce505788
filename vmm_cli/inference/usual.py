"""How unusual each step of a video is, by what is known of usual ones: numpy only.

A stream's steps are compared with those of usual videos: either with the nearest of them
(`Neighbours`; a memory bank as in PatchCore: Roth et al. 2022), or, where each value is of a place
in the picture, with how that place usually is (`Places`; as in PaDiM: Defard et al. 2021). What
comes of it differs in scale from stream to stream, so each is brought to the share of usual time
that scores as high (`Tail`), and the streams are joined by that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# Of the values of all places, so many of the highest are averaged: what is small counts, noise of
# one place does not.
TOP_PLACES = 8
# Of the spread of a place, besides what was seen there: of the mean over all places.
LEAST_SPREAD = 0.25
# A share of time is told down to 10 to the power of minus this.
MOST_SURPRISE = 12.0
# From this share on the tail is an exponential, which goes on where nothing was seen.
TAIL_SHARE = 0.1
TAIL_LEVELS = 91  # of shares from 1 down to `TAIL_SHARE`
# Steps that are compared with a bank at once.
AT_ONCE = 1024
EPSILON = 1e-6

FRONT_ENDS = ("identity", "change", "identity-change")


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Steps of usual videos, thinned, in a space of their main components.

    Attributes:
        centre, scale: float32 [D], by which a step is standardised.
        components: float32 [D, C], whitened.
        bank: float32 [N, C].
        nearest: how many of the nearest are averaged.
    """

    centre: np.ndarray
    scale: np.ndarray
    components: np.ndarray
    bank: np.ndarray
    nearest: int

    def distances(self, values: np.ndarray) -> np.ndarray:
        """Return the mean distance to the nearest: float32 [T, D] -> float64 [T]."""
        found = [self._of(values[i : i + AT_ONCE]) for i in range(0, len(values), AT_ONCE)]
        return np.concatenate(found) if found else np.zeros(0)

    def _of(self, values: np.ndarray) -> np.ndarray:
        points = self.placed(values)
        bank = self.bank.astype(np.float64)
        squares = (points**2).sum(1)[:, None] + (bank**2).sum(1) - 2 * points @ bank.T
        nearest = min(self.nearest, len(bank))
        closest = np.partition(squares, nearest - 1, axis=1)[:, :nearest]
        distances: np.ndarray = np.sqrt(closest.clip(0)).mean(axis=1)
        return distances

    def placed(self, values: np.ndarray) -> np.ndarray:
        """Return steps among the main components: [T, D] -> float64 [T, C]."""
        placed: np.ndarray = ((values - self.centre) / self.scale).astype(np.float64) @ (
            self.components.astype(np.float64)
        )
        return placed


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """How each place of the picture usually is: float32 [D] each, by rows."""

    centre: np.ndarray
    scale: np.ndarray

    def above(self, values: np.ndarray) -> np.ndarray:
        """Return by how many spreads each place is above its mean: [T, D] -> float64 [T, D]."""
        above: np.ndarray = ((values - self.centre) / self.scale).astype(np.float64).clip(0)
        return above

    def distances(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of the highest places: [T, D] -> float64 [T]."""
        above = self.above(values)
        top = min(TOP_PLACES, above.shape[1])
        highest: np.ndarray = np.partition(above, -top, axis=1)[:, -top:].mean(axis=1)
        return highest


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """Which share of usual time scores as high, by what was held out.

    Attributes:
        levels: float [91], ascending: the scores that the shares 1, 0.99, ... 0.1 of time reach.
        mean_excess: by how much what is above the last level is above it, on average: from there on
            the share falls as an exponential.
    """

    levels: np.ndarray
    mean_excess: float

    @classmethod
    def of(cls, scores: np.ndarray) -> Tail:
        """Return the tail of scores [N] of usual time, N >= 1; all are finite."""
        levels = np.quantile(scores, np.linspace(0, 1 - TAIL_SHARE, TAIL_LEVELS))
        above = scores[scores > levels[-1]]
        excess = float((above - levels[-1]).mean()) if len(above) else 0.0
        return cls(levels, max(excess, EPSILON * max(1.0, abs(float(levels[-1])))))

    def surprise(self, scores: np.ndarray) -> np.ndarray:
        """Return -log10 of the share, from 0 to 12: [T] -> float64 [T], 0 where there is none."""
        shares = np.interp(scores, self.levels, np.linspace(1, TAIL_SHARE, TAIL_LEVELS))
        # A score that many have is no more unusual than the usual one of them.
        shares = np.where(scores <= self.levels[0], 1.0, shares)
        beyond = (scores - self.levels[-1]).clip(0) / self.mean_excess / np.log(10)
        found = (-np.log10(shares) + beyond).clip(0, MOST_SURPRISE)
        return np.where(np.isfinite(scores), found, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class UsualStream:
    """What is usual of one stream.

    Attributes:
        front_end: what is compared: one of `FRONT_ENDS`.
        grid: rows and columns of the picture, where each value is of a place.
    """

    name: str
    front_end: str
    grid: tuple[int, int] | None
    model: Neighbours | Places
    tail: Tail


@dataclass(frozen=True, slots=True, eq=False)
class Usual:
    """What is usual.

    Attributes:
        smoothing: over how many steps, an odd number, scores are averaged.
        tail: of what the streams give together.
    """

    streams: tuple[UsualStream, ...]
    smoothing: int
    tail: Tail

    @property
    def grids(self) -> dict[str, tuple[int, int]]:
        """Rows and columns of the streams of which each value is of a place."""
        return {one.name: one.grid for one in self.streams if one.grid is not None}


def seen_by(front_end: str, values: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what is compared of a stream, and where there is some: [T, D], bool [T].

    `change` is by how much a value differs from that of the step before, and there is none at the
    first step; `identity-change` is both, side by side.
    """
    if front_end == "identity":
        return values, mask
    changes = np.abs(np.diff(values, axis=0, prepend=values[:1]))
    there = mask & np.concatenate([[False], mask[:-1]])
    if front_end == "change":
        return changes, there
    return np.concatenate([values, changes], axis=1), there


def raw_scores(
    stream: UsualStream, values: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return how far each step is from what is usual: float64 [T], NaN where nothing is there.

    And by how much each place is above what it usually is, float16 [T, D], where there are places.
    """
    seen, there = seen_by(stream.front_end, values, mask)
    scores = np.full(len(values), np.nan)
    scores[there] = stream.model.distances(seen[there])
    if not isinstance(stream.model, Places):
        return scores, None
    above = np.zeros(seen.shape, np.float16)
    above[there] = stream.model.above(seen[there]).clip(0, 1e4).astype(np.float16)
    return scores, above


def smoothed(scores: np.ndarray, width: int) -> np.ndarray:
    """Return the mean over `width` steps around each of what is there: [T] -> [T]."""
    there = np.isfinite(scores)
    sums = np.concatenate([[0.0], np.where(there, scores, 0.0).cumsum()])
    counts = np.concatenate([[0], there.cumsum()])
    steps = np.arange(len(scores))
    first = np.maximum(steps - width // 2, 0)
    last = np.minimum(steps + width // 2 + 1, len(scores))
    number = counts[last] - counts[first]
    means = (sums[last] - sums[first]) / np.maximum(number, 1)
    return np.where(there & (number > 0), means, np.nan)


def surprises(usual: Usual, raw: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return how surprising each step is: of each stream [T, S], and of all together [T].

    As -log10 of the share of usual time that scores as high; `raw`: by stream, of a whole video.
    Where no stream is there it is 0.
    """
    pairs = [(s.tail, smoothed(raw[s.name], usual.smoothing)) for s in usual.streams]
    by_stream, together = joined_streams(pairs)
    return by_stream, usual.tail.surprise(together)


def joined_streams(
    streams: Sequence[tuple[Tail, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """Return how surprising streams are, [T, S], and together, before that is calibrated, [T].

    Together: the mean, as Fisher 1925 joins probabilities; one that is not there is not surprising.
    `streams`: the tail of each and its scores, [T], NaN where it is not there.
    """
    by_stream = np.stack([tail.surprise(scores) for tail, scores in streams], axis=1)
    return by_stream, by_stream.mean(axis=1)
