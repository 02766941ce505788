"""What of a file's own claims has turned out to be wrong, remembered while the process lives."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from vmm_cli.media.source import check_regular_file

Claim = Literal["marks", "times", "whole"]
FileKey = tuple[str, int, int]
Value = TypeVar("Value")

MAX_REMEMBERED = 256  # files; a worker reads one after the other, each a few times


@dataclass(frozen=True, slots=True)
class Trust:
    """Which claims of a container are believed.

    marks: where its keyframes are; else it is read from the start. times: when its pictures are
    shown; else they are timed by the order in which they are decoded. whole: that there are
    pictures that need no others, of which one is the first to be shown; else the very first is.
    """

    marks: bool = True
    times: bool = True
    whole: bool = True


class Distrust(Exception):
    """A claim of the container does not hold."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(claim)
        self.claim = claim


_checked: OrderedDict[FileKey, None] = OrderedDict()
_remembered: OrderedDict[FileKey, Trust] = OrderedDict()


def file_key(path: Path) -> FileKey:
    """Return what tells a file from another one and from itself once it has changed.

    Raises:
        InputError: as `check_regular_file`.
    """
    status = check_regular_file(path)
    return str(path), status.st_size, status.st_mtime_ns


def trust_in(path: Path) -> Trust:
    """Return what is believed of a file."""
    return _remembered.get(file_key(path), Trust())


def distrust(path: Path, claim: Claim) -> Trust:
    """Remember that a claim of a file does not hold, and return what is believed of it now."""
    changes: dict[str, bool] = {claim: False}
    trust = replace(trust_in(path), **changes)
    remember(_remembered, file_key(path), trust)
    return trust


def remember(memory: OrderedDict[FileKey, Value], key: FileKey, value: Value) -> None:
    """Remember something of a file, and forget that of the file that was looked at first."""
    memory[key] = value
    while len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)


def was_checked(path: Path) -> bool:
    """Return True if the times of a file's pictures were found to be right."""
    return file_key(path) in _checked


def mark_checked(path: Path) -> None:
    """Remember that the times of a file's pictures were found to be right."""
    remember(_checked, file_key(path), None)
