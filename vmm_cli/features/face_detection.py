"""Where faces are in a picture: what lies between the three networks of MTCNN. numpy only.

A picture is searched at several scales, from where the smallest face of interest has 12 pixels on:
the first network marks places, the others judge them anew at 24 and 48 pixels, and non-maximum
suppression leaves one box a face. Areas are averaged for each network as in facenet-pytorch, whose
boxes these are (tools/convert_faces.py prints how nearly).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vmm_cli.features.areas import Sums, cuts_in, sums_of, whole_in
from vmm_cli.features.boxes import shifted, squared, suppress
from vmm_cli.networks.pretrained.shapes import (
    OUTPUT_SIDE,
    PROPOSAL_SIDE,
    PROPOSAL_STRIDE,
    REFINE_SIDE,
)

PIXEL = 1  # boxes count both of their edges where the later networks learnt by how much to shift
SCALE_STEP = 0.709  # from one scale to the next: half the area, as in the paper
LIMIT_IN_SCALE, LIMIT = 0.5, 0.7  # of what boxes of one scale, or of all, may share
# A texture can look like thousands of faces to the first network; the likeliest go on. What
# compares all boxes with all takes 16 bytes a pair.
MAX_PROPOSALS = 500

# Normalised pictures float32 [N, 3, H, W] -> probabilities of a face, and by how much each edge of
# the box (left, top, right, bottom) is off, in shares of its width or height.
Judge = Callable[[np.ndarray], tuple[np.ndarray, ...]]


@dataclass(frozen=True, slots=True)
class Search:
    """Which faces are looked for.

    Attributes:
        smallest: pixels of the longer side.
        least_chances: of a face, from which on a box goes on to the next network, and at last is
            one. The last is 0.7 in facenet-pytorch: much of what lies between is no face, as
            pictures of streets, rooms and cartoons show.
        most: the largest of a crowd: more say nothing of one video's mood that these do not.
    """

    smallest: int = 20
    least_chances: tuple[float, float, float] = (0.6, 0.7, 0.9)
    most: int = 16


USUAL = Search()


@dataclass(frozen=True, eq=False)
class Detector:
    """The three networks; N >= 1.

    Attributes:
        proposal: of each position's box of 12 x 12 pixels, 2 apart: [N, 3, H, W], H and W from 12
            -> [N, h, w], [N, 4, h, w].
        refine: [N, 3, 24, 24] -> [N], [N, 4].
        output: [N, 3, 48, 48] -> [N], [N, 4].
    """

    proposal: Judge
    refine: Judge
    output: Judge


@dataclass(frozen=True, eq=False)
class _Judged:
    """Boxes [N, 4], the chance of a face in each [N], and by how much they are off [N, 4]."""

    boxes: np.ndarray
    chances: np.ndarray
    shifts: np.ndarray

    def at(self, kept: np.ndarray) -> _Judged:
        return _Judged(self.boxes[kept], self.chances[kept], self.shifts[kept])


def detect(
    detector: Detector, image: np.ndarray, search: Search = USUAL
) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes float32 [F, 4] and scores float32 [F] of a picture's faces, the largest first.

    Boxes are left, top, right and bottom in pixels, within the picture: uint8 [H, W, 3] RGB.
    """
    height, width = image.shape[:2]
    sums = sums_of(image)
    boxes = _proposed(detector.proposal, sums, search)
    judged = _judge(detector.refine, sums, boxes, REFINE_SIDE, search.least_chances[1])
    judged = judged.at(suppress(judged.boxes, judged.chances, LIMIT))
    boxes = squared(shifted(judged.boxes, judged.shifts, PIXEL))
    judged = _judge(detector.output, sums, boxes, OUTPUT_SIDE, search.least_chances[2])
    boxes = shifted(judged.boxes, judged.shifts, PIXEL)
    kept = suppress(boxes, judged.chances, LIMIT, by_smaller=True)
    edges = np.array([width, height, width, height], np.float32)
    boxes, scores = boxes[kept].clip(0, edges), judged.chances[kept]
    sides = boxes[:, 2:] - boxes[:, :2]
    seen = (sides >= 1).all(axis=1) & (sides >= search.smallest).any(axis=1)
    largest = np.argsort(-sides.prod(axis=1)[seen], kind="stable")[: search.most]
    return boxes[seen][largest], scores[seen][largest]


def _proposed(network: Judge, sums: Sums, search: Search) -> np.ndarray:
    """Return the square boxes that the first network proposes in a picture: float32 [N, 4]."""
    found = [_nothing()]
    scale = PROPOSAL_SIDE / search.smallest
    while min(sums.height, sums.width) * scale >= PROPOSAL_SIDE:
        rows, columns = (int(side * scale + 1) for side in (sums.height, sums.width))
        whole = whole_in(sums, rows, columns)
        found.append(_places(network, whole, scale, search.least_chances[0]))
        scale *= SCALE_STEP
    boxes, chances, shifts = (
        np.concatenate([getattr(one, name) for one in found])
        for name in ("boxes", "chances", "shifts")
    )
    kept = suppress(boxes, chances, LIMIT)[:MAX_PROPOSALS]
    return squared(shifted(boxes[kept], shifts[kept]))


def _places(network: Judge, picture: np.ndarray, scale: float, least: float) -> _Judged:
    """Return the likely boxes of one scale, [3, h, w], in the whole picture's pixels."""
    chances, shifts = (one[0] for one in network(_normalised(picture)[None]))
    rows, columns = np.nonzero(chances >= np.float32(least))
    likely = chances[rows, columns]
    best = np.argsort(-likely, kind="stable")[:MAX_PROPOSALS]
    rows, columns = rows[best], columns[best]
    places = np.stack([columns, rows], axis=1) * PROPOSAL_STRIDE  # [N, 2]
    edges = np.concatenate([places + 1, places + PROPOSAL_SIDE], axis=1).astype(np.float32)
    judged = _Judged(np.floor(edges / np.float32(scale)), likely[best], shifts[:, rows, columns].T)
    return judged.at(suppress(judged.boxes, judged.chances, LIMIT_IN_SCALE))


def _judge(network: Judge, sums: Sums, boxes: np.ndarray, side: int, least: float) -> _Judged:
    """Return the boxes [N, 4] that a network takes for faces; those outside are left out."""
    left, top, right, bottom = boxes.astype(np.int64).T
    edges = np.stack(
        [
            (left - 1).clip(min=0),
            (top - 1).clip(min=0),
            right.clip(max=sums.width),
            bottom.clip(max=sums.height),
        ],
        axis=1,
    )
    inside = (edges[:, 2:] > edges[:, :2]).all(axis=1)
    if not inside.any():
        return _nothing()
    chances, shifts = network(_normalised(cuts_in(sums, edges[inside], side)))
    return _Judged(boxes[inside], chances, shifts).at(chances > np.float32(least))


def _nothing() -> _Judged:
    none = np.empty((0, 4), np.float32)
    return _Judged(none, np.empty(0, np.float32), none)


def _normalised(x: np.ndarray) -> np.ndarray:
    """Return what networks take, float32 [N, 3, H, W] of its own memory, -1 to 1."""
    taken: np.ndarray = np.subtract(x, np.float32(127.5), order="C")
    taken /= np.float32(128)
    return taken
