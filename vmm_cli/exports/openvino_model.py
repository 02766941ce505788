"""An export for OpenVINO: `model.xml`, the graph, and `model.bin`, its tensors."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli.errors import ModelError
from vmm_cli.exports.network import Exportable, Run
from vmm_cli.features.extras import Extra

FILES = ("model.xml", "model.bin")
EXTRA = Extra("openvino", "exports for OpenVINO")
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

    In 8 bits it is calibrated as for ONNX Runtime, whose form OpenVINO reads. Its own tool, nncf,
    does not correct what rounding puts `imagenet` off, and fewer labels stay.

    Raises:
        NotInstalledError: OpenVINO is missing.
        ModelError: OpenVINO is damaged, or does not take the graph.
    """
    openvino = _openvino()
    if precision == "int8":
        from vmm_cli.exports.int8 import in_int8

        assert calibrating is not None
        whole = in_int8(whole, calibrating)
    try:
        core = openvino.Core()
        converted = core.read_model(whole.SerializeToString())
    except Exception as error:  # what OpenVINO raises has no common type
        said = " ".join(str(error).split())[:300]
        raise ModelError(
            f"model {model.bundle.name!r}: OpenVINO does not take its graph: {said}"
        ) from None
    openvino.save_model(converted, folder / FILES[0], compress_to_fp16=precision == "fp16")


def open_model(folder: Path) -> Run:
    """Return the model of a folder as a function; it runs in one thread.

    Raises:
        ModelError: it is damaged, or OpenVINO is missing.
    """
    openvino = _openvino()
    try:
        compiled = openvino.compile_model(folder / FILES[0], "CPU", CONFIGURATION)
    except Exception as error:  # what OpenVINO raises has no common type
        said = " ".join(str(error).split())[:300]
        raise ModelError(f"{folder / FILES[0]}: OpenVINO makes no network of it: {said}") from None

    def run(pictures: np.ndarray) -> np.ndarray:
        found: np.ndarray = compiled(pictures)[0]
        return found.copy()  # the next call writes over it

    return run


def check_packages() -> None:
    """Load what the extra brings. NotInstalledError, ModelError as `Extra.loading`."""
    _openvino()


def _openvino() -> Any:
    with EXTRA.loading():
        return importlib.import_module("openvino")
