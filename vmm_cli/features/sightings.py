"""What is seen in a video's pictures: objects, and the poses of the people among them, as `Sets`.

Pictures are decoded once for both. What was found is kept in the feature store: objects always,
poses only where that is allowed, as somebody could be known again by a way to walk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from vmm_cli import bundles
from vmm_cli.bundles import Bundle, EncoderSpec
from vmm_cli.errors import InputError
from vmm_cli.features import store
from vmm_cli.features.computing import computing
from vmm_cli.features.objects import COLUMNS as OBJECT_COLUMNS
from vmm_cli.features.objects import (
    OBJECTS,
    ObjectPictures,
    check_objects,
    object_compute,
    object_spec,
    reads_poses,
    view_of,
)
from vmm_cli.features.poses import COLUMNS as POSE_COLUMNS
from vmm_cli.features.poses import (
    PERSON,
    PICTURE_SIZE,
    POSES,
    check_poses,
    people_in,
    pose_compute,
    pose_spec,
    poses_of,
)
from vmm_cli.features.store import Entry
from vmm_cli.features.values import Sets, join_sets
from vmm_cli.media.frames import DecodeReport, Frame, FrameRequest
from vmm_cli.media.sampling import Sampling
from vmm_cli.media.video import Video

OnFound = Callable[[float, np.ndarray], None]


@dataclass(frozen=True)
class Watching:
    """What is looked for in pictures.

    Attributes:
        objects: the model that finds objects.
        poses: the model that reads the poses of people, or `objects` where that reads them, too;
            None: nobody's are read.

    Raises:
        ModelError: a model is for something else.
    """

    objects: Bundle
    poses: Bundle | None = None

    def __post_init__(self) -> None:
        check_objects(self.objects)
        if self.poses is not None and not self.at_once:
            check_poses(self.poses)

    @property
    def at_once(self) -> bool:
        """Whether one network finds people and reads their poses."""
        return self.poses == self.objects and reads_poses(self.objects)


def carried(*, poses: bool) -> Watching:
    """Return what the models that vmm carries look for. ModelError: they are not there."""
    models = [bundles.read(bundles.find(name)) for name in (OBJECTS, *([POSES] if poses else []))]
    return Watching(*models)


def digest_of(watching: Watching) -> str:
    """Return what stands for all that is found, where what is made of it is kept."""
    return " ".join(spec.digest for spec in _specs(watching).values())


class Taker(Protocol):
    """Takes the pictures that it asks for, by a name of its own."""

    request: FrameRequest

    def take(self, frame: Frame, /) -> None:
        """Take the next picture."""


@dataclass(frozen=True, eq=False)
class Sightings:
    """What was seen at the times of a sampling; no times: the video has no pictures there.

    Attributes:
        objects: see `vmm_cli.features.objects.COLUMNS`; of each picture the best first.
        poses: at the same times, see `vmm_cli.features.poses.COLUMNS`; None: nobody asked.
        end_s: where the pictures end, in seconds; None where that is unknown.
    """

    objects: Sets
    poses: Sets | None
    end_s: float | None


def sightings(
    video: Video,
    sampling: Sampling,
    watching: Watching,
    *,
    use_store: bool = True,
    keep_poses: bool = False,
    report: DecodeReport | None = None,
    beside: Sequence[Taker] = (),
    on_found: OnFound = lambda time_s, objects: None,
) -> Sightings:
    """Return what is seen in a video's pictures, from the store or computed.

    Args:
        video: the file.
        sampling: which pictures are looked at.
        watching: for what.
        use_store: whether what was found before is used, and what is found is kept.
        keep_poses: whether poses may be, too.
        report: is told of the decode, if there is one.
        beside: take pictures of the same decode, which there is in any case then.
        on_found: called with the time and the objects of each picture, in order, as soon as they
            are known; not where there is no decode.

    Raises:
        InputError: the file cannot be read; but one that has sound may lack pictures.
        ModelError: a model is damaged.
    """
    keys = _keys(video, sampling, watching, keep_poses) if use_store else {}
    loaded = {name: store.load(key, Sets) for name, key in keys.items()}
    found = {name: entry for name, entry in loaded.items() if entry is not None}
    if OBJECTS not in found or (watching.at_once and POSES not in found):
        found = {}  # poses go by the numbers of objects, which another device may order otherwise
    lacking = [name for name in _specs(watching) if name not in found]
    if lacking or beside:
        known = found[OBJECTS].features if OBJECTS in found else None
        asked = watching if POSES in lacking else replace(watching, poses=None)
        told = report or DecodeReport()
        computed = _look(video, sampling, asked, known, told, beside, on_found)
        store.keep(video, {keys[name]: computed[name] for name in lacking if name in keys})
        found |= {name: computed[name] for name in lacking}
    elif len(found[OBJECTS].features):
        _ = video.pictures_end_s  # refuses pictures that are too large, though they are known
    poses = found[POSES].features if POSES in found else None
    return Sightings(found[OBJECTS].features, poses, found[OBJECTS].end_s)


def joined(parts: Sequence[Sightings]) -> Sightings:
    """Return what was seen in all parts of a video; ValueError if there are none."""
    poses = [part.poses for part in parts if part.poses is not None]
    return Sightings(
        join_sets([part.objects for part in parts]),
        join_sets(poses) if poses else None,
        max((part.end_s for part in parts if part.end_s is not None), default=None),
    )


def keep_objects(video: Video, sampling: Sampling, watching: Watching, seen: Sightings) -> None:
    """Keep the objects of a video that were found part by part, if it is known where it ends."""
    if seen.end_s is not None:
        store.keep(video, {_object_key(video, sampling, watching): Entry(seen.objects, seen.end_s)})


def are_kept(video: Video, sampling: Sampling, watching: Watching) -> bool:
    """Tell whether the store has the objects of a video."""
    return store.contains(_object_key(video, sampling, watching))


def _object_key(video: Video, sampling: Sampling, watching: Watching) -> store.Key:
    return _keys(video, sampling, replace(watching, poses=None), keep_poses=False)[OBJECTS]


def _specs(watching: Watching) -> dict[str, EncoderSpec]:
    """Return what stands for what is looked for, by names of what is kept."""
    specs = {OBJECTS: object_spec(watching.objects)}
    if watching.poses is not None:
        specs[POSES] = pose_spec(watching.poses, watching.objects)
    return specs


def _keys(
    video: Video, sampling: Sampling, watching: Watching, keep_poses: bool
) -> dict[str, store.Key]:
    """Return what names the entries that the store may hold."""
    return {
        name: store.key(
            video.identity, spec.digest, sampling, encoder=spec.name, settings=spec.preprocess
        )
        for name, spec in _specs(watching).items()
        if name != POSES or keep_poses
    }


# --- looking ------------------------------------------------------------------------------------


def _look(
    video: Video,
    sampling: Sampling,
    watching: Watching,
    known: Sets | None,
    report: DecodeReport,
    beside: Sequence[Taker],
    on_found: OnFound,
) -> dict[str, Entry[Sets]]:
    """Return what is seen, by names of what is kept. `known`: the objects, where they are known."""
    finder = _Known(known) if known is not None else _Finder(sampling, watching)
    alone = watching.poses is not None and not watching.at_once
    reader = _Reader(sampling, watching) if alone else None
    takers = [*beside, *([] if reader is None else [reader])]
    requests = [*finder.requests, *(taker.request for taker in takers)]
    by_name = {taker.request.name: taker for taker in takers}
    told = 0
    try:
        for frame in video.frames(requests, report=report):
            by_name.get(frame.request, finder).take(frame)
            told = _tell(finder, told, on_found)
            if reader is not None:
                reader.read(finder.found)
    except InputError as error:
        if not video.may_lack_pictures(error):
            raise
    finder.finish()
    _tell(finder, told, on_found)
    sets = {OBJECTS: Sets.of(finder.times, finder.found, OBJECT_COLUMNS)}
    if reader is not None:
        reader.read(finder.found)
        sets[POSES] = Sets.of(reader.times, reader.poses, POSE_COLUMNS)
        if not np.array_equal(sets[POSES].times, sets[OBJECTS].times):
            raise InputError("unreadable", "it gives other pictures each time that it is read")
    elif watching.at_once:
        sets[POSES] = Sets.of(finder.times, finder.poses, POSE_COLUMNS)
    return {name: Entry(one, report.end_s) for name, one in sets.items()}


def _tell(finder: _Known | _Finder, told: int, on_found: OnFound) -> int:
    """Tell of the pictures from number `told` on whose objects are known; return their number."""
    for i in range(told, len(finder.found)):
        on_found(finder.times[i], finder.found[i])
    return len(finder.found)


class _Known:
    """Objects that were found before."""

    def __init__(self, objects: Sets) -> None:
        self.requests: list[FrameRequest] = []
        self.times: list[float] = objects.times.tolist()
        self.found = [objects.at(i) for i in range(len(objects))]
        self.poses: list[np.ndarray] = []

    def take(self, frame: Frame) -> None:
        """Never called: it asks for no pictures."""

    def finish(self) -> None:
        """Do nothing more."""


class _Finder:
    """Finds objects in pictures as they come, some pictures at a time."""

    def __init__(self, sampling: Sampling, watching: Watching) -> None:
        bundle = watching.objects
        self._person = bundle.labels.index(PERSON) if watching.at_once else None
        self._compute = computing(object_compute, bundle.folder, bundle.digest)
        self._pictures = ObjectPictures(sampling, self._compute.batch, view_of(bundle))
        self.requests = self._pictures.requests
        self.times: list[float] = []
        self.found: list[np.ndarray] = []  # [n, 6] of each picture, perhaps not of the last ones
        self.poses: list[np.ndarray] = []  # [p, 52] of the same, where they are read at once

    def take(self, frame: Frame) -> None:
        """Take the next picture."""
        self.times.append(frame.time_s)
        self._add(self._pictures.take(frame.request, frame.time_s, frame.image))

    def finish(self) -> None:
        """Find what is in the last pictures."""
        self._add(self._pictures.finish(None))

    def _add(self, prepared: Iterable[np.ndarray]) -> None:
        for images in prepared:
            values = self._compute.run(images)
            for rows in self._pictures.objects(len(self.found), values):
                objects, points = np.split(rows, [len(OBJECT_COLUMNS)], axis=1)
                self.found.append(objects)
                if self._person is not None:
                    people = people_in(objects, self._person)
                    self.poses.append(np.column_stack([people, points[people]]))


class _Reader:
    """Reads the poses of people, each picture once it is known who is in it."""

    def __init__(self, sampling: Sampling, watching: Watching) -> None:
        assert watching.poses is not None
        self._compute = computing(pose_compute, watching.poses.folder, watching.poses.digest)
        self._person = watching.objects.labels.index(PERSON)
        self.request = FrameRequest(POSES, sampling, PICTURE_SIZE)
        self._waiting: deque[np.ndarray] = deque()
        self.times: list[float] = []
        self.poses: list[np.ndarray] = []  # [p, 52] of each picture, perhaps not of the last ones

    def take(self, frame: Frame) -> None:
        """Take the next picture."""
        self.times.append(frame.time_s)
        self._waiting.append(frame.image)

    def read(self, objects: Sequence[np.ndarray]) -> None:
        """Read what can be read: `objects` of all pictures so far, [n, 6] each."""
        while self._waiting and len(self.poses) < len(objects):
            here = objects[len(self.poses)]
            self.poses.append(poses_of(self._compute, self._waiting.popleft(), here, self._person))
