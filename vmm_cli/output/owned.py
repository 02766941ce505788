"""Which files vmm wrote: only those are replaced without being asked.

Results are noted when they are written: a line of their name and digest, in the journal beside them
or in a file of the folder's, where many inputs have a file each with the input it was made of.
Documents and pictures without a note are known by what they hold.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from vmm_cli.errors import InputError, OutputError, UsageError
from vmm_cli.files import atomic_file
from vmm_cli.identity import file_identity
from vmm_cli.plain_file import UnreadableError, open_regular

_DOCUMENT_BYTES = 200
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_MARK = b"tEXtSoftware\0vmm"  # see `vmm_cli.output.png`
_HEAD_BYTES = 4096  # the mark of a picture stands right behind its header
_LOCK_BYTES = 32
_CHUNK_BYTES = 2**20
_NOTE = b'{"file": '

# Notes on what vmm wrote into a folder.
NOTES_FILE = "vmm.files.jsonl"
ADVICE = "give --overwrite to replace it, or choose another {option}"


def is_ours(path: Path) -> bool:
    """Tell whether a file holds what vmm alone writes, or nothing at all.

    UnreadableError where it cannot be read, or is no regular file.
    """
    with open_regular(path) as (file, _):
        head = file.read(_HEAD_BYTES)
    if head.startswith(_PNG_SIGNATURE):
        return _PNG_MARK in head
    return not head or (head.startswith(b"{\n") and b'"schema": "vmm.' in head[:_DOCUMENT_BYTES])


class Written:
    """What earlier runs noted that they wrote, in a file of notes, by name and digest.

    Other lines of the file, of a journal, are passed over. A note without a digest, of an earlier
    version, stands for whatever the file holds.

    digest: what digests were made by.
    """

    def __init__(self, notes: Path, digest: Callable[[Path], str] | None = None) -> None:
        self._notes = notes
        self._digest_of = digest_of if digest is None else digest
        self._digests: dict[str, set[str | None]] = {}
        self._sources: dict[str, str | None] = {}  # of the last note of a name
        with suppress(OSError), notes.open("rb") as lines:
            for line in lines:
                if line.startswith((_NOTE, b'"')):
                    with suppress(ValueError):  # the last one of a run that was killed
                        self._add(json.loads(line))

    def _add(self, note: Any) -> None:
        if isinstance(note, str):
            self._digests.setdefault(note, set()).add(None)
        elif isinstance(note, dict):
            name, source = str(note["file"]), note.get("input")
            self._digests.setdefault(name, set()).add(note.get("sha256"))
            self._sources[name] = source if isinstance(source, str) else None

    def note(self, name: str, digest: str, source: Path | None = None) -> None:
        """Note what is about to be written, see `add_note`, unless the last note says the same."""
        told = None if source is None else str(source.absolute())
        if digest in self._digests.get(name, ()) and self._sources.get(name) == told:
            return
        add_note(self._notes, name, digest, source)
        self._digests.setdefault(name, set()).add(digest)
        self._sources[name] = told

    def is_noted(self, name: str) -> bool:
        """Tell whether any run wrote a file of this name."""
        return name in self._digests

    def is_own(self, path: Path, name: str) -> bool:
        """Tell whether a file holds what a run wrote, or nothing; errors as of `is_ours`."""
        known = self._digests.get(name)
        if known is None:
            return is_ours(path)
        return None in known or path.stat().st_size == 0 or self._digest_of(path) in known

    def other_source(self, name: str, source: Path) -> str | None:
        """Return the input that a file was made of, where that is another one and still there.

        A library that was moved is still the same: its inputs are gone from where they were.
        """
        earlier = self._sources.get(name)
        if earlier is None:
            return None
        try:
            return None if source.samefile(earlier) else earlier
        except (OSError, ValueError):
            return None


def add_note(notes: Path, name: str, digest: str, source: Path | None = None) -> None:
    """Note in a file of notes what is about to be written: name, digest, and what it is made of.

    Processes may do so at once. OutputError where it is not possible.
    """
    note = {"file": name, "sha256": digest}
    if source is not None:
        note["input"] = str(source.absolute())
    line = json.dumps(note).encode("ascii") + b"\n"
    try:
        with notes.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = (b"" if file.read(1) == b"\n" else b"\n") + line  # a torn line
            file.write(line)
    except OSError as error:
        raise OutputError(f"{notes}: cannot be written: {error.strerror}") from error


def foreign(
    path: Path,
    written: Written | None = None,
    name: str | None = None,
    source: Path | None = None,
) -> str | None:
    """Return what is wrong with replacing a file, or None where it is not there or is ours.

    `written`: notes on files such as this one; `name`: what they call it, else by its own name;
    `source`: the input that its content is to be made of, where each has a file of its own.
    """
    name = path.name if name is None else name
    if not os.path.lexists(path):
        return None
    try:
        if written is None or not written.is_noted(name):
            return None if is_ours(path) else f"{path}: is there, and no earlier run wrote it"
        if not written.is_own(path, name):
            return f"{path}: was changed since vmm wrote it"
        other = None if source is None else written.other_source(name, source)
        return None if other is None else f"{path}: belongs to {other}, not to {source}"
    except (UnreadableError, OSError) as error:
        if not path.exists():  # a link to what is not there yet, or gone meanwhile
            return None
        return f"{path}: is there, and {error}"


def refuse_foreign(
    path: Path,
    written: Written | None = None,
    name: str | None = None,
    source: Path | None = None,
    option: str = "-o",
) -> None:
    """Raise UsageError where a file is there that vmm may not replace: see `foreign`."""
    problem = foreign(path, written, name, source)
    if problem is not None:
        raise UsageError(f"{problem}; {ADVICE.format(option=option)}")


def refuse_foreign_lock(lock: Path) -> None:
    """Raise UsageError where a file has the name of an output's lock and is none: `uv.lock`, say.

    A lock holds the number of the process that made it, and is removed in the end.
    """
    if not lock.is_file():
        return
    try:
        with lock.open("rb") as file:
            content = file.read(_LOCK_BYTES)
    except OSError:
        return  # taking the lock says what is wrong
    if content.strip() and not content.strip().isdigit():
        raise UsageError(f"{lock}: is there and is no lock of vmm's; choose another -o")


@contextmanager
def noted_file(path: Path, note: Callable[[str], None] | None) -> Iterator[TextIO]:
    """Yield a file as `atomic_file` does; `note` hears its digest before it takes its place."""
    with atomic_file(path) as file:
        yield file
        if note is not None:
            file.flush()
            note(_digest(file.fileno()))


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, hex. UnreadableError: see `is_ours`."""
    with open_regular(path) as (file, _):
        return _digest(file.fileno())


def sampled_digest(path: Path) -> str:
    """Return a SHA-256 of a large file's size and some of it. UnreadableError: see `is_ours`."""
    try:
        return file_identity(path).content
    except InputError as error:
        raise UnreadableError(str(error)) from None


def _digest(descriptor: int) -> str:
    digest = hashlib.sha256()
    offset = 0
    while part := os.pread(descriptor, _CHUNK_BYTES, offset):
        digest.update(part)
        offset += len(part)
    return digest.hexdigest()
