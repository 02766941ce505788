"""What a run has done: a journal beside its output that a later run resumes from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from vmm_cli.durable import sync_file, sync_folder
from vmm_cli.errors import OutputError
from vmm_cli.identity import READING_REVISION, FileIdentity

Record = dict[str, Any]

_LINE_BYTES = 8192  # most lines are shorter


class Journal:
    """The journal of one output: a JSON object per line, the last whole one of an input counts.

    A line is `{"input": name, "identity": {...} | null, "fingerprint": str, "record": {...}}`.
    Lines that are torn, because a run was killed or the disk was full, or that are no such object
    are passed over. Records stay on disk: memory holds where each input's line begins.

    place_of: says which part of the output a record's results fill, for work whose inputs each
    fill one; None: none.

    Use it as a context manager, while holding the output's `lock`.

    Raises:
        OutputError: the journal cannot be opened, read or written.
    """

    def __init__(
        self, output: Path, place_of: Callable[[Record], str | None] = lambda record: None
    ) -> None:
        self.path = journal_path(output)
        self._place_of = place_of
        with as_output_error(f"the journal {self.path} cannot be opened"):
            _adopt(output, self.path)
            self._descriptor = _open_for_appending(self.path)
        self._places: dict[str, int] = {}  # by input
        self._holders: dict[str, str] = {}  # by part of an output, the input that filled it last
        try:
            with as_output_error(f"the journal {self.path} cannot be read"):
                self._end, self._torn = self._scan()
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
        with as_output_error(f"the journal {self.path} cannot be written"):
            try:
                self._write(b"\n" * self._torn + content)
            except BaseException:
                self._end, self._torn = os.fstat(self._descriptor).st_size, True
                raise
        self._end, self._torn = start + len(content), False
        self._places[name] = start

    def last(self, name: str) -> Record | None:
        """Return an input's last record, whatever its status; None where there is none."""
        entry = self._entry(name)
        return None if entry is None else entry["record"]

    def done(self, name: str, *fingerprints: str) -> FileIdentity | None:
        """Return which file an input's record was made of, where it is ok and the rest the same.

        The input is done if it is still that file. `fingerprints`: any of them will do.
        """
        entry = self._entry(name)
        if (
            entry is None
            or entry["record"].get("status") != "ok"
            or entry["fingerprint"] not in fingerprints
        ):
            return None
        return _identity(entry)

    def holder(self, place: str) -> tuple[str, FileIdentity | None] | None:
        """Return the input whose results fill this part of the output, and which file that was.

        None where the last record of that input does not say so any more.
        """
        name = self._holders.get(place)
        entry = None if name is None else self._entry(name)
        if name is None or entry is None or entry["record"].get("status") != "ok":
            return None
        return (name, _identity(entry)) if self._place_of(entry["record"]) == place else None

    def names(self) -> tuple[str, ...]:
        """Return the inputs that have a record, in the order they first got one."""
        return tuple(self._places)

    def _entry(self, name: str) -> dict[str, Any] | None:
        offset = self._places.get(name)
        if offset is None:
            return None
        line, size = b"", _LINE_BYTES
        with as_output_error(f"the journal {self.path} cannot be read"):
            while b"\n" not in line:
                piece = os.pread(self._descriptor, size, offset + len(line))
                if not piece:  # somebody cut it meanwhile
                    return None
                line, size = line + piece, 2 * size
        return _parsed(line[: line.index(b"\n")])

    def _scan(self) -> tuple[int, bool]:
        """Note where each input's line begins; return the file's length, and if its end is torn."""
        offset, line = 0, b"\n"
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            for line in file:
                if line.endswith(b"\n") and (entry := _parsed(line)) is not None:
                    self._places[entry["input"]] = offset
                    if (place := self._place_of(entry["record"])) is not None:
                        self._holders[place] = entry["input"]
                offset += len(line)
        return offset, not line.endswith(b"\n")

    def _write(self, content: bytes) -> None:
        unwritten = memoryview(content)
        while unwritten:
            unwritten = unwritten[os.write(self._descriptor, unwritten) :]
        sync_file(self._descriptor)


def journal_path(output: Path) -> Path:
    """Return where the journal of `output` lies: in it, where that is a folder, else beside it.

    Of a symbolic link that is where the output really is.
    """
    place = Path(os.path.realpath(output))  # unlike resolve(), no error for a loop of links
    if place.is_dir():
        return place / "vmm.journal.jsonl"
    return place.with_name(place.name + ".journal.jsonl")


def fingerprint(schema: str, options: Mapping[str, object], model_digest: str | None) -> str:
    """Return a digest, in hex, of what a record depends on besides its file.

    `options` holds JSON types. The order of keys does not matter.
    """
    whole = [READING_REVISION, schema, options, model_digest]
    parts = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(parts.encode("ascii")).hexdigest()


def _open_for_appending(path: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        descriptor = os.open(path, flags | os.O_CREAT, 0o666)
    try:
        sync_folder(path.parent)  # the new name, too, survives a power cut
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _adopt(output: Path, journal: Path) -> None:
    """Give an output that is a hard link the journal of the file it is.

    Writing the results parts the two, so each has a journal of its own from here on.
    """
    if journal.exists() or not output.is_file() or output.stat().st_nlink < 2:
        return
    known_as = output.stat()
    with os.scandir(journal.parent) as listing:
        names = sorted(entry.name for entry in listing if entry.inode() == known_as.st_ino)
    for name in names:
        other = journal.with_name(name)
        theirs = journal_path(other)
        if other.samefile(output) and theirs.is_file():
            copied = journal.with_name(f"{journal.name}.copying")
            shutil.copyfile(theirs, copied)
            copied.replace(journal)
            return


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


def _identity(entry: Mapping[str, Any]) -> FileIdentity | None:
    try:
        return FileIdentity.from_dict(entry["identity"] or {})
    except ValueError:
        return None


@contextmanager
def as_output_error(what: str) -> Iterator[None]:
    """Have an OSError be an OutputError that says what cannot be done."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{what}: {error.strerror}") from None
