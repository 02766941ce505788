"""torchvision's networks as encoders: built empty, without their last layer; and its own words.

Every network of the table is a backbone that pools to one vector a picture or clip, and a linear
layer on it. The backbone becomes the encoder and the linear layer a bundle's head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import fusion

from vmm_cli.bundles.published import PREFIX, TORCHVISION
from vmm_cli.compat import ensure_torchvision
from vmm_cli.features.image import CPU_BATCH, CUDA_BATCH, encoder_of
from vmm_cli.features.image_encoder import ImageEncoder
from vmm_cli.features.preprocess import Preprocess

# One clip fills a CPU; a GPU of 16 GB holds so many of the largest network's.
CPU_CLIPS = 1
CUDA_CLIPS = 8

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_NORMALISATIONS = (nn.BatchNorm2d, nn.BatchNorm3d)
_COUNTER = "num_batches_tracked"  # of training batches: of no use here


@dataclass(frozen=True)
class Published:
    """What torchvision says of the weights that the table names.

    Attributes:
        url: where its file is; labels: in the order of the head's outputs.
        accuracy: by data set, what is stated there: {"acc@1": 69.758, "acc@5": 89.078}, percent.
        recipe: address of the training recipe, or of the project the weights come from.
    """

    url: str
    labels: tuple[str, ...]
    accuracy: Mapping[str, Mapping[str, float]]
    recipe: str


@dataclass(frozen=True, eq=False)
class Converted:
    """A network's tensors: the backbone's by their names in it, weight [L, D] and bias [L]."""

    backbone: Mapping[str, np.ndarray]
    weight: np.ndarray
    bias: np.ndarray


def published(name: str) -> Published:
    """Return what torchvision says of a network of the table."""
    return published_as(TORCHVISION[name].weights)


def published_as(entry: str) -> Published:
    """Return what torchvision says of weights, by the name of their entry."""
    ensure_torchvision()
    from torchvision.models import get_weight

    weights = get_weight(entry)
    return Published(
        weights.url,
        tuple(weights.meta["categories"]),
        weights.meta["_metrics"],
        weights.meta["recipe"],
    )


def convert(name: str, state: Mapping[str, Tensor]) -> Converted:
    """Split a network's state as torchvision saves it into backbone and head.

    Raises:
        ValueError: it is not a state of this network.
    """
    network = _empty(name)
    _fill(network, state)
    head = network.get_submodule(TORCHVISION[name].head)
    assert isinstance(head, nn.Linear | nn.Conv3d)
    assert head.bias is not None
    network.set_submodule(TORCHVISION[name].head, nn.Identity())
    return Converted(
        {k: _array(v) for k, v in network.state_dict().items() if not k.endswith(_COUNTER)},
        _array(head.weight).reshape(head.weight.shape[:2]),  # [L, D, 1, 1, 1] -> [L, D]
        _array(head.bias),
    )


def torchvision_encoder(
    name: str, tensors: Mapping[str, np.ndarray], preprocess: Preprocess, device: torch.device
) -> ImageEncoder:
    """Build an encoder of the table from the tensors that `convert` gave.

    Raises:
        ValueError: the tensors are not this network's.
    """
    model = TORCHVISION[name]
    network = backbone(name, tensors)
    fold_batch_norm(network)
    on_cpu = device.type == "cpu"
    network = network.to(device=device)
    if model.kind == "picture":
        # Not for clips: 3D convolutions gain nothing from it, and attention loses.
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        batch = CPU_BATCH if on_cpu else CUDA_BATCH
    else:
        batch = CPU_CLIPS if on_cpu else CUDA_CLIPS
    return encoder_of(network, preprocess, device, batch, model.width)


def backbone(name: str, tensors: Mapping[str, np.ndarray]) -> nn.Module:
    """Return a network of the table without its head. ValueError as `torchvision_encoder`."""
    network = _empty(name)
    network.set_submodule(TORCHVISION[name].head, nn.Identity())
    writable = {k: v if v.flags.writeable else v.copy() for k, v in tensors.items()}
    _fill(network, {k: torch.from_numpy(v) for k, v in writable.items()})
    return network.eval().requires_grad_(False)


def _empty(name: str) -> nn.Module:
    """Return a network whose tensors have shapes and no values."""
    ensure_torchvision()
    from torchvision.models import get_model

    with torch.device("meta"):  # no time for initial values that are replaced at once
        network: nn.Module = get_model(name.removeprefix(PREFIX), weights=None)
    return network


def _fill(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a network its values, all of them in fp32. ValueError where names or shapes differ."""
    wanted = {k: v.shape for k, v in network.state_dict().items() if not k.endswith(_COUNTER)}
    given = {k: v.shape for k, v in state.items() if not k.endswith(_COUNTER)}
    if wanted != given:
        other = [k for k in wanted.keys() & given.keys() if wanted[k] != given[k]]
        raise ValueError(
            f"{len(wanted.keys() - given.keys())} of its {len(wanted)} tensors are missing, "
            f"{len(other)} have another shape, {len(given.keys() - wanted.keys())} are not its own"
        )
    floats = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    network.load_state_dict(floats, assign=True)


def _array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().contiguous().numpy()
    return array


def fold_batch_norm(network: nn.Module) -> None:
    """Make each normalisation that follows a convolution part of it: less time, less memory.

    In these networks a normalisation that stands right after a convolution in a module is applied
    right after it.
    """
    for module in list(network.modules()):
        children = list(module.named_children())
        for (before, convolution), (name, norm) in pairwise(children):
            if isinstance(convolution, _CONVOLUTIONS) and isinstance(norm, _NORMALISATIONS):
                setattr(module, before, fusion.fuse_conv_bn_eval(convolution, norm))
                setattr(module, name, nn.Identity())
