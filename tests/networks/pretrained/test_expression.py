from __future__ import annotations

import pytest
import torch

from vmm_cli.networks.pretrained.expression import Block, MiniXception
from vmm_cli.networks.pretrained.shapes import FACE_SIDE


def test_it_has_the_size_that_is_published() -> None:
    network = MiniXception()
    logits, features = network(torch.zeros(2, 1, FACE_SIDE, FACE_SIDE))
    assert logits.shape == (2, 7)
    assert features.shape == (2, 128)
    # Its 736 normalised channels had four numbers each; folded, one.
    assert sum(p.numel() for p in network.parameters()) == 58_423 - 3 * 736


@pytest.mark.parametrize("side", [60, 30, 15, 8, 1])
def test_a_block_halves_and_rounds_up(side: int) -> None:
    assert Block(3, 5)(torch.zeros(1, 3, side, side)).shape == (1, 5, -(-side // 2), -(-side // 2))


def test_pooling_looks_where_tensorflow_looks() -> None:
    """At [0, 3) of an even side, at [-1, 2) of an odd one."""
    block = Block(1, 1).eval()
    for convolution in (block.short, block.first.pointwise, block.second.pointwise):
        torch.nn.init.zeros_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
    for part in (block.first, block.second):
        torch.nn.init.ones_(part.pointwise.weight)
        torch.nn.init.zeros_(part.depthwise.weight)
        part.depthwise.weight.data[..., 1, 1] = 1
    for side, expected in ((4, [2, 3]), (5, [1, 3, 4])):
        rising = torch.arange(float(side)).expand(1, 1, side, side)
        assert block(rising)[0, 0, 0].tolist() == expected
