"""Wanted times are exact arithmetic; these properties hold for every plan."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.media import sampling
from vmm_cli.media.sampling import wanted_times

seconds = st.fractions(min_value=0, max_value=100, max_denominator=1000)
positive = st.fractions(min_value=Fraction(1, 100), max_value=50, max_denominator=1000)
windows = st.tuples(seconds, positive).map(lambda w: (w[0], w[0] + w[1]))


@given(positive, windows)
def test_every_keeps_its_step_inside_the_window(step, window):
    start, end = window
    times = list(wanted_times(sampling.every(step, start=start, end=end), None))
    assert times[0] == start
    assert all(b - a == step for a, b in pairwise(times))
    assert all(start <= t < end for t in times)
    assert times[-1] + step >= end


@pytest.mark.parametrize("rate", [24, 30, 60])
def test_rates_do_not_drift(rate):
    n = 600 * rate
    *_, last = islice(wanted_times(sampling.fps(Fraction(rate * 1000, 1001)), None), n + 1)
    assert last == Fraction(n * 1001, rate * 1000)


@given(st.integers(1, 500), windows)
def test_count_gives_the_middles_of_equal_parts(n, window):
    start, end = window
    times = list(wanted_times(sampling.count(n, start=start, end=end), None))
    assert len(times) == n
    part = (end - start) / n
    assert times[0] - start == part / 2
    assert end - times[-1] == part / 2
    assert all(b - a == part for a, b in pairwise(times))


@given(st.lists(seconds, min_size=1), seconds)
def test_at_is_sorted_counts_from_the_start_and_holds_each_time_once(times, start):
    found = list(wanted_times(sampling.at(times, start=start), None))
    assert found == sorted({start + t for t in times})


@given(positive, seconds, positive)
def test_the_duration_ends_the_plan(step, start, duration):
    times = list(wanted_times(sampling.every(step, start=start), duration))
    assert all(t < duration for t in times)
    assert bool(times) == (start < duration)


def test_one_frame_is_the_middle():
    assert list(wanted_times(sampling.count(1), Fraction(9))) == [Fraction(9, 2)]


def test_count_of_a_start_beyond_the_end_of_the_video_is_empty():
    assert list(wanted_times(sampling.count(3, start=10), Fraction(5))) == []


def test_at_keeps_what_lies_past_the_end_so_that_it_can_be_reported():
    assert list(wanted_times(sampling.at([1, 99]), Fraction(5))) == [1, 99]


def test_at_leaves_out_what_lies_past_the_wanted_end():
    assert list(wanted_times(sampling.at([1, 3], end=2), None)) == [1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: sampling.every(0),
        lambda: sampling.every(-1),
        lambda: sampling.fps(0),
        lambda: sampling.count(0),
        lambda: sampling.at([]),
        lambda: sampling.at([-1]),
        lambda: sampling.all(start=2, end=2),
        lambda: sampling.keyframes(start=-1),
    ],
)
def test_nonsense_is_refused(make):
    with pytest.raises(ValueError, match=r"must|no times"):
        make()


def test_only_the_stream_knows_its_keyframes():
    with pytest.raises(ValueError, match="only the stream"):
        list(wanted_times(sampling.keyframes(), Fraction(1)))


steps = st.fractions(Fraction(1, 100), 20, max_denominator=1000)
plans = st.one_of(
    st.builds(lambda step, start: sampling.every(step, start=start), steps, seconds),
    st.builds(
        lambda step, start, length: sampling.every(step, start=start, end=start + length),
        steps,
        seconds,
        steps,
    ),
    st.builds(lambda n, start: sampling.count(n, start=start), st.integers(1, 50), seconds),
    st.builds(
        lambda times, start: sampling.at(times, start=start),
        st.lists(seconds, min_size=1, max_size=8),
        seconds,
    ),
)


@given(plans, st.fractions(Fraction(1, 10), 100, max_denominator=1000), st.integers(2, 5))
def test_the_parts_of_a_plan_add_up_to_it(plan, length, n):
    end = plan.start + length if plan.end is None else min(plan.end, plan.start + length)
    cuts = [plan.start + (end - plan.start) * i / n for i in range(1, n)]
    parts = sampling.split(plan, cuts, end)
    assert [t for part in parts for t in wanted_times(part, end)] == list(wanted_times(plan, end))


@given(
    plans,
    st.fractions(Fraction(1, 10), 20, max_denominator=1000),
    st.integers(1, 5),
    st.fractions(Fraction(1, 30), 3, max_denominator=60),
)
def test_clips_want_what_follows_each_time(plan, length, frames, step):
    duration = plan.start + length
    end = duration if plan.end is None else min(plan.end, duration)
    begins = list(wanted_times(plan, duration))
    clips = replace(plan, clip=sampling.Clip(frames, step, plan.end))
    times = list(wanted_times(clips, duration))
    expected = {t + k * step for t in begins for k in range(frames) if t + k * step < end}
    assert times == sorted(expected)
