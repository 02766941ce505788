from __future__ import annotations

import torch

from vmm_cli.networks.pretrained.open_nsfw import Bottleneck, OpenNSFW


def test_pictures_become_1024_features() -> None:
    with torch.inference_mode():
        assert OpenNSFW().eval()(torch.zeros(2, 3, 224, 224)).shape == (2, 1024)


def test_the_network_has_its_published_size() -> None:
    assert sum(p.numel() for p in OpenNSFW().parameters()) == 5_889_216


def test_a_block_adds_to_what_it_is_given() -> None:
    block = Bottleneck(16, 4, stride=1, project=False)
    torch.nn.init.zeros_(block.widen.weight)
    torch.nn.init.zeros_(block.widen.bias)
    x = torch.randn(1, 16, 5, 5)
    torch.testing.assert_close(block(x), x.relu())
