"""The executor of this machine: spawned workers, and one process more where a device is wanted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from vmm_cli.batch.device import DeviceProcess
from vmm_cli.batch.executor import Device, Outcome, Stands, Task
from vmm_cli.batch.runner import WorkerPool
from vmm_cli.batch.worker import import_ahead
from vmm_cli.errors import ResourceError

# A pool whose worker has started, and the environment that this was told.
_ahead: tuple[WorkerPool, dict[str, str]] | None = None


@contextmanager
def started_ahead(modules: Sequence[str]) -> Iterator[None]:
    """Have a worker import `modules` while this process still finds out what there is to do.

    The first `LocalExecutor` within the block takes it, unless that computes on a device, or the
    environment is another one by then.
    """
    global _ahead
    wanted = ("vmm_cli.batch.work", *modules)
    try:
        with suppress(ResourceError, OSError):  # the executor says it, where it matters then
            _ahead = WorkerPool(1, initializer=import_ahead, initargs=(wanted,)), dict(os.environ)
            _ahead[0].start_ahead()
        yield
    finally:
        if _ahead is not None:
            _ahead[0].close()
            _ahead = None


def _pool_of(jobs: int) -> WorkerPool:
    """Return a pool of at most `jobs` workers: the one that has started, where that will do."""
    global _ahead
    if _ahead is None or _ahead[1] != os.environ:
        return WorkerPool(jobs)
    pool, _ahead = _ahead[0], None
    pool.widen(jobs)
    return pool


class LocalExecutor:
    """Does tasks in at most `jobs` processes: see `WorkerPool`.

    Raises:
        OSError: no process can own the device here.
    """

    def __init__(self, jobs: int, device: Device | None = None) -> None:
        self.slots = jobs
        self._device = None if device is None else DeviceProcess(device)
        if self._device is None:
            self._pool = _pool_of(jobs)
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
