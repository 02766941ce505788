"""Objects in pictures: NanoDet-g names what it finds in pictures of 416 pixels. No torch itself.

A picture is scaled until its longer side has so many, and lies in the middle of the smallest frame
whose sides the network's strides divide, but for a margin. What remains has the colour that the
network takes for nothing. Of its candidates those of one kind that cover each other are one object.
torchvision's detectors see pictures otherwise, and tell objects themselves: see `coco_pictures` and
`coco_networks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vmm_cli import bundles, progress
from vmm_cli.bundles import Bundle, EncoderSpec, Weights, encoder_digest
from vmm_cli.bundles.published_coco import COCO
from vmm_cli.engines.choice import ONNXRUNTIME, VARIABLE, chosen_engine
from vmm_cli.engines.graph import Port, Ports, graph_of
from vmm_cli.errors import ModelError
from vmm_cli.features.boxes import suppress_by_kind
from vmm_cli.features.coco_pictures import (
    DECODED_SIZE,
    FOUND,
    FOUND_WITH_POINTS,
    MOST_FOUND,
    read_found,
    shown,
)
from vmm_cli.features.encoder import Compute
from vmm_cli.features.scaling import scaled
from vmm_cli.features.values import Sets
from vmm_cli.media.frames import FrameRequest
from vmm_cli.media.geometry import Size, fit
from vmm_cli.media.sampling import Sampling
from vmm_cli.networks.pretrained.shapes import (
    CANDIDATE,
    CANDIDATES,
    KINDS,
    OBJECT_MEAN,
    OBJECT_SIDE,
    OBJECT_STEP,
)

OBJECTS = "objects"  # the bundle, its task, and its graph
KIND = "nanodet-g"
OBJECTS_VERSION = "2"  # part of what kept objects are named by: changes when a value changes

PICTURE_SIZE = Size(long=OBJECT_SIDE)
LEAST_SCORE = 0.05  # of what is kept: much below what is worth telling, so that users can choose
MOST_SHARED = 0.6  # of their union, of two objects of one kind
MOST_OBJECTS = 100  # of a picture, the best ones
# What is told of an object: the number of its label, and its box in shares of the displayed
# picture's width and height, x and y being those of the left upper corner.
COLUMNS = ("label", "score", "x", "y", "w", "h")
LABEL, SCORE, BOX = 0, 1, slice(2, 6)

TAKEN: Ports = {"pictures": Port((None, None, None, 3), "uint8")}
GIVEN: Ports = {"candidates": Port((None, CANDIDATES, CANDIDATE))}

CPU_BATCH, CUDA_BATCH = 1, 16  # pictures; more at once are no faster, and others wait for them
CUDA_REGIONS_BATCH = 4  # of 800 x 1333 pixels

# Pixels at least above and below a picture, or beside an upright one: where a picture touches the
# edge of what the network sees, it finds less.
_MARGIN = 8
_NOTHING = np.array(OBJECT_MEAN).round().astype(np.uint8)


# --- pictures and frames ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a picture lies in the frame that the network sees: pixels."""

    left: int
    top: int
    width: int
    height: int


