from __future__ import annotations

import numpy as np
import pytest

from vmm_cli.encoders.features import Features, join


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
