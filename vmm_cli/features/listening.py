"""Which words of a speech recogniser are believed, and which speech it listens to again.

A network that writes down speech sometimes repeats one phrase for as long as its window lasts, or
guesses; in a shorter window it often hears the same speech well. Whisper's authors draw words at
random instead, at higher temperatures (Radford et al. 2022, section 4.5). Here only the window
changes, so that a video gives the same words whenever, and after whichever other, it is heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil

import numpy as np

from vmm_cli.media.audio import Samples

# Whisper's own decoder rejects a result that is less likely than the first, or compressed more
# than the second (Radford et al. 2022, section 4.5).
LOWEST_LOG_PROBABILITY = -1.0
HIGHEST_COMPRESSION = 2.4
# Loops that are short, or that stand beside real words, are compressed less than that; but nobody
# says the same more often than this.
MOST_REPEATS = 3

# Mean log-probability a token of what is understood. With tiny.en the English sentences that were
# tried lay above it, the German ones of another collection below, loops aside.
UNDERSTOOD_FROM = -0.8
UNDERSTOOD_SHARE = 0.4  # of the speech: where less is, it is taken for another language
LEAST_TOLD_S = 5.0  # less than this tells nothing of a language
# So little is taken only where it is surer: benchmarks/speech.py counts what German becomes.
SHORT_UNDERSTOOD_FROM = -0.7

LONGEST_WINDOW_S = 30.0  # what Whisper reads at once
SHORTEST_WINDOW_S = 5.0  # measured: windows of 4 s brought no words that those of 8 s had not
MISSED_FROM_S = 1.0  # speech without words: the best transcripts leave out short ones
CUT_WITHIN = 0.25  # of a window's length: where it is cut from the next
QUIET_S = 0.2  # a pause between words is about as long

Span = tuple[float, float]  # from when to when, in seconds


@dataclass(frozen=True)
class Phrase:
    """Some words, at seconds of the sound they were heard in.

    Attributes:
        log_probability: mean a token, over the whole window they were heard in.
        compression: how many times shorter zlib makes the text of that window.
        repeats: how many phrases of that window say the same.
        again: they come from listening again.
    """

    start_s: float
    end_s: float
    text: str
    log_probability: float
    compression: float
    repeats: int = 1
    again: bool = False

    @property
    def is_loop(self) -> bool:
        """Whether they, or all of their window, are said over and over."""
        return self.compression > HIGHEST_COMPRESSION or self.repeats > MOST_REPEATS

    @property
    def is_understood(self) -> bool:
        """Whether the recogniser is as sure of them as of what it understands."""
        return not self.is_loop and self.log_probability >= UNDERSTOOD_FROM

    @property
    def is_believed(self) -> bool:
        """Whether they are taken: what a shorter window gives, only where it is understood."""
        if self.again:
            return self.is_understood
        return not self.is_loop and self.log_probability >= LOWEST_LOG_PROBABILITY


Recognise = Callable[[Samples], Iterable[Phrase]]
FindSpeech = Callable[[Samples], Sequence[Span]]


@dataclass(frozen=True)
class Heard:
    """What was heard in some speech, at its seconds, in order of time.

    Attributes:
        believed: the phrases that are taken.
        others: what else the recogniser gave.
        missed: where somebody speaks and no words are believed.
    """

    believed: tuple[Phrase, ...]
    others: tuple[Phrase, ...]
    missed: tuple[Span, ...]


def listen(
    speech: Samples, rate: int, recognise: Recognise, find_speech: FindSpeech, *, again: bool = True
) -> Heard:
    """Recognise speech, and what gave no words once more, in windows of half the length and less.

    What seems to be of another language is not listened to again: that takes long and brings
    nothing.

    Args:
        speech: float32 [N], `rate` samples a second.
        recognise: gives the phrases in a sound, however long.
        find_speech: gives when somebody speaks in a sound, without the pauses.
        again: False: listen once only.
    """
    length_s = len(speech) / rate
    found = [*recognise(speech)]
    missed = gaps(found, length_s)
    spoken = find_speech(speech) if missed else ()
    missed = [*_spoken_in(missed, spoken)]
    window_s = min(LONGEST_WINDOW_S, length_s) / 2
    while again and missed and window_s >= SHORTEST_WINDOW_S and is_hopeful(found):
        for begin, end in windows(speech, rate, missed, window_s):
            found += [_at(phrase, begin / rate) for phrase in recognise(speech[begin:end])]
        missed = [*_spoken_in(gaps(found, length_s), spoken)]
        window_s /= 2
    found.sort(key=lambda phrase: phrase.start_s)
    return Heard(
        tuple(phrase for phrase in found if phrase.is_believed),
        tuple(phrase for phrase in found if not phrase.is_believed),
        tuple(missed),
    )


def _at(phrase: Phrase, offset_s: float) -> Phrase:
    start_s, end_s = phrase.start_s + offset_s, phrase.end_s + offset_s
    return replace(phrase, start_s=start_s, end_s=end_s, again=True)


def is_hopeful(found: Iterable[Phrase]) -> bool:
    """Tell whether what was heard seems to be of the recogniser's language; loops tell nothing."""
    told = [phrase for phrase in found if not phrase.is_loop]
    told_s = seconds(told)
    if told_s < LEAST_TOLD_S:
        return True
    return seconds(p for p in told if p.is_understood) >= UNDERSTOOD_SHARE * told_s


