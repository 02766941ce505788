"""The executor of this machine: spawned workers, and one process more where a device is wanted."""

from __future__ import annotations

from collections.abc import Callable

from vmm_cli.batch.device import DeviceProcess
from vmm_cli.batch.executor import Device, Outcome, Stands, Task
from vmm_cli.batch.runner import WorkerPool


class LocalExecutor:
    """Does tasks in at most `jobs` processes: see `WorkerPool`.

    Raises:
        OSError: no process can own the device here.
    """

    def __init__(self, jobs: int, device: Device | None = None) -> None:
        self.slots = jobs
        self._device = None if device is None else DeviceProcess(device)
        if self._device is None:
            self._pool = WorkerPool(jobs)
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
