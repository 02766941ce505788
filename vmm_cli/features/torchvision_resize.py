"""Resize and crop as torchvision's presets do, on what a decoder gives; torch alone is imported.

Equal to the bit, because it is the same operation of torch on the same numbers: a picture is
interpolated in float32 and rounded back to 8 bits. (torchvision.transforms.functional: `resize` and
`center_crop` on uint8 tensors; ImageClassification resizes with antialias, VideoClassification
without.)
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional


def resized_square(
    image: np.ndarray, size: tuple[int, int], crop: int, *, antialias: bool
) -> np.ndarray:
    """Scale uint8 [H, W, 3] to `size` (height, width), cut the middle: uint8 [crop, crop, 3]."""
    height, width = size
    # Half a pixel goes to the even side, as Python's round() says and torchvision cuts.
    top, left = round((height - crop) / 2), round((width - crop) / 2)
    with torch.inference_mode():
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float()  # [H, W, 3] -> [1, 3, H, W]
        x = functional.interpolate(
            x, size=size, mode="bilinear", align_corners=False, antialias=antialias
        )
        x = x[0, :, top : top + crop, left : left + crop].round_().to(torch.uint8)
        square: np.ndarray = x.permute(1, 2, 0).contiguous().numpy()  # -> [crop, crop, 3]
    return square
