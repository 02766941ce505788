"""Sentiment in few words."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.analysis.evidence import MISSING
from vmm_cli.output.sentiment_text import MOST_CHANGE, REASONS, cues, span_of, valence_text
from vmm_cli.output.subtitles import Cue


def point(time_s: float, valence: float, *emotions: str) -> dict[str, Any]:
    """The first emotion leads."""
    chances = {emotion: 1 / 2**i for i, emotion in enumerate(emotions, start=1)}
    return {"time_s": time_s, "valence": valence, "emotions": chances}


def test_every_reason_has_words() -> None:
    assert {*REASONS} == {*MISSING}


def test_a_cue_lasts_as_long_as_little_changes() -> None:
    curve = [
        point(0.5, 0.40, "happiness", "neutral"),
        point(1.5, 0.44, "happiness"),
        point(2.5, 0.44, "neutral", "happiness"),
        point(3.5, -0.2, "neutral"),
    ]
    assert [*cues({"curve": curve}, 0, 1)] == [
        Cue(0.0, 2.0, "+0.42 happiness"),
        Cue(2.0, 3.0, "+0.44 neutral"),
        Cue(3.0, 4.0, "-0.20 neutral"),
    ]


def test_a_gap_ends_a_cue() -> None:
    curve = [point(1.25, 0.1), point(2.25, 0.1), point(2.625, 0.1)]
    assert [*cues({"curve": curve}, 1, 0.5)] == [
        Cue(1.0, 1.5, "+0.10"),
        Cue(2.0, 2.75, "+0.10"),
    ]


def test_nothing_is_no_cue() -> None:
    assert [*cues({"curve": []}, 0, 1)] == []


@given(
    st.lists(st.tuples(st.booleans(), st.floats(-1, 1), st.sampled_from(["anger", "fear"]))),
    st.sampled_from([0.1, 0.5, 1.0, 60.0]),
    st.sampled_from([0.0, 12.5]),
)
def test_cues_cover_the_steps_that_are_known_and_no_others(
    steps: list[tuple[bool, float, str]], every_s: float, start_s: float
) -> None:
    curve = [
        point(round(start_s + (i + 0.5) * every_s, 3), valence, emotion)
        for i, (known, valence, emotion) in enumerate(steps)
        if known
    ]
    shown = [*cues({"curve": curve}, start_s, every_s)]
    for before, after in pairwise(shown):
        assert before.end_s <= after.start_s + 1e-6
    for i, (known, valence, emotion) in enumerate(steps):
        middle = start_s + (i + 0.5) * every_s
        there = [cue for cue in shown if cue.start_s < middle < cue.end_s]
        assert len(there) == known
        for cue in there:
            said, _, name = cue.text.partition(" ")
            assert abs(float(said) - valence) <= MOST_CHANGE + 0.01
            assert name == emotion


@given(st.floats(-1, 1))
def test_a_valence_has_a_sign_and_two_digits(valence: float) -> None:
    text = valence_text(valence)
    assert len(text) == 5
    assert text != "-0.00"


@given(st.integers(0, 100_000), st.sampled_from([0.1, 0.3, 1.0, 7.0]), st.floats(0.01, 1))
def test_the_last_step_can_be_shorter(number: int, every_s: float, share: float) -> None:
    begin_s = number * every_s
    length_s = every_s * share
    time_s = round(begin_s + length_s / 2, 3)
    first_s, last_s = span_of({"time_s": time_s}, 0.0, every_s)
    assert abs(first_s - begin_s) < 1e-3
    assert abs(last_s - begin_s - length_s) < 2e-3
