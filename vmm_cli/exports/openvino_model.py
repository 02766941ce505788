"""An export for OpenVINO: `model.xml`, the graph, and `model.bin`, its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli.errors import ModelError, UsageError
from vmm_cli.exports.network import Exportable, Run
from vmm_cli.features.image_stream import PICTURES

FILES = ("model.xml", "model.bin")
INSTALL = "run: pip install 'vmm-cli[openvino]'"
LOAD = """\
model = openvino.compile_model(HERE / "model.xml", "CPU")


def run(pictures):  # uint8 [N, ...] -> probabilities of the labels, [N, L]
    return model(pictures)[0]\
"""
# float32 where the CPU has bfloat16, too: its roundings would show in the labels.
CONFIGURATION = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


def write(
    model: Exportable, whole: Any, folder: Path, precision: str, calibrating: np.ndarray | None
) -> None:
    """Write a model: see `onnx_model.write`.

    Raises:
        UsageError: OpenVINO is missing, or for int8 its package nncf.
        ModelError: OpenVINO does not take the graph.
    """
    openvino = _package("openvino")
    try:
        core = openvino.Core()
        converted = core.read_model(whole.SerializeToString())
    except Exception as error:  # what OpenVINO raises has no common type
        said = " ".join(str(error).split())[:300]
        raise ModelError(
            f"model {model.bundle.name!r}: OpenVINO does not take its graph: {said}"
        ) from None
    if precision == "int8":
        assert calibrating is not None
        converted = _quantized(converted, calibrating)
    openvino.save_model(converted, folder / FILES[0], compress_to_fp16=precision == "fp16")


def open_model(folder: Path) -> Run:
    """Return the model of a folder as a function; it runs in one thread.

    Raises:
        ModelError: it is damaged. UsageError: OpenVINO is missing.
    """
    openvino = _package("openvino")
    try:
        compiled = openvino.compile_model(folder / FILES[0], "CPU", CONFIGURATION)
    except Exception as error:  # what OpenVINO raises has no common type
        said = " ".join(str(error).split())[:300]
        raise ModelError(f"{folder / FILES[0]}: OpenVINO makes no network of it: {said}") from None

    def run(pictures: np.ndarray) -> np.ndarray:
        found: np.ndarray = compiled(pictures)[0]
        return found.copy()  # the next call writes over it

    return run


def _quantized(model: Any, calibrating: np.ndarray) -> Any:
    nncf = _package("nncf")
    items = [{PICTURES: calibrating[i : i + 1]} for i in range(len(calibrating))]
    return nncf.quantize(
        model,
        nncf.Dataset(items),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(items),
        fast_bias_correction=False,
    )


def _package(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except Exception as error:  # a damaged binary, or a CPU that it is not built for: anything
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UsageError(f"an export for OpenVINO needs {name} ({said}); {INSTALL}") from None
