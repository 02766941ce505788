"""Where the results of a command over many inputs go: stdout, a file, or a file for each input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TextIO

from vmm_cli import errors
from vmm_cli.batch.inputs import Discovery, refuse_collisions
from vmm_cli.batch.journal import journal_path
from vmm_cli.batch.lock import lock_path
from vmm_cli.cli import console
from vmm_cli.cli.options import SharedOptions
from vmm_cli.files import make_folder, require_folder
from vmm_cli.output.formats import Format, Record, RecordWriter, Shown
from vmm_cli.output.owned import (
    ADVICE,
    NOTES_FILE,
    Written,
    foreign,
    noted_file,
    refuse_foreign,
    refuse_foreign_lock,
)

RESULTS = "results"  # what a journal calls the file that it lies beside, whatever links lead to it


@dataclass(frozen=True)
class Writers:
    """The formats that a command's records can be written in, and how they are shown."""

    formats: Mapping[str, Format]
    shown: Shown

    @property
    def single(self) -> tuple[str, ...]:
        """Those of which a text holds one input."""
        return tuple(name for name, one in self.formats.items() if one.one_input)

    @property
    def own(self) -> tuple[str, ...]:
        """Those of which a folder holds a file for each input."""
        return tuple(name for name, one in self.formats.items() if one.one_input or one.own_files)

    def choose(self, wanted: str | None, file: Path | None) -> str:
        """Return the name of the format to write.

        `wanted` if given; for a file by its suffix; else a table on a terminal and jsonl elsewhere.
        UsageError for a suffix that none of them has.
        """
        if wanted is not None:
            return wanted
        if file is None:
            return "table" if console.stdout_is_terminal() else "jsonl"
        names = (name for name, one in self.formats.items() if file.suffix.lower() in one.suffixes)
        if (name := next(names, None)) is None:
            listed = "|".join(sorted(self.formats, key=self.single.__contains__))
            raise errors.UsageError(
                f"{file}: the format is not clear from its suffix; give --format {listed}"
            )
        return name

    def begin(self, name: str, stream: TextIO) -> RecordWriter:
        """Return a writer to a stream."""
        return self.formats[name].begin(stream, self.shown)

    def to_stdout(self, name: str) -> RecordWriter:
        """Return a writer to standard output."""
        return self.begin(name, console.stdout(data=name != "table"))


def write_all(writer: RecordWriter, records: Iterable[Record]) -> None:
    """Write records and what must come last."""
    for record in records:
        writer.write(record)
    writer.close()


@dataclass(frozen=True)
class Destination:
    """Where the results go: with neither `file` nor `files`, to stdout.

    Attributes:
        format: the name of their format.
        file: for the records of all inputs.
        files: for the record of each input, by the input's name.
        sources: the inputs themselves, by name, where the files are in a folder.
        folder: what must be there before the work.
        written: notes on what earlier runs wrote there; None for formats whose files say it.
        overwrite: whether files may be replaced that no run wrote.
    """

    format: str
    file: Path | None = None
    files: Mapping[str, Path] | None = None
    sources: Mapping[str, Path] = field(default_factory=dict)
    folder: Path | None = None
    written: Written | None = None
    overwrite: bool = False

    def name_of(self, file: Path) -> str:
        """Return what notes call one of the files."""
        return RESULTS if self.folder is None else file.relative_to(self.folder).as_posix()

    def note(self, file: Path, source: Path | None = None) -> Callable[[str], None] | None:
        """Return what notes the digest of one of the files, which is made of `source`."""
        if self.written is None:
            return None
        return partial(self.written.note, self.name_of(file), source=source)

    def foreign(self, file: Path, source: Path | None = None) -> str | None:
        """Return what is wrong with replacing one of the files by what is made of `source`."""
        return foreign(file, self.written, self.name_of(file), source)

    def refuse_what_came_meanwhile(self, file: Path, source: Path | None = None) -> None:
        """Raise OutputError where a file is there, at the end of the work, that no run wrote."""
        problem = None if self.overwrite else self.foreign(file, source)
        if problem is not None:
            raise errors.OutputError(f"{problem}; {ADVICE.format(option='-o')}")

    def write_file(self, writers: Writers, records: Iterable[Record]) -> None:
        """Write the one file, if that is where records go, while its lock is held."""
        if self.file is not None:
            self.refuse_what_came_meanwhile(self.file)
            with noted_file(self.file, self.note(self.file)) as stream:
                write_all(writers.begin(self.format, stream), records)

    def write_own_file(self, writers: Writers, record: Record) -> None:
        """Write the file of one input, whole or not at all; of a failed one none of ours is left.

        What is written is noted, so that another run knows what it may replace.
        """
        file = (self.files or {}).get(record["input"])
        if file is None:  # a name that leads nowhere
            return
        source = self.sources.get(record["input"])
        if record["status"] != "ok":
            if record["status"] == "failed" and self.foreign(file, source) is None:
                file.unlink(missing_ok=True)
            return
        make_folder(file.parent)
        self.refuse_what_came_meanwhile(file, source)
        with noted_file(file, self.note(file, source)) as stream:
            write_all(writers.begin(self.format, stream), [record])


