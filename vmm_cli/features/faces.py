"""Faces of pictures, and what they express: MTCNN finds them, mini-Xception reads them.

A picture is searched at several scales, from where the smallest face of interest has 12 pixels on:
ProposalNetwork marks places, RefineNetwork and OutputNetwork judge them anew at 24 and 48 pixels,
and non-maximum suppression leaves one box a face. Areas are averaged for each network as in
facenet-pytorch, whose boxes these are (tools/convert_faces.py prints how nearly). The expression
network sees the face grey, square, with a margin, at 64 x 64 pixels.

Everything runs in fp32 on the CPU: the networks are too small to gain from anything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vmm_cli.bundles import Bundle, load_tensors
from vmm_cli.errors import ModelError
from vmm_cli.media.geometry import Size
from vmm_cli.networks.pretrained.expression import FACE_SIDE, FEATURE_CHANNELS, MiniXception
from vmm_cli.networks.pretrained.mtcnn import (
    OUTPUT_SIDE,
    PROPOSAL_SIDE,
    PROPOSAL_STRIDE,
    REFINE_SIDE,
    Judged,
    OutputNetwork,
    ProposalNetwork,
    RefineNetwork,
    suppress,
)

KIND = "mtcnn-mini-xception"
EXPRESSIONS = 7
FACES_VERSION = "1"  # part of what kept faces are named by: changes when a value changes

# Larger pictures take longer and show no face better: the networks look at 48 and 64 pixels.
PICTURE_SIZE = Size(short=360, enlarge=False)
SMALLEST_FACE = 20  # pixels of the longer side
PIXEL = 1  # boxes count both of their edges where the later networks learnt by how much to shift
SCALE_STEP = 0.709  # from one scale to the next: half the area, as in the paper
# Of a face, from which on a box goes on to the next network, and at last is one. The last is 0.7
# in facenet-pytorch: much of what lies between is no face, as pictures of streets, rooms and
# cartoons show.
LEAST_CHANCES = (0.6, 0.7, 0.9)
LIMIT_IN_SCALE, LIMIT = 0.5, 0.7  # of what boxes of one scale, or of all, may share
# A texture can look like thousands of faces to the first network; the likeliest go on. What
# compares all boxes with all takes 16 bytes a pair.
MAX_PROPOSALS = 500
# The largest of a crowd: more say nothing of one video's mood that these do not.
MAX_FACES = 16
MARGIN = 0.1  # of the face's longer side, on each side of what the expression network sees
GREY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601

FEATURE_WIDTH = EXPRESSIONS + FEATURE_CHANNELS


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
    """The four networks, in evaluation mode."""

    proposal: ProposalNetwork
    refine: RefineNetwork
    output: OutputNetwork
    expression: MiniXception


def load_face_encoder(bundle: Bundle) -> FaceEncoder:
    """Build the networks of a model for faces.

    Raises:
        ModelError: it is damaged, or a model of something else.
    """
    if bundle.network.get("kind") != KIND or len(bundle.labels) != EXPRESSIONS:
        raise ModelError(f"model {bundle.name!r} is none for faces")
    return face_encoder(load_tensors(bundle), bundle.name)


def face_encoder(tensors: Mapping[str, np.ndarray], name: str) -> FaceEncoder:
    """Build the networks from their tensors, each with its network's field before its name.

    Raises:
        ModelError: the tensors are others; the message calls the model by `name`.
    """
    with torch.device("meta"):  # no time for initial values that are replaced at once
        encoder = FaceEncoder(ProposalNetwork(), RefineNetwork(), OutputNetwork(), MiniXception())
    networks = vars(encoder)
    given: dict[str, dict[str, Tensor]] = {field: {} for field in networks}
    for key, value in tensors.items():
        field, _, rest = key.partition(".")
        given.setdefault(field, {})[rest] = torch.from_numpy(value.astype(np.float32))
    if given.keys() != networks.keys():
        raise ModelError(f"model {name!r} has weights that are not those of {KIND}")
    for field, network in networks.items():
        try:
            network.load_state_dict(given[field], assign=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"model {name!r}: {reason}") from None
        network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return encoder


# --- from pictures to faces --------------------------------------------------------------------


@torch.inference_mode()
def faces_of(encoder: FaceEncoder, image: np.ndarray) -> Faces:
    """Return the faces of a picture: uint8 [H, W, 3] RGB, of any size.

    Faces whose longer side has fewer than `SMALLEST_FACE` pixels are left out; of more than
    `MAX_FACES` the largest are returned. A face that the picture's edge cuts counts as far as it is
    seen.
    """
    boxes, scores = detect(encoder, image)
    grey = grey_faces(image, boxes)  # [F, 64, 64]
    logits, features = encoder.expression((grey[:, None] / 255 - 0.5) * 2)
    return Faces(
        boxes.numpy(),
        scores.numpy(),
        sharpness_of(grey).numpy(),
        logits.softmax(dim=1).numpy(),
        features.numpy(),
    )


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


@torch.inference_mode()
def detect(encoder: FaceEncoder, image: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return boxes float32 [F, 4] and scores float32 [F] of a picture's faces, the largest first.

    See `Faces`.
    """
    height, width = image.shape[:2]
    # A plane for each channel: averages of areas are taken in half the time.
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    x = torch.from_numpy(planes).float()  # [3, H, W]
    boxes = _proposed(encoder.proposal, x)
    boxes, judged = _judge(encoder.refine, x, boxes, REFINE_SIDE, LEAST_CHANCES[1])
    kept = suppress(boxes, judged.probabilities, LIMIT)
    boxes = _square(_shifted(boxes[kept], judged.shifts[kept], PIXEL))
    boxes, judged = _judge(encoder.output, x, boxes, OUTPUT_SIDE, LEAST_CHANCES[2])
    boxes = _shifted(boxes, judged.shifts, PIXEL)
    kept = suppress(boxes, judged.probabilities, LIMIT, by_smaller=True)
    edges = torch.tensor([width, height, width, height])
    boxes = boxes[kept].clamp(min=0).minimum(edges)
    sides = boxes[:, 2:] - boxes[:, :2]
    seen = (sides.amin(dim=1) >= 1) & (sides.amax(dim=1) >= SMALLEST_FACE)
    largest = sides.prod(dim=1)[seen].argsort(descending=True, stable=True)[:MAX_FACES]
    return boxes[seen][largest], judged.probabilities[kept][seen][largest]


