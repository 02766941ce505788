"""torchvision's detectors and segmentation networks, in PyTorch, with their last steps of our own.

The layers are torchvision's modules. What it puts between and behind them needs its native library,
which PyPI has for CUDA alone: regions are pooled by `roi_align` and boxes suppressed by `boxes`
instead. So torchvision's own `forward` is not called, and nothing of torchvision is replaced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vmm_cli.bundles.published import PREFIX
from vmm_cli.bundles.published_coco import COCO, OBJECTS, CocoModel
from vmm_cli.compat import ensure_torchvision
from vmm_cli.errors import ModelError
from vmm_cli.features.boxes import suppress_by_kind
from vmm_cli.features.coco_pictures import FOUND, FOUND_WITH_POINTS, MOST_FOUND, cells_of
from vmm_cli.features.image import device_from, keep_freed_memory
from vmm_cli.features.poses import LEAST_SCORE as LEAST_SCORE_OF_A_POSE
from vmm_cli.features.roi_align import levels_of, roi_align
from vmm_cli.features.torchvision_networks import fold_batch_norm, published_as

NO_KIND = ("__background__", "no person", "N/A")  # among torchvision's labels
_AUXILIARY = "aux_classifier."  # of a segmentation network: it serves the training alone
_COUNTER = "num_batches_tracked"
# What torchvision's presets for segmentation normalise with, colours being from 0 to 1.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LEAST_REGION, _LEAST_BOX = 1e-3, 1e-2  # pixels of a side, as in torchvision
_STRIDE = 32  # what the sides of a batch are multiples of, in networks that see regions


def network_of(name: str, tensors: Mapping[str, np.ndarray]) -> nn.Module:
    """Return a network of the table: uint8 [N, H, W, 3] -> see `Boxes`, `Regions` and `Kinds`.

    Raises:
        ValueError: the tensors are not this network's.
    """
    row = COCO[name]
    state = {key: torch.from_numpy(value.astype(np.float32)) for key, value in tensors.items()}
    network = filled(name, state)
    if row.norm_eps is not None:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = row.norm_eps
    network.eval().requires_grad_(False)
    fold_batch_norm(network)
    made = Kinds(network) if row.task != OBJECTS else _finder(network, row)
    return made.eval()


def kinds_to_export(name: str, tensors: Mapping[str, np.ndarray]) -> nn.Module:
    """Return a segmentation network whose tensors are as they were saved. ValueError as above."""
    state = {key: torch.from_numpy(value.astype(np.float32)) for key, value in tensors.items()}
    return Kinds(filled(name, state)).eval().requires_grad_(False)


def convert(name: str, state: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return the tensors of a network as torchvision saves it, by their names in it today.

    Raises:
        ValueError: it is not a state of this network.
    """
    network = filled(name, state)
    return {
        key: value.detach().contiguous().numpy()
        for key, value in network.state_dict().items()
        if not key.endswith(_COUNTER)
    }


def filled(name: str, state: Mapping[str, Tensor]) -> nn.Module:
    """Build a network of the table with values of its own, in fp32.

    Older files have other names for some tensors, which the modules know themselves.

    Raises:
        ValueError: the state is of another network.
    """
    ensure_torchvision()
    from torchvision.models import get_model

    with torch.device("meta"):  # no time for initial values that are replaced at once
        network: nn.Module = get_model(
            name.removeprefix(PREFIX), weights=None, weights_backbone=None
        )
    floats = {
        key: value.float() if value.is_floating_point() else value
        for key, value in state.items()
        if not key.startswith(_AUXILIARY)
    }
    try:
        found = network.load_state_dict(floats, strict=False, assign=True)
    except RuntimeError as error:  # of other shapes
        lines = str(error).splitlines()[1:]
        first = " ".join(lines[0].split()) if lines else "unknown"
        raise ValueError(f"{len(lines)} of its tensors have another shape: {first[:200]}") from None
    if found.missing_keys or found.unexpected_keys:
        raise ValueError(
            f"{len(found.missing_keys)} of its {len(network.state_dict())} tensors are missing, "
            f"{len(found.unexpected_keys)} are not its own"
        )
    return network


