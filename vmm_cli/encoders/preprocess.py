"""From pictures to what an image network was trained on; numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Preprocess:
    """Scale so that the shorter side has `short_side` pixels, cut the central square, normalise.

    Attributes:
        short_side, crop: pixels; short_side >= crop.
        mean, scale: the network's input is (x - mean) / scale for x in 0..255.

    Raises:
        ValueError: the numbers contradict each other.
    """

    short_side: int
    crop: int
    mean: float
    scale: float

    def __post_init__(self) -> None:
        if not 0 < self.crop <= self.short_side or self.scale <= 0:
            raise ValueError(f"cannot be used for preprocessing: {self}")

    @classmethod
    def from_dict(cls, fields: Mapping[str, float]) -> Preprocess:
        """Read the numbers of a bundle. ValueError where one is missing, unknown or no number."""
        if set(fields) != {"short_side", "crop", "mean", "scale"}:
            raise ValueError(f"not a preprocessing: {sorted(fields)}")
        return cls(
            int(fields["short_side"]),
            int(fields["crop"]),
            float(fields["mean"]),
            float(fields["scale"]),
        )


def central_square(image: np.ndarray, side: int) -> np.ndarray:
    """Return the middle of a picture: uint8 [H, W, 3] -> view [side, side, 3].

    Raises:
        ValueError: the picture is smaller.
    """
    height, width = image.shape[:2]
    if min(height, width) < side:
        raise ValueError(f"a picture of {width}x{height} holds no square of {side} pixels")
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]
