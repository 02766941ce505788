"""What makes a file the same file: size, modification time and a sample of its content."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from vmm_cli.errors import InputError

# Raised when the same file gives other pictures, times or sound than before, so that neither
# features nor records of then are taken for those of now.
READING_REVISION = 2

# Three samples tell files apart without reading gigabytes: containers keep their index in the
# first or the last of them, pictures lie in the middle.
SAMPLE_BYTES = 64 * 1024


@dataclass(frozen=True)
class FileIdentity:
    """A file's identity.

    Attributes:
        size: bytes.
        mtime_ns: time of the last modification, nanoseconds since the epoch.
        content: SHA-256, in hex, of the size (8 bytes, little-endian) and the file's first, middle
            and last `SAMPLE_BYTES`; of the whole content where the file is no longer than that.
    """

    size: int
    mtime_ns: int
    content: str

    def to_dict(self) -> dict[str, int | str]:
        """Return the fields as a dictionary of JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> FileIdentity:
        """Read what `to_dict` wrote.

        Raises:
            ValueError: a field is absent or of another type.
        """
        size, mtime_ns, content = (fields.get(k) for k in ("size", "mtime_ns", "content"))
        if not (isinstance(size, int) and isinstance(mtime_ns, int) and isinstance(content, str)):
            raise ValueError(f"not a file identity: {dict(fields)!r}")
        return cls(size=size, mtime_ns=mtime_ns, content=content)


def file_identity(path: Path) -> FileIdentity:
    """Return the identity of the regular file at `path`; at most 192 KiB of it are read.

    Raises:
        InputError: `missing`, `refused` (not a regular file) or `unreadable`.
    """
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes to would otherwise wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise InputError("missing", "no such file") from None
    except OSError as error:
        raise InputError("unreadable", f"cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InputError("refused", "is not a regular file")
        digest = hashlib.sha256(status.st_size.to_bytes(8, "little"))
        for offset in _sample_offsets(status.st_size):
            digest.update(os.pread(descriptor, SAMPLE_BYTES, offset))
        return FileIdentity(status.st_size, status.st_mtime_ns, digest.hexdigest())
    except OSError as error:
        raise InputError("unreadable", f"cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _sample_offsets(size: int) -> tuple[int, ...]:
    if size <= SAMPLE_BYTES:
        return (0,)
    return (0, (size - SAMPLE_BYTES) // 2, size - SAMPLE_BYTES)
