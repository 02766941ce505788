"""Operating curves by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vmm_cli.bundles.operating import MOST_POINTS
from vmm_cli.training.metrics.operating import (
    LOWEST,
    Evidence,
    alarms_of_runs,
    curve_json,
    curve_of,
)


def evidence(
    best: list[float], alarms: list[float], merged: list[float] | None = None, hours: float = 1.0
) -> Evidence:
    return Evidence(np.array(best), np.array(alarms), np.array(merged or []), hours)


def test_the_example_of_the_docstring() -> None:
    curve = curve_of(evidence([0.9, 0.4], [0.6, 0.2]))
    assert curve.thresholds.tolist() == pytest.approx([0.600001, 0.200001, LOWEST])
    assert curve.recall.tolist() == [0.5, 1, 1]
    assert curve.hourly.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("hourly", "threshold"), [(0, 0.600001), (0.9, 0.600001), (1, 0.200001), (5, LOWEST)]
)
def test_the_threshold_is_the_lowest_with_at_most_so_many(hourly: float, threshold: float) -> None:
    curve = curve_of(evidence([0.9, 0.4], [0.6, 0.2]))
    assert curve.with_at_most(hourly) == pytest.approx(threshold)


def test_hours_make_alarms_rarer() -> None:
    curve = curve_of(evidence([0.9], [0.6, 0.2], hours=4))
    assert curve.hourly.tolist() == [0, 0.25, 0.5]
    assert curve.with_at_most(0.3) == pytest.approx(0.200001)


def test_without_a_false_alarm_all_is_told() -> None:
    curve = curve_of(evidence([0.9, np.nan], []))
    assert curve.thresholds.tolist() == [LOWEST]
    assert curve.recall.tolist() == [0.5], "what no score found is never found"


def test_a_false_alarm_that_no_threshold_leaves_out_is_told() -> None:
    curve = curve_of(evidence([0.9], [1.0]))
    assert curve.thresholds[0] == 1 and curve.hourly[0] == 1
    assert curve.with_at_most(0) == 1


def test_a_label_that_is_nowhere_has_alarms_and_no_recall() -> None:
    found = curve_json(curve_of(evidence([], [0.5])), 0.7)
    assert found["n"] == 0 and found["threshold"] == 0.7
    assert found["points"] == [[0.500001, None, 0.0], [LOWEST, None, 1.0]]


def test_runs_that_become_one_are_one_alarm() -> None:
    """From 0.8 down there are two runs, from 0.2 down one: the curve says two there as well."""
    alarms, merged = alarms_of_runs([np.array([0.9, 0.2, 0.8]), np.array([0.1])])
    found = evidence([], alarms.tolist(), merged.tolist())
    at = np.array([0.95, 0.85, 0.5, 0.2, 0.05])
    assert found.alarms_at(at).tolist() == [0, 1, 2, 1, 2]
    assert curve_of(found).hourly.tolist() == [0, 1, 2]


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    draw = np.random.default_rng(0)
    curve = curve_of(evidence(draw.random(50).tolist(), draw.uniform(0.01, 1, 3000).tolist()))
    points = curve_json(curve, 0.5)["points"]
    assert len(points) == MOST_POINTS
    assert points[0][2] == 0 and points[-1][2] == 3000
    assert points == sorted(points, key=lambda point: -point[0])
    assert [point[2] for point in points[:5]] == [0, 1, 2, 3, 4], "few alarms are what counts"
