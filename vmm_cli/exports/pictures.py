"""What a model looks at in the user's videos: some to calibrate with, others to measure on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np

from vmm_cli.batch.capacity import default_workers
from vmm_cli.batch.gather import gather
from vmm_cli.batch.tally import Standing
from vmm_cli.errors import DataError, InputError
from vmm_cli.features.clips import iter_prepared
from vmm_cli.features.preprocess import Preprocess
from vmm_cli.media.frames import DecodeReport
from vmm_cli.media.sampling import every
from vmm_cli.media.video import Video

T = TypeVar("T")

# Ranges of values are found with a hundred pictures as well as with thousands; a network of clips
# takes as long over one as others over twenty pictures.
PICTURES, CLIPS = (128, 512), (32, 64)  # to calibrate with, to measure on
# Of all that is held at once; fewer clips are looked at where they are long: those of s3d take 19
# MB each.
MOST_BYTES = 256 * 2**20
CLOSEST_S = Fraction(1, 10)  # nearer to each other, pictures say the same
LIMIT_BASE_S, LIMIT_PER_MEGABYTE_S = 120.0, 5.0  # how long a worker may take over a file
# Of a worker, beside what it holds: that, and what of it is on the way.
WORKER_MEMORY_BYTES = 600 * 2**20
COPIES = 2

Named = tuple[str, Path]  # a video, with the name by which failures tell it


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What a network looks at in some videos: uint8 [N, *Preprocess.shape], N >= 1 each.

    Attributes:
        calibrating: of every second video, or of the first half where there is only one.
        measured: of the others.
        given, opened: how many videos there are, and how many of them were opened.
        failed: by name, why videos cannot be read.
    """

    calibrating: np.ndarray
    measured: np.ndarray
    given: int
    opened: int
    failed: dict[str, InputError]


@dataclass(frozen=True, slots=True)
class Share:
    """Videos that are to show so many pictures, or clips, in all, of each `per_video`."""

    videos: Sequence[Named]
    most: int
    per_video: int


def shown_in(
    videos: Sequence[Named],
    numbers: Preprocess,
    max_pixels: int,
    jobs: int | None,
    on_progress: Callable[[Standing], None] = lambda standing: None,
) -> Shown:
    """Read pictures, or clips, of videos: of as many as are needed, evenly chosen.

    jobs: how many are read at once; None: as many as cores and memory allow.

    Raises:
        DataError: none can be read, or there are not two pictures in all of them.
    """
    shares = shares_of(videos, numbers)
    calls = [
        (path, numbers, share.per_video, max_pixels) for share in shares for _, path in share.videos
    ]
    results = gather(
        pictures_of,
        calls,
        [LIMIT_BASE_S + LIMIT_PER_MEGABYTE_S * _megabytes(path) for path, *_ in calls],
        jobs=jobs or default_workers(worker_bytes(shares, numbers)),
        on_progress=on_progress,
    )
    names = [name for share in shares for name, _ in share.videos]
    failed = {
        name: result
        for name, result in zip(names, results, strict=True)
        if isinstance(result, InputError)
    }
    if len(failed) == len(results):
        name, first = next(iter(failed.items()))
        raise DataError(f"no video to calibrate with can be read: {name}: {first.message}")
    first_measured = len(shares[0].videos)
    calibrating = _read(results[:first_measured])
    measured = _read(results[first_measured:])
    if not calibrating or not measured:
        calibrating, measured = _halves([*calibrating, *measured])
    if not measured:
        raise DataError("the videos to calibrate with show one picture in all; give more of them")
    return Shown(
        _stacked(calibrating, shares[0].most),
        _stacked(measured, shares[1].most),
        len(videos),
        len(calls),
        failed,
    )


def shares_of(videos: Sequence[Named], numbers: Preprocess) -> tuple[Share, Share]:
    """Return what is read to calibrate with, and what to measure on; a single video is for both."""
    most = PICTURES if numbers.frames == 1 else CLIPS
    fit = max(2, MOST_BYTES // math.prod(numbers.shape))
    if fit < sum(most):
        calibrating = max(1, fit * most[0] // sum(most))
        most = calibrating, fit - calibrating
    if len(videos) == 1:
        return Share(videos, most[0], sum(most)), Share((), most[1], 0)
    first, second = (
        Share(chosen, n, math.ceil(n / len(chosen)))
        for n, chosen in ((n, evenly(videos[i::2], n)) for i, n in enumerate(most))
    )
    return first, second


def worker_bytes(shares: Sequence[Share], numbers: Preprocess) -> int:
    """Return how much memory a worker may take, in bytes."""
    held = max(share.per_video for share in shares) * math.prod(numbers.shape)
    return WORKER_MEMORY_BYTES + COPIES * held


def pictures_of(path: Path, numbers: Preprocess, n: int, max_pixels: int) -> list[np.ndarray]:
    """Return at most `n` pictures, or clips, of a video, evenly: uint8 [*numbers.shape] each.

    Each is the middle of its part of the video, since the first picture is often black; a clip
    begins with its part.

    Raises:
        InputError: it cannot be read.
    """
    video = Video(path, max_pixels)
    end = video.pictures_end_s
    step = max(CLOSEST_S, end / n)
    start = step / 2 if numbers.frames == 1 and step / 2 < end else Fraction(0)
    times = every(step, start=start)
    prepared = iter_prepared(video, numbers, times, until=None, report=DecodeReport())
    images = [image for _, image in prepared][:n]
    if not images:
        raise InputError("no_video", "there is no picture in it")
    return images


def evenly(things: Sequence[T], n: int) -> Sequence[T]:
    """Return `n` of them, or all where there are fewer."""
    if len(things) <= n:
        return things
    return [things[i] for i in np.linspace(0, len(things) - 1, n).round().astype(int)]


def _read(results: Sequence[list[np.ndarray] | InputError]) -> list[list[np.ndarray]]:
    return [result for result in results if not isinstance(result, InputError)]


def _halves(parts: list[list[np.ndarray]]) -> tuple[list[list[np.ndarray]], list[list[np.ndarray]]]:
    """Return every second video and the others, or the first half of a single one and the rest."""
    if len(parts) > 1:
        return parts[::2], parts[1::2]
    middle = math.ceil(len(parts[0]) / 2)
    return [parts[0][:middle]], [parts[0][middle:]] if parts[0][middle:] else []


def _stacked(parts: Sequence[list[np.ndarray]], n: int) -> np.ndarray:
    """Return `n` of what videos show, or all: uint8 [N, ...]."""
    return np.stack(evenly([image for part in parts for image in part], n))


def _megabytes(path: Path) -> float:
    try:
        return path.stat().st_size / 1e6
    except OSError:  # the worker will say what is wrong with it
        return 0.0
