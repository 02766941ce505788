"""Read and verify a bundle's `weights.safetensors`; nothing in it can run code."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vmm_cli.bundles.bundle import BUNDLE_FILE, WEIGHTS_FILE, Bundle
from vmm_cli.bundles.damaged import as_model_error, short
from vmm_cli.errors import ModelError
from vmm_cli.plain_file import open_regular, read_regular, size_text

if TYPE_CHECKING:
    import numpy as np

MAX_WEIGHTS_BYTES = 2 * 2**30  # six times the largest that can be fetched
MAX_HEADER_BYTES = 4 * 2**20  # of weights: the names and shapes of some 40,000 tensors
MAX_GRAPH_BYTES = 4 * 2**20  # the largest in sight is below 1 MB
# In the metadata of the weights: what of bundle.yaml they were saved with, see `described`.
DESCRIBED = "vmm.described"
_METADATA = "__metadata__"  # where safetensors keep it

# What vmm stores tensors as: the names of safetensors, and those of numpy.
DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "I32": "<i4",
    "I64": "<i8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a tensor lies: `offset` and `length` in bytes, from where the file begins.

    `dtype` is one of `DTYPES`.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """The bytes of a `weights.safetensors`, which were verified, and where its tensors lie."""

    data: bytes = field(repr=False)
    stored: Mapping[str, Stored] = field(repr=False)

    def tensor(self, name: str) -> np.ndarray:
        """Return a tensor: a view of the bytes, read-only."""
        import numpy as np

        one = self.stored[name]
        count = math.prod(one.shape)
        return np.frombuffer(self.data, DTYPES[one.dtype], count, one.offset).reshape(one.shape)

    def tensors(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Return the tensors whose name starts with `prefix`, by the rest of their name."""
        names = [name for name in self.stored if name.startswith(prefix)]
        return {name.removeprefix(prefix): self.tensor(name) for name in names}


def look_at_weights(bundle: Bundle) -> None:
    """Check that the weights are there and as long as their header says; no more of them is read.

    Raises:
        ModelError: missing, another kind of file, or of another size.
    """
    path = bundle.folder / WEIGHTS_FILE
    with as_model_error(path), open_regular(path) as (file, size):
        _weights_header(path, file, size)


def verify(bundle: Bundle) -> None:
    """Check that weights, graphs, labels and network are those that were saved.

    Pickles are refused. The file is read piece by piece, and not at all where it cannot be what it
    says. What the weights do not tell of labels and network, as in bundles of an earlier vmm, is
    not checked.

    Raises:
        ModelError: missing, another digest, another kind of file, other labels or another network.
    """
    path = bundle.folder / WEIGHTS_FILE
    with as_model_error(path), open_regular(path) as (file, size):
        header = _weights_header(path, file, size)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    _check_weights(bundle, digest, header)
    for role in bundle.graphs:
        read_graph(bundle, role)


