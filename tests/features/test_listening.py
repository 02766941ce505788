"""What of a recogniser is believed, what is listened to again, and what is told as missed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.features.listening import (
    Phrase,
    gaps,
    is_hopeful,
    listen,
    quietest,
    windows,
)
from vmm_cli.media.audio import Samples

RATE = 100


def seconds_of(length_s: float) -> Samples:
    """Return a sound whose samples say at which second they lie."""
    return (np.arange(round(length_s * RATE)) / RATE).astype(np.float32)


def phrase(start_s: float, end_s: float, *, sure: float = -0.3, compression: float = 1.4) -> Phrase:
    return Phrase(start_s, end_s, f"from {start_s:g}", sure, compression)


class Ears:
    """A recogniser that hears one phrase in each window, as `judge` says, and notes the windows.

    judge: (begin, length) in seconds to (log-probability, compression); None: no words.
    """

    def __init__(self, judge: Callable[[float, float], tuple[float, float] | None]) -> None:
        self._judge = judge
        self.windows: list[tuple[float, float]] = []

    def __call__(self, samples: Samples) -> list[Phrase]:
        begin_s, length_s = float(samples[0]), len(samples) / RATE
        self.windows.append((round(begin_s, 2), round(length_s, 2)))
        said = self._judge(begin_s, length_s)
        return [] if said is None else [Phrase(0.0, length_s, f"{length_s:.0f} s", *said)]


def throughout(samples: Samples) -> list[tuple[float, float]]:
    return [(0.0, len(samples) / RATE)]


def test_a_loop_is_heard_in_shorter_windows() -> None:
    ears = Ears(lambda begin, length: (-0.3, 11.6) if length > 20 else (-0.6, 1.3))
    heard = listen(seconds_of(30), RATE, ears, throughout)
    (_, whole), *halves = ears.windows
    assert whole == 30
    assert len(halves) == 2
    assert [part.again for part in heard.believed] == [True, True]
    assert heard.believed[0].start_s == 0
    assert heard.believed[0].end_s == pytest.approx(heard.believed[1].start_s)
    assert heard.believed[1].end_s == pytest.approx(30)
    assert [part.compression for part in heard.others] == [11.6]
    assert heard.missed == ()


def test_what_no_window_gives_is_missed() -> None:
    ears = Ears(lambda begin, length: (-0.3, 11.6) if begin < 5 else (-0.6, 1.3))
    heard = listen(seconds_of(30), RATE, ears, throughout)
    assert heard.missed == ((0.0, pytest.approx(6.5, abs=1)),)
    assert heard.believed[0].start_s == heard.missed[0][1]
    assert heard.believed[-1].end_s == pytest.approx(30)


def test_windows_get_no_shorter_than_words_can_be_heard_in() -> None:
    ears = Ears(lambda begin, length: (-0.3, 11.6))
    assert listen(seconds_of(30), RATE, ears, throughout).missed == ((0.0, 30.0),)
    assert len(ears.windows) == 1 + 2 + 4
    assert min(length for _, length in ears.windows) > 4
    ears.windows.clear()
    listen(seconds_of(8), RATE, ears, throughout)
    assert ears.windows == [(0.0, 8.0)], "halves of 4 s"


def test_good_speech_and_pauses_are_heard_once() -> None:
    ears = Ears(lambda begin, length: (-0.5, 1.5))
    assert listen(seconds_of(60), RATE, ears, throughout).missed == ()
    ears = Ears(lambda begin, length: None)
    assert listen(seconds_of(60), RATE, ears, lambda samples: [(3.0, 3.9)]).missed == ()
    assert len(ears.windows) == 1, "what is spoken there is less than a second"


def test_a_hole_in_what_was_heard_is_told_from_its_first_word_to_its_last() -> None:
    def ears(samples: Samples) -> list[Phrase]:
        return [phrase(0, 10), phrase(20, 30)] if len(samples) == 30 * RATE else []

    spoken = [(0.0, 9.5), (12.0, 13.5), (15.0, 16.0), (20.5, 30.0)]
    assert listen(seconds_of(30), RATE, ears, lambda samples: spoken).missed == ((12.0, 16.0),)


def test_another_language_is_heard_once() -> None:
    ears = Ears(lambda begin, length: (-1.2, 1.5))
    heard = listen(seconds_of(60), RATE, ears, throughout)
    assert len(ears.windows) == 1
    assert heard.missed == ((0.0, 60.0),)


def test_loops_tell_no_language_and_what_short_windows_guess_does() -> None:
    ears = Ears(lambda begin, length: (-0.4, 9.0) if length > 20 else (-1.2, 1.5))
    listen(seconds_of(30), RATE, ears, throughout)
    assert len(ears.windows) == 1 + 2
    assert is_hopeful([phrase(0, 30, sure=-0.4, compression=9.0), phrase(30, 31, sure=-1.5)])
    assert not is_hopeful([phrase(0, 10, sure=-0.4), phrase(10, 30, sure=-1.5)])
    assert is_hopeful([])


def test_once_is_enough_where_nobody_hopes() -> None:
    ears = Ears(lambda begin, length: (-0.3, 11.6))
    listen(seconds_of(30), RATE, ears, throughout, again=False)
    assert len(ears.windows) == 1


@pytest.mark.parametrize(
    ("heard", "is_believed"),
    [
        (Phrase(0, 1, "Yes.", -0.3, 0.8), True),
        (Phrase(0, 1, "Yes.", -1.0, 2.4), True),
        (Phrase(0, 1, "Yes.", -1.01, 0.8), False),
        (Phrase(0, 1, "Yes.", -0.3, 2.41), False),
        (Phrase(0, 1, "Yes.", -0.3, 0.8, repeats=3), True),
        (Phrase(0, 1, "Yes.", -0.3, 0.8, repeats=4), False),
        (Phrase(0, 1, "Yes.", -0.8, 0.8, again=True), True),
        (Phrase(0, 1, "Yes.", -0.81, 0.8, again=True), False),
        (Phrase(0, 1, "Yes.", -0.3, 2.41, again=True), False),
    ],
)
def test_what_is_believed(heard: Phrase, is_believed: bool) -> None:
    assert heard.is_believed == is_believed
    assert gaps([heard], 1.5) == ([] if is_believed else [(0.0, 1.5)])


def test_a_window_ends_where_it_is_quiet() -> None:
    sound = np.ones(30 * RATE, np.float32)
    sound[1610:1640] = 0
    (begin, cut), (again, end) = windows(sound, RATE, [(0.0, 30.0)], 15.0)
    assert (begin, again, end) == (0, cut, 3000)
    assert 1610 <= cut <= 1640


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(1, 40)), max_size=4),
    st.floats(4, 15),
    st.integers(0, 2**32 - 1),
)
def test_windows_cover_their_spans(
    spans: list[tuple[float, float]], longest_s: float, seed: int
) -> None:
    sound = np.random.default_rng(seed).normal(size=90 * RATE).astype(np.float32)
    for start_s, length_s in spans:
        found = [*windows(sound, RATE, [(start_s, start_s + length_s)], longest_s)]
        assert found[0][0] == round(start_s * RATE)
        assert found[-1][1] == round((start_s + length_s) * RATE)
        assert all(before[1] == after[0] for before, after in pairwise(found))
        lengths = [(end - begin) / RATE for begin, end in found]
        assert max(lengths) <= 1.25 * longest_s + 0.1
        assert min(lengths) >= min(length_s, longest_s / 2) * 0.75 - 0.1


def test_pieces_end_where_it_is_quiet() -> None:
    sound = np.ones(1000, np.float32)
    sound[880:920] = 0
    assert 880 <= quietest(sound, within=200, length=20) <= 920
