"""Means over areas, beside PyTorch's adaptive pooling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from vmm_cli.features.areas import cuts_in, sums_of, whole_in

sides = st.integers(1, 50)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 100 + width).integers(
        0, 256, (height, width, 3), np.uint8
    )


@given(sides, sides, sides, sides)
def test_a_picture_in_another_size(height: int, width: int, rows: int, columns: int) -> None:
    image = noise(height, width)
    x = torch.from_numpy(image).permute(2, 0, 1).float()
    expected = F.interpolate(x[None], (rows, columns), mode="area")[0].numpy()
    np.testing.assert_allclose(whole_in(sums_of(image), rows, columns), expected, atol=1e-4)


@given(st.lists(st.tuples(*[st.integers(0, 39)] * 4), max_size=5), st.sampled_from([1, 24, 48]))
def test_cuts_as_squares(corners: list[tuple[int, int, int, int]], side: int) -> None:
    image = noise(40, 40)
    x = torch.from_numpy(image).permute(2, 0, 1).float()
    edges = [(min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for a, b, c, d in corners]
    found = cuts_in(sums_of(image), np.array(edges, np.int64).reshape(-1, 4), side)
    assert found.shape == (len(edges), 3, side, side)
    for one, (left, top, right, bottom) in zip(found, edges, strict=True):
        expected = F.adaptive_avg_pool2d(x[:, top:bottom, left:right], side)
        np.testing.assert_allclose(one, expected.numpy(), atol=1e-4)


def test_sums_that_overflow_are_right_all_the_same() -> None:
    image = np.full((4200, 4200, 3), 255, np.uint8)  # 4.5e9 in all, more than 2 ** 32
    assert whole_in(sums_of(image), 7, 9) == pytest.approx(np.full((3, 7, 9), 255))
