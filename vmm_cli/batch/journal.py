"""What a run has done: a journal beside its output that a later run resumes from, and its lock."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from vmm_cli.errors import LockedError, OutputError
from vmm_cli.identity import FileIdentity

Record = dict[str, Any]


class _Place(NamedTuple):
    offset: int
    length: int


class Journal:
    """The journal of one output: a JSON object per line, the last whole one of an input counts.

    A line is `{"input": name, "identity": {...} | null, "fingerprint": str, "record": {...}}`.
    Lines that are torn, because a run was killed or the disk was full, or that are no such object
    are passed over. Records stay on disk: memory holds where each input's line lies.

    Use it as a context manager, while holding the output's `lock`.

    Raises:
        OutputError: the journal cannot be opened, read or written.
    """

    def __init__(self, output: Path) -> None:
        self.path = journal_path(output)
        with _as_output_error(f"the journal {self.path} cannot be opened"):
            self._descriptor = _open_for_appending(self.path)
        try:
            with _as_output_error(f"the journal {self.path} cannot be read"):
                self._places, self._end, self._torn = self._scan()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Journal:
        """Return the journal."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the journal."""
        self.close()

    def close(self) -> None:
        """Close the file. Safe to call again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def append(
        self, name: str, identity: FileIdentity | None, fingerprint: str, record: Record
    ) -> None:
        """Add an input's record; when this returns it is on disk, whole.

        Raises:
            OutputError: it could not be written; what was there before still counts.
        """
        line = {
            "input": name,
            "identity": identity.to_dict() if identity is not None else None,
            "fingerprint": fingerprint,
            "record": record,
        }
        # Escaped to ASCII, so that names of any bytes survive.
        content = json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"
        start = self._end + self._torn
        with _as_output_error(f"the journal {self.path} cannot be written"):
            try:
                self._write(b"\n" * self._torn + content)
            except BaseException:
                self._end, self._torn = os.fstat(self._descriptor).st_size, True
                raise
        self._end, self._torn = start + len(content), False
        self._places[name] = _Place(start, len(content))

    def last(self, name: str) -> Record | None:
        """Return an input's last record, whatever its status; None where there is none."""
        entry = self._entry(name)
        return None if entry is None else entry["record"]

    def done(self, name: str, identity: FileIdentity, fingerprint: str) -> Record | None:
        """Return an input's record where it is done: status ok, file and fingerprint the same."""
        entry = self._entry(name)
        if (
            entry is None
            or entry["record"].get("status") != "ok"
            or entry["identity"] != identity.to_dict()
            or entry["fingerprint"] != fingerprint
        ):
            return None
        record: Record = entry["record"]
        return record

    def is_of(self, name: str, identity: FileIdentity) -> bool:
        """Tell whether an input's last record was made from this very file."""
        entry = self._entry(name)
        return entry is not None and entry["identity"] == identity.to_dict()

    def names(self) -> tuple[str, ...]:
        """Return the inputs that have a record, in the order they first got one."""
        return tuple(self._places)

    def _entry(self, name: str) -> dict[str, Any] | None:
        place = self._places.get(name)
        if place is None:
            return None
        with _as_output_error(f"the journal {self.path} cannot be read"):
            return _parsed(os.pread(self._descriptor, place.length, place.offset))

    def _scan(self) -> tuple[dict[str, _Place], int, bool]:
        """Return where each input's line lies, the file's length, and whether its end is torn."""
        places: dict[str, _Place] = {}
        offset, line = 0, b"\n"
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            for line in file:
                if line.endswith(b"\n") and (entry := _parsed(line)) is not None:
                    places[entry["input"]] = _Place(offset, len(line))
                offset += len(line)
        return places, offset, not line.endswith(b"\n")

    def _write(self, content: bytes) -> None:
        unwritten = memoryview(content)
        while unwritten:
            unwritten = unwritten[os.write(self._descriptor, unwritten) :]
        os.fsync(self._descriptor)


def journal_path(output: Path) -> Path:
    """Return where the journal of `output` lies: in it, where that is a folder, else beside it."""
    if output.is_dir():
        return output / "vmm.journal.jsonl"
    return output.with_name(output.name + ".journal.jsonl")


def lock_path(output: Path) -> Path:
    """Return where the lock of `output` lies: in it, where that is a folder, else beside it."""
    if output.is_dir():
        return output / ".vmm.lock"
    return output.with_name(output.name + ".lock")


def fingerprint(schema: str, options: Mapping[str, object], model_digest: str | None) -> str:
    """Return a digest, in hex, of what a record depends on besides its file.

    `options` holds JSON types. The order of keys does not matter.
    """
    parts = json.dumps([schema, options, model_digest], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(parts.encode("ascii")).hexdigest()


@contextmanager
def lock(output: Path) -> Iterator[None]:
    """Hold `output` for this process alone.

    The kernel lets go of the lock when the process ends, however it ends; a lock file left behind
    does no harm.

    Raises:
        LockedError: another process holds it.
        OutputError: the lock file cannot be written, or the file system has no locks.
    """
    path = lock_path(output)
    descriptor = _locked(path, output)
    try:
        yield
    finally:
        # While it is still held: the next holder then sees that the file it opened has gone.
        try:
            path.unlink()
        except OSError:  # the folder was removed or closed to us; the lock itself ends below
            pass
        finally:
            os.close(descriptor)


def _locked(path: Path, output: Path) -> int:
    """Return the descriptor of the locked lock file."""
    while True:
        with _as_output_error(f"{output} cannot be written: its lock {path.name}"):
            # O_NOFOLLOW: in a folder that others write to, a link could point anywhere.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(path, flags, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_still_at(path, descriptor):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                    return descriptor
            except BlockingIOError:
                holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
                os.close(descriptor)
                who = f"another run (process {holder})" if holder.isdigit() else "another run"
                raise LockedError(
                    f"{who} holds {output}; wait for it to end or choose another -o"
                ) from None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # its holder removed it between our open and our lock


def _is_still_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _open_for_appending(path: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        descriptor = os.open(path, flags | os.O_CREAT, 0o666)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # the new name, too, survives a power cut
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that does not sync folders
            raise
    finally:
        os.close(folder)
    return descriptor


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return a line's object, or None where it is no whole journal line."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = (
        isinstance(entry, dict)
        and isinstance(entry.get("input"), str)
        and isinstance(entry.get("identity"), dict | None)
        and isinstance(entry.get("fingerprint"), str)
        and isinstance(entry.get("record"), dict)
    )
    return entry if whole else None


@contextmanager
def _as_output_error(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{what}: {error.strerror}") from None
