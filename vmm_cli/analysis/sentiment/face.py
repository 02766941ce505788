"""What the faces of a video express over time: found, followed, and each read picture by picture.

A face in one picture and a face in the next are one person's where their boxes overlap and are of
nearly one size; a person who was not seen for two seconds, or whose face moved by more than about
its own width between two pictures, is a new one. Nothing tells people apart by their looks: after
a cut, whoever's face is where another's was, counts as the same person.

Of a face that shows in a single picture nothing is said: most of those are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vmm_cli import bundles, progress
from vmm_cli.analysis.sentiment.evidence import Evidence, Missing, nothing, valence_of
from vmm_cli.bundles import Bundle
from vmm_cli.errors import InputError, ModelError
from vmm_cli.features import store
from vmm_cli.features.tracks import Following, Tracker, by_frequency
from vmm_cli.features.values import Features
from vmm_cli.identity import FileIdentity
from vmm_cli.media.frames import DecodeReport, FrameRequest
from vmm_cli.media.sampling import Sampling, fps
from vmm_cli.media.video import Video, past_end

if TYPE_CHECKING:
    from vmm_cli.features.faces import FaceEncoder, Faces

# A face is followed to the next picture if the boxes share so much of their union, ...
LEAST_SHARED = 0.2
MOST_GROWN = 1.6  # ... the longer side is at most so many times the other's, ...
LOST_S = 2.0  # ... and it was seen at most so long ago.
FOLLOWING = Following(LEAST_SHARED, MOST_GROWN, LOST_S)
LEAST_SEEN = 2  # pictures, where there are as many

# The gates of the confidence, from what changes when large, sharp faces are made smaller or blurred
# (`python -m benchmarks.faces`): a third of the probability lies elsewhere at 24 pixels, a
# twentieth at 64; a quarter at a sharpness of 44, half at 16.
NO_SIZE, FULL_SIZE = 20.0, 64.0  # pixels of the face's longer side
FULL_SHARPNESS = 150.0

# What is kept of a face: its box, the longer side in pixels, score, sharpness, probabilities.
_SIDE, _SCORE, _SHARPNESS, _PROBABILITIES = 4, 5, 6, 7


@dataclass(frozen=True, eq=False)
class FacesSeen:
    """The faces of a video.

    Attributes:
        evidence: N observations, one a face and picture, in the order of time, then of `face`:
            each starts and ends at its picture's time.
        face: int32 [N], which person, 0 the one with most screen time.
        boxes: float32 [N, 4], left, top, right, bottom in shares of the picture's width and height.
        missing: why there are none; None where there are some.
    """

    evidence: Evidence
    face: np.ndarray
    boxes: np.ndarray
    missing: Missing | None

    def __repr__(self) -> str:
        people = len(np.unique(self.face))
        return f"FacesSeen({len(self.face)} faces of {people} people)"


@dataclass(frozen=True, eq=False)
class _Looked:
    """What was seen in a video's pictures.

    times: float64 [T] seconds; faces: of each picture float32 [F, 7 + E]; end_s: where the pictures
    end.
    """

    times: np.ndarray
    faces: Sequence[np.ndarray]
    end_s: float


def face_evidence(
    video: Video, bundle: Bundle, *, rate_hz: Fraction, keep_features: bool
) -> FacesSeen:
    """Return what faces express in the wanted part, looked at `rate_hz` times a second.

    The confidence of a face is the detector's score, times a gate for its size, (side - 20) / 44
    pixels of its longer side, times a gate for its sharpness, sharpness / 150 (see
    `vmm_cli.features.faces.sharpness_of`); each gate from 0 to 1, in pictures of at most 360 lines.
    A picture that is shown for longer counts at each step.

    keep_features: what was seen goes to the feature store, or comes from it. Otherwise nothing is
    written.

    Raises:
        InputError: the file cannot be read, or `past_end`: it ends before the wanted part.
        ModelError: the model is damaged, or none for faces.
    """
    sampling = fps(rate_hz, start=video.start, end=video.end)
    key = _key(bundle, video.identity, sampling) if keep_features else None
    looked = None if key is None else _kept(bundle, key)
    if looked is not None:
        _ = video.pictures_end_s  # refuses pictures that are too large, though they are known
    else:
        found = _look(video, bundle, sampling)
        if isinstance(found, Missing):
            return _none(bundle, found)
        looked = found
        if key is not None:
            store.keep(video, {key: _entry(bundle, looked)})
    until_s = looked.end_s if video.end is None else min(float(video.end), looked.end_s)
    return faces_seen(bundle, _at_steps(looked, sampling, until_s))


# --- looking -----------------------------------------------------------------------------------


def _look(video: Video, bundle: Bundle, sampling: Sampling) -> _Looked | Missing:
    from vmm_cli.features.faces import PICTURE_SIZE, faces_of

    encoder = _encoder(bundle.folder, bundle.digest)
    request = FrameRequest("face", sampling, PICTURE_SIZE)
    report = DecodeReport()
    times: list[float] = []
    rows: list[np.ndarray] = []
    try:
        for frame in video.frames([request], report=report):
            times.append(frame.time_s)
            rows.append(_rows(faces_of(encoder, frame.image), frame.image))
    except InputError as error:
        if not video.may_lack_pictures(error):
            raise
    if not times:
        _require_before_end(video, report.end_s)
        return Missing("no_video", "it has no pictures there, or none that can be decoded")
    return _Looked(np.array(times), rows, max(report.end_s or 0.0, times[-1]))


def _rows(faces: Faces, image: np.ndarray) -> np.ndarray:
    """Return what is kept of a picture's faces: float32 [F, 7 + E]."""
    height, width = image.shape[:2]
    sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
    return np.column_stack(
        [
            faces.boxes / np.array([width, height, width, height]),
            sides.max(axis=1),
            faces.scores,
            faces.sharpness,
            faces.probabilities,
        ]
    ).astype(np.float32)


