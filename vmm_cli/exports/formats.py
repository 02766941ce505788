"""What a model can be exported for: a row for each runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli.exports import onnx_model, openvino_model, pytorch_model
from vmm_cli.exports.network import Exportable, Run, checked, required_runtime

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
        check_packages: raises a VmmError where what writes it is missing or damaged.
        safe: whether reading its files cannot run code that is in them.
    """

    title: str
    package: str
    files: tuple[str, ...]
    precisions: tuple[str, ...]
    load: str
    write: Write
    open_model: Callable[[Path], Run]
    check_packages: Callable[[], object]
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
        required_runtime,
    ),
    "openvino": Format(
        "OpenVINO",
        "openvino",
        openvino_model.FILES,
        PRECISIONS,
        openvino_model.LOAD,
        openvino_model.write,
        openvino_model.open_model,
        openvino_model.check_packages,
    ),
    "torch": Format(
        "PyTorch",
        "torch",
        (pytorch_model.FILE,),
        ("fp32", "fp16"),
        pytorch_model.LOAD,
        pytorch_model.write,
        pytorch_model.open_model,
        required_runtime,  # the graph is compared with
        safe=False,
    ),
}


def opened(format: str, folder: Path, shape: Sequence[int], labels: int) -> Run:
    """Return the model of a folder as a function that was tried, see `network.checked`.

    format: a key of `FORMATS`; shape: of what it looks at once.

    Raises:
        ModelError: it is damaged, or of another network.
        UsageError: its runtime is missing.
    """
    row = FORMATS[format]
    run = checked(row.open_model(folder), str(folder / row.files[0]), labels)
    run(np.zeros((1, *shape), np.uint8))
    return run
