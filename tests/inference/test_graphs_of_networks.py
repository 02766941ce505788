"""Every network that a recipe can make runs as a graph and gives what PyTorch gives."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import save

from tests.events import event_clip, tiny, untrained_model
from vmm_cli import bundles
from vmm_cli.bundles.weights import weights_of
from vmm_cli.engines.export import graph_bytes
from vmm_cli.engines.graph import Run, compiled
from vmm_cli.errors import ModelError
from vmm_cli.inference.examples import Examples
from vmm_cli.inference.export import graphs_of
from vmm_cli.inference.in_graph import FUSED, HEAD, WHOLE, inputs_of, ports_of
from vmm_cli.inference.in_torch import network_from, parts_of, tensors_of
from vmm_cli.inference.load import load_trained
from vmm_cli.inference.network import StepNetwork, anchor_steps
from vmm_cli.inference.steps import find_segments, run_steps
from vmm_cli.media.video import Video
from vmm_cli.networks import reach
from vmm_cli.networks.frontends import FRONT_ENDS
from vmm_cli.networks.fusion import FUSION
from vmm_cli.networks.heads import HEADS
from vmm_cli.networks.model import READS, FusionNetwork
from vmm_cli.networks.pyramid import Pyramid, anchor_points
from vmm_cli.networks.temporal import TEMPORAL

CLOSE = 1e-4
PATCH = (1, 80, 25)  # of a spectrogram, four steps a second; 80 / 8 rows do not divide by 4
# Rows, steps and words; graphs are tried with others.
SIZES = [(1, 1, 1), (2, 9, 3), (5, 30, 11), (1, 17, 2), (3, 2, 1), (1, 64, 1)]

Drawn = tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]


def shape_of(name: str, front_end: str) -> dict[str, Any]:
    kind = READS[front_end]
    width = {"features": 6, "patches": int(np.prod(PATCH)), "tokens": 1}[kind]
    width = 202 if front_end == "skeleton-graph" else width
    return {
        "name": name,
        "kind": kind,
        "width": width,
        "front_end": front_end,
        "vocabulary": 20 if kind == "tokens" else 0,
    }


def description(front_ends: Sequence[str], **more: object) -> dict[str, Any]:
    streams = [shape_of(f"s{i}", one) for i, one in enumerate(front_ends)]
    whole = {"temporal": "none", "fusion": "concat", "head": "classes", "outputs": 3, "levels": 3}
    return {"streams": streams, "width": 8, "layers": 2, "dropout": 0.2, **whole, **more}


def drawn(
    draw: np.random.Generator, about: dict[str, Any], rows: int, steps: int, words: int
) -> Drawn:
    """Random values, masks with gaps, and lengths; the second row has nothing at all."""
    values, masks = {}, {}
    for shape in about["streams"]:
        name, kind = shape["name"], shape["kind"]
        if kind == "tokens":
            values[name] = draw.integers(0, shape["vocabulary"], (rows, words))
            masks[name] = draw.random((rows, words)) > 0.4
        else:
            each = PATCH if kind == "patches" else (shape["width"],)
            values[name] = draw.normal(size=(rows, steps, *each)).astype(np.float32)
            masks[name] = draw.random((rows, steps)) > 0.3
        masks[name][1:2] = False
    return values, masks, np.arange(steps) < draw.integers(1, steps + 1, rows)[:, None]


def some_windows(draw: np.random.Generator, about: dict[str, Any], number: int = 3) -> Examples:
    made = [drawn(draw, about, 1, 7 - i, 5 + i) for i in range(number)]
    names = [shape["name"] for shape in about["streams"]]
    return Examples(
        {name: [values[name][0] for values, _, _ in made] for name in names},
        {name: [masks[name][0] for _, masks, _ in made] for name in names},
        np.array([grid.shape[1] for _, _, grid in made]),
        np.arange(number),
        np.ones(number, np.float32),
    )


def network_of(about: dict[str, Any]) -> FusionNetwork:
    torch.manual_seed(1)
    network = network_from(about).eval().requires_grad_(False)
    for parameter in network.parameters():  # some begin at 0
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


def runs_of(network: FusionNetwork, about: dict[str, Any], examples: Examples) -> dict[str, Run]:
    tensors = {f"network.{k}": v.numpy() for k, v in network.state_dict().items()}
    weights = weights_of(save(tensors))
    runs = {}
    for role, one in graphs_of(network, about, examples).items():
        inputs, outputs = ports_of(about, role)
        runs[role] = compiled(graph_bytes(one, weights), weights, inputs=inputs, outputs=outputs)
    return runs


def same(found: Sequence[np.ndarray], wanted: Sequence[torch.Tensor]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(
            one.astype(np.float64), other.double().numpy(), rtol=CLOSE, atol=CLOSE
        )


def agrees(about: dict[str, Any], number: int = 3) -> None:
    """A graph of these windows gives for any others what the network gives."""
    draw = np.random.default_rng(0)
    network = network_of(about)
    runs = runs_of(network, about, some_windows(draw, about, number))
    names = [shape["name"] for shape in about["streams"]]
    for size in SIZES:
        batch = drawn(draw, about, *size)
        inputs = inputs_of(names, *batch)
        with torch.inference_mode():
            fused = network.fused(*tensors_of(batch))
            given = parts_of(network.head(*fused))
        if WHOLE in runs:
            same(runs[WHOLE](*inputs), given)
        else:
            same(runs[FUSED](*inputs), fused)
            same(runs[HEAD](*(one.numpy() for one in fused)), given)


def paired(ones: Iterable[str], others: Iterable[str]) -> list[Any]:
    """Return all pairs; those that are not needed for each to come once are slow."""
    first, second = sorted(ones), sorted(others)
    longer = max(len(first), len(second))
    quick = {(first[i % len(first)], second[i % len(second)]) for i in range(longer)}
    return [
        pytest.param(*pair, marks=() if pair in quick else pytest.mark.slow)
        for pair in itertools.product(first, second)
    ]


@pytest.mark.parametrize(("front_end", "temporal"), paired(FRONT_ENDS, TEMPORAL))
def test_each_front_end_before_each_temporal_network(front_end: str, temporal: str) -> None:
    agrees(description([front_end], temporal=temporal))


@pytest.mark.parametrize(("fusion", "head"), paired(FUSION, HEADS))
def test_each_fusion_before_each_head(fusion: str, head: str) -> None:
    streams = ["identity-change", "change", "lstm"]
    agrees(description(streams, temporal="tcn", fusion=fusion, head=head))


@pytest.mark.parametrize("head", ["classes", "segments"])
def test_a_graph_of_one_window_is_one_of_any(head: str) -> None:
    agrees(description(["identity", "cnn"], head=head), number=1)


def test_a_head_from_elsewhere_has_no_graph() -> None:
    about = description(["identity"])
    network = network_of(about)
    examples = some_windows(np.random.default_rng(0), about)
    assert graphs_of(network, {**about, "head": "number"}, examples) == {}


# --- what is known of a network without PyTorch ---------------------------------------------------


@pytest.mark.parametrize(("temporal", "fusion"), list(itertools.product(TEMPORAL, FUSION)))
@pytest.mark.parametrize("front_ends", [["change"], ["lstm"], ["identity", "lstm"]])
def test_how_far_it_sees(temporal: str, fusion: str, front_ends: list[str]) -> None:
    network = network_from(description(front_ends, temporal=temporal, fusion=fusion))
    only_text = front_ends == ["lstm"]
    known = reach.of_fused(temporal, 2, fusion, only_text=only_text)
    assert known == network.receptive_field


@pytest.mark.parametrize("levels", [1, 2, 5])
def test_where_anchor_points_lie(levels: int) -> None:
    for steps in (1, 2, 7, 32):
        assert anchor_steps(steps, levels).tolist() == anchor_points(steps, levels)[0].tolist()
    pyramid = Pyramid(4, 2, dropout=0.0, levels=levels)
    assert pyramid.receptive_field == reach.of_pyramid(levels)


# --- in bundles -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return event_clip(tmp_path_factory.mktemp("long") / "a.mkv", [(2.0, 4.5)], seconds=8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, long: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        name: untrained_model(folder / name, tiny(*more), long, graphs=True)
        for name, more in {
            "segments": ("temporal=tcn",),
            "steps": ("head=steps", "temporal=tcn"),
            "wide": ("temporal=tcn", "width=32"),
        }.items()
    }


@pytest.fixture(autouse=True)
def fresh(own_cache: None) -> None:
    load_trained.cache_clear()


@pytest.mark.parametrize("name", ["segments", "steps"])
def test_the_same_actions_by_both(
    made: dict[str, Path], name: str, long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundles.read(made[name])
    assert set(bundle.graphs) == {FUSED, HEAD}
    found = []
    for engine in ("onnxruntime", "torch"):
        monkeypatch.setenv("VMM_ENGINE", engine)
        load_trained.cache_clear()
        parts = [run_steps(bundle, Video(long), None, use_store=False)]
        found.append(find_segments(bundle, Video(long), parts, 0.01))
    by_graph, by_torch = found
    np.testing.assert_allclose(by_graph.curves, by_torch.curves, atol=CLOSE)
    assert len(by_graph.detections) == len(by_torch.detections) > 0
    for one, other in zip(by_graph.detections, by_torch.detections, strict=True):
        assert one.label == other.label
        assert (one.start_s, one.end_s, one.score) == pytest.approx(
            (other.start_s, other.end_s, other.score), abs=1e-3
        )


def test_the_graph_runs_where_there_is_one(made: dict[str, Path]) -> None:
    """Of a network that was changed PyTorch would refuse the weights; the graph does not ask."""
    bundle = bundles.read(made["segments"])
    model = load_trained(bundle.folder, bundle.digest)
    assert isinstance(model.steps, StepNetwork)
    assert model.steps.head.__module__ == "vmm_cli.inference.in_graph"


def exchanged(folder: Path, role: str, data: bytes) -> None:
    """Give a bundle another graph, and its true digest."""
    path = folder / "bundle.yaml"
    whole = yaml.safe_load(path.read_text())
    (folder / whole["graphs"][role]["file"]).write_bytes(data)
    whole["graphs"][role]["sha256"] = hashlib.sha256(data).hexdigest()
    path.write_text(yaml.safe_dump(whole, sort_keys=False))


def load(folder: Path) -> object:
    return load_trained(folder, bundles.read(folder).digest)


@pytest.mark.parametrize("role", [FUSED, HEAD])
def test_bad_graphs_are_refused(made: dict[str, Path], tmp_path: Path, role: str) -> None:
    good = made["segments"]
    file = f"graph.{role}.onnx"
    data = (good / file).read_bytes()
    copy = shutil.copytree(good, tmp_path / "damaged")
    (copy / file).write_bytes(data[:-5])
    with pytest.raises(ModelError, match=rf"{file}: refused: its SHA-256 digest"):
        load(copy)
    exchanged(copy, role, data[:-5])
    with pytest.raises(ModelError, match=rf"{file}: refused: .*damaged"):
        load(copy)
    exchanged(copy, role, (made["wide"] / file).read_bytes())
    with pytest.raises(ModelError, match=rf"{file}: refused: "):
        load(copy)
    exchanged(copy, role, data.replace(b"weights.safetensors", b"weights.safetensor2"))
    with pytest.raises(ModelError, match=r"lies in 'weights\.safetensor2'"):
        load(copy)
    (copy / file).unlink()
    with pytest.raises(ModelError, match="is missing"):
        load(copy)


def test_another_head_is_of_another_network(made: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(made["segments"], tmp_path / "m")
    exchanged(copy, FUSED, (copy / "graph.head.onnx").read_bytes())
    with pytest.raises(ModelError, match="is of another network"):
        load(copy)
