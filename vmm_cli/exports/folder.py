"""The folder of an export: what lies beside the model, and how the whole takes its place."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

import vmm_cli
from vmm_cli.durable import sync_file_system, sync_folder
from vmm_cli.errors import UsageError
from vmm_cli.exports.example import program
from vmm_cli.exports.formats import FORMATS
from vmm_cli.exports.network import PROBABILITIES, Exportable
from vmm_cli.features.image_stream import PICTURES
from vmm_cli.files import as_output_error, make_folder
from vmm_cli.output.owned import digest_of
from vmm_cli.plain_file import UnreadableError, read_regular
from vmm_cli.plain_yaml import YamlError
from vmm_cli.plain_yaml import load as load_yaml

EXPORT_FILE = "export.yaml"
SCHEMA = "vmm.export/1"
LABELS_FILE, PREPROCESSING_FILE, CARD_FILE = "labels.txt", "preprocessing.json", "CARD.md"
EXAMPLE_FILE = "example.py"
MAX_FILE_BYTES = 4 * 2**20  # of what is read here


def refuse_foreign(target: Path, overwrite: bool) -> None:
    """Raise UsageError where an export may not take the place of what is there."""
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_dir():
        raise UsageError(f"{target}: is there and is no folder; choose another -o")
    names = {entry.name for entry in target.iterdir()}
    if not names:
        return
    try:
        ours = {*described(target)["files"], EXPORT_FILE}
    except ValueError:
        raise UsageError(f"{target}: is there, and is no export; choose another -o") from None
    if others := sorted(names - ours):
        raise UsageError(
            f"{target}: holds a file that is of no export, {others[0]!r}; choose another -o"
        )
    if not overwrite:
        raise UsageError(
            f"{target}: holds an export; give --overwrite to replace it, or choose another -o"
        )


def described(folder: Path) -> Mapping[str, Any]:
    """Return what an `export.yaml` says. ValueError where there is none, or another thing."""
    try:
        fields = load_yaml(read_regular(folder / EXPORT_FILE, MAX_FILE_BYTES)).value
    except (OSError, UnreadableError, YamlError) as error:
        raise ValueError(f"cannot be read: {error}") from None
    if not isinstance(fields, dict) or fields.get("schema") != SCHEMA:
        raise ValueError(f"is not of the schema {SCHEMA}")
    files = fields.get("files")
    if not isinstance(files, dict) or not all(
        isinstance(name, str) and name == Path(name).name for name in files
    ):
        raise ValueError("does not name its files")
    return fields


@contextmanager
def whole_folder(target: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a new folder that takes the place of `target` once all of it is there and on disk.

    Raises:
        UsageError: see `refuse_foreign`.
        OutputError: it cannot be written; then nothing is left of it.
    """
    refuse_foreign(target, overwrite)
    make_folder(target.absolute().parent)
    with as_output_error(target):
        parent = target.absolute().parent
        work = Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}.", dir=parent))
        made, old = work / "made", work / "old"
        try:
            made.mkdir()  # with the mode that folders have; that of mkdtemp is for secrets
            yield made
            sync_file_system(made)
            refuse_foreign(target, overwrite)
            if target.is_dir():
                target.rename(old)
            made.rename(target)
            sync_folder(parent)
        finally:
            if old.is_dir() and not target.exists():  # interrupted right between
                old.rename(target)
            shutil.rmtree(work, ignore_errors=True)


