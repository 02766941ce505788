"""Wanted ticks that are found by arithmetic are the ones that listing them gives."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.media import sampling
from vmm_cli.media.cursor import Cursor
from vmm_cli.media.packets import Clock
from vmm_cli.media.sampling import Clip, Sampling, wanted_times

clocks = st.builds(
    Clock,
    st.sampled_from(
        [Fraction(1, 12800), Fraction(1, 1000), Fraction(1, 25), Fraction(1001, 30000)]
    ),
    st.integers(-100_000, 100_000),
)
seconds = st.fractions(min_value=0, max_value=20, max_denominator=1000)
lengths = st.fractions(min_value=Fraction(1, 20), max_value=5, max_denominator=1000)
clips = st.none() | st.builds(
    Clip, st.integers(1, 5), lengths, st.none() | seconds.map(lambda s: s + 1)
)
plans = st.one_of(
    st.builds(lambda step, start: sampling.every(step, start=start), lengths, seconds),
    st.builds(
        lambda step, start, length: sampling.every(step, start=start, end=start + length),
        lengths,
        seconds,
        lengths,
    ),
    st.builds(lambda n, start: sampling.count(n, start=start), st.integers(1, 100), seconds),
    st.builds(
        lambda times, start: sampling.at(times, start=start),
        st.lists(seconds, min_size=1, max_size=8),
        seconds,
    ),
).flatmap(lambda plan: clips.map(lambda clip: replace(plan, clip=clip)))


@given(plans, clocks, seconds, st.lists(seconds, min_size=1, max_size=6))
def test_each_wanted_tick_is_found(
    plan: Sampling, clock: Clock, duration: Fraction, asked: list[Fraction]
) -> None:
    listed = [clock.ticks(t) for t in islice(wanted_times(plan, duration), 200_000)]
    cursor = Cursor(plan, duration, clock)
    for upto in sorted(map(clock.ticks, asked)):
        left = [tick for tick in listed if tick >= upto]
        cursor.give_up(upto)
        assert cursor.first_unfed(upto) == (left[0] if left else None)


def test_what_the_decoder_was_given_is_not_wanted_again() -> None:
    cursor = Cursor(sampling.every(1), Fraction(10), Clock(Fraction(1, 100), 0))
    assert cursor.wants(0, 104, keyframe=True)
    assert cursor.first_unfed(0) == 200
    assert not cursor.wants(104, 108, keyframe=False)
    assert cursor.wants(196, 204, keyframe=False)
    assert cursor.first_unfed(0) == 300
    assert cursor.awaits_picture()
    assert cursor.answer(104, pts=0)
    assert not cursor.answer(196, pts=104)
    assert cursor.answer(204, pts=196)
    assert not cursor.awaits_picture()
    assert cursor.first_unfed(0) == 300


def test_what_was_given_and_lost_is_answered_by_the_picture_before() -> None:
    cursor = Cursor(sampling.every(1), None, Clock(Fraction(1, 100), 0))
    assert cursor.answer(50, pts=0)
    assert cursor.wants(96, 104, keyframe=False)  # and then nothing comes out of the decoder
    assert not cursor.answer(104, pts=0)  # the picture before has been handed on already
    assert not cursor.awaits_picture()


def test_only_times_that_were_named_are_past_the_end() -> None:
    clock = Clock(Fraction(1, 100), 1000)
    named = Cursor(sampling.at([1, 8, 9]), None, clock)
    spread = Cursor(sampling.every(1), None, clock)
    for cursor in (named, spread):
        cursor.give_up(1500)
        cursor.finish()
    assert [clock.seconds(tick) for tick in named.past_end] == [8, 9]
    assert spread.past_end == ()
