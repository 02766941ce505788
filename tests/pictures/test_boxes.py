"""Boxes, names and skeletons on pictures."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.analysis.boxes_between import Placed
from vmm_cli.pictures.boxes import colour_of, draw_boxes

LABELS = ("person", "car")
GREY = 100


def drawn(width: int, height: int, *placed: Placed) -> np.ndarray:
    return draw_boxes(np.full((height, width, 3), GREY, np.uint8), placed, LABELS)


def pixels_of(image: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.nonzero((image == colour_of(number)).all(axis=2))
    return rows, columns


def test_a_box_is_where_it_is_said_to_be() -> None:
    image = drawn(200, 100, Placed("car", None, (0.25, 0.4, 0.5, 0.5)))
    assert image.shape == (100, 200, 3) and image.dtype == np.uint8
    rows, columns = pixels_of(image, 1)
    assert (columns.min(), rows.max()) == (50, 89)
    on_top = columns[rows == 89]
    assert (on_top.min(), on_top.max()) == (50, 149)
    assert (image[60, 100] == GREY).all()  # nothing inside


def test_labels_have_colours_of_their_own() -> None:
    colours = [colour_of(number) for number in range(80)]
    assert len(set(colours)) == 80
    for one, other in pairwise(colours):
        assert np.abs(np.subtract(one, other)).sum() > 150


@pytest.mark.parametrize("sides", [(64, 48), (160, 120), (1920, 1080)])
@pytest.mark.parametrize(
    "box", [(0.95, 0.0, 0.05, 0.3), (0.0, 0.0, 1.0, 1.0), (0.9, 0.97, 0.1, 0.03)]
)
def test_names_stay_in_the_picture(sides: tuple[int, int], box: tuple[float, ...]) -> None:
    """A name is a field of its colour with letters on it."""
    width, height = sides
    image = drawn(width, height, Placed("car", 12, box))
    size = max(10, round(height * 0.028))
    rows, columns = pixels_of(image, 1)
    counts = np.bincount(rows, minlength=height)
    filled = np.flatnonzero(counts > size)  # rows of the name, not only of the box
    assert len(filled) >= size
    dark = (image < 60).all(axis=2)
    light = (image > 250).all(axis=2)
    assert (dark | light).sum() > 10  # the letters
    assert columns.max() < width


@given(
    st.lists(st.tuples(*[st.floats(-0.2, 1.2)] * 4), max_size=4),
    st.tuples(st.integers(2, 90), st.integers(2, 90)),
)
def test_any_box_on_any_picture(boxes: list[tuple[float, ...]], sides: tuple[int, int]) -> None:
    points = tuple((box[0], box[1], abs(box[2])) for box in boxes[:1] * 17) or None
    image = drawn(*sides, *[Placed("person", 1, box, points) for box in boxes])
    assert image.shape == (sides[1], sides[0], 3)


def test_a_skeleton_joins_the_points_that_are_seen() -> None:
    pose = [(0.5, 0.5, 0.0)] * 17
    pose[5], pose[7] = (0.2, 0.8, 0.9), (0.8, 0.8, 0.9)  # a shoulder and an elbow
    image = drawn(200, 100, Placed("person", 0, (0.1, 0.4, 0.8, 0.5), tuple(pose)))
    assert (image[80, 100] == colour_of(0)).all()
    assert (image[60, 100] == GREY).all()


def test_nothing_is_drawn_of_nothing() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    assert draw_boxes(image, [], LABELS) is image
