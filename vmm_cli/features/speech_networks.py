"""The networks of speech in PyTorch: where no graphs run them, and to make graphs of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from vmm_cli.bundles import Bundle, load_tensors
from vmm_cli.engines.export import Network
from vmm_cli.features.speech import BLOCKS, GRAPHS, POSITIONS, SpeechNetworks
from vmm_cli.networks.pretrained.shapes import CHUNK, CONTEXT, SPEECH_MELS, STATE
from vmm_cli.networks.pretrained.speech_activity import SpeechActivity
from vmm_cli.networks.pretrained.speech_encoder import SpeechEncoder

_CHUNKS, _FRAMES = 3, 10  # of the sounds that networks are exported with; any will do


class _Step(nn.Module):
    """`SpeechActivity` with the state as two tensors, in and out."""

    def __init__(self, network: SpeechActivity) -> None:
        super().__init__()
        self.network = network

    def forward(self, chunks: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
        chances, state = self.network(chunks, (hidden, cell))
        # All of them; else the graph says there are as many as in the example: PyTorch's exporter
        # counts an LSTM's steps.
        every = torch.arange(chunks.shape[1])
        return chances.index_select(1, every), *state


def networks_of(tensors: Mapping[str, np.ndarray]) -> tuple[SpeechActivity, SpeechEncoder]:
    """Return the networks with these weights: `activity.` and `encoder.` before their names.

    Raises:
        RuntimeError: weights are missing, or of another shape.
    """
    activity, encoder = SpeechActivity(), SpeechEncoder(BLOCKS, POSITIONS)
    for network, prefix in ((activity, "activity."), (encoder, "encoder.")):
        network.load_state_dict(
            {
                name.removeprefix(prefix): torch.from_numpy(tensor.astype(np.float32))
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }
        )
        network.eval().requires_grad_(False)
    return activity, encoder


def in_torch(tensors: Mapping[str, np.ndarray]) -> SpeechNetworks:
    """Return the networks as functions of arrays. RuntimeError as `networks_of`."""
    activity, encoder = networks_of(tensors)
    return SpeechNetworks(partial(_run, _Step(activity)), partial(_run, encoder))


@torch.inference_mode()
def _run(network: nn.Module, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    found = network(*map(torch.from_numpy, arrays))
    return tuple(one.numpy() for one in ((found,) if isinstance(found, Tensor) else found))


def to_export(tensors: Mapping[str, np.ndarray]) -> dict[str, Network]:
    """Return what graphs are made of, by the names of `GRAPHS`. RuntimeError as `networks_of`."""
    activity, encoder = networks_of(tensors)
    generator = torch.Generator().manual_seed(0)
    chunks = torch.randn(1, _CHUNKS, CONTEXT + CHUNK, generator=generator)
    state = torch.randn(2, 1, 1, STATE, generator=generator)
    heard = torch.randn(1, SPEECH_MELS, _FRAMES, generator=generator)
    return {
        "activity": _to_export("activity", _Step(activity).eval(), (chunks, *state), 1),
        "encoder": _to_export("encoder", encoder, (heard,), 2),
    }


def _to_export(role: str, module: nn.Module, example: tuple[Tensor, ...], axis: int) -> Network:
    """axis: of the first input, whose length may vary."""
    inputs, outputs = GRAPHS[role]
    return Network(
        module,
        dict(zip(inputs, example, strict=True)),
        list(outputs),
        {next(iter(inputs)): [axis]},
        lambda name: f"{role}.{name.removeprefix('network.')}",
    )


def graphs_of_bundle(bundle: Bundle) -> dict[str, Network]:
    """Return the networks of a model for voices as what graphs are made of.

    Raises:
        ModelError: its weights are damaged. RuntimeError: they are of other networks.
    """
    return to_export(load_tensors(bundle))
