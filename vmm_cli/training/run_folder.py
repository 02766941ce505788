"""The folder of a run: whether it may be written to, what was asked, and where it stands.

While a run goes on its folder holds what was asked for, and checkpoints, in `.training`;
`bundle.yaml` is written last, so that a run which was stopped cannot be taken for a model.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from vmm_cli import bundles
from vmm_cli.batch.lock import lock_path
from vmm_cli.errors import UsageError
from vmm_cli.files import atomic_file, make_folder

WORK_FOLDER = ".training"
FOLDS_FOLDER = "folds"
LONGEST_NAME = 100  # characters; file systems take 255, with what is put before and behind


def refuse_taken(folder: Path, resume: bool) -> None:
    """Raise UsageError where a run cannot write, or would write among what is there."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; give another -o")
    if not resume and folder.is_dir() and any(folder.iterdir()):
        raise UsageError(
            f"{folder}: is there already; give another -o, or --resume to go on with it"
        )


def open_folder(folder: Path, asked: Mapping[str, Any], resume: bool) -> dict[str, Any] | None:
    """Note what is asked of a run; with `resume` look what is there, and return done metrics.

    `asked`: what a run must share with the one it goes on with, as JSON types.

    Raises:
        UsageError: the folder holds another run, or something else.
        ModelError: it holds a damaged model.
        OutputError: it cannot be written.
    """
    state = folder / WORK_FOLDER / "asked.json"
    there = [path for path in folder.iterdir() if path.name != lock_path(folder).name]
    if not there:
        make_folder(state.parent)
        write_json(state, asked)
        return None
    if (folder / bundles.BUNDLE_FILE).is_file():
        bundles.load(str(folder))
        finished = _read_json(folder / "metrics.json")
        _refuse_other(folder, finished.get("asked"), asked)
        return finished
    if not resume or not state.is_file():
        raise UsageError(f"{folder}: holds no training that could be gone on with")
    _refuse_other(folder, _read_json(state), asked)
    return None


def _refuse_other(folder: Path, before: object, asked: Mapping[str, Any]) -> None:
    known = before if isinstance(before, dict) else {}
    other = [key for key, value in asked.items() if known.get(key) != value]
    if other:
        raise UsageError(
            f"{folder}: was begun with another {', '.join(other)}; "
            "give the same data and options as then, or another -o"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be gone on from: {error}") from None
    return content


def checkpoint_path(folder: Path, what: str) -> Path:
    """Return where the checkpoint of one training of a run lies."""
    return folder / WORK_FOLDER / f"{file_name(what)}.safetensors"


def tidy(folder: Path) -> None:
    """Remove what only a run that goes on needs."""
    shutil.rmtree(folder / WORK_FOLDER, ignore_errors=True)


def forget(folder: Path) -> None:
    """Remove what a run left that came to nothing; what else is in the folder stays."""
    tidy(folder)
    shutil.rmtree(folder / FOLDS_FOLDER, ignore_errors=True)  # models, that no run stands behind
    with suppress(OSError):  # it holds something
        folder.rmdir()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a document, whole or not at all. OutputError where that is not possible."""
    write_text(path, json_text(content))


def json_text(content: Mapping[str, Any]) -> str:
    """Return a document as text."""
    return json.dumps(content, indent=1) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all. OutputError where that is not possible."""
    with atomic_file(path) as file:
        file.write(text)


def file_name(name: str) -> str:
    """Return a name as one that any file system takes, different for different names."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in name)
    if kept and kept == name and len(name) <= LONGEST_NAME:
        return name
    return f"{kept[:LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
