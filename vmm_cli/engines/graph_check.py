"""Look at a graph before the runtime opens it: a bundle may come from anywhere.

Only what `export` writes passes: one graph of ONNX's own operators, without functions, branches
and loops, whose tensors are small and in it, or lie in the bundle's `weights.safetensors`, each
where a tensor of that type and shape lies. Fields that are not known here are refused, too.

Numbers of fields are those of onnx.proto3: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from vmm_cli.bundles import WEIGHTS_FILE, Stored
from vmm_cli.engines.protobuf import DamagedMessageError, Value, fields, numbers

OPSET = 20  # of the graphs that `export` writes
OLDEST_OPSET = 18
NEWEST_IR = 10  # the version of the file's own format

# By message, the fields that may be there, by name.
_MODEL = {
    1: "ir_version",
    2: "producer_name",
    3: "producer_version",
    4: "domain",
    5: "model_version",
    6: "doc_string",
    7: "graph",
    8: "opset_import",
}
_OPSET_ID = {1: "domain", 2: "version"}
_GRAPH = {1: "node", 2: "name", 5: "initializer", 11: "input", 12: "output", 13: "value_info"}
_NODE = {1: "input", 2: "output", 3: "name", 4: "op_type", 5: "attribute", 7: "domain"}
_ATTRIBUTE = {
    1: "name",
    2: "f",
    3: "i",
    4: "s",
    5: "t",
    7: "floats",
    8: "ints",
    9: "strings",
    20: "type",
}
_TENSOR = {
    1: "dims",
    2: "data_type",
    4: "float_data",
    5: "int32_data",
    6: "string_data",
    7: "int64_data",
    8: "name",
    9: "raw_data",
    10: "double_data",
    11: "uint64_data",
    13: "external_data",
    14: "data_location",
}
_DATA = ("float_data", "int32_data", "string_data", "int64_data", "raw_data", "double_data")
_ENTRY = {1: "key", 2: "value"}
_EXTERNAL = 1  # of TensorProto.DataLocation

# TensorProto.DataType of what safetensors call so.
DATA_TYPES = {
    "F32": 1,
    "U8": 2,
    "I8": 3,
    "I32": 6,
    "I64": 7,
    "BOOL": 9,
    "F16": 10,
    "F64": 11,
}


def check(data: bytes, stored: Mapping[str, Stored]) -> None:
    """Check a graph against the tensors of the bundle that it lies in.

    Raises:
        ValueError: it is damaged, of a newer version, or asks for what it must not have.
    """
    try:
        _check_model(_message(memoryview(data), _MODEL, "the file"), stored)
    except DamagedMessageError as error:
        raise ValueError(f"it is damaged: {error}") from None


Fields = Mapping[str, list[Value]]


def _check_model(model: Fields, stored: Mapping[str, Stored]) -> None:
    ir = _only(model, "ir_version", int)
    if ir > NEWEST_IR:
        raise ValueError(
            f"it is of version {ir} of ONNX's format, newer than {NEWEST_IR}, the newest that this "
            "vmm reads"
        )
    for opset in _messages(model, "opset_import", _OPSET_ID):
        domain, version = _text(opset, "domain"), _only(opset, "version", int)
        if domain:
            raise ValueError(f"it needs operators of {domain[:80]!r}, which vmm does not have")
        if not OLDEST_OPSET <= version <= OPSET:
            raise ValueError(f"it is of opset {version}; this vmm reads {OLDEST_OPSET} to {OPSET}")
    if "opset_import" not in model:
        raise ValueError("it does not say of which opset it is")
    graph = _message(_only(model, "graph", memoryview), _GRAPH, "the graph")
    for node in _messages(graph, "node", _NODE):
        _check_node(node)
    places = {(DATA_TYPES[one.dtype], one.shape, one.offset, one.length) for one in stored.values()}
    for tensor in _messages(graph, "initializer", _TENSOR):
        if "data_location" in tensor or "external_data" in tensor:
            _check_external(tensor, places)


def _check_node(node: Fields) -> None:
    if _text(node, "domain"):
        raise ValueError(f"it needs the operator {_text(node, 'op_type')[:80]!r}, not ONNX's own")
    for attribute in _messages(node, "attribute", _ATTRIBUTE):
        for tensor in _messages(attribute, "t", _TENSOR):
            if "data_location" in tensor or "external_data" in tensor:
                raise ValueError("an attribute reads from a file")


def _check_external(tensor: Fields, places: set[tuple[int, tuple[int, ...], int, int]]) -> None:
    name = _text(tensor, "name")[:80]
    entries = _messages(tensor, "external_data", _ENTRY)
    said = {_text(one, "key"): _text(one, "value") for one in entries}
    if _only(tensor, "data_location", int) != _EXTERNAL or any(key in tensor for key in _DATA):
        raise ValueError(f"the tensor {name!r} is both in it and in a file")
    if len(said) != len(entries) or said.keys() != {"location", "offset", "length"}:
        raise ValueError(f"the tensor {name!r} does not say where it lies in which file")
    if said["location"] != WEIGHTS_FILE:
        raise ValueError(
            f"the tensor {name!r} lies in {said['location'][:80]!r}, and not in {WEIGHTS_FILE}"
        )
    offset, length = said["offset"], said["length"]
    if not (offset.isascii() and offset.isdigit() and length.isascii() and length.isdigit()):
        raise ValueError(f"the tensor {name!r} does not say where it lies in which file")
    dims = tuple(numbers(tensor.get("dims", [])))
    data_type = _only(tensor, "data_type", int)
    if (data_type, dims, int(offset[:20]), int(length[:20])) not in places:
        raise ValueError(f"{WEIGHTS_FILE} has no such tensor as {name!r} where it is to lie")


# --- messages ---------------------------------------------------------------------------------


def _message(data: memoryview, known: Mapping[int, str], what: str) -> Fields:
    found: dict[str, list[Value]] = defaultdict(list)
    for number, value in fields(data):
        if number not in known:
            raise ValueError(f"{what} has the field {number}, which no graph of vmm has")
        found[known[number]].append(value)
    return dict(found)


def _messages(fields: Fields, name: str, known: Mapping[int, str]) -> list[Fields]:
    return [_message(_bytes(one), known, name) for one in fields.get(name, [])]


def _only(fields: Fields, name: str, kind: type) -> Any:
    values = fields.get(name, [])
    if len(values) != 1 or not isinstance(values[0], kind):
        raise DamagedMessageError(f"{name} is not there once")
    return values[0]


def _text(fields: Fields, name: str) -> str:
    values = fields.get(name, [memoryview(b"")])
    if len(values) != 1:
        raise DamagedMessageError(f"{name} is there more than once")
    return bytes(_bytes(values[0])).decode(errors="replace")


def _bytes(value: Value) -> memoryview:
    if isinstance(value, int):
        raise DamagedMessageError("a number where something else is to be")
    return value
