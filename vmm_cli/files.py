"""A result file appears whole or not at all; the folder it goes to."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

from vmm_cli import errors
from vmm_cli.durable import sync_file, sync_folder


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it. OutputError where that, or writing into it, cannot be."""
    if folder.exists() and not folder.is_dir():
        raise errors.OutputError(f"{folder}: is a file, not a folder; choose another folder")
    if folder.is_symlink() and not folder.exists():
        raise errors.OutputError(
            f"{folder}: is a link to {folder.readlink()}, which does not exist; remove the "
            "link, or choose another folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise errors.OutputError(f"{folder}: cannot be made: {cause.strerror}") from cause
    if not os.access(folder, os.W_OK | os.X_OK):
        raise errors.OutputError(f"{folder}: cannot be written to; choose another folder")


def require_folder(file: Path) -> None:
    """Raise OutputError where the folder that a file is to go to is not there; links are followed.

    Also where the file is a link that leads round and round.
    """
    folder, said = file.parent, f"{file}:"
    if file.is_symlink():
        target = Path(os.path.realpath(file))
        if target.is_symlink():
            raise errors.OutputError(
                f"{file}: is a link that leads back to itself; remove it, or choose another -o"
            )
        folder, said = target.parent, f"{file}: is a link to {target}:"
    if not folder.is_dir():
        if folder.exists():
            raise errors.OutputError(f"{said} {folder} is not a folder; choose another -o")
        raise errors.OutputError(
            f"{said} the folder {folder} does not exist; make it first, or choose another -o"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise errors.OutputError(f"{said} the folder {folder} cannot be written to")


@contextmanager
def atomic_file(path: Path) -> Iterator[TextIO]:
    """Yield a text file that takes the place of `path` once it is whole and on disk.

    UTF-8 with plain line feeds. A link is followed. OutputError where it cannot be written.
    """
    with as_output_error(path):
        target = Path(os.path.realpath(path))  # unlike resolve(), no error for a loop of links
        # mkstemp's mode 0600 is for secrets.
        with replacing(target, mode=0o666 & ~_umask()) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
            try:
                yield text
            finally:
                text.detach()  # after flushing
        sync_folder(target.parent)


@contextmanager
def as_output_error(path: Path) -> Iterator[None]:
    """Have an OSError be an OutputError that says that a file cannot be written, and why."""
    try:
        yield
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise errors.OutputError(f"{path}: cannot be written: {why}") from error


@contextmanager
def replacing(path: Path, *, mode: int) -> Iterator[BinaryIO]:
    """Yield a file that takes the place of `path` once it is whole and on disk.

    mode: its permissions. OSError where it cannot be written; then nothing is left of it.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            with suppress(OSError):  # a file system without modes
                os.fchmod(descriptor, mode)
            sync_file(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
