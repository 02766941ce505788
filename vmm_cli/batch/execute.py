"""Run one kind of work over many inputs: what is done is skipped, what fails costs itself alone.

Nothing is printed here; the caller hears of each record through a `Listener`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic, TypeVar, cast

from vmm_cli.batch.absent import why_missing
from vmm_cli.batch.children import LOOK_S
from vmm_cli.batch.entry import WHOLE, Entry, PartOf
from vmm_cli.batch.executor import Device, Executor, Outcome, Stands, StartExecutor, Task
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.interruptions import held
from vmm_cli.batch.journal import Journal
from vmm_cli.batch.ledger import Known, Ledger, Record, Records, Summary
from vmm_cli.batch.lock import Hold, lock
from vmm_cli.batch.tally import Standing, Tally
from vmm_cli.batch.work import (
    PREPARE_LIMIT_S,
    Informed,
    Job,
    Limits,
    Look,
    Part,
    Prepared,
    Result,
    Work,
    are_done,
    finished,
    informed,
    prepare,
    run_part,
    run_whole,
)
from vmm_cli.errors import InputError

T = TypeVar("T")

# Inputs handed out ahead of the workers, so that none waits while the parent writes.
INPUTS_AHEAD = 2
# Looking at one that is done takes less time than the way to a worker and back.
LOOKED_AT_TOGETHER = 50


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears how a run goes.

    Attributes:
        on_record: each record as it is ready.
        on_progress: how far all is, often.
        on_traceback: what a developer wants to know of an error.
        on_end: once all is done and while the output is still held, what returns an input's
            record; no record is kept in memory for that.
    """

    on_record: Callable[[Record], None]
    on_progress: Callable[[Standing], None] = lambda standing: None
    on_traceback: Callable[[str], None] = lambda text: None
    on_end: Callable[[Callable[[str], Record | None]], None] | None = None


def execute(
    work: Work[Job, Part, Result],
    inputs: Sequence[Input],
    missing: Sequence[str],
    *,
    records: Records,
    limits: Limits,
    start: StartExecutor,
    listener: Listener,
) -> Summary:
    """Do `work` on every input and hand on each one's record as it is ready.

    Records are `{"schema", "input", "status": "ok", ...}` or `{"schema", "input", "status":
    "failed", "error": {"code", "message"}}`. With an output, every record is in its journal, on
    disk, before anybody hears of it, and an input whose journal record is ok and made from the
    same file with one of the same marks is handed on as it is (`Records.resume`). `missing`: names
    that lead nowhere; each gives a failed record. Inputs are looked at in workers alone: a disk
    that does not answer holds up nothing but them.

    Raises:
        LockedError: another run holds the output.
        OutputError: the journal cannot be written, or the output was removed or replaced meanwhile.
        DeviceError: the device that `work` cannot do without cannot be used.
    """
    stack = ExitStack()  # what must be ended, whatever happens
    undisturbed = ExitStack()
    try:
        try:
            hold = journal = None
            if records.output is not None:
                with held():
                    hold = stack.enter_context(lock(records.output))
                owned = work.owned
                places = (lambda record: None) if owned is None else owned.place
                journal = stack.enter_context(Journal(records.output, places))
            if work.tidy is not None:  # once the workers are gone, before the lock is
                stack.callback(_tidy, work.tidy, work.job, hold)
                work.tidy(work.job)
            check = _nothing if hold is None else hold.check
            ledger = Ledger(records, journal, work.owned, listener.on_record, check)
            executor = start(_device_for(work, limits))
            stack.callback(executor.close)
            tally = Tally(len(inputs) + len(missing))
            run = _Run(work, limits, listener, ledger, tally, executor, len(inputs))
            run.all(inputs, missing)
            if listener.on_end is not None and journal is not None:
                ledger.check()
                listener.on_end(journal.last)
            return ledger.summary()
        finally:
            # An interruption may come right before this: it is then one that no other follows.
            undisturbed.enter_context(held())
    finally:
        stack.close()
        undisturbed.close()


def _tidy(tidy: Callable[[Job], None], job: Job, hold: Hold | None) -> None:
    """Remove what unfinished work left, unless the place is another run's by now."""
    if hold is None or hold.is_ours():
        tidy(job)


def _device_for(work: Work[Job, Part, Result], limits: Limits) -> Device | None:
    """Return the device, which must be done with what hangs before those who wait run out of time.

    What hangs is tried twice.
    """
    device = work.device
    if device is None or limits.timeout_s is None:
        return device
    return replace(device, limit_s=min(device.limit_s, limits.timeout_s / 4))


def _nothing() -> None:
    pass


