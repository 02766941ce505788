"""Read a bundle's `bundle.yaml`: what it says is bounded and checked before it is used."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vmm_cli.bundles.bundle import (
    BUNDLE_FILE,
    SCHEMA_NAME,
    SCHEMA_VERSION,
    WEIGHTS_FILE,
    Bundle,
    EncoderSpec,
    GraphSpec,
    Json,
    SamplingSpec,
    is_name,
)
from vmm_cli.bundles.damaged import as_model_error, short
from vmm_cli.bundles.operating import operating_of
from vmm_cli.errors import ModelError
from vmm_cli.plain_file import read_regular
from vmm_cli.plain_yaml import load as load_yaml
from vmm_cli.tasks import known

MAX_BUNDLE_FILE_BYTES = 4 * 2**20  # the largest label map in sight is below 1 MB
SHORTEST_STEP_S = 0.001  # between the pictures that a model wants

MAX_GRAPHS = 16

_DIGEST = re.compile(r"[0-9a-f]{64}")
# As `saving` writes them, perhaps edited where lines end otherwise.
_GRAPHS = re.compile(rb"^graphs:\r?\n(?: .*(?:\n|\Z))*", re.MULTILINE)
_ROLE = re.compile(r"[a-z][a-z0-9_]{0,31}")
_GRAPH_FILE = re.compile(rf"graph(?:\.{_ROLE.pattern})?\.onnx")


def read(folder: Path) -> Bundle:
    """Read a bundle's `bundle.yaml` without looking at its weights.

    Raises:
        ModelError: see `load`.
    """
    path = folder / BUNDLE_FILE
    with as_model_error(path):
        data = read_regular(path, MAX_BUNDLE_FILE_BYTES)
        document = load_yaml(data)
    fields = document.value
    if not isinstance(fields, dict):
        raise ModelError(f"{path}: holds no fields")
    try:
        _check_schema(fields.get("schema"))
        if document.repeated:
            key, line = document.repeated[0]
            raise ValueError(f"line {line}: {short(key)} is given a second time")
        bundle = bundle_of(folder, hashlib.sha256(data).hexdigest(), fields)
        return replace(bundle, journal_digest=hashlib.sha256(without_graphs(data)).hexdigest())
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from None


def without_graphs(data: bytes) -> bytes:
    """Return a `bundle.yaml` as it was before graphs were added to it."""
    return _GRAPHS.sub(b"", data)


def _check_schema(schema: object) -> None:
    match = re.fullmatch(rf"{re.escape(SCHEMA_NAME)}/([0-9]{{1,9}})", str(schema))
    if match is None:
        raise ValueError(f"is no model bundle: its schema is {short(schema)}")
    if int(match[1]) > SCHEMA_VERSION:
        raise ValueError(
            f"has the schema {schema}, newer than this vmm reads ({SCHEMA_NAME}/{SCHEMA_VERSION}); "
            "update vmm-cli"
        )


def bundle_of(folder: Path, digest: str, fields: Mapping[str, Any]) -> Bundle:
    """Return the bundle that the fields of a `bundle.yaml` describe; ValueError says what is wrong.

    digest: of that file, SHA-256, hex.
    """
    weights = _mapping(fields, "weights")
    file = weights.get("file")
    if file != WEIGHTS_FILE:
        raise ValueError(
            f"names {short(file)} for its weights; vmm reads {WEIGHTS_FILE} beside {BUNDLE_FILE} "
            "and nothing else"
        )
    name, version = _name_and_version(fields)
    task = fields.get("task")
    if not isinstance(task, str) or task not in known():
        raise ValueError(f"its task {short(task)} is none of {', '.join(known())}")
    labels = _texts(fields, "labels")
    if len(set(labels)) != len(labels):
        raise ValueError("names a label twice")
    network = _mapping(fields, "network")
    _refuse_endless(network, "network")
    thresholds = _thresholds(fields)
    outputs = network.get("outputs", len(labels))
    if outputs != len(labels):
        raise ValueError(f"its network has {short(outputs)} outputs for {len(labels)} labels")
    encoders = {
        stream: _encoder(stream, spec) for stream, spec in _mapping(fields, "encoders").items()
    }
    return Bundle(
        folder=folder,
        digest=digest,
        name=name,
        version=version,
        summary=str(fields.get("summary", "")),
        demonstration=str(fields.get("demonstration") or ""),
        task=task,
        labels=labels,
        undrawn=_undrawn(fields, labels),
        streams=_texts(fields, "streams"),
        encoders=encoders,
        network=network,
        sampling=_sampling(_mapping(fields, "sampling")),
        thresholds=thresholds,
        licence={str(k): str(v) for k, v in _mapping(fields, "licence").items()},
        weights_digest=_hex_digest(weights.get("sha256"), "weights"),
        source={str(k): str(v) for k, v in _mapping({"source": {}, **fields}, "source").items()},
        graphs=_graphs(_mapping({"graphs": {}, **fields}, "graphs")),
        operating=operating_of(fields.get("operating", {}), labels),
        none=_none(fields, labels),
    )


def _name_and_version(fields: Mapping[str, Any]) -> tuple[str, int]:
    name = fields.get("name")
    if not isinstance(name, str) or not is_name(name):
        raise ValueError(
            f"its name {short(name)} is not made of letters, digits, '.', '_' and '-', or two "
            "such words with a '/' between them"
        )
    version = fields.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(f"its version {short(version)} is not a whole number from 1")
    return name, version


def _undrawn(fields: Mapping[str, Any], labels: tuple[str, ...]) -> tuple[str, ...]:
    undrawn = _texts({"undrawn": [], **fields}, "undrawn")
    if not set(undrawn) <= set(labels):
        raise ValueError("its 'undrawn' names what is no label")
    return undrawn


def _none(fields: Mapping[str, Any], labels: tuple[str, ...]) -> str | None:
    none = fields.get("none")
    if none is not None and none not in labels:
        raise ValueError(f"its label for none of the others, {short(none)}, is no label")
    return none if none is None else str(none)


def _thresholds(fields: Mapping[str, Any]) -> dict[str, float]:
    thresholds = _numbers(fields.get("thresholds") or {}, "thresholds")
    if thresholds.get("temperature", 1) <= 0:
        raise ValueError(f"its temperature {thresholds['temperature']} is not above 0")
    if thresholds.get("slope", 1) <= 0:
        raise ValueError(f"its slope {thresholds['slope']} is not above 0")
    if not 0 <= thresholds.get("score", 0) <= 1:
        raise ValueError(f"its threshold {short(thresholds['score'])} is not between 0 and 1")
    return thresholds


def _encoder(stream: str, spec: object) -> EncoderSpec:
    if not isinstance(spec, dict) or not isinstance(spec.get("name"), str):
        raise ValueError(f"does not name the encoder of its stream {short(stream)}")
    return EncoderSpec(
        name=spec["name"],
        digest=_hex_digest(spec.get("sha256"), f"encoder of {short(stream)}"),
        preprocess=_settings(spec.get("preprocess") or {}, "preprocess"),
    )


def _graphs(fields: Mapping[str, Any]) -> dict[str, GraphSpec]:
    if len(fields) > MAX_GRAPHS:
        raise ValueError(f"has {len(fields)} graphs, more than {MAX_GRAPHS}")
    graphs = {}
    for role, spec in fields.items():
        file = spec.get("file") if isinstance(spec, dict) else None
        if (
            not _ROLE.fullmatch(role)
            or not isinstance(file, str)
            or not _GRAPH_FILE.fullmatch(file)
        ):
            raise ValueError(
                f"names {short(file)} for its graph {short(role)}, which vmm reads not"
            )
        graphs[role] = GraphSpec(file, _hex_digest(spec.get("sha256"), f"graph {short(role)}"))
    return graphs


def _sampling(fields: Mapping[str, Any]) -> SamplingSpec:
    every_s, free = fields.get("every_s"), fields.get("free")
    if (
        isinstance(every_s, bool)
        or not isinstance(every_s, int | float)
        or not (SHORTEST_STEP_S <= every_s < 1e6)
    ):
        raise ValueError(f"its sampling step {short(every_s)} is not a number of seconds")
    if not isinstance(free, bool):
        raise ValueError("does not say whether its sampling is free")
    return SamplingSpec(float(every_s), free)


def _mapping(fields: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = fields.get(key)
    if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
        raise ValueError(f"has no {key!r}, or not as names with values")
    return value


def _texts(fields: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = fields.get(key)
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ValueError(f"has no {key!r}, or not as a list of texts")
    return tuple(value)


def _numbers(value: object, key: str) -> dict[str, float]:
    if not isinstance(value, dict) or not all(
        isinstance(k, str) and isinstance(v, int | float) for k, v in value.items()
    ):
        raise ValueError(f"its {key!r} are not names with numbers")
    _refuse_endless(value, key)
    return value


def _settings(value: object, key: str) -> dict[str, Json]:
    """Return names with values of JSON; ValueError where something in them is of another type."""
    if not isinstance(value, dict):
        raise ValueError(f"its {key!r} are not names with values")
    _refuse_no_json(value, key)
    _refuse_endless(value, key)
    return value


def _refuse_no_json(value: object, key: str) -> None:
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            _refuse_no_json(inner, key)
    elif not isinstance(value, bool | int | float | str | None):
        raise ValueError(f"its {key!r} hold {short(value)}, which JSON has no value for")


def _refuse_endless(value: object, key: str) -> None:
    """Raise ValueError where something in a field is no finite number, though it is a float."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"its {key!r} hold {value}, which is no finite number")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _refuse_endless(inner, key)


def _hex_digest(value: object, what: str) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError(f"has no SHA-256 digest of its {what}")
    return value
