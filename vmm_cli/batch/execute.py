"""Run one kind of work over many inputs: what is done is skipped, what fails costs itself alone.

Nothing is printed here; the caller hears of each record through `on_record`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from vmm_cli.batch.absent import why_missing
from vmm_cli.batch.device import Device, Item, Loaded, Stage, load_part
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.journal import Journal, fingerprint, lock
from vmm_cli.batch.ledger import Ledger, Record, Summary
from vmm_cli.batch.runner import Outcome, Task, WorkerPool
from vmm_cli.batch.shared_memory import attach
from vmm_cli.errors import DeviceError, InputError
from vmm_cli.identity import FileIdentity, file_identity

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

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """What is done to each input. All functions are at module level: they run in workers.

    run(request, input, part) does one part (None: all of the input); finish(request, input,
    results) makes the record's own fields of the results of all parts; plan(request, input,
    workers) may split an input, None for work that is never split. With `stage` parts are done as
    it says, on a device that one process owns, and `run` does what needs no device.

    For work that writes files of its own, two more, called by the parent while it holds the
    output: kept(request, input) tells whether what an earlier run wrote is still there; tidy(
    request) removes what unfinished work left behind, here or in a run that was killed.
    """

    run: Callable[[Any, Input, Any], Any]
    finish: Callable[[Any, Input, list[Any]], Record]
    plan: Callable[[Any, Input, int], list[Any]] | None = None
    kept: Callable[[Any, Input], bool] | None = None
    tidy: Callable[[Any], None] | None = None
    stage: Stage | None = None


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
        DeviceError: the device that `work` cannot do without cannot be used.
    """
    with ExitStack() as stack:
        journal = None
        if output is not None:
            stack.enter_context(lock(output))
            journal = stack.enter_context(Journal(output))
        if work.tidy is not None:
            work.tidy(request)
            stack.callback(work.tidy, request)  # once the workers are gone, before the lock is
        ledger = Ledger(
            schema=schema,
            mark=fingerprint(schema, options, model_digest),
            journal=journal,
            resume=resume,
            kept=None if work.kept is None else partial(work.kept, request),
            total=len(inputs) + len(missing),
            on_record=on_record,
            on_progress=on_progress,
        )
        for name in missing:
            ledger.fail(name, None, InputError("missing", why_missing(name)))
        _Run(
            work=work,
            request=request,
            ledger=ledger,
            jobs=jobs,
            timeout_s=timeout_s,
            max_pixels=max_pixels,
            on_traceback=on_traceback,
        ).all(inputs)
        return ledger.summary()


@dataclass(frozen=True, slots=True)
class _Prepared:
    identity: FileIdentity
    limit_s: float
    parts: list[Any]


