"""Windows and their time grids."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmm_cli.features.grid import ROUNDING_S, Window, grid_times, on_grid, pad, windows
from vmm_cli.features.values import Features

seconds = st.fractions(0, 100, max_denominator=1000)
lengths = st.fractions(Fraction(1, 10), 30, max_denominator=1000)
rates = st.fractions(Fraction(1, 4), 25, max_denominator=100)


@settings(max_examples=60)
@given(start=seconds, span=st.fractions(Fraction(1, 100), 200, max_denominator=999), length=lengths)
def test_windows_cover_what_is_wanted_and_nothing_else(start, span, length):
    end = start + span
    found = windows(start, end, length)
    assert found[0].start == start
    assert end - ROUNDING_S <= found[-1].end <= end
    for window, following in pairwise(found):
        assert following.start - window.start == length / 2
        assert window.end - window.start == length, "only the last one is cut"
        assert following.start < window.end, "they overlap"
    assert all(window.end - window.start <= length for window in found)


@settings(max_examples=60)
@given(start=seconds, span=st.fractions(Fraction(1, 100), 200, max_denominator=999), length=lengths)
def test_there_are_no_more_windows_than_it_takes(start, span, length):
    found = windows(start, start + span, length)
    if len(found) > 1:
        assert found[-2].end + ROUNDING_S < start + span


@settings(max_examples=60)
@given(start=seconds, length=lengths, stretches=st.integers(1, 9))
def test_windows_with_even_numbers_abut(start, length, stretches):
    found = windows(start, start + stretches * length, length)[0::2]
    assert all(a.end == b.start for a, b in pairwise(found))


def test_a_rest_that_is_rounding_makes_no_window():
    assert len(windows(Fraction(0), Fraction("4.0009"), Fraction(4))) == 1
    assert len(windows(Fraction(0), Fraction("4.002"), Fraction(4))) == 2


def test_nothing_has_no_window():
    with pytest.raises(ValueError, match="no window"):
        windows(Fraction(3), Fraction(3), Fraction(4))


@settings(max_examples=60)
@given(start=seconds, span=st.fractions(Fraction(1, 100), 60, max_denominator=999), rate=rates)
def test_a_grid_has_equal_steps_inside_its_window(start, span, rate):
    window = Window(start, start + span)
    times = grid_times(window, rate)
    assert times[0] == pytest.approx(float(start))
    assert len(times) >= 1
    assert (times < float(window.end)).all() or len(times) == 1
    assert float(window.end) - times[-1] <= float(1 / rate) + float(ROUNDING_S) + 1e-9
    np.testing.assert_allclose(np.diff(times), float(1 / rate))


def of(times: list[float]) -> Features:
    return Features(np.array(times, np.float64), np.array(times, np.float32)[:, None])


def test_a_picture_holds_until_the_next_one_and_the_first_before_it():
    values, there = on_grid(of([0.4, 1.0, 1.3]), np.array([0.0, 0.5, 1.0, 1.5, 9.0]))
    assert values[:, 0].tolist() == pytest.approx([0.4, 0.4, 1.0, 1.3, 1.3])
    assert there.all()


def test_what_lasts_a_step_is_missing_after_it():
    values, there = on_grid(of([0.5, 1.5]), np.array([0.0, 0.5, 1.0, 1.5, 2.0]), lasts_s=0.5)
    assert there.tolist() == [False, True, False, True, False]
    assert values[there][:, 0].tolist() == [0.5, 1.5]


def test_a_time_may_be_rounded_down():
    values, there = on_grid(of([1 / 3, 2 / 3]), np.array([0.333, 0.6663]), lasts_s=1 / 3)
    assert there.all()
    assert values[:, 0].tolist() == pytest.approx([1 / 3, 2 / 3])


def test_nothing_is_nowhere():
    empty = Features(np.empty(0), np.empty((0, 7), np.float32))
    values, there = on_grid(empty, np.array([0.0, 1.0]))
    assert values.shape == (2, 7) and values.dtype == np.float32
    assert not there.any()


def test_padding_puts_zeros_behind():
    whole = pad([np.ones((2, 3), np.float32), np.full((1, 3), 2, np.float32)], 4)
    assert whole.shape == (2, 4, 3)
    assert whole[:, :, 0].tolist() == [[1, 1, 0, 0], [2, 0, 0, 0]]
