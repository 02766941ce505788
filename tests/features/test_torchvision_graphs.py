"""Graphs of torchvision's networks, as a fetch writes them, against PyTorch; random weights."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.random_weights import random_network, random_weights
from vmm_cli import bundles
from vmm_cli.bundles.published import LABELS, TORCHVISION
from vmm_cli.engines.export import graph_bytes
from vmm_cli.engines.graph import Port, compiled
from vmm_cli.engines.of_model import engine_of
from vmm_cli.errors import ModelError
from vmm_cli.features.catalogue import load_image_encoder
from vmm_cli.features.image import to_export
from vmm_cli.features.image_stream import FEATURES, PICTURES, STREAM, tensor_prefix
from vmm_cli.features.preprocess import Preprocess
from vmm_cli.features.torchvision_networks import backbone, convert
from vmm_cli.fetching import fetch

pytestmark = pytest.mark.usefixtures("one_thread")

NAME = "torchvision/mobilenet_v3_large"
QUICK = (NAME, "torchvision/resnet18")
FIELDS = {
    "name": "clips",
    "version": 1,
    "task": "classes",
    "streams": ["image"],
    "encoders": {},
    "network": {},
    "sampling": {"every_s": 1.0, "free": True},
    "licence": {},
    "labels": ["one"],
}
NAMES = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
    for name, model in TORCHVISION.items()
    if model.as_graph
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("VMM_MODELS", "VMM_MODELS_URL", "VMM_ENGINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", os.fspath(tmp_path / "share"))
    return tmp_path / "share" / "vmm" / "models"


def fetched(name: str, folder: Path) -> bundles.Bundle:
    file = random_weights(name, folder)
    done = fetch.fetch(name, os.fspath(file), on_progress=lambda *at: None)
    file.unlink()
    assert (done.graphed, done.no_graph) == (True, "")
    return done.bundle


def probabilities(model: bundles.Bundle, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return features [N, D] and probabilities [N, L] of uint8 [N, ...], all at once."""
    features = load_image_encoder(model, "cpu").run(images)
    head = bundles.load_tensors(model, "head.")
    logits = features @ head["weight"].T + head["bias"]
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return features, exponents / exponents.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_gives_what_pytorch_gives(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fetched(name, tmp_path)
    assert engine_of(model).name == "onnxruntime"
    draw = np.random.default_rng(1)
    shape = load_image_encoder(model, "cpu").preprocess.shape
    # A graph was written with one clip, or two pictures; here are others, and another number.
    for count in (1, 3) if TORCHVISION[name].kind == "picture" else (1,):
        images = draw.integers(0, 256, (count, *shape), np.uint8)
        found = []
        for engine in ("onnxruntime", "torch"):
            monkeypatch.setenv("VMM_ENGINE", engine)
            found.append(probabilities(model, images))
        (features, ours), (wanted, theirs) = found
        assert features.shape == wanted.shape == (count, TORCHVISION[name].width)
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
        assert ours.shape == (count, LABELS[TORCHVISION[name].data])
        assert np.abs(ours - theirs).max() < 1e-3


def test_a_graph_of_clips_takes_several_at_once(tmp_path: Path) -> None:
    """Which vmm does not ask for; it is written with one. Of small pictures, to be quick."""
    name = "torchvision/mc3_18"
    tensors = convert(name, random_network(name).state_dict()).backbone
    numbers = replace(
        Preprocess.from_dict(TORCHVISION[name].preprocess), short_side=32, crop=32, frames=4
    )
    saved = {f"{tensor_prefix(STREAM)}{key}": value for key, value in tensors.items()}
    model = bundles.save(tmp_path / "model", FIELDS, saved)
    weights = bundles.load_weights(model)
    network = to_export(backbone(name, tensors), numbers, traced=True)
    assert [len(one) for one in network.example.values()] == [1]
    run = compiled(
        graph_bytes(network, weights),
        weights,
        inputs={PICTURES: Port((None, *numbers.shape), "uint8")},
        outputs={FEATURES: Port((None, TORCHVISION[name].width))},
    )
    clips = np.random.default_rng(1).integers(0, 256, (3, *numbers.shape), np.uint8)
    with torch.inference_mode():
        wanted = network.module(torch.from_numpy(clips)).numpy()
    np.testing.assert_allclose(run(clips)[0], wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def test_the_graph_of_others_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it gives would be kept as the features of the network that was fetched."""
    model = fetched(NAME, tmp_path)
    other = tmp_path / "other"
    shutil.move(model.folder, other)
    theirs = bundles.read(other)
    assert theirs.graphs
    assert engine_of(theirs).name == "torch"
    assert engine_of(theirs).why == f"{NAME} has no graph; `vmm models fetch {NAME}` writes it"
    monkeypatch.setenv("VMM_ENGINE", "onnxruntime")
    with pytest.raises(ModelError, match="has no graph of its network"):
        load_image_encoder(theirs, "cpu")
    # Of the network that is found by its name it is.
    monkeypatch.setenv("VMM_MODELS", os.fspath(tmp_path / "for-all"))
    shutil.copytree(other, tmp_path / "for-all" / NAME)
    (other / "graph.onnx").write_bytes(b"of somebody")
    load_image_encoder(theirs, "cpu")
    assert engine_of(theirs).name == "onnxruntime"


def without_graph(model: bundles.Bundle) -> None:
    """Leave a bundle as an earlier vmm made it."""
    (model.folder / "graph.onnx").unlink()
    file = model.folder / "bundle.yaml"
    file.write_text(file.read_text().split("\ngraphs:")[0] + "\n")


def test_a_bundle_of_an_earlier_vmm_gets_its_graph(tmp_path: Path) -> None:
    model = fetched(NAME, tmp_path)
    without_graph(model)
    before = bundles.load(NAME)
    assert not before.graphs and engine_of(before).name == "torch"
    seen: list[str] = []
    done = fetch.fetch(NAME, on_progress=lambda what, *at: seen.append(what))
    assert (done.already, done.graphed, done.no_graph) == (True, True, "")
    assert seen == ["writing its graph"]  # nothing was downloaded
    assert done.bundle == bundles.load(NAME) == model
    assert before.journal_digest == model.journal_digest  # what was done with it stays done
    again = fetch.fetch(NAME, on_progress=lambda *at: None)
    assert (again.already, again.graphed, again.no_graph) == (True, False, "")


def test_without_a_graph_a_bundle_is_good(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = random_weights(NAME, tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)  # as where it is not installed
    done = fetch.fetch(NAME, os.fspath(file), on_progress=lambda *at: None)
    assert not done.already and not done.graphed
    assert "pip install onnx" in done.no_graph
    assert not bundles.load(NAME).graphs
    assert {path.name for path in (home / NAME).iterdir()} == {
        *("bundle.yaml", "weights.safetensors", "CARD.md", "recipe.yaml")
    }
    images = np.zeros((1, 224, 224, 3), np.uint8)
    assert load_image_encoder(done.bundle, "cpu").run(images).shape == (1, 1280)


def test_a_folder_that_cannot_be_written_keeps_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fetched(NAME, tmp_path)
    without_graph(model)
    monkeypatch.setattr(fetch.os, "access", lambda *at: False)  # root may write anywhere
    done = fetch.fetch(NAME, on_progress=lambda *at: None)
    assert (done.already, done.graphed) == (True, False)
    assert done.no_graph == f"{model.folder} cannot be written to"


def test_a_trained_model_that_has_its_name_is_left_alone(tmp_path: Path) -> None:
    model = fetched(NAME, tmp_path)
    without_graph(model)
    file = model.folder / "bundle.yaml"
    text = file.read_text()
    begin, end = text.index("\nsource:"), text.index("\nlabels:")
    file.write_text(text[:begin] + text[end:])
    before = file.read_bytes()
    done = fetch.fetch(NAME, on_progress=lambda *at: None)
    assert (done.already, done.graphed, done.no_graph) == (True, False, "")
    assert file.read_bytes() == before


@pytest.mark.slow
def test_what_pytorch_runs_best_gets_no_graph(tmp_path: Path) -> None:
    name = "torchvision/swin3d_t"
    file = random_weights(name, tmp_path)
    done = fetch.fetch(name, os.fspath(file), on_progress=lambda *at: None)
    assert (done.graphed, done.no_graph) == (False, "")
    assert engine_of(done.bundle).name == "torch"
    assert "PyTorch is what runs it best" in engine_of(done.bundle).why


def test_what_runs_a_model_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    imagenet = bundles.load("imagenet")
    assert engine_of(imagenet).name == "onnxruntime"
    monkeypatch.setenv("VMM_ENGINE", "torch")
    assert engine_of(imagenet).why == "VMM_ENGINE is torch"
