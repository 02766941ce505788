"""The stream `image`: what a frozen network makes of pictures, or of clips. No torch itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from vmm_cli import bundles, progress
from vmm_cli.bundles import Bundle, EncoderSpec, Weights
from vmm_cli.bundles.published import TORCHVISION
from vmm_cli.engines.graph import Port, graph_of
from vmm_cli.errors import ModelError
from vmm_cli.features.clips import Prepared, Viewer, frame_request
from vmm_cli.features.encoder import Compute, Encoder, Job
from vmm_cli.features.image_encoder import ImageEncoder, encode
from vmm_cli.features.preprocess import Preprocess
from vmm_cli.features.values import Features
from vmm_cli.networks.pretrained.shapes import NSFW_WIDTH

STREAM = "image"
LITE0_WIDTH = 1280
# Of the features of networks that bundles in vmm carry, by these.
WIDTHS = {"imagenet": LITE0_WIDTH, "moderation": NSFW_WIDTH}
# More pictures at once are no faster on a CPU, and take 15 MB each.
GRAPH_PICTURES = 2
PICTURES, FEATURES = "pictures", "features"  # what a graph takes and gives


def tensor_prefix(stream: str) -> str:
    """Return how the names of a stream's encoder tensors start in a bundle's weights."""
    return f"encoders.{stream}."


def carried(weights: str) -> EncoderSpec:
    """Return what the bundle that carries the weights of an image encoder says of it.

    Raises:
        ModelError: it is not at hand, or has none.
    """
    bundle = bundles.read(bundles.find(weights))
    if STREAM not in bundle.encoders:
        raise ModelError(f"model {weights!r} has no encoder for pictures")
    return bundle.encoders[STREAM]


def image_spec(name: str, row: Encoder, window_s: Fraction) -> EncoderSpec:
    """Return what a bundle says of an image encoder. ModelError as `carried`."""
    return carried(row.weights)


class Pictures:
    """Prepares pictures, or clips of them, as they come: a batch at a time."""

    def __init__(self, job: Job, batch: int) -> None:
        numbers = Preprocess.from_dict(job.spec.preprocess)
        request = frame_request(STREAM, numbers, job.sampling, job.windows[-1].end)
        self.requests = [request]
        self._batch = batch
        self._viewer = Viewer(numbers, request.sampling)
        self._waiting: list[np.ndarray] = []
        self._times: list[float] = []

    def take(self, request: str, time_s: float, image: np.ndarray) -> Iterator[np.ndarray]:
        """See `FrameLoader`."""
        yield from self._batches(self._viewer.take(time_s, image))

    def finish(self, end_s: float | None) -> Iterator[np.ndarray]:
        """See `FrameLoader`."""
        yield from self._batches(self._viewer.finish(end_s))
        if self._waiting:
            yield np.stack(self._waiting)

    def _batches(self, prepared: Iterator[Prepared]) -> Iterator[np.ndarray]:
        for time_s, image in prepared:
            self._times.append(time_s)
            self._waiting.append(image)
            if len(self._waiting) == self._batch:
                yield np.stack(self._waiting)
                self._waiting = []

    def tracks(self, values: Sequence[np.ndarray], width: int) -> list[Features]:
        """See `FrameLoader`."""
        whole = np.concatenate([np.empty((0, width), np.float32), *values])
        return [Features(np.array(self._times, np.float64), whole)]


# --- the network --------------------------------------------------------------------------------


def image_compute(job: Job) -> Compute:
    """Return the network of an image encoder. ModelError as `image_encoder`."""
    return compute_of(
        image_encoder(job.row.weights, job.spec, job.device, job.model, job.train_last)
    )


def compute_of(encoder: ImageEncoder) -> Compute:
    """Return an image encoder as what computes."""
    return Compute(partial(encode, encoder), encoder.width, encoder.batch)


def image_encoder(
    weights: str, spec: EncoderSpec, device: str, own: Path | None = None, train_last: int = 0
) -> ImageEncoder:
    """Return the encoder that a digest is of: the one that everybody has, or that of a model.

    weights: the bundle that carries it; own: folder of the model; train_last: without so many of
    the encoder's last blocks. A worker keeps it.

    Raises:
        ModelError: neither is it.
        UsageError: there is no such device.
    """
    if own is not None and carried(weights).digest == spec.digest:
        own = None  # streams that see with the same network share it
    return _image_encoder(weights, spec.name, spec.digest, device, own, train_last)


@lru_cache(maxsize=2)
@progress.loading()
def _image_encoder(
    weights: str, name: str, digest: str, device: str, own: Path | None, train_last: int
) -> ImageEncoder:
    bundle = bundles.read(bundles.find(weights) if own is None else own)
    encoder = load_encoder(bundle, weights, device, train_last)
    if bundle.encoders[STREAM].digest != digest:
        raise ModelError(
            f"this needs another {name!r} than the one at hand: that of another version of vmm-cli"
        )
    return encoder


def load_encoder(bundle: Bundle, weights: str, device: str, train_last: int = 0) -> ImageEncoder:
    """Build the encoder of a bundle's image stream; a bundle need not carry its weights itself.

    weights: the bundle that carries them where this one does not; train_last: without so many of
    the encoder's last blocks.

    Raises:
        ModelError: the bundle has no such stream, or the weights at hand are not the ones that it
            was made with, or they have to be fetched first.
        UsageError, DeviceError: there is no such device.
    """
    spec = bundle.encoders.get(STREAM)
    if spec is None:
        raise ModelError(f"model {bundle.name!r} has no encoder for pictures")
    carrier, held = carrier_of(bundle, weights, spec)
    tensors = held.tensors(tensor_prefix(STREAM))
    if bundles.encoder_digest(spec.name, spec.preprocess, tensors) != spec.digest:
        raise ModelError(
            f"model {bundle.name!r} was made with another {spec.name!r} than the one at hand; "
            "it needs the version of vmm-cli it came with"
        )
    try:
        numbers = Preprocess.from_dict(spec.preprocess)
        # A graph normalises, too: it is of the carrier's numbers.
        if not train_last and carrier.encoders[STREAM].digest == spec.digest:
            compiled = _compiled(carrier, held, weights, numbers, device)
            if compiled is not None:
                return compiled
        return _in_torch(weights, tensors, numbers, device, train_last)
    except ValueError as error:
        raise ModelError(f"model {bundle.name!r}: its image encoder is unusable: {error}") from None


def carrier_of(bundle: Bundle, weights: str, spec: EncoderSpec) -> tuple[Bundle, Weights]:
    """Return the bundle that has the tensors of a bundle's encoder, and its weights.

    An encoder that everybody has is taken from where its name leads alone: what a graph of others
    gives would be kept as what it gives. So where that is not at hand a bundle that carries the
    encoder of a network to be fetched is returned without its graphs.
    """
    known = _everybody_s(weights)
    if known is not None and known.encoders[STREAM].digest == spec.digest:
        return known, bundles.load_weights(known)
    held = bundles.load_weights(bundle)
    if any(name.startswith(tensor_prefix(STREAM)) for name in held.stored):
        return (replace(bundle, graphs={}) if spec.name in TORCHVISION else bundle), held
    carrier = known or bundles.read(bundles.find(weights))  # which says how to fetch it
    return carrier, bundles.load_weights(carrier)


def _everybody_s(weights: str) -> Bundle | None:
    """Return the bundle of an encoder that vmm carries, or that was fetched; None where it is not.

    The first lies in vmm itself; what others put under its name is another model.
    """
    if weights not in TORCHVISION:
        return bundles.read(bundles.packaged_models() / weights)
    try:
        found = bundles.read(bundles.find(weights))
    except ModelError:
        return None
    return found if STREAM in found.encoders else None


def _compiled(
    carrier: Bundle, held: Weights, weights: str, numbers: Preprocess, device: str
) -> ImageEncoder | None:
    """Return an encoder that runs as a graph; None where PyTorch is to run it."""
    width = TORCHVISION[weights].width if weights in TORCHVISION else WIDTHS[weights]
    run = graph_of(
        carrier,
        STREAM,
        inputs={PICTURES: Port((None, *numbers.shape), "uint8")},
        outputs={FEATURES: Port((None, width))},
        weights=held,
        device=device,
    )
    if run is None:
        return None
    batch = max(1, GRAPH_PICTURES // numbers.frames)
    return ImageEncoder(lambda images: run(images)[0], numbers, batch, width)


def _in_torch(
    weights: str,
    tensors: Mapping[str, np.ndarray],
    numbers: Preprocess,
    device: str,
    train_last: int,
) -> ImageEncoder:
    from vmm_cli.features import image

    place = image.device_from(device)
    if weights in TORCHVISION:
        from vmm_cli.features.torchvision_networks import torchvision_encoder

        return torchvision_encoder(weights, tensors, numbers, place)
    if weights in image.FIXED:
        return image.fixed_encoder(weights, tensors, numbers, place)
    return image.image_encoder(tensors, numbers, place, train_last)
