"""What voices say of how a video feels: an emotion for each stretch of speech."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vmm_cli import bundles
from vmm_cli.analysis.sentiment.evidence import EMOTIONS, Evidence, Missing, nothing, valence_of
from vmm_cli.bundles import Bundle
from vmm_cli.errors import InputError, ModelError
from vmm_cli.features import store
from vmm_cli.features.log_mel import SAMPLE_RATE
from vmm_cli.features.values import Features
from vmm_cli.media import sampling
from vmm_cli.media.audio import AudioBlock, SoundReport
from vmm_cli.media.video import Video, past_end, wanted_until

# What the model tells apart and the fusion does not.
COUNTS_AS = {"boredom": "neutral"}
ENOUGH_S = 1.0  # of speech, some four syllables: less says little of how it is said

# A piece is kept as its features, then its length, its seconds of speech, its mean probability.
_EXTRA = 3


@dataclass(frozen=True, eq=False)
class VoiceHeard:
    """What was heard: an observation for each voiced piece, or why there is none."""

    evidence: Evidence
    missing: Missing | None


def voice_evidence(video: Video, bundle: Bundle, *, keep_features: bool) -> VoiceHeard:
    """Say with which emotion somebody speaks, for each voiced piece of the wanted part.

    Pieces are those of `voiced_pieces`, at most six seconds long. Probabilities are the head's,
    divided by the bundle's temperature before the softmax; boredom counts as neutral. The
    confidence is the mean probability of speech times min(1, seconds of speech / 1 s).

    Missing is `no_audio` where there is no sound, `no_speech` where nobody speaks. With
    `keep_features` the pieces' features go to the feature store and are taken from it; without,
    nothing is kept.

    Raises:
        InputError: the file cannot be read; `past_end`: it ends before the wanted part.
        ModelError: the bundle is damaged, or not of this kind.
    """
    emotions, counts_as = _emotions(bundle)
    head = _head(bundle.folder, bundle.digest)
    report = SoundReport()
    observed = [
        (time_s, *row[-_EXTRA:], _chances(head, row[:-_EXTRA]))
        for time_s, row in _rows(video, bundle, keep_features, report)
    ]
    if not observed:
        return VoiceHeard(nothing("voice", emotions), _why_nothing(video, report))
    starts, lengths, spoken, activity, chances = map(np.array, zip(*observed, strict=True))
    probabilities = (chances @ counts_as).astype(np.float32)
    evidence = Evidence(
        expert="voice",
        emotions=emotions,
        start_s=starts,
        end_s=starts + lengths.astype(np.float64),
        probabilities=probabilities,
        valence=valence_of(probabilities, emotions),
        confidence=activity * np.minimum(1, spoken / ENOUGH_S),
    )
    return VoiceHeard(evidence, None)


# --- the model -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Head:
    """Features -> logits: weight float64 [C, 768], bias float64 [C], calibrated."""

    weight: np.ndarray
    bias: np.ndarray


@lru_cache(maxsize=1)
def _head(folder: Path, digest: str) -> _Head:
    bundle = bundles.read(folder)
    tensors = bundles.load_tensors(bundle, "head.")
    try:
        weight, bias = (tensors[k].astype(np.float64) for k in ("weight", "bias"))
        temperature = float(bundle.thresholds["temperature"])
        if bundle.digest != digest or not len(weight) == len(bias) == len(bundle.labels):
            raise ValueError
    except (KeyError, ValueError):
        raise ModelError(
            f"model {bundle.name!r} cannot be used: it has no head for voices"
        ) from None
    return _Head(weight / temperature, bias / temperature)


def _chances(head: _Head, features: np.ndarray) -> np.ndarray:
    """Return the probability of each of the model's labels: float32 [768] -> float64 [C]."""
    logits = head.weight @ features + head.bias
    powers = np.exp(logits - logits.max())
    chances: np.ndarray = powers / powers.sum()
    return chances


def _emotions(bundle: Bundle) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the emotions covered, E of `EMOTIONS`, and which label counts as which: [C, E]."""
    called = [COUNTS_AS.get(label, label) for label in bundle.labels]
    if unknown := set(called).difference(EMOTIONS):
        raise ModelError(f"model {bundle.name!r} tells of {', '.join(sorted(unknown))}: not known")
    emotions = tuple(emotion for emotion in EMOTIONS if emotion in called)
    return emotions, np.array([[name == emotion for emotion in emotions] for name in called], float)


# --- what is heard -------------------------------------------------------------------------------


def _rows(
    video: Video, bundle: Bundle, keep: bool, report: SoundReport
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield when each voiced piece begins, and what there is to know of it: float32 [768 + 3].

    From the feature store, if that is asked for and holds them.
    """
    from vmm_cli.features.speech import SPEECH_WIDTH, speech_digest

    if not keep:
        yield from _heard(video, bundle, report)
        return
    wanted = sampling.all(start=video.start, end=video.end)
    key = store.key(video.identity, speech_digest(bundle), wanted, encoder=bundle.name)
    entry = store.load(key)
    if entry is None:
        heard = list(_heard(video, bundle, report))
        times = np.array([time_s for time_s, _ in heard], np.float64)
        width = SPEECH_WIDTH + _EXTRA
        values = np.array([row for _, row in heard], np.float32).reshape(-1, width)
        entry = store.Entry(Features(times, values), None)
        store.keep(video, {key: entry})
    yield from zip(entry.features.times.tolist(), entry.features.values, strict=True)


def _heard(video: Video, bundle: Bundle, report: SoundReport) -> Iterator[tuple[float, np.ndarray]]:
    from vmm_cli.features.speech import load_networks, speech_features, voiced_pieces

    networks = load_networks(bundle)
    until_s = None if video.end is None else float(video.end)
    pieces = voiced_pieces(
        networks, video, start_s=float(video.start), end_s=until_s, report=report
    )
    for piece in pieces:
        extra = [piece.end_s - piece.start_s, piece.spoken_s, piece.activity]
        features = speech_features(networks, piece.samples)
        yield piece.start_s, np.concatenate([features, np.array(extra, np.float32)])


def _why_nothing(video: Video, report: SoundReport) -> Missing:
    """Return why there are no voiced pieces.

    Raises:
        InputError: `past_end`: the file ends before the wanted part.
    """
    # What came from the feature store says nothing of the sound.
    if report.samples or next(_sound(video), None) is not None:
        return Missing("no_speech", "nobody is heard speaking")
    if video.start:
        _require_within(video)
    if not video.has_sound:
        return Missing("no_audio", "it has no sound")
    return Missing("no_audio", "it has no sound here, or none that can be decoded")


def _sound(video: Video) -> Iterator[AudioBlock]:
    until_s = None if video.end is None else float(video.end)
    return video.audio(SAMPLE_RATE, start=float(video.start), end=until_s)


def _require_within(video: Video) -> None:
    try:
        end_s = video.end_s
    except InputError as error:
        if error.code != "no_video":
            raise
        # sound alone, of a length that the file does not say: it was over
        raise past_end(video.start, None) from None
    wanted_until(video.start, None, end_s)
