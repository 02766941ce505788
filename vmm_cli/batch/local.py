"""The executor of this machine: spawned workers, and one process more where a device is wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vmm_cli.batch.executor import Outcome, Stands, Task
from vmm_cli.batch.runner import WorkerPool
from vmm_cli.batch.shared_memory import SharedAreas, attach

# For each worker an area that it fills and one that waits or is computed on.
AREAS_PER_WORKER = 2


class LocalExecutor:
    """Does tasks in at most `jobs` processes: see `WorkerPool`.

    Raises:
        OSError: there is no shared memory to be had.
    """

    def __init__(self, jobs: int, area_bytes: int = 0) -> None:
        self.slots = jobs
        self.device: LocalDevice | None = None
        if area_bytes:
            self.device = LocalDevice(jobs * AREAS_PER_WORKER, area_bytes)
            self._pool = self.device.workers(jobs)
        else:
            self._pool = WorkerPool(jobs)

    def submit(self, task: Task) -> None:
        """Queue a task; it starts at once where a worker is free."""
        if self.device is not None and task.memory_bytes is not None:
            # What a worker may map beside its own memory.
            task = replace(task, memory_bytes=task.memory_bytes + self.device.shared_bytes)
        self._pool.submit(task)

    def next_outcome(self, on_look: Callable[[Stands], None]) -> Outcome:
        """Wait for the next task to end, the device's too, and return what came of it."""
        pools = [self._pool]
        if self.device is not None and self.device.pool is not None:
            pools.append(self.device.pool)
        return WorkerPool.next_outcome_of(pools, lambda: on_look(self._pool.stands()))

    def close(self) -> None:
        """Kill all processes and let go of the memory. Safe to call again."""
        self._pool.close()
        if self.device is not None:
            self.device.close()
            self.device.let_go()


class LocalDevice:
    """A process that owns a device, and the memory it shares with the workers."""

    def __init__(self, areas: int, area_bytes: int) -> None:
        self.areas = areas
        self.shared_bytes = areas * area_bytes
        self._memory = SharedAreas(areas, area_bytes)
        self.pool: WorkerPool | None = self.workers(1)

    def workers(self, number: int) -> WorkerPool:
        """Return a pool of workers to which the areas are attached."""
        return WorkerPool(number, initializer=attach, initargs=(self._memory,))

    def submit(self, task: Task) -> None:
        """Queue a task for the process."""
        if self.pool is not None:
            self.pool.submit(task)

    def renew(self) -> None:
        """End the process, also where it lives: after a CUDA error it is of no use."""
        self.close()
        self.pool = self.workers(1)

    def close(self) -> None:
        """End the process; the areas stay, for workers that still attach them."""
        if self.pool is not None:
            self.pool.close()
        self.pool = None

    def let_go(self) -> None:
        """Let go of the memory."""
        self._memory.close()
