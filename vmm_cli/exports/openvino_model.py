"""An export for OpenVINO: `model.xml`, the graph, and `model.bin`, its tensors."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli.errors import ModelError
from vmm_cli.exports.network import MAX_MODEL_BYTES, Exportable, Run
from vmm_cli.features.extras import Extra
from vmm_cli.plain_file import UnreadableError, open_regular, size_text

FILES = ("model.xml", "model.bin")
EXTRA = Extra("openvino", "exports for OpenVINO")
LOAD = """\
model = openvino.compile_model(HERE / "model.xml", "CPU")


def run(pictures):  # uint8 [N, ...] -> probabilities of the labels, [N, L]
    return model(pictures)[0]\
"""
TYPES = ["u8", "f32"]  # of the input and of the output, as OpenVINO calls them
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
    with _refusing(f"model {model.bundle.name!r}: OpenVINO does not take its graph"):
        converted = openvino.Core().read_model(whole.SerializeToString())
        openvino.save_model(converted, folder / FILES[0], compress_to_fp16=precision == "fp16")


def open_model(folder: Path) -> Run:
    """Return the model of a folder as a function; it runs in one thread.

    Raises:
        ModelError: it is damaged or too large, or OpenVINO is missing.
    """
    openvino = _openvino()
    for name in FILES:
        _look_at(folder / name)
    with _refusing(f"{folder / FILES[0]}: OpenVINO makes no network of it"):
        compiled = openvino.compile_model(folder / FILES[0], "CPU", CONFIGURATION)
        types = [
            port.get_element_type().get_type_name()
            for ports in (compiled.inputs, compiled.outputs)
            for port in ports
        ]
    if types != TYPES:
        raise ModelError(
            f"{folder / FILES[0]}: is of another network: its input and output are "
            f"{', '.join(types)}, and not {', '.join(TYPES)}"
        )

    def run(pictures: np.ndarray) -> np.ndarray:
        found: np.ndarray = compiled(pictures)[0]
        return found.copy()  # the next call writes over it

    return run


def _look_at(file: Path) -> None:
    """Raise ModelError where OpenVINO should not open a file."""
    try:
        with open_regular(file) as (_, size):
            if size > MAX_MODEL_BYTES:
                raise UnreadableError(f"is larger than {size_text(MAX_MODEL_BYTES)}")
    except UnreadableError as error:
        raise ModelError(f"{file}: {error}") from None


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Have what OpenVINO raises, which has no common type, be a ModelError that says `what`."""
    try:
        yield
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise ModelError(f"{what}: {said}") from None


def check_packages() -> None:
    """Load what the extra brings. NotInstalledError, ModelError as `Extra.loading`."""
    _openvino()


def _openvino() -> Any:
    with EXTRA.loading():
        return importlib.import_module("openvino")
