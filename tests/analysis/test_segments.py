"""From scores over time to actions: hand-worked cases and what always holds."""

from __future__ import annotations

import itertools
from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.analysis.segments import (
    NMS_SIGMA,
    Detection,
    from_anchors,
    from_cells,
    from_steps,
    moving_mean,
    steps_to_smooth,
    tidied,
)

AB = ("a", "b")


def told(found: list[Detection]) -> list[tuple[float, float, str, float]]:
    return [(one.start_s, one.end_s, one.label, round(one.score, 4)) for one in found]


# --- a detection --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start_s", "end_s", "score"),
    [
        (1, 1, 0.5),
        (2, 1, 0.5),
        (float("nan"), 1, 0.5),
        (0, float("inf"), 0.5),
        (0, 1, float("nan")),
    ],
)
def test_what_is_no_detection_is_refused(start_s: float, end_s: float, score: float) -> None:
    with pytest.raises(ValueError, match=r"no span|no score"):
        Detection(start_s, end_s, "a", score)


# --- places of a pyramid ------------------------------------------------------------------------


def test_what_overlaps_a_better_one_keeps_a_part_of_its_score() -> None:
    """[0, 10) with 0.9; [5, 15) shares 5 of 15 with it; [20, 30) shares nothing."""
    spans = np.array([[5.0, 15.0], [0.0, 10.0], [20.0, 30.0]])
    chances = np.array([[0.8], [0.9], [0.3]])
    kept = 0.8 * exp(-((1 / 3) ** 2) / NMS_SIGMA)
    assert told(from_anchors(chances, spans, ("a",), 0.1)) == [
        (0, 10, "a", 0.9),
        (5, 15, "a", round(kept, 4)),
        (20, 30, "a", 0.3),
    ]


def test_the_same_one_told_twice_is_told_once_from_a_usual_threshold_on() -> None:
    spans = np.array([[0.0, 10.0], [0.0, 10.0]])
    found = from_anchors(np.array([[0.9], [0.9]]), spans, ("a",), 0.2)
    assert told(found) == [(0, 10, "a", 0.9)], "of the other exp(-2) is left"
    assert len(from_anchors(np.array([[0.9], [0.9]]), spans, ("a",), 0.1)) == 2


def test_labels_do_not_suppress_each_other() -> None:
    spans = np.array([[0.0, 10.0]])
    found = from_anchors(np.array([[0.9, 0.8]]), spans, AB, 0.1)
    assert told(found) == [(0, 10, "a", 0.9), (0, 10, "b", 0.8)]


def test_places_of_no_length_and_of_low_scores_tell_nothing() -> None:
    spans = np.array([[3.0, 3.0], [5.0, 4.0], [0.0, 1.0]])
    chances = np.array([[0.9], [0.9], [0.09]])
    assert from_anchors(chances, spans, ("a",), 0.1) == []
    assert from_anchors(np.zeros((0, 2)), np.zeros((0, 2)), AB, 0.1) == []


def test_of_very_many_places_none_is_lost_to_others_far_away() -> None:
    draw = np.random.default_rng(0)
    begins = np.sort(draw.uniform(0, 4000, 20_000))
    spans = np.stack([begins, begins + draw.uniform(1, 20, len(begins))], axis=1)
    scores = draw.uniform(0.3, 0.9, (len(begins), 1))
    first = spans[:, 1] < 1000
    apart = spans[:, 0] > 1100  # what lies between could suppress a part of both
    alone = from_anchors(scores[first], spans[first], ("a",), 0.3)
    together = from_anchors(scores[first | apart], spans[first | apart], ("a",), 0.3)
    assert [one for one in together if one.end_s < 1000] == alone and len(alone) > 100


SPANS = st.lists(
    st.tuples(st.floats(0, 50), st.floats(0, 20), st.floats(0, 1, width=32)), max_size=30
)


@given(SPANS, st.floats(0.01, 0.9))
def test_scores_fall_and_the_best_of_each_stays(
    places: list[tuple[float, float, float]], least: float
) -> None:
    spans = np.array([[begin, begin + length] for begin, length, _ in places]).reshape(-1, 2)
    chances = np.array([[score] for *_, score in places], np.float32).reshape(-1, 1)
    found = from_anchors(chances, spans, ("a",), least)
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    assert all(least <= score <= 1 for score in scores)
    given_spans = {tuple(span) for span in spans.tolist()}
    assert {(one.start_s, one.end_s) for one in found} <= given_spans
    usable = (spans[:, 1] > spans[:, 0]) & (chances[:, 0].astype(float) >= least)
    if usable.any():
        assert found[0].score == chances[usable].max()
    else:
        assert not found


