"""Write a bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from vmm_cli.bundles.bundle import (
    BUNDLE_FILE,
    GRAPH_FILE,
    SCHEMA_NAME,
    SCHEMA_VERSION,
    WEIGHTS_FILE,
    Bundle,
)
from vmm_cli.bundles.bundle_file import bundle_of, read, without_graphs
from vmm_cli.bundles.weights import DESCRIBED, Weights, described, load_weights
from vmm_cli.errors import ModelError
from vmm_cli.files import replacing

if TYPE_CHECKING:
    import numpy as np


# Makes a graph of the weights that it is to read; None where the network cannot be written as one.
Graph = Callable[[Weights], bytes | None]


def save(
    folder: Path,
    fields: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    graphs: Mapping[str, Graph] | None = None,
) -> Bundle:
    """Write `bundle.yaml`, `weights.safetensors` and graphs, each whole or not at all.

    Args:
        folder: made where it is not there.
        fields: those of `bundle.yaml`; `schema`, `weights` and `graphs` are made here.
        tensors: by name.
        graphs: by what they are of; see `Bundle.graphs` and `vmm_cli.engines.export`.

    Returns the bundle.

    Raises:
        ModelError: the fields make no valid bundle.
        OSError: the folder cannot be written.
    """
    import numpy as np
    from safetensors.numpy import save as safetensors_bytes

    whole = {
        "schema": f"{SCHEMA_NAME}/{SCHEMA_VERSION}",
        **{key: value for key, value in fields.items() if key != "graphs"},  # another's
        "weights": {"file": WEIGHTS_FILE, "sha256": "0" * 64},
    }
    try:
        bundle = bundle_of(folder, "0" * 64, whole)
    except ValueError as error:
        raise ModelError(f"{folder}: cannot be saved: {error}") from None
    # safetensors writes an array's memory as it lies: a transposed view would come back scrambled.
    weights = safetensors_bytes(
        {k: np.ascontiguousarray(v) for k, v in tensors.items()}, {DESCRIBED: described(bundle)}
    )
    whole["weights"]["sha256"] = hashlib.sha256(weights).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    # Weights first: a bundle.yaml is there only when what it names is there too.
    _write_whole(folder / WEIGHTS_FILE, weights)
    text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=100)
    _write_whole(folder / BUNDLE_FILE, text.encode())
    return add_graphs(read(folder), graphs or {})


def add_graphs(bundle: Bundle, graphs: Mapping[str, Graph]) -> Bundle:
    """Write a bundle's graphs, in place of those that it has; see `save`. Return the new bundle.

    Raises:
        ModelError: its weights are damaged.
        OSError: the folder cannot be written.
    """
    if not graphs:
        return bundle
    weights = load_weights(bundle)
    made = {role: make(weights) for role, make in graphs.items()}
    there = {role: data for role, data in made.items() if data is not None}
    text = without_graphs((bundle.folder / BUNDLE_FILE).read_bytes())
    text += b"" if text.endswith(b"\n") else b"\n"
    # Without graphs first: one that is cut short here leaves a bundle that PyTorch runs.
    _write_whole(bundle.folder / BUNDLE_FILE, text)
    named = {}
    for role, data in there.items():
        file = GRAPH_FILE if len(there) == 1 else f"graph.{role}.onnx"
        _write_whole(bundle.folder / file, data)
        named[role] = {"file": file, "sha256": hashlib.sha256(data).hexdigest()}
    if named:
        text += yaml.safe_dump({"graphs": named}, sort_keys=False).encode()
        _write_whole(bundle.folder / BUNDLE_FILE, text)
    return read(bundle.folder)


def _write_whole(path: Path, data: bytes) -> None:
    with replacing(path, mode=0o644) as file:
        file.write(data)
