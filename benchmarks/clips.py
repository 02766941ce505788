"""The clips that everything is measured on: rendered once, from nothing but numbers.

A shot lasts 10 s: two layers of texture whose spectrum falls with frequency as in photographs
(power ~ 1/f^3), one seen through the other, panning at different speeds; textured discs that
move over them; and sensor noise that differs from picture to picture. H.264 by x264 `veryfast`,
25 pictures a second, a keyframe every 2 s and nowhere else. Longer clips are shots in a row, put
together without coding them again; the 1080p ones repeat their first two minutes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 25  # pictures a second
SHOT_S = 10
KEYFRAME_EVERY = 2 * RATE
X264 = {
    "preset": "veryfast",
    "x264-params": f"keyint={KEYFRAME_EVERY}:min-keyint={KEYFRAME_EVERY}:scenecut=0",
}
NOISE_SIGMA = 1.5  # of 255
FASTEST_PAN = 3  # pixels a picture
FALLOFF = 1.4  # of amplitude with frequency; photographs lie between 1 and 1.5
DISCS = 8
TICKS = Fraction(1, 12800)  # of every file, so that shots can follow each other

HD = (1280, 720)
FULL_HD = (1920, 1080)


def shots(folder: Path, size: tuple[int, int], n: int) -> list[Path]:
    """Return `n` shots of a size, width and height; renders those that are not there yet."""
    width, height = size
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"shot_{height}p_{seed:02d}.mp4" for seed in range(n)]
    for seed, path in enumerate(paths):
        if not path.exists():
            print(f"rendering {path.name}", flush=True)
            _render(path, _pictures(seed, width, height), size)
    return paths


def joined(path: Path, parts: Sequence[Path]) -> Path:
    """Return `path`, made of the parts one after another, unless it is there already."""
    if path.exists():
        return path
    unfinished = path.with_suffix(".part.mp4")
    with av.open(os.fspath(unfinished), "w") as output:
        stream = None
        offset = 0
        for part in parts:
            with av.open(os.fspath(part)) as source:
                track = source.streams.video[0]
                if stream is None:
                    stream = output.add_stream_from_template(track)
                for packet in source.demux(track):
                    if packet.pts is None or packet.dts is None:
                        continue  # the empty packet at the end
                    packet.pts += offset
                    packet.dts += offset
                    packet.stream = stream
                    output.mux(packet)
                offset += round(SHOT_S / TICKS) * _shots_in(source)
    unfinished.replace(path)
    return path


def _shots_in(source: av.container.InputContainer) -> int:
    return round(source.streams.video[0].frames / (RATE * SHOT_S))


def tiny(path: Path) -> Path:
    """Return a clip of 4 pictures, 64x64; renders it if it is not there yet."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures = _pictures(len(path.stem), 64, 64)
        _render(path, (next(pictures) for _ in range(4)), (64, 64))
    return path


def _render(path: Path, pictures: Iterator[np.ndarray], size: tuple[int, int]) -> None:
    unfinished = path.with_suffix(".part.mp4")
    with av.open(os.fspath(unfinished), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=X264)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.time_base = TICKS
        for index, planes in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    unfinished.replace(path)


def _pictures(seed: int, width: int, height: int) -> Iterator[np.ndarray]:
    """Yield a shot's pictures: uint8 [H * 3 / 2, W], the planes of yuv420p under each other."""
    rng = np.random.default_rng(seed)
    frames = RATE * SHOT_S
    margin = frames * FASTEST_PAN
    canvas = (height + margin, width + margin)
    near, far = (_texture(rng, canvas, 36) for _ in range(2))
    chroma = _texture(rng, canvas, 20)
    speeds = rng.uniform(
        -FASTEST_PAN, FASTEST_PAN, (2, 2)
    )  # rows and columns a picture, of each layer
    noises = rng.normal(0, NOISE_SIGMA, (4, height * 2, width * 2)).round().astype(np.int16)
    radius = height // 9
    disc = np.hypot(*np.ogrid[-radius:radius, -radius:radius]) < radius
    surfaces = [_texture(rng, disc.shape, 40) for _ in range(DISCS)]
    starts = rng.uniform(0, 1, (DISCS, 2))
    moves = rng.uniform(-9, 9, (DISCS, 2))
    span = np.array([height - 2 * radius, width - 2 * radius])
    for index in range(frames):
        top, left = _pan(speeds[0], index, margin)
        under_top, under_left = _pan(speeds[1], index, margin)
        luma = near[top : top + height, left : left + width] * 7
        luma += far[under_top : under_top + height, under_left : under_left + width]
        luma >>= 3
        for surface, start, move in zip(surfaces, starts, moves, strict=True):
            row, column = _bounce(start * span + move * index, span)
            patch = luma[row : row + 2 * radius, column : column + 2 * radius]
            np.copyto(patch, surface, where=disc)
        noise = noises[index % len(noises)]
        row, column = rng.integers(0, (height, width))
        luma += noise[row : row + height, column : column + width]
        colours = chroma[top : top + height, left : left + width]
        planes = [luma, colours[::2, ::2], 255 - colours[::2, ::2]]
        yield (
            np.concatenate([plane.ravel() for plane in planes])
            .clip(16, 235)
            .astype(np.uint8)
            .reshape(height * 3 // 2, width)
        )


def _texture(rng: np.random.Generator, shape: tuple[int, ...], contrast: float) -> np.ndarray:
    """Return random texture: int16 [H, W] around 128, `contrast` its standard deviation."""
    rows, columns = shape
    spectrum = np.fft.rfft2(rng.standard_normal(shape, np.float32))
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :])
    frequency[0, 0] = np.inf  # no constant part
    field = np.fft.irfft2(spectrum / frequency**FALLOFF, s=(rows, columns))
    return (128 + contrast * field / field.std()).clip(0, 255).astype(np.int16)


def _pan(speed: np.ndarray, index: int, margin: int) -> tuple[int, int]:
    """Return the row and column where a layer's visible part begins."""
    begin = np.where(speed < 0, margin, 0)
    row, column = (begin + speed * index).astype(int)
    return int(row), int(column)


def _bounce(position: np.ndarray, span: np.ndarray) -> tuple[int, int]:
    """Return a position reflected at the edges, as row and column."""
    row, column = (span - np.abs(position % (2 * span) - span)).astype(int)
    return int(row), int(column)
