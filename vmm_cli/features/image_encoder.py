"""Frozen image encoders: pictures, or clips of them -> pooled features. No torch itself.

Everything runs in fp32, on a GPU too. Labels must agree within 0.01 everywhere, and half precision
does not keep that: bf16 convolutions, 2.5 times faster on a CPU that has them, move single
probabilities by 0.06, fp16 and TF32 (11 bits) by 0.01, on 79 pictures of real clips. Differences
are those that tools/convert_efficientnet_lite0.py prints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vmm_cli.features.preprocess import Preprocess


@dataclass(frozen=True, eq=False)
class ImageEncoder:
    """A loaded encoder; `encode` is a function of it and the pictures alone.

    Attributes:
        run: the network, with the normalising before it: uint8 [N, *Preprocess.shape] ->
            float32 [N, width]; N >= 1.
        batch: how many pictures or clips run at once.
        width: D of the features.
    """

    run: Callable[[np.ndarray], np.ndarray]
    preprocess: Preprocess
    batch: int
    width: int


def encode(encoder: ImageEncoder, images: np.ndarray) -> np.ndarray:
    """Encode prepared pictures: uint8 [N, crop, crop, 3] RGB -> float32 [N, width].

    Or clips: uint8 [N, T, crop, crop, 3] RGB.
    """
    outputs = [np.empty((0, encoder.width), np.float32)]
    outputs += [
        encoder.run(images[first : first + encoder.batch])
        for first in range(0, len(images), encoder.batch)
    ]
    return np.concatenate(outputs)
