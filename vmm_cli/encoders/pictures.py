"""The streams that come from pictures: decoded once for all of them, encoded as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from math import ceil, isqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vmm_cli import bundle as bundles
from vmm_cli import progress
from vmm_cli.encoders import catalogue
from vmm_cli.encoders.clips import Viewer, frame_request
from vmm_cli.encoders.features import Features, join
from vmm_cli.encoders.grid import ROUNDING_S, Window, grid_times, on_grid
from vmm_cli.encoders.motion import (
    GREY_HZ,
    GREY_SHORT_SIDE,
    cut,
    grey,
    motion_map,
    place_box,
    resized,
)
from vmm_cli.encoders.motion_energy import HEIGHT, WIDTH, EnergyTrack, energy_sampling
from vmm_cli.encoders.plan import (
    FACES_CARRIER,
    MOTION_BACKBONE,
    MOTION_ENERGY,
    StreamPlan,
    carried,
)
from vmm_cli.errors import InputError, ModelError
from vmm_cli.media.frames import DecodeReport, FrameRequest
from vmm_cli.media.geometry import Size
from vmm_cli.media.video import Video

if TYPE_CHECKING:
    from vmm_cli.encoders.faces import FaceEncoder
    from vmm_cli.encoders.image import ImageEncoder

OF_PICTURES = {"image", "motion", "face"}  # the streams

# The pictures of a window wait until it is known where it moves, so many bytes of them.
WAITING_BYTES = 256 * 2**20


def from_pictures(
    video: Video, windows: Sequence[Window], plan: StreamPlan
) -> dict[str, list[Features]]:
    """Return the tracks of `OF_PICTURES`, as far as the plan has them.

    A stream has one track over all windows, or, where what it sees depends on the window, two: one
    over the windows with even numbers, which abut, and one over the odd ones. They are empty where
    there are no pictures.

    Raises:
        InputError: as `iter_frames`; but a file that has sound may be without a usable picture.
    """
    runs: dict[str, _ImageRun | _MotionRun | _EnergyRun | _FaceRun] = {}
    if "image" in plan.encoders:
        runs["image"] = _ImageRun(plan, windows)
    if "motion" in plan.encoders:
        is_energy = plan.encoders["motion"].name == MOTION_ENERGY
        runs["motion"] = _EnergyRun(plan, windows) if is_energy else _MotionRun(plan, windows)
    if "face" in plan.encoders:
        runs["face"] = _FaceRun(plan, windows)
    takers = {request.name: run for run in runs.values() for request in run.requests}
    requests = [request for run in runs.values() for request in run.requests]
    report = DecodeReport()
    try:
        for frame in video.frames(requests, report=report):
            takers[frame.request].take(frame.request, frame.time_s, frame.image)
    except InputError as error:
        is_heard = error.code == "unreadable" and video.has_sound
        if error.code != "no_video" and not is_heard:
            raise
    return {stream: run.tracks(report.end_s) for stream, run in runs.items()}


class _ImageRun:
    """Encodes pictures, or clips of them, as they come: a batch at a time."""

    def __init__(self, plan: StreamPlan, windows: Sequence[Window]) -> None:
        spec = plan.encoders["image"]
        self._encoder = _image_encoder(spec.name, spec.digest, plan.bundle, plan.train_last)
        numbers = self._encoder.preprocess
        request = frame_request("image", numbers, plan.times(windows), windows[-1].end)
        self.requests = [request]
        self._viewer = Viewer(numbers, request.sampling)
        self._waiting: list[np.ndarray] = []
        self._times: list[float] = []
        self._values = [np.empty((0, self._encoder.width), np.float32)]

    def take(self, request: str, time_s: float, image: np.ndarray) -> None:
        """Take the next picture, of the size that was asked for."""
        for prepared in self._viewer.take(time_s, image):
            self._add(*prepared)

    def _add(self, time_s: float, image: np.ndarray) -> None:
        self._times.append(time_s)
        self._waiting.append(image)
        if len(self._waiting) == self._encoder.batch:
            self._encode()

    def _encode(self) -> None:
        from vmm_cli.encoders.image import encode

        self._values.append(encode(self._encoder, np.stack(self._waiting)))
        self._waiting = []

    def tracks(self, end_s: float | None) -> list[Features]:
        """Return the features of all pictures, as one track; the video ends at `end_s`."""
        for prepared in self._viewer.finish(end_s):
            self._add(*prepared)
        if self._waiting:
            self._encode()
        return [Features(np.array(self._times, np.float64), np.concatenate(self._values))]


class _MotionRun:
    """Holds a window's pictures until it is known where the window moves, then encodes the crop."""

    def __init__(self, plan: StreamPlan, windows: Sequence[Window]) -> None:
        self._encoder = _motion_encoder()
        numbers = plan.encoders["motion"].preprocess
        self._sides = [side for name, side in numbers.items() if name.startswith("side_")]
        self._windows = windows
        self._rate_hz = plan.rate_hz
        self._done: list[Features] = []  # by window
        self._pictures: list[tuple[float, np.ndarray]] = []
        self._grey: list[tuple[float, np.ndarray]] = []
        wanted = plan.times(windows)
        size = Size(short=self._short_side(plan.steps), enlarge=False)
        small = replace(wanted, step_s=1 / Fraction(GREY_HZ))
        self.requests = [
            FrameRequest("motion", wanted, size),
            FrameRequest("grey", small, Size(short=GREY_SHORT_SIDE)),
        ]

    def _short_side(self, steps: int) -> int:
        """Return at which shorter side pictures wait: so that the smallest crop is not enlarged.

        Less where the many pictures of a long window would not fit; of 16:9.
        """
        crop = self._encoder.preprocess.crop
        fitting = isqrt(WAITING_BYTES * 9 // (steps * 3 * 16))
        return max(crop, min(fitting, ceil(crop / min(self._sides))))

    def take(self, request: str, time_s: float, image: np.ndarray) -> None:
        """Take the next picture of either kind; times ascend."""
        while (
            len(self._done) < len(self._windows) - 1
            and time_s >= self._windows[len(self._done)].end
        ):
            self._finish_window()
        if request == "grey":
            self._grey.append((time_s, grey(image)))
        else:
            self._pictures.append((time_s, image))

    def _finish_window(self) -> None:
        window = self._windows[len(self._done)]
        self._done.append(self._encode(window))
        if len(self._done) < len(self._windows):
            following = float(self._windows[len(self._done)].start)
            self._pictures = _from_time(self._pictures, following)
            self._grey = _from_time(self._grey, following)

    def _encode(self, window: Window) -> Features:
        """Return the features of a window's crops: [T, D x crops], at its steps."""
        from vmm_cli.encoders.image import encode

        end_s = float(window.end - ROUNDING_S)
        shown = [(time_s, image) for time_s, image in self._pictures if time_s < end_s]
        if not shown:
            width = self._encoder.width * len(self._sides)
            return Features(np.empty(0), np.empty((0, width), np.float32))
        change = _motion([image for time_s, image in self._grey if time_s < end_s])
        crop = self._encoder.preprocess.crop
        columns = []
        for side in self._sides:
            box = place_box(change, side)
            pictures = resized([cut(image, box) for _, image in shown], crop)
            columns.append(encode(self._encoder, pictures))
        features = Features(np.array([t for t, _ in shown]), np.concatenate(columns, axis=1))
        times = grid_times(window, self._rate_hz)
        values, mask = on_grid(features, times)
        return Features(times[mask], values[mask])

    def tracks(self, end_s: float | None) -> list[Features]:
        """Return the features of the windows with even and with odd numbers, each as one track."""
        while len(self._done) < len(self._windows):
            self._finish_window()
        if len(self._done) == 1:
            return self._done
        return [join(self._done[0::2]), join(self._done[1::2])]


class _EnergyRun:
    """Measures how much moves where, in all windows together."""

    def __init__(self, plan: StreamPlan, windows: Sequence[Window]) -> None:
        whole = Window(windows[0].start, windows[-1].end)
        self._track = EnergyTrack(whole, plan.rate_hz)
        wanted = energy_sampling(whole.start, whole.end, plan.rate_hz)
        self.requests = [FrameRequest("motion", wanted, Size(WIDTH, HEIGHT))]

    def take(self, request: str, time_s: float, image: np.ndarray) -> None:
        """Take the next picture; times ascend."""
        self._track.take(time_s, image)

    def tracks(self, end_s: float | None) -> list[Features]:
        """Return the features of all windows, as one track."""
        return [self._track.features()]


class _FaceRun:
    """Reads the faces of pictures as they come."""

    def __init__(self, plan: StreamPlan, windows: Sequence[Window]) -> None:
        from vmm_cli.encoders.faces import FEATURE_WIDTH, PICTURE_SIZE

        self._encoder = _face_encoder()
        self._width = FEATURE_WIDTH
        self._steps = grid_times(Window(windows[0].start, windows[-1].end), plan.rate_hz)
        self._times: list[float] = []
        self._values: list[np.ndarray | None] = []  # by picture; None where it has no face
        self.requests = [FrameRequest("face", plan.times(windows), PICTURE_SIZE)]

    def take(self, request: str, time_s: float, image: np.ndarray) -> None:
        """Take the next picture; times ascend."""
        from vmm_cli.encoders.faces import face_features

        values, there = face_features(self._encoder, [image])
        self._times.append(time_s)
        self._values.append(values[0] if there[0] else None)

    def tracks(self, end_s: float | None) -> list[Features]:
        """Return the features of the steps at which a picture with a face is shown, as one track.

        By step: else a face would seem to last through pictures that have none.
        """
        number = np.arange(len(self._times), dtype=np.float32)[:, None]
        shown, there = on_grid(Features(np.array(self._times, np.float64), number), self._steps)
        found = [
            (step, value)
            for step, place, is_there in zip(self._steps, shown[:, 0], there, strict=True)
            if is_there and (value := self._values[int(place)]) is not None
        ]
        if not found:
            return [Features(np.empty(0), np.empty((0, self._width), np.float32))]
        times, values = zip(*found, strict=True)
        return [Features(np.array(times), np.stack(values))]


def _motion(small: Sequence[np.ndarray]) -> np.ndarray:
    """Return `motion_map` of one or more grey pictures; of those of the first one's size."""
    return motion_map(np.stack([image for image in small if image.shape == small[0].shape]))


def _from_time(
    pictures: Sequence[tuple[float, np.ndarray]], time_s: float
) -> list[tuple[float, np.ndarray]]:
    """Leave out what is no longer shown at a time."""
    first = 0
    for i, (begins_s, _) in enumerate(pictures):
        if begins_s <= time_s + float(ROUNDING_S):
            first = i
    return list(pictures[first:])


# --- what a worker keeps between inputs --------------------------------------------------------


@lru_cache(maxsize=2)
@progress.loading()
def _image_encoder(
    name: str, digest: str, own: Path | None = None, train_last: int = 0
) -> ImageEncoder:
    """Return the encoder that a digest is of: the one that everybody has, or that of a model.

    own: folder of the model; train_last: without so many of the encoder's last blocks.

    Raises:
        ModelError: neither is it.
    """
    import torch

    bundle = bundles.read(bundles.find(catalogue.entry(name).weights))
    if bundle.encoders["image"].digest != digest and own is not None:
        bundle = bundles.read(own)
    encoder = catalogue.load_image_encoder(bundle, torch.device("cpu"))
    if bundle.encoders["image"].digest != digest:
        raise ModelError(
            f"this needs another {name!r} than the one at hand: that of another version of vmm-cli"
        )
    if train_last:
        from vmm_cli.encoders.trained_image import without_last

        encoder = without_last(encoder, train_last)
    return encoder


@lru_cache(maxsize=1)
@progress.loading()
def _motion_encoder() -> ImageEncoder:
    return _image_encoder(MOTION_BACKBONE, carried(MOTION_BACKBONE).digest)


@lru_cache(maxsize=1)
@progress.loading()
def _face_encoder() -> FaceEncoder:
    from vmm_cli.encoders.faces import load_face_encoder

    return load_face_encoder(bundles.read(bundles.find(FACES_CARRIER)))
