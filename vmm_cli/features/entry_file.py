"""An entry of the feature store as a file: safetensors that say what they hold. No torch here.

Of `Features` the tensors are `times` and `values`, of `Sets` `times`, `offsets` and `rows`. The
metadata has a digest of them (`content`), where the video ends (`end_s`), and under `vmm` a text of
JSON with `schema`, `kind` (`features` or `sets`), `columns` of sets, `encoder` (name, digest,
settings), `identity` (of the file), `sampling` and `reading` (`READING_REVISION`). Entries of an
earlier vmm have no such text, and are read as ever.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli.features.values import Features, Sets

SCHEMA = "vmm.stored/1"
KINDS: Mapping[type[Features] | type[Sets], str] = {Features: "features", Sets: "sets"}


class DamagedEntryError(Exception):
    """An entry's bytes are not what was written."""


def entry_bytes(features: Features | Sets, end_s: float | None, about: Mapping[str, Any]) -> bytes:
    """Return an entry's file. `about`: what it says besides its kind, as JSON types."""
    from safetensors.numpy import save

    whole = {"schema": SCHEMA, "kind": KINDS[type(features)], **about}
    if isinstance(features, Sets):
        whole["columns"] = list(features.columns)
    metadata = {
        "content": _content_digest(features),
        "end_s": json.dumps(end_s),
        "vmm": json.dumps(whole),
    }
    return save(_arrays(features), metadata=metadata)


def read_entry(path: Path) -> tuple[Features | Sets, float | None]:
    """Return an entry's values, and where the video ends in seconds, if that is known.

    Raises:
        DamagedEntryError: it is not what was written.
        OSError: it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise DamagedEntryError("is no regular file")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 # no dict
        end_s = json.loads(metadata["end_s"])
        features = _features(tensors, json.loads(metadata.get("vmm", "{}")))
        if metadata["content"] != _content_digest(features):
            raise DamagedEntryError("its digest is another")
        return features, None if end_s is None else float(end_s)
    except (SafetensorError, AttributeError, ValueError, KeyError, TypeError) as error:
        raise DamagedEntryError(str(error)) from None


def read_about(path: Path) -> dict[str, Any]:
    """Return what an entry says of itself; nothing where it says nothing that can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            about = json.loads((file.metadata() or {})["vmm"])
    except (SafetensorError, OSError, ValueError, KeyError):
        return {}
    return about if isinstance(about, dict) else {}


def _arrays(features: Features | Sets) -> dict[str, np.ndarray]:
    if isinstance(features, Sets):
        arrays = {"times": features.times, "offsets": features.offsets, "rows": features.rows}
    else:
        arrays = {"times": features.times, "values": features.values}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _features(tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> Features | Sets:
    if about.get("kind") == KINDS[Sets]:
        columns = tuple(map(str, about["columns"]))
        return Sets(tensors["times"], tensors["offsets"], tensors["rows"], columns)
    return Features(tensors["times"], tensors["values"])


def _content_digest(features: Features | Sets) -> str:
    digest = hashlib.sha256()
    for array in _arrays(features).values():
        digest.update(f"{array.dtype.str}{list(array.shape)}".encode())
        digest.update(array.data)
    if isinstance(features, Sets):
        digest.update(json.dumps(features.columns).encode())
    return digest.hexdigest()
