"""Times find their place on a picture."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.output.clock import clock_text
from vmm_cli.pictures.time_axis import MIN_TICK_DISTANCE, TimeAxis, spread, tick_text

LEFT, WIDTH = 100, 1000


def axis(start_s: float, end_s: float) -> TimeAxis:
    return TimeAxis(start_s, end_s, LEFT, WIDTH)


def test_places_of_times() -> None:
    ten = axis(10, 20)
    assert [ten.x(t) for t in (10, 15, 20)] == [100, 600, 1100]
    assert (ten.x(0), ten.x(99)) == (100, 1100), "what lies outside is drawn at the end"


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        (0, 1, ["0:00", "0:00.1", "0:00.2"]),
        (0, 10, ["0:00", "0:01", "0:02"]),
        (0, 95, ["0:00", "0:10", "0:20"]),
        (3, 7.5, ["0:03", "0:03.5", "0:04"]),
        (0, 3600, ["0:00", "10:00", "20:00"]),
        (0, 6 * 3600, ["0:00", "1:00:00", "2:00:00"]),
        (0, 30 * 86400, ["0:00", "72:00:00", "144:00:00"]),
    ],
)
def test_ticks_are_round(start_s: float, end_s: float, expected: list[str]) -> None:
    assert [tick_text(t) for t in axis(start_s, end_s).ticks()][:3] == expected


@given(start_s=st.floats(0, 1e5), length_s=st.floats(0.1, 1e6))
def test_ticks_lie_in_the_range_and_apart(start_s: float, length_s: float) -> None:
    shown = axis(start_s, start_s + length_s)
    ticks = shown.ticks()
    assert len(ticks) <= WIDTH / MIN_TICK_DISTANCE + 1
    assert all(start_s - 0.01 <= t <= start_s + length_s + 0.01 for t in ticks)
    places = [shown.x(t) for t in ticks]
    # The ends may be rounded to what can be written.
    assert all(b - a >= MIN_TICK_DISTANCE - 0.02 / length_s * WIDTH for a, b in pairwise(places))


@given(st.integers(0, 10**6))
def test_a_tick_reads_as_its_time(hundredths: int) -> None:
    time_s = hundredths / 100
    text = tick_text(time_s)
    decimals = len(text.partition(".")[2])
    assert text + ("" if "." in text else ".") + "0" * (3 - decimals) == clock_text(time_s)


def test_columns_follow_the_values_and_keep_every_peak() -> None:
    sparse = axis(0, 10).columns(np.array([2.5, 7.5]), np.array([0.0, 1.0]))
    assert sparse[:250].max() == 0
    assert sparse[500] == pytest.approx(0.5, abs=0.01)
    assert sparse[750:].min() == 1
    times = np.linspace(0, 36000, 20_001)
    values = np.zeros(20_001)
    values[[0, 777, 20_000]] = 0.9
    dense = axis(0, 36000).columns(times, values)
    assert np.flatnonzero(dense > 0.8).tolist() == [0, 38], "the last lies behind the last column"
    assert len(dense) == WIDTH


@given(
    times=st.lists(st.floats(0, 100), min_size=1, max_size=30, unique=True),
    start_s=st.floats(0, 99),
    data=st.data(),
)
def test_columns_are_no_higher_than_the_values(
    times: list[float], start_s: float, data: st.DataObject
) -> None:
    values = data.draw(st.lists(st.floats(0, 1), min_size=len(times), max_size=len(times)))
    columns = axis(start_s, 100).columns(np.array(sorted(times)), np.array(values))
    assert columns.shape == (WIDTH,)
    assert columns.min() >= min(values)
    assert columns.max() <= max(values)


@given(
    wanted=st.lists(st.floats(-50, 1050), max_size=6),
    width=st.floats(1, 160),
)
def test_what_is_spread_lies_side_by_side(wanted: list[float], width: float) -> None:
    edges = spread(sorted(wanted), width, 0, 1000)
    assert len(edges) == len(wanted)
    assert all(-1e-6 <= edge <= 1000 - width + 1e-6 for edge in edges)
    assert all(b - a >= width - 1e-6 for a, b in pairwise(edges))
    if all(0 <= edge <= 1000 - width for edge in wanted) and all(
        b - a >= width for a, b in pairwise(sorted(wanted))
    ):
        assert edges == pytest.approx(sorted(wanted)), "where there is room nothing moves"


def test_what_is_spread_moves_to_both_sides() -> None:
    assert spread([500, 500, 500], 100, 0, 1000) == [400, 500, 600]
    assert spread([0, 0, 900], 100, 0, 1000) == [0, 100, 900]
    assert spread([], 100, 0, 1000) == []
