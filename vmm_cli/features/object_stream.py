"""The stream `objects`: how many of what there are, where, how large and how fast. numpy only."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from vmm_cli.bundles import EncoderSpec
from vmm_cli.features.encoder import Encoder, Job, Seen, versioned
from vmm_cli.features.objects import BOX, LABEL, SCORE
from vmm_cli.features.sightings import carried, digest_of
from vmm_cli.features.tracks import Following, Tracker
from vmm_cli.features.values import Features
from vmm_cli.networks.pretrained.shapes import KINDS

STATISTICS_VERSION = "1"  # of the row of the catalogue: changes when a number does

LEAST_SCORE = 0.3  # of what is counted, by its score
# What is alike of COCO's 80 kinds: the number of the first of each group. People, vehicles,
# outdoors, animals, what is worn, sports, dishes, food, furniture, devices, appliances, indoors.
GROUPS = (0, 1, 9, 14, 24, 29, 39, 46, 56, 62, 68, 73)
OF_A_GROUP = 6
WIDTH = KINDS + len(GROUPS) * OF_A_GROUP

FOLLOWING = Following(least_shared=0.15, most_grown=2.0, lost_s=1.0)


def statistics_spec(name: str, row: Encoder, window_s: Fraction) -> EncoderSpec:
    """Return what a bundle says of it. ModelError: what finds objects is not at hand."""
    return versioned(name, row, window_s, made_of=digest_of(carried(poses=False)))


def statistics(job: Job, seen: Seen) -> list[Features]:
    """Return the numbers of each picture: float32 [T, 152].

    Of each kind the logarithm of 1 and the scores' sum. Of each group that of the scores, the sum
    of areas, the largest one's place and size, and the mean speed, in sizes of the thing a second;
    places and sizes in shares of the picture.
    """
    objects = seen.sightings.objects
    tracker = Tracker(FOLLOWING)
    last: dict[int, tuple[float, np.ndarray]] = {}
    values = np.zeros((len(objects), WIDTH), np.float32)
    for i, time_s in enumerate(objects.times.tolist()):
        rows = objects.at(i)
        rows = rows[rows[:, SCORE] >= LEAST_SCORE].astype(float)
        speed = _speeds(tracker, last, time_s, rows, seen.aspect)
        values[i] = numbers(rows, speed)
    return [Features(objects.times, values)]


def numbers(rows: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """Return the numbers of one picture: objects [n, 6] and their speeds [n] -> [152]."""
    kind, score = rows[:, LABEL].astype(int), rows[:, SCORE]
    x, y, wide, high = rows[:, BOX].T
    area = wide * high
    group = np.searchsorted(GROUPS, kind, side="right") - 1
    of_kinds, of_groups = np.zeros(KINDS), np.zeros((len(GROUPS), OF_A_GROUP))
    np.add.at(of_kinds, kind, score)
    for one in np.unique(group):
        those = np.flatnonzero(group == one)
        largest = those[area[those].argmax()]
        of_groups[one] = (
            np.log1p(score[those].sum()),
            area[those].sum(),
            x[largest] + wide[largest] / 2,
            y[largest] + high[largest] / 2,
            np.sqrt(area[largest]),
            np.average(speed[those], weights=score[those]),
        )
    return np.concatenate([np.log1p(of_kinds), of_groups.ravel()])


def _speeds(
    tracker: Tracker,
    last: dict[int, tuple[float, np.ndarray]],
    time_s: float,
    rows: np.ndarray,
    aspect: float,
) -> np.ndarray:
    """Return how fast each object moves, in its sizes a second: [n]; 0 where it was not seen."""
    box = rows[:, BOX] * np.array([aspect, 1, aspect, 1])
    corners = np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1)
    middle, size = corners.reshape(-1, 2, 2).mean(axis=1), np.sqrt(box[:, 2] * box[:, 3])
    speed = np.zeros(len(rows))
    for row, track in enumerate(tracker.take(time_s, corners, rows[:, SCORE]).tolist()):
        before = last.get(track)
        if before is not None and time_s - before[0] <= FOLLOWING.lost_s:
            far = float(np.linalg.norm(middle[row] - before[1]))
            speed[row] = far / max(size[row], 1e-3) / (time_s - before[0])
        last[track] = (time_s, middle[row])
    return speed
