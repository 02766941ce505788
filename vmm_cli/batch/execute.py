"""Run one kind of work over many inputs: what is done is skipped, what fails costs itself alone.

Nothing is printed here; the caller hears of each record through `on_record`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from vmm_cli.batch.absent import why_missing
from vmm_cli.batch.device import Device, Item, Loaded, load_part
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.interruptions import held
from vmm_cli.batch.journal import Journal, fingerprint
from vmm_cli.batch.ledger import Known, Ledger, Record, Summary
from vmm_cli.batch.lock import Hold, lock
from vmm_cli.batch.memory import NO_LIMIT, MemoryLimit
from vmm_cli.batch.runner import LOOK_S, Outcome, Task, WorkerPool
from vmm_cli.batch.shared_memory import attach
from vmm_cli.batch.tally import Standing, Tally
from vmm_cli.batch.work import (
    PREPARE_LIMIT_S,
    Informed,
    Look,
    Prepared,
    Work,
    are_done,
    informed,
    prepare,
)
from vmm_cli.errors import DeviceError, InputError
from vmm_cli.identity import FileIdentity
from vmm_cli.media.damage import joined
from vmm_cli.progress import Stand

# Stretches that a warning names.
MOST_TOLD = 3
# Inputs handed out ahead of the workers, so that none waits while the parent writes.
INPUTS_AHEAD = 2
# Looking at one that is done takes less time than the way to a worker and back.
LOOKED_AT_TOGETHER = 50

_log = logging.getLogger(__name__)


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
    memory: MemoryLimit = NO_LIMIT,
    max_pixels: int,
    on_record: Callable[[Record], None],
    on_progress: Callable[[Standing], None] = lambda standing: None,
    on_traceback: Callable[[str], None] = lambda text: None,
    on_end: Callable[[Callable[[str], Record | None]], None] | None = None,
) -> Summary:
    """Do `work` on every input and hand each one's record to `on_record` as it is ready.

    Records are `{"schema", "input", "status": "ok", ...}` or `{"schema", "input", "status":
    "failed", "error": {"code", "message"}}`. With `output`, every record is in its journal, on
    disk, before `on_record` hears of it, and an input whose journal record is ok and made from
    the same file with the same `options`, model and schema is handed on as it is (`resume`).
    `missing`: names that lead nowhere; each gives a failed record. Inputs are looked at in workers
    alone: a disk that does not answer holds up nothing but them.

    `on_end`, once all is done and while `output` is still held, is given what returns an input's
    record: no record is kept in memory for that.

    Raises:
        LockedError: another run holds `output`.
        OutputError: the journal cannot be written, or `output` was removed or replaced meanwhile.
        DeviceError: the device that `work` cannot do without cannot be used.
    """
    stack = ExitStack()  # what must be ended, whatever happens
    undisturbed = ExitStack()
    try:
        try:
            hold = journal = None
            if output is not None:
                with held():
                    hold = stack.enter_context(lock(output))
                journal = stack.enter_context(Journal(output))
            if work.tidy is not None:  # once the workers are gone, before the lock is
                stack.callback(_tidy, work.tidy, request, hold)
                work.tidy(request)
            ledger = Ledger(
                schema=schema,
                mark=fingerprint(schema, options, model_digest),
                journal=journal,
                resume=resume,
                folders=work.folders,
                on_record=on_record,
                check=_nothing if hold is None else hold.check,
            )
            run = _Run(
                work=work,
                request=request,
                ledger=ledger,
                tally=Tally(len(inputs) + len(missing)),
                jobs=jobs,
                timeout_s=timeout_s,
                memory=memory,
                max_pixels=max_pixels,
                on_progress=on_progress,
                on_traceback=on_traceback,
            )
            run.all(inputs, missing, stack)
            if on_end is not None and journal is not None:
                ledger.check()
                on_end(journal.last)
            return ledger.summary()
        finally:
            # An interruption may come right before this: it is then one that no other follows.
            undisturbed.enter_context(held())
    finally:
        stack.close()
        undisturbed.close()


def _tidy(tidy: Callable[[Any], None], request: Any, hold: Hold | None) -> None:
    """Remove what unfinished work left, unless the place is another run's by now."""
    if hold is None or hold.is_ours():
        tidy(request)


