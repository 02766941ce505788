"""Captions that roll up are read line by line; what is said twice is read twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.media.cues import Cue
from vmm_cli.media.rolling import unrolled

Shown = Sequence[tuple[float, float, str]]


def cues(shown: Shown) -> list[Cue]:
    return [Cue(start, end, text, text) for start, end, text in shown]


def told(shown: Shown) -> list[tuple[float, str]]:
    return [(cue.start_s, cue.text) for cue in unrolled(cues(shown))]


def back_to_back(*texts: str, length: float = 2.0) -> Shown:
    return [(length * i, length * (i + 1), text) for i, text in enumerate(texts)]


def youtube(*lines: str) -> Shown:
    """As in automatic captions: the line before above the new one, and in between that alone."""
    shown = []
    for i, line in enumerate(lines):
        above = f"{lines[i - 1]}\n" if i else ""
        shown += [(2.0 * i, 2.0 * i + 1.99, f"{above}{line}"), (2.0 * i + 1.99, 2.0 * i + 2, line)]
    return shown


def test_captions_of_youtube() -> None:
    assert told(youtube("I love it", "it is great", "but the food was bad")) == [
        *((0.0, "I love it"), (2.0, "it is great"), (4.0, "but the food was bad"))
    ]
    assert unrolled(cues(youtube("I love it", "it is great")))[0].end_s == 2.0
    assert told(youtube("I love it")) == [(0.0, "I love it")]


def test_a_line_that_is_said_again_in_rolling_captions_is_told_again() -> None:
    assert [text for _, text in told(youtube("yes", "yes", "no", "yes"))] == [
        *("yes", "yes", "no", "yes")
    ]


@pytest.mark.parametrize("rows", [2, 3, 4])
def test_captions_that_roll_up_over_some_rows(rows: int) -> None:
    lines = ["one two", "three", "four five", "four five", "six", "seven"]
    screens = ["\n".join(lines[max(0, i + 1 - rows) : i + 1]) for i in range(len(lines))]
    assert told(back_to_back(*screens)) == [(2.0 * i, line) for i, line in enumerate(lines)]


def test_pauses_and_an_erased_screen() -> None:
    first = back_to_back("a b", "a b\nc d", "c d\ne f")
    later = [(start + 60, end + 60, text) for start, end, text in first]
    lines = ["a b", "c d", "e f"]
    assert [text for _, text in told([*first, *later])] == lines * 2


def test_a_last_line_that_grows() -> None:
    shown = back_to_back("I", "I love", "I love it", "I love it\nand", "I love it\nand you")
    assert told(shown) == [(0.0, "I love it"), (6.0, "and you")]
    assert unrolled(cues(shown))[0].end_s == 6.0
    typed = back_to_back("I lo", "I love", "I love it al", "I love it all", length=0.2)
    assert told(typed) == [(0.0, "I love it all")]


def test_karaoke_is_one_caption() -> None:
    words = ["I", "love", "it"]
    shown = [
        Cue(
            float(i),
            i + 1.0,
            "I love it",
            " ".join(f"<u>{w}</u>" if w == word else w for w in words),
        )
        for i, word in enumerate(words)
    ]
    (cue,) = unrolled(shown)
    assert (cue.start_s, cue.end_s, cue.text) == (0, 3, "I love it")


@pytest.mark.parametrize(
    "texts",
    [
        ("No.", "No.", "No."),
        ("I love it", "It is great", "I love it", "It is great"),
        ("- Yes?\n- No.", "- Yes!\n- No."),
        ("la la la\nla la la", "la la la\nla la la"),
        ("I", "It is great", "I", "It was"),
        ("Stop", "Stop it now"),
    ],
)
def test_what_is_said_again_in_ordinary_captions_stays(texts: tuple[str, ...]) -> None:
    shown = back_to_back(*texts)
    assert told(shown) == [(start, text) for start, _, text in shown]


def test_one_repeated_line_among_many_captions_stays() -> None:
    texts = [f"this is line {i} of it" for i in range(30)]
    texts[10] = f"{texts[9]}\nand so on"
    shown = back_to_back(*texts)
    assert told(shown) == [(start, text) for start, _, text in shown]


def test_a_part_that_rolls_among_captions_that_do_not() -> None:
    texts = [f"this is line {i} of it" for i in range(30)]
    rolling = ["a b", "a b\nc d", "c d\ne f", "e f\ng h", "g h\ni j"]
    shown = back_to_back(*texts, *rolling)
    assert [text for _, text in told(shown)] == [*texts, "a b", "c d", "e f", "g h", "i j"]


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(1, 5), st.sampled_from("abcde")), max_size=20
    )
)
def test_nothing_that_differs_from_its_neighbours_is_lost(
    drawn: list[tuple[int, int, str]],
) -> None:
    shown = sorted((float(start), float(start + n), f"{text} {start}") for start, n, text in drawn)
    found = {text for _, text in told(shown)}
    assert found == {text for _, _, text in shown}
