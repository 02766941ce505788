"""The smallest encoder there can be: the mean colour of the picture shown at each step.

CONTRIBUTING.md points here. In vmm this would be a file in `vmm_cli/features`, and `MEAN_COLOUR` a
row of `ENCODERS` in `vmm_cli/features/catalogue.py`, under the name by which recipes call it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vmm_cli.features.encoder import Compute, Encoder, Job, OfFrames, versioned
from vmm_cli.features.values import Features
from vmm_cli.media.frames import FrameRequest
from vmm_cli.media.geometry import Size

SMALL = Size(16, 16)  # pixels, whatever the shape of the picture: the mean stays the same


class SmallPictures:
    """What a worker does: asks for a small picture at each step, and hands them on one by one."""

    def __init__(self, job: Job, batch: int) -> None:
        self.requests = [FrameRequest("small", job.sampling, SMALL)]
        self._times: list[float] = []

    def take(self, request: str, time_s: float, image: np.ndarray) -> Iterator[np.ndarray]:
        """Take the next picture, uint8 [H, W, 3], and yield what is to be computed of it."""
        self._times.append(time_s)
        yield image[None]

    def finish(self, end_s: float | None) -> Iterator[np.ndarray]:
        """Yield what is left when the video has ended: nothing waits here."""
        yield from ()

    def tracks(self, values: Sequence[np.ndarray], width: int) -> list[Features]:
        """Return what was computed at its times; T is 0 where the file has no pictures."""
        whole = np.concatenate([np.empty((0, width), np.float32), *values])
        return [Features(np.array(self._times, np.float64), whole)]


def compute(job: Job) -> Compute:
    """Return what runs on `job.device`: here no network, and so nothing to load."""
    return Compute(mean_colour, width=3)


def mean_colour(images: np.ndarray) -> np.ndarray:
    """Return the mean of red, green and blue, 0 to 1: uint8 [N, H, W, 3] -> float32 [N, 3]."""
    means: np.ndarray = images.mean(axis=(1, 2), dtype=np.float32) / 255
    return means


MEAN_COLOUR = Encoder(
    stream="colour",
    about="the mean colour of the picture",
    runs=OfFrames(SmallPictures, compute),
    spec=versioned,
    version="1",
    width=3,
    settings={"side": 16},
    holds="next",
)
