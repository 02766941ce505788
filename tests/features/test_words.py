"""The text of a video, its words and their numbers."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.errors import InputError
from vmm_cli.features.words import (
    PADDING,
    RESERVED,
    UNKNOWN,
    build_vocabulary,
    encode,
    text_of,
    tokenise,
)
from vmm_cli.media.video import Video

SRT = """1
00:00:00,500 --> 00:00:01,000
He hits him!

2
00:00:01,200 --> 00:00:01,900
Stop it
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \n\t—…!?", []),
        ("Fight! FIGHT, fight.", ["fight", "fight", "fight"]),
        ("snake_case and kebab-case", ["snake", "case", "and", "kebab", "case"]),
        ("Don't; don\u2019t; 'quoted'", ["don't", "don't", "quoted"]),
        ("GRÜSSE, Café, façade", ["grüsse", "café", "façade"]),
        ("cafe\u0301", ["café"]),  # a letter and its mark, composed
        ("\ufb01ght \uff21\uff22\uff11", ["fight", "ab1"]),  # compatibility forms
        ("camera 2, 10:45", ["camera", "2", "10", "45"]),
        ("٣ ۴ ५", ["3", "4", "5"]),  # digits of other scripts
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowel signs are marks, not ends of words
        ("打架了 ok", ["打", "架", "了", "ok"]),
        ("🥊 boxing", ["boxing"]),
    ],
)
def test_words_are_found_in_every_script(text: str, words: list[str]) -> None:
    assert tokenise(text) == words


@given(st.text())
def test_words_are_clean_and_stay_the_same(text: str) -> None:
    words = tokenise(text)
    assert all(word and not any(c.isspace() for c in word) for word in words)
    assert not set(words) & set(RESERVED)
    assert [word for one in words for word in tokenise(one)] == tokenise(" ".join(words))


def test_a_vocabulary_is_ordered_by_count_then_alphabet() -> None:
    texts = ["b a c", "a c", "d"]
    assert build_vocabulary(texts) == (*RESERVED, "a", "c", "b", "d")
    assert build_vocabulary(reversed(texts)) == build_vocabulary(texts)
    assert build_vocabulary(texts, min_count=2) == (*RESERVED, "a", "c")
    assert build_vocabulary(texts, limit=3) == (*RESERVED, "a")
    assert build_vocabulary([]) == RESERVED
    with pytest.raises(ValueError, match="at least 2"):
        build_vocabulary(texts, limit=1)


def test_words_become_numbers() -> None:
    vocabulary = build_vocabulary(["a fight", "a walk"])
    numbers = encode("A walk, padding and a fight <padding>", vocabulary)
    assert numbers.dtype == np.int64
    assert numbers.tolist() == [2, 4, UNKNOWN, UNKNOWN, 2, 3, UNKNOWN]
    assert PADDING not in numbers
    assert encode("a " * 1000, vocabulary).shape == (256,)
    assert encode("walk a fight", vocabulary, limit=2).tolist() == [4, 2]
    nothing = encode("…", vocabulary)
    assert nothing.shape == (0,)
    assert nothing.dtype == np.int64


def test_the_manifests_text_comes_first(render_clip: Callable[..., Path], tmp_path: Path) -> None:
    clip = render_clip(frames=10, metadata={"title": "Street"})
    assert text_of(" two men ", Video(clip)) == "two men"
    assert text_of("given", Video(tmp_path / "absent.mp4")) == "given"
    for blank in (None, "", "  "):
        assert text_of(blank, Video(clip)) == "Street"


def test_a_clip_without_text_has_none(bikes: Path, tmp_path: Path) -> None:
    assert text_of(None, Video(bikes)) == ""
    with pytest.raises(InputError):
        text_of(None, Video(tmp_path / "absent.mp4"))


@pytest.mark.parametrize(
    ("title", "description", "text"),
    [
        ("A fight", "Two men quarrel", "A fight\nTwo men quarrel"),
        ("A fight", "a  FIGHT", "A fight"),
        ("A fight", "Seen here: a fight, at night", "Seen here: a fight, at night"),
        ("A fight at night", "Fight", "A fight at night"),
        ("Art", "A party", "Art\nA party"),
    ],
)
def test_title_and_description_say_a_thing_once(
    render_clip: Callable[..., Path], title: str, description: str, text: str
) -> None:
    clip = render_clip("clip.mkv", frames=10, metadata={"title": title, "description": description})
    assert text_of(None, Video(clip)) == text


def test_captions_follow_and_a_span_has_its_own(render_clip: Callable[..., Path]) -> None:
    clip = render_clip(frames=50, metadata={"title": "Street"})
    clip.with_suffix(".srt").write_text(SRT)
    assert text_of(None, Video(clip)) == "Street\nHe hits him!\nStop it"
    assert text_of(None, Video(clip, end=Fraction("1.2"))) == "Street\nHe hits him!"
    assert text_of(None, Video(clip, start=Fraction("0.9"))) == "Street\nHe hits him!\nStop it"
    assert text_of(None, Video(clip, start=Fraction("1.0"))) == "Street\nStop it"
    assert text_of(None, Video(clip, start=Fraction("1.0"), end=Fraction("1.1"))) == "Street"
