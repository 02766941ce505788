"""A video's windows as a trained model sees them: every stream's values on the windows' grids.

Pictures are decoded once for all streams that want them. What frozen encoders computed is kept in
the feature store, by the run of windows it was computed for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import ceil, isqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vmm_cli import bundle as bundles
from vmm_cli import store
from vmm_cli.bundle import Bundle, EncoderSpec
from vmm_cli.encoders import catalogue
from vmm_cli.encoders.clips import Viewer, frame_request
from vmm_cli.encoders.features import Features, join
from vmm_cli.encoders.grid import MAX_STEPS, ROUNDING_S, Window, grid_times, on_grid
from vmm_cli.encoders.log_mel import AUDIO_VERSION, audio_patches, audio_statistics
from vmm_cli.encoders.motion import (
    GREY_HZ,
    GREY_SHORT_SIDE,
    cut,
    grey,
    motion_map,
    place_box,
    resized,
)
from vmm_cli.errors import InputError, ModelError
from vmm_cli.identity import FileIdentity, file_identity
from vmm_cli.media.frames import DecodeReport, FrameRequest, iter_frames, video_end_s
from vmm_cli.media.geometry import Size
from vmm_cli.media.probe import probe
from vmm_cli.media.sampling import Sampling, every
from vmm_cli.media.source import DEFAULT_MAX_PIXELS

if TYPE_CHECKING:
    from vmm_cli.encoders.image import ImageEncoder

MOTION = "motion-crop"
MOTION_BACKBONE = "efficientnet-lite0"
MOTION_SIDES = (0.25, 0.35, 0.5)  # of the shorter side; measured: docs/results.md
# The pictures of a window wait until it is known where it moves, so many bytes of them.
WAITING_BYTES = 256 * 2**20
SOUND = {"log-mel-statistics": audio_statistics, "log-mel": audio_patches}
SENTENCES = "sentences"
# From a fine spectrogram, and from what a text means, what was said could be told again.
NEVER_STORED = ("log-mel", SENTENCES)


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What is to be computed of a video.

    Attributes:
        encoders: by stream: image, motion, audio, text.
        rate_hz: steps a second of the grid.
        window_s: length of a window in seconds.
        bundle: folder of a model whose image encoder is its own.
        train_last: how many of the image encoder's last blocks are left out, as they are to learn.

    Raises:
        ValueError: a window has no step, or more than `MAX_STEPS`.
    """

    encoders: Mapping[str, EncoderSpec]
    rate_hz: Fraction
    window_s: Fraction
    bundle: Path | None = None
    train_last: int = 0

    def __post_init__(self) -> None:
        if not (min(self.rate_hz, self.window_s) > 0 and self.window_s * self.rate_hz <= MAX_STEPS):
            window_s, rate_hz = float(self.window_s), float(self.rate_hz)
            raise ValueError(f"windows of {window_s:g} s cannot have {rate_hz:g} steps a second")

    @property
    def steps(self) -> int:
        """How many steps a whole window has."""
        return len(grid_times(Window(Fraction(0), self.window_s), self.rate_hz))

    def times(self, windows: Sequence[Window]) -> Sampling:
        """Return the times wanted of a run of windows."""
        return every(1 / self.rate_hz, start=windows[0].start, end=windows[-1].end)


