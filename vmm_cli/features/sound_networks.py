"""The network of sounds in PyTorch: where no graph runs it, and to make a graph of."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from vmm_cli.bundles import Bundle, load_tensors
from vmm_cli.engines.export import Network
from vmm_cli.features.sounds import INPUTS, OUTPUTS, PREFIX, ROLE
from vmm_cli.networks.pretrained.shapes import SOUND_FRAMES, SOUND_MELS
from vmm_cli.networks.pretrained.yamnet import YAMNet


def network_of(tensors: Mapping[str, np.ndarray]) -> YAMNet:
    """Return the network with these weights. RuntimeError: they are of another."""
    network = YAMNet()
    network.load_state_dict(
        {name: torch.from_numpy(one.astype(np.float32)) for name, one in tensors.items()}
    )
    network.eval().requires_grad_(False)
    return network


def in_torch(tensors: Mapping[str, np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the network as a function of arrays. RuntimeError as `network_of`."""
    network = network_of(tensors)

    def run(patches: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            features: np.ndarray = network(torch.from_numpy(patches)).numpy()
        return features

    return run


def to_export(tensors: Mapping[str, np.ndarray]) -> Network:
    """Return what the graph is made of. RuntimeError as `network_of`."""
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(2, SOUND_FRAMES, SOUND_MELS, generator=generator)
    (name,) = INPUTS
    return Network(
        network_of(tensors),
        {name: patches},
        list(OUTPUTS),
        {name: [0]},
        lambda tensor: f"{PREFIX}{tensor}",
    )


def graphs_of_bundle(bundle: Bundle) -> dict[str, Network]:
    """Return the network of a model for sounds as what a graph is made of.

    Raises:
        ModelError: its weights are damaged. RuntimeError: they are of another network.
    """
    return {ROLE: to_export(load_tensors(bundle, PREFIX))}
