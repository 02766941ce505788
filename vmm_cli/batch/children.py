"""The parent's view of its workers: what each is at, and how one of them ended."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import SpawnProcess

from vmm_cli.batch.worker import HEADER_BYTES, Report
from vmm_cli.progress import Stand

# A task's own limit counts from when its function is called; before that a worker starts and
# imports, and a task may load more. Importing torch from a cold network disk takes tens of seconds.
START_LIMIT_S = 120.0
# How often the parent looks, also where nothing is announced: whether silent workers live (a
# process that a task left behind can hold a dead one's socket open), how far they are, and whether
# it was stopped itself. Of a longer pause no worker's clock counts more than twice as much.
LOOK_S = 0.25
# A result that has begun to arrive is waited for past its task's limit while bytes keep coming.
STALL_LIMIT_S = 5.0

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
# glibc raises this threshold with each large block that is freed, and then keeps such blocks: a
# worker that decodes for an hour grows by a third. Fixed at its first value it stays flat.
_MEMORY_VARIABLES = {"MALLOC_MMAP_THRESHOLD_": str(128 * 1024)}


@dataclass
class Job:
    """A task on its way."""

    key: str
    content: bytes  # pickled (function, args)
    timeout_s: float | None
    memory_bytes: int | None
    memory_hint: str
    restarts: int = 0  # workers that died before they began it
    needs_fresh_worker: bool = False


@dataclass(eq=False)
class Worker:
    """The parent's view of one worker process; times are those of the pool's clock."""

    process: SpawnProcess
    channel: socket.socket
    job: Job | None = None
    since: float = 0.0  # when the job was handed over, then when it began
    begun: bool = False
    loads_since: float | None = None
    loaded_s: float = 0.0
    stand: Stand | None = None
    resident_at_start: int = 0  # bytes
    is_fresh: bool = True
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))
    received: bytearray = field(default_factory=bytearray)
    heard: float = 0.0  # when bytes last came
    hung_up: bool = False

    def deadline(self) -> float:
        """Return when to kill it."""
        if self.job is None or self.job.timeout_s is None:
            return float("inf")
        if not self.begun:
            deadline = self.since + START_LIMIT_S
        elif self.loads_since is not None:
            deadline = self.loads_since + START_LIMIT_S
        else:
            deadline = self.since + self.job.timeout_s + self.loaded_s
        return max(deadline, self.heard + STALL_LIMIT_S) if self.received else deadline

    def overdue(self) -> str:
        """Return what is said of it past its deadline."""
        assert self.job is not None
        if not self.begun:
            return f"its worker had not started after {START_LIMIT_S:g} s"
        if self.loads_since is not None:
            return f"its worker had not loaded what it needs after {START_LIMIT_S:g} s"
        return f"not done after {self.job.timeout_s:g} s; raise the limit with --timeout"


class Clock:
    """Counts the seconds in which the parent looked after its workers: it stands with the parent.

    A run that was stopped, as by Ctrl-Z, goes on as if nothing had been.
    """

    def __init__(self) -> None:
        self._counted = 0.0
        self._looked = time.monotonic()

    def now(self) -> float:
        """Return the seconds so far."""
        now = time.monotonic()
        self._counted += min(now - self._looked, 2 * LOOK_S)
        self._looked = now
        return self._counted


def take_message(worker: Worker) -> memoryview | None:
    """Cut the first whole message off what was received; return its content, None if none."""
    received = worker.received
    if len(received) < HEADER_BYTES:
        return None
    end = HEADER_BYTES + int.from_bytes(received[:HEADER_BYTES], "big")
    if len(received) < end:
        return None
    worker.received = received[end:]  # as a rule nothing: a result of 100 MB is not copied
    return memoryview(received)[HEADER_BYTES:end]


def unpickled(content: memoryview) -> Report:
    """Return what a worker reports; a failure where that cannot be read back."""
    try:
        report = pickle.loads(content)
    except MemoryError:
        return Report(None, "memory", "there was not enough memory to take its result")
    except Exception as error:
        what = f"its result cannot be read back: {type(error).__name__}: {error}"
        return Report(None, "internal", what)
    assert isinstance(report, Report)
    return report


def too_much(job: Job) -> str:
    """Return what is said of a task that took more memory than it may."""
    limit = f"{(job.memory_bytes or 0) / 2**20:.0f} MiB"
    return f"it takes more than {limit} of memory{job.memory_hint}"


def death(exit_code: int | None) -> str:
    """Return how a worker ended; None: it lives."""
    if exit_code is None:
        return "closed its connection"
    if exit_code >= 0:
        return f"ended by itself with code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:  # a real-time signal
        name = f"signal {-exit_code}"
    hint = "; the system may have run out of memory" if name == "SIGKILL" else ""
    return f"was ended by {name}{hint}"


@contextmanager
def environment(threads: int) -> Iterator[None]:
    """Set what a process started meanwhile must find before it imports anything."""
    wanted = dict.fromkeys(_THREAD_VARIABLES, str(threads)) | _MEMORY_VARIABLES
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
