"""What every command over many inputs does: find them, work, say how it goes, write the results."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from vmm_cli import errors
from vmm_cli.batch.absent import why_missing
from vmm_cli.batch.capacity import default_workers
from vmm_cli.batch.execute import execute
from vmm_cli.batch.inputs import (
    Discovery,
    Input,
    discover,
    looks_like_sound,
    looks_like_video,
    refuse_collisions,
    require_inputs,
)
from vmm_cli.batch.journal import journal_path
from vmm_cli.batch.lock import lock_path
from vmm_cli.batch.memory import MemoryLimit, default_limit, is_watched
from vmm_cli.batch.tally import Standing
from vmm_cli.batch.work import Work
from vmm_cli.cli import console
from vmm_cli.cli.failure import failure_text
from vmm_cli.cli.ordering import InOrder
from vmm_cli.cli.standing import Bar, closing_words
from vmm_cli.files import make_folder, require_folder
from vmm_cli.output.owned import (
    ADVICE,
    NOTES_FILE,
    Written,
    foreign,
    noted_file,
    refuse_foreign,
    refuse_foreign_lock,
)

if TYPE_CHECKING:
    from vmm_cli.cli.options import SharedOptions

EXIT_DONE = 0
EXIT_SOME_FAILED = 3
EXIT_INTERRUPTED = 130

CLOSED = "the folder may not be listed"
SILENT = "it does not answer; what follows it in its folder was not looked for"

SUFFIX_FORMATS = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".srt": "srt",
    ".vtt": "vtt",
}

RESULTS = "results"  # what a journal calls the file that it lies beside, whatever links lead to it

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
    pictures: Path | None = None,
    refuse: Callable[[Sequence[Input]], None] | None = None,
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
    `single_formats`. `pictures`: a folder that the work draws into, under the inputs' names;
    `refuse` raises UsageError where that would replace what vmm did not write. `takes_sound`: where
    folders hold no video, their files of sound are the inputs. `on_record` hears of each record
    before it is written.

    Raises:
        UsageError, NoInputError, OutputError, LockedError: nothing was worked on.
    """
    start = time.monotonic()
    console.refuse_log_at(shared.output, "-o")
    console.refuse_log_at(shared.files_from, "--files-from")
    console.refuse_log_at(shared.config, "--config")
    output = None if output_folder else shared.output_path
    discovery = _find_inputs(shared, output, takes_sound=takes_sound)
    if output_folder or pictures is not None:
        refuse_collisions(discovery.inputs)
    if refuse is not None:
        refuse(discovery.inputs)
    known = {**formats, **single_formats}
    if output_folder:
        place = _Destination(choose_format(wanted_format, None, known), folder=shared.output_path)
    else:
        place = _destination(shared, discovery, wanted_format, formats, single_formats)
    to_stdout = output_folder or shared.output_path is None
    if shared.dry_run:
        name = place.format if to_stdout and place.format in formats else None
        return _plan(discovery, schema, _to_stdout(formats, name))
    for folder in (place.folder, pictures):  # what cannot be written to is found before the work
        if folder is not None:
            make_folder(folder)

    _listen_to_logging()
    run = _Results(discovery, on_record, keep=place.file is None and place.format == "table")
    if place.files is not None:
        run.write = _FilePerInput(known[place.format], place).write
    elif to_stdout and place.format != "table":
        run.stream(_to_stdout(known, place.format), needed=not output_folder)

    def write_file(record_of: Callable[[str], Record | None]) -> None:
        """Write what goes to one file, while its lock is held."""
        if place.file is not None:
            place.refuse_what_came_meanwhile(place.file)
            with noted_file(place.file, place.note(place.file)) as stream:
                _write_all(known[place.format](stream), run.in_order(record_of))

    jobs = shared.jobs or default_workers(work_memory_bytes)
    try:
        with console.progress() as drawn:
            bar = Bar(drawn.update)

            def show(standing: Standing) -> None:
                bar.show(standing)
                run.release()

            run.aside = drawn.aside if run.streams and console.stdout_is_terminal() else None
            for name in discovery.unreadable:
                run.take(_failed(schema, name, "unreadable", CLOSED))
            for name in discovery.silent:
                run.take(_failed(schema, name, "timeout", SILENT))
            summary = execute(
                discovery.inputs,
                discovery.missing,
                work,
                request,
                schema=schema,
                options=options,
                model_digest=model_digest,
                output=shared.output_path,
                resume=not shared.no_resume,
                jobs=jobs,
                timeout_s=None if shared.timeout is None else float(shared.timeout),
                memory=_memory_limit(shared, work_memory_bytes, min(jobs, len(discovery.order))),
                max_pixels=shared.max_pixels,
                on_record=run.take,
                on_progress=show,
                on_traceback=console.details,
                on_end=write_file,
            )
    except KeyboardInterrupt:
        if place.file is None:
            run.end(known, place.format)
        hint = "; run the same again to go on" if shared.output_path is not None else ""
        console.error(f"interrupted{hint}")
        return EXIT_INTERRUPTED
    except console.StdoutClosed:
        raise
    except BaseException:  # what is done is not lost with what ends the run
        if place.file is None:
            run.end(known, place.format)
        raise
    if place.file is None:
        run.end(known, place.format)
    said = closing_words(
        summary,
        failed=run.failed,
        seconds=time.monotonic() - start,
        results=None if output_folder else shared.output_path,
        pictures=shared.output_path if output_folder else pictures,
    )
    console.closing(said)
    return EXIT_SOME_FAILED if run.failed else EXIT_DONE


