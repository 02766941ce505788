"""Which sounds there are: what YAMNet makes of each second, 1024 features and 521 classes of them.

It hears patches, log-mel spectrograms of 0.96 s, one each 0.48 s; they lie alike on the clock
whatever part of a file is heard. The network runs as a graph, or in PyTorch where that is to run it
(`sound_networks`); all else here is numpy. Of the sound a few seconds are held.

Source: Plakal and Ellis 2020, YAMNet (github.com/tensorflow/models, research/audioset/yamnet); the
spectrogram is that of Hershey et al. 2017, CNN Architectures for Large-Scale Audio Classification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from vmm_cli import bundles, progress
from vmm_cli.bundles import Bundle, EncoderSpec, Json, Weights
from vmm_cli.engines.graph import Port, Ports, graph_of
from vmm_cli.errors import ModelError
from vmm_cli.features.encoder import Encoder
from vmm_cli.features.log_mel import HANN, HOP, SAMPLE_RATE, WINDOW
from vmm_cli.features.values import Features
from vmm_cli.media.audio import Samples
from vmm_cli.media.video import Video
from vmm_cli.networks.pretrained.shapes import SOUND_FRAMES, SOUND_MELS, SOUND_WIDTH

STREAM = "audio"
KIND = "sound-events"  # of the bundle's network
CARRIER = "sounds"  # the bundle that carries it
PREFIX = f"encoders.{STREAM}."  # of the encoder's tensors in its weights
SOUNDS_VERSION = "1"  # part of what kept features are named by: changes when a value changes

FFT = 512  # samples that a spectrum is of: the window, and zeros
LOW_HZ, HIGH_HZ = 125.0, 7500.0
OFFSET = 0.001  # added to a band's magnitude before its logarithm is taken
EVERY = 48  # frames from one patch to the next
PATCH_HOP = EVERY * HOP  # samples, 0.48 s
PATCH = (SOUND_FRAMES - 1) * HOP + WINDOW  # samples under a patch, 0.975 s
PATCH_HOP_S = PATCH_HOP / SAMPLE_RATE
PATCH_S = 2 * PATCH_HOP_S  # that a patch stands for

# What a bundle says of the encoder; nothing of it is free.
SETTINGS: dict[str, Json] = {
    "sample_rate": SAMPLE_RATE,
    "window": WINDOW,
    "hop": HOP,
    "fft": FFT,
    "mels": SOUND_MELS,
    "low_hz": LOW_HZ,
    "high_hz": HIGH_HZ,
    "offset": OFFSET,
    "frames": SOUND_FRAMES,
    "every": EVERY,
}

ROLE = STREAM  # of the graph
INPUTS: Ports = {"patches": Port((None, SOUND_FRAMES, SOUND_MELS))}
OUTPUTS: Ports = {"features": Port((None, SOUND_WIDTH))}

AT_ONCE = 4 * SAMPLE_RATE  # samples, some 8 patches: more at once are no faster

Network = Callable[[np.ndarray], np.ndarray]  # float32 [N, 96, 64] -> float32 [N, 1024]


@dataclass(frozen=True, eq=False)
class SoundHead:
    """The classes: a linear layer and a sigmoid, since several may be heard at once.

    Attributes:
        labels: C names, in the order of AudioSet's list.
        weight: float32 [C, 1024]; bias: float32 [C].
    """

    labels: tuple[str, ...]
    weight: np.ndarray
    bias: np.ndarray


# --- what is heard, patch by patch --------------------------------------------------------------


def sound_features(
    video: Video, bundle: Bundle, *, start_s: float = 0.0, end_s: float | None = None
) -> Features:
    """Return the features of each patch of the sound: float32 [P, 1024]; P is 0 without sound.

    Patch k of a file begins at 0.48 k seconds. Those that [start_s, end_s) or the end of the sound
    cuts are filled up with silence; each has more than 0.48 s of sound unless there is less. A row
    stands at the middle of what is heard of its patch.

    Raises:
        InputError, ValueError: as `iter_audio`.
        ModelError: the bundle is damaged, or another.
    """
    network = load_network(bundle)
    times: list[np.ndarray] = []
    values = [np.empty((0, SOUND_WIDTH), np.float32)]
    for spans, patches in sound_patches(video, start_s, end_s):
        times.append(spans.mean(axis=1))
        values.append(network(patches))
    return Features(np.concatenate([np.empty(0), *times]), np.concatenate(values))


def sound_scores(head: SoundHead, features: np.ndarray) -> np.ndarray:
    """Return the score of each class: float32 [N, 1024] -> float32 [N, C], from 0 to 1 each.

    They do not add up to 1, and they are no calibrated probabilities.
    """
    logits = features @ head.weight.T + head.bias
    scores: np.ndarray = (1 + np.tanh(logits / 2)) / 2  # the sigmoid, without overflow
    return scores


def steps_of_sounds(
    video: Video,
    times: np.ndarray,
    step_s: float,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> Features:
    """Return what is heard in each step [t, t + step_s): values float32 [T, 1024].

    The mean of the patches that overlap with a step, by how much they do. Steps behind the end of
    the sound are left out: all of them where there is none. Nothing outside [start_s, end_s) is
    heard, so that within a second of the ends of a span values differ from those of the whole.
    `times`: float64 [T], ascending.

    Raises:
        InputError, ValueError: as `iter_audio`.
        ModelError: the bundle that carries the network is not at hand.
    """
    network = load_network(_carrier())
    sums = np.zeros((len(times), SOUND_WIDTH), np.float32)
    covered = np.zeros(len(times))
    for spans, patches in sound_patches(video, start_s, end_s):
        for (begin, end), features in zip(spans, network(patches), strict=True):
            first = int(np.searchsorted(times + step_s, begin, side="right"))
            last = int(np.searchsorted(times, end))
            near = times[first:last]
            overlap = np.minimum(near + step_s, end) - np.maximum(near, begin)
            sums[first:last] += overlap[:, None].astype(np.float32) * features
            covered[first:last] += overlap
    heard = covered > 0
    values = sums[heard] / covered[heard, None]
    return Features(times[heard], values.astype(np.float32))


def sound_patches(
    video: Video, start_s: float, end_s: float | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the patches of a span, a few at a time.

    Each as float64 [n, 2], from when to when each is heard, in seconds, and float32 [n, 96, 64].
    Nothing where there is no sound.

    Raises:
        InputError, ValueError: as `iter_audio`.
    """
    start = round(Fraction(start_s) * SAMPLE_RATE)
    number = start // PATCH_HOP  # of the next patch
    held = np.empty((0, SOUND_MELS), np.float32)
    for frames, end in _frames(video, start_s, end_s, start - number * PATCH_HOP):
        held = np.concatenate([held, frames])
        count = (len(held) - SOUND_FRAMES) // EVERY + 1
        if count <= 0:
            continue
        part = held[: (count - 1) * EVERY + SOUND_FRAMES]
        windows = np.lib.stride_tricks.sliding_window_view(part, SOUND_FRAMES, axis=0)[::EVERY]
        begins = (number + np.arange(count)) * PATCH_HOP
        spans = np.maximum(begins, start), np.minimum(begins + 2 * PATCH_HOP, end)
        yield np.stack(spans, axis=1) / SAMPLE_RATE, np.ascontiguousarray(windows.swapaxes(1, 2))
        number += count
        held = held[count * EVERY :]


