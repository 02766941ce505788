"""Poses of people: MoveNet Lightning sees each in a square of its own. No torch itself.

People are those that `features.objects` found. A square about the box, with a margin, is cut out of
the picture, black where it reaches beyond; the network gives the 17 points of the person nearest to
its middle, with scores. In crowds that may be a neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vmm_cli import bundles, progress
from vmm_cli.bundles import Bundle, EncoderSpec, Json, encoder_digest
from vmm_cli.engines.graph import Port, Ports, graph_of
from vmm_cli.errors import ModelError
from vmm_cli.features.encoder import Compute
from vmm_cli.features.objects import BOX, LABEL, SCORE, object_spec, unchanged
from vmm_cli.features.scaling import scaled
from vmm_cli.media.geometry import Size
from vmm_cli.networks.pretrained.shapes import POINTS, POSE_SIDE

POSES = "pose"  # the bundle and its graph
TASK = "poses"
KIND = "movenet-lightning"
POSES_VERSION = "1"  # part of what kept poses are named by: changes when a value changes

PICTURE_SIZE = Size(short=720, enlarge=False)  # more shows nobody better at 192 pixels
PERSON = "person"  # the label of people among objects
LEAST_SCORE = 0.3  # of a person whose pose is read
MARGIN = 1.1  # side of the square, over the longer side of the box

# Of the 17 points in the order of the model's labels: x and y in shares of the displayed picture's
# width and height (a point may lie beyond its edge), and a score. `box` is the person's number
# among the objects of the same picture.
COLUMNS = ("box", *(f"{what}{point}" for point in range(POINTS) for what in ("x", "y", "score")))

TAKEN: Ports = {"pictures": Port((None, POSE_SIDE, POSE_SIDE, 3), "uint8")}
GIVEN: Ports = {"points": Port((None, POINTS, 3))}
WIDTH = POINTS * 3


@dataclass(frozen=True, slots=True)
class Square:
    """A part of a picture, in its pixels; it may reach beyond it."""

    left: int
    top: int
    side: int


def people_in(objects: np.ndarray, person: int) -> np.ndarray:
    """Return which objects are people whose pose is read: float32 [n, 6] -> int64 [p].

    person: the number of the label.
    """
    are_people = (objects[:, LABEL] == person) & (objects[:, SCORE] >= LEAST_SCORE)
    found: np.ndarray = np.flatnonzero(are_people)
    return found


def square_about(box: np.ndarray, width: int, height: int) -> Square:
    """Return the square that a person is seen in: of a picture of width x height pixels.

    box: [4], x, y, w and h in shares of the picture.
    """
    x, y, wide, high = (float(value) for value in box * np.array([width, height, width, height]))
    side = max(1, round(MARGIN * max(wide, high)))
    return Square(round(x + wide / 2 - side / 2), round(y + high / 2 - side / 2), side)


def cut_out(image: np.ndarray, square: Square) -> np.ndarray:
    """Return a square of a picture as the network sees it: uint8 [H, W, 3] -> [192, 192, 3]."""
    height, width = image.shape[:2]
    right, bottom = square.left + square.side, square.top + square.side
    left, top = max(square.left, 0), max(square.top, 0)
    inside = image[top : min(bottom, height), left : min(right, width)]
    whole = np.zeros((square.side, square.side, 3), np.uint8)
    down, across = top - square.top, left - square.left
    whole[down : down + inside.shape[0], across : across + inside.shape[1]] = inside
    return scaled(whole, POSE_SIDE, POSE_SIDE)


def points_in(values: np.ndarray, square: Square, width: int, height: int) -> np.ndarray:
    """Return a person's points in shares of the picture: [51] of its square -> float32 [17, 3]."""
    points = values.reshape(POINTS, 3).astype(np.float64)
    points[:, 0] = (square.left + points[:, 0] * square.side) / width
    points[:, 1] = (square.top + points[:, 1] * square.side) / height
    return points.astype(np.float32)


def poses_of(compute: Compute, image: np.ndarray, objects: np.ndarray, person: int) -> np.ndarray:
    """Return the poses of a picture's people: float32 [p, 52], see `COLUMNS`.

    image: uint8 [H, W, 3] RGB, of any size; objects: float32 [n, 6], what was found in it.
    """
    height, width = image.shape[:2]
    people = people_in(objects, person)
    if not len(people):
        return np.empty((0, len(COLUMNS)), np.float32)
    squares = [square_about(objects[i, BOX], width, height) for i in people]
    values = compute.run(np.stack([cut_out(image, square) for square in squares]))
    points = [
        points_in(one, square, width, height).ravel()
        for one, square in zip(values, squares, strict=True)
    ]
    return np.column_stack([people, np.stack(points)]).astype(np.float32)


# --- the network --------------------------------------------------------------------------------


def check_poses(bundle: Bundle) -> None:
    """Raise ModelError where a bundle is no model for poses."""
    if bundle.task != TASK:
        raise ModelError(
            f"model {bundle.name!r} is for {bundle.task}, and reads no poses; "
            f"the one that vmm carries is called {POSES!r}"
        )
    if bundle.network.get("kind") != KIND or len(bundle.labels) != POINTS:
        raise ModelError(f"model {bundle.name!r} has a network this vmm cannot run")


def pose_spec(bundle: Bundle, objects: Bundle) -> EncoderSpec:
    """Return what stands for the poses that a model reads, where they are kept.

    objects: the model that finds the people.
    """
    settings: dict[str, Json] = {"margin": MARGIN, "score": LEAST_SCORE}
    made_of = f"{POSES} {POSES_VERSION} {bundle.weights_digest} {object_spec(objects).digest}"
    return EncoderSpec(POSES, encoder_digest(made_of, settings, {}), settings)


@lru_cache(maxsize=2)
@progress.loading()
def pose_compute(folder: Path, digest: str, device: str) -> Compute:
    """Return the network of a model: uint8 [N, 192, 192, 3] -> float32 [N, 17 x 3].

    Of each picture the points of one person, see `vmm_cli.networks.pretrained.movenet`. Called as
    `features.objects.object_compute` is, and raises as that.
    """
    bundle = unchanged(folder, digest)
    check_poses(bundle)
    weights = bundles.load_weights(bundle)
    run = graph_of(bundle, POSES, inputs=TAKEN, outputs=GIVEN, weights=weights, device=device)
    if run is not None:
        return Compute(lambda images: run(images)[0].reshape(-1, WIDTH), WIDTH)
    from vmm_cli.features.object_networks import in_torch, pose_network

    return Compute(in_torch(pose_network(weights.tensors(), bundle.name), device), WIDTH)
