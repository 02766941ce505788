"""Masks as COCO's run lengths: read again by a decoder written here, and by COCO's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.features.run_lengths import compressed, run_lengths


def lengths_in(text: str) -> list[int]:
    """Read run lengths, as the format is described."""
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        six = ord(character) - 48
        value |= (six & 0x1F) << shift
        shift += 5
        if six & 0x20:
            continue
        if six & 0x10:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths


def mask_of(text: str, height: int, width: int) -> np.ndarray:
    """Draw a mask of its run lengths."""
    runs = [np.full(length, i % 2, bool) for i, length in enumerate(lengths_in(text))]
    return np.concatenate(runs).reshape(height, width, order="F")


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_mask_comes_back(height: int, width: int, seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).uniform(size=(height, width)) < share
    lengths = run_lengths(mask)
    assert sum(lengths) == mask.size and sum(lengths[1::2]) == mask.sum()
    assert all(length > 0 for length in lengths[1:])
    text = compressed(lengths)
    assert lengths_in(text) == lengths
    assert np.array_equal(mask_of(text, height, width), mask)


def test_long_runs_come_back() -> None:
    lengths = [0, 1, 10**6, 3, 17, 2 * 10**6, 1, 31, 32]
    assert lengths_in(compressed(lengths)) == lengths


def test_it_is_what_coco_s_own_tools_write_and_read() -> None:
    masks = pytest.importorskip("pycocotools.mask")
    for share in (0, 0.02, 0.5, 0.99, 1):
        mask = np.random.default_rng(1).uniform(size=(130, 231)) < share
        theirs = masks.encode(np.asfortranarray(mask.astype(np.uint8)))
        text = compressed(run_lengths(mask))
        assert theirs == {"size": [130, 231], "counts": text.encode()}
        assert np.array_equal(masks.decode({"size": [130, 231], "counts": text}), mask)
        assert masks.area(theirs) == mask.sum()
