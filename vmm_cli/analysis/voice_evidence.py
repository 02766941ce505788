"""What voices say of how a video feels: an emotion for each stretch of speech."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from vmm_cli import bundles
from vmm_cli.analysis.evidence import EMOTIONS, Evidence, Missing, nothing, valence_of
from vmm_cli.bundles import Bundle
from vmm_cli.encoders import store
from vmm_cli.encoders.features import Features
from vmm_cli.encoders.log_mel import SAMPLE_RATE
from vmm_cli.encoders.streams import media_end_s, past_end, wanted_until
from vmm_cli.errors import InputError, ModelError
from vmm_cli.identity import file_identity
from vmm_cli.media import sampling
from vmm_cli.media.audio import iter_audio
from vmm_cli.media.probe import probe

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


def voice_evidence(
    path: Path, bundle: Bundle, *, start: Fraction, end: Fraction | None, keep_features: bool
) -> VoiceHeard:
    """Say with which emotion somebody speaks, for each voiced piece between `start` and `end`.

    Pieces are those of `voiced_pieces`, at most six seconds long. Probabilities are the head's,
    divided by the bundle's temperature before the softmax; boredom counts as neutral. The
    confidence is the mean probability of speech times min(1, seconds of speech / 1 s).

    Missing is `no_audio` where there is no sound, `no_speech` where nobody speaks. With
    `keep_features` the pieces' features go to the feature store and are taken from it; without,
    nothing is kept.

    Raises:
        InputError: the file cannot be read; `past_end`: it ends before `start`.
        ModelError: the bundle is damaged, or not of this kind.
    """
    emotions, counts_as = _emotions(bundle)
    head = _head(bundle.folder, bundle.digest)
    observed = [
        (time_s, *row[-_EXTRA:], _chances(head, row[:-_EXTRA]))
        for time_s, row in _rows(path, bundle, start, end, keep_features)
    ]
    if not observed:
        return VoiceHeard(nothing("voice", emotions), _why_nothing(path, start, end))
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
    path: Path, bundle: Bundle, start: Fraction, end: Fraction | None, keep: bool
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield when each voiced piece begins, and what there is to know of it: float32 [768 + 3].

    From the feature store, if that is asked for and holds them.
    """
    from vmm_cli.encoders.speech import SPEECH_WIDTH, speech_digest

    if not keep:
        yield from _heard(path, bundle, start, end)
        return
    identity = file_identity(path)
    key = store.key(identity, speech_digest(bundle), sampling.all(start=start, end=end))
    entry = store.load(key)
    if entry is None:
        heard = list(_heard(path, bundle, start, end))
        times = np.array([time_s for time_s, _ in heard], np.float64)
        width = SPEECH_WIDTH + _EXTRA
        values = np.array([row for _, row in heard], np.float32).reshape(-1, width)
        entry = store.Entry(Features(times, values), None)
        if file_identity(path) == identity:
            store.save(key, entry)
    yield from zip(entry.features.times.tolist(), entry.features.values, strict=True)


def _heard(
    path: Path, bundle: Bundle, start: Fraction, end: Fraction | None
) -> Iterator[tuple[float, np.ndarray]]:
    from vmm_cli.encoders.speech import load_networks, speech_features, voiced_pieces

    networks = load_networks(bundle)
    until_s = None if end is None else float(end)
    for piece in voiced_pieces(networks, path, start_s=float(start), end_s=until_s):
        extra = [piece.end_s - piece.start_s, piece.spoken_s, piece.activity]
        features = speech_features(networks, piece.samples)
        yield piece.start_s, np.concatenate([features, np.array(extra, np.float32)])


def _why_nothing(path: Path, start: Fraction, end: Fraction | None) -> Missing:
    """Return why there are no voiced pieces. InputError where the file ends before `start`."""
    until_s = None if end is None else float(end)
    if next(iter_audio(path, SAMPLE_RATE, start=float(start), end=until_s), None) is not None:
        return Missing("no_speech", "nobody is heard speaking")
    if start:
        _require_within(path, start)
    if not probe(path).audio:
        return Missing("no_audio", "it has no sound")
    return Missing("no_audio", "it has no sound here, or none that can be decoded")


def _require_within(path: Path, start: Fraction) -> None:
    try:
        end_s = media_end_s(path)
    except InputError as error:
        if error.code != "no_video":
            raise
        # sound alone, of a length that the file does not say: it was over
        raise past_end(start, None) from None
    wanted_until(start, None, end_s)
