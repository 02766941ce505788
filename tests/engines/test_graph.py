"""Graphs of bundles: they give what the network gives; bad ones are refused before they run."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import TensorProto, helper

from tests.engines import tiny
from vmm_cli import bundles
from vmm_cli.bundles import Bundle
from vmm_cli.engines.graph import Port, graph_of
from vmm_cli.engines.graph_check import check
from vmm_cli.errors import ModelError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.bundle(tmp_path_factory.mktemp("tiny") / "model").folder


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Bundle:
    return bundles.read(shutil.copytree(made, tmp_path / "model"))


def run_of(model: Bundle) -> Callable[..., tuple[np.ndarray, ...]]:
    run = graph_of(model, "network", inputs=tiny.INPUTS, outputs=tiny.OUTPUTS)
    assert run is not None
    return run


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (3, 17)])
def test_any_length_gives_what_the_network_gives(model: Bundle, shape: tuple[int, int]) -> None:
    x = torch.randn(*shape, 3)
    mask = torch.rand(*shape) > 0.5
    with torch.inference_mode():
        expected = tiny.Tiny().eval()(x, mask).numpy()
    (found,) = run_of(model)(x.numpy(), mask.numpy())
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_no_tensor_of_the_weights_is_in_the_graph(model: Bundle) -> None:
    graph = onnx.load(model.folder / "graph.onnx", load_external_data=False).graph
    outside = [one.name for one in graph.initializer if one.external_data]
    names = ["first.bias", "first.weight", "second.bias", "second.weight.stored"]
    assert sorted(outside) == names
    assert str(Path(__file__).parents[2]) not in str(graph)  # nothing of where it was made


def test_weights_through_a_link(model: Bundle, tmp_path: Path) -> None:
    """Installers that link files keep them elsewhere; the runtime itself refuses such weights."""
    weights = model.folder / "weights.safetensors"
    weights.rename(tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    assert run_of(model)


def test_a_graph_changes_the_digest_and_not_what_journals_go_by(
    model: Bundle, tmp_path: Path
) -> None:
    plain = bundles.save(tmp_path / "plain", tiny.fields(), tiny.tensors())
    assert plain.digest != model.digest
    assert plain.digest == plain.journal_digest == model.journal_digest
    assert bundles.verify(model) is None


# --- which engine ------------------------------------------------------------------------------


def test_pytorch_runs_what_has_no_graph(
    model: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(one: Bundle, device: str = "cpu") -> object:
        return graph_of(one, "network", inputs=tiny.INPUTS, outputs=tiny.OUTPUTS, device=device)

    plain = bundles.save(tmp_path / "plain", tiny.fields(), tiny.tensors())
    assert run(plain) is None
    assert run(model, "cuda") is None
    monkeypatch.setenv("VMM_ENGINE", "onnxruntime")
    with pytest.raises(ModelError, match="has no graph of its network"):
        run(plain)
    monkeypatch.setenv("VMM_ENGINE", "torch")
    assert run(model) is None


# --- bad graphs --------------------------------------------------------------------------------


def graph_with(model: Bundle, change: Callable[[onnx.ModelProto], object]) -> bytes:
    graph = onnx.load(model.folder / "graph.onnx", load_external_data=False)
    change(graph)
    data: bytes = graph.SerializeToString()
    return data


def entry(model: onnx.ModelProto, key: str, value: str) -> None:
    for one in model.graph.initializer:
        for pair in one.external_data:
            if pair.key == key:
                pair.value = value
                return


def first_outside(model: onnx.ModelProto) -> TensorProto:
    return next(one for one in model.graph.initializer if one.external_data)


def attribute_outside(model: onnx.ModelProto) -> None:
    tensor = TensorProto(data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.append(helper.make_node("Constant", [], ["more"], value=tensor))


def branch(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node.append(
        helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner)
    )


BAD = {
    "a file beside": (lambda m: entry(m, "location", "other.bin"), "lies in 'other.bin'"),
    "a file above": (lambda m: entry(m, "location", "../weights.safetensors"), "lies in"),
    "a path": (lambda m: entry(m, "location", "/etc/passwd"), "lies in '/etc/passwd'"),
    "another offset": (lambda m: entry(m, "offset", "8"), "has no such tensor"),
    "a long offset": (lambda m: entry(m, "offset", "9" * 5000), "has no such tensor"),
    "a negative offset": (lambda m: entry(m, "offset", "-8"), "does not say where"),
    "another length": (lambda m: entry(m, "length", "1"), "has no such tensor"),
    "another shape": (lambda m: first_outside(m).dims.append(1), "has no such tensor"),
    "another type": (lambda m: setattr(first_outside(m), "data_type", 7), "has no such tensor"),
    "data twice": (lambda m: setattr(first_outside(m), "raw_data", b"x"), "both in it"),
    "a checksum": (
        lambda m: first_outside(m).external_data.add(key="checksum", value="x"),
        "does not say where",
    ),
    "a file in an attribute": (attribute_outside, "an attribute reads from a file"),
    "a branch": (branch, "has the field"),
    "a function": (lambda m: m.functions.add(name="f", domain="x"), "the field 25"),
    "training": (lambda m: m.training_info.add(), "the field 20"),
    "an operator of others": (
        lambda m: setattr(m.graph.node[0], "domain", "com.evil"),
        "not ONNX's own",
    ),
    "others' opset": (
        lambda m: m.opset_import.add(domain="com.evil", version=1),
        "needs operators",
    ),
    "a newer opset": (lambda m: setattr(m.opset_import[0], "version", 99), "is of opset 99"),
    "an older opset": (lambda m: setattr(m.opset_import[0], "version", 7), "is of opset 7"),
    "no opset": (lambda m: m.ClearField("opset_import"), "does not say of which opset"),
    "a newer format": (lambda m: setattr(m, "ir_version", 99), "version 99 of ONNX's format"),
    "no graph": (lambda m: m.ClearField("graph"), "is damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_a_graph_must_not_have(model: Bundle, name: str) -> None:
    change, said = BAD[name]
    with pytest.raises(ValueError, match=said):
        check(graph_with(model, change), bundles.load_weights(model).stored)


def test_damaged_bytes_never_get_past(model: Bundle) -> None:
    data = (model.folder / "graph.onnx").read_bytes()
    stored = bundles.load_weights(model).stored
    check(data, stored)
    for end in range(0, len(data), 7):  # ends between two fields leave a whole, smaller message
        try:
            check(data[:end], stored)
        except ValueError:
            continue


def exchange(model: Bundle, data: bytes) -> Bundle:
    """Give a bundle another graph, and its true digest."""
    (model.folder / "graph.onnx").write_bytes(data)
    whole = yaml.safe_load((model.folder / "bundle.yaml").read_text())
    whole["graphs"]["network"]["sha256"] = hashlib.sha256(data).hexdigest()
    (model.folder / "bundle.yaml").write_text(yaml.safe_dump(whole, sort_keys=False))
    return bundles.read(model.folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda m: entry(m, "location", "../x"),
            r"graph\.onnx: refused: .*lies in '\.\./x'.*'tiny'",
        ),
        (lambda m: setattr(m.graph.output[0], "name", "z"), "graph.onnx: refused: "),
        (lambda m: setattr(m.graph.node[-1], "op_type", "Abacus"), "cannot make a network of it"),
    ],
    ids=["elsewhere", "outputs", "operator"],
)
def test_an_exchanged_graph_is_told(
    model: Bundle, change: Callable[[onnx.ModelProto], object], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        run_of(exchange(model, graph_with(model, change)))


def test_another_networks_graph_is_told(model: Bundle) -> None:
    with pytest.raises(ModelError, match="is of another network: it gives"):
        graph_of(model, "network", inputs=tiny.INPUTS, outputs={"y": Port((None, None, 3))})


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        ({"x": "float64"}, {}, r"takes x float32\[any, any, 3\], .* not x float64\[any, any, 3\]"),
        ({"mask": "uint8"}, {}, r"mask bool\[any, any\], and not .*mask uint8\[any, any\]"),
        ({}, {"y": "int64"}, r"gives y float32\[any, any, 2\], and not y int64"),
    ],
)
def test_values_of_another_type_are_told_before_it_runs(
    model: Bundle, inputs: dict[str, str], outputs: dict[str, str], said: str
) -> None:
    def retyped(ports: dict[str, Port], types: dict[str, str]) -> dict[str, Port]:
        return {k: Port(one.shape, types.get(k, one.type)) for k, one in ports.items()}

    with pytest.raises(ModelError, match=said):
        graph_of(
            model,
            "network",
            inputs=retyped(tiny.INPUTS, inputs),
            outputs=retyped(tiny.OUTPUTS, outputs),
        )


def test_another_file_than_the_digest_is_of(model: Bundle) -> None:
    (model.folder / "graph.onnx").write_bytes(b"\x08\x01")
    for look in (run_of, bundles.verify):
        with pytest.raises(ModelError, match="its SHA-256 digest is not the one"):
            look(model)
    (model.folder / "graph.onnx").unlink()
    with pytest.raises(ModelError, match=r"graph\.onnx: is missing"):
        run_of(model)


@pytest.mark.parametrize(
    ("graphs", "said"),
    [
        ({"network": {"file": "../graph.onnx", "sha256": "0" * 64}}, "which vmm reads not"),
        ({"network": {"file": "graph.onnx"}}, "no SHA-256 digest of its graph"),
        ({"../x": {"file": "graph.onnx", "sha256": "0" * 64}}, "which vmm reads not"),
        ({"network": "graph.onnx"}, "which vmm reads not"),
        (["graph.onnx"], "has no 'graphs'"),
        ({f"g{i}": {"file": "graph.onnx", "sha256": "0" * 64} for i in range(17)}, "has 17 graphs"),
    ],
)
def test_what_bundle_yaml_must_say(model: Bundle, graphs: object, said: str) -> None:
    whole = yaml.safe_load((model.folder / "bundle.yaml").read_text())
    (model.folder / "bundle.yaml").write_text(yaml.safe_dump(whole | {"graphs": graphs}))
    with pytest.raises(ModelError, match=said):
        bundles.read(model.folder)
