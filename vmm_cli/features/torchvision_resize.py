"""Resize and crop as torchvision's presets and detectors do, on decoded pictures; numpy alone.

The same sums as PyTorch's, in another order (torchvision.transforms.functional: `resize` and
`center_crop` on uint8 tensors, which interpolate in float32 and round back to 8 bits;
ImageClassification and SemanticSegmentation with antialias, VideoClassification without; its
detectors also without, but on floats, which are rounded here). They differ by roundings of
float32 alone: of 2000 values less than one, by one step of 255
(`tests/features/test_torchvision_networks.py`). Only what the crop shows is computed, so that it
takes half the time of PyTorch's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_HALF = np.float32(0.5)


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    """How each of `crop` values along an axis is made of K that stand side by side.

    Attributes:
        span: what is needed of the axis.
        places: int [crop, K], in the span; weights: float32 [crop, 1, K].
    """

    span: slice
    places: np.ndarray
    weights: np.ndarray


def resized_square(
    image: np.ndarray, size: tuple[int, int], crop: int, *, antialias: bool
) -> np.ndarray:
    """Scale uint8 [H, W, 3] to `size` (height, width), cut the middle: uint8 [crop, crop, 3]."""
    return _resized(image, size, (crop, crop), antialias)


def resized(image: np.ndarray, size: tuple[int, int], *, antialias: bool) -> np.ndarray:
    """Scale uint8 [H, W, 3] to `size` (height, width), all of it: uint8 [height, width, 3]."""
    return image if image.shape[:2] == size else _resized(image, size, size, antialias)


def _resized(
    image: np.ndarray, size: tuple[int, int], crop: tuple[int, int], antialias: bool
) -> np.ndarray:
    down, across = (
        _weights(length, scaled, shown, antialias)
        for length, scaled, shown in zip(image.shape[:2], size, crop, strict=True)
    )
    x = _weighed(image[down.span, across.span], down)  # [H, W, 3] -> [crop, W, 3]
    x = _weighed(x.swapaxes(0, 1), across).swapaxes(0, 1)  # -> [crop, crop, 3]
    made: np.ndarray = np.ascontiguousarray(np.rint(x), np.uint8)
    return made


def _weighed(x: np.ndarray, by: _Weights) -> np.ndarray:
    """Return weighted means along the first axis: [N, ...] -> float32 [crop, ...]."""
    flat = x.reshape(len(x), -1)
    # A product for each row: [crop, 1, K] @ [crop, K, ...] -> [crop, 1, ...]
    means: np.ndarray = np.matmul(by.weights, flat[by.places].astype(np.float32, copy=False))
    return means.reshape(-1, *x.shape[1:])


@lru_cache(maxsize=16)
def _weights(length: int, scaled: int, crop: int, antialias: bool) -> _Weights:
    """Return how the middle of an axis of `length` that is scaled to `scaled` is computed."""
    first = round((scaled - crop) / 2)  # half a pixel goes to the even side, as torchvision cuts
    of_one = _of_all_that_shrink if antialias else _of_the_nearest
    scale = np.float32(length) / np.float32(scaled)
    found = [of_one(np.float32(i) + _HALF, scale, length) for i in range(first, first + crop)]
    begin, end = found[0][0], max(start + len(weights) for start, weights in found)
    widest = max(len(weights) for _, weights in found)
    places = np.empty((crop, widest), np.intp)
    table = np.zeros((crop, 1, widest), np.float32)
    for i, (start, weights) in enumerate(found):
        places[i] = np.minimum(start + np.arange(widest), end - 1) - begin
        table[i, 0, : len(weights)] = weights
    return _Weights(slice(begin, end), places, table)


def _of_all_that_shrink(
    middle: np.float32, scale: np.float32, length: int
) -> tuple[int, np.ndarray]:
    """Return where the pixels begin that a triangle lies over, and their weights."""
    center = scale * middle
    radius = max(scale, np.float32(1))
    begin = max(int(center - radius + _HALF), 0)
    end = min(int(center + radius + _HALF), length)
    away = np.abs(np.arange(begin, end, dtype=np.float32) - center + _HALF)
    weights = np.maximum(1 - away * (np.float32(1) / radius), np.float32(0))
    return begin, weights / weights.sum()


def _of_the_nearest(middle: np.float32, scale: np.float32, length: int) -> tuple[int, np.ndarray]:
    """Return the first of the two nearest pixels, and the weights of both; one at the end."""
    place = max(scale * middle - _HALF, np.float32(0))
    begin = min(int(place), length - 1)
    if begin == length - 1:  # beyond the last one nothing lies
        return begin, np.ones(1, np.float32)
    beyond = place - np.float32(begin)
    return begin, np.array([1 - beyond, beyond], np.float32)
