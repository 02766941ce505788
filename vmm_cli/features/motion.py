"""Where a window moves: the one square that the image encoder should look at closely.

People in a surveillance picture are a few pixels high once the whole of it is squeezed to what an
image network reads. So the network is shown the one place in the window that moves most, and the
change of its features over time says more than their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from math import ceil, floor

import numpy as np

MOTION_VERSION = "1"  # of the rows of the catalogue: changes when a box does

GREY_HZ = 12.5  # of the small grey pictures in which motion is looked for
GREY_SHORT_SIDE = 60  # pixels; finer than a person's limbs in it is noise of the camera
BLUR_PIXELS = 3
ELSEWHERE = 0.1  # that change counts for where nobody is, beside where most people are


@dataclass(frozen=True, slots=True)
class Box:
    """A square in fractions of the picture's shorter side: its left, top and side."""

    left: float
    top: float
    side: float


def grey(image: np.ndarray) -> np.ndarray:
    """Return the brightness of a picture: uint8 [H, W, 3] RGB -> float32 [H, W], 0 to 255.

    Weights as in ITU-R BT.601.
    """
    brightness: np.ndarray = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return brightness


def motion_map(pictures: np.ndarray) -> np.ndarray:
    """Return how much each place changes: float32 [N, H, W] grey -> [H, W], 0 where as usual.

    The mean absolute change from picture to picture, blurred, less its median over the places: a
    shaking or noisy camera changes everything alike. All zeros for one picture alone.
    """
    if len(pictures) < 2:
        return np.zeros(pictures.shape[1:], np.float32)
    change = np.abs(np.diff(pictures, axis=0)).mean(axis=0)
    change = _box_mean(change, BLUR_PIXELS)
    unusual: np.ndarray = np.maximum(change - np.median(change), 0).astype(np.float32)
    return unusual


def moving_people(change: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return how much changes where people are: [H, W] -> [H, W]; elsewhere a tenth of that.

    boxes: float [N, 5], score, x, y, width and height of people in all pictures, in shares of
    these. Where there is nobody all counts as it is.
    """
    height, width = change.shape
    weight = np.zeros_like(change)
    for score, *box in boxes.tolist():
        x, y, wide, high = box
        left, top = floor(x * width), floor(y * height)
        weight[top : ceil((y + high) * height), left : ceil((x + wide) * width)] += score
    if not weight.any():
        return change
    elsewhere = ELSEWHERE * weight.max()
    weighed: np.ndarray = change * np.maximum(weight, elsewhere)
    return weighed


def place_box(change: np.ndarray, side: float) -> Box:
    """Return the square that holds the most motion: [H, W] -> a box of `side` short sides.

    In the middle where nothing moves.
    """
    height, width = change.shape
    short = min(height, width)
    pixels = min(short, max(1, round(side * short)))
    sums = _box_sums(change, pixels)  # [H - pixels + 1, W - pixels + 1]
    if sums.max() > 0:
        top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    else:
        top, left = (height - pixels) // 2, (width - pixels) // 2
    return Box(float(left) / short, float(top) / short, pixels / short)


def cut(image: np.ndarray, box: Box) -> np.ndarray:
    """Return a box of a picture of any scale: uint8 [H, W, 3] -> view [side, side, 3]."""
    height, width = image.shape[:2]
    short = min(height, width)
    side = max(1, min(short, round(box.side * short)))
    top = min(max(0, round(box.top * short)), height - side)
    left = min(max(0, round(box.left * short)), width - side)
    return image[top : top + side, left : left + side]


def resized(images: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Scale square pictures: uint8 [S, S, 3] each -> uint8 [N, side, side, 3].

    Bicubic, antialiased. N >= 1; S may change on the way, as in some recordings of broadcasts.
    """
    parts = []
    for (size, *_), alike in groupby(images, key=np.shape):
        if size == side:  # each pixel would be itself
            parts.append(np.stack(list(alike)))
            continue
        weights = _cubic_weights(size, side)
        parts.append(np.stack([_scaled(weights, image) for image in alike]))
    return np.concatenate(parts)


def _scaled(weights: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Scale a picture: float32 [side, S], uint8 [S, S, 3] -> uint8 [side, side, 3]."""
    side, size = weights.shape
    x = weights @ image.astype(np.float32).reshape(size, -1)  # [S, S * 3] -> [side, S * 3]
    x = x.reshape(side, size, 3).transpose(1, 0, 2).reshape(size, -1)  # -> [S, side * 3]
    x = weights @ x  # -> [side, side * 3], the sides swapped
    pixels = x.round().clip(0, 255).astype(np.uint8).reshape(side, side, 3)
    return np.ascontiguousarray(pixels.transpose(1, 0, 2))


@lru_cache(maxsize=8)
def _cubic_weights(size: int, side: int) -> np.ndarray:
    """Return what each of `size` pixels counts for each of `side`: float32 [side, size].

    Keys 1981, "Cubic convolution interpolation for digital image processing", with a = -1/2; made
    as wide as the pixels are that come of it where there are fewer of them, as PyTorch's
    `interpolate` and Pillow do.
    """
    scale = size / side
    width = max(scale, 1.0)
    centres = (np.arange(side) + 0.5) * scale  # of the new pixels, in old ones
    x = np.abs(np.arange(size) + 0.5 - centres[:, None]) / width  # [side, size]
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0))
    normed: np.ndarray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return normed


def _box_sums(values: np.ndarray, side: int) -> np.ndarray:
    """Return the sum over every square of `side` pixels that lies inside, by an integral image."""
    integral = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    integral[1:, 1:] = values.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    sums: np.ndarray = (
        integral[side:, side:]
        - integral[:-side, side:]
        - integral[side:, :-side]
        + integral[:-side, :-side]
    )
    return sums


def _box_mean(values: np.ndarray, side: int) -> np.ndarray:
    """Blur: the mean over a square of odd `side` around each place, edges repeated."""
    padded = np.pad(values, side // 2, mode="edge")
    return _box_sums(padded, side) / side**2
