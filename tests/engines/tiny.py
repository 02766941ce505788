"""A bundle of a network of two linear layers, with its graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vmm_cli import bundles
from vmm_cli.bundles import Bundle
from vmm_cli.engines.export import Network, graph_maker
from vmm_cli.engines.graph import Port

INPUTS = {"x": Port((None, None, 3)), "mask": Port((None, None), "bool")}
OUTPUTS = {"y": Port((None, None, 2))}


class Tiny(nn.Module):
    """Two layers, the second one stored in half precision; steps behind the mask are 0."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 2)
        with torch.no_grad():
            self.second.weight.copy_(self.second.weight.half().float())

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """[B, T, 3], bool [B, T] -> [B, T, 2]."""
        y: torch.Tensor = self.second(torch.relu(self.first(x))) * mask[..., None]
        return y


def network(module: nn.Module | None = None) -> Network:
    return Network(
        (module or Tiny()).eval(),
        {"x": torch.randn(2, 5, 3), "mask": torch.rand(2, 5) > 0.5},
        ["y"],
        {"x": [0, 1], "mask": [0, 1]},
        lambda name: f"network.{name}",
    )


def tensors(module: nn.Module | None = None) -> dict[str, np.ndarray]:
    found = {f"network.{k}": v.detach().numpy() for k, v in (module or Tiny()).state_dict().items()}
    return found | {"network.second.weight": found["network.second.weight"].astype(np.float16)}


def fields() -> dict[str, Any]:
    return {
        "name": "tiny",
        "version": 1,
        "task": "classes",
        "streams": [],
        "encoders": {},
        "network": {},
        "sampling": {"every_s": 1, "free": False},
        "licence": {},
        "labels": ["a", "b"],
    }


def bundle(folder: Path) -> Bundle:
    return bundles.save(folder, fields(), tensors(), {"network": graph_maker(network())})