def _proposed(network: ProposalNetwork, x: Tensor) -> Tensor:
    """Return the square boxes that the first network proposes in a picture [3, H, W]: [N, 4]."""
    found = [(torch.empty(0, 4), torch.empty(0, 4), torch.empty(0))]
    scale = PROPOSAL_SIDE / SMALLEST_FACE
    while min(x.shape[1:]) * scale >= PROPOSAL_SIDE:
        rows, columns = (int(side * scale + 1) for side in x.shape[1:])
        smaller = F.interpolate(x[None], (rows, columns), mode="area")
        found.append(_places(network(_normalised(smaller)), scale))
        scale *= SCALE_STEP
    boxes, shifts, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
    kept = suppress(boxes, scores, LIMIT)[:MAX_PROPOSALS]
    return _square(_shifted(boxes[kept], shifts[kept]))


def _places(judged: Judged, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the likely boxes of one scale, in the picture's pixels, their shifts and chances."""
    chances = judged.probabilities[0]  # [h, w]
    likely = chances >= LEAST_CHANCES[0]
    scores, best = chances[likely].sort(descending=True, stable=True)
    scores, best = scores[:MAX_PROPOSALS], best[:MAX_PROPOSALS]
    places = likely.nonzero()[best].flip(1)  # [N, 2]: column, row
    shifts = judged.shifts[0][:, likely].T[best]  # [N, 4]
    low = ((PROPOSAL_STRIDE * places + 1) / scale).floor()
    high = ((PROPOSAL_STRIDE * places + PROPOSAL_SIDE) / scale).floor()
    boxes = torch.cat([low, high], dim=1)
    kept = suppress(boxes, scores, LIMIT_IN_SCALE)
    return boxes[kept], shifts[kept], scores[kept]


def _judge(
    network: RefineNetwork | OutputNetwork, x: Tensor, boxes: Tensor, side: int, least: float
) -> tuple[Tensor, Judged]:
    """Return the boxes that a network takes for faces, and what it says of them.

    boxes: [N, 4]; those outside of the picture [3, H, W] are left out.
    """
    height, width = x.shape[1:]
    whole = boxes.trunc().long()
    left, top = (whole[:, :2] - 1).clamp(min=0).unbind(dim=1)
    right, bottom = whole[:, 2].clamp(max=width), whole[:, 3].clamp(max=height)
    inside = (right > left) & (bottom > top)
    edges = torch.stack([left, top, right, bottom], dim=1)[inside]
    crops = [F.adaptive_avg_pool2d(x[:, y0:y1, x0:x1], side) for x0, y0, x1, y1 in edges.tolist()]
    batch = torch.stack(crops) if crops else torch.empty(0, 3, side, side)
    judged = network(_normalised(batch))
    sure = judged.probabilities > least
    return boxes[inside][sure], Judged(judged.probabilities[sure], judged.shifts[sure])


def _normalised(x: Tensor) -> Tensor:
    # PyTorch's pooling takes a third of the time where a pixel's channels lie together.
    return ((x - 127.5) / 128).contiguous(memory_format=torch.channels_last)


def _shifted(boxes: Tensor, shifts: Tensor, more: int = 0) -> Tensor:
    """Move each edge by a share of the box's width or height, and of `more`: -> [N, 4]."""
    return boxes + shifts * (boxes[:, 2:] - boxes[:, :2] + more).repeat(1, 2)


def _square(boxes: Tensor) -> Tensor:
    """Lengthen the shorter sides, about the middle: [N, 4] -> [N, 4]."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1, keepdim=True) / 2
    return torch.cat([middle - half, middle + half], dim=1)


# --- from boxes to what the expression network sees --------------------------------------------


def grey_faces(image: np.ndarray, boxes: Tensor) -> Tensor:
    """Return the faces as squares with a margin: float32 [F, 64, 64] grey, 0 to 255.

    What lies beyond the picture's edge repeats the edge.
    """
    height, width = image.shape[:2]
    squares = _square(boxes)
    margin = (squares[:, 2:3] - squares[:, :1]) * MARGIN
    corners = torch.cat([squares[:, :2] - margin, squares[:, 2:] + margin], dim=1)
    faces = [torch.empty(0, FACE_SIDE, FACE_SIDE)]
    for left, top, right, bottom in corners.round().long().tolist():
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(right, width), min(bottom, height)
        cut = torch.from_numpy(image[y0:y1, x0:x1].astype(np.float32))
        grey = (cut @ torch.tensor(GREY_WEIGHTS))[None, None]  # [1, 1, h, w]
        whole = F.pad(grey, [x0 - left, right - x1, y0 - top, bottom - y1], mode="replicate")
        faces.append(
            F.interpolate(whole, (FACE_SIDE, FACE_SIDE), mode="bilinear", antialias=True)[0]
        )
    return torch.cat(faces)


def sharpness_of(grey: Tensor) -> Tensor:
    """Return how sharp faces are, the variance of their Laplacian: [F, 64, 64] -> [F].

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000; of grey from 0
    to 255, at 64 x 64 pixels: the face's own size in the picture plays a part, as what was enlarged
    is not sharp. Edges of the square, which a repeated edge can touch, are not looked at.
    """
    middle = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    edges = (around - 4 * middle).flatten(1)  # [F, 62 * 62]
    return (edges - edges.mean(dim=1, keepdim=True)).square().mean(dim=1)
