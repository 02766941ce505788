"""A model as one graph: what is wrong with a model is told, by its name, and never as it comes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save

from tests.exports.bad_models import BAD, Change, with_graph
from vmm_cli import bundles
from vmm_cli.bundles.weights import weights_of
from vmm_cli.engines.graph_check import DATA_TYPES
from vmm_cli.errors import ModelError
from vmm_cli.exports.kinds import exportable, whole_graph
from vmm_cli.exports.network import _take_in, checked, simplified


@pytest.mark.parametrize("change", BAD, ids=lambda change: change.__name__)
def test_a_bad_graph_is_a_model_error_that_names_the_model(tmp_path: Path, change: Change) -> None:
    bundle = bundles.read(with_graph(tmp_path / "mine", change))
    with pytest.raises(ModelError, match=r"model 'mine'.*graph"):
        whole_graph(exportable(bundle))


def made(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in "xy"]
    graph = helper.make_graph(list(nodes), "g", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_operators_of_the_runtime_alone_are_refused() -> None:
    gelu = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")
    graph = made(gelu)
    graph.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(ValueError, match="operators of its own of it: Gelu"):
        simplified(graph)


def test_tensors_at_one_place_are_told_apart() -> None:
    """Such of no values lie where the next one begins."""
    tensors = {
        "a": np.zeros((0, 3), np.float32),
        "b": np.zeros(0, np.float32),
        "c": np.arange(4, dtype=np.float32),
        "d": np.zeros((0, 3), np.int64),
    }
    weights = weights_of(save(tensors))
    graph = made(helper.make_node("Relu", ["x"], ["y"]))
    for name, one in weights.stored.items():
        tensor = TensorProto(
            name=name,
            dims=one.shape,
            data_type=DATA_TYPES[one.dtype],
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in {"offset": one.offset, "length": one.length}.items():
            tensor.external_data.add(key=key, value=str(value))
        graph.graph.initializer.append(tensor)
    _take_in(graph, weights)
    for tensor in graph.graph.initializer:
        value = numpy_helper.to_array(tensor)
        assert value.dtype == tensors[tensor.name].dtype
        assert np.array_equal(value, tensors[tensor.name])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((1, 3), np.float32), r"it gives float32\[1, 3\], and not float32\[1, 2\]"),
        (np.zeros((2, 2), np.float32), r"it gives float32\[2, 2\], and not"),
        (np.zeros((1, 2), np.float64), r"it gives float64\[1, 2\], and not"),
        (np.full((1, 2), np.nan, np.float32), "no numbers"),
    ],
)
def test_what_are_no_probabilities_of_the_labels(given: np.ndarray, said: str) -> None:
    with pytest.raises(ModelError, match=f"mine: .*{said}"):
        checked(lambda shown: given, "mine", 2)(np.zeros((1, 4, 4, 3), np.uint8))
