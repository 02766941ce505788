"""Which parts of pictures show what: semantic segmentation by networks that were fetched. No torch.

A network tells a kind for each cell of a picture, `coco_pictures.CELL` pixels square of what it
sees; a mask is the cells of one kind. Masks are kept as run lengths: a few hundred bytes each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from vmm_cli import bundles, progress
from vmm_cli.bundles import Bundle
from vmm_cli.bundles.published_coco import COCO, MASKS
from vmm_cli.engines.graph import Port, Ports, Run, graph_of
from vmm_cli.errors import ModelError
from vmm_cli.features.coco_pictures import DECODED_SIZE, shown
from vmm_cli.features.computing import computing
from vmm_cli.features.encoder import Compute
from vmm_cli.features.objects import unchanged
from vmm_cli.features.run_lengths import compressed, run_lengths
from vmm_cli.media.frames import Frame, FrameRequest
from vmm_cli.media.sampling import Sampling

BACKGROUND = "background"  # the label of what is of no kind; never told
SUGGESTED = "torchvision/lraspp_mobilenet_v3_large"  # what to fetch, if there is none
LEAST_SHARE = 0.001  # of a picture that a kind has, to be told: 30 of 30,000 cells

PICTURES, SCORES = "pictures", "scores"  # what a graph takes and gives
CPU_BATCH, CUDA_BATCH = 1, 8  # pictures


@dataclass(frozen=True, slots=True)
class Mask:
    """One kind in one picture.

    Attributes:
        time_s: of the picture.
        label: what is seen.
        share: of the picture's area.
        height, width: of the mask, in cells.
        counts: its run lengths, see `run_lengths.compressed`.
    """

    time_s: float
    label: str
    share: float
    height: int
    width: int
    counts: str


def check_masks(bundle: Bundle) -> None:
    """Raise ModelError where a bundle is no model for segmentation."""
    if bundle.task != MASKS:
        raise ModelError(
            f"model {bundle.name!r} is for {bundle.task}, and makes no masks of pictures; fetch "
            f"one that does with `vmm models fetch {SUGGESTED}`"
        )
    row = COCO.get(str(bundle.network.get("kind")))
    runs = row is not None and dict(bundle.network) == row.network(bundle.network["kind"])
    if row is None or not runs or len(bundle.labels) != row.labels:
        raise ModelError(f"model {bundle.name!r} has a network this vmm cannot run")


def masks_of(
    kinds: np.ndarray, time_s: float, labels: Sequence[str], wanted: Sequence[str] | None = None
) -> list[Mask]:
    """Return the masks of a picture, the largest first: uint8 [h, w], the number of each label.

    wanted: the labels that count; None: all.
    """
    height, width = kinds.shape
    areas = np.bincount(kinds.ravel(), minlength=len(labels)) / kinds.size
    masks = []
    for number in np.argsort(-areas, kind="stable"):
        label, share = labels[number], float(areas[number])
        if label == BACKGROUND or share < LEAST_SHARE:
            continue
        if wanted is not None and label not in wanted:
            continue
        counts = compressed(run_lengths(kinds == number))
        masks.append(Mask(time_s, label, share, height, width, counts))
    return masks


class Segmenter:
    """Makes masks of pictures as they come; see `sightings.Taker`.

    Raises, when it is made and when it takes pictures:
        ModelError: the model is damaged, or was exchanged meanwhile.
    """

    def __init__(
        self, sampling: Sampling, bundle: Bundle, wanted: Sequence[str] | None = None
    ) -> None:
        check_masks(bundle)
        self.request = FrameRequest(MASKS, sampling, DECODED_SIZE)
        self._row = COCO[bundle.network["kind"]]
        self._labels, self._wanted = bundle.labels, wanted
        self._compute = computing(mask_compute, bundle.folder, bundle.digest)
        self._waiting: list[tuple[float, np.ndarray]] = []
        self._masks: list[Mask] = []

    def take(self, frame: Frame) -> None:
        """Take the next picture."""
        seen = shown(self._row, frame.image)
        if self._waiting and self._waiting[0][1].shape != seen.shape:  # its size changed
            self._work()
        self._waiting.append((frame.time_s, seen))
        if len(self._waiting) == self._compute.batch:
            self._work()

    def masks(self) -> list[Mask]:
        """Return the masks of all pictures that were taken, by time."""
        self._work()
        return self._masks

    def _work(self) -> None:
        if not self._waiting:
            return
        found = self._compute.run(np.stack([image for _, image in self._waiting]))
        for (time_s, _), kinds in zip(self._waiting, found, strict=True):
            self._masks += masks_of(kinds, time_s, self._labels, self._wanted)
        self._waiting = []


# --- the network --------------------------------------------------------------------------------


# Of scores the second length is the number of labels; nothing in a graph says so.
TAKEN: Ports = {PICTURES: Port((None, None, None, 3), "uint8")}
GIVEN: Ports = {SCORES: Port((None, None, None, None))}


@lru_cache(maxsize=2)
@progress.loading()
def mask_compute(folder: Path, digest: str, device: str) -> Compute:
    """Return the network of a model: uint8 [N, H, W, 3] -> uint8 [N, h, w], numbers of labels.

    It is called by `features.computing.computing`. Its `width` says nothing: h and w follow from H
    and W.

    Raises:
        ModelError: the model is damaged, none for masks, or another one than `digest` is of.
        UsageError, DeviceError: there is no such device.
    """
    bundle = unchanged(folder, digest)
    check_masks(bundle)
    weights = bundles.load_weights(bundle)
    run = graph_of(bundle, MASKS, inputs=TAKEN, outputs=GIVEN, weights=weights, device=device)
    if run is not None:
        return Compute(partial(_kinds, run, bundle), 0, CPU_BATCH)
    from vmm_cli.features.coco_networks import checked, kinds_in_torch

    network = checked(bundle.network["kind"], weights.tensors(), bundle.name)
    batch = CPU_BATCH if device == "cpu" else CUDA_BATCH
    return Compute(kinds_in_torch(network, device), 0, batch)


def _kinds(run: Run, bundle: Bundle, images: np.ndarray) -> np.ndarray:
    (scores,) = run(images)
    if scores.shape[1] != len(bundle.labels):
        raise ModelError(f"model {bundle.name!r} has a graph of another network; fetch it again")
    kinds: np.ndarray = scores.argmax(axis=1).astype(np.uint8)
    return kinds
