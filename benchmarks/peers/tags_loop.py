"""The loop that one would write with decord and torch to see what `classify` sees by default.

    python -m benchmarks.peers.tags_loop CLIP...

One process, a batch a clip: the networks of vmm's `objects` and `imagenet`, a picture a second, two
threads in the decoder and two in torch; prints each clip's best object as a line of JSON. The clips
have no sound. decord scales to what the second network sees, and torch to what the first does.
"""

from __future__ import annotations

import json
import sys

import torch
from torch.nn import functional as F

from benchmarks.peers.decord_loop import THREADS, central_square, pictures, under
from vmm_cli import bundles
from vmm_cli.networks.pretrained.efficientnet_lite import EfficientNetLite0
from vmm_cli.networks.pretrained.nanodet import NanoDet

SIDE, STEP, MARGIN = 416, 32, 8  # of the frame that the first network sees
GREY = 115.0
LEAST_SCORE = 0.05


def main(paths: list[str]) -> None:
    torch.set_num_threads(THREADS)
    finder, model = bundles.load("objects"), bundles.load("imagenet")
    tensors = _tensors(model)
    detector, network = NanoDet(), EfficientNetLite0()
    _fill(detector, _tensors(finder))
    _fill(network, under("encoders.image.", tensors))
    network.fold_batch_norm()
    head, numbers = under("head.", tensors), model.encoders["image"].preprocess
    for path in paths:
        images = pictures(path)
        with torch.inference_mode():
            found = detector(_letterboxed(images))  # -> [T, 300, 6]
            x = central_square(images, int(numbers["crop"])).float()
            features = network((x - numbers["mean"]) / numbers["scale"])
            (features @ head["weight"].T + head["bias"]).softmax(dim=1)
        likely = found[found[..., 4] >= LEAST_SCORE]
        best = likely[likely[:, 4].argmax()] if len(likely) else None
        label = None if best is None else finder.labels[int(best[5])]
        print(json.dumps({"input": path, "label": label}))


def _letterboxed(images: torch.Tensor) -> torch.Tensor:
    """Scale to the width of a frame and lay grey above and below: -> uint8 [T, H, W, 3]."""
    high = round(SIDE * images.shape[2] / images.shape[3])
    down = min(-(-(high + 2 * MARGIN) // STEP) * STEP, SIDE)
    x = F.interpolate(images.float(), (high, SIDE), mode="bilinear", antialias=True)
    top = (down - high) // 2
    x = F.pad(x, (0, 0, top, down - high - top), value=GREY)
    return x.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _tensors(bundle: bundles.Bundle) -> dict[str, torch.Tensor]:
    return {k: torch.from_numpy(v.copy()).float() for k, v in bundles.load_tensors(bundle).items()}


def _fill(network: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    network.load_state_dict(tensors)
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


if __name__ == "__main__":
    main(sys.argv[1:])
