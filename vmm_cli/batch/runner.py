"""A pool of spawned workers of which any may die, hang or be killed at the cost of its task alone.

The parent owns nothing fragile: it never blocks on a worker. Messages pass over one socket per
worker that the parent reads and writes without waiting, so that half a message from a worker that
died or stopped holds nothing up.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import pickle
import selectors
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import resource_tracker
from types import TracebackType
from typing import Any

from vmm_cli.batch import worker as messages
from vmm_cli.batch.capacity import open_files_allowed
from vmm_cli.batch.children import (
    LOOK_S,
    Clock,
    Job,
    Worker,
    death,
    environment,
    take_message,
    too_much,
    unpickled,
)
from vmm_cli.batch.executor import Outcome, Stands, Task
from vmm_cli.batch.interruptions import held
from vmm_cli.batch.memory import MemoryWatch
from vmm_cli.batch.worker import Report, header, work
from vmm_cli.errors import InputError, ResourceError
from vmm_cli.progress import Stand

# A worker that hung up has ended or is about to; longer, and it has only closed its connection.
HANG_UP_WAIT_S = 0.5
# After SIGKILL only a process stuck in the kernel (a dead network disk) takes longer; it is left.
KILL_WAIT_S = 2.0
READ_BYTES = 1 << 20
# Of a worker the parent holds a socket, a pipe and a descriptor of the process; as it starts, more.
FILES_PER_WORKER = 4
FILES_BESIDE_WORKERS = 20


class WorkerPool:
    """Runs tasks in at most `workers` spawned processes, one task each at a time.

    Workers start when there is work for them. One that dies, or runs past its task's limit and is
    killed, is replaced when there is more to do. They ignore Ctrl-C, SIGTERM and SIGHUP, print to
    standard error only, and end with the parent, also where that is killed: on Linux the kernel
    sees to it when the *thread* that submits and collects ends.

    Use it as a context manager, from one thread; leaving it kills the workers at once.

    Args:
        workers: how many at most.
        threads_per_worker: what OpenMP and the BLAS libraries are told before they load.
        initializer: called with `initargs` in each worker before its first task. Where it raises,
            each of that worker's tasks fails with its error.
        initargs: picklable.

    Raises:
        ResourceError: this process may not open as many files as a worker takes.
    """

    def __init__(
        self,
        workers: int,
        *,
        threads_per_worker: int = 1,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        if workers < 1:
            raise ValueError(f"a pool needs at least 1 worker, not {workers}")
        self._limit = min(workers, _workers_by_files(workers))
        self._threads = threads_per_worker
        self._initializer = initializer
        self._initargs = initargs
        self._workers: list[Worker] = []
        self._waiting: deque[Job] = deque()
        self._outcomes: deque[Outcome] = deque()
        self._selector = selectors.DefaultSelector()
        self._clock = Clock()
        self._memory = MemoryWatch()
        self._closed = False

    def __enter__(self) -> WorkerPool:
        """Return the pool."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the pool."""
        self.close()

    @property
    def pending(self) -> int:
        """How many submitted tasks have an outcome still to be fetched."""
        busy = sum(worker.job is not None for worker in self._workers)
        return len(self._waiting) + busy + len(self._outcomes)

    def start_ahead(self) -> None:
        """Start a worker before there is anything for it to do.

        Raises:
            OSError: it could not be started.
        """
        self._start_worker()

    def widen(self, workers: int) -> None:
        """Allow `workers` processes from here on; raises ResourceError as the constructor does."""
        self._limit = min(workers, _workers_by_files(workers))

    def submit(self, task: Task) -> None:
        """Queue a task; it starts at once where a worker is free.

        Raises:
            Exception: what pickle raises where the task cannot be passed to another process.
            OSError: no worker could be started and none is there.
        """
        if self._closed:
            raise RuntimeError("the pool is closed")
        content = pickle.dumps((task.function, task.args), pickle.HIGHEST_PROTOCOL)
        self._waiting.append(
            Job(task.key, content, task.timeout_s, task.memory_bytes, task.memory_hint)
        )
        self._hand_out()

    def stands(self) -> Stands:
        """Return how far tasks are that say so, by their keys."""
        return {
            worker.job.key: worker.stand
            for worker in self._workers
            if worker.job is not None and worker.stand is not None
        }

    def next_outcome(self, on_look: Callable[[], None] = lambda: None) -> Outcome:
        """Wait for the next task to end, in whatever order, and return what came of it.

        Limits are kept while this waits: call it again soon. `on_look` is called each `LOOK_S` or
        more often.

        Raises:
            LookupError: no task is pending.
            OSError: no worker could be started and none is there.
        """
        return self.next_outcome_of((self,), on_look)

    @staticmethod
    def next_outcome_of(
        pools: Sequence[WorkerPool], on_look: Callable[[], None] = lambda: None
    ) -> Outcome:
        """Wait for the next task of any of the pools: see `next_outcome`."""
        while not (ready := next((pool for pool in pools if pool._outcomes), None)):
            if not any(pool.pending for pool in pools):
                raise LookupError("no task is pending")
            on_look()
            for pool in pools:
                pool._hand_out()
            pause_s = min(pool._longest_wait_s() for pool in pools)
            multiprocessing.connection.wait([pool._selector.fileno() for pool in pools], pause_s)
            for pool in pools:
                pool._attend()
                pool._hand_out()  # at once: the caller may take a while with the outcome
        return ready._outcomes.popleft()

    def close(self) -> None:
        """Kill all workers, busy or not, and drop what is pending. Safe to call again."""
        with held():
            self._closed = True
            self._waiting.clear()
            self._outcomes.clear()
            for worker in self._workers:
                worker.process.kill()
            while self._workers:
                self._remove(self._workers[-1])
            self._memory.close()
            self._selector.close()

    def _hand_out(self) -> None:
        """Give waiting jobs to free workers, and start workers for the rest."""
        while self._waiting:
            fresh = self._waiting[0].needs_fresh_worker
            idle = [worker for worker in self._workers if worker.job is None]
            worker = next((worker for worker in idle if worker.is_fresh or not fresh), None)
            if worker is None:
                if len(self._workers) >= self._limit and idle:
                    self._remove(idle[0])
                if len(self._workers) >= self._limit:
                    return
                try:
                    worker = self._start_worker()
                except OSError:  # no memory or no process left: those that run may do
                    if not self._workers:
                        raise
                    self._limit = len(self._workers)
                    return
            self._assign(worker, self._waiting.popleft())

    def _assign(self, worker: Worker, job: Job) -> None:
        worker.job, worker.begun, worker.since = job, False, self._clock.now()
        worker.loads_since, worker.loaded_s, worker.stand = None, 0.0, None
        pid = worker.process.pid
        assert pid is not None
        self._memory.limit(pid, job.memory_bytes)
        worker.resident_at_start = self._memory.resident(pid)
        worker.unsent = memoryview(header(len(job.content)) + job.content)
        self._send(worker)

    def _start_worker(self) -> Worker:
        # Started before signals are held: starting it would let them through again.
        resource_tracker.ensure_running()
        context = multiprocessing.get_context("spawn")
        ours, theirs = socket.socketpair()
        with held(), theirs:
            try:
                process = context.Process(
                    target=work,
                    args=(theirs, os.getpid(), self._initializer, self._initargs),
                    daemon=True,
                    name="vmm-worker",
                )
                with environment(self._threads):
                    process.start()
            except BaseException:
                ours.close()
                raise
            ours.setblocking(False)
            worker = Worker(process, ours)
            self._workers.append(worker)
            self._selector.register(ours, selectors.EVENT_READ, worker)
            self._selector.register(process.sentinel, selectors.EVENT_READ, worker)
        return worker

    def _longest_wait_s(self) -> float:
        deadlines = [worker.deadline() for worker in self._workers]
        until_first = min(deadlines, default=float("inf")) - self._clock.now()
        return min(LOOK_S, max(0.0, until_first))

    def _attend(self) -> None:
        """See to what has happened to the workers meanwhile."""
        for key, events in self._selector.select(0):
            worker: Worker = key.data
            if events & selectors.EVENT_WRITE:
                self._send(worker)
            if events & selectors.EVENT_READ and key.fileobj is worker.channel:
                self._receive(worker)
        for worker in tuple(self._workers):
            if worker.hung_up or not worker.process.is_alive():
                self._bury(worker)
            elif worker.deadline() <= self._clock.now():
                self._end_overdue(worker)

    def _send(self, worker: Worker) -> None:
        """Write what the socket takes of the job; the rest follows when it takes more."""
        try:
            while worker.unsent:
                worker.unsent = worker.unsent[worker.channel.send(worker.unsent) :]
        except BlockingIOError:
            pass
        except OSError:  # it died; its sentinel tells
            worker.unsent = memoryview(b"")
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.unsent else 0)
        if self._selector.get_key(worker.channel).events != events:
            self._selector.modify(worker.channel, events, worker)

    def _receive(self, worker: Worker) -> bool:
        """Read what there is, without waiting for more; tell whether there was anything."""
        try:
            chunk = worker.channel.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # reset: it died with part of its task unread
            chunk = b""
        if not chunk:
            worker.hung_up = True
            return False
        worker.received += chunk
        worker.heard = self._clock.now()
        while (content := take_message(worker)) is not None:
            self._hear(worker, bytes(content[:1]), content[1:])
        return True

    def _hear(self, worker: Worker, kind: bytes, content: memoryview) -> None:
        """Take one message: see `vmm_cli.batch.worker`."""
        if kind == messages.BEGUN:
            worker.begun, worker.since = True, worker.heard
        elif kind == messages.WENT and len(content) == messages.STAND.size:
            worker.stand = Stand(*messages.STAND.unpack(content))
        elif kind == messages.LOADS:
            worker.loads_since = worker.heard
        elif kind == messages.LOADED and len(content) == messages.SECONDS.size:
            worker.loads_since = None
            worker.loaded_s += messages.SECONDS.unpack(content)[0]
        else:
            self._settle(worker, unpickled(content))

    def _settle(self, worker: Worker, report: Report) -> None:
        """Note the outcome of a worker's job and free the worker."""
        job = worker.job
        if job is None:
            return
        error = None if report.code is None else InputError(report.code, report.message)
        wall_s = self._clock.now() - worker.since
        self._outcomes.append(Outcome(job.key, report.value, error, report.traceback, wall_s))
        worker.job, worker.is_fresh = None, False

    def _bury(self, worker: Worker) -> None:
        """Remove a worker that died, after reading what it had still sent."""
        # Ends at the end of the stream, or where nothing more comes though a process that the
        # worker left behind holds the socket open.
        while worker.job is not None and self._receive(worker):
            pass
        worker.process.join(HANG_UP_WAIT_S)
        how = death(worker.process.exitcode)
        assert worker.process.pid is not None
        took_too_much = self._memory.forget(worker.process.pid)
        if (job := worker.job) is not None:
            if self._has_another_turn(worker, job, took_too_much):
                job.restarts += 1
                worker.job = None
                self._waiting.appendleft(job)
            elif took_too_much:
                self._settle(worker, Report(None, "memory", too_much(job)))
            else:
                what = f"the process that worked on it {how}"
                self._settle(worker, Report(None, "crashed", what))
        self._remove(worker)

    def _has_another_turn(self, worker: Worker, job: Job, took_too_much: bool) -> bool:
        """Tell whether a task is tried again that was with a worker as that died."""
        if job.restarts > 0:
            return False
        if took_too_much and not worker.is_fresh and job.memory_bytes is not None:
            # Much of the memory may be what earlier tasks left.
            job.needs_fresh_worker = worker.resident_at_start > job.memory_bytes / 2
            return job.needs_fresh_worker
        return not worker.begun  # the task had no turn yet

    def _end_overdue(self, worker: Worker) -> None:
        worker.process.kill()
        self._settle(worker, Report(None, "timeout", worker.overdue()))
        self._remove(worker)

    def _remove(self, worker: Worker) -> None:
        """Kill a worker, if need be, and let go of all it holds."""
        assert worker.process.pid is not None
        self._memory.forget(worker.process.pid)
        self._selector.unregister(worker.channel)
        self._selector.unregister(worker.process.sentinel)
        worker.channel.close()
        worker.process.kill()
        worker.process.join(KILL_WAIT_S)
        with suppress(ValueError):  # still there: stuck in the kernel
            worker.process.close()
        self._workers.remove(worker)


def _workers_by_files(workers: int) -> int:
    """Return how many of so many workers the limit on open files leaves room for, at least 1."""
    allowed = open_files_allowed(at_least=FILES_BESIDE_WORKERS + workers * FILES_PER_WORKER)
    room = (allowed - FILES_BESIDE_WORKERS) // FILES_PER_WORKER
    if room < 1:
        least = FILES_BESIDE_WORKERS + FILES_PER_WORKER
        raise ResourceError(
            f"this process may have {allowed} files open at once and needs {least}; raise the "
            "limit: ulimit -n"
        )
    return room
