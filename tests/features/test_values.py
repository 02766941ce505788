from __future__ import annotations

import doctest

import numpy as np
import pytest

from vmm_cli.features import values as module
from vmm_cli.features.values import Features, Sets, join


def values(n: int) -> np.ndarray:
    return np.arange(n * 2, dtype=np.float32).reshape(n, 2)


def test_a_stream_can_be_absent() -> None:
    assert len(Features(np.empty(0), np.empty((0, 1280), np.float32))) == 0


@pytest.mark.parametrize(
    "good",
    [values(2), np.zeros((2, 3, 4, 4), np.float32), np.zeros(2, np.int64)],
    ids=["vectors", "maps", "tokens"],
)
def test_all_kinds_of_values_are_taken(good: np.ndarray) -> None:
    assert "0.000 to 1.000 s" in repr(Features(np.array([0.0, 1.0]), good))


@pytest.mark.parametrize(
    ("times", "data"),
    [
        (np.array([0, 1]), values(2)),
        (np.array([0.0, 1.0], np.float32), values(2)),
        (np.array([[0.0, 1.0]]), values(1)),
        (np.array([1.0, 0.0]), values(2)),
        (np.array([1.0, 1.0]), values(2)),
        (np.array([0.0, np.nan]), values(2)),
        (np.array([np.inf]), values(1)),
        (np.array([0.0]), values(2)),
        (np.array([0.0]), values(1).astype(np.float64)),
        (np.array([0.0]), np.zeros(1, np.float32)),
        (np.array([0.0]), np.zeros((1, 1), np.int64)),
    ],
)
def test_anything_else_is_refused(times: np.ndarray, data: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must be|but"):
        Features(times, data)


def test_parts_are_joined_in_time_and_a_shared_border_counts_once() -> None:
    late = Features(np.array([2.0, 3.0]), values(2) + 10)
    early = Features(np.array([0.0, 2.0]), values(2))
    whole = join([early, late])
    assert whole.times.tolist() == [0.0, 2.0, 3.0]
    assert whole.values.tolist() == [[0, 1], [2, 3], [12, 13]]
    assert len(join([Features(np.empty(0), np.empty((0, 2), np.float32)), late])) == 2
    with pytest.raises(ValueError, match="no parts"):
        join([])


# --- sets ---------------------------------------------------------------------------------------

COLUMNS = ("left", "score")


def test_sets_vary_from_time_to_time() -> None:
    found = Sets.of([0.0, 0.5, 2.0], [values(2), values(0), values(3) + 10], COLUMNS)
    assert [len(found.at(i)) for i in range(len(found))] == [2, 0, 3]
    assert found.at(2).tolist() == [[10, 11], [12, 13], [14, 15]]
    assert found.column("score").tolist() == [1, 3, 11, 13, 15]
    assert repr(found) == "Sets(5 rows of left, score at 3 times, 0.000 to 2.000 s)"
    with pytest.raises(ValueError, match="no column 'right'; there are left, score"):
        found.column("right")


def test_sets_can_be_absent() -> None:
    nothing = Sets.of([], [], COLUMNS)
    assert len(nothing) == 0 and nothing.rows.shape == (0, 2)


@pytest.mark.parametrize(
    ("times", "offsets", "rows", "columns", "said"),
    [
        ([1.0, 0.0], [0, 0, 0], values(0), COLUMNS, "times must be finite and ascending"),
        ([0.0], [0, 1], values(1), (), "columns must have names"),
        ([0.0], [0, 1], values(1), ("left", "left"), "none twice"),
        ([0.0], [0, 1], values(1), ("left",), r"rows must be float32 \[N, 1\]"),
        ([0.0], [0, 1], values(1).astype(np.float64), COLUMNS, "rows must be float32"),
        ([0.0], [0], values(0), COLUMNS, r"offsets must be int64 \[2\]"),
        ([0.0], [0, 2], values(1), COLUMNS, "ascend from 0 to 1"),
        ([0.0], [1, 1], values(1), COLUMNS, "ascend from 0 to 1"),
        ([0.0, 1.0], [0, 2, 1], values(1), COLUMNS, "ascend from 0 to 1"),
    ],
)
def test_other_sets_are_refused(
    times: list[float], offsets: list[int], rows: np.ndarray, columns: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Sets(np.array(times), np.array(offsets, np.int64), rows, columns)


def test_the_examples_are_right() -> None:
    assert doctest.testmod(module).failed == 0
