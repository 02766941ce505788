from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vmm_cli.networks.pretrained.mtcnn import (
    OUTPUT_SIDE,
    REFINE_SIDE,
    OutputNetwork,
    ProposalNetwork,
    RefineNetwork,
    overlap,
    suppress,
)


@st.composite
def scored_boxes(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    number = draw(st.integers(0, 12))
    corners = draw(arrays(np.int64, (number, 2), elements=st.integers(0, 20)))
    sides = draw(arrays(np.int64, (number, 2), elements=st.integers(0, 10)))
    scores = draw(arrays(np.int64, number, elements=st.integers(0, 5)))
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    return torch.from_numpy(boxes), torch.from_numpy(scores.astype(np.float32) / 5)


def one_by_one(
    boxes: torch.Tensor, scores: torch.Tensor, limit: float, by_smaller: bool
) -> list[int]:
    """What the words of `suppress` say, box after box."""
    shared = overlap(boxes, by_smaller=by_smaller)
    kept: list[int] = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        if all(shared[i, j] <= limit for j in kept):
            kept.append(i)
    return kept


@given(scored_boxes(), st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]), st.booleans())
def test_suppression_keeps_what_nothing_better_covers(
    found: tuple[torch.Tensor, torch.Tensor], limit: float, by_smaller: bool
) -> None:
    boxes, scores = found
    kept = suppress(boxes, scores, limit, by_smaller=by_smaller)
    assert kept.tolist() == one_by_one(boxes, scores, limit, by_smaller)
    again = suppress(boxes[kept], scores[kept], limit, by_smaller=by_smaller)
    assert again.tolist() == list(range(len(kept)))


@given(scored_boxes(), st.booleans())
def test_overlap_is_a_share(found: tuple[torch.Tensor, torch.Tensor], by_smaller: bool) -> None:
    shared = overlap(found[0], by_smaller=by_smaller)
    assert torch.equal(shared, shared.T)
    assert ((shared >= 0) & (shared <= 1)).all()


def test_a_box_within_another_goes_where_the_smaller_one_counts() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [2, 2, 6, 6], [20, 20, 30, 30]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    assert suppress(boxes, scores, 0.7).tolist() == [0, 1, 2]
    assert suppress(boxes, scores, 0.7, by_smaller=True).tolist() == [0, 2]


def test_a_chain_of_boxes_loses_every_second_one() -> None:
    left = torch.arange(40.0) * 4
    boxes = torch.stack([left, torch.zeros(40), left + 10, torch.full((40,), 10.0)], dim=1)
    kept = suppress(boxes, torch.linspace(1, 0, 40), 0.3)
    assert kept.tolist() == list(range(0, 40, 2))


@pytest.mark.parametrize(("height", "width"), [(12, 12), (13, 40), (57, 33)])
def test_the_proposal_network_sees_a_place_each_two_pixels(height: int, width: int) -> None:
    judged = ProposalNetwork()(torch.rand(2, 3, height, width))
    rows, columns = (-(-(side - 2) // 2) - 4 for side in (height, width))
    assert judged.probabilities.shape == (2, rows, columns)
    assert judged.shifts.shape == (2, 4, rows, columns)
    assert ((judged.probabilities >= 0) & (judged.probabilities <= 1)).all()


@pytest.mark.parametrize("number", [0, 1, 3])
def test_the_other_networks_judge_boxes(number: int) -> None:
    for network, side in ((RefineNetwork(), REFINE_SIDE), (OutputNetwork(), OUTPUT_SIDE)):
        judged = network(torch.rand(number, 3, side, side))
        assert judged.probabilities.shape == (number,)
        assert judged.shifts.shape == (number, 4)
