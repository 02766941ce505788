"""Metrics against cases worked by hand."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest

from vmm_cli.training.metrics.classes import (
    CalibrationBin,
    calibration_bins,
    calibration_error,
    score,
)

ABC = ("a", "b", "c")


@pytest.fixture(autouse=True)
def no_warnings() -> Any:
    """scikit-learn warns where it divides nothing by nothing; users must not see that."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def sure(predicted: list[int], classes: int, confidence: float = 0.9) -> np.ndarray:
    """Probabilities float32 [N, C] that put `confidence` on the predicted class."""
    rest = (1 - confidence) / (classes - 1)
    chances = np.full((len(predicted), classes), rest, np.float32)
    chances[np.arange(len(predicted)), predicted] = confidence
    return chances


def scored(predicted: list[int], truth: list[int], groups: list[str] | None = None) -> Any:
    chances = sure(predicted, 3)
    return score(ABC, chances, np.array(truth), groups=groups, multi_label=False)


def test_one_label_a_sample() -> None:
    metrics = scored(predicted=[0, 0, 1, 1, 1, 2], truth=[0, 0, 0, 1, 1, 2])
    assert metrics["accuracy"] == pytest.approx(5 / 6)
    assert metrics["top5"] is None
    assert metrics["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 1) / 3)
    # F1 = 2 tp / (2 tp + fp + fn): a 4/5, b 4/5, c 1.
    assert metrics["macro_f1"] == pytest.approx((0.8 + 0.8 + 1) / 3)
    assert metrics["per_class"] == {
        "a": {"precision": 1.0, "recall": pytest.approx(2 / 3), "f1": 0.8, "support": 3},
        "b": {"precision": pytest.approx(2 / 3), "recall": 1.0, "f1": 0.8, "support": 2},
        "c": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1},
    }
    matrix = [[2, 1, 0], [0, 2, 0], [0, 0, 1]]  # row: the true label
    assert metrics["confusion"] == {"labels": ["a", "b", "c"], "matrix": matrix}
    assert metrics["ece"] == pytest.approx(abs(5 / 6 - 0.9), abs=1e-6)
    assert "per_group" not in metrics and "interval" not in metrics
    assert json.loads(json.dumps(metrics)) == metrics


def test_labels_that_do_not_occur_weigh_nothing() -> None:
    metrics = scored(predicted=[0, 1, 0], truth=[0, 0, 0])
    assert metrics["balanced_accuracy"] == pytest.approx(2 / 3)  # of a alone
    assert metrics["macro_f1"] == pytest.approx((0.8 + 0.0) / 2)  # b was predicted
    assert metrics["per_class"]["c"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}


def test_top5_counts_where_there_are_more_than_five() -> None:
    labels = [f"l{i}" for i in range(6)]
    chances = np.tile([0.3, 0.25, 0.2, 0.15, 0.07, 0.03], (4, 1))
    truth = np.array([0, 4, 5, 5])
    metrics = score(labels, chances, truth, groups=None, multi_label=False)
    assert (metrics["accuracy"], metrics["top5"]) == (0.25, 0.5)
    five = score(labels[:5], chances[:, :5], truth % 5, groups=None, multi_label=False)
    assert five["top5"] is None


