"""Faces of pictures, and what they express: MTCNN finds them, mini-Xception reads them.

The expression network sees the face grey, square, with a margin, at 64 x 64 pixels.

Everything runs in fp32 on the CPU: the networks are too small to gain from anything else. They run
as graphs, or in PyTorch where that is to run them (`face_networks`); all else here is numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vmm_cli.bundles import Bundle, load_weights
from vmm_cli.engines.graph import Port, Ports, graph_of
from vmm_cli.errors import ModelError
from vmm_cli.features.boxes import squared
from vmm_cli.features.face_detection import Detector, Judge, detect
from vmm_cli.media.geometry import Size
from vmm_cli.networks.pretrained.shapes import (
    EXPRESSION_CHANNELS,
    FACE_SIDE,
    OUTPUT_SIDE,
    REFINE_SIDE,
)

KIND = "mtcnn-mini-xception"
EXPRESSIONS = 7
FACES_VERSION = "1"  # part of what kept faces are named by: changes when a value changes

# Larger pictures take longer and show no face better: the networks look at 48 and 64 pixels.
PICTURE_SIZE = Size(short=360, enlarge=False)
MARGIN = 0.1  # of the face's longer side, on each side of what the expression network sees
GREY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601

FEATURE_WIDTH = EXPRESSIONS + EXPRESSION_CHANNELS

# Graphs by what they are of: the names and shapes of what they take and give.
_JUDGED = {"probabilities": Port((None,)), "shifts": Port((None, 4))}
GRAPHS: dict[str, tuple[Ports, Ports]] = {
    "proposal": (
        {"pictures": Port((1, 3, None, None))},
        {"probabilities": Port((1, None, None)), "shifts": Port((1, 4, None, None))},
    ),
    "refine": ({"pictures": Port((None, 3, REFINE_SIDE, REFINE_SIDE))}, _JUDGED),
    "output": ({"pictures": Port((None, 3, OUTPUT_SIDE, OUTPUT_SIDE))}, _JUDGED),
    "expression": (
        {"grey": Port((None, 1, FACE_SIDE, FACE_SIDE))},
        {"logits": Port((None, EXPRESSIONS)), "features": Port((None, EXPRESSION_CHANNELS))},
    ),
}


@dataclass(frozen=True, eq=False)
class Faces:
    """The faces of one picture, F of them, the largest first.

    Attributes:
        boxes: float32 [F, 4], left, top, right and bottom in pixels, within the picture.
        scores: float32 [F], the detector's chance that it is a face.
        sharpness: float32 [F], see `sharpness_of`.
        probabilities: float32 [F, 7], of expressions in the order of the model's labels.
        features: float32 [F, 128], what the expression network concludes from.
    """

    boxes: np.ndarray
    scores: np.ndarray
    sharpness: np.ndarray
    probabilities: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        return f"Faces({len(self)})"


@dataclass(frozen=True, eq=False)
class FaceEncoder:
    """The networks, loaded.

    Attributes:
        detector: finds faces.
        expression: of grey faces [N, 1, 64, 64], -1 to 1: logits [N, 7] and pooled features
            [N, 128]; N >= 1.
    """

    detector: Detector
    expression: Judge


def load_face_encoder(bundle: Bundle) -> FaceEncoder:
    """Return the networks of a model for faces.

    Raises:
        ModelError: it is damaged, or a model of something else.
    """
    if bundle.network.get("kind") != KIND or len(bundle.labels) != EXPRESSIONS:
        raise ModelError(f"model {bundle.name!r} is none for faces")
    weights = load_weights(bundle)
    runs = {
        role: graph_of(bundle, role, inputs=inputs, outputs=outputs, weights=weights)
        for role, (inputs, outputs) in GRAPHS.items()
    }
    there = {role: run for role, run in runs.items() if run is not None}
    if len(there) < len(GRAPHS):
        from vmm_cli.features.face_networks import in_torch

        return face_encoder(in_torch(weights.tensors(), bundle.name))
    return face_encoder(there)


def face_encoder(runs: Mapping[str, Judge]) -> FaceEncoder:
    """Return the encoder of the four networks, by the names of `GRAPHS`."""
    detector = Detector(runs["proposal"], runs["refine"], runs["output"])
    return FaceEncoder(detector, runs["expression"])


# --- from pictures to faces --------------------------------------------------------------------


def faces_of(encoder: FaceEncoder, image: np.ndarray) -> Faces:
    """Return the faces of a picture: uint8 [H, W, 3] RGB, of any size.

    Faces whose longer side has fewer than `USUAL.smallest` pixels are left out; of more than
    `USUAL.most` the largest are returned. A face that the picture's edge cuts counts as far as it
    is seen.
    """
    boxes, scores = detect(encoder.detector, image)
    grey = grey_faces(image, boxes)  # [F, 64, 64]
    logits = np.empty((0, EXPRESSIONS), np.float32)
    features = np.empty((0, EXPRESSION_CHANNELS), np.float32)
    if len(grey):
        logits, features = encoder.expression((grey[:, None] / np.float32(255) - 0.5) * 2)
    return Faces(boxes, scores, sharpness_of(grey), _softmax(logits), features)


def face_features(
    encoder: FaceEncoder, images: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return what pictures' faces express: float32 [N, 135], and bool [N] where there is a face.

    Of each picture the mean over its faces, weighted by their area, of the 7 probabilities and the
    128 features; 0 where there is none.
    """
    values = np.zeros((len(images), FEATURE_WIDTH), np.float32)
    mask = np.zeros(len(images), bool)
    for i, image in enumerate(images):
        faces = faces_of(encoder, image)
        if len(faces):
            both = np.concatenate([faces.probabilities, faces.features], axis=1)
            sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
            values[i] = np.average(both, axis=0, weights=sides.prod(axis=1))
            mask[i] = True
    return values, mask


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return chances


