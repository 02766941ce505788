"""Model bundles: find, read, verify and save them. No torch is needed here.

A bundle is a folder: `bundle.yaml` (what the model is, its labels, its preprocessing, the digests),
`weights.safetensors`, `CARD.md`, `recipe.yaml`, `metrics.json`. Everything in it is checked before
it is used: a bundle may come from anywhere.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import reprlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import yaml

from vmm_cli.durable import sync_file
from vmm_cli.errors import ModelError
from vmm_cli.plain_file import UnreadableError, open_regular, read_regular, size_text
from vmm_cli.plain_yaml import YamlError
from vmm_cli.plain_yaml import load as load_yaml
from vmm_cli.published import TORCHVISION, how_to_get
from vmm_cli.suggest import did_you_mean
from vmm_cli.tasks import PURPOSES

if TYPE_CHECKING:
    import numpy as np

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

SCHEMA_NAME = "vmm.bundle"
SCHEMA_VERSION = 1
BUNDLE_FILE = "bundle.yaml"
WEIGHTS_FILE = "weights.safetensors"
MAX_BUNDLE_FILE_BYTES = 4 * 2**20  # the largest label map in sight is below 1 MB
MAX_WEIGHTS_BYTES = 2 * 2**30  # six times the largest that can be fetched
MAX_HEADER_BYTES = 4 * 2**20  # of weights: the names and shapes of some 40,000 tensors
SHORTEST_STEP_S = 0.001  # between the pictures that a model wants
# In the metadata of the weights: what of bundle.yaml they were saved with, see `_described`.
DESCRIBED = "vmm.described"
_METADATA = "__metadata__"  # where safetensors keep it

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME = re.compile(rf"(?:{_FOLDER_NAME.pattern}/)?{_FOLDER_NAME.pattern}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxstring = 2, 4, 4, 80


@dataclass(frozen=True)
class EncoderSpec:
    """Which encoder a stream of the model uses.

    Attributes:
        name: as in the encoder catalogue.
        digest: of its weights and preprocessing, see `encoder_digest`; hex.
        preprocess: its settings, such as the numbers that its pictures or sound are prepared with.
    """

    name: str
    digest: str
    preprocess: Mapping[str, Json]


@dataclass(frozen=True)
class SamplingSpec:
    """Which pictures the model wants.

    Attributes:
        every_s: one picture each so many seconds.
        free: whether the user may ask for another sampling.
    """

    every_s: float
    free: bool


@dataclass(frozen=True, repr=False)
class Bundle:
    """What a bundle's `bundle.yaml` says.

    Attributes:
        folder: where the bundle lies.
        name: as it was saved; `list_bundles` gives the name that it is found by.
        digest: SHA-256 of `bundle.yaml`, hex; as that names the digest of the weights, it stands
            for the whole model.
        weights_digest: SHA-256 of `weights.safetensors`, hex.
        task: one of `tasks.PURPOSES`.
        encoders: by stream.
        source: where a fetched model's weights come from, and the digest of what was fetched.
        demonstration: why the model is one, and nothing may hang on it; "" where it is none.
    """

    folder: Path
    digest: str
    name: str
    version: int
    summary: str
    task: str
    labels: tuple[str, ...]
    streams: tuple[str, ...]
    encoders: Mapping[str, EncoderSpec]
    network: Mapping[str, Any]
    sampling: SamplingSpec
    thresholds: Mapping[str, float]
    licence: Mapping[str, str]
    weights_digest: str
    source: Mapping[str, str] = field(default_factory=dict)
    demonstration: str = ""

    def __repr__(self) -> str:
        return f"Bundle({self.name!r} version {self.version}, {self.task}, at {self.folder})"


@dataclass(frozen=True)
class BrokenBundle:
    """A folder among the bundles that cannot be used, and why."""

    folder: Path
    problem: str
    name: str


# --- where bundles lie -------------------------------------------------------------------------


def packaged_models() -> Path:
    """Return the folder of the bundles that ship with vmm, in a wheel and in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_models"
    return installed if installed.is_dir() else package.parent / "models"


def user_models() -> Path:
    """Return the folder of the user's own bundles; it need not exist."""
    import platformdirs

    return Path(platformdirs.user_data_dir("vmm")) / "models"