def test_several_labels_a_sample() -> None:
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], bool)
    chances = np.array([[0.9, 0.6, 0.1], [0.8, 0.7, 0.2], [0.3, 0.4, 0.1], [0.5, 0.1, 0.2]])
    metrics = score(ABC, chances, truth, groups=None, multi_label=True)
    # predicted: 110, 110, 000, 100: the second row alone is wholly right
    assert metrics["accuracy"] == 0.25
    assert metrics["top5"] is None
    matrices = [[[1, 1], [0, 2]], [[1, 1], [1, 1]], [[4, 0], [0, 0]]]  # [[tn, fp], [fn, tp]]
    assert metrics["confusion"] == {"labels": ["a", "b", "c"], "matrix": matrices}
    # a: (2/2 + 1/2) / 2, b: (1/2 + 1/2) / 2, c: never there, 4/4
    assert metrics["balanced_accuracy"] == pytest.approx((0.75 + 0.5 + 1) / 3)
    assert metrics["macro_f1"] == pytest.approx((0.8 + 0.5) / 2)  # c neither occurs nor is told
    # a ranks 1 1 0 0: 1. b ranks its own first and third: (1/1 + 2/3) / 2. c has no average.
    assert metrics["macro_average_precision"] == pytest.approx((1 + 5 / 6) / 2)
    assert metrics["per_class"]["b"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert json.loads(json.dumps(metrics)) == metrics


def test_no_label_at_all_can_be_scored() -> None:
    nothing = np.zeros((2, 3), bool)
    metrics = score(ABC, np.full((2, 3), 0.1), nothing, groups=["g", "h"], multi_label=True)
    assert (metrics["accuracy"], metrics["macro_f1"]) == (1.0, 0.0)
    assert metrics["macro_average_precision"] is None


def test_calibration_bins_are_those_of_the_paper() -> None:
    # Confidence 0.6 is the upper end of bin 9 of 15, and belongs to it.
    chances = np.array([[0.6, 0.4], [0.58, 0.42], [0.61, 0.39], [1.0, 0.0]])
    bins = calibration_bins(chances, np.array([0, 1, 0, 0]))
    assert bins == [
        CalibrationBin(pytest.approx(0.59), 0.5, 2),
        CalibrationBin(pytest.approx(0.61), 1.0, 1),
        CalibrationBin(1.0, 1.0, 1),
    ]
    error = (2 * 0.09 + 1 * 0.39 + 1 * 0) / 4
    assert calibration_error(chances, np.array([0, 1, 0, 0])) == pytest.approx(error)


def test_calibration_of_several_labels_takes_each_as_a_prediction() -> None:
    # There 0.9 (right), not there 0.9 (right), there 0.8 (wrong), not there 0.6 (wrong).
    chances, truth = np.array([[0.9, 0.1], [0.8, 0.4]]), np.array([[1, 0], [0, 1]], bool)
    assert [(b.accuracy, b.n) for b in calibration_bins(chances, truth)] == [
        (0.0, 1),
        (0.0, 1),
        (1.0, 2),
    ]
    assert calibration_error(chances, truth) == pytest.approx((0.6 + 0.8 + 2 * 0.1) / 4)


def test_accuracy_by_group_and_its_interval() -> None:
    truth = [0] * 20
    predicted = [0] * 10 + [1] * 10
    names = [f"g{i // 2}" for i in range(20)]  # five groups all right, five all wrong
    metrics = scored(predicted, truth, groups=names)
    assert metrics["per_group"]["g0"] == {"n": 2, "accuracy": 1.0}
    assert metrics["per_group"]["g9"] == {"n": 2, "accuracy": 0.0}
    interval = metrics["interval"]
    assert (interval["level"], interval["resamples"]) == (0.95, 2000)
    # Of ten draws with chance one half, two or fewer are right in 5.5 % of cases, one in 1.1 %.
    assert (interval["low"], interval["high"]) == (0.2, 0.8)
    assert json.loads(json.dumps(metrics)) == metrics


def test_no_interval_is_given_where_it_would_claim_too_much() -> None:
    names = [f"g{i // 2}" for i in range(20)]
    assert scored([0] * 20, [0] * 20, groups=names)["interval"] is None  # nothing varies
    few = ["a", "b", "c", "d"] * 5
    assert scored([0, 1] * 10, [0] * 20, groups=few)["interval"] is None


def test_the_interval_is_that_of_a_binomial_where_each_sample_is_a_group() -> None:
    n, right = 400, 300
    chances = sure([0] * right + [1] * (n - right), 3)
    names = [str(i) for i in range(n)]
    truth = np.zeros(n, int)
    first = score(ABC, chances, truth, groups=names, multi_label=False, seed=1)["interval"]
    half = 1.96 * np.sqrt(0.75 * 0.25 / n)
    assert first["low"] == pytest.approx(0.75 - half, abs=0.01)
    assert first["high"] == pytest.approx(0.75 + half, abs=0.01)
    again = score(ABC, chances, truth, groups=names, multi_label=False, seed=1)["interval"]
    assert again == first


@pytest.mark.parametrize(
    ("labels", "chances", "truth", "groups", "multi_label", "said"),
    [
        (ABC, np.zeros((0, 3)), np.zeros(0, int), None, False, "nothing to score"),
        (("a",), np.ones((1, 1)), np.zeros(1, int), None, False, "one label"),
        (ABC, np.zeros((2, 2)), np.zeros(2, int), None, False, "2 x 3 labels"),
        (ABC, np.zeros((2, 3)), np.zeros((2, 3), bool), None, False, "truth has the shape"),
        (ABC, np.zeros((2, 3)), np.zeros(2, int), None, True, "truth has the shape"),
        (ABC, np.zeros((2, 3)), np.array([0, 3]), None, False, "labels that are not there"),
        (ABC, np.zeros((2, 3)), np.zeros(2, int), ["g"], False, "1 groups for 2 samples"),
        (ABC, np.full((2, 3), np.nan), np.zeros(2, int), None, False, "numbers from 0 to 1"),
        (ABC, np.full((2, 3), 1.5), np.zeros(2, int), None, False, "numbers from 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(
    labels: Any, chances: Any, truth: Any, groups: Any, multi_label: bool, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        score(labels, chances, truth, groups=groups, multi_label=multi_label)


def test_rounding_of_float32_is_no_mistake() -> None:
    chances = sure([0, 1], 3, 0.9)
    chances[0, 0] = np.nextafter(np.float32(1), np.float32(2))
    assert score(ABC, chances, np.array([0, 1]), groups=None, multi_label=False)["accuracy"] == 1.0
