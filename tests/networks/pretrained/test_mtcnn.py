from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from vmm_cli.networks.pretrained.mtcnn import (
    OutputNetwork,
    ProposalNetwork,
    RefineNetwork,
    Slopes,
)
from vmm_cli.networks.pretrained.shapes import OUTPUT_SIDE, REFINE_SIDE


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


@torch.inference_mode()
@pytest.mark.parametrize("steepest", [0.9, 1.5])
def test_pooling_at_once_is_the_layers_one_after_the_other(steepest: float) -> None:
    torch.manual_seed(0)
    for network, side in ((ProposalNetwork(), 41), (RefineNetwork(), 24), (OutputNetwork(), 48)):
        for layer in network.layers:
            if isinstance(layer, Slopes):
                layer.weight.uniform_(-steepest, steepest)
        x = torch.randn(2, 3, side, side)
        judged = network(x)
        plain = x
        for layer in network.layers:
            is_slopes = isinstance(layer, Slopes)
            plain = F.prelu(plain, layer.weight) if is_slopes else layer(plain)
        torch.testing.assert_close(judged.shifts, network.shift(plain), rtol=0, atol=1e-5)
        chances = network.face(plain).softmax(dim=1)[:, 1]
        torch.testing.assert_close(judged.probabilities, chances, rtol=0, atol=1e-5)
