"""Metrics of valence and emotions, against cases that are worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.training.metrics.valence import NON_NEGATIVE, POSITIVE, score_ratings

NONE = float("nan")
UNIT = st.floats(-1, 1, width=32)


def scored(said: list[float], true: list[float], groups: list[str] | None = None) -> dict[str, Any]:
    """Return the metrics of valences alone."""
    rows = np.array(said, float)[:, None]
    found = score_ratings((), rows, np.array(true, float), np.full(len(said), -1), groups=groups)
    assert found["emotions"] is None
    valence: dict[str, Any] = found["valence"]
    return valence


def test_both_conventions_of_two_classes() -> None:
    """Six clips: what is 0 counts as not negative in one convention, and not at all in the other.

    not negative: truth - + + + - +, said - - + + + + (0 is not negative): 4 of 6
    positive, without the two zeros: truth - + - +, said - + + -: 2 of 4 (0 is not positive)
    """
    true = [-0.5, 0.0, 0.5, 0.0, -1.0, 0.25]
    said = [-0.5, -0.1, 0.25, 0.5, 0.5, 0.0]
    found = scored(said, true)
    assert found["n"] == 6
    assert found["mae"] == pytest.approx((0 + 0.1 + 0.25 + 0.5 + 1.5 + 0.25) / 6)
    assert found["acc2"] == {NON_NEGATIVE: pytest.approx(4 / 6), POSITIVE: pytest.approx(2 / 4)}
    assert found["acc2_n"] == {NON_NEGATIVE: 6, POSITIVE: 4}
    # Not negative: F1 of 4 true is 2 * 3 / (4 + 4), of the 2 others 2 * 1 / (2 + 2).
    assert found["f1"][NON_NEGATIVE] == pytest.approx(4 / 6 * 6 / 8 + 2 / 6 * 2 / 4)
    # Positive: each class has 2, of which 1 is found, with 1 mistaken for it.
    assert found["f1"][POSITIVE] == pytest.approx(1 / 2)
    assert found["undefined"] == {}


def test_correlation() -> None:
    """Deviations -1 0 1 and -1 1 0: 1 / sqrt(2 * 2)."""
    found = scored([-0.5, 0.5, 0.0], [-0.5, 0.0, 0.5])
    assert found["pearson"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("said", "true", "reason"),
    [
        ([0.1, 0.2], [0.5, 0.5], "all true valences are alike"),
        ([0.1, 0.1], [0.5, 0.2], "all predicted valences are alike"),
        ([0.1], [0.5], "there is one sample only"),
    ],
)
def test_where_nothing_varies_there_is_no_correlation(
    said: list[float], true: list[float], reason: str
) -> None:
    found = scored(said, true)
    assert found["pearson"] is None and found["undefined"]["pearson"] == reason
    assert found["mae"] >= 0


def test_zeros_alone_are_no_two_classes() -> None:
    found = scored([0.5, -0.5], [0.0, 0.0])
    assert found["acc2"] == {NON_NEGATIVE: 0.5, POSITIVE: None}
    assert found["f1"][POSITIVE] is None and found["acc2_n"][POSITIVE] == 0
    assert found["undefined"][f"acc2 {POSITIVE}"] == "every true valence is 0"


def test_what_lacks_a_valence_or_an_emotion_counts_for_the_other() -> None:
    """Recall of a is 1/2 and of b 1/1; the third sample has no emotion, the fourth no valence."""
    said = np.array([[0.5, 0.9, 0.1], [0.5, 0.2, 0.8], [-0.5, 0.5, 0.5], [0.0, 0.3, 0.7]])
    valence = np.array([1.0, 0.5, -0.5, NONE])
    found = score_ratings(("a", "b"), said, valence, np.array([0, 0, -1, 1]), groups=None)
    assert found["valence"]["n"] == 3
    assert found["valence"]["mae"] == pytest.approx(0.5 / 3)
    emotions = found["emotions"]
    assert emotions["n"] == 3
    assert emotions["uar"] == pytest.approx(0.75)
    assert emotions["accuracy"] == pytest.approx(2 / 3)
    assert emotions["confusion"] == {"labels": ["a", "b"], "matrix": [[1, 1], [0, 1]]}
    assert "balanced_accuracy" not in emotions, "it has the name that the field gives it"


def test_a_valence_that_was_not_said_is_not_measured() -> None:
    said = np.array([[NONE, 0.9, 0.1], [NONE, 0.2, 0.8]])
    found = score_ratings(("a", "b"), said, np.array([0.5, 0.1]), np.array([0, 1]), groups=None)
    assert found["valence"] is None and found["emotions"]["uar"] == 1


def test_groups_and_their_interval() -> None:
    number = 24
    groups = [f"g{i // 2}" for i in range(number)]
    true = [0.5] * number
    said = [0.5 - 0.02 * (i // 2) for i in range(number)]
    found = scored(said, true, groups)
    assert found["per_group"]["g3"] == {"n": 2, "mae": pytest.approx(0.06)}
    assert found["interval"]["low"] < found["mae"] < found["interval"]["high"]
    few = scored(said[:8], true[:8], groups[:8])
    assert few["interval"] is None, "four groups are too few"


def test_what_is_no_valence_is_refused() -> None:
    with pytest.raises(ValueError, match="from -1 to 1"):
        scored([1.5], [0.5])
    with pytest.raises(ValueError, match="emotions"):
        score_ratings(("a", "b"), np.zeros((2, 2)), np.zeros(2), np.zeros(2, int), groups=None)


@given(st.lists(st.tuples(UNIT, UNIT), min_size=1, max_size=30))
def test_numbers_stay_in_their_ranges(pairs: list[tuple[float, float]]) -> None:
    said, true = (list(values) for values in zip(*pairs, strict=True))
    found = scored(said, true)
    assert 0 <= found["mae"] <= 2
    assert found["pearson"] is None or -1 <= found["pearson"] <= 1
    for name in (NON_NEGATIVE, POSITIVE):
        for key in ("acc2", "f1"):
            assert found[key][name] is None or 0 <= found[key][name] <= 1
    right = scored(true, true)
    assert right["mae"] == 0
    assert set(right["acc2"].values()) <= {1.0, None}
