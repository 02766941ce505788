"""What a video sounds like: scores of classes of sounds, whole or as a timeline.

A label's score is the mean of its score over the patches of sound, one each 0.48 s; several sounds
may be heard at once, so that scores do not add up to 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vmm_cli import bundles
from vmm_cli.analysis.labels import (
    SUPPORT_TIMES,
    Classification,
    LabelledWindow,
    LabelScore,
)
from vmm_cli.bundles import Bundle
from vmm_cli.errors import InputError, ModelError
from vmm_cli.features import store
from vmm_cli.features.sounds import STREAM, SoundHead, sound_features, sound_head, sound_scores
from vmm_cli.features.values import Features
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.media.sampling import every
from vmm_cli.media.video import Video, past_end

if TYPE_CHECKING:
    from vmm_cli.batch.inputs import Input


@dataclass(frozen=True)
class SoundsRequest:
    """What is wanted of every input.

    Attributes:
        bundle: folder of the model; bundle_digest: `Bundle.digest` of what was resolved.
        start, end: the part of the video to hear, seconds; end None: to its end.
        windows_s: length of a timeline's windows in seconds; None: the whole video at once.
        use_store: whether the feature store is read and written.
    """

    bundle: Path
    bundle_digest: str
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    top_k: int = 5
    windows_s: float | None = None
    use_store: bool = True
    max_pixels: int = DEFAULT_MAX_PIXELS
    tells_sources: ClassVar[bool] = False

    def video(self, input: Input) -> Video:
        """Return an input's wanted part."""
        return Video(input.path, self.max_pixels, self.start, self.end)


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What `run` found out: the features of each patch, and where the video ends, in seconds."""

    features: Features
    end_s: float


# --- the work: run, finish ----------------------------------------------------------------------


def run(request: SoundsRequest, input: Input, part: None) -> Heard:
    """Return the features of the sound of an input: from the store, or decoded and computed.

    Raises:
        InputError: the input cannot be read.
        ModelError: the model is damaged or was exchanged meanwhile.
    """
    bundle, _ = _model(request.bundle, request.bundle_digest)
    video = request.video(input)
    end_s = float(video.end_s)
    spec = bundle.encoders[STREAM]
    # Patches are not what the encoder gives for the steps of a grid, and have a name of their own.
    key = store.key(
        video.identity,
        f"patches of {spec.digest}",
        every(Fraction(str(bundle.sampling.every_s)), start=request.start, end=request.end),
        encoder=spec.name,
        settings=spec.preprocess,
    )

    def compute(lacking: Sequence[str]) -> dict[str, store.Entry[Features]]:
        until = None if request.end is None else float(request.end)
        found = sound_features(video, bundle, start_s=float(request.start), end_s=until)
        return {STREAM: store.Entry(found, end_s)}

    entries = store.cached(video, {STREAM: key if request.use_store else None}, compute)
    return Heard(entries[STREAM].features, end_s)


def finish(request: SoundsRequest, input: Input, parts: Sequence[Heard]) -> Classification:
    """Return what one input sounds like.

    Raises:
        InputError: `past_end` or `no_audio`: there is no sound in the wanted part.
    """
    bundle, head = _model(request.bundle, request.bundle_digest)
    (heard,) = parts
    features, end_s = heard.features, heard.end_s
    if not len(features):
        if request.start and float(request.start) >= end_s > 0:
            raise past_end(request.start, end_s)
        raise InputError("no_audio", "there is no sound in it")
    scores = sound_scores(head, features.values)
    return Classification(
        duration_s=end_s,
        model=bundle.name,
        version=bundle.version,
        labels=_labels(request, head, features.times, scores),
        windows=None
        if request.windows_s is None
        else tuple(_windows(request, head, heard, scores, request.windows_s)),
        streams=(STREAM,),
    )


def _labels(
    request: SoundsRequest, head: SoundHead, times: np.ndarray, scores: np.ndarray
) -> tuple[LabelScore, ...]:
    """Return the best labels of some patches, and when each is heard best; none of no patches."""
    if not len(times):
        return ()
    mean = scores.mean(axis=0, dtype=np.float64)
    labels = []
    for column in np.argsort(-mean, kind="stable")[: request.top_k]:
        strongest = np.argsort(-scores[:, column], kind="stable")[:SUPPORT_TIMES]
        support = tuple(float(times[i]) for i in sorted(strongest))
        labels.append(LabelScore(head.labels[column], float(mean[column]), support))
    return tuple(labels)


def _windows(
    request: SoundsRequest, head: SoundHead, heard: Heard, scores: np.ndarray, length_s: float
) -> Iterator[LabelledWindow]:
    """Yield the timeline; a patch belongs to the window that its middle lies in."""
    times = heard.features.times
    start_s = float(request.start)
    until_s = heard.end_s if request.end is None else min(heard.end_s, float(request.end))
    for i in range(max(1, ceil((until_s - start_s) / length_s - 1e-6))):
        begin = start_s + i * length_s
        stop = min(begin + length_s, until_s)
        first, last = np.searchsorted(times, [begin, stop])
        labels = _labels(request, head, times[first:last], scores[first:last])
        yield LabelledWindow(begin, stop, labels)


@lru_cache(maxsize=1)
def _model(folder: Path, digest: str) -> tuple[Bundle, SoundHead]:
    bundle = bundles.read(folder)
    if bundle.digest != digest:
        raise ModelError(f"model {bundle.name!r} changed while it was in use; start again")
    return bundle, sound_head(bundle)
