"""What must be covered at any time so that nobody sees it: as much as may be, rather than as told.

Where `analysis.objects` tells what several pictures agree on, here one unsure picture is enough. A
box is widened; from one looked-at picture to the next it covers wherever it is in both; what is
missed between is filled; and it begins some time before it is first seen and ends some time after.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vmm_cli.features import objects
from vmm_cli.features.tracks import Following, Tracker
from vmm_cli.features.values import Sets

# Scores from which on something is covered, and from which on it goes on being so. Who is unsure in
# one picture is mostly sure in one nearby; of what is never as sure, most is nobody.
BEGINS_FROM, GOES_ON_FROM = 0.2, 0.1
# By what share of a box's width and height it is widened on each side. Boxes of faces end at the
# cheeks, the brows and the chin.
WIDER, WIDER_FACE = 0.15, 0.4
EARLIER_S = 0.5  # and later
LOST_S = 1.0  # through which something is followed that is not seen
# How high the upper part of people is that holds their heads, in shares of the width of their box
# and of its height at most. Who lies is wider than high by so much, and the head anywhere.
HEAD_OF_WIDTH, HEAD_OF_HEIGHT, LYING = 0.5, 0.4, 1.5
SURE_FACE = 0.9  # of a face that stands for a person's head


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of one kind of thing, of each picture.

    Attributes:
        boxes: [n, 4], left, top, right and bottom in shares of its width and height.
        scores: [n].
        wider: by what share of its width and height a box is widened on each side.
    """

    boxes: Sequence[np.ndarray]
    scores: Sequence[np.ndarray]
    wider: float = WIDER


class Covered:
    """Tells what is covered at any time.

    Args:
        times: of the pictures that were looked at, ascending, in seconds.
        kinds: what is to be covered.
        step_s: from one of these pictures to the next at most.
    """

    def __init__(self, times: Sequence[float], kinds: Iterable[Boxes], step_s: float) -> None:
        earlier_s = max(EARLIER_S, step_s)
        lost_s = max(LOST_S, 2 * step_s)
        spans = [_spans(times, kind, earlier_s, lost_s) for kind in kinds]
        joined = np.concatenate([np.empty((0, 6)), *spans])
        self._spans = joined[np.argsort(joined[:, 0], kind="stable")]
        self._starts = self._spans[:, 0].tolist()
        self._longest_s = float(np.ptp(self._spans[:, :2], axis=1).max(initial=0))

    def at(self, time_s: float) -> np.ndarray:
        """Return the boxes of a picture shown from `time_s` on: [n, 4], as `Boxes` has them."""
        first = bisect_left(self._starts, time_s - self._longest_s)
        last = bisect_left(self._starts, np.nextafter(time_s, np.inf))
        there = self._spans[first:last]
        boxes: np.ndarray = there[there[:, 1] >= time_s, 2:]
        return boxes


def of_label(found: Sets, label: int) -> Boxes:
    """Return the boxes of what may be of a label, by its number."""
    boxes, scores = [], []
    for i in range(len(found)):
        rows = found.at(i)
        rows = rows[(rows[:, objects.LABEL] == label) & (rows[:, objects.SCORE] >= GOES_ON_FROM)]
        sides = rows[:, objects.BOX]
        boxes.append(np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], axis=1))
        scores.append(rows[:, objects.SCORE])
    return Boxes(boxes, scores)


def heads_of(people: Boxes, faces: Boxes, aspect: float) -> Boxes:
    """Return the parts of people's boxes that their heads are in, where no face was found there.

    aspect: the picture's width over its height.
    """
    heads, scores = [], []
    for each, sure, seen, chances in zip(
        people.boxes, people.scores, faces.boxes, faces.scores, strict=True
    ):
        parts = _heads(each, aspect)
        lacks = _lacking(parts, seen[chances >= SURE_FACE])
        heads.append(parts[lacks])
        scores.append(sure[lacks])
    return Boxes(heads, scores)


def _heads(people: np.ndarray, aspect: float) -> np.ndarray:
    """Return where the heads of people are: [n, 4] -> [n, 4]."""
    wide, high = (people[:, 2] - people[:, 0]) * aspect, people[:, 3] - people[:, 1]
    part = np.minimum(HEAD_OF_WIDTH * wide, HEAD_OF_HEIGHT * high)
    heads = people.copy()
    heads[:, 3] = heads[:, 1] + np.where(wide < LYING * high, part, high)
    return heads


def _lacking(parts: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Tell in which parts no face lies: [n, 4], [f, 4] -> bool [n]. A face lies in one only."""
    lacks = np.ones(len(parts), bool)
    for middle in (faces[:, :2] + faces[:, 2:]) / 2:
        holds = lacks & ((parts[:, :2] <= middle) & (middle <= parts[:, 2:])).all(axis=1)
        lacks[np.flatnonzero(holds)[:1]] = False  # the surest one
    return lacks


def _spans(times: Sequence[float], kind: Boxes, earlier_s: float, lost_s: float) -> np.ndarray:
    """Return from when to when which boxes cover things of one kind: float64 [N, 6]."""
    tracker = Tracker(Following(lost_s=lost_s, begins_from=BEGINS_FROM, moves=True))
    last: dict[int, tuple[float, np.ndarray]] = {}  # of each track
    spans: list[tuple[float, ...]] = []
    wider = (_wider(boxes, kind.wider) for boxes in kind.boxes)
    for time_s, boxes, scores in zip(times, wider, kind.scores, strict=True):
        for track, box in zip(tracker.take(time_s, boxes, scores).tolist(), boxes, strict=True):
            if track < 0:
                continue
            begun_s = time_s - earlier_s
            if track in last:
                begun_s, before = last[track]
                low, high = np.minimum(box, before), np.maximum(box, before)
                spans.append((begun_s, time_s, *low[:2], *high[2:]))
            else:
                spans.append((begun_s, time_s, *box))
            last[track] = time_s, box
        # Nothing goes on with a track once it was lost: memory goes by what is there.
        lost = [track for track in last if time_s - last[track][0] > lost_s]
        spans += [_after(*last.pop(track), earlier_s) for track in lost]
    spans += [_after(*one, earlier_s) for one in last.values()]
    return np.array(spans, np.float64).reshape(-1, 6)


def _after(time_s: float, box: np.ndarray, later_s: float) -> tuple[float, ...]:
    return (time_s, time_s + later_s, *box)


def _wider(boxes: np.ndarray, share: float) -> np.ndarray:
    """Return boxes grown on each side: [n, 4] -> [n, 4]."""
    more = (boxes[:, 2:] - boxes[:, :2]) * share
    grown: np.ndarray = np.concatenate([boxes[:, :2] - more, boxes[:, 2:] + more], axis=1)
    return grown