def _require_before_end(video: Video, pictures_end_s: float | None) -> None:
    """Raise InputError where a file, with its sound, ends before the wanted part."""
    end_s = max(video.duration_s, pictures_end_s or 0.0)
    if 0 < end_s <= video.start:
        raise past_end(video.start, end_s)


def _at_steps(looked: _Looked, sampling: Sampling, until_s: float) -> _Looked:
    """Return the pictures with those again that are shown for longer than a step.

    The first can have appeared before the plan's start: it counts from there.
    """
    assert sampling.step_s is not None
    step_s = float(sampling.step_s)
    times = np.maximum(looked.times, float(sampling.start))
    steps, faces = [], []
    for begin, end, rows in zip(times, [*times[1:], until_s], looked.faces, strict=True):
        # The next picture is rarely a whole step away: half a step is none.
        number = max(1, int((end - begin) / step_s + 0.5))
        steps += [begin + i * step_s for i in range(number)]
        faces += [rows] * number
    return _Looked(np.array(steps), faces, looked.end_s)


# --- what it says ------------------------------------------------------------------------------


def faces_seen(bundle: Bundle, looked: _Looked) -> FacesSeen:
    """Return what is said of the faces in a video's pictures."""
    tracker = Tracker(FOLLOWING)
    number = [len(rows) for rows in looked.faces]
    people = [
        tracker.take(time_s, rows[:, :_SIDE], rows[:, _SCORE])
        for time_s, rows in zip(looked.times, looked.faces, strict=True)
    ]
    face = by_frequency(np.concatenate(people), min(LEAST_SEEN, len(looked.times)))
    times = np.repeat(looked.times, number)
    order = np.lexsort([face, times])
    order = order[face[order] >= 0]
    if not len(order):
        told = f"no face is seen in what was looked at: pictures: {len(looked.times)}"
        return _none(bundle, Missing("no_face", told))
    rows = np.concatenate(looked.faces)[order]
    probabilities = _tempered(rows[:, _PROBABILITIES:], bundle.thresholds.get("temperature", 1.0))
    evidence = Evidence(
        "face",
        bundle.labels,
        times[order],
        times[order],
        probabilities,
        valence_of(probabilities, bundle.labels),
        confidence(rows[:, _SCORE], rows[:, _SIDE], rows[:, _SHARPNESS]),
    )
    return FacesSeen(evidence, face[order], rows[:, :_SIDE], None)


def confidence(scores: np.ndarray, sides: np.ndarray, sharpness: np.ndarray) -> np.ndarray:
    """Return how much faces count, from 0 to 1: see `face_evidence`. All [N]; float32."""
    size = ((sides - NO_SIZE) / (FULL_SIZE - NO_SIZE)).clip(0, 1)
    sharp = (sharpness / FULL_SHARPNESS).clip(0, 1)
    counts: np.ndarray = (scores * size * sharp).clip(0, 1).astype(np.float32)
    return counts


def _tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the softmax of the same logits divided by a temperature: float32 [N, E]."""
    raised = np.maximum(probabilities.astype(np.float64), 1e-12) ** (1 / temperature)
    tempered: np.ndarray = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
    return tempered


def _none(bundle: Bundle, missing: Missing) -> FacesSeen:
    empty = np.empty((0, 4), np.float32)
    return FacesSeen(nothing("face", bundle.labels), np.empty(0, np.int32), empty, missing)


# --- what is kept between runs -----------------------------------------------------------------


def _key(bundle: Bundle, identity: FileIdentity, sampling: Sampling) -> store.Key:
    from vmm_cli.features.faces import FACES_VERSION

    digest = f"faces/{FACES_VERSION}/{bundle.weights_digest}"
    return store.key(identity, digest, sampling, encoder=bundle.name)


def _kept(bundle: Bundle, key: store.Key) -> _Looked | None:
    """Return what was seen in an earlier run; None where nothing is kept of it."""
    entry = store.load(key)
    width = _PROBABILITIES + len(bundle.labels)
    if entry is None or entry.end_s is None or entry.features.values.shape[1] % width:
        return None
    faces = entry.features.values.reshape(len(entry.features), -1, width)
    rows = [picture[picture[:, _SCORE] > 0] for picture in faces]
    return _Looked(entry.features.times, rows, entry.end_s)


def _entry(bundle: Bundle, looked: _Looked) -> store.Entry[Features]:
    """Return what is kept, a row for each picture; zeros follow where others have more faces."""
    most = max(1, *(len(rows) for rows in looked.faces)) if looked.faces else 1
    width = _PROBABILITIES + len(bundle.labels)
    values = np.zeros((len(looked.times), most, width), np.float32)
    for picture, rows in zip(values, looked.faces, strict=True):
        picture[: len(rows)] = rows
    features = Features(looked.times, values.reshape(len(values), -1))
    return store.Entry(features, looked.end_s)


@lru_cache(maxsize=1)
@progress.loading()
def _encoder(folder: Path, digest: str) -> FaceEncoder:
    from vmm_cli.features.faces import load_face_encoder

    bundle = bundles.read(folder)
    if bundle.digest != digest:
        raise ModelError(f"model {bundle.name!r} changed while it was in use; start again")
    return load_face_encoder(bundle)
