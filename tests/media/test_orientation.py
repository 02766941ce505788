"""Turning, mirroring and stretching: the display matrix against the pixels it moves."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.media.orientation import (
    UPRIGHT,
    Orientation,
    display_matrix,
    display_size,
    frame_orientation,
    sensible_aspect,
)

ONE = 65536  # 1 in 16.16 fixed point


def matrix_of(degrees_clockwise: float, mirrored: bool, scale: float = 1.0) -> list[int]:
    """The 3x3 matrix that mirrors left to right, then turns; y points down."""
    angle = math.radians(degrees_clockwise)
    sign = -1 if mirrored else 1
    a, b = sign * math.cos(angle), sign * math.sin(angle)
    c, d = -math.sin(angle), math.cos(angle)
    upper = [round(scale * ONE * number) for number in (a, b, c, d)]
    return [upper[0], upper[1], 0, upper[2], upper[3], 0, 12345, -678, 1 << 30]


def moved(image: np.ndarray, matrix: list[int]) -> np.ndarray:
    """Move every pixel to where the matrix says (ISO/IEC 14496-12: a row vector times it)."""
    height, width = image.shape
    rows, columns = np.mgrid[:height, :width]
    x = (columns * matrix[0] + rows * matrix[3]) // ONE
    y = (columns * matrix[1] + rows * matrix[4]) // ONE
    x, y = x - x.min(), y - y.min()
    result = np.zeros((y.max() + 1, x.max() + 1), image.dtype)
    result[y, x] = image
    return result


@pytest.mark.parametrize(("quarters", "mirrored"), list(product(range(4), (False, True))))
def test_the_orientation_moves_pixels_as_the_matrix_does(quarters: int, mirrored: bool) -> None:
    image = np.arange(12).reshape(3, 4)
    matrix = matrix_of(90 * quarters, mirrored)
    assert display_matrix(matrix) == Orientation(quarters, mirrored)
    turned = np.rot90(image[:, ::-1] if mirrored else image, -quarters)
    np.testing.assert_array_equal(moved(image, matrix), turned)
    assert display_size(4, 3, None, Orientation(quarters, mirrored)) == turned.shape[::-1]


@given(
    quarters=st.integers(0, 3),
    mirrored=st.booleans(),
    off=st.floats(-44, 44),
    scale=st.floats(0.01, 100),
)
def test_other_angles_go_to_the_nearest_quarter(
    quarters: int, mirrored: bool, off: float, scale: float
) -> None:
    matrix = matrix_of(90 * quarters + off, mirrored, scale)
    assert display_matrix(matrix) == Orientation(quarters, mirrored)


def test_a_matrix_that_flattens_the_picture_is_none() -> None:
    assert display_matrix([0] * 9) == UPRIGHT
    assert display_matrix([ONE, ONE, 0, ONE, ONE, 0, 0, 0, 1 << 30]) == UPRIGHT


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="9 numbers"):
        display_matrix([1, 2, 3])
    with pytest.raises(ValueError, match="0 to 3"):
        Orientation(4)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_decoded_picture_says_how_it_is_shown(
    render_clip: Callable[..., Path], degrees: int, mirrored: bool
) -> None:
    path = render_clip("turned.mp4", frames=1)
    turned = path.with_name("again.mp4")
    with av.open(str(path)) as source, av.open(str(turned), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.set_display_matrix(matrix_of(degrees, mirrored))
        for packet in source.demux(video=0):
            if packet.size:  # the last one only flushes
                packet.stream = stream
                target.mux(packet)
    with av.open(str(turned)) as container:
        frame = next(container.decode(video=0))
        assert frame_orientation(frame) == Orientation(degrees // 90, mirrored)


def test_square_pixels_by_stretching_the_width() -> None:
    assert display_size(720, 576, Fraction(64, 45)) == (1024, 576)
    assert display_size(640, 360, Fraction(2, 3)) == (427, 360)
    assert display_size(640, 360) == (640, 360)
    assert display_size(1, 1, Fraction(1, 10)) == (1, 1)


@pytest.mark.parametrize("aspect", [None, 0, -1, Fraction(1, 1000), 65535])
def test_a_pixel_aspect_that_cannot_be_true_is_one(aspect: Fraction | None) -> None:
    assert sensible_aspect(aspect) == 1
    assert display_size(100, 50, aspect) == (100, 50)
