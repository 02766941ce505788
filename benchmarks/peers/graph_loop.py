"""The loop that one would write with decord and ONNX Runtime: one process, one batch a clip.

    python -m benchmarks.peers.graph_loop CLIP...

The same graph with the same weights as vmm runs, a picture a second, two threads in the decoder and
two in the runtime; decord scales as it decodes. Prints each clip's best label as a line of JSON.
"""

from __future__ import annotations

import json
import sys

import decord
import numpy as np
import onnxruntime

from vmm_cli import bundles

THREADS = 2
EVERY_S = 1.0
WIDTH, HEIGHT = 455, 256  # of clips of 16:9 at the model's shorter side of 256
CROP = 224


def main(paths: list[str]) -> None:
    folder = bundles.packaged_models() / "imagenet"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(folder / "graph.onnx", options)
    (taken,) = (port.name for port in session.get_inputs())
    model = bundles.load("imagenet")
    head = bundles.load_tensors(model, "head.")
    for path in paths:
        features = session.run(None, {taken: _pictures(path)})[0]  # [T, 1280]
        logits = features @ head["weight"].T + head["bias"]  # -> [T, 1000]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = (powers / powers.sum(axis=1, keepdims=True)).mean(axis=0)
        best = int(scores.argmax())
        print(
            json.dumps({"input": path, "label": model.labels[best], "score": float(scores[best])})
        )


def _pictures(path: str) -> np.ndarray:
    """Return the middle of a picture a second, scaled: uint8 [T, CROP, CROP, 3]."""
    reader = decord.VideoReader(path, width=WIDTH, height=HEIGHT, num_threads=THREADS)
    seconds = len(reader) / reader.get_avg_fps()
    wanted = np.arange(0, seconds, EVERY_S) * reader.get_avg_fps()
    images = reader.get_batch(wanted.round().astype(int)).asnumpy()  # [T, H, W, 3]
    top, left = (HEIGHT - CROP) // 2, (WIDTH - CROP) // 2
    return np.ascontiguousarray(images[:, top : top + CROP, left : left + CROP])


if __name__ == "__main__":
    main(sys.argv[1:])
