"""What words say of how a video feels: captions, else speech, else title and description."""

from __future__ import annotations

import importlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from vmm_cli.analysis.sentiment.bare_text import title_with_feeling, with_feeling
from vmm_cli.analysis.sentiment.evidence import Evidence, Missing, nothing
from vmm_cli.bundles import Bundle
from vmm_cli.errors import ModelError
from vmm_cli.features.extras import NotInstalledError
from vmm_cli.features.listening import Span
from vmm_cli.features.text_valence import read_valence
from vmm_cli.features.transcript import Transcript, not_understood, transcribe
from vmm_cli.media.captions import Caption, CaptionResult
from vmm_cli.media.video import Video, wanted_until

# A caption that nothing ends is shown for as long as it takes to read: subtitlers allow some 17
# characters a second and at least about a second.
READ_PER_S = 17.0
SHORTEST_S = 1.0

# Half sentences mean little: captions are read together until a sentence ends, a pause comes, or
# more is held than one sentence has.
PAUSE_S = 2.0
LONGEST_SENTENCE = 250  # characters

TITLE_COUNTS = 0.2  # a title says what a video is about, not how it feels at a time

# Below this number of letters a language is a guess: of "Talk" alone Finnish is the likeliest.
LEAST_LETTERS = 20
SURELY = 0.7
ENGLISH = {"en", "eng"}
UNTOLD = {"und", "mul", "zxx", "mis"}  # ISO 639-2: these tags name no language

_NOTED = re.compile(r"\[[^\[\]]*\]|\((?=\w)[^()]*\)|[\u2669-\u266f\U0001f3b5\U0001f3b6]")
_SPEAKER = re.compile(r"^(?:-\s*)?(?:>>+\s*)?(?:[A-Z][A-Z0-9 .'&#-]{0,30}:(?=\s|$))?", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?\u2026])[\"'\u201d\u2019)]*\s+")
_ENDS = re.compile(r"[.!?\u2026][\"'\u201d\u2019)]*$")


@dataclass(frozen=True, eq=False)
class TextRead:
    """What was read, and how it feels; or why there is nothing.

    Attributes:
        evidence: an observation for each caption, of valence alone.
        transcript: what was read, an entry for each observation.
        source: "captions", "speech" or "title"; "" where nothing was read.
        reader: "sentences" or "vader"; "" where nothing was read.
        not_understood: where somebody speaks and no words were recognised.
        warnings: what of this video could not be read, in a line each.
        advice: what of the installation is absent or damaged and might have read more, likewise.
    """

    evidence: Evidence
    transcript: tuple[Caption, ...]
    source: str
    reader: str
    missing: Missing | None
    not_understood: tuple[Span, ...] = ()
    warnings: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()


NOTHING_SAID = Transcript(None, ())


@dataclass(frozen=True)
class _Source:
    """What is to be read, "captions", "speech" or "title", each caption with its two times."""

    name: str
    texts: tuple[Caption, ...]

    @property
    def felt(self) -> tuple[str, ...]:
        """What of each text carries feeling; "" where nothing does."""
        kept = title_with_feeling if self.name == "title" else with_feeling
        return tuple(kept(caption.text) for caption in self.texts)


@dataclass
class _Notes:
    """What comes up while a source is chosen; see `TextRead`."""

    warnings: list[str]
    advice: list[str]
    not_understood: tuple[Span, ...] = ()

    def told(self) -> tuple[tuple[Span, ...], tuple[str, ...], tuple[str, ...]]:
        """Return the last fields of `TextRead`."""
        return self.not_understood, tuple(self.warnings), tuple(self.advice)


def text_evidence(video: Video, bundle: Bundle, *, asr_model: str | None) -> TextRead:
    """Say how pleasant what is written or said in the wanted part of a video is.

    Of captions beside or inside the file one track is read: of those
    in English the one for all that is said, files first, that says most. Without captions in the
    wanted part what is said is recognised, where the extra `speech` is installed; without speech,
    title and description hold for all of it. Where captions or speech are there, but none
    in English, nothing else is read. Notes such as [music], names of speakers and signs of music
    are left out. Valence is that of the sentences a caption takes part in, weighted by their
    characters in it. What carries no feeling, addresses, numbers and credits (see `bare_text`),
    is not read: where nothing else is written or said, the next source is read.

    Confidence is words / (words + 4), a convention that was not measured: a word or two out of
    their context say little. The distance of the valence from 0 is no part of it: that a sentence
    is neutral can be certain. A title counts a fifth; what VADER alone reads without knowing a word
    of it counts half.

    Missing is `no_text`, `no_feeling`, `other_language`, or, where speech could not be recognised
    and there is nothing else, `not_installed` or `unusable`.

    Raises:
        InputError: the file cannot be read; `past_end`: it ends before the wanted part.
        ModelError: the bundle is damaged, or not of this kind.
    """
    begin_s, end_s = float(video.start), float("inf") if video.end is None else float(video.end)
    if video.duration_s:
        end_s = float(wanted_until(video.start, video.end, Fraction(video.duration_s)))
    written = video.captions(until_s=end_s)
    notes = _Notes([*written.warnings], [])
    source = _choose(video, written, begin_s, end_s, asr_model, notes)
    if isinstance(source, Missing):
        return TextRead(nothing("text", ()), (), "", "", source, *notes.told())
    placed = source.texts
    felt = [replace(c, text=text) for c, text in zip(placed, source.felt, strict=True)]
    sentences, parts = _sentences(felt)
    read = read_valence(sentences, bundle)
    if read.is_damaged:
        notes.advice.append(str(read.remark))
    valence, confidence = _of_captions(parts, read.valence, read.confidence)
    if source.name == "title":
        confidence = confidence * TITLE_COUNTS
    evidence = Evidence(
        "text",
        (),
        np.array([c.start_s for c in placed], np.float64),
        np.array([c.end_s for c in placed], np.float64),
        np.empty((len(placed), 0), np.float32),
        valence,
        confidence.astype(np.float32),
    )
    return TextRead(evidence, placed, source.name, read.reader, None, *notes.told())