# --- single steps -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step_s", "width"), [(0.25, 9), (0.5, 5), (1, 3), (2, 1), (4, 1), (10, 1), (0.04, 51)]
)
def test_steps_are_smoothed_over_two_seconds(step_s: float, width: int) -> None:
    assert steps_to_smooth(step_s) == width


def test_a_moving_mean_is_over_what_is_there() -> None:
    values = np.array([[3.0], [0.0], [6.0], [9.0]])
    assert moving_mean(values, 3).ravel().tolist() == [1.5, 3, 5, 7.5]
    assert moving_mean(values, 1).tolist() == values.tolist()
    assert moving_mean(values, 99).ravel().tolist() == [4.5] * 4


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60), st.integers(0, 20))
def test_a_moving_mean_stays_between_what_it_is_of(values: list[float], half: int) -> None:
    curve = np.array(values, np.float32)[:, None].astype(np.float64)
    mean = moving_mean(curve, 2 * half + 1)
    assert mean.shape == curve.shape
    assert mean.min() >= curve.min() - 1e-9 and mean.max() <= curve.max() + 1e-9


def test_a_plateau_is_told_with_its_ends() -> None:
    """At one step a second nothing is lost by smoothing over three: the ends are halfway up."""
    chances = np.zeros((40, 2))
    chances[10:20, 1] = 0.9
    best, *_ = sorted(from_steps(chances, 100.0, 1.0, AB, 0.3), key=lambda one: -one.score)
    assert (best.start_s, best.end_s, best.label) == (110, 120, "b")
    # 0.9 but for the thirds at the ends; beside it, five steps each: a third of 0.9 in one.
    inside, outside = (8 * 0.9 + 2 * 0.6) / 10, 2 * 0.3 / 10
    assert best.score == pytest.approx(inside - outside)


def test_what_goes_on_all_the_time_is_one_action() -> None:
    found = from_steps(np.full((30, 1), 0.8), 0.0, 0.25, ("a",), 0.5)
    assert told(found) == [(0, 7.5, "a", 0.8)]


def test_two_plateaus_are_two_actions() -> None:
    chances = np.full((60, 1), 0.1)
    chances[10:20] = chances[35:50] = 0.8
    found = tidied(from_steps(chances, 0.0, 1.0, ("a",), 0.5), min_score=0.5)
    assert [(one.start_s, one.end_s) for one in found] == [(10, 20), (35, 50)]


def test_nothing_is_told_where_nothing_happens() -> None:
    assert from_steps(np.zeros((20, 2)), 0.0, 0.25, AB, 0.001) == []
    assert from_steps(np.full((1, 1), 0.7), 0.0, 0.25, ("a",), 0.001) == [
        Detection(0.0, 0.25, "a", 0.7)
    ]


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=80),
    st.sampled_from([0.1, 0.25, 1.0, 3.0]),
    st.floats(0, 1000),
)
def test_actions_of_steps_lie_among_the_steps(
    values: list[float], step_s: float, start_s: float
) -> None:
    chances = np.array(values, np.float32)[:, None]
    for one in from_steps(chances, start_s, step_s, ("a",), 0.01):
        assert start_s <= one.start_s < one.end_s <= start_s + len(values) * step_s + 1e-6
        assert 0.01 <= one.score <= 1 + 1e-6


# --- cells --------------------------------------------------------------------------------------


def bounds(number: int, length_s: float = 2.0) -> np.ndarray:
    return np.array([[i * length_s, (i + 1) * length_s] for i in range(number)])