def letterboxed(image: np.ndarray) -> tuple[np.ndarray, Placed]:
    """Return what the network sees of a picture, and where the picture lies in that.

    uint8 [H, W, 3] RGB, of any size -> uint8 [h, w, 3], the longer side 416, the shorter one a
    multiple of 32 that leaves a margin on both sides: [256, 416, 3] of a picture of 16:9.
    One that has `PICTURE_SIZE` already, as decoders give it, is not scaled again.
    """
    height, width = image.shape[:2]
    wide, high = fit(width, height, PICTURE_SIZE)
    across, down = _side(wide), _side(high)
    place = Placed((across - wide) // 2, (down - high) // 2, wide, high)
    frame = np.full((down, across, 3), _NOTHING)
    frame[place.top : place.top + high, place.left : place.left + wide] = scaled(image, wide, high)
    return frame, place


def _side(length: int) -> int:
    """Return a side of the frame for a picture's."""
    steps = -(-(length + 2 * _MARGIN) // OBJECT_STEP)
    return min(steps * OBJECT_STEP, OBJECT_SIDE)


def objects_in(candidates: np.ndarray, place: Placed) -> np.ndarray:
    """Return the objects of a picture, the best first: float32 [n, 6], see `COLUMNS`.

    candidates: [300, 6], what the network says of it; place: where the picture lies in the frame.
    Boxes end where the picture does.
    """
    likely = candidates[candidates[:, 4] >= LEAST_SCORE].astype(np.float64)
    found = likely[suppress_by_kind(likely[:, :4], likely[:, 4], likely[:, 5], MOST_SHARED)]
    origin = np.tile([place.left, place.top], 2)
    sides = np.tile([place.width, place.height], 2)
    corners = ((found[:, :4] - origin) / sides).clip(0, 1)
    wide = corners[:, 2:] - corners[:, :2]
    seen = (wide > 0).all(axis=1)  # else it lies beside the picture
    rows = np.column_stack([found[:, 5], found[:, 4], corners[:, :2], wide])[seen]
    best: np.ndarray = rows[:MOST_OBJECTS].astype(np.float32)
    return best


@dataclass(frozen=True, slots=True)
class View:
    """How a network is shown pictures, and how what it gives is read.

    Attributes:
        size: that pictures are decoded in.
        shown: from a picture, uint8 [H, W, 3], to what the network sees, and where it lies in that.
        read: what it found in a picture, from its values [width] and that place: [n, 6], see
            `COLUMNS`, the best first. Of a network that reads poses too, x, y and score of each
            point follow: [n, 57].
    """

    size: Size
    shown: Callable[[np.ndarray], tuple[np.ndarray, Placed]]
    read: Callable[[np.ndarray, Placed], np.ndarray]


NANODET = View(
    PICTURE_SIZE,
    letterboxed,
    lambda values, place: objects_in(values.reshape(CANDIDATES, CANDIDATE), place),
)


def view_of(bundle: Bundle) -> View:
    """Return how a model for objects, which was checked, sees pictures."""
    row = COCO.get(bundle.network["kind"])
    if row is None:
        return NANODET

    def whole(image: np.ndarray) -> tuple[np.ndarray, Placed]:
        made = shown(row, image)
        return made, Placed(0, 0, made.shape[1], made.shape[0])

    def read(values: np.ndarray, place: Placed) -> np.ndarray:
        found = read_found(values, row.points)
        likely: np.ndarray = found[found[:, SCORE] >= LEAST_SCORE]
        return likely

    return View(DECODED_SIZE, whole, read)


class ObjectPictures:
    """Prepares pictures as they come, as a `FrameLoader` does; its tracks are `Sets`."""

    def __init__(self, sampling: Sampling, batch: int, view: View = NANODET) -> None:
        self.requests = [FrameRequest(OBJECTS, sampling, view.size)]
        self._view = view
        self._batch = batch
        self._waiting: list[np.ndarray] = []
        self._places: list[Placed] = []
        self._times: list[float] = []

    def take(self, request: str, time_s: float, image: np.ndarray) -> Iterator[np.ndarray]:
        """See `FrameLoader`."""
        seen, place = self._view.shown(image)
        if self._waiting and self._waiting[0].shape != seen.shape:  # the picture's size changed
            yield from self.finish(None)
        self._times.append(time_s)
        self._places.append(place)
        self._waiting.append(seen)
        if len(self._waiting) == self._batch:
            yield from self.finish(None)

    def finish(self, end_s: float | None) -> Iterator[np.ndarray]:
        """See `FrameLoader`."""
        if self._waiting:
            yield np.stack(self._waiting)
            self._waiting = []

    def objects(self, first: int, values: np.ndarray) -> list[np.ndarray]:
        """Return the objects of some pictures, the first of which is number `first`.

        values: float32 [N, width], what the network gave for them -> N times what `View.read` says.
        """
        places = self._places[first : first + len(values)]
        return [self._view.read(one, place) for one, place in zip(values, places, strict=True)]

    def tracks(self, values: Sequence[np.ndarray], width: int) -> list[Sets]:
        """Return the objects of all pictures as one track; see `FrameLoader`."""
        whole = np.concatenate([np.empty((0, width), np.float32), *values])
        return [Sets.of(self._times, self.objects(0, whole), COLUMNS)]


# --- the network --------------------------------------------------------------------------------


def check_objects(bundle: Bundle) -> None:
    """Raise ModelError where a bundle is no model for objects."""
    if bundle.task != OBJECTS:
        raise ModelError(
            f"model {bundle.name!r} is for {bundle.task}, and finds no objects; "
            f"the one that vmm carries is called {OBJECTS!r}"
        )
    row = COCO.get(str(bundle.network.get("kind")))
    if row is not None and row.task == OBJECTS:
        runs = dict(bundle.network) == row.network(bundle.network["kind"])
        labels = row.labels
    else:
        runs, labels = bundle.network.get("kind") == KIND, KINDS
    if not runs or len(bundle.labels) != labels:
        raise ModelError(f"model {bundle.name!r} has a network this vmm cannot run")


def reads_poses(bundle: Bundle) -> bool:
    """Tell whether a model for objects reads the poses of people, too."""
    row = COCO.get(str(bundle.network.get("kind")))
    return row is not None and row.points


def object_spec(bundle: Bundle) -> EncoderSpec:
    """Return what stands for the objects that a model finds, where they are kept."""
    made_of = f"{OBJECTS} {OBJECTS_VERSION} {bundle.weights_digest}"
    return EncoderSpec(OBJECTS, encoder_digest(made_of, {}, {}), {})


@lru_cache(maxsize=2)
@progress.loading()
def object_compute(folder: Path, digest: str, device: str) -> Compute:
    """Return the network of a model: uint8 [N, h, w, 3] -> float32 [N, 300 x 6].

    Of each picture the best candidates, see `vmm_cli.networks.pretrained.nanodet`; or what one of
    torchvision's detectors finds in pictures of any size, see `coco_networks`. It is called by
    `features.computing.computing`, with the model's folder and digest.

    Raises:
        ModelError: the model is damaged, none for objects, or another one than `digest` is of.
        UsageError, DeviceError: there is no such device.
    """
    bundle = unchanged(folder, digest)
    check_objects(bundle)
    weights = bundles.load_weights(bundle)
    if bundle.network["kind"] in COCO:
        return _torchvision_s(bundle, weights, device)
    width = CANDIDATES * CANDIDATE
    run = graph_of(bundle, OBJECTS, inputs=TAKEN, outputs=GIVEN, weights=weights, device=device)
    if run is not None:
        return Compute(lambda images: run(images)[0].reshape(-1, width), width, CPU_BATCH)
    from vmm_cli.features.object_networks import detector, in_torch

    network = detector(weights.tensors(), bundle.name)
    batch = CPU_BATCH if device == "cpu" else CUDA_BATCH
    return Compute(in_torch(network, device), width, batch)


def _torchvision_s(bundle: Bundle, weights: Weights, device: str) -> Compute:
    from vmm_cli.features.coco_networks import checked
    from vmm_cli.features.object_networks import in_torch

    if device == "cpu" and chosen_engine() == ONNXRUNTIME:
        raise ModelError(
            f"model {bundle.name!r} has no graph of its network, which PyTorch alone runs; "
            f"leave out {VARIABLE}"
        )
    kind = bundle.network["kind"]
    network = checked(kind, weights.tensors(), bundle.name)
    width = MOST_FOUND * (FOUND_WITH_POINTS if COCO[kind].points else FOUND)
    batch = CPU_BATCH if device == "cpu" else CUDA_REGIONS_BATCH
    return Compute(in_torch(network, device), width, batch)


def unchanged(folder: Path, digest: str) -> Bundle:
    """Return the bundle in a folder. ModelError where it is another one than `digest` is of."""
    bundle = bundles.read(folder)
    if bundle.digest != digest:
        raise ModelError(f"model {bundle.name!r} changed while it was in use; start again")
    return bundle
