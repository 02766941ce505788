"""What a video shows and sounds like, in one list: objects, ImageNet's labels, and sounds.

Pictures are decoded once for both networks. What each finds is kept as its own command keeps it, so
that `detect-objects`, `classify --model imagenet` and `--model sounds` find it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vmm_cli import bundles
from vmm_cli.analysis import tags
from vmm_cli.analysis.labels import (
    HEAD_CHUNK,
    Classification,
    LabelledWindow,
    LabelScore,
    LinearHead,
    windows_of,
)
from vmm_cli.bundles import Bundle
from vmm_cli.errors import InputError, ModelError
from vmm_cli.features import store
from vmm_cli.features.clips import frame_request
from vmm_cli.features.encoder import Compute
from vmm_cli.features.preprocess import Preprocess, prepare
from vmm_cli.features.sightings import Sightings, Watching, joined, keep_objects, sightings
from vmm_cli.features.sounds import sound_head, sound_scores
from vmm_cli.features.values import Features, Sets, join
from vmm_cli.identity import FileIdentity
from vmm_cli.inference import classify, classify_sounds
from vmm_cli.inference.classify_request import ClassifyRequest
from vmm_cli.inference.classify_sounds import SoundsRequest
from vmm_cli.inference.network import softmax
from vmm_cli.media import damage
from vmm_cli.media.frames import Frame
from vmm_cli.media.sampling import Sampling
from vmm_cli.media.video import Video, past_end

if TYPE_CHECKING:
    from vmm_cli.batch.inputs import Input

OBJECTS, PICTURES, SOUNDS = "objects", "imagenet", "sounds"  # the bundles that it joins
JOINED = OBJECTS, PICTURES, SOUNDS
SEEN, HEARD = "seen", "heard"  # where a label comes from
IMAGE, AUDIO = "image", "audio"  # the streams


@dataclass(frozen=True)
class TagsRequest:
    """What is wanted of every input.

    Attributes:
        bundle: folder of the model; bundle_digest: `Bundle.digest` of what was resolved.
        watching: what finds objects; pictures, sounds: what is wanted of the other two, with the
            same part of the video.
        top_k: how many labels are told at most.
        windows_s: length of a timeline's windows in seconds; None: the whole video at once.
        tells_sources: whether labels say where they come from.
    """

    bundle: Path
    bundle_digest: str
    watching: Watching
    pictures: ClassifyRequest
    sounds: SoundsRequest
    top_k: int
    windows_s: float | None = None
    tells_sources: ClassVar[bool] = True

    @property
    def sampling(self) -> Sampling:
        """Which pictures."""
        return self.pictures.sampling


@dataclass(frozen=True)
class Part:
    """A share of an input: pictures at some times; None: its sound."""

    sampling: Sampling | None


@dataclass(frozen=True, eq=False)
class Seen:
    """What was seen: objects and features of pictures, at the same times; there may be none.

    Attributes:
        end_s: where the pictures end, in seconds; None where that is unknown.
        identity: of the file before it was read; None where what was seen is not to be kept, or is.
    """

    objects: Sets
    pictures: Features
    end_s: float | None
    identity: FileIdentity | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """What `run` found out.

    Attributes:
        seen: None of a part that is the sound.
        sounds: features of patches of sound; None of other parts, and where there is none.
        end_s: where the video ends, in seconds.
    """

    seen: Seen | None
    sounds: Features | None
    end_s: float


# --- the work: plan, run, finish ----------------------------------------------------------------


def plan(request: TagsRequest, input: Input, workers: int) -> list[Part | None]:
    """Return the parts to run for one input: [None] for the whole, unless splitting it pays."""
    try:
        parts = classify.plan(request.pictures, input, workers)
    except InputError:  # there may be sound
        return [None]
    split = [Part(part.sampling) for part in parts if part is not None]
    return [Part(None), *split] if split else [None]


def run(request: TagsRequest, input: Input, part: Part | None) -> Found:
    """Return what the networks find in an input or a part of it: from the store, or computed.

    Raises:
        InputError: the input cannot be read, or ends before the wanted part.
        ModelError: a model is damaged or was exchanged meanwhile.
    """
    wanted = request.pictures
    video = Video(input.path, wanted.max_pixels, wanted.sampling.start, wanted.sampling.end)
    if 0 < video.duration_s <= wanted.sampling.start:
        raise past_end(wanted.sampling.start, video.duration_s)
    seen = sounds = None
    if part is None:
        seen = _seen(request, video)
    elif part.sampling is not None:
        seen = _seen_in(request, video, part.sampling)
    if (part is None or part.sampling is None) and video.has_sound:
        sounds = classify_sounds.run(request.sounds, input, None).features
    return Found(seen, sounds, video.duration_s)


def _seen(request: TagsRequest, video: Video) -> Seen:
    """Return what is seen in all of a video: from the store, or computed and kept."""
    wanted = request.pictures
    kept = classify.stored(wanted, video.identity) if wanted.use_store else None
    encoding = None if kept is not None else _Encoding(wanted, wanted.sampling)
    seen = sightings(
        video,
        wanted.sampling,
        request.watching,
        use_store=wanted.use_store,
        beside=() if encoding is None else (encoding,),
    )
    if kept is not None:
        features = kept.features
    else:
        assert encoding is not None
        features = encoding.features()
        if wanted.use_store and seen.end_s is not None:
            _keep_features(wanted, video, features, seen.end_s)
    _check_times(features, seen.objects)
    return Seen(seen.objects, features, seen.end_s)


def _seen_in(request: TagsRequest, video: Video, sampling: Sampling) -> Seen:
    """Return what is seen at some times, of which nothing is kept by itself."""
    identity = video.identity if request.pictures.use_store else None
    encoding = _Encoding(request.pictures, sampling)
    seen = sightings(video, sampling, request.watching, use_store=False, beside=(encoding,))
    identity = None if damage.is_noted(video.path) else identity
    return Seen(seen.objects, encoding.features(), seen.end_s, identity)


def _keep_features(
    request: ClassifyRequest, video: Video, features: Features, end_s: float
) -> None:
    """Keep them as `classify` does, which finds the entry again."""
    entry = store.Entry(features, max(float(video.pictures_end_s), end_s))
    store.keep(video, {classify.key_of(request, video.identity): entry})


def _check_times(features: Features, objects: Sets) -> None:
    if not np.array_equal(features.times, objects.times):
        raise InputError("unreadable", "it gives other pictures each time that it is read")


class _Encoding:
    """Computes the features of pictures as they come, beside who asked for them."""

    def __init__(self, request: ClassifyRequest, sampling: Sampling) -> None:
        bundle = bundles.read(request.bundle)
        self._numbers = Preprocess.from_dict(bundle.encoders[IMAGE].preprocess)
        self._compute: Compute = classify.network_of(request)
        self.request = frame_request(PICTURES, self._numbers, sampling)
        self._waiting: list[np.ndarray] = []
        self._times: list[float] = []
        self._values = [np.empty((0, self._compute.width), np.float32)]

    def take(self, frame: Frame) -> None:
        """Take the next picture."""
        self._times.append(frame.time_s)
        self._waiting.append(prepare(self._numbers, frame.image))
        if len(self._waiting) == self._compute.batch:
            self._run()

    def features(self) -> Features:
        """Return the features of all pictures."""
        if self._waiting:
            self._run()
        return Features(np.array(self._times, np.float64), np.concatenate(self._values))

    def _run(self) -> None:
        self._values.append(self._compute.run(np.stack(self._waiting)))
        self._waiting = []


def finish(request: TagsRequest, input: Input, parts: Sequence[Found]) -> Classification:
    """Return what one input shows and sounds like.

    Raises:
        InputError: `no_stream`: there are neither pictures nor sound in the wanted part.
    """
    seen = _joined(request, input, [part.seen for part in parts if part.seen is not None])
    sounds = next((part.sounds for part in parts if part.sounds is not None), None)
    end_s = parts[0].end_s
    bundle, judge = _judge(request)
    has_sound = sounds is not None and len(sounds) > 0
    if not len(seen.pictures) and not has_sound:
        raise InputError("no_stream", "it has neither pictures nor sound in the wanted part")
    there = ((IMAGE, len(seen.pictures) > 0), (AUDIO, has_sound))
    scores = judge.scores(seen, sounds)
    windows = None
    if request.windows_s is not None:
        shown_s = end_s if seen.end_s is None else seen.end_s
        windows = tuple(_windows(request, scores, end_s, shown_s))
    return Classification(
        duration_s=end_s,
        model=bundle.name,
        version=bundle.version,
        frames=len(seen.pictures),
        labels=_labels(request, scores, slice(None), slice(None)),
        windows=windows,
        streams=tuple(stream for stream, is_there in there if is_there),
    )


def _joined(request: TagsRequest, input: Input, parts: Sequence[Seen]) -> Seen:
    """Return what was seen in all parts, and keep it."""
    if len(parts) == 1:
        return parts[0]
    sampling = request.sampling
    video = Video(input.path, request.pictures.max_pixels, sampling.start, sampling.end)
    seen = joined([Sightings(part.objects, None, part.end_s) for part in parts])
    features = join([part.pictures for part in parts])
    _check_times(features, seen.objects)
    if seen.end_s is not None and all(part.identity == video.identity for part in parts):
        _keep_features(request.pictures, video, features, seen.end_s)
        keep_objects(video, sampling, request.watching, seen)
    return Seen(seen.objects, features, seen.end_s)


# --- the labels ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Scores:
    """What the networks say of a video, by rows: T pictures, P patches of sound.

    objects: [T, 80]; pictures: [T, 1000]; sums: [T, K], see `tags.summed`; sounds: [P, 521], 0 for
    those that are not told.
    """

    table: tags.Table
    sound_labels: Sequence[str]
    times: np.ndarray
    objects: np.ndarray
    pictures: np.ndarray
    sums: np.ndarray
    sound_times: np.ndarray
    sounds: np.ndarray


@dataclass(frozen=True, eq=False)
class _Judge:
    """The tables of a model, and the heads of the networks that it joins."""

    table: tags.Table
    head: LinearHead
    hearing: Bundle
    is_told: np.ndarray

    def scores(self, seen: Seen, sounds: Features | None) -> _Scores:
        """Return what the networks say of one input."""
        table = self.table
        found = [seen.objects.at(number) for number in range(len(seen.objects))]
        pictures = self._probabilities(seen.pictures.values)
        sums = tags.summed(pictures, table.classes)
        best = tags.kinds_seen(found, sums, table.is_animal)[:, : table.kinds]
        head = sound_head(self.hearing)
        times, heard = np.empty(0), np.empty((0, len(head.labels)), np.float32)
        if sounds is not None:
            times, heard = sounds.times, sound_scores(head, sounds.values)
        return _Scores(
            table,
            head.labels,
            seen.pictures.times,
            best,
            pictures,
            sums,
            times,
            heard * self.is_told,
        )

    def _probabilities(self, values: np.ndarray) -> np.ndarray:
        """Return ImageNet's probabilities of features: [T, D] -> float32 [T, 1000]."""
        found = np.empty((len(values), len(self.head.bias)), np.float32)
        for first in range(0, len(values), HEAD_CHUNK):
            here = slice(first, first + HEAD_CHUNK)
            found[here] = softmax(values[here] @ self.head.weight.T + self.head.bias)
        return found


