from __future__ import annotations

import doctest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.media import geometry
from vmm_cli.media.geometry import Size, fit

SIDES = st.integers(1, 8192)


def test_the_examples_are_right() -> None:
    assert doctest.testmod(geometry).failed == 0


@given(
    SIDES, SIDES, st.integers(1, 400).map(lambda half: 2 * half), st.sampled_from(["short", "long"])
)
def test_one_side_is_as_asked_and_the_other_follows(
    width: int, height: int, wanted: int, side: str
) -> None:
    asked: dict[str, Any] = {side: wanted}
    found = fit(width, height, Size(**asked))
    which = min if side == "short" else max
    assert which(found) == wanted
    assert all(one % 2 == 0 and one >= 2 for one in found)
    scale = wanted / which(width, height)
    for before, after in zip((width, height), found, strict=True):
        assert after == 2 or abs(after - before * scale) <= 1
    assert fit(*found, Size(**asked)) == found  # what was scaled is not scaled again


@given(SIDES, SIDES)
def test_small_pictures_stay_where_they_are_not_enlarged(width: int, height: int) -> None:
    assert fit(width, height, Size(long=8192, enlarge=False)) == (width, height)
    assert fit(width, height, Size(short=8192, enlarge=False)) == (width, height)


@pytest.mark.parametrize(
    "sides", [{}, {"width": 4}, {"short": 4, "long": 4}, {"width": 4, "height": 4, "long": 4}]
)
def test_a_size_is_said_in_one_way(sides: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a size is"):
        Size(**sides)
    with pytest.raises(ValueError, match="at least 2"):
        Size(long=1)
