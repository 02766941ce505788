"""Run one kind of work over many inputs: what is done is skipped, what fails costs itself alone.

Nothing is printed here; the caller hears of each record through `on_record`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from vmm_cli.batch.inputs import Input
from vmm_cli.batch.journal import Journal, fingerprint, lock
from vmm_cli.batch.runner import Outcome, Task, WorkerPool
from vmm_cli.errors import InputError
from vmm_cli.identity import FileIdentity, file_identity

Record = dict[str, Any]

# Opening a file and planning reads its header; minutes mean a demuxer that does not come back.
PREPARE_LIMIT_S = 120.0
# The default limit: slow machines decode 4K at a tenth of real time; small files need start-up.
LIMIT_BASE_S = 120.0
LIMIT_PER_SECOND = 20.0
# Where no duration is declared it is taken from the size at a very low bit rate.
LOW_BYTES_PER_SECOND = 20_000
LONGEST_S = 48 * 3600.0
# Inputs handed out ahead of the workers, so that none waits while the parent writes.
INPUTS_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Work:
    """What is done to each input. All functions are at module level: they run in workers.

    run(request, input, part) does one part (None: all of the input); finish(request, input,
    results) makes the record's own fields of the results of all parts; plan(request, input,
    workers) may split an input, None for work that is never split.

    For work that writes files of its own, two more, called by the parent while it holds the
    output: kept(request, input) tells whether what an earlier run wrote is still there; tidy(
    request) removes what unfinished work left behind, here or in a run that was killed.
    """

    run: Callable[[Any, Input, Any], Any]
    finish: Callable[[Any, Input, list[Any]], Record]
    plan: Callable[[Any, Input, int], list[Any]] | None = None
    kept: Callable[[Any, Input], bool] | None = None
    tidy: Callable[[Any], None] | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """How many inputs are done (`resumed` of them by an earlier run) and how many failed."""

    done: int
    resumed: int
    failed: int


def execute(
    inputs: Sequence[Input],
    missing: Sequence[str],
    work: Work,
    request: Any,
    *,
    schema: str,
    options: Mapping[str, object],
    model_digest: str | None = None,
    output: Path | None = None,
    resume: bool = True,
    jobs: int = 1,
    timeout_s: float | None = None,
    max_pixels: int,
    on_record: Callable[[Record], None],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    on_traceback: Callable[[str], None] = lambda text: None,
) -> Summary:
    """Do `work` on every input and hand each one's record to `on_record` as it is ready.

    Records are `{"schema", "input", "status": "ok", ...}` or `{"schema", "input", "status":
    "failed", "error": {"code", "message"}}`. With `output`, every record is in its journal, on
    disk, before `on_record` hears of it, and an input whose journal record is ok and made from
    the same file with the same `options`, model and schema is handed on as it is (`resume`).
    `missing`: names that lead nowhere; each gives a failed record.

    Raises:
        LockedError: another run holds `output`.
        OutputError: the journal cannot be written.
    """
    with ExitStack() as stack:
        journal = None
        if output is not None:
            stack.enter_context(lock(output))
            journal = stack.enter_context(Journal(output))
        if work.tidy is not None:
            work.tidy(request)
            stack.callback(work.tidy, request)  # once the workers are gone, before the lock is
        run = _Run(
            work=work,
            request=request,
            schema=schema,
            mark=fingerprint(schema, options, model_digest),
            journal=journal,
            resume=resume,
            jobs=jobs,
            timeout_s=timeout_s,
            max_pixels=max_pixels,
            on_record=on_record,
            on_progress=on_progress,
            on_traceback=on_traceback,
            total=len(inputs) + len(missing),
        )
        for name in missing:
            run.fail(name, None, InputError("missing", "no such file or folder"))
        run.all(inputs)
        return Summary(run.done, run.resumed, run.failed)


@dataclass(frozen=True, slots=True)
class _Prepared:
    identity: FileIdentity
    limit_s: float
    parts: list[Any]


@dataclass(slots=True)
class _Entry:
    """One input on its way."""

    input: Input
    identity: FileIdentity | None = None
    limit_s: float = PREPARE_LIMIT_S
    results: list[Any] = field(default_factory=list)
    outstanding: int = 0
    stage: Callable[[_Entry, Outcome], None] | None = None
    ended: bool = False


@dataclass(slots=True)
class _Run:
    """The state of one `execute`."""

    work: Work
    request: Any
    schema: str
    mark: str
    journal: Journal | None
    resume: bool
    jobs: int
    timeout_s: float | None
    max_pixels: int
    on_record: Callable[[Record], None]
    on_progress: Callable[[int, int], None]
    on_traceback: Callable[[str], None]
    total: int
    done: int = 0
    resumed: int = 0
    failed: int = 0
    _tasks: dict[str, tuple[_Entry, int]] = field(default_factory=dict)
    _serial: int = 0

    def all(self, inputs: Sequence[Input]) -> None:
        waiting = deque(inputs)
        with WorkerPool(self.jobs) as pool:
            while waiting or self._tasks:
                while waiting and len(self._tasks) < self.jobs * INPUTS_AHEAD:
                    # An input is split only where it would leave workers without work.
                    spare = self.jobs if len(inputs) < self.jobs else 1
                    self._begin(waiting.popleft(), spare, pool)
                if self._tasks:
                    outcome = pool.next_outcome()
                    entry, part = self._tasks.pop(outcome.key)
                    self._take(entry, part, outcome, pool)

    def _begin(self, input: Input, spare: int, pool: WorkerPool) -> None:
        if self.journal is not None and self.resume:
            try:
                record = self.journal.done(input.name, file_identity(input.path), self.mark)
            except InputError as error:
                self.fail(input.name, None, error)
                return
            is_kept = self.work.kept is None or self.work.kept(self.request, input)
            if record is not None and is_kept:
                self.resumed += 1
                self._count(ok=True)
                self.on_record(record)
                return
        entry = _Entry(input, stage=partial(self._prepared, pool=pool))
        self._submit(
            pool,
            entry,
            0,
            _prepare,
            (self.work, self.request, input, spare, self.timeout_s, self.max_pixels),
        )

    def _submit(
        self,
        pool: WorkerPool,
        entry: _Entry,
        part: int,
        function: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> None:
        self._serial += 1
        key = str(self._serial)
        self._tasks[key] = (entry, part)
        entry.outstanding += 1
        limit = entry.limit_s if self.timeout_s is None else self.timeout_s
        pool.submit(Task(key, function, args, limit))

    def _take(self, entry: _Entry, part: int, outcome: Outcome, pool: WorkerPool) -> None:
        entry.outstanding -= 1
        if outcome.traceback:
            self.on_traceback(f"{entry.input.name}:\n{outcome.traceback}")
        if entry.ended:
            return
        if outcome.error is not None:
            entry.ended = True
            self.fail(entry.input.name, entry.identity, outcome.error)
            return
        assert entry.stage is not None
        if entry.results:
            entry.results[part] = outcome.value
        entry.stage(entry, outcome)

    def _prepared(self, entry: _Entry, outcome: Outcome, *, pool: WorkerPool) -> None:
        prepared = outcome.value
        assert isinstance(prepared, _Prepared)
        entry.identity, entry.limit_s = prepared.identity, prepared.limit_s
        if len(prepared.parts) < 2:
            entry.stage = self._finished
            part = prepared.parts[0] if prepared.parts else None
            self._submit(pool, entry, 0, _whole, (self.work, self.request, entry.input, part))
            return
        entry.stage = partial(self._part_done, pool=pool)
        entry.results = [None] * len(prepared.parts)
        for index, part in enumerate(prepared.parts):
            self._submit(pool, entry, index, self.work.run, (self.request, entry.input, part))

    def _part_done(self, entry: _Entry, outcome: Outcome, *, pool: WorkerPool) -> None:
        if entry.outstanding == 0:
            results, entry.results = entry.results, []
            entry.stage = self._finished
            self._submit(pool, entry, 0, self.work.finish, (self.request, entry.input, results))

    def _finished(self, entry: _Entry, outcome: Outcome) -> None:
        assert isinstance(outcome.value, dict)
        entry.ended = True
        record = {"schema": self.schema, "input": entry.input.name, "status": "ok"}
        record |= outcome.value
        self._count(ok=True)
        self._put(entry.input.name, entry.identity, record)

    def fail(self, name: str, identity: FileIdentity | None, error: InputError) -> None:
        """Note an input's failure."""
        self._count(ok=False)
        self._put(
            name,
            identity,
            {
                "schema": self.schema,
                "input": name,
                "status": "failed",
                "error": {"code": error.code, "message": error.message},
            },
        )

    def _put(self, name: str, identity: FileIdentity | None, record: Record) -> None:
        if self.journal is not None:
            self.journal.append(name, identity, self.mark, record)
        self.on_record(record)

    def _count(self, *, ok: bool) -> None:
        if ok:
            self.done += 1
        else:
            self.failed += 1
        self.on_progress(self.done + self.failed, self.total)


def _prepare(
    work: Work,
    request: Any,
    input: Input,
    spare: int,
    timeout_s: float | None,
    max_pixels: int,
) -> _Prepared:
    """Look at an input before work: what file it is, how long it may take, whether to split it."""
    # Imported here: the parent, which runs this module too, needs no decoder.
    from vmm_cli.media.source import check_regular_file, declared_duration_s

    check_regular_file(input.path)
    identity = file_identity(input.path)
    limit_s = timeout_s
    if limit_s is None:
        duration = declared_duration_s(input.path, max_pixels=max_pixels)
        if duration is None:
            duration = identity.size / LOW_BYTES_PER_SECOND
        limit_s = min(LONGEST_S, LIMIT_BASE_S + LIMIT_PER_SECOND * duration)
    parts = work.plan(request, input, spare) if work.plan is not None and spare > 1 else []
    return _Prepared(identity, limit_s, parts)


def _whole(work: Work, request: Any, input: Input, part: Any) -> Record:
    return work.finish(request, input, [work.run(request, input, part)])
