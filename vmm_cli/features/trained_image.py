"""An image encoder whose last blocks learn: cut in two for training, put together for the bundle.

The first part stays as it is, so what it gives is computed once; every epoch runs the second one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from vmm_cli import bundles
from vmm_cli.bundles import EncoderSpec
from vmm_cli.features import catalogue
from vmm_cli.features.image import first_part, shape_after
from vmm_cli.features.image_stream import tensor_prefix
from vmm_cli.features.preprocess import Preprocess
from vmm_cli.networks.image_tail import ImageTail
from vmm_cli.networks.pretrained.efficientnet_lite import EfficientNetLite0


def load_tail(name: str, last: int) -> ImageTail:
    """Return an encoder's last blocks with the weights that everybody has.

    Raises:
        ModelError: the weights are not at hand.
    """
    bundle = bundles.read(bundles.find(catalogue.entry(name).weights))
    tensors = bundles.load_tensors(bundle, tensor_prefix("image"))
    network = EfficientNetLite0()  # not that of the encoder, whose normalisation is folded away
    network.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in tensors.items()})
    crop = Preprocess.from_dict(bundle.encoders["image"].preprocess).crop
    return ImageTail(network, last, shape_after(first_part(network.eval(), last), crop)).train()


def learnt_encoder(spec: EncoderSpec, tail: ImageTail) -> tuple[EncoderSpec, dict[str, np.ndarray]]:
    """Return what a bundle says of an encoder whose last blocks learnt, and all its tensors."""
    bundle = bundles.read(bundles.find(catalogue.entry(spec.name).weights))
    tensors = bundles.load_tensors(bundle, tensor_prefix("image"))
    # Not the counters of training batches, which nothing reads.
    tensors |= {k: v.cpu().numpy() for k, v in tail.state_dict().items() if k in tensors}
    digest = bundles.encoder_digest(spec.name, spec.preprocess, tensors)
    return replace(spec, digest=digest), tensors
