"""What `execute` asks of whatever does its tasks: see `vmm_cli.batch.local` for this machine's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vmm_cli.errors import InputError
from vmm_cli.progress import Stand

Stands = Mapping[str, Stand]  # how far tasks are that say so, by their keys


@dataclass(frozen=True)
class Task:
    """A call to be made in a worker.

    Attributes:
        key: names the task in its outcome; need not be unique.
        function: at module level, so that a worker can import it.
        args: picklable.
        timeout_s: how long the call may take, in seconds; None for no limit. What it loads for
            later calls too does not count, nor does the time in which the parent was stopped.
        memory_bytes: how much memory its worker may take; None for no limit.
        memory_hint: what to do where it takes more, for the error.
    """

    key: str
    function: Callable[..., object]
    args: tuple[Any, ...]
    timeout_s: float | None = None
    memory_bytes: int | None = None
    memory_hint: str = "; raise the limit with --max-memory"


@dataclass(frozen=True)
class Outcome:
    """What came of a task: `value`, or `error` where that is not None.

    Error codes: that of the VmmError the function raised; `timeout`; `crashed` (the worker died);
    `memory` (there was none left, or it took more than it may); `internal` (any other exception,
    with `traceback`). `wall_s` is in seconds.
    """

    key: str
    value: object | None
    error: InputError | None
    traceback: str | None
    wall_s: float


class DeviceProcess(Protocol):
    """The one process that owns a device, and shares areas of memory with all other workers.

    What comes of its tasks, the executor's `next_outcome` tells.
    """

    @property
    def areas(self) -> int:
        """How many areas of memory there are, numbered from 0."""

    def submit(self, task: Task, /) -> None:
        """Queue a task for this process."""

    def renew(self) -> None:
        """End the process, and what it was at, and have a new one for later tasks."""

    def close(self) -> None:
        """End the process for good; the areas stay."""


class Executor(Protocol):
    """Does tasks in any order; what fails, dies or hangs costs its own task alone."""

    @property
    def slots(self) -> int:
        """How many tasks are done at once."""

    @property
    def device(self) -> DeviceProcess | None:
        """The process that owns a device; None where there is none to be had here."""

    def submit(self, task: Task, /) -> None:
        """Queue a task."""

    def next_outcome(self, on_look: Callable[[Stands], None], /) -> Outcome:
        """Wait for the next task to end, in whatever order, and return what came of it.

        `on_look` is called a few times a second, with how far the tasks under way are.
        """

    def close(self) -> None:
        """End all that is under way and drop what is pending. Safe to call again."""


# start(area_bytes): begin to take tasks. `area_bytes` is how much memory tasks leave for a device
# at a time; 0: the work needs no device.
StartExecutor = Callable[[int], Executor]
