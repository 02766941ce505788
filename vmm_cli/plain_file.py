"""Read files by others: regular ones alone, and never more of them than was agreed to."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PIECE_BYTES = 2**16


class UnreadableError(Exception):
    """A file that cannot be read as it should be; the message says why, without its name."""


@contextmanager
def open_regular(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file; yield it and its size in bytes.

    A FIFO would never answer, and a device may act when it is merely opened: neither is.

    Raises:
        UnreadableError: it is missing, no regular file, or cannot be read, now or inside.
    """
    try:
        _refuse_others(path.stat().st_mode)
        # Without blocking: it may have been exchanged since.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            _refuse_others(status.st_mode)
            yield file, status.st_size
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from error


def read_regular(path: Path, limit: int) -> bytes:
    """Return what a regular file of at most `limit` bytes holds.

    Raises:
        UnreadableError: it is missing, larger, no regular file, or cannot be read.
    """
    with open_regular(path) as (file, size):
        data = b"" if size > limit else file.read(size + 1)
        while size < len(data) <= limit and (piece := file.read(PIECE_BYTES)):
            data += piece  # the size is not true, as in /proc
    if max(size, len(data)) > limit:
        raise UnreadableError(f"is larger than {size_text(limit)}")
    return data


def size_text(size: int) -> str:
    """Return a number of bytes in the unit that fits, rounded.

    >>> size_text(4 * 2**20), size_text(2**18), size_text(17)
    ('4 MiB', '256 KiB', '17 bytes')
    """
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"


def _refuse_others(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise UnreadableError("is not a regular file")
