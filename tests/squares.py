"""Tiny videos in which a bright square moves or stands still, with a high or a low tone."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT, SIDE = 160, 120, 24
SOUND_HZ = 16000
KINDS = ("moving", "still")


def squares_clip(
    path: Path,
    kind: str = "moving",
    *,
    seed: int = 0,
    seconds: float = 1.0,
    rate: int = 8,
    picture: bool = True,
    sound: bool = False,
    sound_seconds: float | None = None,
    title: str | None = None,
) -> Path:
    """Render a clip; a moving one has a tone of 440 Hz, the other of 2 kHz.

    sound_seconds: how long it is heard, where that is not as long as it is seen.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    with av.open(os.fspath(path), "w") as container:
        if title is not None:
            container.metadata["title"] = title
        video = audio = None
        if picture:
            options = {"preset": "ultrafast", "crf": "28"}
            video = container.add_stream("libx264", rate=rate, options=options)
            video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if sound:
            audio = container.add_stream("aac", rate=SOUND_HZ, layout="mono")
        if video is not None:
            for i, image in enumerate(_pictures(kind, draw, round(seconds * rate))):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = i, Fraction(1, rate)
                container.mux(video.encode(frame))
            container.mux(video.encode())
        if audio is not None:
            hertz = 440 if kind == "moving" else 2000
            times = np.arange(round((sound_seconds or seconds) * SOUND_HZ)) / SOUND_HZ
            tone = 0.3 * np.sin(2 * np.pi * hertz * times + draw.uniform(0, 6))
            for first in range(0, len(times) - 1023, 1024):
                samples = tone[None, first : first + 1024].astype(np.float32)
                heard = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
                heard.sample_rate, heard.pts = SOUND_HZ, first
                heard.time_base = Fraction(1, SOUND_HZ)
                container.mux(audio.encode(heard))
            container.mux(audio.encode())
    return path


def squares_folder(folder: Path, each: int, **wanted: object) -> Path:
    """Render a folder per class with so many clips in each."""
    for k, kind in enumerate(KINDS):
        for i in range(each):
            squares_clip(folder / kind / f"{i:02}.mp4", kind, seed=100 * k + i, **wanted)
    return folder


def _pictures(kind: str, draw: np.random.Generator, count: int) -> list[np.ndarray]:
    ground = draw.integers(20, 90, (HEIGHT // 8, WIDTH // 8)).repeat(8, 0).repeat(8, 1)
    top, left = int(draw.integers(8, HEIGHT - SIDE - 8)), int(draw.integers(8, 40))
    pictures = []
    for i in range(count):
        image = np.repeat(ground[..., None], 3, axis=2).astype(np.uint8)
        x = (left + (8 * i if kind == "moving" else 0)) % (WIDTH - SIDE)
        image[top : top + SIDE, x : x + SIDE] = (230, 220, 40)
        pictures.append(image)
    return pictures
