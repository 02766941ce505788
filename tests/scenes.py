"""Scenes for the tests of shots: smooth random pictures under a camera that pans."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 32, 48


def scene(seed: int, n: int, *, pan: float = 0.2, size: tuple[int, int] = (WIDTH, HEIGHT)):
    """Return `n` pictures of one scene: uint8 [3, H, W] YUV; `pan` pixels of 48 a picture."""
    width, height = size
    rng = np.random.default_rng(seed)
    planes = []
    for low, high in ((30, 225), (90, 166), (90, 166)):
        coarse = Image.fromarray(rng.integers(low, high, (8, 24), np.uint8))
        planes.append(np.asarray(coarse.resize((3 * width, height), Image.Resampling.BICUBIC)))
    world = np.stack(planes)  # [3, H, 3 W]
    lefts = [min(round(k * pan * width / WIDTH), 2 * width) for k in range(n)]
    return [world[:, :, left : left + width] for left in lefts]


def dissolve(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return pictures that go from one scene to the other."""
    n = len(one)
    shares = [(k + 1) / (n + 1) for k in range(n)]
    return [
        (a * (1 - s) + b * s).astype(np.uint8) for a, b, s in zip(one, other, shares, strict=True)
    ]


def wipe(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return pictures in which the other scene comes in from the left."""
    n = len(one)
    made = []
    for k, (a, b) in enumerate(zip(one, other, strict=True)):
        edge = round(a.shape[2] * (k + 1) / (n + 1))
        made.append(np.concatenate([b[:, :, :edge], a[:, :, edge:]], axis=2))
    return made


def black(n: int) -> list[np.ndarray]:
    """Return black pictures."""
    picture = np.full((3, HEIGHT, WIDTH), 128, np.uint8)
    picture[0] = 16
    return [picture] * n


def fade(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return pictures that go from one scene to black and from there to the other."""
    return [*dissolve(one, black(len(one))), *black(1), *dissolve(black(len(other)), other)]


def write_scenes(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    ticks: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
) -> Path:
    """Write pictures as a video; `ticks`: the time of each (None: one after another)."""
    height, width = pictures[0].shape[1:]
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(1 / time_base))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p"
        stream.time_base = stream.codec_context.time_base = time_base
        stream.gop_size = 25
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="yuv444p")
            frame.pts = index if ticks is None else ticks[index]
            frame.time_base = time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
