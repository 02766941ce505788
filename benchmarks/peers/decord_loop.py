"""The loop that one would write with decord and torch: one process, one batch a clip.

    python -m benchmarks.peers.decord_loop CLIP...

The same network and the same numbers as vmm's `imagenet`, a picture a second, two threads in the
decoder and two in torch; prints each clip's best label as a line of JSON. decord scales as it
decodes: of 8 clips of 10 s, 720p, that took 2.1 s, and decoding at full size and scaling in torch
2.4 s. It is told the size, for looking it up would mean opening every clip twice.
"""

from __future__ import annotations

import json
import sys

import decord
import numpy as np
import torch

from vmm_cli import bundles
from vmm_cli.networks.pretrained.efficientnet_lite import EfficientNetLite0

THREADS = 2
EVERY_S = 1.0
WIDTH, HEIGHT = 455, 256  # of clips of 16:9 at the model's shorter side of 256


def main(paths: list[str]) -> None:
    torch.set_num_threads(THREADS)
    model = bundles.load("imagenet")
    numbers = model.encoders["image"].preprocess
    tensors = {k: torch.from_numpy(v.copy()) for k, v in bundles.load_tensors(model).items()}
    network = EfficientNetLite0()
    network.load_state_dict(under("encoders.image.", tensors))
    network.eval()
    network.fold_batch_norm()
    network = network.to(memory_format=torch.channels_last)
    head = under("head.", tensors)
    for path in paths:
        images = pictures(path)
        with torch.inference_mode():
            x = central_square(images, int(numbers["crop"])).float()  # [T, 3, 224, 224]
            features = network((x - numbers["mean"]) / numbers["scale"])  # -> [T, 1280]
            logits = features @ head["weight"].T + head["bias"]  # -> [T, 1000]
            scores = logits.softmax(dim=1).mean(dim=0)
        best = int(scores.argmax())
        print(
            json.dumps({"input": path, "label": model.labels[best], "score": float(scores[best])})
        )


def pictures(path: str) -> torch.Tensor:
    """Return a picture a second, scaled: uint8 [T, 3, H, W]."""
    reader = decord.VideoReader(path, width=WIDTH, height=HEIGHT, num_threads=THREADS)
    seconds = len(reader) / reader.get_avg_fps()
    wanted = np.arange(0, seconds, EVERY_S) * reader.get_avg_fps()
    images = reader.get_batch(wanted.round().astype(int)).asnumpy()  # [T, H, W, 3]
    return torch.from_numpy(images).permute(0, 3, 1, 2)  # -> [T, 3, H, W]


def central_square(x: torch.Tensor, side: int) -> torch.Tensor:
    top, left = (x.shape[2] - side) // 2, (x.shape[3] - side) // 2
    return x[:, :, top : top + side, left : left + side]


def under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


if __name__ == "__main__":
    main(sys.argv[1:])