def _memory_limit(shared: SharedOptions, work_bytes: int, jobs: int) -> MemoryLimit:
    """Return how much memory a worker may take."""
    if shared.max_memory is None:
        return default_limit(work_bytes, jobs)
    if not is_watched():
        console.warning("--max-memory: this system does not say what a process takes; no limit")
    limit = shared.max_memory or None  # 0: none
    return MemoryLimit(limit, limit)


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
            f"{file}: the format is not clear from its suffix; give --format {'|'.join(formats)}"
        )
    return name


@dataclass(frozen=True)
class _Destination:
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


def _destination(
    shared: SharedOptions,
    discovery: Discovery,
    wanted: str | None,
    formats: Formats,
    single_formats: Formats,
) -> _Destination:
    """Return where the results go of a command whose work fills no folder.

    In a format of which a text holds one input, -o is a file where one file is given as input or
    where its suffix is the format's, and a folder otherwise, or with a slash at its end.
    """
    output = shared.output_path
    count = len(discovery.order)
    is_folder = output is not None and (output.is_dir() or shared.output_is_folder)
    if is_folder and wanted not in single_formats:
        into = f", or give --format {'|'.join(single_formats)}" if single_formats else ""
        raise errors.UsageError(
            f"{shared.output}: is a folder; -o takes a file for the results{into}"
        )
    if output is not None and not is_folder:
        _check_output_file(output, discovery)
    name = choose_format(wanted, output, (*formats, *single_formats))
    if output is None:
        if name in single_formats and count > 1:
            raise errors.UsageError(
                f"{name} holds one video, and there are {count}; give -o FOLDER for one file each"
            )
        return _Destination(name)
    given = shared.inputs or []
    one_file = shared.files_from is None and len(given) == 1 and not discovery.any_folder
    for_one = one_file or SUFFIX_FORMATS.get(output.suffix.lower()) == name
    if name in single_formats and (is_folder or not for_one):
        return _files_in(output, name, discovery, overwrite=shared.overwrite)
    if name in single_formats and count > 1:
        raise errors.UsageError(
            f"{output}: can hold one video, and there are {count}; name a folder, "
            f"with --format {name}"
        )
    require_folder(output)
    written = Written(journal_path(output))
    refuse_foreign_lock(lock_path(output))
    if not shared.overwrite:
        refuse_foreign(output, written, RESULTS)
    if name not in single_formats:
        return _Destination(name, file=output, written=written, overwrite=shared.overwrite)
    files = {item.name: output for item in discovery.inputs}
    return _Destination(name, files=files, written=written, overwrite=shared.overwrite)


def _files_in(folder: Path, format: str, discovery: Discovery, *, overwrite: bool) -> _Destination:
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
    return _Destination(
        format,
        files=files,
        sources={item.name: item.path for item in renamed},
        folder=folder,
        written=written,
        overwrite=overwrite,
    )


class _FilePerInput:
    """Writes the record of each input that was done to that input's own file.

    What is written is noted, so that another run knows what it may replace.
    """

    def __init__(self, begin: Callable[[TextIO], RecordWriter], place: _Destination) -> None:
        self._begin = begin
        self._place = place

    def write(self, record: Record) -> None:
        """Write one file, whole or not at all; of a failed input none of ours is left."""
        file = (self._place.files or {}).get(record["input"])
        if file is None:  # a name that leads nowhere
            return
        source = self._place.sources.get(record["input"])
        if record["status"] != "ok":
            if record["status"] == "failed" and self._place.foreign(file, source) is None:
                file.unlink(missing_ok=True)
            return
        make_folder(file.parent)
        self._place.refuse_what_came_meanwhile(file, source)
        with noted_file(file, self._place.note(file, source)) as stream:
            _write_all(self._begin(stream), [record])

    def close(self) -> None:
        """Do nothing: every file is whole already."""