def _choose(
    video: Video,
    found: CaptionResult,
    begin_s: float,
    end_s: float,
    asr_model: str | None,
    notes: _Notes,
) -> _Source | Missing:
    """Return what is to be read, or why nothing is; notes what was passed over."""
    written = [c for c in found.captions if c.source in ("sidecar", "stream")]
    track, others = _english_track(written, begin_s, end_s)
    sources = [_Source("captions", track)]
    if any(sources[-1].felt):
        return sources[-1]
    if others:
        return _in_another(f"its captions are in {', '.join(sorted(others))}", notes)
    unheard: Missing | None = None
    try:
        end = None if end_s == float("inf") else end_s
        said = NOTHING_SAID
        if video.has_sound:
            said = transcribe(video, start=begin_s, end=end, model=asr_model, only="en")
    except ModelError as error:
        code = "not_installed" if isinstance(error, NotInstalledError) else "unusable"
        unheard = Missing(code, str(error))
        notes.advice.append(unheard.message)
    else:
        if said.missed and said.language != "":
            notes.not_understood = said.missed
            notes.warnings.append(not_understood(said.missed))
        sources.append(_Source("speech", tuple(_placed(said.captions, begin_s, end_s))))
        if any(sources[-1].felt):
            return sources[-1]
        if said.language is not None and said.language != "en":
            named = f"is in {said.language}" if said.language else "was not understood as English"
            return _in_another(f"what is said {named}", notes)
    title = "\n".join(c.text for c in found.captions if c.source in ("title", "description"))
    titled = tuple(_placed([Caption(None, None, title, "title")], begin_s, end_s))
    if titled and (language := other_language(title)) is not None:
        return _in_another(f"its title is in {language}", notes)
    sources.append(_Source("title", titled))
    if any(sources[-1].felt):
        return sources[-1]
    if unheard is not None:
        return unheard
    if bare := [source.name for source in sources if source.texts]:
        return Missing("no_feeling", f"nothing in its {' or '.join(bare)} carries feeling")
    what = "captions that can be read" if found.unread else "captions"
    if said.missed:
        message = f"no {what}, title or description there, and what is said was not understood"
        return Missing("no_text", message)
    return Missing("no_text", f"no {what}, speech, title or description there")


def _in_another(what: str, notes: _Notes) -> Missing:
    message = f"{what}; only English is read"
    notes.warnings.append(message)
    return Missing("other_language", message)


def _english_track(
    timed: Iterable[Caption], begin_s: float, end_s: float
) -> tuple[tuple[Caption, ...], set[str]]:
    """Return the wanted part of the best track in English, and the languages of others before it.

    A track without a word in [begin_s, end_s) is none.
    """
    tracks: dict[tuple[str, str], list[Caption]] = {}
    for caption in timed:
        tracks.setdefault((caption.source, caption.track), []).append(caption)
    found = [
        (track, placed)
        for track in tracks.values()
        if (placed := tuple(_placed([*dict.fromkeys(track)], begin_s, end_s)))
    ]
    others: set[str] = set()
    for track, placed in sorted(found, key=lambda one: _rank(one[1])):
        said = "\n".join(_plain(c.text, captioned=True) for c in track)
        language = other_language(said, track[0].language)
        if language is None:
            return placed, others
        others.add(language)
    return (), others


def _rank(placed: Sequence[Caption]) -> tuple[bool, bool, bool, int]:
    """Return what a track is sorted by: the best one comes first.

    Those for all that is said, those tagged as English, files, those that say most.
    """
    one = placed[0]
    is_tagged = one.language is not None and _primary(one.language) in ENGLISH
    return one.is_aside, not is_tagged, one.source != "sidecar", -sum(len(c.text) for c in placed)


def _primary(tag: str) -> str:
    return re.split("[-_]", tag.lower())[0]


