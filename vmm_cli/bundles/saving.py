"""Write a bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from vmm_cli.bundles.bundle import (
    BUNDLE_FILE,
    SCHEMA_NAME,
    SCHEMA_VERSION,
    WEIGHTS_FILE,
    Bundle,
)
from vmm_cli.bundles.bundle_file import bundle_of, read
from vmm_cli.bundles.weights import DESCRIBED, described
from vmm_cli.errors import ModelError
from vmm_cli.files import replacing

if TYPE_CHECKING:
    import numpy as np


def save(folder: Path, fields: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Bundle:
    """Write `bundle.yaml` and `weights.safetensors`, each whole or not at all; return the bundle.

    `fields` are those of `bundle.yaml` without `schema` and `weights`, which are added here.

    Raises:
        ModelError: the fields make no valid bundle.
        OSError: the folder cannot be written.
    """
    import numpy as np
    from safetensors.numpy import save as safetensors_bytes

    whole = {
        "schema": f"{SCHEMA_NAME}/{SCHEMA_VERSION}",
        **fields,
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
    return read(folder)


def _write_whole(path: Path, data: bytes) -> None:
    with replacing(path, mode=0o644) as file:
        file.write(data)