def _labels(
    request: TagsRequest, scores: _Scores, pictures: slice, sounds: slice
) -> tuple[LabelScore, ...]:
    """Return the labels of some pictures and patches of sound, the surest first."""
    times, heard_at = scores.times[pictures], scores.sound_times[sounds]
    rows = scores.objects[pictures], scores.pictures[pictures], scores.sums[pictures]
    told = [
        LabelScore(tag.label, tag.score, tuple(float(times[row]) for row in tag.rows), SEEN)
        for tag in tags.seen(scores.table, *rows)
    ]
    told += [
        LabelScore(tag.label, tag.score, tuple(float(heard_at[row]) for row in tag.rows), HEARD)
        for tag in tags.surest(scores.sound_labels, scores.sounds[sounds], tags.HEARD_SHARE)
    ]
    return tuple(sorted(told, key=lambda one: -one.score)[: request.top_k])


def _windows(
    request: TagsRequest, scores: _Scores, end_s: float, shown_s: float
) -> Iterator[LabelledWindow]:
    """Yield the timeline; a patch of sound belongs to the window that its middle lies in.

    shown_s: where the pictures end, in seconds.
    """
    assert request.windows_s is not None
    for begin, stop, first, last in windows_of(
        request.sampling, request.windows_s, scores.times, end_s
    ):
        low, high = np.searchsorted(scores.sound_times, [begin, stop])
        pictures = slice(first, last) if begin < shown_s else slice(0, 0)
        yield LabelledWindow(begin, stop, _labels(request, scores, pictures, slice(low, high)))


