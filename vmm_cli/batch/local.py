"""The executor of this machine: spawned workers, and one process more where a device is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from vmm_cli.batch.device import DeviceProcess
from vmm_cli.batch.executor import Device, Outcome, Stands, Task
from vmm_cli.batch.runner import WorkerPool
from vmm_cli.batch.worker import import_ahead
from vmm_cli.errors import ResourceError

_ahead: WorkerPool | None = None


@contextmanager
def started_ahead(modules: Sequence[str]) -> Iterator[None]:
    """Have a worker import `modules` while this process still finds out what there is to do.

    The first `LocalExecutor` within the block that needs no device takes it.
    """
    global _ahead
    wanted = ("vmm_cli.batch.work", *modules)
    try:
        with suppress(ResourceError, OSError):  # the executor says it, where it matters then
            _ahead = WorkerPool(1, initializer=import_ahead, initargs=(wanted,))
            _ahead.start_ahead()
        yield
    finally:
        if (left := _take_ahead()) is not None:
            left.close()


def _take_ahead() -> WorkerPool | None:
    global _ahead
    taken, _ahead = _ahead, None
    return taken


class LocalExecutor:
    """Does tasks in at most `jobs` processes: see `WorkerPool`.

    Raises:
        OSError: no process can own the device here.
    """

    def __init__(self, jobs: int, device: Device | None = None) -> None:
        self.slots = jobs
        self._device = None if device is None else DeviceProcess(device)
        if self._device is None:
            self._pool = _take_ahead() or WorkerPool(jobs)
            self._pool.widen(jobs)
        else:
            from vmm_cli.batch.device_client import attach

            self._pool = WorkerPool(jobs, initializer=attach, initargs=(self._device.address,))

    def submit(self, task: Task) -> None:
        """Queue a task; it starts at once where a worker is free."""
        self._pool.submit(task)

    def next_outcome(self, on_look: Callable[[Stands], None]) -> Outcome:
        """Wait for the next task to end, and return what came of it.

        Raises:
            DeviceError: the device cannot be used, and nothing is to be done without it.
        """

        def look() -> None:
            if self._device is not None:
                self._device.attend()
            on_look(self._pool.stands())

        while True:
            pools = [self._pool]
            if self._device is not None and self._device.pool is not None:
                pools.append(self._device.pool)
            outcome = WorkerPool.next_outcome_of(pools, look)
            if self._device is None or not self._device.take(outcome):
                return outcome

    def close(self) -> None:
        """Kill all processes. Safe to call again."""
        self._pool.close()
        if self._device is not None:
            self._device.close()
