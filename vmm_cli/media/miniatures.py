"""Every picture of a video at 48x32 pixels: enough to tell one scene from another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from av.video.reformatter import VideoReformatter

from vmm_cli.media.colours import Target, converted
from vmm_cli.media.frames import DecodeReport, FrameRequest
from vmm_cli.media.sampling import Sampling
from vmm_cli.media.video import Video

WIDTH, HEIGHT = 48, 32  # pixels, whatever the picture's shape: one that changes midway fits too


@dataclass(frozen=True, slots=True)
class Miniature:
    """One picture as it is coded, not turned. time_s: seconds; pixels: uint8 [3, 32, 48], YUV."""

    time_s: float
    pixels: np.ndarray


def iter_miniatures(
    video: Video, sampling: Sampling, *, report: DecodeReport | None = None
) -> Iterator[Miniature]:
    """Yield the pictures that `sampling` wants, in time order, each the mean of what it shows.

    Raises:
        InputError: as `iter_frames`.
    """
    reformatter = VideoReformatter()
    target = Target(WIDTH, HEIGHT, "yuv444p", interpolation="AREA")
    wanted = FrameRequest("miniatures", sampling)
    for picture in video.pictures([wanted], report=report):
        small = converted(reformatter, picture.frame, target)
        yield Miniature(picture.time_s, small.to_ndarray())
