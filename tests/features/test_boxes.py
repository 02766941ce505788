"""Boxes that cover each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vmm_cli.compat import ensure_torchvision
from vmm_cli.features.boxes import overlap, suppress, suppress_by_kind

ensure_torchvision()
import torchvision  # noqa: E402  the cure comes first


@st.composite
def scored_boxes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    number = draw(st.integers(0, 12))
    corners = draw(arrays(np.int64, (number, 2), elements=st.integers(0, 20)))
    sides = draw(arrays(np.int64, (number, 2), elements=st.integers(0, 10)))
    scores = draw(arrays(np.int64, number, elements=st.integers(0, 5)))
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    return boxes, scores.astype(np.float32) / 5


def one_by_one(boxes: np.ndarray, scores: np.ndarray, limit: float, by_smaller: bool) -> list[int]:
    """What the words of `suppress` say, box after box."""
    shared = overlap(boxes, by_smaller=by_smaller)
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable").tolist():
        if all(shared[i, j] <= limit for j in kept):
            kept.append(i)
    return kept


@given(scored_boxes(), st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]), st.booleans())
def test_suppression_keeps_what_nothing_better_covers(
    found: tuple[np.ndarray, np.ndarray], limit: float, by_smaller: bool
) -> None:
    boxes, scores = found
    kept = suppress(boxes, scores, limit, by_smaller=by_smaller)
    assert kept.tolist() == one_by_one(boxes, scores, limit, by_smaller)
    again = suppress(boxes[kept], scores[kept], limit, by_smaller=by_smaller)
    assert again.tolist() == list(range(len(kept)))


@given(scored_boxes(), st.booleans())
def test_overlap_is_a_share(found: tuple[np.ndarray, np.ndarray], by_smaller: bool) -> None:
    shared = overlap(found[0], by_smaller=by_smaller)
    assert np.array_equal(shared, shared.T)
    assert ((shared >= 0) & (shared <= 1)).all()


def test_a_box_within_another_goes_where_the_smaller_one_counts() -> None:
    boxes = np.array([[0, 0, 10, 10], [2, 2, 6, 6], [20, 20, 30, 30]], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    assert suppress(boxes, scores, 0.7).tolist() == [0, 1, 2]
    assert suppress(boxes, scores, 0.7, by_smaller=True).tolist() == [0, 2]


def test_a_chain_of_boxes_loses_every_second_one() -> None:
    left = np.arange(40, dtype=np.float32) * 4
    edges = [left, np.zeros(40), left + 10, np.full(40, 10)]
    boxes = np.stack(edges, axis=1).astype(np.float32)
    kept = suppress(boxes, np.linspace(1, 0, 40, dtype=np.float32), 0.3)
    assert kept.tolist() == list(range(0, 40, 2))


LIMITS = st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0])


@given(scored_boxes(), LIMITS, st.integers(0, 2**32 - 1))
def test_boxes_of_two_kinds_do_not_suppress_each_other(
    found: tuple[np.ndarray, np.ndarray], limit: float, seed: int
) -> None:
    boxes, scores = found
    kinds = np.random.default_rng(seed).integers(0, 3, len(boxes))
    kept = suppress_by_kind(boxes, scores, kinds, limit)
    wanted: list[int] = []
    for kind in set(kinds.tolist()):
        those = np.flatnonzero(kinds == kind)
        wanted += those[one_by_one(boxes[those], scores[those], limit, False)].tolist()
    assert kept.tolist() == sorted(wanted, key=lambda i: (-scores[i], i))


@pytest.mark.skipif(
    not torchvision.extension._has_ops(),
    reason="torchvision's native library does not load beside this PyTorch",
)
@given(scored_boxes(), LIMITS, st.integers(0, 2**32 - 1))
def test_suppression_is_the_native_library_s(
    found: tuple[np.ndarray, np.ndarray], limit: float, seed: int
) -> None:
    boxes, scores = found
    kinds = np.random.default_rng(seed).integers(0, 3, len(boxes))
    kept = suppress_by_kind(boxes, scores, kinds, limit)
    given = (torch.from_numpy(one) for one in (boxes, scores, kinds))
    theirs = torchvision.ops.batched_nms(*given, limit)
    assert sorted(kept.tolist()) == sorted(theirs.tolist())
