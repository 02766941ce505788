"""The stream `objects`: how many of what there are, where, how large and how fast. numpy only."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from vmm_cli.bundles import EncoderSpec
from vmm_cli.features.encoder import Encoder, Job, Seen, versioned
from vmm_cli.features.objects import BOX, LABEL, SCORE
from vmm_cli.features.people import FOLLOWING, LEAST, corners
from vmm_cli.features.sightings import carried, digest_of
from vmm_cli.features.tracks import followed, seen_before
from vmm_cli.features.values import Features
from vmm_cli.networks.pretrained.shapes import KINDS

STATISTICS_VERSION = "1"  # of the row of the catalogue: changes when a number does

LEAST_SCORE = 0.3  # of what is counted, by its score
# What is alike of COCO's 80 kinds: the number of the first of each group. People, vehicles,
# outdoors, animals, what is worn, sports, dishes, food, furniture, devices, appliances, indoors.
GROUPS = (0, 1, 9, 14, 24, 29, 39, 46, 56, 62, 68, 73)
OF_A_GROUP = 6
WIDTH = KINDS + len(GROUPS) * OF_A_GROUP


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
    picture = np.repeat(np.arange(len(objects)), np.diff(objects.offsets))
    likely = objects.column("score") >= LEAST_SCORE
    picture, rows = picture[likely], objects.rows[likely].astype(float)
    speed = _speeds(rows, picture, objects.times, seen.aspect)
    values = np.zeros((len(objects), WIDTH), np.float32)
    for i in range(len(objects)):
        here = slice(*np.searchsorted(picture, [i, i + 1]))
        values[i] = numbers(rows[here], speed[here])
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
    rows: np.ndarray, picture: np.ndarray, times_s: np.ndarray, aspect: float
) -> np.ndarray:
    """Return how fast each object moves, in its sizes a second: [N]; 0 where it was not seen.

    rows: objects [N, 6] of all pictures; picture: int [N], of which each is; times_s: [T].
    """
    box = rows[:, BOX] * np.array([aspect, 1, aspect, 1])
    track = followed(FOLLOWING, times_s, picture, corners(box), rows[:, SCORE])
    before = seen_before(track, times_s[picture], FOLLOWING.lost_s)
    middle, size = box[:, :2] + box[:, 2:] / 2, np.sqrt(box[:, 2] * box[:, 3])
    known = before >= 0
    passed = np.where(known, times_s[picture] - times_s[picture[before]], np.inf)
    far = np.linalg.norm(middle - middle[before], axis=1)
    speed: np.ndarray = far / np.maximum(size, LEAST) / passed
    return speed
