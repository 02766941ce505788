"""Parts of pictures that nobody can recognise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.pictures.hiding import BLOCKS, SHADES, hidden


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("sides", [(40, 32), (400, 300), (1600, 1200)])
def test_a_part_becomes_a_few_blocks_at_any_resolution(sides: tuple[int, int]) -> None:
    height, width = sides
    image = np.linspace(0, 255, height * width * 3).reshape(height, width, 3).astype(np.uint8)
    before = image.copy()
    made = hidden(image, np.array([[0.25, 0.25, 0.75, 0.75]]))
    inside = (slice(height // 4, 3 * height // 4), slice(width // 4, 3 * width // 4))
    rows = np.count_nonzero(np.any(np.diff(made[inside].astype(int), axis=0), axis=(1, 2)))
    columns = np.count_nonzero(np.any(np.diff(made[inside].astype(int), axis=1), axis=(0, 2)))
    assert rows < BLOCKS and columns < BLOCKS
    assert set(np.unique(made[inside])) <= {16 + 32 * shade for shade in range(SHADES)}
    assert (image == before).all()  # the picture itself stays
    made[inside] = image[inside]
    assert (made == image).all()  # and so does what lies around


def test_nothing_of_the_detail_is_left() -> None:
    """Pictures that differ in detail alone become the same."""
    smooth = np.full((200, 200, 3), 112, np.uint8)
    rough = smooth.copy()
    rough[::2, ::2] += 8
    rough[1::2, 1::2] -= 8
    box = np.array([[0.1, 0.2, 0.8, 0.9]])
    assert (hidden(smooth, box)[50:170, 30:150] == hidden(rough, box)[50:170, 30:150]).all()


@given(
    st.lists(st.tuples(*[st.floats(-0.5, 1.5)] * 4), max_size=4),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_any_boxes_on_any_picture(boxes: list[tuple[float, ...]], sides: tuple[int, int]) -> None:
    image = noise(*sides)
    assert hidden(image, np.array(boxes).reshape(-1, 4)).shape == image.shape


def test_boxes_beyond_the_edge_end_there() -> None:
    made = hidden(noise(20, 20), np.array([[-1.0, -1.0, 2.0, 2.0]]))
    assert len(np.unique(made.reshape(-1, 3), axis=0)) <= BLOCKS**2
