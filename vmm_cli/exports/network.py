"""What graphs of whole models are made of: checked graphs of a bundle, with all their tensors.

Needs the package onnx; PyTorch only where a bundle has no graph of its encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from vmm_cli import bundles
from vmm_cli.bundles import Bundle, Weights
from vmm_cli.engines import choice
from vmm_cli.engines.graph import Port, Ports, compiled
from vmm_cli.engines.graph_check import DATA_TYPES
from vmm_cli.errors import ModelError, UsageError, VmmError
from vmm_cli.features.image_stream import FEATURES, PICTURES, STREAM
from vmm_cli.features.preprocess import Preprocess
from vmm_cli.files import as_output_error

PROBABILITIES = "probabilities"
MAX_MODEL_BYTES = 2 * 2**30  # of an export's file; as of a bundle's weights
WHAT_CAN = (
    "imagenet, moderation, what `vmm models fetch` brings for `vmm classify`, and models of `vmm "
    "train --recipe frames`, which see pictures alone and tell labels"
)
_DOMAIN = ""  # of ONNX's own operators

# What is looked at, uint8 [N, *Exportable.numbers.shape] -> probabilities, float32 [N, L]; N >= 1.
Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Exportable:
    """A model that can be exported.

    Attributes:
        bundle: the model.
        numbers: how pictures are prepared, and how many it looks at once.
        every_s: seconds from one look to the next.
        window_s: of what it sees as a window, which ends with the video and may then have fewer
            pictures: its seconds; None: it looks at pictures, or at clips, which are filled up.
    """

    bundle: Bundle
    numbers: Preprocess
    every_s: float
    window_s: float | None = None

    @property
    def example(self) -> np.ndarray:
        """Two pictures, clips or windows of noise: uint8 [2, *Preprocess.shape]."""
        return np.random.default_rng(0).integers(0, 256, (2, *self.numbers.shape), np.uint8)


@contextmanager
def refusing(bundle: Bundle, what: str) -> Iterator[None]:
    """Have whatever a library raises be a ModelError that names the model and what was done."""
    try:
        yield
    except (VmmError, OSError, MemoryError):
        raise
    except Exception as error:  # what runtimes and exporters raise has no common type
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ModelError(f"model {bundle.name!r} cannot be exported: {what}: {said}") from error


def checked(run: Run, name: str, labels: int) -> Run:
    """Return a function that refuses what are no probabilities of so many labels.

    name: whose they are. The function raises ModelError, also where the network cannot compute.
    """

    def checking(shown: np.ndarray) -> np.ndarray:
        try:
            found = run(shown)
        except Exception as error:  # the runtimes' errors have no common type
            said = " ".join(str(error).split())[:300]
            raise ModelError(f"{name}: cannot compute: {said}") from None
        if found.shape != (len(shown), labels) or found.dtype != np.float32:
            port = Port(found.shape, found.dtype.name)
            wanted = Port((len(shown), labels))
            raise ModelError(
                f"{name}: is of another network: it gives {port}, and not {wanted}, the "
                f"probabilities of {labels} labels"
            )
        if not np.isfinite(found).all():
            raise ModelError(f"{name}: gives probabilities that are no numbers")
        return found

    return checking


def encoder_graph(bundle: Bundle, weights: Weights, numbers: Preprocess, width: int) -> Any:
    """Return the graph of a bundle's encoder with its tensors: its own, or one made of it.

    numbers: of what it looks at; width: D of its features. ModelError as of `taken_in`, and where
    there is none.
    """
    if STREAM in bundle.graphs:
        data = bundles.read_graph(bundle, STREAM)
    else:
        data = _made_graph(bundle, weights)
    takes = {PICTURES: Port((None, *numbers.shape), "uint8")}
    return taken_in(bundle, data, weights, takes, {FEATURES: Port((None, width))})


def taken_in(bundle: Bundle, data: bytes, weights: Weights, inputs: Ports, outputs: Ports) -> Any:
    """Return a graph, once it was checked, with the tensors that it reads from its weights.

    Raises:
        ModelError: it is damaged, or of another network.
    """
    import onnx

    required_runtime()
    try:
        compiled(data, weights, inputs=inputs, outputs=outputs)
    except ValueError as error:
        raise ModelError(f"model {bundle.name!r}: its graph is refused: {error}") from None
    graph = onnx.load_model_from_string(data)
    _take_in(graph, weights)
    return graph


def _made_graph(bundle: Bundle, weights: Weights) -> bytes:
    from vmm_cli.engines.export import ExportError, graph_bytes
    from vmm_cli.features.catalogue import image_graph

    try:
        network = image_graph(bundle)
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

    # Not by the place alone: tensors of no values lie where the next one begins.
    names = {
        (DATA_TYPES[one.dtype], one.shape, one.offset, one.length): name
        for name, one in weights.stored.items()
    }
    for tensor in graph.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            place = {entry.key: entry.value for entry in tensor.external_data}
            offset, length = int(place["offset"]), int(place["length"])
            key = (tensor.data_type, tuple(tensor.dims), offset, length)
            tensor.CopyFrom(numpy_helper.from_array(weights.tensor(names[key]), tensor.name))


def simplified(graph: Any) -> Any:
    """Return a graph as ONNX Runtime simplifies it, of ONNX's own operators alone.

    Constants are folded, and normalisations become part of convolutions: that does not change what
    is computed, but for roundings.

    Raises:
        UsageError: ONNX Runtime is missing or too old.
        ValueError: it needs other operators; or what ONNX Runtime raises.
        OutputError: the folder for temporary files cannot be written.
    """
    import tempfile
    from pathlib import Path

    import onnx

    runtime = required_runtime()
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3  # errors only
    with (
        as_output_error(Path(tempfile.gettempdir())),
        tempfile.TemporaryDirectory(prefix="vmm-") as folder,
    ):
        file = Path(folder, "simplified.onnx")
        options.optimized_model_filepath = str(file)
        runtime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        simple = onnx.load(file)
    if others := sorted({node.op_type for node in simple.graph.node if node.domain != _DOMAIN}):
        raise ValueError(f"ONNX Runtime makes operators of its own of it: {', '.join(others)}")
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
