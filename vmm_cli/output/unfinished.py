"""Files that take long to write: hidden until they are whole, removed if they never are."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vmm_cli.durable import sync_file, sync_folder

WORK_NAME = ".vmm.unfinished"  # what is not finished, in the folder of the results


@contextmanager
def made_by_name(folder: Path, target: Path) -> Iterator[Path]:
    """Yield the name of an empty file that takes the place of `target`, in time.

    It does so once it is on disk, whole; nothing is left of it where its making fails. `folder` is
    that of all results, on the same file system. OSError where it cannot be written.
    """
    work = folder / WORK_NAME
    work.mkdir(exist_ok=True)
    path = work / f"{uuid.uuid4().hex}{target.suffix}"
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield path
        sync_file(descriptor)
        path.replace(target)
        sync_folder(target.parent)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def remove_unfinished(folder: Path) -> None:
    """Remove what runs have left that were killed; what somebody is writing stays."""
    work = folder / WORK_NAME
    with suppress(OSError):
        for path in work.iterdir():
            _remove_unlocked(path)
        work.rmdir()  # as long as nothing is in it


def _remove_unlocked(path: Path) -> None:
    with suppress(OSError):  # locked, or gone meanwhile
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(descriptor)