def search_folders() -> tuple[Path, ...]:
    """Return the folders in which bundles lie, in the order they are looked through.

    A bundle is a folder NAME in one of them, or FAMILY/NAME, and is called so. First come those in
    the environment variable VMM_MODELS (separated as in PATH), then the user's, then the packaged.
    """
    listed = os.environ.get("VMM_MODELS", "").split(os.pathsep)
    return (*(Path(f) for f in listed if f), user_models(), packaged_models())


def is_name(text: str) -> bool:
    """Tell whether a model can be called so: a word, or two with a '/' between them."""
    return _NAME.fullmatch(text) is not None


def find(name: str) -> Path:
    """Return the folder of the bundle that `--model NAME` means: a path to one, or its name.

    Raises:
        ModelError: there is none; the message names similar ones, or says how to fetch it.
    """
    if _is_bundle(Path(name)):
        return Path(name)
    if is_name(name):
        for folder in search_folders():
            if _is_bundle(folder / name):
                return folder / name
    if Path(name).is_dir():
        raise ModelError(f"{name!r} is a folder without {BUNDLE_FILE}, so it is no model bundle")
    if name in TORCHVISION:
        raise ModelError(f"model {name!r} is not on this machine yet; {how_to_get(name)}")
    known = [*(bundle.name for bundle in list_bundles()), *TORCHVISION]
    hint = did_you_mean(name, known) or "."
    raise ModelError(f"no model named {name!r}{hint} See `vmm models list`")


def list_bundles() -> tuple[Bundle | BrokenBundle, ...]:
    """Return what lies in the search folders, by name; the first of a name hides the others.

    Of the weights only the header is read, so that this is quick.
    """
    found: dict[str, Bundle | BrokenBundle] = {}
    for folder in search_folders():
        try:
            for name, candidate in _bundles_in(folder):
                if name not in found:
                    found[name] = _read_or_explain(candidate, name)
        except OSError as error:
            reason = f"cannot be looked into: {error.strerror}"
            found[str(folder)] = BrokenBundle(folder, reason, str(folder))
    return tuple(found[name] for name in sorted(found))


