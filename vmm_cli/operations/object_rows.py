"""The objects of each video in a file of their own, and not in its record: `--rows`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm_cli.errors import InputError, OutputError
from vmm_cli.files import make_folder
from vmm_cli.output.jsonl import encode
from vmm_cli.output.owned import (
    ADVICE,
    NOTES_FILE,
    Written,
    add_note,
    foreign,
    noted_file,
    refuse_foreign,
)
from vmm_cli.output.rows import Record

if TYPE_CHECKING:
    from vmm_cli.batch.inputs import Input

OPTION, FIELD, SUFFIX = "--rows", "rows", ".objects.jsonl"
OBJECTS = "objects"  # the record's field that the file takes the place of


@dataclass(frozen=True)
class ObjectRows:
    """Writes the objects of each record into a folder: see `vmm_cli.batch.work.Beside`.

    A line for each, so that neither record nor memory grow with them.

    Attributes:
        folder: where the files go.
        overwrite: whether a file of such a name may be replaced that vmm did not write, or wrote
            of another input.
    """

    folder: Path
    overwrite: bool = False
    what: str = FIELD

    def name(self, input: Input) -> str:
        """Return what the file of an input is called in the folder."""
        return f"{input.output_name}{SUFFIX}"

    def refuse_foreign(self, inputs: Sequence[Input]) -> None:
        """Raise UsageError where one would replace what vmm did not write of its input."""
        if self.overwrite:
            return
        written = Written(self.folder / NOTES_FILE)
        for input in inputs:
            name = self.name(input)
            refuse_foreign(self.folder / name, written, name, input.path, option=OPTION)

    def is_kept(self, input: Input) -> bool:
        """Tell whether the file of an earlier run is still there."""
        return (self.folder / self.name(input)).is_file()

    def knows(self) -> Callable[[Path], bool]:
        """Return what tells which videos vmm wrote: none of them is a text."""
        return lambda path: False

    def make(self, input: Input, job: Any, record: dict[str, Any]) -> None:
        """Write a record's objects, and have it say where and how many.

        Raises:
            InputError: something else stands there.
            OutputError: the file cannot be written.
        """
        name, notes = self.name(input), self.folder / NOTES_FILE
        target = self.folder / name
        # Again, for it may have come meanwhile.
        if not self.overwrite and target.exists():
            problem = foreign(target, Written(notes), name, input.path)
            if problem is not None:
                raise InputError("output", f"{problem}; {ADVICE.format(option=OPTION)}")
        make_folder(target.parent)
        objects = record.pop(OBJECTS)
        with noted_file(target, lambda digest: add_note(notes, name, digest, input.path)) as file:
            for one in objects:
                file.write(encode(one) + "\n")
        record[FIELD] = {"file": name, "count": len(objects)}


def objects_of(folder: Path | None) -> Callable[[Record], Iterable[Record]]:
    """Return what gives the objects of a record: its own, or those of its file in `folder`.

    OutputError where that is not as it was written.
    """

    def objects(record: Record) -> Iterable[Record]:
        return record[OBJECTS] if folder is None else _read(folder, record[FIELD])

    return objects


def _read(folder: Path, rows: Record) -> Iterator[Record]:
    path, number = folder / rows["file"], 0
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
                number += 1
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: {error}; {_AGAIN}") from None
    if number != rows["count"]:
        raise OutputError(f"{path}: has {number} rows of {rows['count']}; {_AGAIN}")


_AGAIN = "remove it, and run the same again"
