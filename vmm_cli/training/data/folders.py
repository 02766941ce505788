"""Folders of a data set: the files of a kind in them and below."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from vmm_cli.errors import DataError
from vmm_cli.spelling import column_name
from vmm_cli.training.data.manifest import RowError, require_file
from vmm_cli.training.data.samples import Problem


def media_in(
    source: Path, top: Path, is_wanted: Callable[[Path], bool], problems: list[Problem]
) -> Iterator[Path]:
    """Yield the wanted files in a folder and below, by path, or the one file that `top` is.

    What is hidden is left out. Links are followed, but not to a folder that contains this one: a
    loop, or all classes at once.
    """
    outer = _real_folders_above(top)
    entered: set[Path] = set()
    waiting = [top]
    while waiting:
        path = waiting.pop()
        if is_folder(path):
            real = _real(path)
            if real in entered or real in outer:
                message = "links to a folder that was searched already, or holds it; not followed"
                problems.append(Problem("warning", "loop", name_in(source, path), message))
                continue
            entered.add(real)
            waiting += reversed(entries(path, problems, source))
        elif is_wanted(path):
            try:
                require_file(path, path.name)
                yield path
            except RowError as error:
                problems.append(Problem("error", error.kind, name_in(source, path), f"{error}"))


def _real_folders_above(folder: Path) -> set[Path]:
    """Return the folders that hold this one, by the way it was come to and by where it is."""
    ways = (*folder.absolute().parents, *_real(folder).parents)
    return {_real(parent) for parent in ways}


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve raises where a link leads to itself


def entries(folder: Path, problems: list[Problem], source: Path) -> list[Path]:
    """Return what is in a folder and not hidden, by name."""
    try:
        return _listed(folder)
    except OSError as error:
        message = f"the folder cannot be listed: {error.strerror}"
        problems.append(Problem("error", "unreadable", name_in(source, folder), message))
        return []


def _listed(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def is_folder(path: Path) -> bool:
    """Tell whether there is a folder that can be looked at."""
    try:
        return path.is_dir()
    except OSError:  # no permission to look
        return False


def name_in(source: Path, path: Path) -> str:
    """Return what a file is called in the folder `source`."""
    return path.relative_to(source).as_posix()


def columns_of(source: Path, *, group: str | None, fold: str | None) -> dict[str, str]:
    """Return the columns of a data set that are called otherwise than they mean, by that.

    Raises:
        DataError: it is neither a folder nor a file, or a folder, which has none.
    """
    renamed = {"group": group, "fold": fold}
    columns = {name: column_name(column) for name, column in renamed.items() if column}
    if not is_folder(source):
        try:
            require_file(source, str(source))
        except RowError as error:
            raise DataError(f"the data set {error}; give a folder or a manifest") from None
    elif columns:
        listed = " or ".join(map(repr, columns.values()))
        raise DataError(f"{source}: a folder has no column {listed}; write a manifest")
    return columns
