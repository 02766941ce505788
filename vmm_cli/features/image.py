"""Image encoders in PyTorch: on a GPU, where there is no graph of them, and to be learnt further.

EfficientNet-Lite0 is built here; torchvision's networks are built in torchvision_networks.py.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from vmm_cli import bundles
from vmm_cli.bundles import Bundle
from vmm_cli.bundles.published import TORCHVISION
from vmm_cli.engines.export import Network
from vmm_cli.errors import DeviceError, UsageError
from vmm_cli.features.image_encoder import ImageEncoder
from vmm_cli.features.image_stream import FEATURES, PICTURES, STREAM, WIDTHS, tensor_prefix
from vmm_cli.features.preprocess import Channels, Preprocess
from vmm_cli.networks.pretrained.efficientnet_lite import FEATURE_CHANNELS, EfficientNetLite0
from vmm_cli.networks.pretrained.open_nsfw import OpenNSFW

N = TypeVar("N", bound=nn.Module)

# The largest activation is 96 x 112 x 112 floats a picture. Up to 6 pictures it stays below the 32
# MiB from which the C library maps fresh pages for every allocation: one thread encodes 74
# pictures a second in batches of 4, 56 in batches of 8 (tools/convert_efficientnet_lite0.py).
CPU_BATCH = 4
CUDA_BATCH = 64

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_KEPT_BYTES = 256 * 2**20
_LARGEST_KEPT_BLOCK_BYTES = 32 * 2**20  # the most that glibc accepts


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
    tensors: Mapping[str, np.ndarray],
    preprocess: Preprocess,
    device: torch.device,
    train_last: int = 0,
) -> ImageEncoder:
    """Build the encoder from the network's tensors, by the names of `EfficientNetLite0`.

    train_last: without so many of its last blocks: it gives what they take, [N, C * H * W].

    Raises:
        ValueError: the tensors are not this network's.
    """
    network: nn.Module = lite0(tensors)
    assert isinstance(network, EfficientNetLite0)
    network.fold_batch_norm()
    width = FEATURE_CHANNELS
    if train_last:
        first = first_part(network, train_last)
        width = math.prod(shape_after(first, preprocess.crop))
        network = nn.Sequential(first, nn.Flatten())
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch = CPU_BATCH if device.type == "cpu" else CUDA_BATCH
    return encoder_of(network, preprocess, device, batch, width)


def lite0(tensors: Mapping[str, np.ndarray]) -> EfficientNetLite0:
    """Build EfficientNet-Lite0, to be evaluated. ValueError: the tensors are not this network's."""
    return _filled(EfficientNetLite0, tensors)


def _filled(kind: Callable[[], N], tensors: Mapping[str, np.ndarray]) -> N:
    """Build a network of a kind from its tensors."""
    with torch.device("meta"):  # no time for initial values that are replaced at once
        network = kind()
    try:
        # Copies: the arrays may be views of read-only bytes.
        state = {k: torch.from_numpy(v.astype(np.float32)) for k, v in tensors.items()}
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ValueError(" ".join(str(error).split())[:500]) from None
    network.eval().requires_grad_(False)
    return network


def open_nsfw(tensors: Mapping[str, np.ndarray]) -> OpenNSFW:
    """Build open_nsfw, to be evaluated. ValueError: the tensors are not this network's."""
    return _filled(OpenNSFW, tensors)


# Networks that do not learn further, by the bundle that carries them.
FIXED: dict[str, Callable[[Mapping[str, np.ndarray]], nn.Module]] = {"moderation": open_nsfw}


def fixed_encoder(
    weights: str, tensors: Mapping[str, np.ndarray], preprocess: Preprocess, device: torch.device
) -> ImageEncoder:
    """Build the encoder that the bundle `weights` carries, a key of `FIXED`, from its tensors.

    Raises:
        ValueError: the tensors are not this network's.
    """
    network = FIXED[weights](tensors)
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch = CPU_BATCH if device.type == "cpu" else CUDA_BATCH
    return encoder_of(network, preprocess, device, batch, WIDTHS[weights])