def other_language(text: str, tag: str | None = None) -> str | None:
    """Return the language of a text that is not English, None for English and what is too short.

    A tag (BCP 47 or ISO 639) is believed, unless most letters are not Latin. Else the language is
    the one that a naive Bayes classifier over bytes is sure of (Lui and Baldwin 2012, langid.py).

    >>> other_language("Dann sind wir alle sehr gl\u00fccklich gewesen.")
    'de'
    """
    letters = [c for c in text if c.isalpha()]
    latin = sum("LATIN" in unicodedata.name(c, "") for c in letters)
    told = None if tag is None or _primary(tag) in UNTOLD else _primary(tag)
    if letters and latin < len(letters) / 2:
        return told if told is not None and told not in ENGLISH else _identified(text)[0]
    if told is not None:
        return None if told in ENGLISH else told
    if len(letters) < LEAST_LETTERS:
        return None
    language, probability = _identified(text)
    return language if language not in ENGLISH and probability >= SURELY else None


def _identified(text: str) -> tuple[str, float]:
    language, probability = _identifier().classify(text[:10_000])
    return str(language), float(probability)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    langid = importlib.import_module("py3langid.langid")  # half a second, for few videos
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


def _plain(text: str, *, captioned: bool) -> str:
    """Return what is said in a caption: without notes of sounds, speakers' names, signs of music.

    >>> _plain("[Door slams]\\nJOHN: I (sighs) love it \u266a", captioned=True)
    'I  love it'
    """
    if captioned:
        text = _SPEAKER.sub("", _NOTED.sub("", text))
    lines = (line.strip() for line in text.splitlines())
    kept = "\n".join(line for line in lines if line)
    return kept if any(c.isalnum() for c in kept) else _faces_only(kept)


def _faces_only(text: str) -> str:
    """Return a text without a letter where it is a smiley, which VADER knows; else nothing."""
    return text if re.search(r"[:;=]['-]?[()DPp]|[\U0001f300-\U0001faff]", text) else ""


def _placed(texts: Sequence[Caption], begin_s: float, end_s: float) -> Iterator[Caption]:
    """Yield plain captions cut to [begin_s, end_s), each with an end; what lies outside is left."""
    timed = sorted(
        (replace(c, start_s=begin_s if c.start_s is None else c.start_s) for c in texts),
        key=lambda c: c.start_s or 0.0,
    )
    for i, caption in enumerate(timed):
        text = _plain(caption.text, captioned=caption.source in ("sidecar", "stream", "speech"))
        begin = caption.start_s or 0.0
        if caption.source == "title":
            stop = end_s if end_s != float("inf") else begin + SHORTEST_S
        elif caption.end_s is not None and caption.end_s > begin:
            stop = caption.end_s
        else:
            stop = begin + max(SHORTEST_S, len(text) / READ_PER_S)
            later = (c.start_s for c in timed[i + 1 :] if (c.start_s or 0.0) > begin)
            stop = min(stop, next(later, None) or stop)
        begin, stop = max(begin, begin_s), min(stop, end_s)
        if text and begin < stop:
            yield replace(caption, start_s=begin, end_s=stop, text=text)


def _sentences(placed: Sequence[Caption]) -> tuple[list[str], list[list[tuple[int, int]]]]:
    """Return the sentences of captions, and for each caption (sentence, characters of it in it)."""
    sentences: list[str] = []
    parts: list[list[tuple[int, int]]] = []
    group: list[str] = []

    def close() -> None:
        if not group:
            return
        joined = " ".join(group)
        cuts = [0, *(m.end() for m in _SENTENCE_END.finditer(joined)), len(joined)]
        spans = [(a, b) for a, b in pairwise(cuts) if b > a]
        position = 0
        for text in group:
            until = position + len(text)
            parts.append(
                [
                    (len(sentences) + k, shared)
                    for k, (a, b) in enumerate(spans)
                    if (shared := min(b, until) - max(a, position)) > 0
                ]
            )
            position = until + 1
        sentences.extend(joined[a:b].strip() for a, b in spans)
        group.clear()

    previous: Caption | None = None
    for caption in placed:
        text = " ".join(caption.text.split())
        if previous is not None and group:
            pause_s = (caption.start_s or 0.0) - (previous.end_s or 0.0)
            held = sum(map(len, group)) + len(text)
            if _ENDS.search(group[-1]) or pause_s > PAUSE_S or held > LONGEST_SENTENCE:
                close()
        group.append(text)
        previous = caption
    close()
    return sentences, parts


def _of_captions(
    parts: Sequence[Sequence[tuple[int, int]]], valence: np.ndarray, confidence: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return valence and confidence of captions, those of their sentences by characters."""
    means = np.zeros((len(parts), 2), np.float32)
    for row, shares in zip(means, parts, strict=True):
        if not shares:  # nothing of it carries feeling
            continue
        weights = np.array([n for _, n in shares], np.float64)
        places = [k for k, _ in shares]
        row[0] = np.average(valence[places], weights=weights)
        row[1] = np.average(confidence[places], weights=weights)
    return means[:, 0], means[:, 1]
