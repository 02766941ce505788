"""How somebody speaks: voiced pieces of the sound, and what Whisper's first blocks hear in each.

A small network says for each 32 ms whether there is speech. Pieces of it, no longer than six
seconds, go through the convolutions and first blocks of Whisper's encoder; mean and deviation of
the states over time tell how it was said, and little of what. Of the sound no more than a piece is
held. The networks run as graphs, or in PyTorch where that is to run them (`speech_networks`); all
else here is numpy.

Sources: Silero Team, Silero VAD 6, for the detection and its thresholds; Radford et al. 2022,
Robust Speech Recognition via Large-Scale Weak Supervision, for the encoder and its spectrogram.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vmm_cli import bundles, progress
from vmm_cli.bundles import Bundle
from vmm_cli.engines.graph import Port, Ports, graph_of
from vmm_cli.errors import ModelError
from vmm_cli.features.log_mel import HOP, SAMPLE_RATE, WINDOW, log_powers
from vmm_cli.features.values import Features
from vmm_cli.media.audio import Samples, SoundReport
from vmm_cli.media.video import Video
from vmm_cli.networks.pretrained.shapes import CHUNK, CONTEXT, SPEECH_MELS, STATE
from vmm_cli.networks.pretrained.shapes import SPEECH_WIDTH as WIDTH

KIND = "speech-statistics"  # of the bundle's network
SPEECH_VERSION = "1"  # part of what kept features are named by: changes when a value changes
CARRIER = "sentiment/voice"  # the bundle that carries the weights
SPEECH_WIDTH = 2 * WIDTH  # of the features: means, then deviations

CHUNK_S = CHUNK / SAMPLE_RATE
BEGIN, END = 0.5, 0.35  # speech begins at one probability and is over below the other
# Chunks on either side, 192 ms: onsets and ends are soft. With 32 ms, enough to read words, heads
# are right in one of a hundred cases less; 400 ms are no better than these.
PADDING = 6
LEAST = 8  # chunks, 256 ms: speech that is shorter is a cough or a click
PAUSE = 2 * PADDING + 1  # chunks, 416 ms: longer than closed consonants; paddings do not meet
LONGEST = 187  # chunks, 5.98 s: a feeling may change within more
BLOCKS = 2  # of the encoder: what was said takes over in the later ones
POSITIONS = 300  # of the encoder: states of 20 ms in six seconds

STATE_S = 2 * HOP / SAMPLE_RATE
DECADES = 8  # of power below the loudest, as Whisper hears

# What a step of a grid looks at: as long as the sentences that heads were trained on, some eight
# syllables; in a step of half a second alone there are two.
WINDOW_S = 2.0

# Graphs by what they are of: the names and shapes of what they take and give.
_STATE = {"hidden": Port((1, 1, STATE)), "cell": Port((1, 1, STATE))}
GRAPHS: dict[str, tuple[Ports, Ports]] = {
    "activity": (
        {"chunks": Port((1, None, CONTEXT + CHUNK)), **_STATE},
        {"probabilities": Port((1, None)), **{f"{name}_after": _STATE[name] for name in _STATE}},
    ),
    "encoder": ({"log_mel": Port((1, SPEECH_MELS, None))}, {"states": Port((1, None, WIDTH))}),
}

Chunk = tuple[Samples, float]  # 32 ms of sound, and the probability of speech
State = tuple[np.ndarray, np.ndarray]  # of the LSTM, hidden and cell: float32 [1, 1, 128] each


@dataclass(frozen=True, eq=False)
class SpeechNetworks:
    """The two networks, loaded, on the CPU; all arrays are float32.

    Attributes:
        activity: chunks, each with the 64 samples before it, [1, T, 64 + 512], and the LSTM's
            hidden and cell -> the probability of speech in each, [1, T], and the state after.
        encoder: log-mel frames [1, 80, F] -> states, one for 20 ms each: ([1, ceil(F / 2), 384],).
    """

    activity: Callable[..., tuple[np.ndarray, ...]]
    encoder: Callable[..., tuple[np.ndarray, ...]]


@dataclass(frozen=True, eq=False)
class VoicedPiece:
    """Sound in which somebody speaks.

    Attributes:
        start_s, end_s: seconds on the clock, a fifth of a second on either side included.
        spoken_s: for how many seconds there is speech in it.
        activity: the mean probability of speech, from the first of these to the last.
        samples: float32 [N], mono, 16 kHz.
    """

    start_s: float
    end_s: float
    spoken_s: float
    activity: float
    samples: Samples


def speech_digest(bundle: Bundle) -> str:
    """Return what stands for the features wherever they are kept: SHA-256, hex.

    The head beside the networks has no part in it.
    """
    return _digest(bundle.folder, bundle.weights_digest)


@lru_cache(maxsize=1)
def _digest(folder: Path, weights_digest: str) -> str:
    tensors = bundles.load_tensors(bundles.read(folder))
    used = {k: v for k, v in tensors.items() if k.startswith(("activity.", "encoder."))}
    return bundles.encoder_digest(f"speech {SPEECH_VERSION}", {}, used)


def load_networks(bundle: Bundle) -> SpeechNetworks:
    """Return the networks that a bundle carries; those of the last one stay loaded.

    Raises:
        ModelError: its weights are damaged, or not of such networks.
    """
    return _networks(bundle.folder, bundle.digest)


@lru_cache(maxsize=1)
@progress.loading()
def _networks(folder: Path, digest: str) -> SpeechNetworks:
    bundle = bundles.read(folder)
    if bundle.digest != digest:
        raise ModelError(f"{folder}: was changed while it was in use; run the command again")
    weights = bundles.load_weights(bundle)
    runs = {
        role: graph_of(bundle, role, inputs=inputs, outputs=outputs, weights=weights)
        for role, (inputs, outputs) in GRAPHS.items()
    }
    if runs["activity"] is not None and runs["encoder"] is not None:
        return SpeechNetworks(runs["activity"], runs["encoder"])
    from vmm_cli.features.speech_networks import in_torch

    try:
        return in_torch(weights.tensors())
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{folder}: its weights do not fit the networks: {reason}") from None


# --- who speaks when -----------------------------------------------------------------------------


def voiced_pieces(
    networks: SpeechNetworks,
    video: Video,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    report: SoundReport | None = None,
) -> Iterator[VoicedPiece]:
    """Yield the sound between `start_s` and `end_s` seconds in which somebody speaks, in order.

    Speech begins where its probability reaches 0.5 and ends where it falls below 0.35 for 0.4 s;
    less than a quarter of a second is none. What lasts longer than six seconds is cut where speech
    is least probable in the second half. None where there is no sound. report: filled in as the
    sound is heard.

    Raises:
        InputError, ValueError: as `iter_audio`.
    """
    held: list[Chunk] = []  # of the piece that has begun, or might begin now
    begin = 0  # number of the first chunk held
    voiced = False
    pause: int | None = None  # number of the chunk in which a pause seems to have begun
    first = round(start_s * SAMPLE_RATE) / SAMPLE_RATE
    number = -1
    for number, (samples, chance) in enumerate(_chunks(networks, video, start_s, end_s)):
        if report is not None:
            report.samples += len(samples)
        held.append((samples, chance))
        if not voiced:
            if chance >= BEGIN:
                voiced, pause = True, None
            else:
                del held[:-PADDING]
            begin = number + 1 - len(held)
            continue
        if chance >= BEGIN:
            pause = None
        elif chance < END and pause is None:
            pause = number
        if pause is not None and chance < END and number - pause >= PAUSE:
            yield from _piece(held[: pause + PADDING - begin], first + begin * CHUNK_S)
            del held[:-PADDING]
            begin = number + 1 - len(held)
            voiced = False
        elif len(held) == LONGEST:
            cut = _quietest(np.array([chance for _, chance in held]))
            yield from _piece(held[:cut], first + begin * CHUNK_S)
            del held[:cut]
            begin += cut
    if voiced:
        until = number + 1 if pause is None else min(pause + PADDING, number + 1)
        yield from _piece(held[: until - begin], first + begin * CHUNK_S)


def _piece(chunks: Sequence[Chunk], start_s: float) -> Iterator[VoicedPiece]:
    """Yield what the chunks hold, unless it is too short."""
    chances = np.array([chance for _, chance in chunks])
    spoken = np.flatnonzero(chances >= END)
    if len(spoken) >= LEAST:
        samples = np.concatenate([samples for samples, _ in chunks])
        yield VoicedPiece(
            start_s,
            start_s + len(samples) / SAMPLE_RATE,
            len(spoken) * CHUNK_S,
            float(chances[spoken[0] : spoken[-1] + 1].mean()),
            samples,
        )


def _quietest(chances: np.ndarray) -> int:
    """Return the place in the second half around which speech is least probable."""
    smooth = np.convolve(chances, np.ones(3) / 3, mode="same")
    half = len(chances) // 2
    return half + int(smooth[half : -LEAST - PADDING].argmin())


def _chunks(
    networks: SpeechNetworks, video: Video, start_s: float, end_s: float | None
) -> Iterator[Chunk]:
    """Yield the sound in chunks, the last one shorter, each with its probability of speech."""
    nothing = np.zeros((1, 1, STATE), np.float32)
    state: State = nothing, nothing
    context = np.zeros(CONTEXT, np.float32)
    held = np.zeros(0, np.float32)
    for block in video.audio(SAMPLE_RATE, start=start_s, end=end_s):
        held = np.concatenate([held, block.samples])
        whole = len(held) // CHUNK * CHUNK
        if whole:
            chances, state = _activity(networks, np.concatenate([context, held[:whole]]), state)
            yield from zip(held[:whole].reshape(-1, CHUNK), chances, strict=True)
            context, held = held[whole - CONTEXT : whole], held[whole:]
    if len(held):
        padded = np.pad(np.concatenate([context, held]), (0, CHUNK - len(held)))
        chances, _ = _activity(networks, padded, state)
        yield held, chances[0]


def _activity(
    networks: SpeechNetworks, samples: Samples, state: State
) -> tuple[list[float], State]:
    """Return the probabilities of whole chunks, the context before the first, and the new state."""
    chunks = np.lib.stride_tricks.sliding_window_view(samples, CONTEXT + CHUNK)[::CHUNK]  # [T, 576]
    chances, hidden, cell = networks.activity(np.array(chunks[None]), *state)
    return chances[0].tolist(), (hidden, cell)


# --- how they speak ------------------------------------------------------------------------------


def speech_features(networks: SpeechNetworks, samples: Samples) -> np.ndarray:
    """Return mean and deviation over time of the encoder's last states: [N] -> float32 [768].

    `samples`: mono, 16 kHz, at least 13 ms and at most six seconds.
    """
    states = speech_states(networks, samples)
    return np.concatenate([states.mean(axis=0), states.std(axis=0)])


def speech_states(networks: SpeechNetworks, samples: Samples) -> np.ndarray:
    """Return the states of the encoder, one each 20 ms: [N] -> float32 [T, 384]."""
    (states,) = networks.encoder(log_mel(samples)[None])
    found: np.ndarray = states[0]
    return found


def log_mel(samples: Samples) -> np.ndarray:
    """Return the spectrogram as Whisper's encoder reads it: [N] -> float32 [80, N // 160].

    The decades of power in each band, cut off 8 below the loudest, then plus 4, over 4.
    """
    decades = log_powers(np.pad(samples, WINDOW // 2, mode="reflect"))[:-1].T
    heard = (np.maximum(decades, decades.max() - DECADES) + 4) / 4
    return np.ascontiguousarray(heard, np.float32)


# --- the stream `voice` of trained networks ------------------------------------------------------


def voice_features(
    video: Video,
    times: np.ndarray,
    step_s: float,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> Features:
    """Return how somebody speaks around each step [t, t + step_s): values float32 [T, 768].

    Mean and deviation of the states of all voiced pieces within a second of the step's middle (or
    within the step, where that is longer). Steps that no such piece touches are left out: all of
    them where there is no sound. Nothing outside [start_s, end_s) is heard, so that near the ends
    of a span the values differ slightly from those of the whole. `times`: float64 [T], ascending.

    Raises:
        InputError: as `iter_audio`.
        ModelError: the bundle that carries the networks is not at hand.
        ValueError: a span that `iter_audio` refuses.
    """
    networks = load_networks(_carrier())
    around_s = max(WINDOW_S, step_s) / 2
    middles = times + step_s / 2
    sums = np.zeros((len(times), 2, WIDTH))  # of the states, and of their squares
    counts = np.zeros(len(times))
    voiced = np.zeros(len(times), bool)
    for piece in voiced_pieces(networks, video, start_s=start_s, end_s=end_s):
        states = speech_states(networks, piece.samples).astype(np.float64)  # [S, 384]
        at = piece.start_s + STATE_S * np.arange(len(states))
        running = np.cumsum(np.stack([states, states**2], axis=1), axis=0)  # [S, 2, 384]
        running = np.concatenate([np.zeros((1, 2, WIDTH)), running])
        firsts = np.searchsorted(at, middles - around_s)
        lasts = np.searchsorted(at, middles + around_s)
        sums += running[lasts] - running[firsts]
        counts += lasts - firsts
        voiced |= (times < piece.end_s) & (times + step_s > piece.start_s)
    voiced &= counts > 0
    means, squares = (sums[voiced] / counts[voiced, None, None]).swapaxes(0, 1)  # [T, 384] each
    deviations = np.sqrt(np.maximum(squares - means**2, 0))
    values = np.concatenate([means, deviations], axis=1).astype(np.float32)
    return Features(times[voiced], values)


@lru_cache(maxsize=1)
def _carrier() -> Bundle:
    return bundles.read(bundles.find(CARRIER))