def load_tensors(bundle: Bundle, prefix: str = "") -> dict[str, np.ndarray]:
    """Return the tensors whose name starts with `prefix`, by the rest of their name.

    What is returned was verified: the file is read once, and its bytes are checked.

    Raises:
        ModelError: see `verify`; or a tensor holds what is no finite number.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = bundle.folder / WEIGHTS_FILE
    data, _ = _read_verified(bundle)
    try:
        tensors = load(data)
    except KeyError as error:  # numpy has no such numbers
        raise ModelError(f"{path}: holds tensors of a type that is not read: {error}") from None
    except (SafetensorError, ValueError) as error:
        raise ModelError(f"{path}: is not readable as safetensors: {short(str(error))}") from None
    _refuse_no_numbers(path, tensors)
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def load_weights(bundle: Bundle) -> Weights:
    """Return the weights as they lie in their file, for who reads tensors where they are.

    Raises:
        ModelError: as `load_tensors`.
    """
    path = bundle.folder / WEIGHTS_FILE
    data, header = _read_verified(bundle)
    try:
        weights = weights_of(data, header)
    except ValueError as error:
        raise ModelError(f"{path}: refused: {error}") from None
    _refuse_no_numbers(path, weights.tensors())
    return weights


def weights_of(data: bytes, header: Mapping[str, Any] | None = None) -> Weights:
    """Return where the tensors of a safetensors file lie in its bytes.

    Raises:
        ValueError: one lies nowhere in them, or is of a type that is not read.
    """
    length = int.from_bytes(data[:8], "little")
    said = json.loads(data[8 : 8 + length]) if header is None else header
    stored = {}
    for name, spec in said.items():
        if name == _METADATA:
            continue
        try:
            dtype, shape, (begin, end) = spec["dtype"], tuple(spec["shape"]), spec["data_offsets"]
            size = int(DTYPES[dtype][-1].replace("?", "1")) * math.prod(shape)
            fits = 0 <= begin <= end <= len(data) - 8 - length and end - begin == size
        except (KeyError, TypeError, ValueError):
            fits = False
        if not fits or not all(type(one) is int for one in (*shape, begin, end)):
            raise ValueError(f"{short(name)} lies nowhere in it, or is of a type that is not read")
        stored[name] = Stored(dtype, shape, 8 + length + begin, end - begin)
    return Weights(data, stored)


def _read_verified(bundle: Bundle) -> tuple[bytes, dict[str, Any]]:
    """Read the weights once, whole: their bytes, which were checked, and their header."""
    path = bundle.folder / WEIGHTS_FILE
    with as_model_error(path), open_regular(path) as (file, size):
        header = _weights_header(path, file, size)
        file.seek(0)
        data = file.read(size)
    _check_weights(bundle, hashlib.sha256(data).hexdigest(), header)
    return data, header


def read_graph(bundle: Bundle, role: str) -> bytes:
    """Return the bytes of a graph that the bundle has; they were checked.

    Raises:
        ModelError: missing, too large, or another than the one that `bundle.yaml` names.
    """
    spec = bundle.graphs[role]
    path = bundle.folder / spec.file
    with as_model_error(path):
        data = read_regular(path, MAX_GRAPH_BYTES)
    if hashlib.sha256(data).hexdigest() != spec.digest:
        raise ModelError(
            f"{path}: refused: its SHA-256 digest is not the one {BUNDLE_FILE} names; "
            "the file is damaged or was exchanged: fetch or train the model again"
        )
    return data


def _refuse_no_numbers(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Raise ModelError where scores would be no numbers either."""
    import numpy as np

    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise ModelError(
                f"{path}: refused: {short(name)} holds values that are no finite numbers; fetch "
                "or train the model again"
            )


def _weights_header(path: Path, file: BinaryIO, size: int) -> dict[str, Any]:
    """Return what safetensors say of themselves; ModelError where a file cannot be such.

    Tensors lie one after the other, so that the header says how long the file is: what would read
    gigabytes of something else is told before.
    """
    if size > MAX_WEIGHTS_BYTES:
        raise ModelError(f"{path}: is larger than {size_text(MAX_WEIGHTS_BYTES)}")
    start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    if not 1 < length <= size - 8 or start[8:] != b"{":
        # Zip (torch.save) or pickle protocol 2 and later.
        pickled = start[:2] == b"PK" or (start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5")
        kind = "a pickle, which can run any code when it is read" if pickled else "no safetensors"
        raise ModelError(f"{path}: refused: it is {kind}; vmm reads safetensors only")
    if length > MAX_HEADER_BYTES:
        raise ModelError(
            f"{path}: refused: its header is larger than {MAX_HEADER_BYTES // 2**20} MiB"
        )
    try:
        header = json.loads(start[8:] + file.read(length - 1))
        ends = [spec["data_offsets"][1] for name, spec in header.items() if name != _METADATA]
        declared = 8 + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise ModelError(f"{path}: refused: its header is not that of safetensors") from None
    if declared != size:
        raise ModelError(
            f"{path}: refused: it has {size} bytes, and {short(declared)} by its header; the file "
            "is damaged or was exchanged: fetch or train the model again"
        )
    found: dict[str, Any] = header
    return found


def _check_weights(bundle: Bundle, digest: str, header: Mapping[str, Any]) -> None:
    """Raise ModelError where weights are not those that `bundle.yaml` names, or not of it."""
    path = bundle.folder / WEIGHTS_FILE
    if digest != bundle.weights_digest:
        raise ModelError(
            f"{path}: refused: its SHA-256 digest is not the one {BUNDLE_FILE} names; "
            "the file is damaged or was exchanged: fetch or train the model again"
        )
    metadata = header.get(_METADATA)
    told = metadata.get(DESCRIBED) if isinstance(metadata, dict) else None
    if told is not None and told != described(bundle):
        raise ModelError(
            f"{bundle.folder / BUNDLE_FILE}: refused: its labels, streams or network are not those "
            "that the weights were saved with; the file is damaged or was edited: fetch or train "
            "the model again"
        )


def described(bundle: Bundle) -> str:
    """Return what stands for a model's labels, streams and network: SHA-256, hex."""
    parts = [bundle.labels, bundle.streams, bundle.network]
    try:
        text = json.dumps(parts, sort_keys=True, default=str)
    except (TypeError, ValueError, RecursionError):  # damaged: names of two types, a loop
        return ""
    return hashlib.sha256(text.encode()).hexdigest()