# --- the model ----------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _tables(
    folder: Path, digest: str, kinds: int, seer: Path, hearer: Path
) -> tuple[Bundle, _Judge]:
    bundle = bundles.read(folder)
    if bundle.digest != digest:
        raise ModelError(f"model {bundle.name!r} changed while it was in use; start again")
    stored = bundles.load_tensors(bundle)
    seeing, hearing = bundles.read(seer), bundles.read(hearer)
    head = bundles.load_tensors(seeing, "head.")
    general = int(bundle.network["general"])
    shapes = {
        "classes": (general, len(seeing.labels)),
        "is_animal": (general,),
        "is_fine": (len(seeing.labels),),
        "is_told": (len(hearing.labels),),
        "both": (3,),
        "pictures": (2,),
    }
    if {name: one.shape for name, one in stored.items()} != shapes or general < kinds:
        raise ModelError(f"model {bundle.name!r} was made for other networks than those at hand")
    both, alone = (stored[name].astype(float).tolist() for name in ("both", "pictures"))
    table = tags.Table(
        bundle.labels[:general],
        kinds,
        stored["classes"].astype(bool),
        (both[0], both[1], both[2]),
        (alone[0], alone[1]),
        stored["is_animal"].astype(bool),
        seeing.labels,
        stored["is_fine"].astype(bool),
    )
    return bundle, _Judge(
        table,
        LinearHead(head["weight"].astype(np.float32), head["bias"].astype(np.float32)),
        hearing,
        stored["is_told"].astype(bool),
    )


def _judge(request: TagsRequest) -> tuple[Bundle, _Judge]:
    return _tables(
        request.bundle,
        request.bundle_digest,
        len(request.watching.objects.labels),
        request.pictures.bundle,
        request.sounds.bundle,
    )
