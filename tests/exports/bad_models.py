"""Copies of `imagenet` whose graph is another one, and true digests."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import yaml

Change = Callable[[onnx.ModelProto], object]


def with_graph(folder: Path, change: Change) -> Path:
    """Copy `imagenet` with a graph that was changed."""
    copy = Path(shutil.copytree(Path("models/imagenet").resolve(), folder))
    graph = onnx.load(copy / "graph.onnx", load_external_data=False)
    change(graph)
    data = graph.SerializeToString()
    (copy / "graph.onnx").write_bytes(data)
    about = yaml.safe_load((copy / "bundle.yaml").read_text())
    about["name"] = folder.name
    about["graphs"]["image"]["sha256"] = hashlib.sha256(data).hexdigest()
    (copy / "bundle.yaml").write_text(yaml.safe_dump(about, sort_keys=False))
    return copy


def operator(model: onnx.ModelProto) -> None:
    """Ask for an operator that there is not."""
    model.graph.node[-1].op_type = "Abacus"


def wider(model: onnx.ModelProto) -> None:
    """Give the features twice."""
    last = model.graph.node[-1]
    name = last.output[0]
    last.output[0] = "once"
    model.graph.node.append(onnx.helper.make_node("Concat", ["once", "once"], [name], axis=1))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value *= 2


def takes_floats(model: onnx.ModelProto) -> None:
    """Take another type than loaders yield."""
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def cut_short(model: onnx.ModelProto) -> None:
    """Lack the last node."""
    del model.graph.node[-1]


BAD = [operator, wider, takes_floats, cut_short]