@dataclass(frozen=True, slots=True, eq=False)
class WindowFeatures:
    """One window's streams on its grid.

    Attributes:
        window: where it lies.
        times: float64 [T], seconds.
        values: by stream, float32 [T, D] or [T, C, H, W].
        masks: by stream, bool [T]: for which steps there is something.
    """

    window: Window
    times: np.ndarray
    values: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What is known of one sample: its windows, and its text ("" where there is none)."""

    windows: tuple[WindowFeatures, ...]
    text: str


def encoder_spec(stream: str, name: str, window_s: Fraction) -> EncoderSpec:
    """Return what a bundle says of an encoder: its name, digest and numbers.

    Raises:
        ModelError: there is none of this name for this stream, or its weights are not at hand.
    """
    if stream == "image":
        return _carried(name)
    if stream == "motion" and name == MOTION:
        backbone = _carried(MOTION_BACKBONE)
        numbers = {"window_s": float(window_s), **backbone.preprocess}
        numbers |= {f"side_{i}": side for i, side in enumerate(MOTION_SIDES)}
        digest = bundles.encoder_digest(f"{name} {backbone.digest}", numbers, {})
        return EncoderSpec(name, digest, numbers)
    if stream == "audio" and name in SOUND:
        return EncoderSpec(name, bundles.encoder_digest(f"{name} {AUDIO_VERSION}", {}, {}), {})
    if stream == "text" and name == SENTENCES:
        from vmm_cli.encoders.sentences import SENTENCES_VERSION, sentence_embeddings

        sentence_embeddings([])  # says now, not for each video, where the packages are missing
        return EncoderSpec(name, bundles.encoder_digest(f"{name} {SENTENCES_VERSION}", {}, {}), {})
    raise ModelError(f"there is no encoder named {name!r} for the stream {stream!r}")


def plan_of(bundle: Bundle) -> StreamPlan:
    """Return what a trained model wants of a video.

    Raises:
        ModelError: it was made with other encoders than those at hand, or says nothing usable.
    """
    try:
        rate_hz, window_s = (Fraction(str(bundle.network[k])) for k in ("rate_hz", "window_s"))
        plan = StreamPlan(bundle.encoders, rate_hz, window_s, bundle.folder)
    except (KeyError, ValueError, ZeroDivisionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"model {bundle.name!r} cannot be used: {reason}") from None
    for stream, spec in plan.encoders.items():
        here = encoder_spec(stream, spec.name, window_s)
        # An image encoder that learnt too is the model's own, and checked when it is loaded.
        if stream != "image" and here.digest != spec.digest:
            raise ModelError(
                f"model {bundle.name!r} was made with another {spec.name!r} than the one at hand; "
                "it needs the version of vmm-cli it came with"
            )
    return plan


def window_features(
    path: Path,
    windows: Sequence[Window],
    plan: StreamPlan,
    *,
    text: str = "",
    use_store: bool = True,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> list[WindowFeatures]:
    """Return what each of a run of windows shows, from the store or computed.

    `windows`: as `grid.windows` gives them, or a stretch of those. Memory grows with their number:
    long videos come in stretches. `text`: for a text stream whose encoder reads the whole. What
    the video does not have is masked out.

    Raises:
        InputError: the file cannot be read.
        ModelError: an encoder's weights are not at hand.
    """
    timed = replace(plan, encoders={s: e for s, e in plan.encoders.items() if s != "text"})
    identity = file_identity(path) if use_store else None
    found = {} if identity is None else _stored(identity, windows, timed)
    missing = {s: spec for s, spec in timed.encoders.items() if s not in found}
    if missing:
        todo = replace(plan, encoders=missing)
        computed = _computed(path, windows, todo, max_pixels)
        if identity is not None and file_identity(path) == identity:
            _keep(identity, windows, todo, computed)
        found |= computed
    shown = [_on_grid(i, window, found, timed) for i, window in enumerate(windows)]
    return _with_sentences(shown, text) if "text" in plan.encoders else shown


def media_end_s(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Fraction:
    """Return where a file's pictures end, or its sound where it has none; seconds on its clock.

    Raises:
        InputError: it cannot be read, or has neither.
    """
    try:
        return video_end_s(path, max_pixels=max_pixels)
    except InputError as error:
        if error.code != "no_video":
            raise
        info = probe(path, max_pixels=max_pixels)
        if not info.audio or not info.duration_s:
            raise
        return Fraction(info.duration_s)


def _on_grid(
    index: int, window: Window, found: Mapping[str, Sequence[Features]], plan: StreamPlan
) -> WindowFeatures:
    times = grid_times(window, plan.rate_hz)
    values, masks = {}, {}
    for stream in plan.encoders:
        features = found[stream][index % len(found[stream])]
        # A picture is shown until the next one comes; the others have values for steps.
        lasts_s = None if stream == "image" else float(1 / plan.rate_hz)
        values[stream], masks[stream] = on_grid(features, times, lasts_s)
    return WindowFeatures(window, times, values, masks)


def _with_sentences(shown: Sequence[WindowFeatures], text: str) -> list[WindowFeatures]:
    """Add the stream `text`: what the text means, the same at every step; absent without words."""
    meaning = _meaning(text)  # [1, D]
    return [
        replace(
            window,
            values={**window.values, "text": np.repeat(meaning, len(window.times), axis=0)},
            masks={**window.masks, "text": np.full(len(window.times), meaning.any())},
        )
        for window in shown
    ]


# --- what is kept ------------------------------------------------------------------------------
# A stream has one track over all windows, or, where what it sees depends on the window, two: one
# over the windows with even numbers, which abut, and one over the odd ones.


def _tracks(stream: str, windows: Sequence[Window]) -> list[Sequence[Window]]:
    if stream == "motion" and len(windows) > 1:
        return [windows[0::2], windows[1::2]]
    return [windows]


def _key(
    identity: FileIdentity, spec: EncoderSpec, track: Sequence[Window], plan: StreamPlan
) -> str:
    return store.key(identity, spec.digest, plan.times(track))


def _is_stored(stream: str, plan: StreamPlan) -> bool:
    # Without its last blocks the encoder gives far more than it does with them.
    unfinished = stream == "image" and plan.train_last > 0
    return plan.encoders[stream].name not in NEVER_STORED and not unfinished


def _stored(
    identity: FileIdentity, windows: Sequence[Window], plan: StreamPlan
) -> dict[str, list[Features]]:
    found = {}
    for stream, spec in plan.encoders.items():
        if not _is_stored(stream, plan):
            continue
        keys = [_key(identity, spec, track, plan) for track in _tracks(stream, windows)]
        entries = [store.load(key) for key in keys]
        if all(entry is not None for entry in entries):
            found[stream] = [entry.features for entry in entries if entry is not None]
    return found


def _keep(
    identity: FileIdentity,
    windows: Sequence[Window],
    plan: StreamPlan,
    computed: Mapping[str, Sequence[Features]],
) -> None:
    for stream, features in computed.items():
        if not _is_stored(stream, plan):
            continue
        for track, part in zip(_tracks(stream, windows), features, strict=True):
            entry = store.Entry(part, float(track[-1].end))
            store.save(_key(identity, plan.encoders[stream], track, plan), entry)


# --- computing ---------------------------------------------------------------------------------


def _computed(
    path: Path, windows: Sequence[Window], plan: StreamPlan, max_pixels: int
) -> dict[str, list[Features]]:
    """Return each stream's tracks."""
    found: dict[str, list[Features]] = {}
    if not {"image", "motion"}.isdisjoint(plan.encoders):
        found |= _from_pictures(path, windows, plan, max_pixels)
    if "audio" in plan.encoders:
        step = 1 / plan.rate_hz
        whole = Window(windows[0].start, windows[-1].end)
        encode = SOUND[plan.encoders["audio"].name]
        times = grid_times(whole, plan.rate_hz)
        found["audio"] = [
            encode(path, times, float(step), start_s=float(whole.start), end_s=float(whole.end))
        ]
    return found


