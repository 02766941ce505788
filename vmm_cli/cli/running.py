"""What every command over many inputs does: find them, work, say how it goes, write the results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from vmm_cli import errors
from vmm_cli.batch.capacity import default_workers
from vmm_cli.batch.execute import Work, execute
from vmm_cli.batch.inputs import Discovery, discover, refuse_collisions, require_inputs
from vmm_cli.cli import console
from vmm_cli.output.atomic_file import atomic_file

if TYPE_CHECKING:
    from vmm_cli.cli.options import SharedOptions

EXIT_DONE = 0
EXIT_SOME_FAILED = 3
EXIT_INTERRUPTED = 130

SUFFIX_FORMATS = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}

Record = Mapping[str, Any]


class RecordWriter(Protocol):
    """Writes records in one format: see the modules of `vmm_cli.output`."""

    def write(self, record: Record, /) -> None:
        """Write one record, or keep it until `close`."""

    def close(self) -> None:
        """Write what must come last."""


Formats = Mapping[str, Callable[[TextIO], RecordWriter]]


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
    output_folder: bool = False,
    writes_files: bool = False,
    model_digest: str | None = None,
) -> int:
    """Do `work` for every input and write the records; return the exit code.

    `options`: what a record depends on besides its file and its model, as JSON types; an earlier
    record counts only where they are the same. `work_memory_bytes`: what one worker takes.
    `formats`: a writer for each format the command has. `output_folder`: -o is a folder that the
    work itself fills, each input under its own name, and the records go to stdout; otherwise -o
    is the file that the records go to. `writes_files`: the work writes files under the inputs'
    names elsewhere.

    Raises:
        UsageError, NoInputError, OutputError, LockedError: nothing was worked on.
    """
    discovery = _find_inputs(shared)
    file = None if output_folder else shared.output
    if file is not None:
        _check_output_file(file, discovery)
    if output_folder or writes_files:
        refuse_collisions(discovery.inputs)
    format_name = choose_format(wanted_format, file, formats)
    if shared.dry_run:
        return _plan(discovery, schema, _to_stdout(formats, None if file else format_name))
    if output_folder and shared.output is not None:
        _make_folder(shared.output)

    streams = format_name != "table" and file is None
    run = _Results(_to_stdout(formats, format_name) if streams else None)
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
        if file is None:
            _end_stdout(run, formats, format_name, discovery)
        hint = "; run the same again to go on" if shared.output is not None else ""
        console.error(f"interrupted{hint}")
        return EXIT_INTERRUPTED
    if file is None:
        _end_stdout(run, formats, format_name, discovery)
    else:
        with atomic_file(file) as stream:
            _write_all(formats[format_name](stream), _in_order(run.records, discovery))
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


class _Results:
    """Takes records as they come: says which failed, and writes or keeps them."""

    def __init__(self, writer: RecordWriter | None) -> None:
        self.writer = writer
        self.records: dict[str, Record] = {}  # by input; kept only where there is no writer
        self.failed = 0

    def take(self, record: Record) -> None:
        """Take one record."""
        if record["status"] == "failed":
            self.failed += 1
            error = record["error"]
            console.failure(f"{record['input']}: {error['code']}: {error['message']}")
        else:
            console.info(f"{record['input']}: {record['status']}")
        if self.writer is None:
            self.records[record["input"]] = record
        else:
            self.writer.write(record)


def _find_inputs(shared: SharedOptions) -> Discovery:
    arguments = list(shared.inputs or ())
    if not arguments and shared.files_from is None:
        raise errors.UsageError(
            "no INPUT is given; name files or folders, or a list of them with --files-from"
        )
    if shared.null and shared.files_from is None:
        raise errors.UsageError("-0 says how the list of --files-from is written; none is given")
    discovery = discover(arguments, files_from=shared.files_from, nul=shared.null)
    require_inputs(discovery, arguments)
    return discovery


def _check_output_file(file: Path, discovery: Discovery) -> None:
    if file.is_dir():
        raise errors.UsageError(f"{file}: is a folder; -o names the file for the results")
    if file.exists() and not file.is_file():
        raise errors.UsageError(f"{file}: is not a regular file; without -o results go to stdout")
    for item in discovery.inputs:
        if file.exists() and item.path.exists() and file.samefile(item.path):
            raise errors.UsageError(f"{file}: is an input; the results would take its place")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise errors.OutputError(f"{folder}: cannot be made: {cause.strerror}") from cause


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


def _end_stdout(run: _Results, formats: Formats, name: str, discovery: Discovery) -> None:
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
