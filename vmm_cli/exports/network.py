"""A model as one graph: prepared pictures, or clips of them, to the probabilities of its labels.

Encoder, head and softmax of a bundle are joined; its tensors, which lie in the bundle's
`weights.safetensors`, go into the graph. Needs the package onnx; PyTorch only where the bundle has
no graph of its encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vmm_cli import bundles
from vmm_cli.bundles import Bundle, Weights
from vmm_cli.engines import choice
from vmm_cli.errors import ModelError, UsageError
from vmm_cli.features.image_stream import FEATURES, STREAM
from vmm_cli.features.preprocess import Preprocess

PROBABILITIES = "probabilities"
_DOMAIN = ""  # of ONNX's own operators

# uint8 [N, *Preprocess.shape] -> probabilities, float32 [N, L]; N >= 1.
Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Exportable:
    """A model that can be exported: what it looks at, how often, and its labels' names."""

    bundle: Bundle
    numbers: Preprocess

    @property
    def example(self) -> np.ndarray:
        """Two pictures, or clips, of noise: uint8 [2, *Preprocess.shape]."""
        return np.random.default_rng(0).integers(0, 256, (2, *self.numbers.shape), np.uint8)


def exportable(bundle: Bundle) -> Exportable:
    """Return a model as what is exported.

    Raises:
        ModelError: it cannot be.
    """
    is_for_pictures = bundle.task == "classes" and bundle.network.get("pool") == "mean-probability"
    if not is_for_pictures or STREAM not in bundle.encoders:
        raise ModelError(
            f"model {bundle.name!r} cannot be exported: it judges windows of what vmm makes of "
            f"{', '.join(bundle.streams)}. What can be: imagenet, and what `vmm models fetch` "
            "brings, which look at single pictures or clips"
        )
    if any(len(label.splitlines()) > 1 for label in bundle.labels):
        raise ModelError(f"model {bundle.name!r} cannot be exported: a label has a line break")
    try:
        numbers = Preprocess.from_dict(bundle.encoders[STREAM].preprocess)
    except ValueError as error:
        raise ModelError(f"model {bundle.name!r}: its image encoder is unusable: {error}") from None
    return Exportable(bundle, numbers)


def vmm_s_own(model: Exportable) -> Run:
    """Return how vmm itself computes the probabilities.

    Raises:
        ModelError: the model is damaged.
    """
    from vmm_cli.features.catalogue import load_image_encoder
    from vmm_cli.features.image_encoder import encode

    encoder = load_image_encoder(model.bundle, "cpu")
    weight, bias = head_of(model.bundle, bundles.load_tensors(model.bundle, "head."))

    def run(pictures: np.ndarray) -> np.ndarray:
        logits = encode(encoder, pictures) @ weight.T + bias  # [N, L]
        exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: np.ndarray = exponent / exponent.sum(axis=1, keepdims=True)
        return probabilities

    return run