def _frames(
    video: Video, start_s: float, end_s: float | None, silent: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the frames of a span, as many as make whole patches, a few seconds at a time.

    Each as float32 [n, 64], and up to which sample on the clock there is sound. silent: samples of
    silence before the first.
    """
    start = round(Fraction(start_s) * SAMPLE_RATE)
    held = np.zeros(silent, np.float32)
    heard = 0
    for block in video.audio(SAMPLE_RATE, start=start_s, end=end_s):
        held = np.concatenate([held, block.samples])
        heard += len(block.samples)
        if len(held) >= AT_ONCE:
            whole = (len(held) - WINDOW) // HOP + 1
            yield log_mel(held), start + heard
            held = held[whole * HOP :]
    if heard:
        there = silent + heard
        patches = max(1, -(-(there - PATCH) // PATCH_HOP) + 1)
        held = np.pad(held, (0, (patches - 1) * PATCH_HOP + PATCH - there))
        if len(held) >= WINDOW:
            yield log_mel(held), start + heard


def log_mel(samples: Samples) -> np.ndarray:
    """Return the spectrogram as YAMNet reads it: float32 [N] -> float32 [frames, 64].

    The natural logarithm of the magnitude in each band and 0.001; as many frames as there are whole
    windows. In float32, as YAMNet learnt: the roundings lie far below 0.001.
    """
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]  # [frames, 400]
    spectrum = np.fft.rfft(windows * HANN.astype(np.float32), FFT)  # [frames, 257]
    heard: np.ndarray = np.log(np.abs(spectrum) @ mel_filters().T + OFFSET)  # [frames, 64]
    return heard.astype(np.float32)


@lru_cache(maxsize=1)
def mel_filters() -> np.ndarray:
    """Return how much of each frequency is in each band: float32 [64, 257], read-only.

    Triangles of height 1 over HTK's mel scale, 1127 ln(1 + f / 700), their corners at equal steps
    of it between 125 and 7500 Hz, at the frequencies of a spectrum; nothing of the constant part.
    """
    bins = _mels(np.fft.rfftfreq(FFT, 1 / SAMPLE_RATE))  # [257]
    corners = np.linspace(_mels(LOW_HZ), _mels(HIGH_HZ), SOUND_MELS + 2)
    left, peak, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]  # [64, 1]
    rising, falling = (bins - left) / (peak - left), (right - bins) / (right - peak)
    filters: np.ndarray = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    filters[:, 0] = 0
    filters.setflags(write=False)
    return filters


def _mels(hertz: float | np.ndarray) -> np.ndarray:
    return 1127 * np.log1p(np.asarray(hertz) / 700)


# --- the bundle ---------------------------------------------------------------------------------


def sounds_spec(name: str, row: Encoder, window_s: Fraction) -> EncoderSpec:
    """Return what a bundle says of the encoder. ModelError: what carries it is not at hand."""
    return bundles.read(bundles.find(row.weights)).encoders[STREAM]


def sounds_digest(name: str, tensors: dict[str, np.ndarray]) -> str:
    """Return what stands for the encoder wherever features are kept: SHA-256, hex.

    name: of the encoder; tensors: its own, without their prefix. The classes have no part in it.
    """
    return bundles.encoder_digest(f"{name} {SOUNDS_VERSION}", SETTINGS, tensors)


def sound_head(bundle: Bundle) -> SoundHead:
    """Return the classes of a bundle.

    Raises:
        ModelError: it is damaged, or has none.
    """
    tensors = bundles.load_tensors(bundle, "head.")
    shapes = {key: tensor.shape for key, tensor in tensors.items()}
    classes = len(bundle.labels)
    if shapes != {"weight": (classes, SOUND_WIDTH), "scale": (1,), "bias": (classes,)}:
        raise ModelError(f"model {bundle.name!r} has no head for its {classes} sounds")
    weight = tensors["weight"].astype(np.float32) * tensors["scale"]
    return SoundHead(bundle.labels, weight, tensors["bias"].astype(np.float32))


def load_network(bundle: Bundle) -> Network:
    """Return the network that a bundle carries; that of the last one stays loaded.

    Raises:
        ModelError: its weights are damaged, or not of such a network or of this vmm.
    """
    return _network(bundle.folder, bundle.digest)


@lru_cache(maxsize=1)
@progress.loading()
def _network(folder: Path, digest: str) -> Network:
    bundle = bundles.read(folder)
    if bundle.digest != digest:
        raise ModelError(f"{folder}: was changed while it was in use; run the command again")
    weights = bundles.load_weights(bundle)
    _refuse_others(bundle, weights)
    run = graph_of(bundle, ROLE, inputs=INPUTS, outputs=OUTPUTS, weights=weights)
    if run is not None:
        return lambda patches: run(patches)[0]
    from vmm_cli.features.sound_networks import in_torch

    try:
        return in_torch(weights.tensors(PREFIX))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{folder}: its weights do not fit the network: {reason}") from None


def _refuse_others(bundle: Bundle, weights: Weights) -> None:
    spec = bundle.encoders.get(STREAM)
    if spec is None or bundle.network.get("kind") != KIND:
        raise ModelError(f"model {bundle.name!r} has no network for sounds")
    if sounds_digest(spec.name, weights.tensors(PREFIX)) != spec.digest:
        raise ModelError(
            f"model {bundle.name!r} was made with another {spec.name!r} than the one at hand; "
            "it needs the version of vmm-cli it came with"
        )


@lru_cache(maxsize=1)
def _carrier() -> Bundle:
    return bundles.read(bundles.find(CARRIER))
