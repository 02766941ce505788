"""The loop that articles teach: OpenCV reads every picture, ResNet-50 looks at one after another.

    python -m benchmarks.peers.opencv_loop CLIP...

float32, two threads each. The network sees one picture a second, as vmm does; articles often show
it every one, which here would take 25 times its share. Its weights are random: speed alone counts.
"""

from __future__ import annotations

import json
import sys

import cv2
import torch

from vmm_cli.compat import ensure_torchvision

ensure_torchvision()

from torchvision.models import resnet50  # noqa: E402  the cure comes first
from torchvision.transforms import v2  # noqa: E402

THREADS = 2


def main(paths: list[str]) -> None:
    torch.set_num_threads(THREADS)
    cv2.setNumThreads(THREADS)
    network = resnet50(weights=None).eval()
    prepare = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize(256),
            v2.CenterCrop(224),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    for path in paths:
        capture = cv2.VideoCapture(path)
        every = round(capture.get(cv2.CAP_PROP_FPS))
        scores = []
        number = 0
        while True:
            there, picture = capture.read()
            if not there:
                break
            if number % every == 0:
                image = prepare(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
                with torch.no_grad():
                    scores.append(network(image[None]).softmax(dim=1)[0])
            number += 1
        capture.release()
        best = int(torch.stack(scores).mean(dim=0).argmax())
        print(json.dumps({"input": path, "class": best, "pictures": number}))


if __name__ == "__main__":
    main(sys.argv[1:])
