"""How the people in a video move: their tracks, and numbers of each at each time. numpy only.

Lengths are in shares of the picture's height, in both directions, so that they turn as bodies do;
speeds are in bodies a second. A body is as long as the side of a square of its box's area, times
1.6: about its height when it stands, and no less when it lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vmm_cli.features.boxes import overlap
from vmm_cli.features.objects import BOX, SCORE
from vmm_cli.features.tracks import Following, followed, seen_before
from vmm_cli.features.values import Sets
from vmm_cli.networks.pretrained.shapes import POINTS

# What moves far between the steps of a grid, and grows and shrinks as people bend.
FOLLOWING = Following(least_shared=0.15, most_grown=2.0, lost_s=1.0)
BODY = 1.6  # of a square of the box's area: a person who stands is three times as high as wide
LEAST = 1e-3  # of a picture's height: what is smaller has no direction
SHOULDERS, HIPS = (5, 6), (11, 12)  # among COCO's 17 points


@dataclass(frozen=True, eq=False)
class People:
    """Everybody at each time: N rows, in the order of times, by the person's number in `poses`.

    Attributes:
        time: int64 [N], the number of the picture.
        track: int64 [N]; rows of one person have one number.
        score: float [N], of the person among objects.
        box: float [N, 4], x, y, width and height.
        body: float [N], see above.
        points: float [N, 17, 3], x, y and score.
        known: bool [N], whether the person was seen up to a second before, so that there are
            speeds; else they are 0.
        velocity: float [N, 2], of the box's middle.
        turning: float [N], by how much the logarithm of width over height grows in a second.
        point_velocity: float [N, 17, 2], the less the less sure a point is.
    """

    time: np.ndarray
    track: np.ndarray
    score: np.ndarray
    box: np.ndarray
    body: np.ndarray
    points: np.ndarray
    known: np.ndarray
    velocity: np.ndarray
    turning: np.ndarray
    point_velocity: np.ndarray

    def __len__(self) -> int:
        return len(self.time)

    @property
    def middle(self) -> np.ndarray:
        """The middle of each box: float [N, 2]."""
        middle: np.ndarray = self.box[:, :2] + self.box[:, 2:] / 2
        return middle

    @property
    def shape(self) -> np.ndarray:
        """The logarithm of width over height: float [N]. Above 0 somebody lies, or bends."""
        return _shape(self.box)

    @property
    def point_speed(self) -> np.ndarray:
        """How fast each point moves: float [N, 17]."""
        speed: np.ndarray = np.linalg.norm(self.point_velocity, axis=2)
        return speed

    @property
    def activity(self) -> np.ndarray:
        """How much each person moves, the limbs twice as much as the whole: float [N]."""
        whole = np.linalg.norm(self.velocity, axis=1)
        active: np.ndarray = whole + 2 * self.point_speed.mean(axis=1)
        return active

    @property
    def torso(self) -> np.ndarray:
        """Where the torso points: float [N, 3].

        To the side, 0 to 1, and up, -1 to 1, both times the third: how sure that is.
        """
        shoulders, hips = (self.points[:, pair].mean(axis=1) for pair in (SHOULDERS, HIPS))
        along = shoulders[:, :2] - hips[:, :2]
        long = np.maximum(np.linalg.norm(along, axis=1), LEAST)
        sure = np.minimum(shoulders[:, 2], hips[:, 2])
        beside, up = np.abs(along[:, 0]) / long * sure, -along[:, 1] / long * sure
        return np.stack([beside, up, sure], axis=1)

    def near_others(self) -> np.ndarray:
        """Return how near the nearest other person is: float [N, 2].

        exp(-distance in bodies), and the share of the union that both boxes cover; 0 without.
        """
        near = np.zeros((len(self), 2))
        for rows in self.by_time():
            if len(rows) < 2:
                continue
            middle = self.middle[rows]
            apart = np.linalg.norm(middle[:, None] - middle, axis=2) / self.body[rows, None]
            np.fill_diagonal(apart, np.inf)
            shared = overlap(corners(self.box[rows]).astype(np.float32))
            np.fill_diagonal(shared, 0)
            near[rows] = np.column_stack([np.exp(-apart.min(axis=1)), shared.max(axis=1)])
        return near

    def by_time(self) -> list[np.ndarray]:
        """Return which rows are of each time that has any."""
        if not len(self):
            return []
        return np.split(np.arange(len(self)), np.flatnonzero(np.diff(self.time)) + 1)


def people_of(objects: Sets, poses: Sets, aspect: float) -> People:
    """Return the people of a video.

    objects, poses: at the same times, see `features.objects.COLUMNS` and `features.poses.COLUMNS`;
    aspect: width over height of the displayed picture.
    """
    wide = np.array([aspect, 1.0])
    time = np.repeat(np.arange(len(poses)), np.diff(poses.offsets))
    seen = objects.rows[objects.offsets[time] + poses.rows[:, 0].astype(int)].astype(float)
    box = seen[:, BOX] * np.tile(wide, 2)
    points = poses.rows[:, 1:].reshape(-1, POINTS, 3).astype(float) * np.append(wide, 1.0)
    body = BODY * np.sqrt(np.maximum(box[:, 2] * box[:, 3], LEAST**2))
    score = seen[:, SCORE]
    track = followed(FOLLOWING, poses.times, time, corners(box), score)
    before = seen_before(track, poses.times[time], FOLLOWING.lost_s)
    known = before >= 0
    passed = np.where(known, poses.times[time] - poses.times[time[before]], 1.0)
    bodies = (body + body[before]) / 2
    middle = box[:, :2] + box[:, 2:] / 2
    sure = np.minimum(points[..., 2], points[before, :, 2])
    moved = np.where(known, 1 / (bodies * passed), 0.0)
    return People(
        time=time,
        track=track,
        score=score,
        box=box,
        body=body,
        points=points,
        known=known,
        velocity=(middle - middle[before]) * moved[:, None],
        turning=(_shape(box) - _shape(box[before])) * np.where(known, 1 / passed, 0.0),
        point_velocity=(points[..., :2] - points[before, :, :2])
        * (moved[:, None] * sure)[..., None],
    )


def corners(box: np.ndarray) -> np.ndarray:
    """Return left, top, right and bottom: [N, 4] -> [N, 4]."""
    return np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1)


def _shape(box: np.ndarray) -> np.ndarray:
    shape: np.ndarray = np.log(np.maximum(box[:, 2], LEAST) / np.maximum(box[:, 3], LEAST))
    return shape
