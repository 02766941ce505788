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


@dataclass(frozen=True, slots=True)
class Device:
    """A device to compute on.

    Attributes:
        name: for those who load what computes, such as "cuda:1".
        open: called with the name in the process that owns the device, before all else. At module
            level. Raises a VmmError where it cannot be used.
        optional: where it cannot be used workers compute themselves; else that ends the run.
        limit_s: how long a network may compute at a time, in seconds.
    """

    name: str
    open: Callable[[str], None]
    optional: bool = False
    limit_s: float = 30.0


class Executor(Protocol):
    """Does tasks in any order; what fails, dies or hangs costs its own task alone."""

    @property
    def slots(self) -> int:
        """How many tasks are done at once."""

    def submit(self, task: Task, /) -> None:
        """Queue a task."""

    def next_outcome(self, on_look: Callable[[Stands], None], /) -> Outcome:
        """Wait for the next task to end, in whatever order, and return what came of it.

        `on_look` is called a few times a second, with how far the tasks under way are.
        """

    def close(self) -> None:
        """End all that is under way and drop what is pending. Safe to call again."""


# start(device): begin to take tasks, which may compute on a device: see `vmm_cli.batch.device`.
# DeviceError where there is none to be had and it is not optional; what is found out later,
# `next_outcome` raises.
StartExecutor = Callable[[Device | None], Executor]
