"""What lies under the files and folders that a user names, looked at from a thread of its own.

A disk that does not answer keeps whoever asks it waiting, and no limit ends that. So the parent
waits for a thread instead, and leaves it where it is when nothing has come from it for a while.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

# A disk that sleeps takes some ten seconds to start.
ANSWER_LIMIT_S = 30.0

Kind = Literal["missing", "folder", "file"]
IsKind = Callable[[Path], bool]


@dataclass(slots=True)
class Looked:
    """What was found at one argument.

    Attributes:
        place: the argument as it is spelled on disk.
        kind: a file where nothing may be looked at, or nothing answers: its record says so.
        found: the files in a folder, relative to it; of a file, the argument where it is the first
            of its name.
        closed: folders that may not be listed; silent: what did not answer, and hid what follows.
        is_output: the one of `found` that is the file the results go to.
        passed_over: how many files only a later kind knows, beside those that an earlier one does.
    """

    argument: str
    place: str = ""
    kind: Kind = "file"
    found: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    is_output: str | None = None
    passed_over: int = 0


def look_at(
    arguments: Sequence[str], kinds: Sequence[IsKind], output: os.stat_result | None
) -> Iterator[Looked]:
    """Yield what is at each argument, in order.

    A folder is searched for regular files that the first of `kinds` knows, and where it holds none
    for those that the next one knows; what is hidden is left out. Each real folder and each real
    file counts once.
    """
    seen: set[str] = set()
    waiting = deque(arguments)
    while waiting:
        looker = _Looker(tuple(waiting), set(seen), kinds, output)
        thread = threading.Thread(target=looker.run, daemon=True)
        thread.start()
        done = _wait_for(thread, looker)
        if looker.error is not None:
            raise looker.error
        results = list(looker.results)
        if not done:
            # Its thread may go on some day: what it adds then is its own.
            results.append(looker.given_up())
        for looked in results:
            waiting.popleft()
            yield looked
        seen = set(looker.seen)


def _wait_for(thread: threading.Thread, looker: _Looker) -> bool:
    """Return True once it has ended, False where it has not got on for a while."""
    while True:
        before = looker.steps
        thread.join(ANSWER_LIMIT_S)
        if not thread.is_alive():
            return True
        if looker.steps == before:
            return False


class _Looker:
    """Looks at arguments one after the other; says at what it is, and counts its steps."""

    def __init__(
        self,
        arguments: Sequence[str],
        seen: set[str],
        kinds: Sequence[IsKind],
        output: os.stat_result | None,
    ) -> None:
        self.results: list[Looked] = []
        self.error: BaseException | None = None
        self.steps = 0
        self.seen = seen
        self._at = ""
        self._now = Looked("")
        self._arguments = arguments
        self._kinds = kinds
        self._output = output

    def run(self) -> None:
        """Look at everything."""
        try:
            for argument in self._arguments:
                self._now = Looked(argument, argument)
                self._look()
                self.results.append(self._now)
        except BaseException as error:  # raised again where it is waited for
            self.error = error

    def given_up(self) -> Looked:
        """Return what there is of the argument it is at, which does not answer."""
        now = self._now
        if now.kind == "folder":
            found = [*now.found]
            return Looked(now.argument, now.place, "folder", found, [*now.closed], [self._at])
        return Looked(now.argument, now.place, "file", [now.argument])

    def _look(self) -> None:
        now = self._now
        try:
            self._step(now.argument)
            now.place = as_on_disk(now.argument)
            status = os.stat(now.place)  # noqa: PTH116 - an empty name is no "."
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: NUL in the name
            now.kind = "missing"
            return
        except OSError:  # a link to itself, no permission to look: its record says so
            status = None
        if status is not None and stat.S_ISDIR(status.st_mode):
            now.kind = "folder"
            self._search()
            now.found.sort(key=lambda relative: relative.split("/"))
            now.closed.sort()
        elif self._first_time(now.place):
            now.found.append(now.argument)
            if status is not None:
                self._note_output(now.argument, status)

    def _search(self) -> None:
        now = self._now
        wanted, *others = self._kinds
        left_over: list[tuple[str, os.stat_result]] = []
        for relative, status in self._walk(now.place):
            if wanted(Path(now.place, relative)):
                self._take(relative, status)
            elif others:
                left_over.append((relative, status))
        for wanted in others:
            known = [one for one in left_over if wanted(Path(now.place, one[0]))]
            if now.found:
                now.passed_over += len(known)
                continue
            for relative, status in known:
                self._take(relative, status)

    def _take(self, relative: str, status: os.stat_result) -> None:
        if self._first_time(os.path.join(self._now.place, relative)):  # noqa: PTH118
            self._now.found.append(relative)
            self._note_output(relative, status)

    def _step(self, path: str) -> str:
        self._at = path
        self.steps += 1
        return path

    def _note_output(self, name: str, status: os.stat_result) -> None:
        if self._output is not None and os.path.samestat(status, self._output):
            self._now.is_output = name

    def _first_time(self, path: str) -> bool:
        real = os.path.realpath(path)
        if real in self.seen:
            return False
        self.seen.add(real)
        return True

    def _walk(self, folder: str) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the regular files in a folder that are not hidden, by paths relative to it.

        What is reached without links comes first, so that a file is called by its own name rather
        than by a link's. Each real folder is entered once, which ends loops of links.
        """
        folders, links = deque([""]), deque[str]()
        entered: set[tuple[int, int]] = set()
        while folders or links:
            relative = folders.popleft() if folders else links.popleft()
            path = os.path.join(folder, relative) if relative else folder  # noqa: PTH118
            try:
                status = os.stat(self._step(path))  # noqa: PTH116
                if stat.S_ISREG(status.st_mode):
                    yield relative, status
                    continue
                place = (status.st_dev, status.st_ino)
                if not stat.S_ISDIR(status.st_mode) or place in entered:
                    continue
                entered.add(place)
                with os.scandir(path) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except (FileNotFoundError, NotADirectoryError):  # a dangling link, or gone meanwhile
                continue
            except OSError as error:
                if error.errno != errno.ELOOP:
                    self._now.closed.append(path)
                continue
            for entry in entries:
                if not entry.name.startswith("."):
                    inner = f"{relative}/{entry.name}" if relative else entry.name
                    (links if entry.is_symlink() else folders).append(inner)


def as_on_disk(path: str) -> str:
    """Return a path in the spelling that exists, where only the composition of accents differs.

    macOS writes names decomposed (NFD), nearly everything else composed (NFC); other file systems
    than macOS's tell the two apart. A path that exists in neither spelling is returned as it is.
    """
    if path.isascii() or os.path.lexists(path):
        return path
    found = "/" if path.startswith("/") else ""
    for part in path.split("/"):
        spellings = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
        paths = [os.path.join(found, spelling) for spelling in spellings]  # noqa: PTH118
        found = next((p for p in paths if os.path.lexists(p)), paths[0])
    return found if os.path.lexists(found) else path
