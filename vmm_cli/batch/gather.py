"""Call one function for many things in workers; what fails costs its own result alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, TypeVar

from vmm_cli.batch.capacity import free_memory
from vmm_cli.batch.runner import Task, WorkerPool
from vmm_cli.errors import InputError

T = TypeVar("T")

# Whatever is free: less than this some networks do not do with.
LEAST_LIMIT_BYTES = 2 * 2**30


def gather(
    function: Callable[..., T],
    calls: Sequence[tuple[Any, ...]],
    limits_s: Sequence[float],
    *,
    jobs: int,
    on_progress: Callable[[float, int], None] = lambda done, total: None,
) -> list[T | InputError]:
    """Return what `function` gives for the arguments of each call, or the error that ended it.

    `limits_s`: how long each may take, in seconds. `on_progress` hears how many are done, of all,
    with parts of those under way that say how far they are.
    """
    results: dict[int, T | InputError] = {}
    workers = max(1, min(jobs, len(calls)))
    memory_bytes = _memory_bytes(workers)
    with WorkerPool(workers) as pool:
        for i, (arguments, limit_s) in enumerate(zip(calls, limits_s, strict=True)):
            pool.submit(Task(str(i), function, arguments, limit_s, memory_bytes, memory_hint=""))

        def tell() -> None:
            begun = sum(stand.share for stand in pool.stands().values())
            on_progress(len(results) + begun, len(calls))

        while pool.pending:
            outcome = pool.next_outcome(tell)
            value: Any = outcome.value
            results[int(outcome.key)] = value if outcome.error is None else outcome.error
            tell()
    return [results[i] for i in range(len(calls))]


def _memory_bytes(workers: int) -> int | None:
    """Return how much memory each of so many workers may take: its share of what is free."""
    share = max(free_memory() / workers, LEAST_LIMIT_BYTES)
    return int(share) if isfinite(share) else None
