"""What a model can be exported for: a row for each runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli.exports import onnx_model, openvino_model, pytorch_model
from vmm_cli.exports.network import Exportable, Run

PRECISIONS = ("fp32", "fp16", "int8")

Write = Callable[[Exportable, Any, Path, str, "np.ndarray | None"], None]


@dataclass(frozen=True, slots=True)
class Format:
    """A runtime and what it reads.

    Attributes:
        title: the runtime's name; package: as pip and Python call it.
        files: what the model lies in; the first is the one that is opened.
        precisions: in which it can be written.
        load: lines of the example that define how the model is run.
        write, open_model: see `onnx_model`.
        safe: whether reading its files cannot run code that is in them.
    """

    title: str
    package: str
    files: tuple[str, ...]
    precisions: tuple[str, ...]
    load: str
    write: Write
    open_model: Callable[[Path], Run]
    safe: bool = True


FORMATS = {
    "onnx": Format(
        "ONNX Runtime",
        "onnxruntime",
        (onnx_model.FILE,),
        PRECISIONS,
        onnx_model.LOAD,
        onnx_model.write,
        onnx_model.open_model,
    ),
    "openvino": Format(
        "OpenVINO",
        "openvino",
        openvino_model.FILES,
        PRECISIONS,
        openvino_model.LOAD,
        openvino_model.write,
        openvino_model.open_model,
    ),
    "torch": Format(
        "PyTorch",
        "torch",
        (pytorch_model.FILE,),
        ("fp32", "fp16"),
        pytorch_model.LOAD,
        pytorch_model.write,
        pytorch_model.open_model,
        safe=False,
    ),
}
