"""An export for ONNX Runtime: `model.onnx`, a graph that holds all its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli.engines.graph_check import check
from vmm_cli.errors import ModelError
from vmm_cli.exports.network import MAX_MODEL_BYTES, Exportable, Run, required_runtime
from vmm_cli.features.image_stream import PICTURES
from vmm_cli.plain_file import UnreadableError, read_regular

FILE = "model.onnx"
LOAD = """\
session = onnxruntime.InferenceSession(HERE / "model.onnx")


def run(pictures):  # uint8 [N, ...] -> probabilities of the labels, [N, L]
    return session.run(None, {"pictures": pictures})[0]\
"""

# Smaller tensors are left in float32: they are no weight.
LEAST_HALVED_VALUES = 1024
_ERRORS_ONLY = 3  # of the runtime's log


def write(
    model: Exportable, whole: Any, folder: Path, precision: str, calibrating: np.ndarray | None
) -> None:
    """Write a model in float32, with its weights in half of that, or calibrated in int8.

    Args:
        model: what is exported.
        whole: it as `network.whole_graph` gives it; it is not changed.
        folder: where to.
        precision: fp32, fp16 or int8.
        calibrating: for int8: uint8 [N, *numbers.shape].
    """
    if precision == "fp16":
        whole = halved(whole)
    elif precision == "int8":
        from vmm_cli.exports.int8 import in_int8

        assert calibrating is not None
        whole = in_int8(whole, calibrating)
    (folder / FILE).write_bytes(whole.SerializeToString(deterministic=True))


def open_model(folder: Path) -> Run:
    """Return the model of a folder as a function; it runs in one thread.

    Raises:
        ModelError: it is damaged, too large, or asks for what it must not have.
        UsageError: the runtime is missing.
    """
    runtime = required_runtime()
    try:
        data = read_regular(folder / FILE, MAX_MODEL_BYTES)
        check(data, {})
    except UnreadableError as error:
        raise ModelError(f"{folder / FILE}: {error}") from None
    except ValueError as error:
        raise ModelError(f"{folder / FILE}: refused: {error}") from None
    return session_of(runtime, data, str(folder / FILE))


def session_of(runtime: Any, data: bytes, name: str) -> Run:
    """Return a graph as a function, in one thread. ModelError, with its name, where it is none."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no common type
        said = " ".join(str(error).split())[:300]
        raise ModelError(f"{name}: ONNX Runtime makes no network of it: {said}") from None

    def run(pictures: np.ndarray) -> np.ndarray:
        found: np.ndarray = session.run(None, {PICTURES: pictures})[0]
        return found

    return run


def halved(whole: Any) -> Any:
    """Return a graph whose large tensors are stored in float16 and computed with in float32.

    The runtime widens them once, as it loads them: there are no float16 convolutions on most CPUs.
    """
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    graph = ModelProto()
    graph.CopyFrom(whole)
    nodes, casts = list(graph.graph.node), []
    for tensor in graph.graph.initializer:
        value = numpy_helper.to_array(tensor)
        fits = value.dtype == np.float32 and np.abs(value).max(initial=0) <= np.finfo("f2").max
        if not fits or value.size < LEAST_HALVED_VALUES:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    graph.graph.ClearField("node")
    graph.graph.node.extend([*casts, *nodes])
    return graph
