"""The encoders of pictures: one decode for all of them, computed as pictures come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from vmm_cli.errors import InputError
from vmm_cli.features.computing import computing_for
from vmm_cli.features.encoder import Job, OfFrames
from vmm_cli.features.grid import Window
from vmm_cli.features.plan import StreamPlan
from vmm_cli.features.values import Features, join
from vmm_cli.media.frames import DecodeReport, FrameRequest
from vmm_cli.media.video import Video


def from_pictures(
    video: Video, windows: Sequence[Window], plan: StreamPlan, streams: Sequence[str]
) -> dict[str, list[Features]]:
    """Return the tracks of some streams of a plan, whose encoders all run on pictures.

    A stream has one track over all windows, or, where what it sees depends on the window, two: one
    over the windows with even numbers, which abut, and one over the odd ones. They are empty where
    there are no pictures.

    Raises:
        InputError: as `Video.frames`; but a file that has sound may be without a usable picture.
        ModelError: an encoder's weights are not at hand.
    """
    running = {stream: _Running(plan.job(stream, windows)) for stream in streams}
    takers: dict[str, Callable[[float, np.ndarray], None]] = {}
    requests = []
    for stream, one in running.items():
        for request in one.requests:
            name = f"{stream}/{request.name}"
            takers[name] = one.taker(request.name)
            requests.append(replace(request, name=name))
    report = DecodeReport()
    try:
        for frame in video.frames(requests, report=report):
            takers[frame.request](frame.time_s, frame.image)
    except InputError as error:
        if not video.may_lack_pictures(error):
            raise
    return {stream: one.tracks(report.end_s) for stream, one in running.items()}


def refuse_other_width(job: Job, tracks: Sequence[Features]) -> None:
    """Raise ValueError where an encoder gives another number of values than its row says."""
    for track in tracks:
        given = track.values.shape[1:]
        if job.row.width is not None and given != (job.row.width,):
            raise ValueError(
                f"encoder {job.spec.name!r} gave values of shape {given}, "
                f"and its row says {job.row.width}"
            )


class _Running:
    """An encoder at work: what its loader yields is computed here and at once."""

    def __init__(self, job: Job) -> None:
        runs = job.row.runs
        assert isinstance(runs, OfFrames)
        self._compute = computing_for(job)
        self._loader = runs.load(job, 1 if self._compute is None else self._compute.batch)
        self._values: list[np.ndarray] = []
        self._job = job

    @property
    def requests(self) -> Sequence[FrameRequest]:
        return self._loader.requests

    def taker(self, request: str) -> Callable[[float, np.ndarray], None]:
        """Return what takes the pictures of a request, time and image."""
        return lambda time_s, image: self._add(self._loader.take(request, time_s, image))

    def _add(self, loaded: Iterable[np.ndarray]) -> None:
        for images in loaded:
            assert self._compute is not None, "a loader without a network yields nothing"
            self._values.append(self._compute.run(images))

    def tracks(self, end_s: float | None) -> list[Features]:
        """Return all features; the video ends at `end_s`."""
        self._add(self._loader.finish(end_s))
        row = self._job.row
        width = (row.width or 0) if self._compute is None else self._compute.width
        tracks = self._loader.tracks(self._values, width)
        if not self._job.train_last:
            refuse_other_width(self._job, tracks)
        if row.per_window and len(tracks) > 1:
            return [join(tracks[0::2]), join(tracks[1::2])]
        return tracks