@dataclass(slots=True)
class _Run(Generic[Job, Part, Result]):
    """The state of one `execute`: its executor, and what each task is at."""

    work: Work[Job, Part, Result]
    limits: Limits
    listener: Listener
    ledger: Ledger
    tally: Tally
    executor: Executor
    inputs: int  # how many there are
    _tasks: dict[str, Callable[[Outcome], None]] = field(default_factory=dict)
    _working: dict[str, tuple[Entry[Result], int]] = field(default_factory=dict)
    _entries: dict[int, Entry[Result]] = field(default_factory=dict)  # by identity in memory
    _serial: int = 0
    _looked: float = float("-inf")

    def all(self, inputs: Sequence[Input], missing: Sequence[str]) -> None:
        """Do everything."""
        for name in missing:
            self.tally.settle(was_work=False)
            self.ledger.fail(name, None, InputError("missing", why_missing(name)))
            self._tell_progress()
        waiting = deque(inputs)
        while True:
            while waiting and len(self._tasks) < self.executor.slots * INPUTS_AHEAD:
                self._take_up(waiting)
            if not self._tasks:
                return
            outcome = self.executor.next_outcome(self._look)
            self._working.pop(outcome.key, None)
            self._tasks.pop(outcome.key)(outcome)

    def _look(self, stands: Stands) -> None:
        """See now and then whether the output is still ours, and how far the workers are."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        self.ledger.check()
        for key, stand in stands.items():
            if (working := self._working.get(key)) is not None:
                entry, order = working
                entry.hear(order, stand)
        self._tell_progress()

    def _tell_progress(self) -> None:
        entries = self._entries.values()
        standing = self.tally.standing((entry.share, entry.length_s) for entry in entries)
        self.listener.on_progress(standing)

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
        limit_s = PREPARE_LIMIT_S if self.limits.timeout_s is None else self.limits.timeout_s
        self._start(are_done, args, limit_s, then, self.limits.memory.usual)

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
        entry: Entry[Result] = Entry(input, self.limits.memory.usual)
        self._entries[id(entry)] = entry
        args = (self._how_to_look(), input, known)
        self._submit(entry, prepare, args, partial(self._prepared, entry))

    def _how_to_look(self) -> Look[Job, Part, Result]:
        # An input is split only where it would leave workers without work.
        slots = self.executor.slots
        return Look(self.work, slots if self.inputs < slots else 1, self.limits)

    def _expect(self, then: Callable[[Outcome], None]) -> str:
        """Return a key for a task whose outcome `then` will take."""
        self._serial += 1
        key = str(self._serial)
        self._tasks[key] = then
        return key

    def _start(
        self,
        function: Callable[..., object],
        args: tuple[Any, ...],
        limit_s: float,
        then: Callable[[Outcome], None],
        memory_bytes: int | None,
    ) -> str:
        """Have a worker call a function, and `then` take what comes of it; return the key."""
        key = self._expect(then)
        self.executor.submit(Task(key, function, args, limit_s, memory_bytes))
        return key

    def _work_on(
        self,
        entry: Entry[Result],
        function: Callable[..., T],
        args: tuple[Any, ...],
        then: Callable[[T], None],
        order: int | None = None,
    ) -> None:
        """Have a worker do a step of the work, and hear which pictures it could not decode."""

        def take(done: Informed[T]) -> None:
            entry.gaps += done.gaps
            then(done.value)

        whole = (entry.input.path, entry.known, function, *args)
        self._submit(entry, informed, whole, take, order)

    def _submit(
        self,
        entry: Entry[Result],
        function: Callable[..., T],
        args: tuple[Any, ...],
        then: Callable[[T], None],
        order: int | None = None,
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
                then(cast(T, outcome.value))  # what the function returned

        key = self._start(function, args, self._limit_s(entry), take, entry.memory_bytes)
        if order is not None:
            self._working[key] = entry, order

    def _limit_s(self, entry: Entry[Result]) -> float:
        return entry.limit_s if self.limits.timeout_s is None else self.limits.timeout_s

    def _tell(self, entry: Entry[Result], outcome: Outcome) -> None:
        if outcome.traceback:
            self.listener.on_traceback(f"{entry.input.name}:\n{outcome.traceback}")

    def _prepared(self, entry: Entry[Result], prepared: Prepared[Part]) -> None:
        parts = entry.take(prepared)
        if len(parts) < 2:
            args = (self.work, entry.input, parts[0].content if parts else None)
            self._work_on(entry, run_whole, args, partial(self._finished, entry), WHOLE)
        else:
            for part in parts:
                self._run(part)

    def _run(self, part: PartOf[Part, Result]) -> None:
        args = (self.work, part.entry.input, part.content)
        then = partial(self._part_done, part)
        self._work_on(part.entry, run_part, args, then, part.order)

    def _part_done(self, part: PartOf[Part, Result], result: Result) -> None:
        entry = part.entry
        entry.results[part.order] = result
        entry.shares[part.order] = 1.0
        entry.unfinished -= 1
        if entry.unfinished == 0:
            results = [entry.results[order] for order in sorted(entry.results)]
            entry.results.clear()
            args = (self.work, entry.input, results)
            self._work_on(entry, finished, args, partial(self._finished, entry))

    def _finished(self, entry: Entry[Result], fields: Record) -> None:
        self._leave(entry)
        self.tally.settle(entry.length_s)
        self.ledger.finish(entry.input.name, entry.identity, entry.record(fields))
        self._tell_progress()

    def _end(self, entry: Entry[Result], error: InputError) -> None:
        self._leave(entry)
        self.tally.fail(entry.share, entry.length_s)
        self.ledger.fail(entry.input.name, entry.identity, error)
        self._tell_progress()

    def _leave(self, entry: Entry[Result]) -> None:
        entry.ended = True
        entry.results.clear()
        del self._entries[id(entry)]