def encoder_of(
    network: nn.Module, preprocess: Preprocess, device: torch.device, batch: int, width: int
) -> ImageEncoder:
    """Return a network in evaluation mode as an encoder.

    network: pictures [N, 3, H, W] or clips [N, 3, T, H, W], normalised -> [N, width]; on `device`.
    """
    if device.type == "cpu":
        keep_freed_memory()
    return ImageEncoder(partial(_run, network, preprocess, device), preprocess, batch, width)


def first_part(network: EfficientNetLite0, last: int) -> nn.Sequential:
    """Return the network without what comes after its blocks, and without the last of these."""
    return nn.Sequential(network.stem, *network.blocks[:-last].children())


def shape_after(first: nn.Module, side: int) -> tuple[int, ...]:
    """Return (C, H, W) of what the first part makes of pictures of `side` pixels."""
    device = next(first.parameters()).device
    with torch.inference_mode():
        return tuple(first(torch.zeros(1, 3, side, side, device=device)).shape[1:])


def _run(
    network: nn.Module, preprocess: Preprocess, device: torch.device, images: np.ndarray
) -> np.ndarray:
    """Encode pictures at once; on a GPU whose memory does not suffice in halves, down to one.

    Raises:
        torch.OutOfMemoryError: one picture or clip is already too much.
    """
    try:
        return _run_at_once(network, preprocess, device, images)
    except torch.OutOfMemoryError:
        if len(images) == 1:
            raise
    torch.cuda.empty_cache()
    half = len(images) // 2
    parts = [_run(network, preprocess, device, part) for part in (images[:half], images[half:])]
    return np.concatenate(parts)


def _run_at_once(
    network: nn.Module, preprocess: Preprocess, device: torch.device, images: np.ndarray
) -> np.ndarray:
    with torch.inference_mode(), _full_precision(device):
        x = torch.from_numpy(images).to(device)  # uint8 [N, H, W, 3] or [N, T, H, W, 3]
        x = normalised(preprocess, x.movedim(-1, 1))  # -> [N, 3, H, W] or [N, 3, T, H, W]
        features: np.ndarray = network(x).cpu().numpy()  # -> [N, width]
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


class _Whole(nn.Module):
    """A network with the normalising before it: uint8 [N, H, W, 3] or [N, T, H, W, 3] -> [N, D]."""

    def __init__(self, network: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.network = network
        self._preprocess = preprocess

    def forward(self, pictures: Tensor) -> Tensor:
        x = pictures.movedim(pictures.dim() - 1, 1)  # no -1, which a graph would keep
        features: Tensor = self.network(normalised(self._preprocess, x))
        return features


def to_export(network: nn.Module, preprocess: Preprocess, *, traced: bool = False) -> Network:
    """Return an encoder as what a graph is made of; its normalisation must not be folded away.

    network: see `encoder_of`; on the CPU; traced: see `Network`.
    """
    generator = np.random.default_rng(0)
    # One clip where one is enough: two of s3d take 4.5 GB.
    count = 1 if traced and preprocess.frames > 1 else 2
    pictures = generator.integers(0, 256, (count, *preprocess.shape), np.uint8)
    return Network(
        _Whole(network, preprocess).eval(),
        {PICTURES: torch.from_numpy(pictures)},
        [FEATURES],
        {PICTURES: [0]},
        lambda name: name.replace("network.", tensor_prefix(STREAM), 1),
        traced,
    )


def graph_of_bundle(bundle: Bundle, weights: str) -> Network | None:
    """Return a bundle's own image encoder as what a graph is made of; None where it has none.

    weights: the bundle that carries the weights of such an encoder.

    Raises:
        ModelError: the weights are damaged. ValueError: they are of another network.
    """
    tensors = bundles.load_tensors(bundle, tensor_prefix(STREAM))
    spec = bundle.encoders.get(STREAM)
    if spec is None or not tensors:
        return None
    numbers = Preprocess.from_dict(spec.preprocess)
    if weights in TORCHVISION:
        from vmm_cli.features.torchvision_networks import backbone

        traced = TORCHVISION[weights].as_graph
        return to_export(backbone(weights, tensors), numbers, traced=traced)
    return to_export(FIXED.get(weights, lite0)(tensors), numbers)
