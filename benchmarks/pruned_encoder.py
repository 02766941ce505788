"""What a pruned EfficientNet-Lite0 costs and gives: a line of docs/results.md.

    python -m benchmarks.pruned_encoder DATA

A part of the widened channels of every block, those of the smallest magnitudes, is dropped. Then
the blocks are fitted to give what those of the whole network give, one after the other by least
squares (He, Zhang, Sun 2017), and all together by gradient descent on the features. The pictures
for that are some of fights/unlisted.csv and all of pictures/images; how near the features are is
seen on other clips of unlisted.csv. About a minute of CPU is spent on it.
"""

from __future__ import annotations

import argparse
import copy
import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # networks run in one thread, so that CPU seconds compare

import numpy as np
import onnxruntime
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.distillation import encode, largest
from vmm_cli import bundles
from vmm_cli.features import image
from vmm_cli.features.catalogue import ENCODERS
from vmm_cli.features.encoder import Compute, OfFrames
from vmm_cli.features.image_stream import GRAPH_PICTURES, LITE0_WIDTH, tensor_prefix
from vmm_cli.features.preprocess import Preprocess
from vmm_cli.networks.pretrained.efficientnet_lite import EfficientNetLite0, InvertedResidual
from vmm_cli.training.data.read_classes import read_classes
from vmm_cli.training.read_recipe import load_recipe

PLACES = 49  # of each picture that least squares see
RIDGE = 0.1  # of the mean square of what is fitted: how far the weights are held to what they were
EVERY = 6  # of the clips' pictures, which are much alike: so many are one
STEPS, BATCH, LEARNING_RATE = 80, 8, 1e-4
HELD_OUT = 0.2  # of the pictures: how near the features are is seen on these
TIMED_PICTURES, ROUNDS = 40, 3

Run = Callable[[np.ndarray], np.ndarray]


# --- pruning ------------------------------------------------------------------------------------


def pruned(full: EfficientNetLite0, pictures: Tensor, kept: float) -> EfficientNetLite0:
    """Return the network with a part of the widened channels, fitted block by block.

    full: its normalisation folded; pictures: float32 [N, 3, H, W], normalised.
    """
    narrow = copy.deepcopy(full)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        wanted = given = in_batches(full.stem, pictures)
        for block, less in zip(full.blocks, narrow.blocks, strict=True):
            assert isinstance(block, InvertedResidual) and isinstance(less, InvertedResidual)
            wanted = in_batches(block, wanted)
            if not isinstance(less.expand, nn.Identity):
                drop_channels(less, kept)
                refit(less, given, wanted, draw)
            given = in_batches(less, given)
    return narrow


def drop_channels(block: InvertedResidual, kept: float) -> None:
    """Keep the widened channels of the largest products of norms: of what makes and reads them."""
    expand, depthwise, project = (
        part.conv for part in (block.expand, block.depthwise, block.project)
    )
    norms = expand.weight.flatten(1).norm(dim=1) * depthwise.weight.flatten(1).norm(dim=1)
    chosen = largest(norms * project.weight.flatten(1).norm(dim=0), round(kept * len(norms)))
    for conv in (expand, depthwise):
        conv.weight = nn.Parameter(conv.weight[chosen].clone())
        conv.bias = nn.Parameter(conv.bias[chosen].clone())
    depthwise.groups = len(chosen)
    project.weight = nn.Parameter(project.weight[:, chosen].clone())


def refit(block: InvertedResidual, given: Tensor, wanted: Tensor, draw: torch.Generator) -> None:
    """Have a block's last convolution give what the whole block gave, by least squares."""
    taken: list[Tensor] = []
    sought: list[Tensor] = []
    for x, y in zip(given.split(BATCH), wanted.split(BATCH), strict=True):
        y = y - x if block.residual else y
        x = block.depthwise(block.expand(x))
        x, y = (part.flatten(2).transpose(1, 2) for part in (x, y))  # -> [N, H * W, C]
        places = torch.randint(x.shape[1], (len(x), PLACES), generator=draw)
        rows = torch.arange(len(x))[:, None]
        taken.append(x[rows, places].flatten(0, 1).double())
        sought.append(y[rows, places].flatten(0, 1).double())
    x, y = torch.cat(taken), torch.cat(sought)
    conv = block.project.conv
    before = conv.weight.flatten(1).T.double()  # [C, C']
    middle, offset = x.mean(dim=0), y.mean(dim=0)
    x, y = x - middle, y - offset
    square = x.T @ x
    square.diagonal().add_(RIDGE * square.diagonal().mean())
    weight = before + torch.linalg.solve(square, x.T @ (y - x @ before))
    conv.weight = nn.Parameter(weight.T.float()[:, :, None, None].clone())
    conv.bias = nn.Parameter((offset - middle @ weight).float())


