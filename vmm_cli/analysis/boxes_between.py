"""Where objects are at any time, by the pictures that were looked at: boxes moved along tracks.

Between two such pictures that follow each other the box of a track moves evenly from one to the
other. Where the next one does not have it, it ends with the picture that does: no more is told than
was seen.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Protocol

# For how long something stands that was seen in a picture away from all others, so that it can be
# read: seconds.
ALONE_S = 0.5
ROUNDING_S = 0.0006  # of times in records

Point = tuple[float, ...]  # x, y and score


@dataclass(frozen=True, slots=True)
class Placed:
    """Something in one picture.

    Attributes:
        label: what it is.
        track: its number; None: it is followed through no other picture.
        box: x, y, width and height in shares of the displayed picture's width and height.
        pose: of a person whose pose was read.
    """

    label: str
    track: int | None
    box: tuple[float, ...]
    pose: tuple[Point, ...] | None = None


class Objects(Protocol):
    """What was seen in pictures, by time, as a record has it."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> Mapping[str, Any]: ...


class BoxesBetween:
    """Tells what is where at any time; holds what is in two pictures.

    Args:
        times_s: of the pictures that were looked at, ascending, as a record has them.
        objects: what was seen in them.
    """

    def __init__(self, times_s: Sequence[float], objects: Objects) -> None:
        self._times = times_s
        self._objects = objects
        self._near: dict[int, list[Placed]] = {}

    def at(self, time_s: float) -> list[Placed]:
        """Return what is there in the picture shown from `time_s` on, the surest first."""
        i = bisect_right(self._times, time_s + ROUNDING_S) - 1
        if i < 0:
            return []
        since_s = max(0.0, time_s - self._times[i])
        pictures = range(i, min(i + 2, len(self._times)))
        near = self._near
        self._near = {j: near[j] if j in near else self._seen(j) for j in pictures}
        following: dict[int | None, Placed] = {}
        share = 0.0
        if i + 1 in self._near:
            following = {one.track: one for one in self._near[i + 1] if one.track is not None}
            share = min(1.0, since_s / (self._times[i + 1] - self._times[i]))
        there = []
        for one in self._near[i]:
            if one.track in following:
                there.append(_between(one, following[one.track], share))
            elif since_s <= (ALONE_S if one.track is None else ROUNDING_S):
                there.append(one)
        return there

    def _seen(self, picture: int) -> list[Placed]:
        """Return what is in a picture."""
        objects, time_s = self._objects, self._times[picture]
        first = bisect_left(range(len(objects)), time_s, key=lambda i: objects[i]["time_s"])
        here = takewhile(
            lambda one: one["time_s"] == time_s, (objects[i] for i in range(first, len(objects)))
        )
        return [_placed(one) for one in here]


def _placed(one: Mapping[str, Any]) -> Placed:
    pose = one.get("pose")
    points = None if pose is None else tuple(map(tuple, pose))
    return Placed(one["label"], one.get("track"), tuple(one["box"]), points)


def _between(first: Placed, last: Placed, share: float) -> Placed:
    """Return where something is on its way, after some share of it."""
    pose = first.pose
    if pose is not None and share > 0:
        pairs = None if last.pose is None else zip(pose, last.pose, strict=True)
        pose = None if pairs is None else tuple(_mixed(a, b, share) for a, b in pairs)
    return replace(first, box=_mixed(first.box, last.box, share), pose=pose)


def _mixed(first: Sequence[float], last: Sequence[float], share: float) -> tuple[float, ...]:
    return tuple(a + (b - a) * share for a, b in zip(first, last, strict=True))
