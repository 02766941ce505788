"""The networks of objects and poses in PyTorch: where no graph runs them, and to make these of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from vmm_cli.bundles import Bundle, load_tensors
from vmm_cli.engines.export import Network
from vmm_cli.engines.graph import Ports
from vmm_cli.errors import ModelError
from vmm_cli.features import objects, poses
from vmm_cli.features.image import device_from, keep_freed_memory
from vmm_cli.networks.pretrained.movenet import MoveNet
from vmm_cli.networks.pretrained.nanodet import NanoDet
from vmm_cli.networks.pretrained.shapes import OBJECT_STEP, POSE_SIDE

M = TypeVar("M", bound=nn.Module)


def detector(tensors: Mapping[str, np.ndarray], name: str) -> NanoDet:
    """Build the network that finds objects. ModelError, for the model `name`: other tensors."""
    return _filled(NanoDet, tensors, name)


def pose_network(tensors: Mapping[str, np.ndarray], name: str) -> MoveNet:
    """Build the network that reads poses. ModelError, for the model `name`: other tensors."""
    return _filled(MoveNet, tensors, name)


def in_torch(network: nn.Module, device: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a network as a function of pictures: uint8 [N, H, W, 3] -> float32 [N, width].

    Raises:
        UsageError, DeviceError: there is no such device.
    """
    place = device_from(device)
    if place.type == "cpu":
        keep_freed_memory()
    moved = network.to(device=place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return partial(_run, moved, place)


@torch.inference_mode()
def _run(network: nn.Module, place: torch.device, pictures: np.ndarray) -> np.ndarray:
    # Without TF32, whose 11 bits would move boxes and points.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        given = network(torch.from_numpy(pictures).to(place))
    values: np.ndarray = given.flatten(1).cpu().numpy()
    return values


def _filled(make: Callable[[], M], tensors: Mapping[str, np.ndarray], name: str) -> M:
    with torch.device("meta"):  # no time for initial values that are replaced at once
        network = make()
    state: dict[str, Tensor] = {
        key: torch.from_numpy(value.astype(np.float32)) for key, value in tensors.items()
    }
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"model {name!r}: {reason}") from None
    network.eval().requires_grad_(False)
    return network


# --- graphs -------------------------------------------------------------------------------------


def objects_to_export(bundle: Bundle) -> dict[str, Network]:
    """Return what the graph of a model for objects is made of. ModelError: it is damaged."""
    network = detector(load_tensors(bundle), bundle.name)
    sides = 4 * OBJECT_STEP, 6 * OBJECT_STEP
    return {objects.OBJECTS: _to_export(network, objects.TAKEN, objects.GIVEN, sides)}


def poses_to_export(bundle: Bundle) -> dict[str, Network]:
    """Return what the graph of a model for poses is made of. ModelError: it is damaged."""
    network = pose_network(load_tensors(bundle), bundle.name)
    return {poses.POSES: _to_export(network, poses.TAKEN, poses.GIVEN, (POSE_SIDE, POSE_SIDE))}


def _to_export(network: nn.Module, taken: Ports, given: Ports, sides: tuple[int, int]) -> Network:
    """sides: height and width of pictures to try it with."""
    ((name, port),) = taken.items()
    (output,) = given
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (2, *sides, 3), np.uint8)
    varies = [axis for axis, length in enumerate(port.shape) if length is None]
    return Network(
        network,
        {name: torch.from_numpy(pictures)},
        [output],
        {name: varies},
        str,
        multiple=OBJECT_STEP,
    )
