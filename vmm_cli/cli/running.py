"""What every command over many inputs does: find them, work, say how it goes, write the results."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from vmm_cli import errors
from vmm_cli.batch.capacity import default_workers
from vmm_cli.batch.execute import Work, execute
from vmm_cli.batch.inputs import Discovery, discover, refuse_collisions, require_inputs
from vmm_cli.cli import console
from vmm_cli.cli.failure import failure_text
from vmm_cli.output.atomic_file import atomic_file, make_folder

if TYPE_CHECKING:
    from vmm_cli.cli.options import SharedOptions

EXIT_DONE = 0
EXIT_SOME_FAILED = 3
EXIT_INTERRUPTED = 130

# Which files a run wrote into the folder that -o named, where each input has one of its own.
WRITTEN_FILE = "vmm.files.jsonl"

SUFFIX_FORMATS = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".srt": "srt",
    ".vtt": "vtt",
}

Record = Mapping[str, Any]


class RecordWriter(Protocol):
    """Writes records in one format: see the modules of `vmm_cli.output`."""

    def write(self, record: Record, /) -> None:
        """Write one record, or keep it until `close`."""

    def close(self) -> None:
        """Write what must come last."""


Formats = Mapping[str, Callable[[TextIO], RecordWriter]]
NO_FORMATS: Formats = {}


def run_batch(
    shared: SharedOptions,
    *,
    schema: str,
    request: Any,
    options: Mapping[str, object],
    work: Work,
    work_memory_bytes: int,
    formats: Formats,
    wanted_format: str | None,
    single_formats: Formats = NO_FORMATS,
    output_folder: bool = False,
    writes_files: bool = False,
    takes_sound: bool = False,
    model_digest: str | None = None,
    on_record: Callable[[Record], None] = lambda record: None,
) -> int:
    """Do `work` for every input and write the records; return the exit code.

    `options`: what a record depends on besides its file and its model, as JSON types; an earlier
    record counts only where they are the same. `work_memory_bytes`: what one worker takes.
    `formats`: a writer for each format the command has; `single_formats`: and for each of which a
    text holds one input alone. `output_folder`: -o is a folder that the work itself fills, each
    input under its own name, and the records go to stdout; otherwise -o is the file that the
    records go to, or a folder for a file of each input where the format is one of
    `single_formats`. `writes_files`: the work writes files under the inputs' names elsewhere.
    `takes_sound`: where folders hold no video, their files of sound are the inputs.
    `on_record` hears of each record before it is written.

    Raises:
        UsageError, NoInputError, OutputError, LockedError: nothing was worked on.
    """
    discovery = _find_inputs(shared, takes_sound=takes_sound)
    if output_folder or writes_files:
        refuse_collisions(discovery.inputs)
    known = {**formats, **single_formats}
    if output_folder:
        place = _Destination(choose_format(wanted_format, None, known), folder=shared.output)
    else:
        place = _destination(shared, discovery, wanted_format, formats, single_formats)
    to_stdout = output_folder or shared.output is None
    if shared.dry_run:
        name = place.format if to_stdout and place.format in formats else None
        return _plan(discovery, schema, _to_stdout(formats, name))
    if place.folder is not None:
        make_folder(place.folder)

    streams = to_stdout and place.format != "table"
    writer: RecordWriter | None = None
    if place.files is not None:
        writer = _FilePerInput(known[place.format], place.files, place.folder)
    elif streams:
        writer = _to_stdout(known, place.format)
    run = _Results(writer, on_record)
    _listen_to_logging()
    try:
        with console.progress(shown=not (streams and console.stdout_is_terminal())) as bar:
            for name in discovery.unreadable:
                run.take(_failed(schema, name, "unreadable", "the folder may not be listed"))
            summary = execute(
                discovery.inputs,
                discovery.missing,
                work,
                request,
                schema=schema,
                options=options,
                model_digest=model_digest,
                output=shared.output,
                resume=not shared.no_resume,
                jobs=shared.jobs or default_workers(work_memory_bytes),
                timeout_s=None if shared.timeout is None else float(shared.timeout),
                max_pixels=shared.max_pixels,
                on_record=run.take,
                on_progress=bar.update,
                on_traceback=console.details,
            )
    except KeyboardInterrupt:
        if place.file is None:
            _end_run(run, known, place.format, discovery)
        hint = "; run the same again to go on" if shared.output is not None else ""
        console.error(f"interrupted{hint}")
        return EXIT_INTERRUPTED
    if place.file is None:
        _end_run(run, known, place.format, discovery)
    else:
        with atomic_file(place.file) as stream:
            _write_all(known[place.format](stream), _in_order(run.records, discovery))
    console.info(
        f"{summary.done} done ({summary.resumed} of them by an earlier run), {run.failed} failed"
    )
    return EXIT_SOME_FAILED if run.failed else EXIT_DONE


def choose_format(wanted: str | None, file: Path | None, formats: Iterable[str]) -> str:
    """Return the name of the format to write.

    `wanted` if given; for a file by its suffix; else a table on a terminal and jsonl elsewhere.
    UsageError for a suffix that names none of `formats`.
    """
    if wanted is not None:
        return wanted
    if file is None:
        return "table" if console.stdout_is_terminal() else "jsonl"
    name = SUFFIX_FORMATS.get(file.suffix.lower())
    if name is None or name not in formats:
        raise errors.UsageError(
            f"{file}: its suffix names no format; give --format {'|'.join(formats)}"
        )
    return name


@dataclass(frozen=True)
class _Destination:
    """Where the results go: with neither `file` nor `files`, to stdout.

    Attributes:
        format: the name of their format.
        file: for the records of all inputs.
        files: for the record of each input, by the input's name.
        folder: what must be there before the work.
    """

    format: str
    file: Path | None = None
    files: Mapping[str, Path] | None = None
    folder: Path | None = None


def _destination(
    shared: SharedOptions,
    discovery: Discovery,
    wanted: str | None,
    formats: Formats,
    single_formats: Formats,
) -> _Destination:
    """Return where the results go of a command whose work fills no folder.

    In a format of which a text holds one input, -o is a file where one file is given as input or
    where its suffix is the format's, and a folder otherwise.
    """
    output = shared.output
    count = len(discovery.inputs) + len(discovery.missing) + len(discovery.unreadable)
    is_folder = output is not None and output.is_dir()
    if is_folder and wanted not in single_formats:
        into = f", or give --format {'|'.join(single_formats)}" if single_formats else ""
        raise errors.UsageError(f"{output}: is a folder; -o names the file for the results{into}")
    if output is not None and not is_folder:
        _check_output_file(output, discovery)
    name = choose_format(wanted, output, (*formats, *single_formats))
    if output is None:
        if name in single_formats and count > 1:
            raise errors.UsageError(
                f"{name} is for one video, and there are {count}; give -o FOLDER for a file each"
            )
        return _Destination(name)
    if name not in single_formats:
        return _Destination(name, file=output)
    given = shared.inputs or []
    one_file = shared.files_from is None and len(given) == 1 and not Path(given[0]).is_dir()
    if not is_folder and (one_file or SUFFIX_FORMATS.get(output.suffix.lower()) == name):
        if count > 1:
            raise errors.UsageError(
                f"{output}: would hold one video, and there are {count}; name a folder, "
                f"with --format {name}"
            )
        return _Destination(name, files={item.name: output for item in discovery.inputs})
    return _Destination(name, files=_files_in(output, name, discovery), folder=output)


def _files_in(folder: Path, format: str, discovery: Discovery) -> dict[str, Path]:
    """Return each input's file in `folder`: its own name with the format's suffix.

    UsageError where two would meet, or where one would take the place of a file that no earlier
    run wrote: beside videos, their own subtitles have such names.
    """
    if folder.exists() and not folder.is_dir():
        raise errors.UsageError(f"{folder}: is no folder; -o names one, for a file of each input")
    renamed = [
        replace(item, output_name=str(Path(item.output_name).with_suffix(f".{format}")))
        for item in discovery.inputs
    ]
    refuse_collisions(renamed)
    files = {item.name: folder / item.output_name for item in renamed}
    written = _written(folder)
    for item in renamed:
        if item.output_name not in written and os.path.lexists(folder / item.output_name):
            raise errors.UsageError(
                f"{folder / item.output_name}: is there, and no earlier run wrote it; move it "
                "away, or choose another -o"
            )
    return files


def _written(folder: Path) -> set[str]:
    """Return the files that earlier runs wrote into `folder`, as `_FilePerInput` noted them."""
    try:
        lines = (folder / WRITTEN_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    names = set()
    for line in lines:
        with suppress(ValueError):  # the last one of a run that was killed
            names.add(str(json.loads(line)))
    return names


def _note(path: Path, name: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as notes:
            notes.write(json.dumps(name) + "\n")
    except OSError as error:
        raise errors.OutputError(f"{path}: cannot be written: {error.strerror}") from error


class _FilePerInput:
    """Writes the record of each input that was done to that input's own file.

    What is written into a folder is noted there, so that another run knows what it may replace.
    """

    def __init__(
        self,
        begin: Callable[[TextIO], RecordWriter],
        files: Mapping[str, Path],
        folder: Path | None,
    ) -> None:
        self._begin = begin
        self._files = files
        self._folder = folder

    def write(self, record: Record) -> None:
        """Write one file, whole or not at all; of a failed input none is left."""
        file = self._files.get(record["input"])
        if file is None:  # a name that leads nowhere
            return
        if record["status"] != "ok":
            if record["status"] == "failed":
                file.unlink(missing_ok=True)
            return
        make_folder(file.parent)
        if self._folder is not None:
            _note(self._folder / WRITTEN_FILE, file.relative_to(self._folder).as_posix())
        with atomic_file(file) as stream:
            _write_all(self._begin(stream), [record])

    def close(self) -> None:
        """Do nothing: every file is whole already."""


class _Results:
    """Takes records as they come: says which failed, and writes or keeps them."""

    def __init__(
        self,
        writer: RecordWriter | None,
        on_record: Callable[[Record], None] = lambda record: None,
    ) -> None:
        self.writer = writer
        self.on_record = on_record
        self.records: dict[str, Record] = {}  # by input; kept only where there is no writer
        self.failed = 0

    def take(self, record: Record) -> None:
        """Take one record."""
        if record["status"] == "failed":
            self.failed += 1
            console.failure(f"{record['input']}: {failure_text(record)}")
        else:
            console.info(f"{record['input']}: {record['status']}")
        self.on_record(record)
        if self.writer is None:
            self.records[record["input"]] = record
        else:
            self.writer.write(record)


def _find_inputs(shared: SharedOptions, *, takes_sound: bool) -> Discovery:
    arguments = list(shared.inputs or ())
    if not arguments and shared.files_from is None:
        raise errors.UsageError(
            "no INPUT is given; name files or folders, or a list of them with --files-from"
        )
    if shared.null and shared.files_from is None:
        raise errors.UsageError("-0 says how the list of --files-from is written; none is given")
    discovery = discover(arguments, files_from=shared.files_from, nul=shared.null)
    if takes_sound:
        discovery = replace(discovery, inputs=discovery.inputs or discovery.sounds)
    require_inputs(discovery, arguments)
    return discovery


def _check_output_file(file: Path, discovery: Discovery) -> None:
    if file.exists() and not file.is_file():
        raise errors.UsageError(f"{file}: is not a regular file; without -o results go to stdout")
    for item in discovery.inputs:
        if file.exists() and item.path.exists() and file.samefile(item.path):
            raise errors.UsageError(f"{file}: is an input; the results would take its place")


def _to_stdout(formats: Formats, name: str | None) -> RecordWriter:
    name = name or choose_format(None, None, formats)
    return formats[name](console.stdout(data=name != "table"))


def _plan(discovery: Discovery, schema: str, writer: RecordWriter) -> int:
    """Write which inputs would be worked on."""
    run = _Results(writer)
    for item in discovery.inputs:
        run.take({"schema": schema, "input": item.name, "status": "planned"})
    for name in discovery.missing:
        run.take(_failed(schema, name, "missing", "no such file or folder"))
    for name in discovery.unreadable:
        run.take(_failed(schema, name, "unreadable", "the folder may not be listed"))
    writer.close()
    return EXIT_SOME_FAILED if run.failed else EXIT_DONE


def _failed(schema: str, name: str, code: str, message: str) -> Record:
    error = {"code": code, "message": message}
    return {"schema": schema, "input": name, "status": "failed", "error": error}


def _in_order(records: Mapping[str, Record], discovery: Discovery) -> Sequence[Record]:
    """Return the records in the order of the inputs, whichever was done first."""
    names = (*(item.name for item in discovery.inputs), *discovery.missing, *discovery.unreadable)
    return [records[name] for name in names if name in records]


def _end_run(run: _Results, formats: Formats, name: str, discovery: Discovery) -> None:
    """Write what must come last; for a table that is all of it, in the order of the inputs."""
    if run.writer is not None:
        run.writer.close()
    else:
        _write_all(_to_stdout(formats, name), _in_order(run.records, discovery))


def _write_all(writer: RecordWriter, records: Iterable[Record]) -> None:
    for record in records:
        writer.write(record)
    writer.close()


class _ToConsole(logging.Handler):
    """What the rooms below log is said with -v."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say one message."""
        say = console.warning if record.levelno >= logging.WARNING else console.info
        say(record.getMessage())


def _listen_to_logging() -> None:
    logger = logging.getLogger("vmm_cli")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [_ToConsole()]