def _from_pictures(
    path: Path, windows: Sequence[Window], plan: StreamPlan, max_pixels: int
) -> dict[str, list[Features]]:
    """Decode once, and encode what the picture streams want; nothing where there are no pictures.

    Raises:
        InputError: as `iter_frames`; but a file that has sound may be without a usable picture.
    """
    requests: list[FrameRequest] = []
    runs: dict[str, _ImageRun | _MotionRun] = {}
    if "image" in plan.encoders:
        runs["image"] = _ImageRun(plan, windows)
    if "motion" in plan.encoders:
        runs["motion"] = _MotionRun(plan, windows)
    for run in runs.values():
        requests += run.requests
    report = DecodeReport()
    try:
        for frame in iter_frames(path, requests, max_pixels=max_pixels, report=report):
            stream = "motion" if frame.request == "grey" else frame.request
            runs[stream].take(frame.request, frame.time_s, frame.image)
    except InputError as error:
        is_heard = error.code == "unreadable" and probe(path, max_pixels=max_pixels).audio
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


def _carried(name: str) -> EncoderSpec:
    """Return what the bundle that carries the weights of an image encoder says of it."""
    bundle = bundles.read(bundles.find(catalogue.entry(name).weights))
    if "image" not in bundle.encoders:
        raise ModelError(f"encoder {name!r} is not one for pictures")
    return bundle.encoders["image"]


@lru_cache(maxsize=2)
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
def _motion_encoder() -> ImageEncoder:
    return _image_encoder(MOTION_BACKBONE, _carried(MOTION_BACKBONE).digest)


@lru_cache(maxsize=4)
def _meaning(text: str) -> np.ndarray:
    """Return what a text means, the same for all stretches of a video: float32 [1, D]."""
    from vmm_cli.encoders.sentences import sentence_embeddings

    return sentence_embeddings([text])
