"""Pictures of the user's videos: some to calibrate with, others to see what an export costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vmm_cli.batch.gather import gather
from vmm_cli.batch.tally import Standing
from vmm_cli.errors import DataError, InputError
from vmm_cli.features.clips import iter_prepared
from vmm_cli.features.preprocess import Preprocess
from vmm_cli.media.frames import DecodeReport
from vmm_cli.media.sampling import every
from vmm_cli.media.video import Video

# Ranges of values are found with a hundred pictures as well as with thousands; a network of clips
# takes as long over one as others over twenty pictures.
PICTURES, CLIPS = (128, 512), (32, 64)  # to calibrate with, to measure on
CLOSEST_S = Fraction(1, 10)  # nearer to each other, pictures say the same
LIMIT_BASE_S, LIMIT_PER_MEGABYTE_S = 120.0, 5.0  # how long a worker may take over a file


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What a network looks at in some videos: uint8 [N, *Preprocess.shape], N >= 1 each.

    Attributes:
        calibrating: of every second video, or of the first half where there is only one.
        measured: of the others.
        failed: by name, why other videos cannot be read.
    """

    calibrating: np.ndarray
    measured: np.ndarray
    failed: dict[str, InputError]


def shown_in(
    videos: Sequence[tuple[str, Path]],
    numbers: Preprocess,
    max_pixels: int,
    jobs: int,
    on_progress: Callable[[Standing], None] = lambda standing: None,
) -> Shown:
    """Read pictures, or clips, of videos; each has a name by which failures tell it.

    Raises:
        DataError: none can be read, or there are not two pictures in all of them.
    """
    most = PICTURES if numbers.frames == 1 else CLIPS
    per_video = max(2, math.ceil(sum(most) / len(videos)))
    results = gather(
        pictures_of,
        [(path, numbers, per_video, max_pixels) for _, path in videos],
        [LIMIT_BASE_S + LIMIT_PER_MEGABYTE_S * _megabytes(path) for _, path in videos],
        jobs=jobs,
        on_progress=on_progress,
    )
    failed, parts = {}, []
    for (name, _), result in zip(videos, results, strict=True):
        if isinstance(result, InputError):
            failed[name] = result
        else:
            parts.append(result)
    if not parts:
        name, first = next(iter(failed.items()))
        raise DataError(f"no video to calibrate with can be read: {name}: {first.message}")
    if len(parts) == 1:
        middle = math.ceil(len(parts[0]) / 2)
        parts = [parts[0][:middle], parts[0][middle:]]
    calibrating, measured = np.concatenate(parts[::2]), np.concatenate(parts[1::2])
    if not len(measured):
        raise DataError("the videos to calibrate with show one picture in all; give more of them")
    return Shown(_evenly(calibrating, most[0]), _evenly(measured, most[1]), failed)


def pictures_of(path: Path, numbers: Preprocess, n: int, max_pixels: int) -> np.ndarray:
    """Return at most about `n` pictures, or clips, of a video: uint8 [N, *numbers.shape].

    Raises:
        InputError: it cannot be read.
    """
    video = Video(path, max_pixels)
    end = video.pictures_end_s
    step = max(CLOSEST_S, end / n)
    prepared = iter_prepared(video, numbers, every(step), until=None, report=DecodeReport())
    images = [image for _, image in prepared]
    if not images:
        raise InputError("no_video", "there is no picture in it")
    return np.stack(images)


def _evenly(pictures: np.ndarray, n: int) -> np.ndarray:
    """Return `n` of them, or all where there are fewer."""
    if len(pictures) <= n:
        return pictures
    chosen: np.ndarray = pictures[np.linspace(0, len(pictures) - 1, n).round().astype(int)]
    return chosen


def _megabytes(path: Path) -> float:
    try:
        return path.stat().st_size / 1e6
    except OSError:  # the worker will say what is wrong with it
        return 0.0
