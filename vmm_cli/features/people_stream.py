"""The stream `pose`: how the people in the picture stand and move, step by step. numpy only.

Steps at which nobody is seen are absent. How fast somebody moves is told from the second of the
steps on that a run of windows has.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from vmm_cli.bundles import EncoderSpec
from vmm_cli.features.encoder import Encoder, Job, Seen, versioned
from vmm_cli.features.grid import on_grid
from vmm_cli.features.people import People, people_of
from vmm_cli.features.sightings import carried, digest_of
from vmm_cli.features.values import Features
from vmm_cli.networks.pretrained.shapes import PERSON_NUMBERS, POINT_NUMBERS, POINTS

PEOPLE_VERSION = "1"  # of the rows of the catalogue: changes when a number does

SURE = 0.5  # from this score on a person is counted
CROWD = 24  # numbers of all people together
SKELETON = PERSON_NUMBERS + POINTS * POINT_NUMBERS  # of a point: x, y, score, velocity in x and y
FASTEST = 3  # points, whose speed says how fast somebody strikes or kicks
SKELETONS = 2  # people that are shown one by one
ABOUT_S = 1.0  # to either side: who moves most is told over so long


def people_spec(name: str, row: Encoder, window_s: Fraction) -> EncoderSpec:
    """Return what a bundle says of it. ModelError: what finds and reads people is not at hand."""
    return versioned(name, row, window_s, made_of=digest_of(carried(poses=True)))


def crowd(job: Job, seen: Seen) -> list[Features]:
    """Return what all people do together: float32 [T, 24] at the steps with people."""
    people = _people(seen)
    alone = _of_crowds(people)
    return [_at_steps(job, seen, people, lambda rows: crowd_numbers(alone[rows]), CROWD)]


def skeletons(job: Job, seen: Seen) -> list[Features]:
    """Return the skeletons of the two people that move most: float32 [T, 202], as above.

    Of each 16 numbers of the person, and five of each point; zeros where there is but one.
    """
    people = _people(seen)
    alone = skeleton_numbers(people)
    active = activity_about(people, seen.sightings.objects.times)

    def of_step(rows: np.ndarray) -> np.ndarray:
        most = rows[np.argsort(-active[rows], kind="stable")][:SKELETONS]
        shown = np.zeros((SKELETONS, SKELETON))
        shown[: len(most)] = alone[most]
        return shown.ravel()

    return [_at_steps(job, seen, people, of_step, SKELETONS * SKELETON)]


def _people(seen: Seen) -> People:
    found = seen.sightings
    assert found.poses is not None
    return people_of(found.objects, found.poses, seen.aspect)


def _at_steps(
    job: Job, seen: Seen, people: People, of_step: Callable[[np.ndarray], np.ndarray], width: int
) -> Features:
    """Return what `of_step` makes of the rows of each step that has people."""
    times_s = seen.sightings.objects.times
    values = np.zeros((len(times_s), width), np.float32)
    for rows in people.by_time():
        values[people.time[rows[0]]] = of_step(rows)
    shown, there = on_grid(Features(times_s, values), job.times)
    there &= shown.any(axis=1)  # where somebody is a score is above 0
    return Features(job.times[there], shown[there])


# --- numbers ------------------------------------------------------------------------------------


def crowd_numbers(alone: np.ndarray) -> np.ndarray:
    """Return what some people do together, of the numbers of each: float [n, 13] -> [24]; n >= 1.

    Extremes and means, so that one who falls among many is seen, and how many there are.
    """
    score, across, down, body, shape, near, shared, fast, sinking, turning, points, limbs, lies = (
        alone.T
    )
    return np.array(
        [
            np.log1p(score.sum()),
            (score > SURE).sum(),
            body.max(),
            body.mean(),
            shape.max(),
            shape.mean(),
            shape[body.argmax()],
            near.max(),
            near.mean(),
            shared.max(),
            shared.sum(),
            fast.max(),
            fast.mean(),
            sinking.max(),
            sinking.mean(),
            turning.max(),
            np.abs(turning).max(),
            points.max(),
            points.mean(),
            limbs.max(),
            limbs.mean(),
            lies.max(),
            lies.mean(),
            across.std() + down.std(),
        ]
    )


def _of_crowds(people: People) -> np.ndarray:
    """Return the numbers of each person that those of a crowd are made of: float [N, 13]."""
    speed = people.point_speed
    beside, up, _ = people.torso.T
    return np.column_stack(
        [
            people.score,
            people.middle,
            people.body,
            people.shape,
            people.near_others(),
            np.linalg.norm(people.velocity, axis=1),
            people.velocity[:, 1],
            people.turning,
            speed.mean(axis=1),
            _limbs(speed),
            beside - up,
        ]
    )


def skeleton_numbers(people: People) -> np.ndarray:
    """Return the numbers of each person alone: float [N, 101]."""
    speed = people.point_speed
    about = (people.points[..., :2] - people.middle[:, None]) / people.body[:, None, None]
    sure = people.points[..., 2:]
    points = np.concatenate([about * sure, sure, people.point_velocity], axis=2)
    whole = [
        people.score,
        people.middle,
        np.log(people.body),
        people.shape,
        people.known,
        people.velocity,
        people.turning,
        people.torso,
        speed.mean(axis=1),
        _limbs(speed),
        people.near_others(),
    ]
    return np.column_stack([*whole, points.reshape(len(people), POINTS * POINT_NUMBERS)])


def activity_about(people: People, times_s: np.ndarray) -> np.ndarray:
    """Return how much each person moves, a second to either side: float [N].

    times_s: float [T], of the pictures.
    """
    active, at_s = people.activity, times_s[people.time]
    about = np.empty(len(people))
    order = np.argsort(people.track, kind="stable")  # of each person by time
    for rows in np.split(order, np.flatnonzero(np.diff(people.track[order])) + 1):
        sums = np.append(0.0, np.cumsum(active[rows]))
        first = np.searchsorted(at_s[rows], at_s[rows] - ABOUT_S)
        last = np.searchsorted(at_s[rows], at_s[rows] + ABOUT_S, side="right")
        about[rows] = (sums[last] - sums[first]) / np.maximum(last - first, 1)
    return about


def _limbs(speed: np.ndarray) -> np.ndarray:
    """Return how fast the fastest points are: [N, 17] -> [N]."""
    fastest: np.ndarray = np.sort(speed, axis=1)[:, -FASTEST:].mean(axis=1)
    return fastest
