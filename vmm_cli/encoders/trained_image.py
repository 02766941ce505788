"""An image encoder whose last blocks learn: cut in two for training, put together for the bundle.

The first part stays as it is, so what it gives is computed once; every epoch runs the second one.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from vmm_cli import bundles
from vmm_cli.bundles import EncoderSpec
from vmm_cli.encoders import catalogue
from vmm_cli.encoders.image import ImageEncoder
from vmm_cli.networks.image_tail import ImageTail
from vmm_cli.networks.pretrained.efficientnet_lite import EfficientNetLite0


def without_last(encoder: ImageEncoder, last: int) -> ImageEncoder:
    """Return an encoder that gives what its last blocks take: [N, C * H * W], as `width` says."""
    assert isinstance(encoder.network, EfficientNetLite0)  # a recipe names no other
    first = _first_part(encoder.network, last)
    width = math.prod(_shape(first, encoder.preprocess.crop))
    return replace(encoder, network=nn.Sequential(first, nn.Flatten()), width=width)


def load_tail(name: str, last: int) -> ImageTail:
    """Return an encoder's last blocks with the weights that everybody has.

    Raises:
        ModelError: the weights are not at hand.
    """
    bundle = bundles.read(bundles.find(catalogue.entry(name).weights))
    tensors = bundles.load_tensors(bundle, catalogue.tensor_prefix("image"))
    network = EfficientNetLite0()  # not that of the encoder, whose normalisation is folded away
    network.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in tensors.items()})
    crop = int(bundle.encoders["image"].preprocess["crop"])
    return ImageTail(network, last, _shape(_first_part(network.eval(), last), crop)).train()


def learnt_encoder(spec: EncoderSpec, tail: ImageTail) -> tuple[EncoderSpec, dict[str, np.ndarray]]:
    """Return what a bundle says of an encoder whose last blocks learnt, and all its tensors."""
    bundle = bundles.read(bundles.find(catalogue.entry(spec.name).weights))
    tensors = bundles.load_tensors(bundle, catalogue.tensor_prefix("image"))
    # Not the counters of training batches, which nothing reads.
    tensors |= {k: v.cpu().numpy() for k, v in tail.state_dict().items() if k in tensors}
    digest = bundles.encoder_digest(spec.name, spec.preprocess, tensors)
    return replace(spec, digest=digest), tensors


def _first_part(network: EfficientNetLite0, last: int) -> nn.Sequential:
    return nn.Sequential(network.stem, *network.blocks[:-last].children())


def _shape(first: nn.Module, side: int) -> tuple[int, ...]:
    """Return (C, H, W) of what the first part makes of pictures of `side` pixels."""
    with torch.inference_mode():
        return tuple(first(torch.zeros(1, 3, side, side)).shape[1:])
