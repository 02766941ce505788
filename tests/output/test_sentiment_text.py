"""Sentiment in few words."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.analysis.sentiment.evidence import MISSING
from vmm_cli.output.sentiment_text import (
    MOST_CHANGE,
    REASONS,
    SHORTEST_BETWEEN_S,
    cues,
    span_of,
    valence_text,
)
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


def test_a_cue_says_that_it_is_unsure() -> None:
    measured = ((0.1, 0.3), (0.1, 0.2), (None, 0.1), (None, None))
    said = [
        cue.text
        for both in measured
        for cue in cues(
            {
                "curve": [
                    point(i + 0.5, 0.4, "fear") | {"confidence": c} for i, c in enumerate(both)
                ]
            },
            0,
            1,
            least_confidence=0.2,
        )
    ]
    assert said == ["+0.40 fear", "+0.40 fear (unsure)", "+0.40 fear (unsure)", "+0.40 fear"]
    heard = {"curve": [point(0.5, 0.4) | {"confidence": 0.1}], "transcript": [words(0, 1, "Oh.")]}
    assert [*cues(heard, 0, 1, least_confidence=0.2)] == [Cue(0, 1, "Oh.", "+0.40 (unsure)")]


def test_a_gap_ends_a_cue() -> None:
    curve = [point(1.25, 0.1), point(2.25, 0.1), point(2.625, 0.1)]
    assert [*cues({"curve": curve}, 1, 0.5)] == [
        Cue(1.0, 1.5, "+0.10"),
        Cue(2.0, 2.75, "+0.10"),
    ]


def test_nothing_is_no_cue() -> None:
    assert [*cues({"curve": []}, 0, 1)] == []


def words(start_s: float, end_s: float, text: str, source: str = "speech") -> dict[str, Any]:
    return {"start_s": start_s, "end_s": end_s, "text": text, "source": source}


def test_words_have_cues_of_their_own_and_the_times_between_have_theirs() -> None:
    curve = [
        point(0.5, 0.1, "neutral"),
        point(1.5, 0.5, "happiness"),
        point(2.5, 0.3, "happiness"),
        point(3.5, -0.2, "neutral"),
        point(4.5, -0.2, "neutral"),
    ]
    transcript = [words(1.25, 2.75, "I love it."), words(7.0, 8.0, "Nobody knows.")]
    shown = [*cues({"curve": curve, "transcript": transcript}, 0, 1)]
    assert sorted(shown, key=lambda cue: cue.start_s) == [
        Cue(0.0, 1.0, "+0.10 neutral"),
        Cue(1.25, 2.75, "I love it.", "+0.40 happiness"),
        Cue(3.0, 5.0, "-0.20 neutral"),
        Cue(7.0, 8.0, "Nobody knows."),
    ]


def test_cues_between_words_end_where_these_begin() -> None:
    curve = [point(i + 0.5, 0.1) for i in range(4)]
    transcript = [words(1.75, 2.25, "Oh.")]  # between the middles of two steps
    shown = [*cues({"curve": curve, "transcript": transcript}, 0, 1)]
    assert sorted(shown, key=lambda cue: cue.start_s) == [
        Cue(0.0, 1.75, "+0.10"),
        Cue(1.75, 2.25, "Oh.", "+0.10"),
        Cue(2.25, 4.0, "+0.10"),
    ]


def test_there_are_no_flashes_between_words() -> None:
    curve = [point(0.5, 0.1), point(1.5, 0.1), point(2.002, 0.1)]
    transcript = [words(0.0, 1.4, "Oh."), words(1.8, 2.0, "No.")]
    shown = [*cues({"curve": curve, "transcript": transcript}, 0, 1)]
    assert [cue.text for cue in shown] == ["Oh.", "No."]
    transcript[1] = words(1.95, 2.0, "No.")
    shown = [*cues({"curve": curve, "transcript": transcript}, 0, 1)]
    assert Cue(1.4, 1.95, "+0.10") in shown
    brief = [point(0.1 + 0.2 * i, 0.1) for i in range(5)]
    shown = [*cues({"curve": brief, "transcript": [words(0.2, 1.0, "Oh.")]}, 0, 0.2)]
    assert [cue.text for cue in shown] == ["Oh.", "+0.10"]


def test_a_title_is_not_said_at_any_time() -> None:
    record = {"curve": [point(0.5, 0.1)], "transcript": [words(0, 60, "Horrors", "title")]}
    assert [*cues(record, 0, 1)] == [Cue(0.0, 1.0, "+0.10")]


@given(
    st.lists(st.tuples(st.floats(0, 10), st.floats(0.1, 4)), max_size=5),
    st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_every_word_is_shown_and_nothing_stands_over_it(
    spans: list[tuple[float, float]], known: list[bool]
) -> None:
    curve = [point(i + 0.5, 0.1, "neutral") for i, there in enumerate(known) if there]
    transcript = [words(start, start + length, "said") for start, length in spans]
    shown = [*cues({"curve": curve, "transcript": transcript}, 0, 1)]
    said = [cue for cue in shown if cue.text == "said"]
    assert [(cue.start_s, cue.end_s) for cue in said] == [(s, s + length) for s, length in spans]
    for cue in shown:
        if cue.text != "said":
            assert cue.start_s < cue.end_s
            assert not any(w.start_s < cue.end_s and w.end_s > cue.start_s for w in said)
    for one in curve:
        time_s = one["time_s"]
        room = [time_s - 0.5, *(w.end_s for w in said if w.start_s <= time_s)]
        until = [time_s + 0.5, *(w.start_s for w in said if w.start_s > time_s)]
        is_shown = any(cue.start_s <= time_s <= cue.end_s for cue in shown)
        assert is_shown or min(until) - max(room) < SHORTEST_BETWEEN_S


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
