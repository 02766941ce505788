"""The network of text valence in PyTorch: where no graph runs it, and to make a graph of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from vmm_cli.bundles import Bundle, load_tensors
from vmm_cli.engines.export import Network
from vmm_cli.engines.graph import Run
from vmm_cli.features.text_valence import GIVES, GRAPH, TAKES, VADER_WIDTH
from vmm_cli.networks.pretrained.shapes import TOKEN_WIDTH
from vmm_cli.networks.pretrained.text_valence import TextValence

MOST_PARTS = 64  # blocks, and queries
_LENGTH = 5  # tokens of the text that the network is exported with; any will do


def network_of(built: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> TextValence:
    """Build the network of a bundle's numbers and tensors. ValueError: they make none."""
    numbers = {name: number for name, number in built.items() if name != "kind"}
    try:
        if not all(0 <= number <= MOST_PARTS for number in numbers.values()):
            raise ValueError(f"it has {numbers}")
        with torch.device("meta"):  # what it asks for takes memory only where it has weights
            network = TextValence(**numbers, scores=VADER_WIDTH)
        state = {k: torch.from_numpy(v.astype(np.float32)) for k, v in tensors.items()}
        network.load_state_dict(state, assign=True)
    except (OverflowError, TypeError, RuntimeError) as error:
        raise ValueError(str(error)) from None
    network.eval().requires_grad_(False)
    return network


def in_torch(built: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Run:
    """Return the network as a function of arrays, see `GRAPH`. ValueError as `network_of`."""
    network = network_of(built, tensors)

    def run(states: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, ...]:
        with torch.inference_mode():
            logits: np.ndarray = network(*map(torch.from_numpy, (states, scores))).numpy()
        return (logits,)

    return run


def to_export(network: TextValence) -> dict[str, Network]:
    """Return the network as what a graph is made of."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(1, _LENGTH, TOKEN_WIDTH, generator=generator)
    scores = torch.randn(1, VADER_WIDTH, generator=generator)
    example = dict(zip(TAKES, (states, scores), strict=True))
    dynamic = {"states": [1]}
    return {GRAPH: Network(network, example, list(GIVES), dynamic, str)}


def graphs_of_bundle(bundle: Bundle) -> dict[str, Network]:
    """Return the network of a model for texts as what a graph is made of."""
    return to_export(network_of(bundle.network, load_tensors(bundle)))
