"""Every encoder by name. Nothing is loaded until it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmm_cli import bundles
from vmm_cli.bundles.published import TORCHVISION
from vmm_cli.encoders.preprocess import Preprocess
from vmm_cli.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from vmm_cli.bundles import Bundle
    from vmm_cli.encoders.image import ImageEncoder


@dataclass(frozen=True)
class EncoderEntry:
    """One encoder.

    Attributes:
        stream: the kind of evidence it reads.
        width: D of the features it gives.
        weights: the bundle that carries its weights, as tensors named `encoders.STREAM.*`.
    """

    stream: str
    width: int
    weights: str


ENCODERS = {
    "efficientnet-lite0": EncoderEntry(stream="image", width=1280, weights="imagenet"),
    **{
        name: EncoderEntry(stream="image", width=model.width, weights=name)
        for name, model in TORCHVISION.items()
    },
}


def entry(name: str) -> EncoderEntry:
    """Return the entry of an encoder. ModelError, with the choices, where there is none."""
    try:
        return ENCODERS[name]
    except KeyError:
        raise ModelError(
            f"no encoder named {name!r}; this vmm has {', '.join(sorted(ENCODERS))}"
        ) from None


def tensor_prefix(stream: str) -> str:
    """Return how the names of a stream's encoder tensors start in a bundle's weights."""
    return f"encoders.{stream}."


def load_image_encoder(bundle: Bundle, device: torch.device) -> ImageEncoder:
    """Build the encoder of a bundle's image stream; a bundle need not carry its weights itself.

    Raises:
        ModelError: the bundle has no such stream, or the weights at hand are not the ones that it
            was made with, or they have to be fetched first.
    """
    spec = bundle.encoders.get("image")
    if spec is None:
        raise ModelError(f"model {bundle.name!r} has no encoder for pictures")
    carrier = entry(spec.name).weights
    prefix = tensor_prefix("image")
    tensors = bundles.load_tensors(bundle, prefix)
    if not tensors:
        is_fetched = carrier in TORCHVISION
        folder = bundles.find(carrier) if is_fetched else bundles.packaged_models() / carrier
        tensors = bundles.load_tensors(bundles.read(folder), prefix)
    if bundles.encoder_digest(spec.name, spec.preprocess, tensors) != spec.digest:
        raise ModelError(
            f"model {bundle.name!r} was made with another {spec.name!r} than the one at hand; "
            "it needs the version of vmm-cli it came with"
        )
    try:
        return _built(spec.name, tensors, Preprocess.from_dict(spec.preprocess), device)
    except ValueError as error:
        raise ModelError(f"model {bundle.name!r}: its image encoder is unusable: {error}") from None


def _built(
    encoder: str,
    tensors: Mapping[str, np.ndarray],
    preprocess: Preprocess,
    device: torch.device,
) -> ImageEncoder:
    if encoder in TORCHVISION:
        from vmm_cli.encoders.torchvision_networks import torchvision_encoder

        return torchvision_encoder(encoder, tensors, preprocess, device)
    from vmm_cli.encoders.image import image_encoder

    return image_encoder(tensors, preprocess, device)
