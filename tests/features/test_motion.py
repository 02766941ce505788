"""Where a window moves."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from vmm_cli import bundles
from vmm_cli.features import catalogue
from vmm_cli.features.motion import Box, cut, grey, motion_map, place_box, resized
from vmm_cli.features.plan import encoder_spec
from vmm_cli.media.frames import FrameRequest, iter_frames
from vmm_cli.media.sampling import count


def walk(height: int, width: int, top: int, left: int, side: int = 8) -> np.ndarray:
    """Pictures in which a square flickers in one place."""
    pictures = np.full((6, height, width), 60, np.float32)
    pictures[::2, top : top + side, left : left + side] = 200
    return pictures


def test_brightness_is_weighed_by_colour():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert grey(colours)[0].tolist() == pytest.approx([76.2, 149.7, 29.1, 255], abs=0.1)


def test_another_way_to_place_boxes_is_another_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    before = encoder_spec("motion", "motion-crop", Fraction(5))
    assert before.digest == bundles.load("fights").encoders["motion"].digest
    row = replace(catalogue.ENCODERS["motion-crop"], version="next")
    monkeypatch.setitem(catalogue.ENCODERS, "motion-crop", row)
    assert encoder_spec("motion", "motion-crop", Fraction(5)).digest != before.digest


@given(st.integers(0, 52), st.integers(0, 72), st.sampled_from([0.25, 0.35, 0.5]))
@settings(max_examples=30, deadline=None)
def test_the_box_holds_what_moves(top, left, side):
    change = motion_map(walk(60, 80, top, left))
    box = place_box(change, side)
    assert box.side == pytest.approx(side, abs=1 / 60)
    shown = cut(np.repeat(change[..., None], 3, axis=2), box)[..., 0]
    assert shown.sum() >= 0.95 * change.sum()


def test_what_changes_everywhere_is_no_motion():
    pictures = np.linspace(0, 100, 5, dtype=np.float32)[:, None, None] * np.ones((1, 30, 40))
    assert motion_map(pictures.astype(np.float32)).max() < 1e-3


@pytest.mark.parametrize("count", [1, 4])
def test_without_motion_the_box_is_in_the_middle(count):
    change = motion_map(np.full((count, 60, 80), 9, np.float32))
    box = place_box(change, 0.5)
    assert (box.left, box.top, box.side) == (25 / 60, 15 / 60, 0.5)


def test_a_box_means_the_same_place_at_any_scale():
    small, large = np.zeros((60, 80, 3), np.uint8), np.zeros((240, 320, 3), np.uint8)
    small[15:45, 25:55], large[60:180, 100:220] = 7, 7
    box = Box(25 / 60, 15 / 60, 0.5)
    for image, side in ((small, 30), (large, 120)):
        assert cut(image, box).shape == (side, side, 3)
        assert (cut(image, box) == 7).all()


def test_a_box_stays_inside_the_picture():
    assert cut(np.zeros((50, 90, 3), np.uint8), Box(1.6, 0.9, 0.5)).shape == (25, 25, 3)
    assert cut(np.zeros((1, 3, 3), np.uint8), Box(0, 0, 0.25)).shape == (1, 1, 3)


def test_squares_are_scaled_together_whatever_their_sizes():
    images = [np.full((s, s, 3), s, np.uint8) for s in (40, 40, 20, 60)]
    scaled = resized(images, 32)
    assert scaled.shape == (4, 32, 32, 3) and scaled.dtype == np.uint8
    assert [int(image.mean()) for image in scaled] == [40, 40, 20, 60]


@pytest.mark.parametrize("side", [1, 60, 223, 224, 225, 272])
def test_squares_are_scaled_as_pytorch_does(bikes: Path, side: int) -> None:
    (frame,) = iter_frames(bikes, [FrameRequest("x", count(1))])
    square = frame.image[:side, :side]
    x = torch.from_numpy(square.copy()).permute(2, 0, 1)[None].float()
    scaled = functional.interpolate(
        x, (224, 224), mode="bicubic", antialias=True, align_corners=False
    )
    expected = scaled.round().clamp(0, 255)[0].permute(1, 2, 0).numpy()
    off = np.abs(resized([square], 224)[0] - expected)
    assert off.max() <= 1  # where a sum lies halfway between two numbers
    assert (off > 0).mean() < 1e-3