def _bundles_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the bundles of a folder, and those of the families in it, with their names."""
    for path in _subfolders(folder):
        if _is_bundle(path):
            yield path.name, path
            continue
        for inner in _subfolders(path):
            if _is_bundle(inner):
                yield f"{path.name}/{inner.name}", inner


def _is_bundle(folder: Path) -> bool:
    """Tell whether a folder means to be a bundle, though it may be a broken one.

    One that may not be looked into may be one: reading it says what is wrong.
    """
    try:
        os.lstat(folder / BUNDLE_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return os.path.lexists(folder)
    return True


def _subfolders(folder: Path) -> list[Path]:
    """Return what may be bundles or families; OSError where a folder may not be looked into."""
    try:
        return [path for path in folder.iterdir() if _FOLDER_NAME.fullmatch(path.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read_or_explain(folder: Path, name: str) -> Bundle | BrokenBundle:
    try:
        bundle = read(folder)
        look_at_weights(bundle)
        return replace(bundle, name=name)  # a copy is found by its own folder's name
    except ModelError as error:
        return BrokenBundle(folder, str(error), name)


# --- reading -----------------------------------------------------------------------------------


def load(name: str) -> Bundle:
    """Find a bundle by path or name, read what it says, and verify its weights.

    Raises:
        ModelError: not found, damaged, of a newer schema, or with weights, labels or a network that
            are not the ones it was saved with.
    """
    bundle = read(find(name))
    verify(bundle)
    return bundle


def read(folder: Path) -> Bundle:
    """Read a bundle's `bundle.yaml` without looking at its weights.

    Raises:
        ModelError: see `load`.
    """
    path = folder / BUNDLE_FILE
    with _as_model_error(path):
        data = read_regular(path, MAX_BUNDLE_FILE_BYTES)
        document = load_yaml(data)
    fields = document.value
    if not isinstance(fields, dict):
        raise ModelError(f"{path}: holds no fields")
    try:
        _check_schema(fields.get("schema"))
        if document.repeated:
            key, line = document.repeated[0]
            raise ValueError(f"line {line}: {_short(key)} is given a second time")
        return _bundle(folder, hashlib.sha256(data).hexdigest(), fields)
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from None


@contextmanager
def _as_model_error(path: Path) -> Iterator[None]:
    """Say of which file of a bundle it is that it cannot be read."""
    try:
        yield
    except UnreadableError as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        raise ModelError(f"{path}: {'is missing' if missing else error}") from None
    except YamlError as error:
        raise ModelError(f"{path}: is not readable as YAML: {error}") from None


def _short(value: object) -> str:
    """Return a value as it is shown in a message, which stays short whatever a file says."""
    return _SHORT.repr(value)


def _check_schema(schema: object) -> None:
    match = re.fullmatch(rf"{re.escape(SCHEMA_NAME)}/([0-9]{{1,9}})", str(schema))
    if match is None:
        raise ValueError(f"is no model bundle: its schema is {_short(schema)}")
    if int(match[1]) > SCHEMA_VERSION:
        raise ValueError(
            f"has the schema {schema}, newer than this vmm reads ({SCHEMA_NAME}/{SCHEMA_VERSION}); "
            "update vmm-cli"
        )


def _bundle(folder: Path, digest: str, fields: Mapping[str, Any]) -> Bundle:
    weights = _mapping(fields, "weights")
    file = weights.get("file")
    if file != WEIGHTS_FILE:
        raise ValueError(
            f"names {_short(file)} for its weights; vmm reads {WEIGHTS_FILE} beside {BUNDLE_FILE} "
            "and nothing else"
        )
    name = fields.get("name")
    if not isinstance(name, str) or not is_name(name):
        raise ValueError(
            f"its name {_short(name)} is not made of letters, digits, '.', '_' and '-', or two "
            "such words with a '/' between them"
        )
    version = fields.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(f"its version {_short(version)} is not a whole number from 1")
    task = fields.get("task")
    if not isinstance(task, str) or task not in PURPOSES:
        raise ValueError(f"its task {_short(task)} is none of {', '.join(PURPOSES)}")
    labels = _texts(fields, "labels")
    if len(set(labels)) != len(labels):
        raise ValueError("names a label twice")
    network = _mapping(fields, "network")
    _refuse_endless(network, "network")
    thresholds = _numbers(fields.get("thresholds") or {}, "thresholds")
    if thresholds.get("temperature", 1) <= 0:
        raise ValueError(f"its temperature {thresholds['temperature']} is not above 0")
    if not 0 <= thresholds.get("score", 0) <= 1:
        raise ValueError(f"its threshold {_short(thresholds['score'])} is not between 0 and 1")
    outputs = network.get("outputs", len(labels))
    if outputs != len(labels):
        raise ValueError(f"its network has {_short(outputs)} outputs for {len(labels)} labels")
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
        streams=_texts(fields, "streams"),
        encoders=encoders,
        network=network,
        sampling=_sampling(_mapping(fields, "sampling")),
        thresholds=thresholds,
        licence={str(k): str(v) for k, v in _mapping(fields, "licence").items()},
        weights_digest=_hex_digest(weights.get("sha256"), "weights"),
        source={str(k): str(v) for k, v in _mapping({"source": {}, **fields}, "source").items()},
    )


def _encoder(stream: str, spec: object) -> EncoderSpec:
    if not isinstance(spec, dict) or not isinstance(spec.get("name"), str):
        raise ValueError(f"does not name the encoder of its stream {_short(stream)}")
    return EncoderSpec(
        name=spec["name"],
        digest=_hex_digest(spec.get("sha256"), f"encoder of {_short(stream)}"),
        preprocess=_settings(spec.get("preprocess") or {}, "preprocess"),
    )


def _sampling(fields: Mapping[str, Any]) -> SamplingSpec:
    every_s, free = fields.get("every_s"), fields.get("free")
    if (
        isinstance(every_s, bool)
        or not isinstance(every_s, int | float)
        or not (SHORTEST_STEP_S <= every_s < 1e6)
    ):
        raise ValueError(f"its sampling step {_short(every_s)} is not a number of seconds")
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
        raise ValueError(f"its {key!r} hold {_short(value)}, which JSON has no value for")


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


# --- weights -----------------------------------------------------------------------------------


def look_at_weights(bundle: Bundle) -> None:
    """Check that the weights are there and as long as their header says; no more of them is read.

    Raises:
        ModelError: missing, another kind of file, or of another size.
    """
    path = bundle.folder / WEIGHTS_FILE
    with _as_model_error(path), open_regular(path) as (file, size):
        _weights_header(path, file, size)


def verify(bundle: Bundle) -> None:
    """Check that weights, labels and network are those that were saved; pickles are refused.

    The file is read piece by piece, and not at all where it cannot be what it says. What the
    weights do not tell of labels and network, as in bundles of an earlier vmm, is not checked.

    Raises:
        ModelError: missing, another digest, another kind of file, other labels or another network.
    """
    path = bundle.folder / WEIGHTS_FILE
    with _as_model_error(path), open_regular(path) as (file, size):
        header = _weights_header(path, file, size)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    _check_weights(bundle, digest, header)


def load_tensors(bundle: Bundle, prefix: str = "") -> dict[str, np.ndarray]:
    """Return the tensors whose name starts with `prefix`, by the rest of their name.

    What is returned was verified: the file is read once, and its bytes are checked.

    Raises:
        ModelError: see `verify`; or a tensor holds what is no finite number.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = bundle.folder / WEIGHTS_FILE
    with _as_model_error(path), open_regular(path) as (file, size):
        header = _weights_header(path, file, size)
        file.seek(0)
        data = file.read(size)
    _check_weights(bundle, hashlib.sha256(data).hexdigest(), header)
    try:
        tensors = load(data)
    except KeyError as error:  # numpy has no such numbers
        raise ModelError(f"{path}: holds tensors of a type that is not read: {error}") from None
    except (SafetensorError, ValueError) as error:
        raise ModelError(f"{path}: is not readable as safetensors: {_short(str(error))}") from None
    _refuse_no_numbers(path, tensors)
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _refuse_no_numbers(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Raise ModelError where scores would be no numbers either."""
    import numpy as np

    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise ModelError(
                f"{path}: refused: {_short(name)} holds values that are no finite numbers; fetch "
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
            f"{path}: refused: it has {size} bytes, and {_short(declared)} by its header; the file "
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
    if told is not None and told != _described(bundle):
        raise ModelError(
            f"{bundle.folder / BUNDLE_FILE}: refused: its labels, streams or network are not those "
            "that the weights were saved with; the file is damaged or was edited: fetch or train "
            "the model again"
        )


def _described(bundle: Bundle) -> str:
    """Return what stands for a model's labels, streams and network: SHA-256, hex."""
    parts = [bundle.labels, bundle.streams, bundle.network]
    try:
        text = json.dumps(parts, sort_keys=True, default=str)
    except (TypeError, ValueError, RecursionError):  # damaged: names of two types, a loop
        return ""
    return hashlib.sha256(text.encode()).hexdigest()


def encoder_digest(
    name: str, preprocess: Mapping[str, Json], tensors: Mapping[str, np.ndarray]
) -> str:
    """Return what stands for an encoder wherever its features are kept: SHA-256, hex.

    Over the name, the settings, and each tensor's name, dtype, shape and bytes, in the order of
    names. Labels and heads are not part of it: another head uses the same features. Numbers count
    as floats, however YAML wrote them.
    """
    whole = [name, _with_floats(preprocess)]
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode())
    for key in sorted(tensors):
        tensor = tensors[key]
        digest.update(f"\0{key}\0{tensor.dtype.str}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def _with_floats(value: Json) -> Json:
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, Mapping):
        return {name: _with_floats(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_with_floats(inner) for inner in value]
    return value


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
        bundle = _bundle(folder, "0" * 64, whole)
    except ValueError as error:
        raise ModelError(f"{folder}: cannot be saved: {error}") from None
    # safetensors writes an array's memory as it lies: a transposed view would come back scrambled.
    weights = safetensors_bytes(
        {k: np.ascontiguousarray(v) for k, v in tensors.items()}, {DESCRIBED: _described(bundle)}
    )
    whole["weights"]["sha256"] = hashlib.sha256(weights).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    # Weights first: a bundle.yaml is there only when what it names is there too.
    _write_whole(folder / WEIGHTS_FILE, weights)
    text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=100)
    _write_whole(folder / BUNDLE_FILE, text.encode())
    return read(folder)


def _write_whole(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            sync_file(file.fileno())
        with suppress(OSError):  # some file systems have no modes
            temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
