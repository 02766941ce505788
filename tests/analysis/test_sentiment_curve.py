"""Points, summary and peaks of a curve."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import find_peaks

from vmm_cli.analysis.sentiment.curve import (
    Curve,
    mean_emotions,
    peaks,
    points,
    prominent,
    steps_between,
    summary,
)
from vmm_cli.analysis.sentiment.evidence import EMOTIONS


def curve(valence, *, known=None, confidence=None, probabilities=None, every=1, end=None) -> Curve:
    valence = np.array(valence, float)
    count = len(valence)
    steps = steps_between(Fraction(0), Fraction(end or count * every), Fraction(every))
    return Curve(
        steps,
        np.ones(count, bool) if known is None else np.array(known, bool),
        valence,
        np.ones(count) if confidence is None else np.array(confidence, float),
        EMOTIONS,
        np.zeros((count, 7)) if probabilities is None else np.array(probabilities, float),
        {"face": np.full(count, 0.5), "voice": np.zeros(count)},
    )


@given(
    st.fractions(0, 100),
    st.fractions(Fraction(1, 100), 100),
    st.fractions(Fraction(1, 10), 60, max_denominator=100),
)
def test_steps_cover_the_part_once(start, length, every):
    steps = steps_between(start, start + length, every)
    bounds = steps.bounds_s
    assert bounds[0] == float(start)
    assert bounds[-1] == pytest.approx(float(start + length))
    assert np.all(np.diff(bounds) > 0)
    assert np.all(np.diff(bounds) <= float(every) + 1e-9)
    assert np.all((steps.times_s > bounds[:-1]) & (steps.times_s < bounds[1:]))


def test_points_stand_only_where_something_is_known():
    shown = list(points(curve([0.1, 0.2, 0.3], known=[True, False, True])))
    assert [point["time_s"] for point in shown] == [0.5, 2.5]
    assert shown[0] == {
        "time_s": 0.5,
        "valence": 0.1,
        "confidence": 1.0,
        "emotions": {},
        "evidence": {"face": 0.5},
    }


def test_nothing_known_is_no_zero():
    said = summary(curve([0.0, 0.0], known=[False, False]))
    assert said == {
        "valence": None,
        "min": None,
        "max": None,
        "peaks": [],
        "dominant": None,
        "covered": 0.0,
        "confidence": 0.0,
    }


@pytest.mark.parametrize(
    ("known", "confidence", "mean"),
    [
        ([1, 1, 1], [0.9, 0.3, 0.6], (0.9 + 0.3 + 0.6 / 2) / 2.5),  # the last step is half as long
        ([1, 0, 0], [1.0, 0.0, 0.0], 0.4),  # sure of what is seen, and little is seen
        ([1, 0, 1], [0.5, 0.04, 0.5], 0.3),  # what has no point counts for nothing
        ([1, 1, 1], [0.0, 0.0, 0.0], 0.0),  # experts that contradict each other wholly
    ],
)
def test_confidence_is_the_mean_over_all_of_the_time(known, confidence, mean):
    said = summary(curve([0.5, 0.5, 0.5], known=known, confidence=confidence, end=2.5))
    assert said["confidence"] == pytest.approx(mean, abs=1e-5)


def test_a_model_that_measures_no_confidence_has_none():
    measured = curve([0.0, 0.9, 0.0])
    for known in ([True] * 3, [False] * 3):
        unmeasured = replace(measured, known=np.array(known), confidence=None)
        assert summary(unmeasured)["confidence"] is None
    assert peaks(replace(measured, confidence=None)) == [1]


def test_means_are_weighted_with_confidence_and_length():
    said = summary(curve([1.0, -1.0, -1.0], confidence=[0.9, 0.3, 0.2], end=2.5))
    # The last step is half as long: (0.9 - 0.3 - 0.2 / 2) / (0.9 + 0.3 + 0.2 / 2)
    assert said["valence"] == pytest.approx(0.5 / 1.3, abs=1e-5)
    assert (said["min"], said["max"], said["covered"]) == (-1.0, 1.0, 1.0)


def test_covered_is_the_share_of_time():
    assert summary(curve([0, 0, 0], known=[1, 0, 1], end=2.5))["covered"] == 0.6


def test_dominant_is_the_largest_mean():
    chances = np.zeros((2, 7))
    chances[0, EMOTIONS.index("happiness")] = 1
    chances[1, EMOTIONS.index("anger")] = 1
    known = curve([0.8, -0.5], confidence=[0.2, 0.6], probabilities=chances)
    assert summary(known)["dominant"] == "anger"
    assert mean_emotions(known) == {"anger": 0.75, "happiness": 0.25}


def test_peaks_are_the_places_that_stand_out():
    wave = [0, 0, 0.6, 0, 0, 0.05, 0, 0, -0.7, 0, 0]
    assert peaks(curve(wave)) == [2, 8]


def test_a_peak_at_the_edge_counts_and_a_level_curve_has_none():
    assert peaks(curve([0.5, 0.1, 0.1, 0.1])) == [0]
    assert peaks(curve([0.5, 0.5, 0.5])) == []
    assert peaks(curve([0.7])) == []


def test_a_gap_parts_two_stretches():
    valence = [0.1, 0.1, 0.6, 0.9, -0.1, -0.1]
    assert peaks(curve(valence, known=[1, 1, 1, 0, 1, 1])) == [2]


@pytest.mark.parametrize(
    ("valence", "confidence", "expected"),
    [
        ([0, 0, 0.6, 0, 0, -0.7, 0], [0.2] * 7, [2, 5]),
        ([0, 0, 0.6, 0, 0, -0.7, 0], [0.19] * 7, []),  # as little as of a title
        ([0, 0, 0.6, 0, 0, -0.7, 0], [0.5] * 5 + [0.1, 0.5], [2]),
        # Between what nobody is sure of nothing stands out,
        ([0.3, 0.3, -0.5, 0.3, -0.5, 0.3], [0.9, 0.9, 0.1, 0.9, 0.1, 0.9], []),
        # and what is sure stands out though nobody is sure of what lies between.
        ([0.3, 0.1, -0.2, 0.1, 0.3], [0.9, 0.1, 0.9, 0.1, 0.9], [2]),
    ],
)
def test_peaks_are_of_what_is_sure(valence, confidence, expected):
    assert peaks(curve(valence, confidence=confidence)) == expected


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40))
def test_peaks_are_few_in_order_and_known(valence):
    known = [value > -0.5 for value in valence]
    found = peaks(curve(valence, known=known))
    assert found == sorted(set(found))
    assert all(known[step] for step in found)
    assert len(found) <= 6


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40))
def test_what_stands_out_is_what_scipy_finds(tenths):
    values = np.array(tenths) / 7
    places, facts = find_peaks(values, prominence=0.1)
    expected = list(zip(facts["prominences"].tolist(), places.tolist(), strict=True))
    assert list(prominent(values)) == expected