def _finder(network: nn.Module, row: CocoModel) -> nn.Module:
    labels = published_as(row.weights).labels
    kinds = [-1 if label in NO_KIND else 0 for label in labels]
    told = [i for i, kind in enumerate(kinds) if kind == 0]
    for number, i in enumerate(told):
        kinds[i] = number
    return Boxes(network, kinds) if row.squashed else Regions(network, kinds)


def _normalised(pictures: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return what the layers take: uint8 [N, H, W, 3] -> float32 [N, 3, H, W]."""
    x = pictures.movedim(3, 1).to(torch.get_default_dtype()) / 255
    middle, scale = (
        torch.tensor(values, device=x.device).reshape(3, 1, 1) for values in (mean, std)
    )
    return (x - middle) / scale


# --- objects ------------------------------------------------------------------------------------


class Regions(nn.Module):
    """Faster R-CNN and Keypoint R-CNN: uint8 [N, H, W, 3] -> float32 [N, 100, 6 or 57].

    Of each picture what it found, the best first, the rest zeros: see `coco_pictures.FOUND`.

    Ren et al., "Faster R-CNN" (2015); Lin et al., "Feature Pyramid Networks" (2017); He et al.,
    "Mask R-CNN" (2017), section 5. Thresholds are those that torchvision builds the network with.
    """

    def __init__(self, network: Any, kinds: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self._kinds = np.array(kinds)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return what each picture has."""
        height, width = pictures.shape[1:3]
        numbers = self.network.transform
        x = _normalised(pictures, numbers.image_mean, numbers.image_std)
        x = functional.pad(x, (0, -width % _STRIDE, 0, -height % _STRIDE))
        maps = self.network.backbone(x)  # by name: [N, C, H, W]
        found = [
            self._found({name: one[i] for name, one in maps.items()}, regions, x, (height, width))
            for i, regions in enumerate(self._proposals(x, list(maps.values()), (height, width)))
        ]
        return torch.stack(found)

    def _proposals(self, x: Tensor, maps: Sequence[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """Return regions that may hold something, of each picture: N times [K, 4], pixels."""
        rpn = self.network.rpn
        objectness, deltas = rpn.head(maps)
        anchors = _anchors(rpn.anchor_generator, x, maps, size)
        # As anchors lie, by rows, columns and anchors there: [N, A, H, W] and [N, A * 4, H, W]
        logits = [one.permute(0, 2, 3, 1).flatten(1) for one in objectness]
        moves = [
            one.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).reshape(len(x), -1, 4)
            for one in deltas
        ]
        of_levels = torch.split(anchors, [one.shape[1] for one in logits])
        regions = []
        for i in range(len(x)):
            boxes, scores, levels = [], [], []
            for level, (logit, move, anchor) in enumerate(
                zip(logits, moves, of_levels, strict=True)
            ):
                best, places = logit[i].topk(min(rpn.pre_nms_top_n(), logit.shape[1]))
                boxes.append(rpn.box_coder.decode_single(move[i, places], anchor[places]))
                scores.append(best.sigmoid())
                levels.append(torch.full_like(places, level))
            whole, score = _clipped(torch.cat(boxes), size), torch.cat(scores)
            likely = score >= rpn.score_thresh
            limits = _LEAST_REGION, rpn.nms_thresh
            kept = _suppressed(whole, score, torch.cat(levels), likely, *limits)
            regions.append(whole[kept[: rpn.post_nms_top_n()]])
        return regions

    def _found(
        self, maps: Mapping[str, Tensor], regions: Tensor, x: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Return what is in one picture: maps [C, H, W], regions [K, 4] -> [100, 6 or 57]."""
        heads = self.network.roi_heads
        boxes = regions.new_zeros(0, 4)
        scores, labels = regions.new_zeros(0), regions.new_zeros(0, dtype=torch.long)
        if len(regions):
            pooled = _pooled(heads.box_roi_pool, maps, regions, x.shape[2])
            logits, deltas = heads.box_predictor(heads.box_head(pooled))
            boxes, scores, labels = _judged(heads, logits, deltas, regions, size)
        points = None
        if heads.has_keypoint():
            points = self._points(maps, boxes, scores, x.shape[2], size)
        return _told(boxes, scores, labels, self._kinds, size, points)

    def _points(
        self,
        maps: Mapping[str, Tensor],
        boxes: Tensor,
        scores: Tensor,
        padded: int,
        size: tuple[int, int],
    ) -> Tensor:
        """Return points of people: boxes [n, 4] -> [n, 17, 3], x, y in shares, and score.

        Zeros of those whose score is too low for a pose to be told.
        """
        from torchvision.models.detection.roi_heads import heatmaps_to_keypoints

        heads = self.network.roi_heads
        likely = scores >= LEAST_SCORE_OF_A_POSE
        points = boxes.new_zeros(len(boxes), (FOUND_WITH_POINTS - FOUND) // 3, 3)
        if likely.any():
            pooled = _pooled(heads.keypoint_roi_pool, maps, boxes[likely], padded)
            heat = heads.keypoint_predictor(heads.keypoint_head(pooled))
            places, heights = heatmaps_to_keypoints(heat, boxes[likely])
            places = places[..., :2] / places.new_tensor([size[1], size[0]])
            points[likely] = torch.cat([places, heights.sigmoid()[..., None]], dim=-1)
        return points


class Boxes(nn.Module):
    """SSDlite: uint8 [N, 320, 320, 3] -> float32 [N, 100, 6]; see `Regions`.

    Liu et al., "SSD: Single Shot MultiBox Detector" (2016).
    """

    def __init__(self, network: Any, kinds: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self._kinds = np.array(kinds)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return what each picture has."""
        size = int(pictures.shape[1]), int(pictures.shape[2])
        numbers = self.network.transform
        x = _normalised(pictures, numbers.image_mean, numbers.image_std)
        maps = list(self.network.backbone(x).values())
        given = self.network.head(maps)
        anchors = _anchors(self.network.anchor_generator, x, maps, size)
        return torch.stack(
            [
                self._found(deltas, logits, anchors, size)
                for deltas, logits in zip(
                    given["bbox_regression"], given["cls_logits"], strict=True
                )
            ]
        )

    def _found(
        self, deltas: Tensor, logits: Tensor, anchors: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Return what is in one picture: [A, 4], [A, L], [A, 4] -> [100, 6]."""
        network = self.network
        boxes = _clipped(network.box_coder.decode_single(deltas, anchors), size)
        scores, places = logits.softmax(-1)[:, 1:].topk(
            min(network.topk_candidates, len(boxes)), dim=0
        )  # -> [n, L - 1] each
        labels = torch.arange(1, logits.shape[1], device=logits.device).expand_as(places)
        boxes, scores, labels = boxes[places.flatten()], scores.flatten(), labels.flatten()
        kept = _suppressed(
            boxes, scores, labels, scores > network.score_thresh, 0.0, network.nms_thresh
        )[: network.detections_per_img]
        return _told(boxes[kept], scores[kept], labels[kept], self._kinds, size, None)


def _anchors(
    generator: nn.Module, x: Tensor, maps: Sequence[Tensor], size: tuple[int, int]
) -> Tensor:
    """Return the boxes that all others are told by: [A, 4], in pixels of the picture."""
    from torchvision.models.detection.image_list import ImageList

    (anchors,) = generator(ImageList(x, [size]), list(maps))
    whole: Tensor = anchors
    return whole


def _pooled(pool: Any, maps: Mapping[str, Tensor], regions: Tensor, height: int) -> Tensor:
    """Return regions of one picture, each from the level of its size: -> [K, C, side, side].

    height: of the picture with its padding, which a level divides by a power of two. MobileNet has
    two maps of one level; the first is the one that torchvision takes.
    """
    there = [one for name, one in maps.items() if name in pool.featmap_names]
    levels = [round(math.log2(height / one.shape[1])) for one in there]
    wanted = levels_of(regions, levels[0], levels[-1]) - levels[0]
    side, _ = pool.output_size
    pooled = regions.new_zeros(len(regions), len(there[0]), side, side)
    for number, (level, one) in enumerate(zip(levels, there, strict=True)):
        here = wanted == number
        pooled[here] = roi_align(one, regions[here], side, 2.0**-level)
    return pooled


def _judged(
    heads: Any, logits: Tensor, deltas: Tensor, regions: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return boxes [n, 4], scores [n] and labels [n] of one picture's regions, the best first."""
    boxes = heads.box_coder.decode_single(deltas, regions).reshape(*logits.shape, 4)[:, 1:]
    boxes = _clipped(boxes.flatten(0, 1), size)
    scores = logits.softmax(-1)[:, 1:]
    labels = torch.arange(1, logits.shape[1], device=logits.device).expand_as(scores).flatten()
    scores = scores.flatten()
    kept = _suppressed(
        boxes, scores, labels, scores > heads.score_thresh, _LEAST_BOX, heads.nms_thresh
    )[: heads.detections_per_img]
    return boxes[kept], scores[kept], labels[kept]


def _clipped(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    most = boxes.new_tensor([width, height, width, height])
    return boxes.clamp(min=0).minimum(most)


def _suppressed(
    boxes: Tensor, scores: Tensor, kinds: Tensor, likely: Tensor, least_side: float, limit: float
) -> Tensor:
    """Return which likely boxes stay, the best first: int64 [n]. On the CPU: they are few."""
    sides = boxes[:, 2:] - boxes[:, :2]
    there = (likely & (sides >= least_side).all(dim=1)).nonzero()[:, 0]
    box, score, kind = (one[there].cpu().numpy() for one in (boxes, scores, kinds))
    kept = torch.from_numpy(suppress_by_kind(box, score, kind, limit))
    return there[kept.to(there.device)]


def _told(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    kinds: np.ndarray,
    size: tuple[int, int],
    points: Tensor | None,
) -> Tensor:
    """Return what was found as rows of one length; what torchvision has no name for is left out."""
    height, width = size
    number = torch.from_numpy(kinds).to(labels.device)[labels]
    corners = boxes / boxes.new_tensor([width, height, width, height])
    parts = [corners, scores[:, None], number[:, None].to(boxes.dtype)]
    if points is not None:
        parts.append(points.flatten(1))
    rows = torch.cat(parts, dim=1)[number >= 0][:MOST_FOUND]
    return functional.pad(rows, (0, 0, 0, MOST_FOUND - len(rows)))


# --- kinds --------------------------------------------------------------------------------------


class Kinds(nn.Module):
    """DeepLabV3 and Lite R-ASPP: uint8 [N, H, W, 3] -> float32 [N, 21, h, w], a score a kind.

    h and w: see `coco_pictures.cells_of`; between what the layers give, as torchvision does it.

    Chen et al., "Rethinking Atrous Convolution" (2017); Howard et al., "Searching for MobileNetV3"
    (2019).
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the scores of each picture's cells."""
        maps = self.network.backbone(_normalised(pictures, _MEAN, _STD))
        scores = self.network.classifier(maps.get("out", maps))
        size = cells_of(pictures.shape[1]), cells_of(pictures.shape[2])
        return functional.interpolate(scores, size=size, mode="bilinear", align_corners=False)


def checked(name: str, tensors: Mapping[str, np.ndarray], model: str) -> nn.Module:
    """Return `network_of`; ModelError, for the bundle `model`, where it has other tensors."""
    try:
        return network_of(name, tensors)
    except ValueError as error:
        raise ModelError(f"model {model!r}: {error}") from None


def kinds_in_torch(network: nn.Module, device: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a network of `Kinds` as a function of pictures: uint8 [N, H, W, 3] -> uint8 [N, h, w].

    Raises:
        UsageError, DeviceError: there is no such device.
    """
    place = device_from(device)
    if place.type == "cpu":
        keep_freed_memory()
    moved = network.to(device=place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return partial(_kinds, moved, place)


@torch.inference_mode()
def _kinds(network: nn.Module, place: torch.device, pictures: np.ndarray) -> np.ndarray:
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        scores = network(torch.from_numpy(pictures).to(place))
    kinds: np.ndarray = scores.argmax(dim=1).to(torch.uint8).cpu().numpy()
    return kinds