def write_rest(
    folder: Path, model: Exportable, format: str, precision: str, measured: Mapping[str, Any]
) -> None:
    """Write all that lies beside the model; `export.yaml`, with everything's digest, last.

    Args:
        folder: where the model lies.
        model: of what.
        format: a key of `FORMATS`.
        precision: in which it was written.
        measured: what it costs and gains, as JSON types.
    """
    row, bundle = FORMATS[format], model.bundle
    _text(folder / LABELS_FILE, "\n".join(bundle.labels))
    _text(folder / PREPROCESSING_FILE, json.dumps(preprocessing(model), indent=2) + "\n")
    _text(folder / EXAMPLE_FILE, program(model, row.package, row.load))
    _text(folder / CARD_FILE, card(model, format, precision, measured))
    names = (*row.files, LABELS_FILE, PREPROCESSING_FILE, EXAMPLE_FILE, CARD_FILE)
    said = {
        "schema": SCHEMA,
        "model": {"name": bundle.name, "version": bundle.version, "digest": bundle.digest},
        "format": format,
        "precision": precision,
        "versions": _versions(row.package),
        "measured": dict(measured),
        "files": {name: digest_of(folder / name) for name in names},
    }
    _text(folder / EXPORT_FILE, yaml.safe_dump(said, sort_keys=False, allow_unicode=True))


def preprocessing(model: Exportable) -> dict[str, Any]:
    """Return how pictures are prepared, as JSON types; the names of `Preprocess`, and more."""
    numbers = model.numbers
    steps = range(numbers.frames)
    shape = [None, *numbers.shape]
    if model.window_s is not None:
        shape[1] = None  # the last window ends with the video
    return {
        "input": {"name": PICTURES, "type": "uint8", "shape": shape, "colours": "RGB"},
        "output": {
            "name": PROBABILITIES,
            "type": "float32",
            "shape": [None, len(model.bundle.labels)],
        },
        "every_s": model.every_s,
        "window_s": model.window_s,
        "times_s": [0.0 if numbers.frames == 1 else float(k * numbers.step_s) for k in steps],
        "frames": numbers.frames,
        "rate_hz": numbers.rate_hz,
        "resize": numbers.resize,
        "short_side": numbers.short_side,
        "size": None if numbers.width is None else [numbers.short_side, numbers.width],
        "crop": numbers.crop,
        "mean": numbers.mean,
        "scale": numbers.scale,
        "normalised": "by the model itself: (x - mean) / scale",
        "pooled": "a label's score is the mean of its probability over all that was looked at",
    }


def card(model: Exportable, format: str, precision: str, measured: Mapping[str, Any]) -> str:
    """Return what the folder holds, what was measured, and then the model's own card."""
    bundle, row = model.bundle, FORMATS[format]
    versions = ", ".join(f"{name} {one}" for name, one in _versions(row.package).items())
    lines = [
        f"# {bundle.name}, exported for {row.title} in {precision}",
        "",
        f"The model `{bundle.name}`, version {bundle.version} (digest {bundle.digest}), as one "
        f"network from prepared pictures to the probabilities of {len(bundle.labels)} labels. "
        f"Written by {versions}.",
        "",
        f"- `{row.files[0]}`: the network; it normalises pictures itself",
        f"- `{LABELS_FILE}`: its labels, one a line, in the order of its outputs",
        f"- `{PREPROCESSING_FILE}`: how pictures are chosen and prepared",
        f"- `{EXAMPLE_FILE}`: prints what a video shows; needs {row.package}, numpy and av",
        "",
        "Licences: " + "; ".join(f"{what}: {name}" for what, name in bundle.licence.items()) + ".",
        "",
        "Measured when it was written, against the same model in float32:",
        "",
        *(f"- {name.replace('_', ' ')}: {_plain(value)}" for name, value in measured.items()),
        "",
        "What follows is the card of the model as vmm runs it, in float32.",
        "",
    ]
    own = bundle.folder / CARD_FILE
    try:
        lines.append(read_regular(own, MAX_FILE_BYTES).decode(errors="replace"))
    except (OSError, UnreadableError):
        lines.append("(It has none.)\n")
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_plain(one)}" for name, one in value.items())
    return "not measured" if value is None else str(value)


def _versions(package: str) -> dict[str, str]:
    return {"vmm-cli": vmm_cli.__version__, package: importlib.metadata.version(package)}


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