def understood_s(phrases: Sequence[Phrase]) -> float:
    """Return for how long phrases are understood: where they are short, only the surer ones are."""
    least = SHORT_UNDERSTOOD_FROM if seconds(phrases) < LEAST_TOLD_S else UNDERSTOOD_FROM
    return seconds(p for p in phrases if p.is_understood and p.log_probability >= least)


def seconds(phrases: Iterable[Phrase]) -> float:
    """Return how long phrases last together."""
    return sum(phrase.end_s - phrase.start_s for phrase in phrases)


def gaps(found: Iterable[Phrase], length_s: float) -> list[Span]:
    """Return where no phrase is believed, from 0 to `length_s`, for a second or more.

    >>> gaps([Phrase(2.0, 5.0, "Yes.", -0.3, 0.8), Phrase(5.5, 7.0, "No.", -0.3, 0.8)], 9.0)
    [(0.0, 2.0), (7.0, 9.0)]
    """
    believed = sorted((p.start_s, p.end_s) for p in found if p.is_believed)
    spans: list[Span] = []
    until_s = 0.0
    for start_s, end_s in [*believed, (length_s, length_s)]:
        if start_s - until_s >= MISSED_FROM_S:
            spans.append((until_s, start_s))
        until_s = max(until_s, end_s)
    return spans


def _spoken_in(spans: Iterable[Span], spoken: Sequence[Span]) -> Iterator[Span]:
    """Yield from the first word to the last of each span in which there is a second of speech."""
    for start_s, end_s in spans:
        words = [(max(a, start_s), min(b, end_s)) for a, b in spoken if a < end_s and b > start_s]
        if sum(b - a for a, b in words) >= MISSED_FROM_S:
            yield words[0][0], words[-1][1]


def windows(
    samples: Samples, rate: int, spans: Iterable[Span], longest_s: float
) -> Iterator[tuple[int, int]]:
    """Yield [begin, end) in samples of windows that cover each span, cut where it is quietest.

    Those of a span are about equally long, and but for that at most `longest_s`.
    """
    for span in spans:
        first, last = (round(time_s * rate) for time_s in span)
        count = max(1, ceil((last - first) / rate / longest_s))
        length = (last - first) / count
        ends = (round(first + (k + CUT_WITHIN / 2) * length) for k in range(1, count))
        within, quiet = round(length * CUT_WITHIN), round(QUIET_S * rate)
        cuts = [quietest(samples[:end], within, quiet) for end in ends]
        yield from pairwise([first, *cuts, last])


def quietest(samples: Samples, within: int, length: int) -> int:
    """Return the middle of the `length` samples of least energy among the last `within`.

    >>> quietest(np.array([0, 0, 0, 9, 9, 0, 0, 9], np.float32), within=5, length=2)
    6
    """
    tail = samples[-within:].astype(np.float64) ** 2
    energy = np.convolve(tail, np.ones(length), "valid")
    return len(samples) - len(tail) + int(energy.argmin()) + length // 2