class _Results:
    """Takes records as they come: says which failed, and writes or keeps them.

    keep: whether all are kept for the end, as for a table. Otherwise `write`, where there is one,
    takes each; the journal has those that go to a file at the end.
    """

    def __init__(
        self,
        discovery: Discovery,
        on_record: Callable[[Record], None] = lambda record: None,
        *,
        keep: bool = False,
    ) -> None:
        self.order = discovery.order
        self.on_record = on_record
        self.failed = 0
        self.write: Callable[[Record], None] | None = None
        self.streams = False
        self.aside: Callable[[], AbstractContextManager[None]] | None = None
        # Of names that no journal has, or of all.
        self._kept: dict[str, Record] = {}
        self._keep_also = None if keep else {*discovery.unreadable, *discovery.silent}
        self._ordered: InOrder | None = None
        self._writer: RecordWriter | None = None
        self._needed = True

    def stream(self, writer: RecordWriter, *, needed: bool) -> None:
        """Write each record to stdout when its turn has come.

        needed: whether they go nowhere else, so that there is no use in working for a reader that
        is gone.
        """
        self.streams = True
        self._writer, self._needed = writer, needed
        self._ordered = InOrder(self.order, self._print)
        self.write = self._ordered.take

    def take(self, record: Record) -> None:
        """Take one record."""
        if record["status"] == "failed":
            self.failed += 1
            console.failure(f"{record['input']}: {failure_text(record)}")
        else:
            console.info(f"{record['input']}: {record['status']}")
            for message in record.get("warnings", ()):
                console.warning(f"{record['input']}: {message}")
        self.on_record(record)
        if self.write is not None:
            self.write(record)
        elif self._keep_also is None or record["input"] in self._keep_also:
            self._kept[record["input"]] = record

    def release(self) -> None:
        """Write what has waited long enough for those before it."""
        if self._ordered is not None:
            self._ordered.release()

    def in_order(self, record_of: Callable[[str], Record | None]) -> Iterator[Record]:
        """Yield the records in the order of the inputs, whichever was done first."""
        for name in self.order:
            record = self._kept.get(name) or record_of(name)
            if record is not None:
                yield record

    def end(self, formats: Formats, name: str) -> None:
        """Write what must come last; for a table that is all of it."""
        if self._ordered is not None:
            self._ordered.flush()
        if self._writer is not None:
            with self._while_read():
                self._writer.close()
        elif self.write is None:
            _write_all(_to_stdout(formats, name), self.in_order(self._kept.get))

    def _print(self, record: Record) -> None:
        if self._writer is not None:
            with self._while_read(), self.aside() if self.aside is not None else nullcontext():
                self._writer.write(record)

    @contextmanager
    def _while_read(self) -> Iterator[None]:
        try:
            yield
        except console.StdoutClosed:
            if self._needed:
                raise
            self._writer = None  # what the work is for goes on


def _find_inputs(shared: SharedOptions, output: Path | None, *, takes_sound: bool) -> Discovery:
    arguments = list(shared.inputs or ())
    if not arguments and shared.files_from is None:
        raise errors.UsageError(
            "no INPUT given; name files or folders, or a list of them with --files-from"
        )
    if shared.null and shared.files_from is None:
        raise errors.UsageError("-0 describes the list of --files-from, and none is given")
    discovery = discover(
        arguments,
        files_from=shared.files_from,
        nul=shared.null,
        output=output,
        kinds=(looks_like_video, looks_like_sound) if takes_sound else (looks_like_video,),
    )
    require_inputs(discovery, arguments)
    return discovery


def _check_output_file(file: Path, discovery: Discovery) -> None:
    if file.exists() and not file.is_file():
        raise errors.UsageError(f"{file}: is not a regular file; without -o results go to stdout")
    if discovery.is_output is not None:
        raise errors.UsageError(f"{file}: is an input; the results would overwrite it")


def _to_stdout(formats: Formats, name: str | None) -> RecordWriter:
    name = name or choose_format(None, None, formats)
    return formats[name](console.stdout(data=name != "table"))


def _plan(discovery: Discovery, schema: str, writer: RecordWriter) -> int:
    """Write which inputs would be worked on."""
    run = _Results(discovery)
    run.write = writer.write
    problems = {
        name: _failed(schema, name, "missing", why_missing(name)) for name in discovery.missing
    }
    problems |= {name: _failed(schema, name, "unreadable", CLOSED) for name in discovery.unreadable}
    problems |= {name: _failed(schema, name, "timeout", SILENT) for name in discovery.silent}
    for name in discovery.order:
        run.take(problems.get(name) or {"schema": schema, "input": name, "status": "planned"})
    writer.close()
    return EXIT_SOME_FAILED if run.failed else EXIT_DONE


def _failed(schema: str, name: str, code: str, message: str) -> Record:
    error = {"code": code, "message": message}
    return {"schema": schema, "input": name, "status": "failed", "error": error}


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
