"""Bringing what was written to disk, as far as its file system does that."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

# Some network and FUSE file systems refuse to sync, and many to sync a folder: what was written
# there is as safe as they make it. Other errors (EIO, ENOSPC, EDQUOT) are about the data.
_REFUSALS = frozenset(
    {
        errno.EINVAL,
        errno.ENOTSUP,
        errno.EOPNOTSUPP,
        errno.ENOSYS,
        errno.ENOTTY,
        errno.EROFS,
        errno.EPERM,
        errno.EACCES,
    }
)
_FOLDER_REFUSALS = _REFUSALS | {errno.EBADF, errno.EISDIR}


def sync_file(descriptor: int) -> None:
    """Bring a file's content to disk. OSError where that failed, not where it is refused."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to disk; see `sync_file`."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # one may write to a folder without being allowed to list it
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _FOLDER_REFUSALS:
            raise
    finally:
        os.close(descriptor)


def sync_file_system(folder: Path) -> None:
    """Bring all to disk that was written to the file system of `folder`; see `sync_file`.

    Elsewhere than on Linux the kernel does it in its own time.
    """
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return
    try:
        if syncfs(descriptor) != 0 and (code := ctypes.get_errno()) not in _FOLDER_REFUSALS:
            raise OSError(code, os.strerror(code))
    finally:
        os.close(descriptor)
