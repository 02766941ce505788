from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from vmm_cli.networks.pretrained.padding import same_padding
from vmm_cli.networks.pretrained.yamnet import ScaledConv, YAMNet


def test_patches_become_1024_features() -> None:
    with torch.inference_mode():
        assert YAMNet().eval()(torch.zeros(2, 96, 64)).shape == (2, 1024)


def test_the_network_has_its_size() -> None:
    network = YAMNet()
    weights = sum(p.numel() for n, p in network.named_parameters() if not n.endswith("scale"))
    assert weights + 1024 * 521 + 521 == 3_729_481


@pytest.mark.parametrize("stride", [1, 2])
def test_a_channel_is_worth_its_scale(stride: int) -> None:
    layer = ScaledConv(3, 3, kernel=3, stride=stride, groups=3)
    torch.nn.init.normal_(layer.scale)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 8, 6)
    padded = F.pad(x, same_padding(8, 6, 3, stride))
    weight = layer.conv.weight * layer.scale[:, None, None, None]
    expected = F.relu(F.conv2d(padded, weight, layer.bias, stride, groups=3))
    torch.testing.assert_close(layer(x), expected)
    assert layer(x).shape == (2, 3, 8 // stride, 6 // stride)


def test_the_odd_zero_of_the_padding_lies_behind() -> None:
    assert same_padding(8, 7, 3, 2) == [1, 1, 0, 1]
    assert same_padding(8, 8, 3, 1) == [1, 1, 1, 1]
    assert same_padding(112, 112, 3, 2) == [0, 1, 0, 1]
