"""Files such as torchvision publishes, of the true names and shapes, with random values."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.shared import made_once
from vmm_cli.bundles.published_coco import COCO
from vmm_cli.compat import ensure_torchvision

# What is multiplied in MobileNet's detectors, so that random weights find something.
LIVELIER = {
    "rpn.head.cls_logits": 4,
    "rpn.head.bbox_pred": 2,
    "roi_heads.box_predictor.cls_score": 4,
    "roi_heads.box_predictor.bbox_pred": 4,
    "head.classification_head": 2,
}
# The last bias of networks for segmentation.
SEGMENTERS = {
    "deeplabv3_mobilenet_v3_large": "classifier.4.bias",
    "lraspp_mobilenet_v3_large": "classifier.low_classifier.bias",
}


def random_network(name: str) -> nn.Module:
    """A network of torchvision, in evaluation mode, whose normalisation is not the identity."""
    ensure_torchvision()
    from torchvision.models import get_model

    torch.manual_seed(0)
    short = name.removeprefix("torchvision/")
    # What finds objects would fetch weights of its backbone, and is published with what serves
    # the training alone.
    more = {"weights_backbone": None} if f"torchvision/{short}" in COCO else {}
    more |= {"aux_loss": True} if short.startswith("deeplab") else {}
    network: nn.Module = get_model(short, weights=None, **more)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    network.eval().requires_grad_(False)
    if "mobilenet" in short:
        if hasattr(network, "transform"):
            _normalise(network)
        for part, factor in LIVELIER.items():
            for key, value in network.named_parameters():
                if key.startswith(part):
                    value *= factor
    if short in SEGMENTERS:
        _in_balance(network, short)
    return network


def _normalise(network: nn.Module) -> None:
    """Let a detector's normalisations be of what they see, so that parts of a picture differ."""
    norms = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
    for one in norms:
        one.train().momentum = 1.0
    with torch.inference_mode():
        maps = network.backbone(
            torch.randn(2, 3, 32, 32).repeat_interleave(8, 2).repeat_interleave(8, 3)
        )
        if hasattr(network, "head"):
            network.head(list(maps.values()))
    for one in norms:
        one.eval()


def _in_balance(network: nn.Module, short: str) -> None:
    """Change biases so that no kind is ahead of the others in all of a picture."""
    bias = network.get_parameter(SEGMENTERS[short])
    with torch.inference_mode():
        scores = network(torch.randn(1, 3, 40, 40).repeat_interleave(8, 2).repeat_interleave(8, 3))
        mean = scores["out"].mean(dim=(0, 2, 3))
    bias -= mean.clone()


def weights_for_all(name: str, factory: pytest.TempPathFactory) -> Path:
    """Return such a file, made once for all tests of a session."""
    short = name.removeprefix("torchvision/")
    folder = made_once(factory, f"{short}_weights", lambda folder: random_weights(name, folder))
    return next(folder.iterdir())


def random_weights(name: str, folder: Path, *, zipped: bool = True) -> Path:
    """Write a network's state, and give the file a name that carries its digest."""
    file = folder / "unnamed.pth"
    state = random_network(name).state_dict()
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return file.rename(folder / f"{name.removeprefix('torchvision/')}-{digest[:8]}.pth")
