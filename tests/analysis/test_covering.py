"""What is covered at any time is more than was seen, never less."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.analysis.covering import (
    BEGINS_FROM,
    EARLIER_S,
    GOES_ON_FROM,
    WIDER,
    Boxes,
    Covered,
    heads_of,
    of_label,
)
from vmm_cli.features.objects import COLUMNS
from vmm_cli.features.values import Sets


def box(x: float, y: float = 0.4, side: float = 0.2) -> list[float]:
    return [x, y, x + side, y + side]


def kind(pictures: Sequence[Sequence[list[float]]], scores: Sequence[float] | None = None) -> Boxes:
    boxes = [np.array(one, float).reshape(-1, 4) for one in pictures]
    sure = scores or [1.0] * len(boxes)
    return Boxes(boxes, [np.full(len(b), s) for b, s in zip(boxes, sure, strict=True)])


def is_covered(covered: Covered, time_s: float, wanted: list[float]) -> bool:
    left, top, right, bottom = np.add(wanted, [1e-9, 1e-9, -1e-9, -1e-9])
    return any(
        one[0] <= left and one[1] <= top and right <= one[2] and bottom <= one[3]
        for one in covered.at(time_s)
    )


def test_what_is_seen_once_is_covered_before_and_after() -> None:
    covered = Covered([0.0, 1.0, 2.0], [kind([[], [box(0.3)], []])], 0.1)
    (only,) = np.unique(covered.at(1.0), axis=0)
    assert np.allclose(
        only, [0.3 - 0.2 * WIDER, 0.4 - 0.2 * WIDER, *np.add(0.2 * (1 + WIDER), [0.3, 0.4])]
    )
    for time_s in (1 - EARLIER_S, 1, 1 + EARLIER_S):
        assert is_covered(covered, time_s, box(0.3))
    assert not len(covered.at(0.4)) and not len(covered.at(1.6))
    rarely = Covered([0.0, 2.0], [kind([[box(0.3)], []])], 2.0)  # nothing is known in between
    assert is_covered(rarely, 1.9, box(0.3))


def test_what_is_missed_between_is_filled() -> None:
    times = [0.0, 0.1, 0.2, 0.3, 0.4]
    covered = Covered(times, [kind([[box(0.3)], [], [], [], [box(0.38)]])], 0.1)
    for time_s in (0.0, 0.15, 0.4):
        assert is_covered(covered, time_s, box(0.3)) and is_covered(covered, time_s, box(0.38))


def test_the_unsure_go_on_and_do_not_begin() -> None:
    times = [0.0, 0.1, 5.0]
    unsure = (BEGINS_FROM + GOES_ON_FROM) / 2
    boxes = kind([[box(0.3)], [box(0.32)], [box(0.7)]], [BEGINS_FROM, unsure, unsure])
    covered = Covered(times, [boxes], 0.1)
    assert is_covered(covered, 0.1 + EARLIER_S, box(0.32))
    assert not len(covered.at(5.0))


@given(
    st.lists(st.lists(st.floats(0, 0.8), max_size=3), min_size=1, max_size=8),
    st.floats(0.05, 2),
)
def test_whatever_is_seen_is_covered_then(xs: list[list[float]], step_s: float) -> None:
    times = [i * step_s for i in range(len(xs))]
    covered = Covered(times, [kind([[box(x) for x in one] for one in xs])], step_s)
    for time_s, one in zip(times, xs, strict=True):
        assert all(is_covered(covered, time_s, box(x)) for x in one)
        after_s = time_s + min(step_s, EARLIER_S) - 1e-6
        assert all(is_covered(covered, after_s, box(x)) for x in one)


def test_objects_are_taken_by_label_and_score() -> None:
    rows = [[0, 0.9, 0.1, 0.2, 0.3, 0.4], [2, 0.9, 0, 0, 1, 1], [0, 0.05, 0, 0, 1, 1]]
    found = of_label(Sets.of([0.0], [np.array(rows, np.float32)], COLUMNS), 0)
    assert np.allclose(found.boxes[0], [[0.1, 0.2, 0.4, 0.6]])
    assert np.allclose(found.scores[0], [0.9])


def test_heads_are_covered_where_no_face_is_found() -> None:
    standing, lying = [0.1, 0.1, 0.2, 0.9], [0.5, 0.6, 0.9, 0.8]
    none = kind([[]])
    heads = heads_of(kind([[standing, lying]]), none, 1.0).boxes[0]
    assert np.allclose(heads, [[0.1, 0.1, 0.2, 0.15], lying])
    face = kind([[[0.13, 0.11, 0.17, 0.14]]])
    assert np.allclose(heads_of(kind([[standing, lying]]), face, 1.0).boxes[0], [lying])
    unsure = kind([[[0.13, 0.11, 0.17, 0.14]]], [0.6])
    assert len(heads_of(kind([[standing]]), unsure, 1.0).boxes[0]) == 1
    both = heads_of(kind([[standing, standing]]), face, 1.0).boxes[0]
    assert len(both) == 1  # one face is one person's
