"""Boxes in pictures: float32 [N, 4], left, top, right and bottom in pixels. numpy only."""

from __future__ import annotations

import numpy as np


def shifted(boxes: np.ndarray, shifts: np.ndarray, more: int = 0) -> np.ndarray:
    """Move each edge by a share of the box's width or height, and of `more`: -> [N, 4]."""
    sides = boxes[:, 2:] - boxes[:, :2] + np.float32(more)
    moved: np.ndarray = boxes + shifts * np.tile(sides, 2)
    return moved


def squared(boxes: np.ndarray) -> np.ndarray:
    """Lengthen the shorter sides, about the middle: [N, 4] -> [N, 4]."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True, initial=-np.inf) / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def suppress(
    boxes: np.ndarray, scores: np.ndarray, limit: float, *, by_smaller: bool = False
) -> np.ndarray:
    """Return which boxes non-maximum suppression keeps, best first: [N, 4], [N] -> int64 [K].

    A box goes where a better one that stays covers it: where they share more than `limit` of their
    union, or with `by_smaller` of the smaller one. Among equal scores the earlier box is better.
    Takes memory for N x N numbers.
    """
    order = np.argsort(-scores, kind="stable")
    shared = overlap(boxes[order], by_smaller=by_smaller)
    covers = np.triu(shared > np.float32(limit), 1)  # [i, j]: i is better than j and covers it
    # After k rounds the best k are right, as each depends on better ones alone; few are needed.
    stays: np.ndarray = np.ones(len(order), bool)
    while True:
        following: np.ndarray = ~covers[stays].any(axis=0)
        if np.array_equal(following, stays):
            kept: np.ndarray = order[stays]
            return kept
        stays = following


def suppress_by_kind(
    boxes: np.ndarray, scores: np.ndarray, kinds: np.ndarray, limit: float
) -> np.ndarray:
    """Return what `suppress` keeps of the boxes of each kind, best first: int64 [K].

    kinds: [N], of any numbers; boxes of two kinds do not suppress each other.
    """
    kept = [np.empty(0, np.int64)]
    for kind in np.unique(kinds):
        those = np.flatnonzero(kinds == kind)
        kept.append(those[suppress(boxes[those], scores[those], limit)])
    every = np.sort(np.concatenate(kept))  # so that among equal scores the earlier box is better
    best_first: np.ndarray = every[np.argsort(-scores[every], kind="stable")]
    return best_first


def overlap(boxes: np.ndarray, *, by_smaller: bool = False) -> np.ndarray:
    """Return which share of their union, or of the smaller one, boxes share: [N, 4] -> [N, N]."""
    return overlaps(boxes, boxes, by_smaller=by_smaller)


def overlaps(one: np.ndarray, other: np.ndarray, *, by_smaller: bool = False) -> np.ndarray:
    """Return the same of each of some boxes with each of others: [N, 4], [M, 4] -> [N, M]."""
    left, top, right, bottom = np.ascontiguousarray(one.T)
    left_, top_, right_, bottom_ = np.ascontiguousarray(other.T)
    both: np.ndarray = np.minimum.outer(right, right_)  # in place: half the time
    both -= np.maximum.outer(left, left_)
    high = np.minimum.outer(bottom, bottom_)
    high -= np.maximum.outer(top, top_)
    np.maximum(both, 0, out=both)
    both *= np.maximum(high, 0, out=high)
    area = (right - left).clip(min=0) * (bottom - top).clip(min=0)
    area_ = (right_ - left_).clip(min=0) * (bottom_ - top_).clip(min=0)
    if by_smaller:
        whole = np.minimum.outer(area, area_)
    else:
        whole = np.add.outer(area, area_)
        whole -= both
    both /= np.maximum(whole, np.finfo(np.float32).tiny, out=whole)
    return both