def _nothing() -> None:
    pass


@dataclass(slots=True, eq=False)
class _Entry:
    """One input on its way."""

    input: Input
    memory_bytes: int | None
    identity: FileIdentity | None = None
    limit_s: float = PREPARE_LIMIT_S
    results: dict[tuple[int, int], Any] = field(default_factory=dict)  # by the order of its parts
    shares: dict[tuple[int, int], float] = field(default_factory=dict)  # how far each part is
    unfinished: int = 0  # parts without a result
    duration_s: float | None = None
    about: Record = field(default_factory=dict)  # what its record says whatever the command
    warnings: tuple[str, ...] = ()
    known: bytes = b""  # what workers know of the file; see `informed`
    gaps: tuple[tuple[float, float], ...] = ()  # of its pictures, in seconds
    span: tuple[float, float] | None = None  # the seconds that its parts say they go over
    ended: bool = False  # its record is written

    @property
    def share(self) -> float:
        """How far it is, from 0 to 1."""
        parts = max(len(self.shares), 1)
        return min(sum(self.shares.values()) / parts, 1.0)

    @property
    def length_s(self) -> float | None:
        """How long the part of the video is that is gone over, in seconds, if that is known."""
        return self.duration_s if self.span is None else self.span[1] - self.span[0]

    def hear(self, order: tuple[int, int], stand: Stand) -> None:
        """Take how far a part is."""
        self.shares[order] = max(self.shares.get(order, 0.0), stand.share)
        if stand.first_s < stand.last_s:
            first_s, last_s = self.span or (stand.first_s, stand.last_s)
            self.span = min(first_s, stand.first_s), max(last_s, stand.last_s)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of an input; `order` is its place among the others."""

    entry: _Entry
    order: tuple[int, int]
    content: Any


_WHOLE = (0, 0)  # the order of what is not split


@dataclass(slots=True)
class _Run:
    """The state of one `execute`: its workers, its device, and what each is at."""

    work: Work
    request: Any
    ledger: Ledger
    tally: Tally
    jobs: int
    timeout_s: float | None
    memory: MemoryLimit
    max_pixels: int
    on_progress: Callable[[Standing], None]
    on_traceback: Callable[[str], None]
    _pool: WorkerPool = field(init=False)
    _device: Device | None = None
    _tasks: dict[str, Callable[[Outcome], None]] = field(default_factory=dict)
    _working: dict[str, tuple[_Entry, tuple[int, int]]] = field(default_factory=dict)  # by task
    _entries: dict[int, _Entry] = field(default_factory=dict)  # under way, by identity in memory
    _unloaded: deque[_Part] = field(default_factory=deque)  # parts that wait for an area
    _shared_bytes: int = 0  # what a worker may map beside its own memory
    _inputs: int = 0  # how many there are
    _serial: int = 0
    _looked: float = float("-inf")

    def all(self, inputs: Sequence[Input], missing: Sequence[str], stack: ExitStack) -> None:
        """Do everything; what must be ended goes onto the stack."""
        for name in missing:
            self.tally.settle(was_work=False)
            self.ledger.fail(name, None, InputError("missing", why_missing(name)))
            self._tell_progress()
        self._inputs = len(inputs)
        waiting = deque(inputs)
        if (stage := self.work.stage) is not None:
            device = Device(stage, self.request, self.jobs, self._start, self._device_lost)
            stack.callback(device.close)
            self._device = device
            self._shared_bytes = device.areas.count * device.areas.size
            self._pool = WorkerPool(self.jobs, initializer=attach, initargs=(device.areas,))
        else:
            self._pool = WorkerPool(self.jobs)
        stack.enter_context(self._pool)
        while True:
            while waiting and self._under_way() < self.jobs * INPUTS_AHEAD:
                self._take_up(waiting)
            if self._device is not None:
                self._load_parts(self._device)
                self._device.feed()
            if not self._tasks:
                return
            pools = [self._pool] if self._device is None else [self._pool, self._device.pool]
            outcome = WorkerPool.next_outcome_of(pools, self._look)
            self._working.pop(outcome.key, None)
            self._tasks.pop(outcome.key)(outcome)

    def _under_way(self) -> int:
        return len(self._tasks) + len(self._unloaded)

    def _look(self) -> None:
        """See now and then whether the output is still ours, and how far the workers are."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        self.ledger.check()
        for key, stand in self._pool.stands().items():
            if (working := self._working.get(key)) is not None:
                entry, order = working
                entry.hear(order, stand)
        self._tell_progress()

    def _tell_progress(self) -> None:
        entries = self._entries.values()
        self.on_progress(self.tally.standing((entry.share, entry.length_s) for entry in entries))

    def _take_up(self, waiting: deque[Input]) -> None:
        """Begin with the next input, or look at several that an earlier run may have done."""
        candidates: list[tuple[Input, Known]] = []
        while waiting and len(candidates) < LOOKED_AT_TOGETHER:
            known = self.ledger.known(waiting[0])
            if known.done is None:
                break
            candidates.append((waiting.popleft(), known))
        if candidates:
            self._look_whether_done(candidates)
        else:
            self._begin(waiting.popleft(), known)

    def _look_whether_done(self, candidates: Sequence[tuple[Input, Known]]) -> None:
        then = partial(self._sorted_out, candidates)
        args = (self._how_to_look(), candidates)
        limit_s = PREPARE_LIMIT_S if self.timeout_s is None else self.timeout_s
        memory_bytes = self._with_areas(self.memory.usual)
        self._start(self._pool, are_done, args, limit_s, then, memory_bytes)

    def _sorted_out(self, candidates: Sequence[tuple[Input, Known]], outcome: Outcome) -> None:
        """Hand on what is done; begin with what is not, or did not let itself be looked at."""
        if outcome.error is not None and len(candidates) > 1:
            for candidate in candidates:  # one of them costs no other
                self._look_whether_done([candidate])
            return
        done = outcome.value if outcome.error is None else [False]
        assert isinstance(done, list)
        for (input, known), is_done in zip(candidates, done, strict=True):
            if is_done:
                self.tally.settle(was_work=False)
                self.ledger.take_up(input.name)
            else:
                self._begin(input, replace(known, done=None))
        self._tell_progress()

    def _begin(self, input: Input, known: Known) -> None:
        entry = _Entry(input, self.memory.usual)
        self._entries[id(entry)] = entry
        args = (self._how_to_look(), input, known)
        self._submit(entry, prepare, args, partial(self._prepared, entry))

    def _how_to_look(self) -> Look:
        # An input is split only where it would leave workers without work.
        spare = self.jobs if self._inputs < self.jobs else 1
        return Look(self.work, self.request, spare, self.timeout_s, self.memory, self.max_pixels)

    def _start(
        self,
        pool: WorkerPool,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        limit_s: float,
        then: Callable[[Outcome], None],
        memory_bytes: int | None = None,
    ) -> str:
        """Have a pool call a function, and `then` take what comes of it; return the task's key."""
        self._serial += 1
        key = str(self._serial)
        self._tasks[key] = then
        pool.submit(Task(key, function, args, limit_s, memory_bytes))
        return key

    def _work_on(
        self,
        entry: _Entry,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        then: Callable[[Any], None],
        order: tuple[int, int] | None = None,
    ) -> None:
        """Have a worker do a step of the work, and hear which pictures it could not decode."""

        def take(done: Informed) -> None:
            entry.gaps += done.gaps
            then(done.value)

        whole = (entry.input.path, entry.known, function, *args)
        self._submit(entry, informed, whole, take, order)

    def _submit(
        self,
        entry: _Entry,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        then: Callable[[Any], None],
        order: tuple[int, int] | None = None,
    ) -> None:
        """Have a worker do something for an input: an error ends it, `then` takes the value.

        `order`: of the part that is worked on.
        """

        def take(outcome: Outcome) -> None:
            self._tell(entry, outcome)
            if entry.ended:
                return
            if outcome.error is not None:
                self._end(entry, outcome.error)
            else:
                then(outcome.value)

        limits = self._limit_s(entry), take, self._memory_bytes(entry)
        key = self._start(self._pool, function, args, *limits)
        if order is not None:
            self._working[key] = entry, order

    def _limit_s(self, entry: _Entry) -> float:
        return entry.limit_s if self.timeout_s is None else self.timeout_s

    def _memory_bytes(self, entry: _Entry) -> int | None:
        return self._with_areas(entry.memory_bytes)

    def _with_areas(self, limit: int | None) -> int | None:
        return None if limit is None else limit + self._shared_bytes

    def _tell(self, entry: _Entry, outcome: Outcome) -> None:
        if outcome.traceback:
            self.on_traceback(f"{entry.input.name}:\n{outcome.traceback}")

    def _prepared(self, entry: _Entry, prepared: Prepared) -> None:
        entry.identity, entry.limit_s = prepared.identity, prepared.limit_s
        entry.memory_bytes, entry.duration_s = prepared.memory_bytes, prepared.duration_s
        entry.about, entry.warnings = prepared.about, prepared.warnings
        entry.known = prepared.known
        parts = [_Part(entry, (i, 0), content) for i, content in enumerate(prepared.parts)]
        entry.unfinished = len(parts)
        entry.shares = dict.fromkeys((part.order for part in parts), 0.0)
        if parts and self._device is not None:
            self._unloaded.extend(parts)
        elif len(parts) < 2:
            args = (self.work, self.request, entry.input, parts[0].content if parts else None)
            self._work_on(entry, _whole, args, partial(self._finished, entry), _WHOLE)
        else:
            for part in parts:
                self._run(part)

    def _run(self, part: _Part) -> None:
        args = (self.request, part.entry.input, part.content)
        then = partial(self._part_done, part)
        self._work_on(part.entry, self.work.run, args, then, part.order)

    def _part_done(self, part: _Part, result: Any) -> None:
        entry = part.entry
        entry.results[part.order] = result
        entry.shares[part.order] = 1.0
        entry.unfinished -= 1
        if entry.unfinished == 0:
            results = [entry.results[order] for order in sorted(entry.results)]
            entry.results.clear()
            args = (self.request, entry.input, results)
            self._work_on(entry, self.work.finish, args, partial(self._finished, entry))

    def _load_parts(self, device: Device) -> None:
        """Have workers load the parts for which there are areas."""
        while self._unloaded and device.free:
            part = self._unloaded.popleft()
            if part.entry.ended:
                continue
            area = device.free.pop()
            key = self._start(
                self._pool,
                load_part,
                (self.work.stage, self.request, part.entry.input, part.content, area),
                self._limit_s(part.entry),
                partial(self._loaded, device, part, area),
                self._memory_bytes(part.entry),
            )
            self._working[key] = part.entry, part.order

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
            entry.shares[part.order[0], part.order[1] + 1] = 0.0
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
        self._leave(entry)
        self.tally.settle(entry.length_s)
        record = {**fields, **entry.about}
        warnings = [*entry.warnings, *fields.get("warnings", ())]
        if gaps := joined(entry.gaps):
            record["undecoded_s"] = [[round(time_s, 3) for time_s in gap] for gap in gaps]
            told = [f"{begin_s:.1f} to {end_s:.1f} s" for begin_s, end_s in gaps[:MOST_TOLD]]
            more = f" and {len(gaps) - MOST_TOLD} more" if len(gaps) > MOST_TOLD else ""
            warnings.append(f"its pictures could not be decoded from {', '.join(told)}{more}")
        if warnings:
            record["warnings"] = warnings
        self.ledger.finish(entry.input.name, entry.identity, record)
        self._tell_progress()

    def _end(self, entry: _Entry, error: InputError) -> None:
        self._leave(entry)
        self.tally.fail(entry.share, entry.length_s)
        self.ledger.fail(entry.input.name, entry.identity, error)
        self._tell_progress()

    def _leave(self, entry: _Entry) -> None:
        entry.ended = True
        entry.results.clear()
        del self._entries[id(entry)]


def _whole(work: Work, request: Any, input: Input, part: Any) -> Record:
    return work.finish(request, input, [work.run(request, input, part)])