def destination(
    shared: SharedOptions, discovery: Discovery, wanted: str | None, writers: Writers
) -> Destination:
    """Return where the results go of a command whose work fills no folder.

    In a format of which a text holds one input, -o is a file where one file is given as input or
    where its suffix is the format's, and a folder otherwise, or with a slash at its end. In one of
    which a text may, -o is a folder where there is one, or with that slash.

    Raises:
        UsageError: they cannot go there, or would take the place of what vmm did not write.
        OutputError: the folder of the file cannot be written to.
    """
    output, single = shared.output_path, writers.single
    count = len(discovery.order)
    is_folder = output is not None and (output.is_dir() or shared.output_is_folder)
    if is_folder and wanted not in writers.own:
        into = f", or give --format {'|'.join(writers.own)}" if writers.own else ""
        raise errors.UsageError(
            f"{shared.output}: is a folder; -o takes a file for the results{into}"
        )
    if output is not None and not is_folder:
        _check_file(output, discovery)
    name = writers.choose(wanted, output)
    if output is None:
        if name in single and count > 1:
            raise errors.UsageError(
                f"{name} holds one video, and there are {count}; give -o FOLDER for one file each"
            )
        return Destination(name)
    given = shared.inputs or []
    one_file = shared.files_from is None and len(given) == 1 and not discovery.any_folder
    for_one = one_file or output.suffix.lower() in writers.formats[name].suffixes
    if is_folder or (name in single and not for_one):
        return _files_in(output, name, discovery, overwrite=shared.overwrite)
    if name in single and count > 1:
        raise errors.UsageError(
            f"{output}: can hold one video, and there are {count}; name a folder, "
            f"with --format {name}"
        )
    require_folder(output)
    written = Written(journal_path(output))
    refuse_foreign_lock(lock_path(output))
    if not shared.overwrite:
        refuse_foreign(output, written, RESULTS)
    if name not in single:
        return Destination(name, file=output, written=written, overwrite=shared.overwrite)
    files = {item.name: output for item in discovery.inputs}
    return Destination(name, files=files, written=written, overwrite=shared.overwrite)


def _files_in(folder: Path, format: str, discovery: Discovery, *, overwrite: bool) -> Destination:
    """Return each input's file in `folder`: its own name with the format's suffix.

    UsageError where two would meet, or where one would take the place of a file that no earlier
    run wrote, beside videos their own subtitles have such names, or wrote of another input.
    """
    if folder.exists() and not folder.is_dir():
        raise errors.UsageError(
            f"{folder}: is not a folder; -o takes a folder, for one file per input"
        )
    renamed = [
        replace(item, output_name=str(Path(item.output_name).with_suffix(f".{format}")))
        for item in discovery.inputs
    ]
    refuse_collisions(renamed)
    files = {item.name: folder / item.output_name for item in renamed}
    written = Written(folder / NOTES_FILE)
    if not overwrite:
        for item in renamed:
            refuse_foreign(folder / item.output_name, written, item.output_name, item.path)
    return Destination(
        format,
        files=files,
        sources={item.name: item.path for item in renamed},
        folder=folder,
        written=written,
        overwrite=overwrite,
    )


def _check_file(file: Path, discovery: Discovery) -> None:
    if file.exists() and not file.is_file():
        raise errors.UsageError(f"{file}: is not a regular file; without -o results go to stdout")
    if discovery.is_output is not None:
        raise errors.UsageError(f"{file}: is an input; the results would overwrite it")
