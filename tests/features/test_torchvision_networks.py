"""torchvision's networks with random weights of the true shapes against torchvision itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.random_weights import random_network
from vmm_cli.bundles.published import LABELS, PUBLISHED_AT, TORCHVISION, how_to_get
from vmm_cli.compat import ensure_torchvision
from vmm_cli.features.catalogue import entry
from vmm_cli.features.image import normalised
from vmm_cli.features.image_encoder import encode
from vmm_cli.features.preprocess import Preprocess, prepare
from vmm_cli.features.torchvision_networks import convert, published, torchvision_encoder
from vmm_cli.media.frames import FrameRequest, iter_frames
from vmm_cli.media.sampling import count

ensure_torchvision()
from torchvision.models import get_weight  # noqa: E402  the cure comes first

CPU = torch.device("cpu")
QUICK = ("resnet18", "mobilenet_v3_large", "mc3_18")
NAMES = [
    pytest.param(name, marks=[] if name.split("/")[1] in QUICK else [pytest.mark.slow])
    for name in TORCHVISION
]


def transforms(name: str) -> Any:
    return get_weight(TORCHVISION[name].weights).transforms()


def numbers(name: str) -> Preprocess:
    return Preprocess.from_dict(TORCHVISION[name].preprocess)


def test_it_is_said_how_a_network_comes_here() -> None:
    said = how_to_get("torchvision/swin3d_b")
    for part in (
        "`vmm models fetch torchvision/swin3d_b`",
        "https://download.pytorch.org/models/swin3d_b_1k-24f7c7c6.pth",
        "`vmm models fetch torchvision/swin3d_b --from FILE`",
    ):
        assert part in said


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_table_says_what_torchvision_says(name: str) -> None:
    model, weights = TORCHVISION[name], get_weight(TORCHVISION[name].weights)
    ours, theirs = model.preprocess, weights.transforms()
    assert weights.meta["_file_size"] == pytest.approx(model.download_mib, abs=0.51)
    stated = weights.meta["_metrics"][model.data]["acc@1"]
    assert stated == pytest.approx(model.accuracy_percent, abs=0.0501)
    assert len(weights.meta["categories"]) == LABELS[model.data]
    assert published(name).labels == tuple(weights.meta["categories"])
    assert published(name).url == f"{PUBLISHED_AT}/{model.file}"
    crop = theirs.crop_size
    assert crop in ([ours["crop"]], [ours["crop"], ours["crop"]])
    size = [ours["short_side"], ours["width"]] if "width" in ours else [ours["short_side"]]
    assert theirs.resize_size == size
    for i, colour in enumerate(("red", "green", "blue")):
        assert ours[f"mean_{colour}"] == theirs.mean[i]
        assert ours[f"std_{colour}"] == theirs.std[i]
    assert entry(name).width == model.width
    assert re.fullmatch(r"[^/]+-[0-9a-f]{8}\.pth", weights.url.rsplit("/", 1)[1])
    if model.kind == "picture":
        assert bool(ours["antialias"]) == theirs.antialias
        return
    said = weights.meta["_docs"]
    assert f"`frame_rate={ours['rate_hz']:g}`" in said
    assert f"`clip_len={ours['frames']}`" in said
    assert ours["frames"] >= weights.meta.get("min_temporal_size", 1)
    # The largest whole number of seconds that leaves no gap.
    assert model.every_s <= ours["frames"] / ours["rate_hz"] < model.every_s + 1


@pytest.fixture(scope="module")
def pictures(bikes: Path, bunny: Path) -> list[np.ndarray]:
    """Two of 640x272, one of 1280x720, and one on its side with odd sides: uint8 [N, H, W, 3]."""
    street, cartoon = (
        np.stack([frame.image for frame in iter_frames(video, [FrameRequest("x", count(n))])])
        for video, n in ((bikes, 2), (bunny, 1))
    )
    return [street, cartoon, np.ascontiguousarray(cartoon.swapaxes(1, 2)[:, :1111, :719])]


@pytest.mark.parametrize("name", TORCHVISION)
def test_preprocessing_is_torchvision_s_own(name: str, pictures: list[np.ndarray]) -> None:
    for images in pictures:
        theirs = torch.from_numpy(images).permute(0, 3, 1, 2)
        expected = transforms(name)(theirs)
        ours = np.stack([prepare(numbers(name), image) for image in images])
        if TORCHVISION[name].kind == "clip":
            ours = ours[None]
        x = normalised(numbers(name), torch.from_numpy(ours).movedim(-1, 1))
        x = x[0] if TORCHVISION[name].kind == "clip" else x
        assert x.shape == expected.shape
        apart = (x - expected).abs()
        # Single values round to the other side, most where many lie half way between two steps.
        assert (apart > 1e-3).float().mean() < 5e-4
        assert apart.max() < 1.01 / min(numbers(name).scale)


@pytest.mark.parametrize("name", NAMES)
def test_encoder_and_head_make_torchvision_s_network(name: str) -> None:
    original = random_network(name)
    parts = convert(name, original.state_dict())
    encoder = torchvision_encoder(name, parts.backbone, numbers(name), CPU)
    images = np.random.default_rng(0).integers(0, 256, (1, *numbers(name).shape), np.uint8)
    features = encode(encoder, images)
    assert features.shape == (1, TORCHVISION[name].width)
    assert features.dtype == np.float32
    ours = features @ parts.weight.T + parts.bias
    with torch.inference_mode():
        x = normalised(numbers(name), torch.from_numpy(images).movedim(-1, 1))
        expected = original(x.contiguous()).numpy()
    assert ours.shape == expected.shape == (1, LABELS[TORCHVISION[name].data])
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert not any(key.endswith("num_batches_tracked") for key in parts.backbone)


def test_other_tensors_are_refused() -> None:
    state = random_network("resnet18").state_dict()
    short = {k: v for k, v in state.items() if k != "fc.weight"}
    turned = state | {"conv1.weight": state["conv1.weight"][:32]}
    cases = [
        (short, "1 of its 102 tensors are missing"),
        (turned, "1 have another shape"),
        (state | {"more": state["fc.bias"]}, "1 are not its own"),
    ]
    for wrong, said in cases:
        with pytest.raises(ValueError, match=said):
            convert("torchvision/resnet18", wrong)
    with pytest.raises(ValueError, match="missing"):
        torchvision_encoder("torchvision/mc3_18", {}, numbers("torchvision/mc3_18"), CPU)


def test_half_precision_is_widened() -> None:
    state = {k: v.half() if v.is_floating_point() else v for k, v in _state().items()}
    parts = convert("torchvision/mobilenet_v3_large", state)
    kinds = {v.dtype for v in parts.backbone.values()}
    assert kinds == {np.dtype(np.float32)}
    assert parts.weight.dtype == np.float32


def _state() -> dict[str, torch.Tensor]:
    return random_network("mobilenet_v3_large").state_dict()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("name", TORCHVISION)
def test_features_on_cuda_agree_with_the_cpus(name: str) -> None:
    parts = convert(name, random_network(name).state_dict())
    images = np.random.default_rng(0).integers(0, 256, (1, *numbers(name).shape), np.uint8)
    ours, theirs = (
        encode(torchvision_encoder(name, parts.backbone, numbers(name), device), images)
        for device in (CPU, torch.device("cuda"))
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3 * np.abs(ours).max())
