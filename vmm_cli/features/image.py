"""Frozen image encoders: pictures, or clips of them -> pooled features.

EfficientNet-Lite0 is built here; torchvision's networks are built in torchvision_networks.py.

Everything runs in fp32, on the GPU too. Labels must agree within 0.01 everywhere, and half
precision does not keep that: bf16 convolutions, 2.5 times faster on a CPU that has them, move
single probabilities by 0.06, fp16 and TF32 (11 bits) by 0.01, on 79 pictures of real clips. Speeds
and differences are those that tools/convert_efficientnet_lite0.py prints.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from vmm_cli.errors import DeviceError, UsageError
from vmm_cli.features.preprocess import Channels, Preprocess
from vmm_cli.networks.pretrained.efficientnet_lite import FEATURE_CHANNELS, EfficientNetLite0

# The largest activation is 96 x 112 x 112 floats a picture. Up to 6 pictures it stays below the 32
# MiB from which the C library maps fresh pages for every allocation: one thread encodes 74
# pictures a second in batches of 4, 56 in batches of 8 (tools/convert_efficientnet_lite0.py).
CPU_BATCH = 4
CUDA_BATCH = 64

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_KEPT_BYTES = 256 * 2**20
_LARGEST_KEPT_BLOCK_BYTES = 32 * 2**20  # the most that glibc accepts


@dataclass(frozen=True, eq=False)
class ImageEncoder:
    """A loaded encoder; `encode` is a function of it and the pictures alone.

    Attributes:
        network: in evaluation mode: pictures [N, 3, H, W] or clips [N, 3, T, H, W], normalised
            -> [N, width].
        batch: how many pictures or clips run at once.
        width: D of the features.
    """

    network: nn.Module
    preprocess: Preprocess
    device: torch.device
    batch: int
    width: int = FEATURE_CHANNELS


def device_from(text: str) -> torch.device:
    """Return the device that auto, cpu or cuda[:N] means.

    Raises:
        UsageError: it means none.
        DeviceError: this machine has no such device.
    """
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"{text!r} is not a device; it is auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise DeviceError(f"device {text}: PyTorch sees no CUDA device; see `vmm doctor`")
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise DeviceError(
                f"device {text}: this machine has {torch.cuda.device_count()} CUDA device(s)"
            )
    return device


def image_encoder(
    tensors: Mapping[str, np.ndarray], preprocess: Preprocess, device: torch.device
) -> ImageEncoder:
    """Build the encoder from the network's tensors, by the names of `EfficientNetLite0`.

    Raises:
        ValueError: the tensors are not this network's.
    """
    with torch.device("meta"):  # no time for initial values that are replaced at once
        network = EfficientNetLite0()
    try:
        # Copies: the arrays may be views of read-only bytes.
        state = {k: torch.from_numpy(v.astype(np.float32)) for k, v in tensors.items()}
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ValueError(" ".join(str(error).split())[:500]) from None
    network.eval().requires_grad_(False)
    network.fold_batch_norm()
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cpu":
        keep_freed_memory()
    return ImageEncoder(
        network, preprocess, device, CPU_BATCH if device.type == "cpu" else CUDA_BATCH
    )


def without_last(encoder: ImageEncoder, last: int) -> ImageEncoder:
    """Return an encoder that gives what its last blocks take: [N, C * H * W], as `width` says."""
    assert isinstance(encoder.network, EfficientNetLite0)  # a recipe names no other
    first = first_part(encoder.network, last)
    width = math.prod(shape_after(first, encoder.preprocess.crop))
    return replace(encoder, network=nn.Sequential(first, nn.Flatten()), width=width)


def first_part(network: EfficientNetLite0, last: int) -> nn.Sequential:
    """Return the network without what comes after its blocks, and without the last of these."""
    return nn.Sequential(network.stem, *network.blocks[:-last].children())


def shape_after(first: nn.Module, side: int) -> tuple[int, ...]:
    """Return (C, H, W) of what the first part makes of pictures of `side` pixels."""
    device = next(first.parameters()).device
    with torch.inference_mode():
        return tuple(first(torch.zeros(1, 3, side, side, device=device)).shape[1:])


def encode(encoder: ImageEncoder, images: np.ndarray) -> np.ndarray:
    """Encode prepared pictures: uint8 [N, crop, crop, 3] RGB -> float32 [N, width].

    Or clips: uint8 [N, T, crop, crop, 3] RGB. On a GPU whose memory does not suffice the batch is
    halved, down to one.

    Raises:
        torch.OutOfMemoryError: one picture or clip is already too much.
    """
    outputs = [np.empty((0, encoder.width), np.float32)]
    done, batch = 0, encoder.batch
    while done < len(images):
        try:
            outputs.append(_encode_batch(encoder, images[done : done + batch]))
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
            torch.cuda.empty_cache()
            batch = max(1, min(batch, len(images) - done) // 2)
            continue
        done += batch
    return np.concatenate(outputs)


def _encode_batch(encoder: ImageEncoder, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode(), _full_precision(encoder.device):
        x = torch.from_numpy(images).to(encoder.device)  # uint8 [N, H, W, 3] or [N, T, H, W, 3]
        x = normalised(encoder.preprocess, x.movedim(-1, 1))  # -> [N, 3, H, W] or [N, 3, T, H, W]
        features: np.ndarray = encoder.network(x).cpu().numpy()  # -> [N, width]
    return features


def normalised(numbers: Preprocess, x: Tensor) -> Tensor:
    """Return what a network takes: uint8 [N, 3, ...] -> float32 [N, 3, ...].

    Pictures keep channels_last, as they lie in memory; clips do not.
    """
    x = x.float() if x.dim() == 4 else x.float().contiguous()
    mean, scale = (_by_channel(value, x) for value in (numbers.mean, numbers.scale))
    return (x - mean) / scale


def _by_channel(value: float | Channels, x: Tensor) -> float | Tensor:
    if isinstance(value, tuple):
        return torch.tensor(value, device=x.device).reshape(3, *[1] * (x.dim() - 2))
    return value


def _full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Keep cuDNN from rounding fp32 convolutions to TF32."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


@cache
def keep_freed_memory() -> None:
    """Let the C library keep the activations' memory from one batch to the next.

    Otherwise each batch returns it to the system and faults it in again, page by page: measured
    55 -> 74 pictures a second. Only glibc has these switches.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
