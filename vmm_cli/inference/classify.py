"""What a video shows: scores of a model's labels, whole or as a timeline.

A label's score is the mean of its probability over the sampled pictures, or over clips where the
model looks at clips: see vmm_cli.features.clips. The head runs in numpy on features that the store
may hold, so a second run needs neither decoding nor torch.
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
from vmm_cli.analysis.labels import (
    Classification,
    LabelledWindow,
    LinearHead,
    Scores,
    windows_of,
)
from vmm_cli.bundles import Bundle
from vmm_cli.errors import InputError, ModelError
from vmm_cli.features import store
from vmm_cli.features.catalogue import entry
from vmm_cli.features.clips import iter_prepared
from vmm_cli.features.computing import computing, features_of
from vmm_cli.features.encoder import Compute
from vmm_cli.features.image_stream import compute_of
from vmm_cli.features.preprocess import Preprocess
from vmm_cli.features.values import Features, join
from vmm_cli.identity import FileIdentity, file_identity
from vmm_cli.inference.classify_request import ClassifyRequest, numbers_of
from vmm_cli.media import damage
from vmm_cli.media.frames import DecodeReport
from vmm_cli.media.sampling import Sampling, split, wanted_times
from vmm_cli.media.video import Video, past_end

if TYPE_CHECKING:
    from vmm_cli.batch.inputs import Input

# A worker that starts takes half a second, two where PyTorch encodes: below so many pictures a
# part, which take about a second, splitting a video gains nothing. A clip takes as long as they do.
MIN_FRAMES_PER_PART = 24
MIN_CLIPS_PER_PART = 2


@dataclass(frozen=True)
class Part:
    """A range of the wanted times, for splitting one video over workers."""

    sampling: Sampling


@dataclass(frozen=True)
class PartResult:
    """What `run` found out about a part.

    Attributes:
        end_s: where the video ends, in seconds on its clock.
        identity: of the file before it was read; None where the store is not to keep the features.
        stored: whether the features came from the store.
    """

    features: Features
    end_s: float
    identity: FileIdentity | None
    stored: bool


# --- the work: plan, run, finish ---------------------------------------------------------------


def plan(request: ClassifyRequest, input: Input, workers: int) -> list[Part | None]:
    """Return the parts to run for one input: [None] for the whole, unless splitting it pays.

    Raises:
        InputError: the input cannot be read.
    """
    if workers < 2 or _is_stored(request, input):
        return [None]
    end, times = _extent(request, input)
    looks_at_clips = _preprocess(request).frames > 1
    least = MIN_CLIPS_PER_PART if looks_at_clips else MIN_FRAMES_PER_PART
    parts = min(workers, len(times) // least)
    if parts < 2:
        return [None]
    return [*_parts(request.sampling, end, times, parts)]


def run(request: ClassifyRequest, input: Input, part: Part | None) -> PartResult:
    """Return the features of an input, or of a part of it: from the store, or decoded and encoded.

    Raises:
        InputError: the input cannot be read, holds no video, or nothing lies at the wanted times.
        ModelError: the model is damaged or was exchanged meanwhile.
    """
    video = Video(input.path, request.max_pixels)
    identity = video.identity if request.use_store else None
    if part is None and identity is not None:
        kept = stored(request, identity)
        if kept is not None and kept.end_s is not None:
            _ = video.pictures_end_s  # refuses pictures that are too large, though they are known
            return PartResult(kept.features, kept.end_s, identity, stored=True)
    sampling = request.sampling if part is None else part.sampling
    features, report = _compute(request, video, sampling)
    end_s = max(float(video.pictures_end_s), report.end_s or 0.0)
    return PartResult(features, end_s, _if_whole(identity, video), stored=False)


def _if_whole(identity: FileIdentity | None, video: Video) -> FileIdentity | None:
    """Return None where pictures could not be decoded: with kept features nobody would be told."""
    return None if damage.is_noted(video.path) else identity


def finish(request: ClassifyRequest, input: Input, parts: Sequence[PartResult]) -> Classification:
    """Return what one input shows, from all its parts.

    Raises:
        InputError: `past_end` or `no_video`: there was no picture at any wanted time.
    """
    features, end_s = joined(request, input, parts)
    return classification(request, features, end_s)


def joined(
    request: ClassifyRequest, input: Input, parts: Sequence[PartResult]
) -> tuple[Features, float]:
    """Join an input's parts and keep its features: what `finish` begins with.

    The second is where the video ends, in seconds on its clock.

    Raises:
        InputError: as `finish`.
    """
    features = join([part.features for part in parts])
    end_s = max(part.end_s for part in parts)
    start_s = float(request.sampling.start)
    if not len(features):
        if start_s >= end_s > 0:
            raise past_end(request.sampling.start, end_s)
        raise InputError("no_video", "there is no picture at any of the wanted times")
    if not any(part.stored for part in parts):
        _keep(request, input.path, parts, features, end_s)
    return features, end_s


# --- the scores -------------------------------------------------------------------------------


def classification(request: ClassifyRequest, features: Features, end_s: float) -> Classification:
    """Apply the model's head to a video's features, at least one, and sum it up.

    `end_s`: where the video ends, in seconds on its clock.
    """
    bundle, head = _model(request.bundle, request.bundle_digest)
    judge = Scores(features, head, bundle.labels)
    windows = None
    if request.windows_s is not None:
        windows = tuple(
            LabelledWindow(begin, stop, judge.labels(first, last, request.top_k))
            for begin, stop, first, last in windows_of(
                request.sampling, request.windows_s, features.times, end_s
            )
        )
    return Classification(
        duration_s=end_s,
        model=bundle.name,
        version=bundle.version,
        frames=len(features) * _preprocess(request).frames,
        labels=judge.labels(0, len(features), request.top_k),
        windows=windows,
        worst=judge.worst([bundle.labels.index(one) for one in bundle.undrawn])
        if bundle.undrawn
        else None,
    )


def curves(
    request: ClassifyRequest, features: Features, columns: Sequence[int], least: float
) -> tuple[list[int], np.ndarray]:
    """Return which of some labels reach a probability in any picture, and how they run.

    `columns`: places in the model's labels. The second is float32 [N, K], for the K that do.
    """
    bundle, head = _model(request.bundle, request.bundle_digest)
    judge = Scores(features, head, bundle.labels)
    return judge.curves(columns, least)


# --- features ----------------------------------------------------------------------------------


def _compute(
    request: ClassifyRequest, video: Video, sampling: Sampling
) -> tuple[Features, DecodeReport]:
    network = network_of(request)
    report = DecodeReport()
    prepared = iter_prepared(
        video, _preprocess(request), sampling, until=request.sampling.end, report=report
    )
    return features_of(network, prepared), report


def _extent(request: ClassifyRequest, input: Input) -> tuple[Fraction, list[Fraction]]:
    """Return where the video ends, in seconds, and which times of it are wanted."""
    end = Video(input.path, request.max_pixels).pictures_end_s
    if request.sampling.start >= end:
        return end, []
    return end, list(wanted_times(request.sampling, end))


def _parts(sampling: Sampling, end: Fraction, times: Sequence[Fraction], parts: int) -> list[Part]:
    """Return parts that together want what `sampling` wants, in order, evenly many times each."""
    cuts = [times[i * len(times) // parts] for i in range(1, parts)]
    return [Part(part) for part in split(sampling, cuts, end)]


def _is_stored(request: ClassifyRequest, input: Input) -> bool:
    if not request.use_store:
        return False
    bundle, _ = _model(request.bundle, request.bundle_digest)
    return store.contains(_key_of(request, bundle, file_identity(input.path)))


def stored(request: ClassifyRequest, identity: FileIdentity) -> store.Entry[Features] | None:
    """Return the features that are kept of a file; None where there are none."""
    bundle, _ = _model(request.bundle, request.bundle_digest)
    kept = store.load(_key_of(request, bundle, identity))
    fits = kept is not None and kept.features.values.dtype == np.float32
    return kept if fits else None


def _keep(
    request: ClassifyRequest,
    path: Path,
    parts: Sequence[PartResult],
    features: Features,
    end_s: float,
) -> None:
    """Store the features, unless the file changed while it was read."""
    identity = parts[0].identity
    if identity is None or any(part.identity != identity for part in parts):
        return
    if file_identity(path) != identity:
        return
    bundle, _ = _model(request.bundle, request.bundle_digest)
    store.save(_key_of(request, bundle, identity), store.Entry(features, end_s))


def key_of(request: ClassifyRequest, identity: FileIdentity) -> store.Key:
    """Return what names the features of a file in the store."""
    bundle, _ = _model(request.bundle, request.bundle_digest)
    return _key_of(request, bundle, identity)


def network_of(request: ClassifyRequest) -> Compute:
    """Return what computes features of pictures, where networks compute. ModelError: damaged."""
    return computing(_network, request.bundle, request.bundle_digest)


def _key_of(request: ClassifyRequest, bundle: Bundle, identity: FileIdentity) -> store.Key:
    spec = bundle.encoders["image"]
    settings = spec.preprocess
    return store.key(identity, spec.digest, request.sampling, encoder=spec.name, settings=settings)


# --- what a worker keeps between inputs --------------------------------------------------------


@lru_cache(maxsize=2)
def _model(folder: Path, digest: str) -> tuple[Bundle, LinearHead]:
    bundle = bundles.read(folder)
    if bundle.digest != digest:
        raise ModelError(f"model {bundle.name!r} changed while it was in use; start again")
    tensors = bundles.load_tensors(bundle, "head.")
    weight, bias = tensors.get("weight"), tensors.get("bias")
    width = _feature_width(bundle)
    if weight is None or bias is None or weight.shape != (len(bundle.labels), width):
        raise ModelError(f"model {bundle.name!r} has no head for its {len(bundle.labels)} labels")
    return bundle, LinearHead(weight.astype(np.float32), bias.astype(np.float32))


def _preprocess(request: ClassifyRequest) -> Preprocess:
    bundle, _ = _model(request.bundle, request.bundle_digest)
    return numbers_of(bundle)


def _feature_width(bundle: Bundle) -> int:
    if "image" not in bundle.encoders:
        raise ModelError(f"model {bundle.name!r} has no encoder for pictures")
    return entry(bundle.encoders["image"].name).width or 0


@lru_cache(maxsize=1)
@progress.loading()
def _network(folder: Path, digest: str, device: str) -> Compute:
    from vmm_cli.features.catalogue import load_image_encoder

    bundle, _ = _model(folder, digest)
    return compute_of(load_image_encoder(bundle, device))
