"""The lock of an output: one run at a time, whatever the output is called."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vmm_cli.batch.journal import as_output_error
from vmm_cli.errors import LockedError, OutputError

# Searching it takes permission to enter, not to list.
_FOLDER_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


def lock_path(output: Path) -> Path:
    """Return where the lock of `output` lies; see `journal.journal_path`."""
    place = Path(os.path.realpath(output))
    if place.is_dir():
        return place / ".vmm.lock"
    return place.with_name(place.name + ".lock")


class Hold:
    """An output that this process holds alone: its lock file, and the output itself if it is there.

    A lock file is held by its inode, and found by its name in the folder that was there at the
    start: one that somebody else made meanwhile is never let go or removed.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self._path = lock_path(output)
        self._folder = self._lock = self._file = -1
        try:
            with as_output_error(f"{output} cannot be written: its lock {self._path.name}"):
                self._folder = os.open(self._path.parent, _FOLDER_FLAGS)
                self._lock = self._locked()
                self._file = self._locked_file()
        except BaseException:
            self.release()
            raise

    def is_ours(self) -> bool:
        """Tell whether the output's name still leads to what is held.

        Not where its folder was removed or replaced. A lock file alone that somebody removed is
        made again, unless another run has taken the output meanwhile.
        """
        try:
            if self._names(self._lock):
                return True
            lock = self._locked()
        except (OSError, LockedError):
            return False
        os.close(self._lock)
        self._lock = lock
        return True

    def check(self) -> None:
        """Raise OutputError where the output is not ours any more."""
        if not self.is_ours():
            raise OutputError(
                f"{self._output} was removed or replaced during the run; run the same again"
            )

    def release(self) -> None:
        """Let go. Safe to call again."""
        # Removed while it is still held: the next holder then sees that what it opened has gone.
        with suppress(OSError):
            if self._lock >= 0 and self._names(self._lock):
                os.unlink(self._path.name, dir_fd=self._folder)
        for descriptor in (self._file, self._lock, self._folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._folder = self._lock = self._file = -1

    def _locked(self) -> int:
        """Return the descriptor of the locked lock file."""
        # O_NOFOLLOW: in a folder that others write to, a link could point anywhere.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        while True:
            if not os.path.samestat(os.fstat(self._folder), self._path.parent.stat()):
                raise FileNotFoundError(errno.ENOENT, "its folder was replaced meanwhile")
            descriptor = os.open(self._path.name, flags, 0o666, dir_fd=self._folder)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._names(descriptor):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                    return descriptor
            except BlockingIOError:
                holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
                os.close(descriptor)
                raise self._held_by(f" (process {holder})" if holder.isdigit() else "") from None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # its holder removed it between our open and our lock

    def _locked_file(self) -> int:
        """Lock the output itself, which may have other names; -1 where it is not there."""
        try:
            descriptor = os.open(self._output, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return -1
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise self._held_by("") from None
        except OSError:  # no lock without write access, on NFS
            pass
        return descriptor

    def _held_by(self, process: str) -> LockedError:
        return LockedError(
            f"another run{process} holds {self._output}; wait for it to end or choose another -o"
        )

    def _names(self, descriptor: int) -> bool:
        """Tell whether the lock file's path leads to this very file."""
        try:
            named = self._path.lstat()
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(descriptor))


@contextmanager
def lock(output: Path) -> Iterator[Hold]:
    """Hold `output` for this process alone, also against runs that know it by another name.

    The kernel lets go of the lock when the process ends, however it ends; a lock file left behind
    does no harm.

    Raises:
        LockedError: another process holds it.
        OutputError: the lock file cannot be written, or the file system has no locks.
    """
    hold = Hold(output)
    try:
        yield hold
    finally:
        hold.release()
