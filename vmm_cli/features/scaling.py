"""Pictures in another size, by Pillow: bicubic, as decoders scale; smooth where it is smaller."""

from __future__ import annotations

import numpy as np


def scaled(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return a picture in another size: uint8 [H, W, 3] -> [height, width, 3]; maybe `image`."""
    if image.shape[:2] == (height, width):
        return image
    from PIL import Image

    # Where it becomes much smaller, means of whole pixels come first: half the time.
    resized = Image.fromarray(image).resize(
        (width, height), Image.Resampling.BICUBIC, reducing_gap=2.0
    )
    return np.array(resized)  # its own, which PyTorch may write to
