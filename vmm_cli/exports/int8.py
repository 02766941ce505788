"""A graph in 8 bits: calibrated by ONNX Runtime's own tools, then corrected layer by layer.

Weights are int8 with a scale for each channel, what flows between layers is uint8: the form that
ONNX Runtime's documentation recommends for CPUs that multiply 8-bit numbers (VNNI) and that it runs
fastest there. The first convolutions, which see the picture at its full size, stay in float32: the
roundings there cost the most labels and save the least time.

Rounded weights shift what a convolution gives on average, and in a network of depthwise
convolutions shifts add up. So the bias of each convolution is moved by what its output is off on
the calibrating pictures, from the first to the last, each after those before it (after Nagel et
al. 2019, "Data-free quantization through weight equalization and bias correction", section 4.2).

https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli.errors import UsageError
from vmm_cli.exports.network import bare, required_runtime
from vmm_cli.features.image_stream import PICTURES

# Pictures whose means correct the biases, alone or in clips; so many clips at least.
CORRECTING, LEAST_CLIPS = 64, 8
KEPT_FIRST = 6  # convolutions that stay in float32
_BATCH_BYTES = 8 * 224 * 224 * 3
# Of ONNX's operators, those that the runtime has in 8 bits and that these networks spend time in.
_QUANTIZED = ["Conv", "Gemm", "MatMul", "Add", "Clip", "Relu", "MaxPool", "ReduceMean"]
_LAYERS = ("Conv", "Gemm")


def in_int8(whole: Any, pictures: np.ndarray) -> Any:
    """Return a graph of `network.whole_graph` in 8 bits.

    pictures: to calibrate with, uint8 [N, ...].

    Raises:
        UsageError: the runtime's tools are missing.
    """
    import onnx

    tools = required_tools()

    with tempfile.TemporaryDirectory(prefix="vmm-") as folder, _silent():
        plain, made = Path(folder, "plain.onnx"), Path(folder, "int8.onnx")
        onnx.save(whole, plain)
        tools.quantize_static(
            plain,
            made,
            _Reader(pictures),
            quant_format=tools.QuantFormat.QDQ,
            op_types_to_quantize=_QUANTIZED,
            per_channel=True,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            nodes_to_exclude=_kept(whole),
            # Their names are needed; the runtime itself leaves out those that do nothing.
            extra_options={"QDQKeepRemovableActivations": True},
        )
        quantized = onnx.load(made)
    correcting = max(LEAST_CLIPS, CORRECTING // math.prod(pictures.shape[1:-3]))
    step = max(1, len(pictures) // correcting)
    _correct(whole, quantized, pictures[::step][:correcting])
    return bare(quantized)


def required_tools() -> Any:
    """Return ONNX Runtime's tools. UsageError, with the pip command, where they are missing."""
    try:
        from onnxruntime import quantization
    except ImportError as error:
        raise UsageError(f"{error}; run: pip install --upgrade onnxruntime onnx") from None
    return quantization


class _Reader:
    """Gives pictures one batch after the other, as the runtime's tools want them."""

    def __init__(self, pictures: np.ndarray) -> None:
        self._batches = _batches(pictures)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {PICTURES: batch}


def _batches(pictures: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _BATCH_BYTES // pictures[0].nbytes)
    for first in range(0, len(pictures), step):
        yield pictures[first : first + step]


def _kept(whole: Any) -> list[str]:
    """Return the nodes that stay in float32: the first convolutions, and what bounds their output.

    A small network of few layers keeps none.
    """
    layers = [node for node in whole.graph.node if node.op_type in _LAYERS]
    outputs = {node.output[0] for node in layers[:KEPT_FIRST]}
    bounds = [
        node
        for node in whole.graph.node
        if node.op_type in ("Clip", "Relu") and node.input[0] in outputs
    ]
    return [node.name for node in (*layers[:KEPT_FIRST], *bounds)]


@dataclass(frozen=True, slots=True, eq=False)
class _Layers:
    """What is looked up in a quantized graph, by name: tensors, nodes, and what widens a tensor."""

    tensors: Mapping[str, Any]
    nodes: Mapping[str, Any]
    widened: Mapping[str, Any]

    def stored(self, name: str) -> tuple[Any, np.ndarray] | None:
        """Return the tensor of whole numbers behind an input and its scales; None for floats."""
        from onnx import numpy_helper

        node = self.widened.get(name)
        if node is None or node.input[0] not in self.tensors:
            return None
        scale = numpy_helper.to_array(self.tensors[node.input[1]]).astype(np.float64)
        return self.tensors[node.input[0]], scale


def _correct(whole: Any, quantized: Any, pictures: np.ndarray) -> None:
    """Move the biases of a quantized graph so that its layers give on average what they did."""
    layers = [node for node in whole.graph.node if node.op_type in _LAYERS and len(node.input) == 3]
    wanted = _means(whole, [node.output[0] for node in layers], pictures)
    inner = quantized.graph
    there = _Layers(
        {tensor.name: tensor for tensor in inner.initializer},
        {node.name: node for node in inner.node if node.op_type in _LAYERS},
        {node.output[0]: node for node in inner.node if node.op_type == "DequantizeLinear"},
    )
    for layer, mean in zip(layers, wanted, strict=True):
        node = there.nodes[layer.name]
        (found,) = _means(quantized, [node.output[0]], pictures)
        _move(there, node.input[2], mean - found)


def _move(there: _Layers, name: str, by: np.ndarray) -> None:
    """Add to a bias, float64 [C]; one that is stored as whole numbers has a scale for each."""
    from onnx import numpy_helper

    stored = there.stored(name)
    if stored is None:
        tensor = there.tensors[name]
        value = (numpy_helper.to_array(tensor) + by).astype(np.float32)
    else:
        tensor, scale = stored
        moved = numpy_helper.to_array(tensor) + np.round(by / scale)
        bounds = np.iinfo(np.int32)
        value = np.clip(moved, bounds.min, bounds.max).astype(np.int32)
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def _means(graph: Any, names: Sequence[str], pictures: np.ndarray) -> list[np.ndarray]:
    """Return the mean of each channel, float64 [C], of tensors [N, C, ...] of a graph."""
    sums = [np.zeros(1)] * len(names)
    for batch in _values(graph, names, pictures):
        for i, found in enumerate(batch):
            others = tuple(axis for axis in range(found.ndim) if axis != 1)
            sums[i] = sums[i] + found.mean(axis=others, dtype=np.float64) * len(found)
    return [one / len(pictures) for one in sums]


def _values(graph: Any, names: Sequence[str], pictures: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Yield tensors of a graph for one batch of pictures after the other."""
    from onnx import ModelProto, helper

    runtime = required_runtime()
    part = ModelProto()
    part.CopyFrom(graph)
    part.graph.ClearField("output")  # what nothing depends on is not computed
    part.graph.output.extend(helper.make_tensor_value_info(name, 1, None) for name in names)
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = runtime.InferenceSession(
        part.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    for batch in _batches(pictures):
        yield session.run(list(names), {PICTURES: batch})


class _silent:
    """Keeps the tools' advice, which is for who calls them, from the user."""

    def __enter__(self) -> None:
        self._before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._before)
