"""Scores that say how often they are right."""

from __future__ import annotations

import numpy as np
import pytest

from vmm_cli.analysis.calibration import Platt, platt_of, tempered
from vmm_cli.training.metrics.calibration import fit_platt, fit_temperature


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def drawn(count: int, times: float) -> tuple[list[np.ndarray], np.ndarray, list[str]]:
    """Samples whose logits are `times` too large for how often they are right."""
    draw = np.random.default_rng(1)
    logits = draw.normal(size=(count, 3)) * 1.5
    truth = np.array([draw.choice(3, p=p) for p in softmax(logits)])
    return [p[None] for p in softmax(logits * times)], truth, [f"g{i % 12}" for i in range(count)]


def test_a_temperature_is_found_and_helps_on_others() -> None:
    windows, truth, groups = drawn(600, 3.0)
    found = fit_temperature(windows, truth, groups, multi_label=False)
    assert found is not None
    assert found["temperature"] == pytest.approx(3, rel=0.15)
    assert found["ece_after"] < 0.5 * found["ece_before"]
    assert found["n"] == 600


def test_what_is_calibrated_stays() -> None:
    windows, truth, groups = drawn(600, 1.0)
    found = fit_temperature(windows, truth, groups, multi_label=False)
    assert found is not None and found["temperature"] == pytest.approx(1, rel=0.15)


def test_few_samples_say_nothing() -> None:
    windows, truth, groups = drawn(19, 3.0)
    assert fit_temperature(windows, truth, groups, multi_label=False) is None


def test_a_few_samples_without_a_mistake_make_nobody_sure() -> None:
    windows = [np.array([[0.9, 0.1]])] * 10 + [np.array([[0.1, 0.9]])] * 10
    truth = np.array([0] * 10 + [1] * 10)
    found = fit_temperature(windows, truth, [str(i) for i in range(20)], multi_label=False)
    assert found is not None
    assert tempered(windows[0], found["temperature"], False).max() < 0.97


def test_several_labels_are_calibrated_each() -> None:
    draw = np.random.default_rng(2)
    logits = draw.normal(size=(400, 2))
    truth = draw.random((400, 2)) < 1 / (1 + np.exp(-logits))
    windows = [row[None] for row in 1 / (1 + np.exp(-4 * logits))]
    found = fit_temperature(windows, truth, [str(i) for i in range(400)], multi_label=True)
    assert found is not None and found["temperature"] == pytest.approx(4, rel=0.25)


def test_a_tempered_softmax_is_that_of_smaller_logits() -> None:
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 0.0, 9.0]])
    assert tempered(softmax(logits), 2.5, False) == pytest.approx(softmax(logits / 2.5))
    one = softmax(logits)
    assert tempered(one, 1.0, False) is one, "what was saved without one gives what it gave"


def test_detections_score_as_often_as_they_are_right() -> None:
    draw = np.random.default_rng(3)
    scores = draw.uniform(0.02, 0.98, 2000)
    odds = np.log(scores / (1 - scores))
    right = draw.random(2000) < 1 / (1 + np.exp(-(2 * odds - 1)))
    found = fit_platt(scores, right, [f"v{i % 9}" for i in range(2000)])
    assert found is not None
    assert (found["slope"], found["offset"]) == pytest.approx((2, -1), abs=0.25)
    assert found["ece_after"] < found["ece_before"] / 2
    to = platt_of(found)
    told = to(scores)
    near = (told > 0.6) & (told < 0.8)
    assert right[near].mean() == pytest.approx(0.7, abs=0.06)


def test_order_stays_and_there_is_a_way_back() -> None:
    to = Platt(0.7, -1.2)
    scores = np.linspace(0, 1, 50)
    assert (np.diff(to(scores)) >= 0).all()
    assert to.before(float(to(np.array([0.3]))[0])) == pytest.approx(0.3)
    assert platt_of({}) == Platt() and Platt()(scores) is scores


@pytest.mark.parametrize("wrong", ["few", "worse"])
def test_what_cannot_be_calibrated_is_not(wrong: str) -> None:
    scores = np.linspace(0.05, 0.95, 60)
    right = scores > 0.9 if wrong == "few" else scores < 0.4
    assert fit_platt(scores, right, ["v"] * 60) is None


def test_scores_that_tell_right_from_wrong_without_a_mistake_have_a_map() -> None:
    scores = np.concatenate([np.full(20, 0.2), np.full(20, 0.8)])
    found = fit_platt(scores, scores > 0.5, [str(i) for i in range(40)])
    assert found is not None and np.isfinite([found["slope"], found["offset"]]).all()
