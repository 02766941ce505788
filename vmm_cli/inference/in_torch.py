"""A trained network in PyTorch: while it learns, and where there is no graph of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vmm_cli import bundles
from vmm_cli.inference.examples import Examples
from vmm_cli.inference.network import DEFAULT_HEAD, StepNetwork, Streams, WindowNetwork
from vmm_cli.networks.image_tail import ImageTail
from vmm_cli.networks.model import FusionNetwork, StreamShape
from vmm_cli.networks.pyramid import AnchorPoints, Pyramid

CPU = torch.device("cpu")


def network_from(about: Mapping[str, Any]) -> FusionNetwork:
    """Build the network that a bundle describes. ValueError, KeyError or TypeError if it cannot."""
    return FusionNetwork(
        [StreamShape(**shape) for shape in about["streams"]],
        temporal=about["temporal"],
        fusion=about["fusion"],
        width=about["width"],
        layers=about["layers"],
        dropout=about["dropout"],
        outputs=about["outputs"],
        head=about.get("head", DEFAULT_HEAD),
        levels=about.get("levels", 1),
    )


def trained(about: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> FusionNetwork:
    """Build the network that a bundle describes with its weights, to be evaluated.

    Raises:
        AttributeError, KeyError, OverflowError, TypeError, ValueError, RuntimeError: it cannot be
            built, or the weights are not those of such a network.
    """
    with torch.device("meta"):  # what a bundle asks for takes memory only where it has weights
        network = network_from(about)
    described = {k: tuple(v.shape) for k, v in network.state_dict().items()}
    _refuse_other_tensors(described, {k: v.shape for k, v in tensors.items()})
    state = {k: torch.from_numpy(v.copy()) for k, v in tensors.items()}
    network.load_state_dict(state, assign=True)
    network.eval().requires_grad_(False)
    return network


def tensors_of(
    batch: tuple[Streams, Streams, np.ndarray], device: torch.device = CPU
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Return what `Examples.batch` gives as tensors on a device."""
    values, masks, grid = batch
    return (
        {stream: torch.from_numpy(value).to(device) for stream, value in values.items()},
        {stream: torch.from_numpy(mask).to(device) for stream, mask in masks.items()},
        torch.from_numpy(grid).to(device),
    )


def batch_of(
    examples: Examples, rows: Sequence[int] | np.ndarray, device: torch.device
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Return some windows as tensors on a device: see `Examples.batch`."""
    return tensors_of(examples.batch(rows), device)


def window_network(network: nn.Module, device: torch.device = CPU) -> WindowNetwork:
    """Return a network on `device` as a function of arrays; leaves it in evaluation mode."""
    network.eval()

    def run(values: Streams, masks: Streams, grid: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            outputs: Tensor = network(*tensors_of((values, masks, grid), device))
        return outputs.detach().cpu().numpy()

    return run


def step_network(network: FusionNetwork) -> StepNetwork:
    """Return a network on the CPU as functions of arrays.

    Raises:
        ValueError: what its head is given depends on the whole video.
    """
    if network.receptive_field is None:
        raise ValueError("what it says of a step depends on the whole video")

    def fused(values: Streams, masks: Streams, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            x, mask = network.fused(*tensors_of((values, masks, grid)))
        return x.numpy(), mask.numpy()

    def head(x: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, ...]:
        with torch.inference_mode():
            given = network.head(torch.from_numpy(x), torch.from_numpy(mask))
        return tuple(part.numpy() for part in parts_of(given))

    levels = network.head.levels if isinstance(network.head, Pyramid) else 0
    return StepNetwork(fused, head, network.receptive_field, levels)


def features_after(tail: ImageTail, before: np.ndarray) -> np.ndarray:
    """Return what the last blocks of an encoder make of some pictures: [N, C * H * W] -> [N, D]."""
    device = next(tail.parameters()).device
    with torch.inference_mode():
        features: Tensor = tail(torch.from_numpy(before).to(device))
    return features.cpu().numpy()


def parts_of(given: Tensor | AnchorPoints) -> tuple[Tensor, ...]:
    """Return what a head gave, as `StepNetwork.head` does."""
    if isinstance(given, AnchorPoints):
        return given.step_logits, given.logits, given.offsets
    return (given,)


def _refuse_other_tensors(
    described: Mapping[str, tuple[int, ...]], there: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise ValueError where the weights are not those of the network that is described."""
    names = sorted(described.keys() | there.keys())
    wrong = [name for name in names if described.get(name) != there.get(name)]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise ValueError(
            f"{bundles.BUNDLE_FILE} describes another network than {bundles.WEIGHTS_FILE} is of: "
            f"they differ in {wrong[0]}{more}; fetch or train the model again"
        )
