"""What an image network looks at in a video: single pictures, or clips of several. No torch itself.

A clip begins at each wanted time and holds the pictures that are shown then and in equal steps
after it. It stands at the time at which it begins. Where the video, or the part of it that is
looked at, ends within a clip, the last picture is repeated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from vmm_cli.features.preprocess import Preprocess, prepare
from vmm_cli.media.frames import DecodeReport, FrameRequest
from vmm_cli.media.geometry import Size
from vmm_cli.media.sampling import Clip, Sampling, needs_duration, wanted_times
from vmm_cli.media.video import Video

# Larger pictures are brought to this shorter side (4K) by libav first: as floats, which torch needs
# to resize them, they would take 800 MB where 64 megapixels are allowed.
MAX_SHORT_SIDE = 2160
# A picture is shown at or before the time that it answers, but for the rounding of its float.
ROUNDING_S = 1e-6

Prepared = tuple[float, np.ndarray]  # seconds, and uint8 of the shape `Preprocess.shape`


def frame_request(
    name: str, numbers: Preprocess, sampling: Sampling, until: Fraction | None = None
) -> FrameRequest:
    """Return what to ask the decoder for, so that a network can look at the wanted times.

    until: seconds at which clips end; the plan's own end may be that of a part of the video.
    """
    if numbers.resize == "decoder" and numbers.width is not None:
        size = Size(width=numbers.width, height=numbers.short_side)
    elif numbers.resize == "decoder":
        size = Size(short=numbers.short_side)
    else:
        size = Size(short=MAX_SHORT_SIDE, enlarge=False)
    if numbers.frames > 1:
        sampling = replace(sampling, clip=Clip(numbers.frames, numbers.step_s, until))
    return FrameRequest(name, sampling, size)


def iter_prepared(
    video: Video,
    numbers: Preprocess,
    sampling: Sampling,
    *,
    until: Fraction | None,
    report: DecodeReport,
) -> Iterator[Prepared]:
    """Yield what a network looks at in a video, in time order: prepared pictures or clips.

    until: see `frame_request`; report: filled in as the video is decoded.

    Raises:
        InputError: as `iter_frames`.
    """
    request = frame_request("image", numbers, sampling, until)
    viewer = Viewer(numbers, request.sampling, video.pictures_end_s)
    for frame in video.frames([request], report=report):
        yield from viewer.take(frame.time_s, frame.image)
    yield from viewer.finish(report.end_s)


class Viewer:
    """Turns decoded pictures, as they come, into what a network looks at.

    plan: the sampling of `frame_request`; end: where the video ends, in seconds, for plans that
    must know. At most one clip's pictures are held, prepared, and one more.
    """

    def __init__(self, numbers: Preprocess, plan: Sampling, end: Fraction | None = None) -> None:
        self._numbers = numbers
        self._clip = plan.clip
        self._shown: deque[Prepared] = deque()
        begins = wanted_times(replace(plan, clip=None), end if needs_duration(plan) else None)
        self._clips = (_times(begin, plan.clip) for begin in begins if plan.clip is not None)
        self._times = next(self._clips, None) if plan.clip is not None else None

    def take(self, time_s: float, image: np.ndarray) -> Iterator[Prepared]:
        """Take the next picture, uint8 [H, W, 3] RGB, and yield what is complete with it.

        What is yielded stands at its first time and has the shape `Preprocess.shape`.
        """
        image = prepare(self._numbers, image)
        if self._clip is None:
            yield time_s, image
            return
        shown = self._shown
        while shown and self._times is not None and self._times[-1] + ROUNDING_S < time_s:
            yield self._cut()
        shown.append((time_s, image))
        while self._times is not None and len(shown) > 1 and shown[1][0] <= self._times[0]:
            shown.popleft()

    def finish(self, end_s: float | None) -> Iterator[Prepared]:
        """Yield the last clips of a video whose pictures end at `end_s` seconds."""
        if end_s is None:
            return
        while self._shown and self._times is not None and self._times[0] + ROUNDING_S < end_s:
            self._times = [time_s for time_s in self._times if time_s + ROUNDING_S < end_s]
            yield self._cut()

    def _cut(self) -> Prepared:
        """Return the clip that is due, and turn to the next one."""
        assert self._clip is not None and self._times is not None
        times = self._times
        images = _shown_at(times, self._shown)
        images += images[-1:] * (self._clip.frames - len(images))
        self._times = next(self._clips, None)
        return times[0], np.stack(images)


def _times(begin: Fraction, clip: Clip) -> list[float]:
    """Return the times of a clip's pictures that are looked at: one at least."""
    times = [begin + k * clip.step_s for k in range(clip.frames)]
    return [float(t) for t in times if t == begin or clip.end is None or t < clip.end]


def _shown_at(times: list[float], pictures: Iterable[Prepared]) -> list[np.ndarray]:
    """Return the picture shown at each time: the last one not after it, or else the first one."""
    following = iter(pictures)
    image = next(following)[1]
    upcoming = next(following, None)
    images = []
    for time_s in times:
        while upcoming is not None and upcoming[0] <= time_s + ROUNDING_S:
            image, upcoming = upcoming[1], next(following, None)
        images.append(image)
    return images
