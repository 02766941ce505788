"""How much two folders of pictures differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image


def psnr_db(one: Path, other: Path) -> float:
    """Return the peak signal-to-noise ratio of two pictures of one size, in dB, over R, G and B."""
    a, b = (np.asarray(Image.open(path).convert("RGB"), np.float32) for path in (one, other))
    error = float(np.mean((a - b) ** 2))
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def psnr_by_time(ours: Path, theirs: Path, rate: int) -> list[float]:
    """Return the PSNR of each of our pictures against theirs of the same time, in dB.

    `ours`: a folder with frames.jsonl. `theirs`: a folder whose picture number n, counted from 1,
    is the one shown at (n - 1) / rate seconds. ValueError where one side has more pictures.
    """
    lines = [json.loads(line) for line in (ours / "frames.jsonl").read_text().splitlines()]
    if len(lines) != len(list(theirs.iterdir())):
        raise ValueError(f"{len(lines)} pictures here, {len(list(theirs.iterdir()))} there")
    return [
        psnr_db(ours / line["file"], theirs / f"{round(line['time_s'] * rate) + 1:06d}.jpg")
        for line in lines
    ]
