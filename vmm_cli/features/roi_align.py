"""Regions of feature maps pooled to one size, in plain PyTorch: RoIAlign of Mask R-CNN.

He et al., "Mask R-CNN" (2017), section 3, with what torchvision's documentation of
`torchvision.ops.roi_align` adds (`aligned=False`): a region is at least one pixel wide and high; it
is divided into `side` x `side` bins, and of each the mean of `SAMPLES` x `SAMPLES` points on a
regular grid is taken. A point has the value between its four neighbours, the nearest pixel's beyond
the middle of the outermost ones, and 0 more than one pixel beyond the edge.

torchvision's own needs its native library, which PyPI has for CUDA alone.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SAMPLES = 2  # points of a bin along each axis, in all of torchvision's detectors
CANONICAL_SIDE, CANONICAL_LEVEL = 224, 4  # see `levels_of`


def roi_align(features: Tensor, boxes: Tensor, side: int, scale: float) -> Tensor:
    """Return regions of one picture's features: [C, H, W], [K, 4] -> [K, C, side, side].

    boxes: left, top, right and bottom, in pixels of the picture; scale: from those to the map's.
    """
    channels, height, width = features.shape
    x, x_weights = _corners(boxes[:, 0], boxes[:, 2], side, scale, width)
    y, y_weights = _corners(boxes[:, 1], boxes[:, 3], side, scale, height)
    # Each bin is a weighted sum of 16 pixels: [K, side, 4] of both axes -> [K, side, side, 4, 4]
    pixels = y[:, :, None, :, None] * width + x[:, None, :, None, :]
    weights = y_weights[:, :, None, :, None] * x_weights[:, None, :, None, :]
    per_bin = (2 * SAMPLES) ** 2
    bins = functional.embedding_bag(
        pixels.reshape(-1, per_bin),
        features.flatten(1).T.contiguous(),  # [H * W, C]
        per_sample_weights=weights.reshape(-1, per_bin),
        mode="sum",
    )
    return bins.reshape(-1, side, side, channels).permute(0, 3, 1, 2)


def _corners(
    begin: Tensor, end: Tensor, side: int, scale: float, length: int
) -> tuple[Tensor, Tensor]:
    """Return the pixels that each bin is made of along an axis, and their weights.

    [K], [K] -> int64 and float [K, side, 2 * SAMPLES].
    """
    first = begin * scale
    bin = (end * scale - first).clamp(min=1) / side
    steps = torch.arange(side * SAMPLES, device=begin.device, dtype=begin.dtype)
    points = first[:, None] + bin[:, None] * (steps + 0.5) / SAMPLES  # -> [K, side * SAMPLES]
    counts = ((points >= -1) & (points <= length)).to(begin.dtype) / SAMPLES
    points = points.clamp(0, length - 1)
    low = points.floor()
    beyond = points - low
    pixels = torch.stack([low, (low + 1).clamp(max=length - 1)], dim=-1).long()
    weights = torch.stack([(1 - beyond) * counts, beyond * counts], dim=-1)
    shape = -1, side, 2 * SAMPLES
    return pixels.reshape(shape), weights.reshape(shape)


def levels_of(boxes: Tensor, lowest: int, highest: int) -> Tensor:
    """Return from which level of a pyramid each region is taken: [K, 4] -> int64 [K].

    Lin et al., "Feature Pyramid Networks" (2017), equation 1. Level k has a pixel for each 2^k of
    the picture's; those from `lowest` to `highest` are there.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt()
    # As torchvision: a region of exactly that size must not fall below by a rounding.
    levels = (CANONICAL_LEVEL + torch.log2(sides / CANONICAL_SIDE) + 1e-6).floor()
    return levels.clamp(lowest, highest).long()