# --- from boxes to what the expression network sees --------------------------------------------


def grey_faces(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the faces as squares with a margin: float32 [F, 64, 64] grey, 0 to 255.

    What lies beyond the picture's edge repeats the edge.
    """
    height, width = image.shape[:2]
    squares = squared(boxes)
    margin = (squares[:, 2:3] - squares[:, :1]) * np.float32(MARGIN)
    corners = np.concatenate([squares[:, :2] - margin, squares[:, 2:] + margin], axis=1)
    faces = np.empty((len(boxes), FACE_SIDE, FACE_SIDE), np.float32)
    for face, (left, top, right, bottom) in zip(
        faces, corners.round().astype(int).tolist(), strict=True
    ):
        cut = image[max(top, 0) : bottom, max(left, 0) : right]
        grey = cut.astype(np.float32) @ np.array(GREY_WEIGHTS, np.float32)  # [h, w]
        down, across = (
            _linear_weights(first, last, size)
            for first, last, size in ((top, bottom, height), (left, right, width))
        )
        face[:] = down @ grey @ across.T
    return faces


@lru_cache(maxsize=32)
def _linear_weights(first: int, last: int, size: int) -> np.ndarray:
    """Return what pixels count for each of the 64: float32 [64, N], of those within the picture.

    first, last: between which pixels of a side of `size` the 64 lie; what lies beyond counts as the
    edge. The triangle of linear interpolation, made as wide as the new pixels are where there are
    fewer of them, as PyTorch's `interpolate` and Pillow do.
    """
    scale = (last - first) / FACE_SIDE
    centres = (np.arange(FACE_SIDE) + 0.5) * scale  # of the new pixels, in old ones
    x = np.abs(np.arange(last - first) + 0.5 - centres[:, None]) / max(scale, 1.0)
    weights = np.maximum(1 - x, 0)
    weights /= weights.sum(axis=1, keepdims=True)
    before, after = max(-first, 0), max(last - size, 0)
    inner = weights[:, before : last - first - after]
    inner[:, 0] += weights[:, :before].sum(axis=1)
    inner[:, -1] += weights[:, last - first - after :].sum(axis=1)
    rounded: np.ndarray = inner.astype(np.float32)
    return rounded


def sharpness_of(grey: np.ndarray) -> np.ndarray:
    """Return how sharp faces are, the variance of their Laplacian: [F, 64, 64] -> [F].

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000; of grey from 0
    to 255, at 64 x 64 pixels: the face's own size in the picture plays a part, as what was enlarged
    is not sharp. Edges of the square, which a repeated edge can touch, are not looked at.
    """
    middle = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    sharpness: np.ndarray = (around - 4 * middle).var(axis=(1, 2))
    return sharpness