@dataclass(slots=True, eq=False)
class _Entry:
    """One input on its way."""

    input: Input
    identity: FileIdentity | None = None
    limit_s: float = PREPARE_LIMIT_S
    results: dict[tuple[int, int], Any] = field(default_factory=dict)  # by the order of its parts
    unfinished: int = 0  # parts without a result
    ended: bool = False  # its record is written


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of an input; `order` is its place among the others."""

    entry: _Entry
    order: tuple[int, int]
    content: Any


@dataclass(slots=True)
class _Run:
    """The state of one `execute`: its workers, its device, and what each is at."""

    work: Work
    request: Any
    ledger: Ledger
    jobs: int
    timeout_s: float | None
    max_pixels: int
    on_traceback: Callable[[str], None]
    _pool: WorkerPool = field(init=False)
    _device: Device | None = None
    _tasks: dict[str, Callable[[Outcome], None]] = field(default_factory=dict)
    _unloaded: deque[_Part] = field(default_factory=deque)  # parts that wait for an area
    _serial: int = 0

    def all(self, inputs: Sequence[Input]) -> None:
        waiting = deque(inputs)
        with ExitStack() as stack:
            if (stage := self.work.stage) is not None:
                device = Device(stage, self.request, self.jobs, self._start, self._device_lost)
                stack.callback(device.close)
                self._device = device
                self._pool = WorkerPool(self.jobs, initializer=attach, initargs=(device.areas,))
            else:
                self._pool = WorkerPool(self.jobs)
            stack.enter_context(self._pool)
            while True:
                while waiting and self._under_way() < self.jobs * INPUTS_AHEAD:
                    # An input is split only where it would leave workers without work.
                    spare = self.jobs if len(inputs) < self.jobs else 1
                    self._begin(waiting.popleft(), spare)
                if self._device is not None:
                    self._load_parts(self._device)
                    self._device.feed()
                if not self._tasks:
                    return
                pools = [self._pool] if self._device is None else [self._pool, self._device.pool]
                outcome = WorkerPool.next_outcome_of(pools)
                self._tasks.pop(outcome.key)(outcome)

    def _under_way(self) -> int:
        return len(self._tasks) + len(self._unloaded)

    def _begin(self, input: Input, spare: int) -> None:
        try:
            if self.ledger.take_up(input):
                return
        except InputError as error:
            self.ledger.fail(input.name, None, error)
            return
        entry = _Entry(input)
        args = (self.work, self.request, input, spare, self.timeout_s, self.max_pixels)
        self._submit(entry, _prepare, args, partial(self._prepared, entry))

    def _start(
        self,
        pool: WorkerPool,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        limit_s: float,
        then: Callable[[Outcome], None],
    ) -> None:
        """Have a pool call a function, and `then` take what comes of it."""
        self._serial += 1
        key = str(self._serial)
        self._tasks[key] = then
        pool.submit(Task(key, function, args, limit_s))

    def _submit(
        self,
        entry: _Entry,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        then: Callable[[Any], None],
    ) -> None:
        """Have a worker do something for an input: an error ends it, `then` takes the value."""

        def take(outcome: Outcome) -> None:
            self._tell(entry, outcome)
            if entry.ended:
                return
            if outcome.error is not None:
                self._end(entry, outcome.error)
            else:
                then(outcome.value)

        self._start(self._pool, function, args, self._limit_s(entry), take)

    def _limit_s(self, entry: _Entry) -> float:
        return entry.limit_s if self.timeout_s is None else self.timeout_s

    def _tell(self, entry: _Entry, outcome: Outcome) -> None:
        if outcome.traceback:
            self.on_traceback(f"{entry.input.name}:\n{outcome.traceback}")

    def _prepared(self, entry: _Entry, prepared: _Prepared) -> None:
        entry.identity, entry.limit_s = prepared.identity, prepared.limit_s
        parts = [_Part(entry, (i, 0), content) for i, content in enumerate(prepared.parts)]
        entry.unfinished = len(parts)
        if parts and self._device is not None:
            self._unloaded.extend(parts)
        elif len(parts) < 2:
            args = (self.work, self.request, entry.input, parts[0].content if parts else None)
            self._submit(entry, _whole, args, partial(self._finished, entry))
        else:
            for part in parts:
                self._run(part)

    def _run(self, part: _Part) -> None:
        args = (self.request, part.entry.input, part.content)
        self._submit(part.entry, self.work.run, args, partial(self._part_done, part))

    def _part_done(self, part: _Part, result: Any) -> None:
        entry = part.entry
        entry.results[part.order] = result
        entry.unfinished -= 1
        if entry.unfinished == 0:
            results = [entry.results[order] for order in sorted(entry.results)]
            entry.results.clear()
            args = (self.request, entry.input, results)
            self._submit(entry, self.work.finish, args, partial(self._finished, entry))

    def _load_parts(self, device: Device) -> None:
        """Have workers load the parts for which there are areas."""
        while self._unloaded and device.free:
            part = self._unloaded.popleft()
            if part.entry.ended:
                continue
            area = device.free.pop()
            self._start(
                self._pool,
                load_part,
                (self.work.stage, self.request, part.entry.input, part.content, area),
                self._limit_s(part.entry),
                partial(self._loaded, device, part, area),
            )

    def _loaded(self, device: Device, part: _Part, area: int, outcome: Outcome) -> None:
        entry, loaded = part.entry, outcome.value
        self._tell(entry, outcome)
        if entry.ended or outcome.error is not None or self._device is None:
            device.free.append(area)
            if entry.ended:
                return
            if outcome.error is not None:
                self._end(entry, outcome.error)
            else:
                self._run(part)
            return
        assert isinstance(loaded, Loaded)
        if loaded.rest is not None:
            entry.unfinished += 1
            rest = _Part(entry, (part.order[0], part.order[1] + 1), loaded.rest)
            self._unloaded.appendleft(rest)
        device.waiting.append(
            Item(
                area,
                loaded.about,
                self._limit_s(entry),
                is_wanted=lambda: not entry.ended,
                settle=partial(self._computed, part),
                run_without=partial(self._run, part),
            )
        )

    def _computed(self, part: _Part, result: Any, error: InputError | None) -> None:
        if error is not None:
            self._end(part.entry, error)
        else:
            self._part_done(part, result)

    def _device_lost(self, reason: str) -> None:
        """Go on without the device, or give up."""
        assert self._device is not None and self.work.stage is not None
        if not self.work.stage.optional:
            raise DeviceError(reason)
        _log.warning("%s; going on without it", reason)
        device, self._device = self._device, None
        device.pool.close()  # the areas stay: workers to come still attach them
        for item in device.waiting:
            if item.is_wanted():
                item.run_without()
        for part in self._unloaded:
            if not part.entry.ended:
                self._run(part)
        self._unloaded.clear()

    def _finished(self, entry: _Entry, fields: Record) -> None:
        entry.ended = True
        self.ledger.finish(entry.input.name, entry.identity, fields)

    def _end(self, entry: _Entry, error: InputError) -> None:
        entry.ended = True
        entry.results.clear()
        self.ledger.fail(entry.input.name, entry.identity, error)


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
    if work.stage is not None:
        parts = work.stage.plan(request, input, spare)
    else:
        parts = work.plan(request, input, spare) if work.plan is not None and spare > 1 else []
    return _Prepared(identity, limit_s, parts)


def _whole(work: Work, request: Any, input: Input, part: Any) -> Record:
    return work.finish(request, input, [work.run(request, input, part)])
