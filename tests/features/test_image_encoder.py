from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vmm_cli import bundles
from vmm_cli.errors import DeviceError, ModelError, UsageError
from vmm_cli.features import catalogue
from vmm_cli.features.computing import features_of
from vmm_cli.features.image import device_from, encoder_of, image_encoder
from vmm_cli.features.image_encoder import ImageEncoder, encode
from vmm_cli.features.image_stream import compute_of
from vmm_cli.features.preprocess import Preprocess, central_square, prepare
from vmm_cli.features.values import Features
from vmm_cli.media.frames import FrameRequest, iter_frames
from vmm_cli.media.geometry import Size
from vmm_cli.media.sampling import every
from vmm_cli.networks.pretrained.efficientnet_lite import EfficientNetLite0

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def imagenet() -> bundles.Bundle:
    return bundles.load("imagenet")


@pytest.fixture(scope="module", params=["onnxruntime", "torch"])
def encoder(imagenet: bundles.Bundle, request: pytest.FixtureRequest) -> ImageEncoder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VMM_ENGINE", request.param)
        return catalogue.load_image_encoder(imagenet, "cpu")


@pytest.fixture(scope="module")
def pictures(bikes: Path) -> list[tuple[float, np.ndarray]]:
    request = FrameRequest("image", every(1), Size(short=256))
    return [(frame.time_s, frame.image) for frame in iter_frames(bikes, [request])]


def probabilities(imagenet: bundles.Bundle, values: np.ndarray) -> np.ndarray:
    head = bundles.load_tensors(imagenet, "head.")
    logits = torch.from_numpy(values @ head["weight"].T + head["bias"])
    return logits.softmax(dim=1).numpy()


def prepared(pictures: list[tuple[float, np.ndarray]]) -> np.ndarray:
    return np.stack([central_square(image, 224) for _, image in pictures])


def test_a_graph_gives_what_pytorch_gives(
    imagenet: bundles.Bundle,
    pictures: list[tuple[float, np.ndarray]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = {}
    for engine in ("onnxruntime", "torch"):
        monkeypatch.setenv("VMM_ENGINE", engine)
        encoder = catalogue.load_image_encoder(imagenet, "cpu")
        values[engine] = encode(encoder, prepared(pictures))
    np.testing.assert_allclose(values["onnxruntime"], values["torch"], rtol=0, atol=2e-5)
    ours, theirs = (probabilities(imagenet, v) for v in values.values())
    assert np.abs(ours - theirs).max() < 1e-5


def encode_pictures(encoder: ImageEncoder, pictures: list[tuple[float, np.ndarray]]) -> Features:
    numbers = encoder.preprocess
    return features_of(
        compute_of(encoder), ((time_s, prepare(numbers, image)) for time_s, image in pictures)
    )


def test_the_encoder_gives_what_the_plain_network_gives(
    imagenet: bundles.Bundle, encoder: ImageEncoder, pictures: list[tuple[float, np.ndarray]]
) -> None:
    plain = EfficientNetLite0().eval()
    tensors = bundles.load_tensors(imagenet, "encoders.image.")
    plain.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()}, strict=False)
    images = prepared(pictures)
    x = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        expected = plain(x).numpy()
    features = encode_pictures(encoder, pictures)
    assert features.times.tolist() == [time_s for time_s, _ in pictures]
    assert features.values.shape == (10, 1280)
    assert features.values.dtype == np.float32
    ours, theirs = (probabilities(imagenet, v) for v in (features.values, expected))
    assert np.abs(ours - theirs).max() < 1e-4


