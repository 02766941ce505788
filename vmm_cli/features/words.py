"""What is written: the text of a video as words and as numbers of words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from vmm_cli.media.captions import Caption
from vmm_cli.media.video import Video

PADDING, UNKNOWN = 0, 1  # numbers of no word at all and of every word that is not in a vocabulary
RESERVED = ("<padding>", "<unknown>")  # their names: no word is spelt so

MOST_WORDS = 20_000  # what is rarer still comes too seldom for its embedding to be learned
LONGEST_TEXT = 256  # words: two minutes of talk

# Chinese and Japanese are written without spaces: each character counts as a word.
_UNSPACED = re.compile(
    "([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)
_APOSTROPHES = str.maketrans("\u2019\u02bc", "''")


def tokenise(text: str) -> list[str]:
    """Return the words of a text, in lower case.

    A word is a run of letters, digits and marks on letters, of any script (after Unicode's
    compatibility composition, NFKC), apostrophes inside it included; digits of all scripts become
    0 to 9. Characters of Chinese and kana are words of their own. Everything else parts words.

    >>> tokenise("Don't stop: 2 FIGHTS, café_№5")
    ["don't", 'stop', '2', 'fights', 'café', 'no5']
    """
    plain = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).lower()
    spaced = _UNSPACED.sub(r" \1 ", "".join(map(_word_character, plain)))
    return [word for run in spaced.split() if (word := run.strip("'"))]


@lru_cache(maxsize=4096)
def _word_character(character: str) -> str:
    """Return a character as words have it; a space where it parts words."""
    kind = unicodedata.category(character)
    if kind == "Nd":
        return str(unicodedata.decimal(character))
    return character if kind[0] in "LMN" or character == "'" else " "


def build_vocabulary(
    texts: Iterable[str], *, min_count: int = 1, limit: int = MOST_WORDS
) -> tuple[str, ...]:
    """Return the words that occur at least `min_count` times, the most frequent first.

    At most `limit` entries in all; the first two stand for padding and for unknown words. Words as
    frequent are in the order of the alphabet, so the order of the texts does not matter.

    Raises:
        ValueError: a limit that leaves no room for the first two.
    """
    if limit < len(RESERVED):
        raise ValueError(f"a vocabulary has at least {len(RESERVED)} entries, not {limit}")
    counts = Counter(word for text in texts for word in tokenise(text))
    frequent = sorted((-n, word) for word, n in counts.items() if n >= min_count)
    return RESERVED + tuple(word for _, word in frequent[: limit - len(RESERVED)])


def encode(text: str, vocabulary: tuple[str, ...], *, limit: int = LONGEST_TEXT) -> np.ndarray:
    """Return the numbers of a text's first `limit` words: int64 [L]; L is 0 for a text of none."""
    numbers = _numbers(vocabulary)
    words = tokenise(text)[:limit]
    return np.array([numbers.get(word, UNKNOWN) for word in words], np.int64)


@lru_cache(maxsize=4)
def _numbers(vocabulary: tuple[str, ...]) -> dict[str, int]:
    return {word: number for number, word in enumerate(vocabulary) if number > UNKNOWN}


def text_of(given: str | None, video: Video) -> str:
    """Return the text of the wanted part of a video; "" where there is none.

    `given`, what a manifest says, where that is not blank; else title, description and the captions
    shown during that part, in this order. What title and description both say stands once.

    Raises:
        InputError: as `captions`; only where nothing was given.
    """
    if given is not None and given.strip():
        return given.strip()
    found = video.captions().captions
    end_s = None if video.end is None else float(video.end)
    lines = _without_repeats([c.text for c in found if c.start_s is None])
    lines += [c.text for c in found if _is_shown(c, float(video.start), end_s)]
    return "\n".join(lines)


def _without_repeats(texts: Sequence[str]) -> list[str]:
    """Leave out each text whose words stand in another one; of equal ones the first stays."""
    spelt = [f" {' '.join(tokenise(text))} " for text in texts]
    kept = []
    for i, text in enumerate(texts):
        longer = (s for s in spelt[i + 1 :] if len(s) > len(spelt[i]))
        if not any(spelt[i] in other for other in (*spelt[:i], *longer)):
            kept.append(text)
    return kept


def _is_shown(caption: Caption, start_s: float, end_s: float | None) -> bool:
    if caption.start_s is None:
        return False
    begun = end_s is None or caption.start_s < end_s
    return begun and (caption.start_s >= start_s or (caption.end_s or start_s) > start_s)
