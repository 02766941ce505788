"""Follows boxes from picture to picture: which of them are one thing, or one person.

What is in one picture and in the next is one where the boxes overlap and are of nearly one size.
Nothing is told apart by its looks: after a cut, whatever is where another was, counts as the same.

As in ByteTrack (Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection
Box", ECCV 2022) boxes of a low score go on with a track, but begin none: most of what is half
hidden, or smeared, is still there, and most of what is seen nowhere before is nothing. A track that
was seen twice is looked for where it would be by now if it went on as it last moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vmm_cli.features.boxes import overlaps


@dataclass(frozen=True, slots=True)
class Following:
    """How boxes are followed.

    Attributes:
        least_shared: how much of their union two boxes share at least that are one.
        most_grown: how many times the longer side of one is that of the other at most.
        lost_s: for how long something may be out of sight, in seconds.
        begins_from: the score from which a box begins a track.
        moves: whether tracks are looked for where they move to; else where they were.
    """

    least_shared: float = 0.2
    most_grown: float = 1.6
    lost_s: float = 2.0
    begins_from: float = 0.0
    moves: bool = False


@dataclass(slots=True)
class _Track:
    """Where something was last seen, float [4], and by how much its edges moved, a second."""

    number: int
    time_s: float
    box: np.ndarray
    speed: np.ndarray

    def at(self, time_s: float) -> np.ndarray:
        """Return where its box would be."""
        return self.box + self.speed * (time_s - self.time_s)


class Tracker:
    """Follows boxes; give it the pictures in the order of their times."""

    def __init__(self, how: Following) -> None:
        self._how = how
        self._tracks: list[_Track] = []
        self._count = 0

    def take(self, time_s: float, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Return of which track each box of the next picture is, counted from 0; -1: of none.

        boxes: float [N, 4], left, top, right, bottom; scores: [N]. -> int64 [N]. The pair that
        shares most comes first, and boxes that could begin a track before others.
        """
        how = self._how
        self._tracks = [track for track in self._tracks if time_s - track.time_s <= how.lost_s]
        found = np.full(len(boxes), -1)
        begins = scores >= how.begins_from
        for rows in (np.flatnonzero(begins), np.flatnonzero(~begins)):
            self._go_on(time_s, boxes, rows, found)
        for row in np.flatnonzero(begins & (found < 0)):
            found[row] = self._count
            box = np.asarray(boxes[row], float)
            self._tracks.append(_Track(self._count, time_s, box, np.zeros(4)))
            self._count += 1
        return found

    def _go_on(self, time_s: float, boxes: np.ndarray, rows: np.ndarray, found: np.ndarray) -> None:
        """Give rows of the boxes to tracks that have none in this picture yet."""
        how = self._how
        free = [track for track in self._tracks if track.number not in found]
        if not free or not len(rows):
            return
        last = np.stack([track.at(time_s) if how.moves else track.box for track in free])
        shared = overlaps(last, boxes[rows])  # [tracks, rows]
        fits = (shared >= how.least_shared) & _of_one_size(last, boxes[rows], how.most_grown)
        pairs = np.argwhere(fits)
        taken: set[int] = set()
        for i, j in pairs[np.argsort(-shared[fits], kind="stable")]:
            track, row = free[i], rows[j]
            if found[row] >= 0 or track.number in taken:
                continue
            found[row] = track.number
            taken.add(track.number)
            box = np.asarray(boxes[row], float)
            if time_s > track.time_s:
                track.speed = (box - track.box) / (time_s - track.time_s)
            track.time_s, track.box = time_s, box


def followed(
    how: Following, times_s: np.ndarray, picture: np.ndarray, boxes: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """Return of which track each box of all pictures is, as `Tracker.take` does: int64 [N].

    times_s: float [T], of the pictures; picture: int [N], ascending, the number of that which each
    box is in; boxes: [N, 4], left, top, right, bottom; scores: [N].
    """
    tracker = Tracker(how)
    ends = np.searchsorted(picture, np.arange(len(times_s) + 1))
    found = [
        tracker.take(time_s, boxes[begin:end], scores[begin:end])
        for time_s, begin, end in zip(times_s.tolist(), ends, ends[1:], strict=False)
    ]
    return np.concatenate([np.empty(0, np.int64), *found])


def seen_before(track: np.ndarray, times_s: np.ndarray, lost_s: float) -> np.ndarray:
    """Return in which row each was seen last, up to `lost_s` before; else -1: int64 [N].

    track: int [N], by time; times_s: float [N].
    """
    before = np.full(len(track), -1)
    last: dict[int, int] = {}
    for row, number in enumerate(track.tolist()):
        earlier = last.get(number, -1)
        if earlier >= 0 and times_s[row] - times_s[earlier] <= lost_s:
            before[row] = earlier
        last[number] = row
    return before


def _of_one_size(one: np.ndarray, other: np.ndarray, most_grown: float) -> np.ndarray:
    """Tell of which pairs neither side is much longer in one: [N, 4], [M, 4] -> bool [N, M]."""
    ratio = (one[:, None, 2:] - one[:, None, :2]) / (other[:, 2:] - other[:, :2])
    fits: np.ndarray = (ratio.max(axis=2) <= most_grown) & (1 / ratio.min(axis=2) <= most_grown)
    return fits


@dataclass(frozen=True, eq=False)
class Named:
    """What tracks are, K of them, by their number.

    Attributes:
        labels: int64 [K].
        agreed: int64 [K], how many of their boxes are sure of that.
    """

    labels: np.ndarray
    agreed: np.ndarray


def named(tracks: np.ndarray, labels: np.ndarray, scores: np.ndarray, sure: float) -> Named:
    """Return what tracks are by what all their boxes say: the label with most of their scores.

    tracks: int [N], of which each box is; -1: of none. labels: int [N]; scores: float [N], and from
    which on a box is sure.
    """
    of_one = tracks >= 0
    tracks, labels, scores = tracks[of_one], labels[of_one], scores[of_one]
    shape = int(tracks.max(initial=-1)) + 1, int(labels.max(initial=0)) + 1
    sums, counts = np.zeros(shape), np.zeros(shape, int)
    np.add.at(sums, (tracks, labels), scores)
    np.add.at(counts, (tracks, labels), scores >= sure)
    best = sums.argmax(axis=1)
    return Named(best, counts[np.arange(len(best)), best])


def by_frequency(tracks: np.ndarray, least: int) -> np.ndarray:
    """Number tracks anew, the one seen most often first, then by which came first: int [N] -> [N].

    Those seen fewer than `least` times are -1, and so is what is of none.
    """
    of_one = tracks[tracks >= 0]
    _, first, index, counts = np.unique(
        of_one, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.empty(len(counts), np.int32)
    rank[np.lexsort([first, -counts])] = np.arange(len(counts))
    ranked = np.full(len(tracks), -1, np.int32)
    ranked[tracks >= 0] = np.where(counts >= least, rank, -1)[index]
    return ranked
