"""The encoders of pictures: one decode for all of them, computed as pictures come.

Where some go by the objects in pictures, or by people's poses, these are found in the same decode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vmm_cli.errors import InputError
from vmm_cli.features.computing import computing_for
from vmm_cli.features.encoder import Job, OfFrames, OfSightings, Seen, Watched
from vmm_cli.features.grid import Window
from vmm_cli.features.plan import StreamPlan
from vmm_cli.features.sightings import Sightings, carried, sightings
from vmm_cli.features.values import Features, join
from vmm_cli.media.frames import DecodeReport, Frame, FrameRequest
from vmm_cli.media.video import Video


def from_pictures(
    video: Video,
    windows: Sequence[Window],
    plan: StreamPlan,
    streams: Sequence[str],
    *,
    use_store: bool = True,
    keep_poses: bool = False,
) -> dict[str, list[Features]]:
    """Return the tracks of some streams of a plan, whose encoders all run on pictures.

    `use_store`, `keep_poses`: whether objects, and poses, that were found before are used, and what
    is found is kept.

    A stream has one track over all windows, or, where what it sees depends on the window, two: one
    over the windows with even numbers, which abut, and one over the odd ones. They are empty where
    there are no pictures.

    Raises:
        InputError: as `Video.frames`; but a file that has sound may be without a usable picture.
        ModelError: an encoder's weights are not at hand.
    """
    watched = Watched()
    jobs = {stream: replace(plan.job(stream, windows), watched=watched) for stream in streams}
    running = {s: _Running(job) for s, job in jobs.items() if isinstance(job.row.runs, OfFrames)}
    takers = [
        _Taker(replace(request, name=f"{stream}/{request.name}"), one.taker(request.name))
        for stream, one in running.items()
        for request in one.requests
    ]
    report = DecodeReport()
    going_by = [job for job in jobs.values() if watches(job)]
    found = {}
    if going_by:
        poses = any(isinstance(j.row.runs, OfSightings) and j.row.runs.poses for j in going_by)
        seen = sightings(
            video,
            plan.times(windows),
            carried(poses=poses),
            use_store=use_store,
            keep_poses=keep_poses,
            report=report,
            beside=takers,
            on_found=watched.take,
        )
        found = _encoded(video, jobs, seen)
    else:
        _decode(video, takers, report)
    return found | {stream: one.tracks(report.end_s) for stream, one in running.items()}


def watches(job: Job) -> bool:
    """Tell whether an encoder goes by the objects in pictures."""
    runs = job.row.runs
    return isinstance(runs, OfSightings) or (isinstance(runs, OfFrames) and runs.watches)


def _decode(video: Video, takers: Sequence[_Taker], report: DecodeReport) -> None:
    by_name = {taker.request.name: taker for taker in takers}
    try:
        for frame in video.frames([taker.request for taker in takers], report=report):
            by_name[frame.request].take(frame)
    except InputError as error:
        if not video.may_lack_pictures(error):
            raise


def _encoded(video: Video, jobs: Mapping[str, Job], seen: Sightings) -> dict[str, list[Features]]:
    """Return the tracks of the streams that are made of what is seen."""
    pictures = video.info.video
    aspect = 1.0  # of no picture
    if pictures and pictures[0].display_height:
        aspect = pictures[0].display_width / pictures[0].display_height
    found = {}
    for stream, job in jobs.items():
        if isinstance(job.row.runs, OfSightings):
            found[stream] = job.row.runs.encode(job, Seen(seen, aspect))
            refuse_other_width(job, found[stream])
    return found


@dataclass(slots=True, eq=False)
class _Taker:
    """Takes the pictures of one request of an encoder."""

    request: FrameRequest
    add: Callable[[float, np.ndarray], None]

    def take(self, frame: Frame) -> None:
        """Take the next picture."""
        self.add(frame.time_s, frame.image)


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
