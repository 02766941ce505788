"""What graphs are made of a trained network: see `in_graph`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vmm_cli.engines.export import Network
from vmm_cli.inference.examples import Examples
from vmm_cli.inference.in_graph import FUSED, HEAD, inputs_of, ports_of, roles_of
from vmm_cli.inference.in_torch import parts_of
from vmm_cli.networks.model import FusionNetwork

# What a graph is tried with: so many windows, of so many steps at most. All are told apart: PyTorch
# takes lengths that are alike, or 1, for ones that always are.
WINDOWS, STEPS = 4, 256


def graphs_of(
    network: FusionNetwork, about: Mapping[str, Any], examples: Examples
) -> dict[str, Network]:
    """Return what each graph of a network is made of, by its role; none if the head isn't vmm's.

    Args:
        network: in evaluation mode, on the CPU.
        about: the description of it in its bundle.
        examples: windows that it may be shown, at least one; graphs are tried with some.
    """
    roles = roles_of(about)
    if not roles:
        return {}
    values, masks, grid = _shown(examples)
    shapes = {
        name: value.shape[2:] if value.ndim > 3 else None  # of patches
        for name, value in ((shape["name"], values[shape["name"]]) for shape in about["streams"])
    }
    names = list(ports_of(about, roles[0])[0])
    arrays = inputs_of(list(shapes), values, masks, grid)
    example = {name: torch.from_numpy(one) for name, one in zip(names, arrays, strict=True)}
    whole = _Streams(network, shapes, about["width"], fused=FUSED in roles).eval()
    found = {roles[0]: _network(whole, example, about, roles[0])}
    if HEAD in roles:
        with torch.inference_mode():
            given = whole(*example.values())
        fused = dict(zip(ports_of(about, HEAD)[0], (one.clone() for one in given), strict=True))
        found[HEAD] = _network(_Head(network).eval(), fused, about, HEAD)
    return found


def _network(
    module: nn.Module, example: Mapping[str, Tensor], about: Mapping[str, Any], role: str
) -> Network:
    outputs = list(ports_of(about, role)[1])
    # Wrapped as `network`, so that names are those in the bundle.
    return Network(
        module, example, outputs, dict.fromkeys(example, (0, 1)), lambda name: name, traced=True
    )


def _shown(examples: Examples) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """Return some windows: at least two, of at least two steps, words of at least two."""
    rows = np.unique(np.linspace(0, len(examples) - 1, WINDOWS).round().astype(int))
    pieces = [(int(row), 0, min(int(examples.steps[row]), STEPS)) for row in rows]
    values, masks, grid = examples.pieces(pieces).batch(range(len(pieces)))
    return (
        {stream: _grown(value) for stream, value in values.items()},
        {stream: _grown(mask) for stream, mask in masks.items()},
        _grown(grid),
    )


def _grown(array: np.ndarray) -> np.ndarray:
    """Add to the first two lengths, where they are 1, a row or a step of nothing."""
    lacking = [(0, int(size < 2)) for size in array.shape[:2]]
    return np.pad(array, [*lacking, *[(0, 0)] * (array.ndim - 2)])


class _Streams(nn.Module):
    """A network whose inputs lie side by side, with each patch as a row, as of graphs."""

    def __init__(
        self,
        network: FusionNetwork,
        shapes: Mapping[str, tuple[int, ...] | None],
        width: int,
        *,
        fused: bool,
    ) -> None:
        super().__init__()
        self.network = network
        self._shapes = shapes
        self._fused = fused
        self._width = width

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        *streams, grid = inputs
        values, masks = {}, {}
        for (name, shape), value, mask in zip(
            self._shapes.items(), streams[::2], streams[1::2], strict=True
        ):
            values[name] = value if shape is None else value.reshape(*value.shape[:2], *shape)
            masks[name] = mask
        if self._fused:
            x, there = self.network.fused(values, masks, grid)
            # Said as a number, so that the graph says it too.
            return x.reshape(*x.shape[:2], self._width), there
        outputs: Tensor = self.network(values, masks, grid)
        return outputs


class _Head(nn.Module):
    def __init__(self, network: FusionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        return parts_of(self.network.head(x, mask))