def test_batches_do_not_change_results(
    encoder: ImageEncoder, pictures: list[tuple[float, np.ndarray]]
) -> None:
    images = prepared(pictures)[:5]
    one_by_one = np.concatenate([encode(encoder, images[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(encode(encoder, images), one_by_one, rtol=1e-3, atol=1e-4)


def test_no_pictures_give_no_features(encoder: ImageEncoder) -> None:
    assert features_of(compute_of(encoder), []).values.shape == (0, 1280)
    assert encode(encoder, np.empty((0, 224, 224, 3), np.uint8)).shape == (0, 1280)


class Scarce(EfficientNetLite0):
    """A network on a device that holds two pictures, or none."""

    room = 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.room:
            raise torch.OutOfMemoryError("not enough memory")
        return x.mean(dim=(2, 3)).repeat(1, 427)[:, :1280]


def test_the_batch_is_halved_when_memory_runs_out() -> None:
    network = Scarce()
    scarce = encoder_of(network, Preprocess(8, 8, 127, 128), CPU, 8, 1280)
    images = np.random.default_rng(0).integers(0, 256, (11, 8, 8, 3), np.uint8)
    values = encode(scarce, images)
    expected = (images.astype(np.float32).mean(axis=(1, 2)) - 127) / 128
    np.testing.assert_allclose(values[:, :3], expected, atol=1e-4)
    network.room = 0
    with pytest.raises(torch.OutOfMemoryError):
        encode(scarce, images)


def test_devices_are_checked() -> None:
    assert device_from("cpu") == CPU
    assert device_from("auto").type in ("cpu", "cuda")
    for wrong in ("gpu", "meta", "cuda:999", "mps"):
        with pytest.raises((UsageError, DeviceError), match=wrong):
            device_from(wrong)


def test_other_weights_and_unknown_encoders_are_refused(imagenet: bundles.Bundle) -> None:
    spec = imagenet.encoders["image"]
    other = replace(imagenet, encoders={"image": replace(spec, digest="0" * 64)})
    with pytest.raises(ModelError, match="was made with another"):
        catalogue.load_image_encoder(other, "cpu")
    with pytest.raises(ModelError, match=r"this vmm has .*efficientnet-lite0"):
        catalogue.entry("efficientnet-b7")
    with pytest.raises(ModelError, match="no encoder for pictures"):
        catalogue.load_image_encoder(replace(imagenet, encoders={}), "cpu")
    with pytest.raises(ValueError, match="Missing key"):
        image_encoder({}, Preprocess(256, 224, 127, 128), CPU)


def test_a_bundle_without_the_encoders_weights_borrows_them(
    imagenet: bundles.Bundle, tmp_path: Path
) -> None:
    import yaml

    fields = yaml.safe_load((imagenet.folder / "bundle.yaml").read_text())
    own = {k: v for k, v in fields.items() if k not in ("schema", "weights")} | {
        "name": "own",
        "labels": ["a", "b"],
    }
    head = {"head.weight": np.zeros((2, 1280), np.float32), "head.bias": np.zeros(2, np.float32)}
    borrowed = catalogue.load_image_encoder(bundles.save(tmp_path / "own", own, head), "cpu")
    assert borrowed.preprocess.crop == 224


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_labels_on_cuda_agree_with_the_cpus(
    imagenet: bundles.Bundle, encoder: ImageEncoder, pictures: list[tuple[float, np.ndarray]]
) -> None:
    there = catalogue.load_image_encoder(imagenet, "cuda")
    ours = probabilities(imagenet, encode_pictures(encoder, pictures).values)
    theirs = probabilities(imagenet, encode_pictures(there, pictures).values)
    assert np.abs(ours - theirs).max() < 1e-2


def test_a_graph_of_others_never_stands_for_the_encoder_of_vmm(
    imagenet: bundles.Bundle, tmp_path: Path
) -> None:
    """What it gives would be kept as the features of everybody's encoder."""
    other = tmp_path / "other"
    shutil.copytree(imagenet.folder, other)
    (other / "graph.onnx").write_bytes(b"another graph")
    text = (other / "bundle.yaml").read_text()
    known = imagenet.graphs["image"].digest
    digest = hashlib.sha256(b"another graph").hexdigest()
    (other / "bundle.yaml").write_text(text.replace(known, digest))
    read = bundles.read(other)
    assert read.graphs["image"].digest == digest
    pictures = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    theirs, ours = (
        encode(catalogue.load_image_encoder(bundle, "cpu"), pictures) for bundle in (read, imagenet)
    )
    assert np.array_equal(theirs, ours)
