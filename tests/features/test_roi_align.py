"""Regions pooled in plain PyTorch, against the definition and against torchvision's own."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vmm_cli.compat import ensure_torchvision
from vmm_cli.features.roi_align import SAMPLES, levels_of, roi_align

ensure_torchvision()
import torchvision  # noqa: E402  the cure comes first
from torchvision.ops.poolers import LevelMapper  # noqa: E402


def value_at(plane: np.ndarray, y: float, x: float) -> float:
    """The value of a point between pixels, as the definition says."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    above = plane[top, left] * (1 - across) + plane[top, right] * across
    below = plane[bottom, left] * (1 - across) + plane[bottom, right] * across
    return float(above * (1 - down) + below * down)


def by_definition(features: np.ndarray, boxes: np.ndarray, side: int, scale: float) -> np.ndarray:
    """Bin by bin, point by point: [C, H, W], [K, 4] -> [K, C, side, side]."""
    pooled = np.zeros((len(boxes), len(features), side, side))
    for k, box in enumerate(boxes * scale):
        left, top = box[0], box[1]
        wide, high = max(box[2] - left, 1) / side, max(box[3] - top, 1) / side
        for c, plane in enumerate(features):
            for i in range(side):
                for j in range(side):
                    points = [
                        value_at(
                            plane,
                            top + high * (i + (a + 0.5) / SAMPLES),
                            left + wide * (j + (b + 0.5) / SAMPLES),
                        )
                        for a in range(SAMPLES)
                        for b in range(SAMPLES)
                    ]
                    pooled[k, c, i, j] = np.mean(points)
    return pooled


@st.composite
def regions(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, int, float]:
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    scale = draw(st.sampled_from([1.0, 0.5, 0.25]))
    count = draw(st.integers(0, 3))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # Some begin or end beyond the map, some are of no width.
    reach = np.array([width, height]) / scale
    begins = numbers.uniform(-1.5, 1.0, (count, 2)) * reach
    sides = numbers.uniform(0, 1.5, (count, 2)) * reach * numbers.integers(0, 2, (count, 2))
    boxes = np.concatenate([begins, begins + sides], axis=1)
    features = numbers.normal(size=(2, height, width))
    side = draw(st.sampled_from([1, 2, 7]))
    return torch.from_numpy(features), torch.from_numpy(boxes), side, scale


@given(regions())
@settings(max_examples=60, deadline=None)
def test_regions_are_pooled_as_defined(
    given: tuple[torch.Tensor, torch.Tensor, int, float],
) -> None:
    features, boxes, side, scale = given
    ours = roi_align(features, boxes, side, scale).numpy()
    assert ours.shape == (len(boxes), 2, side, side)
    wanted = by_definition(features.numpy(), boxes.numpy(), side, scale)
    np.testing.assert_allclose(ours, wanted, atol=1e-9)


@given(regions())
@settings(max_examples=30, deadline=None)
def test_regions_are_torchvision_s(given: tuple[torch.Tensor, torch.Tensor, int, float]) -> None:
    """Its second implementation, which is written in Python for compilers."""
    features, boxes, side, scale = given
    plain = sys.modules["torchvision.ops.roi_align"]._roi_align.__wrapped__
    numbered = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], dim=1)
    wanted = plain(features[None], numbered, scale, side, side, SAMPLES, False)
    inside = (boxes[:, :2] > -1 / scale).all(dim=1)  # it reads on where a point is too far away
    ours = roi_align(features, boxes, side, scale)
    far = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1 / scale) + boxes[:, :2]
    height, width = features.shape[1:]
    inside &= (far <= far.new_tensor([width, height]) / scale).all(dim=1)
    np.testing.assert_allclose(ours[inside], wanted[inside], atol=1e-9)


@pytest.mark.skipif(
    not torchvision.extension._has_ops(),
    reason="torchvision's native library does not load beside this PyTorch",
)
@given(regions())
@settings(max_examples=60, deadline=None)
def test_regions_are_the_native_library_s(
    given: tuple[torch.Tensor, torch.Tensor, int, float],
) -> None:
    features, boxes, side, scale = given
    wanted = torchvision.ops.roi_align(
        features[None], [boxes], side, scale, sampling_ratio=SAMPLES, aligned=False
    )
    np.testing.assert_allclose(roi_align(features, boxes, side, scale), wanted, atol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_levels_follow_sizes_as_torchvision_s(seed: int) -> None:
    draw = np.random.default_rng(seed)
    begins = draw.uniform(0, 800, (20, 2))
    sides = 2.0 ** draw.integers(0, 11, (20, 2)) * draw.choice([0.9, 1.0, 7 / 8], (20, 2))
    boxes = torch.from_numpy(np.concatenate([begins, begins + sides], axis=1))
    ours = levels_of(boxes, 2, 5)
    assert (ours - 2).tolist() == LevelMapper(2, 5)([boxes]).tolist()
    whole = torch.tensor([[0.0, 0.0, 224.0, 224.0]])
    assert levels_of(whole, 2, 5).tolist() == [4]
