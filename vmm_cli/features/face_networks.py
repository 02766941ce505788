"""The networks of faces in PyTorch: where no graph runs them, and to make graphs of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vmm_cli.bundles import Bundle, load_tensors
from vmm_cli.engines.export import Network
from vmm_cli.errors import ModelError
from vmm_cli.features.face_detection import Judge
from vmm_cli.features.faces import GRAPHS, KIND
from vmm_cli.networks.pretrained.expression import MiniXception
from vmm_cli.networks.pretrained.mtcnn import OutputNetwork, ProposalNetwork, RefineNetwork

# Pixels of the picture, and how many faces networks are exported with; any will do.
_EXAMPLE = 40, 52
_NUMBER = 3


def networks_of(tensors: Mapping[str, np.ndarray], name: str) -> dict[str, nn.Module]:
    """Build the networks from their tensors, each with its network's name before its own.

    Raises:
        ModelError: the tensors are others; the message calls the model by `name`.
    """
    with torch.device("meta"):  # no time for initial values that are replaced at once
        networks: dict[str, nn.Module] = {
            "proposal": ProposalNetwork(),
            "refine": RefineNetwork(),
            "output": OutputNetwork(),
            "expression": MiniXception(),
        }
    given: dict[str, dict[str, Tensor]] = {role: {} for role in networks}
    for key, value in tensors.items():
        role, _, rest = key.partition(".")
        given.setdefault(role, {})[rest] = torch.from_numpy(value.astype(np.float32))
    if given.keys() != networks.keys():
        raise ModelError(f"model {name!r} has weights that are not those of {KIND}")
    for role, network in networks.items():
        try:
            network.load_state_dict(given[role], assign=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"model {name!r}: {reason}") from None
        network.eval().requires_grad_(False)
    return networks


def in_torch(tensors: Mapping[str, np.ndarray], name: str) -> dict[str, Judge]:
    """Return the networks as functions of arrays, by the names of `GRAPHS`. ModelError as above."""
    return {
        role: partial(_run, network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
        for role, network in networks_of(tensors, name).items()
    }


@torch.inference_mode()
def _run(network: nn.Module, x: np.ndarray) -> tuple[np.ndarray, ...]:
    # PyTorch's pooling takes a third of the time where a pixel's channels lie together.
    given = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
    return tuple(one.numpy() for one in network(given))


def to_export(tensors: Mapping[str, np.ndarray], name: str) -> dict[str, Network]:
    """Return what graphs are made of, by the names of `GRAPHS`. ModelError as `networks_of`."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for role, network in networks_of(tensors, name).items():
        inputs, outputs = GRAPHS[role]
        ((taken, port),) = inputs.items()
        shape = port.shape
        if shape[0] is None:
            size, dynamic = (_NUMBER, *(side or 0 for side in shape[1:])), [0]
        else:
            size, dynamic = (1, 3, *_EXAMPLE), [2, 3]
        example: Any = torch.rand(size, generator=generator) * 2 - 1
        found[role] = Network(
            network, {taken: example}, list(outputs), {taken: dynamic}, f"{role}.{{}}".format
        )
    return found


def graphs_of_bundle(bundle: Bundle) -> dict[str, Network]:
    """Return the networks of a model for faces as what graphs are made of. ModelError: damaged."""
    return to_export(load_tensors(bundle), bundle.name)