def in_batches(module: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([module(part) for part in x.split(BATCH)])


def imitate(narrow: nn.Module, full: nn.Module, pictures: Tensor) -> None:
    """Train all of the pruned network to give the features of the whole one."""
    narrow.requires_grad_(True)
    optimiser = torch.optim.Adam(narrow.parameters(), lr=LEARNING_RATE)
    draw = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / STEPS)
        shown = pictures[torch.randint(len(pictures), (BATCH,), generator=draw)]
        with torch.no_grad():
            wanted = full(shown)
        loss = functional.mse_loss(narrow(shown), wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    narrow.requires_grad_(False)


def error(narrow: nn.Module, full: nn.Module, pictures: Tensor) -> float:
    """Return the part of the features' variance that the pruned network misses."""
    with torch.inference_mode():
        wanted, given = in_batches(full, pictures), in_batches(narrow, pictures)
    return float((given - wanted).square().mean() / wanted.var(dim=0).mean())


# --- in the place of the bundled one ------------------------------------------------------------


def in_runtime(network: nn.Module, preprocess: Preprocess) -> tuple[Run, int]:
    """Return a network as ONNX Runtime runs it, in one thread, and the bytes of its graph."""
    whole, file = image.to_export(network, preprocess), io.BytesIO()
    taken = list(whole.example)
    torch.onnx.export(
        whole.module,
        tuple(whole.example.values()),
        file,
        input_names=taken,
        output_names=list(whole.outputs),
        dynamic_axes={name: dict.fromkeys(axes, "n") for name, axes in whole.dynamic.items()},
        dynamo=False,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        file.getvalue(), options, providers=["CPUExecutionProvider"]
    )
    return lambda pictures: session.run(None, {taken[0]: pictures})[0], len(file.getvalue())


@contextmanager
def seen_with(run: Run) -> Iterator[None]:
    """Have pictures encoded by `run`, in this process."""
    before = dict(ENCODERS)
    compute = Compute(run, LITE0_WIDTH, GRAPH_PICTURES)
    for name in ("efficientnet-lite0", "motion-crop"):
        runs = ENCODERS[name].runs
        assert isinstance(runs, OfFrames)
        ENCODERS[name] = replace(
            ENCODERS[name], runs=replace(runs, compute=lambda job: compute, takes_device=False)
        )
    try:
        yield
    finally:
        ENCODERS.update(before)


def speeds(runs: Sequence[Run], pictures: np.ndarray) -> list[float]:
    """Return how many pictures each encodes in a second of CPU: the best of some rounds."""
    best = [0.0] * len(runs)
    for _ in range(ROUNDS):
        for i, run in enumerate(runs):
            began = time.process_time()
            for first in range(0, TIMED_PICTURES, GRAPH_PICTURES):
                run(pictures[first : first + GRAPH_PICTURES])
            best[i] = max(best[i], TIMED_PICTURES / (time.process_time() - began))
    return best


# --- main ---------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--kept", type=float, default=0.5, help="of the channels of each block")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bundle = bundles.read(bundles.packaged_models() / "imagenet")
    preprocess = Preprocess.from_dict(bundle.encoders["image"].preprocess)
    full = image.lite0(bundles.load_tensors(bundle, tensor_prefix("image")))
    full.fold_batch_norm()
    of_clips = pictures_of(arguments.data / "fights" / "unlisted.csv")
    count = round(HELD_OUT * len(of_clips))  # the first clips; at most one goes on behind them
    pictures = np.concatenate(
        [of_clips[count::EVERY], *photographs(arguments.data / "pictures" / "images", preprocess)]
    )
    unseen, shown = (
        image.normalised(preprocess, torch.from_numpy(part).movedim(-1, 1))
        for part in (of_clips[:count], pictures)
    )
    began = time.process_time()
    narrow = pruned(full, shown, arguments.kept)
    fitted = error(narrow, full, unseen)
    imitate(narrow, full, shown)
    print(
        f"pruned and fitted in {time.process_time() - began:.0f} s of CPU; missed of the variance"
    )
    print(f"of features: {fitted:.3f} by least squares, then {error(narrow, full, unseen):.3f}")
    (whole_run, whole_size), (run, size) = (in_runtime(n, preprocess) for n in (full, narrow))
    per_second = speeds((whole_run, run), pictures)
    print(f"whole: {whole_size / 1e6:.1f} MB, {per_second[0]:.0f} pictures a CPU second")
    print(f"pruned: {size / 1e6:.1f} MB, {per_second[1]:.0f} pictures a CPU second", flush=True)


def photographs(folder: Path, preprocess: Preprocess) -> Iterator[np.ndarray]:
    """Yield each picture of a folder, whole and its left and right half: uint8 [3, H, W, 3]."""
    for path in sorted(folder.glob("*.jpg")):
        with Image.open(path) as file:
            picture = file.convert("RGB")
        width, height = picture.size
        left = picture.crop((0, 0, width // 2, height))
        right_half = picture.crop((width // 2, 0, width, height))
        size = (preprocess.crop, preprocess.crop)
        yield np.stack(
            [np.asarray(ImageOps.fit(part, size)) for part in (picture, left, right_half)]
        )


def pictures_of(manifest: Path) -> np.ndarray:
    """Return what Lite0 is shown of the clips of a manifest: uint8 [N, H, W, 3]."""
    seen = []

    def run(pictures: np.ndarray) -> np.ndarray:
        seen.append(pictures)
        return np.zeros((len(pictures), LITE0_WIDTH), np.float32)

    with seen_with(run):
        encode(read_classes(manifest).samples, load_recipe("motion"), stored=False)
    return np.concatenate(seen)


if __name__ == "__main__":
    main()