def test_a_run_of_cells_is_an_action() -> None:
    chances = np.array([[0.1, 0.9], [0.5, 0.5], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4]])
    assert told(from_cells(bounds(5), chances, AB, lambda label: 0.5)) == [
        (2, 6, "a", 0.6),
        (8, 10, "a", 0.6),
        (0, 4, "b", 0.7),
        (6, 8, "b", 0.8),
    ]


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40),
    st.floats(0.01, 1),
    st.sampled_from([np.float32, np.float64]),
)
def test_runs_are_what_reaches_the_threshold_and_are_told_by_it(
    values: list[float], least: float, kind: type
) -> None:
    """What is found with a threshold is not lost by the same one afterwards."""
    chances = np.array(values, kind)[:, None]
    found = from_cells(bounds(len(values)), chances, ("a",), lambda label: least)
    covered = np.zeros(len(values), bool)
    for one in found:
        covered[round(one.start_s / 2) : round(one.end_s / 2)] = True
    assert covered.tolist() == [float(value) >= least for value in chances[:, 0]]
    assert tidied(found, min_score=least) == sorted(found, key=lambda one: one.start_s)


# --- what is told in the end --------------------------------------------------------------------


def a(start_s: float, end_s: float, score: float = 0.5, label: str = "a") -> Detection:
    return Detection(start_s, end_s, label, score)


def test_what_counts_comes_in_the_order_of_time() -> None:
    given_ones = [a(5, 6), a(1, 9), a(1, 4, label="b"), a(1, 4), a(0, 1, 0.1)]
    assert tidied(given_ones, min_score=0.5) == [a(1, 4), a(1, 4, label="b"), a(1, 9), a(5, 6)]
    assert tidied([], min_score=0.5, merge_gap_s=1.0) == []


def test_near_ones_of_a_label_become_one() -> None:
    pieces = [a(0, 2, 0.6), a(3, 4, 0.9), a(4.5, 5, 0.7, "b"), a(6, 7), a(10, 11)]
    assert tidied(pieces, min_score=0.5, merge_gap_s=1.0) == [
        a(0, 4, 0.9),
        a(4.5, 5, 0.7, "b"),
        a(6, 7),
        a(10, 11),
    ]
    assert tidied(pieces, min_score=0.5, merge_gap_s=2.0)[0] == a(0, 7, 0.9)
    assert tidied(pieces, min_score=0.5) == pieces


def test_one_inside_another_does_not_shorten_it() -> None:
    assert tidied([a(0, 10), a(2, 3), a(10.5, 11)], min_score=0, merge_gap_s=0.5) == [a(0, 11)]


def test_what_has_too_low_a_score_bridges_no_gap() -> None:
    pieces = [a(0, 2), a(2, 4, 0.1), a(4, 6)]
    assert tidied(pieces, min_score=0.5, merge_gap_s=1) == [a(0, 2), a(4, 6)]


def test_short_pieces_are_merged_before_they_are_too_short() -> None:
    pieces = [a(0, 1), a(1.2, 2), a(8, 9)]
    assert tidied(pieces, min_score=0, min_duration_s=1.5, merge_gap_s=0.5) == [a(0, 2)]
    assert tidied(pieces, min_score=0, min_duration_s=1.5) == []
    assert tidied(pieces, min_score=0, min_duration_s=1.0) == [a(0, 1), a(8, 9)]


DETECTIONS = st.lists(
    st.builds(
        lambda start, length, label, score: Detection(start, start + length, label, score),
        st.integers(0, 60).map(float),
        st.integers(1, 15).map(float),
        st.sampled_from(AB),
        st.floats(0, 1),
    ),
    max_size=25,
)


@given(DETECTIONS, st.floats(0, 1), st.integers(0, 5), st.integers(0, 6))
def test_merging_covers_what_counted_and_leaves_no_small_gap(
    detections: list[Detection], least: float, gap_s: int, shortest_s: int
) -> None:
    counted = [one for one in detections if one.score >= least]
    merged = tidied(detections, min_score=least, merge_gap_s=gap_s)
    assert merged == tidied(reversed(detections), min_score=least, merge_gap_s=gap_s)
    assert merged == tidied(merged, min_score=least, merge_gap_s=gap_s), "once is enough"
    for label in AB:
        mine = [one for one in merged if one.label == label]
        gaps = [after.start_s - one.end_s for one, after in itertools.pairwise(mine)]
        assert all(between > gap_s for between in gaps)
        for one in (one for one in counted if one.label == label):
            (home,) = [m for m in mine if m.start_s <= one.start_s and one.end_s <= m.end_s]
            assert home.score >= one.score
    long = tidied(detections, min_score=least, merge_gap_s=gap_s, min_duration_s=shortest_s)
    assert long == [one for one in merged if one.end_s - one.start_s >= shortest_s]
