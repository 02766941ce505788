"""What every command over many inputs does: find them, work, say how it goes, write the results."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from vmm_cli import errors
from vmm_cli.batch.absent import why_missing
from vmm_cli.batch.capacity import default_workers
from vmm_cli.batch.execute import Listener, execute
from vmm_cli.batch.inputs import (
    Discovery,
    discover,
    looks_like_sound,
    looks_like_still,
    looks_like_video,
    refuse_collisions,
    require_inputs,
)
from vmm_cli.batch.journal import fingerprint
from vmm_cli.batch.ledger import Records, Summary
from vmm_cli.batch.listing import IsKind
from vmm_cli.batch.local import LocalExecutor
from vmm_cli.batch.memory import MemoryLimit, default_limit, is_watched
from vmm_cli.batch.tally import Standing
from vmm_cli.batch.work import Limits
from vmm_cli.cli import console
from vmm_cli.cli.destination import Destination, Writers, destination
from vmm_cli.cli.options import SharedOptions
from vmm_cli.cli.results import Results
from vmm_cli.cli.standing import Bar, closing_words
from vmm_cli.files import make_folder
from vmm_cli.operations.operation import Operation, Options, Prepared
from vmm_cli.operations.options import counted
from vmm_cli.output.formats import Record
from vmm_cli.output.pictured import PICTURES

EXIT_DONE = 0
EXIT_SOME_FAILED = 3
EXIT_INTERRUPTED = 130

CLOSED = "the folder may not be listed"
SILENT = "it does not answer; what follows it in its folder was not looked for"

AnyPrepared = Prepared[Any, Any, Any, Any]


def run_operation(
    operation: Operation[Options, Any, Any, Any],
    options: Options,
    shared: SharedOptions,
    wanted_format: str | None,
) -> int:
    """Do an operation for every input and write the records; return the exit code.

    Where the operation fills no folder, -o is the file that the records go to, or a folder for a
    file of each input where a text of that format holds one.

    Raises:
        UsageError, NoInputError, OutputError, LockedError: nothing was worked on; and what
            `Operation.prepare` raises.
    """
    begun = time.monotonic()
    prepared = operation.prepare(options)
    _say_first(prepared, shared)
    fills = operation.fills_folder
    discovery = _find_inputs(shared, prepared, fills=fills)
    _refuse(discovery, prepared, fills=fills)
    writers = Writers(operation.formats, operation.shown(prepared.work.job))
    if fills:
        place = Destination(writers.choose(wanted_format, None), folder=shared.output_path)
    else:
        place = destination(shared, discovery, wanted_format, writers)
    if shared.dry_run:
        return _plan(discovery, operation.schema, writers, place)
    filled = _made_folders(prepared, place, fills=fills)
    _listen_to_logging()
    results = Results(discovery, keep=place.file is None and place.format == "table")
    if place.files is not None:
        results.write = partial(place.write_own_file, writers)
    elif (fills or shared.output_path is None) and place.format != "table":
        results.stream(writers.to_stdout(place.format), needed=not fills)
    try:
        summary = _executed(operation.schema, prepared, shared, discovery, results, place, writers)
    except KeyboardInterrupt:
        _end(results, place, writers)
        hint = "; run the same again to go on" if shared.output_path is not None else ""
        console.error(f"interrupted{hint}")
        return EXIT_INTERRUPTED
    except console.StdoutClosed:
        raise
    except BaseException:  # what is done is not lost with what ends the run
        _end(results, place, writers)
        raise
    _end(results, place, writers)
    seconds = time.monotonic() - begun
    file = None if fills else shared.output_path
    said = closing_words(
        summary, failed=results.failed, seconds=seconds, results=file, filled=filled
    )
    console.closing(said)
    return EXIT_SOME_FAILED if results.failed else EXIT_DONE


def _made_folders(prepared: AnyPrepared, place: Destination, *, fills: bool) -> dict[str, Path]:
    """Return the folders of what is made beside results, by what that is.

    What cannot be written to is found before the work.
    """
    filled = {one.what: one.folder for one in prepared.work.beside}
    if fills and place.folder is not None:
        filled[PICTURES] = place.folder
    for folder in (place.folder, *filled.values()):
        if folder is not None:
            make_folder(folder)
    return filled


def _say_first(prepared: AnyPrepared, shared: SharedOptions) -> None:
    """Say what there is to say before the work, and refuse a log that would overwrite something."""
    for remark in prepared.remarks:
        console.remark(remark)
    for warning in prepared.warnings:
        console.warning(warning)
    console.refuse_log_at(shared.output, "-o")
    console.refuse_log_at(shared.files_from, "--files-from")
    console.refuse_log_at(shared.config, "--config")


def _refuse(discovery: Discovery, prepared: AnyPrepared, *, fills: bool) -> None:
    """Raise UsageError where results would meet, or take the place of what vmm did not make."""
    if fills or prepared.work.beside:
        refuse_collisions(discovery.inputs)
    for one in prepared.work.beside:
        one.refuse_foreign(discovery.inputs)


def _end(results: Results, place: Destination, writers: Writers) -> None:
    """Write what must come last on standard output, unless the records are in a file."""
    if place.file is None:
        results.end(writers, place.format)


def _executed(
    schema: str,
    prepared: AnyPrepared,
    shared: SharedOptions,
    discovery: Discovery,
    results: Results,
    place: Destination,
    writers: Writers,
) -> Summary:
    """Do the work, with a bar that says how far it is."""
    jobs = shared.jobs or default_workers(prepared.memory_bytes)
    memory = _memory_limit(shared, prepared.memory_bytes, min(jobs, len(discovery.order)))
    timeout_s = None if shared.timeout is None else float(shared.timeout)
    with console.progress() as drawn:
        bar = Bar(drawn.update)

        def show(standing: Standing) -> None:
            bar.show(standing)
            results.release()

        if results.streams and console.stdout_is_terminal():
            results.aside = drawn.aside
        for record in _unlisted(discovery, schema):
            results.take(record)
        return execute(
            prepared.work,
            discovery.inputs,
            discovery.missing,
            records=Records(
                schema, marks(schema, prepared), shared.output_path, not shared.no_resume
            ),
            limits=Limits(shared.max_pixels, timeout_s, memory),
            start=partial(LocalExecutor, jobs),
            listener=Listener(
                on_record=results.take,
                on_progress=show,
                on_traceback=console.details,
                on_end=lambda record_of: place.write_file(writers, results.in_order(record_of)),
            ),
        )


def marks(schema: str, prepared: AnyPrepared) -> tuple[str, ...]:
    """Return what records depend on: as it is said now, then as earlier versions said it."""
    contents = [counted(prepared.options)]
    if prepared.earlier is not None:
        contents.append(dict(prepared.earlier))
    return tuple(fingerprint(schema, content, prepared.model_digest) for content in contents)


def _memory_limit(shared: SharedOptions, work_bytes: int, jobs: int) -> MemoryLimit:
    """Return how much memory a worker may take."""
    if shared.max_memory is None:
        return default_limit(work_bytes, jobs)
    if not is_watched():
        console.warning("--max-memory: this system does not say what a process takes; no limit")
    limit = shared.max_memory or None  # 0: none
    return MemoryLimit(limit, limit)


def _find_inputs(shared: SharedOptions, prepared: AnyPrepared, *, fills: bool) -> Discovery:
    arguments = list(shared.inputs or ())
    if not arguments and shared.files_from is None:
        raise errors.UsageError(
            "no INPUT given; name files or folders, or a list of them with --files-from"
        )
    if shared.null and shared.files_from is None:
        raise errors.UsageError("-0 describes the list of --files-from, and none is given")
    stills = (looks_like_still,) if prepared.takes_stills else ()
    sound = (looks_like_sound,) if prepared.takes_sound else ()
    kinds: list[IsKind] = [looks_like_video, *stills, *sound]
    for one in prepared.work.beside:
        kinds = [_but(one.knows(), kind) for kind in kinds]
    discovery = discover(
        arguments,
        files_from=shared.files_from,
        nul=shared.null,
        output=None if fills else shared.output_path,
        kinds=kinds,
    )
    require_inputs(discovery, arguments)
    if number := discovery.passed_over:
        console.warning(_left_out(number, stills=bool(stills), sound=bool(sound)))
    return discovery


def _left_out(number: int, *, stills: bool, sound: bool) -> str:
    """Return what is said of files in folders that hold something else."""
    one = number == 1
    kinds = ["picture" if one else "pictures"] if stills else []
    kinds += ["file of sound" if one else "files of sound"] if sound else []
    are = "is" if one else "are"
    return (
        f"{number} {' or '.join(kinds)} {are} left out beside videos in a folder; "
        "name them to add them"
    )


def _but(knows: Callable[[Path], bool], kind: IsKind) -> IsKind:
    """Return what tells files of a kind, but for those that vmm itself made."""
    return lambda path: kind(path) and not knows(path)


def _unlisted(discovery: Discovery, schema: str) -> list[Record]:
    """Return the records of what could not be looked into for inputs."""
    closed = [_failed(schema, name, "unreadable", CLOSED) for name in discovery.unreadable]
    return closed + [_failed(schema, name, "timeout", SILENT) for name in discovery.silent]


def _plan(discovery: Discovery, schema: str, writers: Writers, place: Destination) -> int:
    """Write which inputs would be worked on."""
    name = place.format
    if place.file is not None or place.files is not None or name in writers.single:
        name = writers.choose(None, None)
    writer = writers.to_stdout(name)
    results = Results(discovery)
    results.write = writer.write
    missing = [_failed(schema, name, "missing", why_missing(name)) for name in discovery.missing]
    problems = {one["input"]: one for one in (*missing, *_unlisted(discovery, schema))}
    for name in discovery.order:
        results.take(problems.get(name) or {"schema": schema, "input": name, "status": "planned"})
    writer.close()
    return EXIT_SOME_FAILED if results.failed else EXIT_DONE


def _failed(schema: str, name: str, code: str, message: str) -> Record:
    error = {"code": code, "message": message}
    return {"schema": schema, "input": name, "status": "failed", "error": error}


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