def head_of(bundle: Bundle, tensors: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return weight, float32 [L, D], and bias, float32 [L], of a linear head.

    Raises:
        ModelError: they are not there, or not of these labels.
    """
    weight, bias = tensors.get("weight"), tensors.get("bias")
    if weight is None or bias is None or weight.ndim != 2 or len(weight) != len(bundle.labels):
        raise ModelError(f"model {bundle.name!r} has no head for its {len(bundle.labels)} labels")
    return weight.astype(np.float32), bias.astype(np.float32)


def whole_graph(model: Exportable) -> Any:
    """Return a model as an onnx.ModelProto in float32 that holds all its tensors.

    Its normalisations are part of its convolutions, as far as ONNX Runtime makes them so.

    Raises:
        ModelError: it is damaged, or its network cannot be written so.
        UsageError: a package that this needs is missing.
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError as error:
        raise UsageError(f"{error}; run: pip install onnx") from None
    bundle = model.bundle
    weights = bundles.load_weights(bundle)
    graph = onnx.load_model_from_string(_encoder_graph(bundle, weights))
    _take_in(graph, weights)
    head = dict(zip(("weight", "bias"), head_of(bundle, weights.tensors("head.")), strict=True))
    for name, value in head.items():
        graph.graph.initializer.append(numpy_helper.from_array(value, f"head.{name}"))
    graph.graph.node.extend(
        [
            helper.make_node(
                "Gemm", [FEATURES, "head.weight", "head.bias"], ["logits"], "head", transB=1
            ),
            helper.make_node("Softmax", ["logits"], [PROBABILITIES], "softmax", axis=1),
        ]
    )
    graph.graph.ClearField("output")
    graph.graph.output.append(
        helper.make_tensor_value_info(
            PROBABILITIES, onnx.TensorProto.FLOAT, ["N", len(bundle.labels)]
        )
    )
    return simplified(graph)


def _encoder_graph(bundle: Bundle, weights: Weights) -> bytes:
    """Return the graph of a bundle's encoder, which was checked: its own, or one made of it."""
    if STREAM in bundle.graphs:
        from vmm_cli.engines.graph_check import check

        data = bundles.read_graph(bundle, STREAM)
        try:
            check(data, weights.stored)
        except ValueError as error:
            raise ModelError(f"model {bundle.name!r}: its graph is refused: {error}") from None
        return data
    from vmm_cli.engines.export import ExportError, graph_bytes
    from vmm_cli.features.image import graph_of_bundle

    try:
        network = graph_of_bundle(bundle)
        if network is None:
            raise ModelError(f"model {bundle.name!r} does not hold the tensors of its encoder")
        return graph_bytes(network, weights)
    except (ExportError, ValueError) as error:
        raise ModelError(
            f"model {bundle.name!r}: its network cannot be written as a graph: {error}"
        ) from None


def _take_in(graph: Any, weights: Weights) -> None:
    """Put the tensors into a graph that it reads from the bundle's weights."""
    from onnx import TensorProto, numpy_helper

    names = {(one.offset, one.length): name for name, one in weights.stored.items()}
    for tensor in graph.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            place = {entry.key: entry.value for entry in tensor.external_data}
            value = weights.tensor(names[int(place["offset"]), int(place["length"])])
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def simplified(graph: Any) -> Any:
    """Return a graph as ONNX Runtime simplifies it, of ONNX's own operators alone.

    Constants are folded, and normalisations become part of convolutions: that does not change what
    is computed, but for roundings.

    Raises:
        UsageError: ONNX Runtime is missing or too old.
    """
    import tempfile
    from pathlib import Path

    import onnx

    runtime = required_runtime()
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3  # errors only
    with tempfile.TemporaryDirectory(prefix="vmm-") as folder:
        file = Path(folder, "simplified.onnx")
        options.optimized_model_filepath = str(file)
        runtime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        simple = onnx.load(file)
    assert all(node.domain == _DOMAIN for node in simple.graph.node)
    return bare(simple)


def bare(graph: Any) -> Any:
    """Leave out of a graph what tools write beside it, and what `graph_check` does not know."""
    inner = graph.graph
    for one in (graph, inner, *inner.node, *inner.initializer, *inner.input, *inner.output):
        one.ClearField("metadata_props")
        one.ClearField("doc_string")
    inner.ClearField("value_info")
    inner.ClearField("quantization_annotation")
    opset = next(one.version for one in graph.opset_import if one.domain == _DOMAIN)
    graph.ClearField("opset_import")
    graph.opset_import.add(domain=_DOMAIN, version=opset)
    graph.producer_name, graph.producer_version = "vmm", ""
    return graph


def required_runtime() -> Any:
    """Return the module `onnxruntime`. UsageError, with the pip command, where it does not run."""
    found = choice.runtime()
    if found is None:
        raise UsageError(f"an export needs ONNX Runtime, which does not run here; {choice.INSTALL}")
    return found
