"""Call one function for many things in workers; what fails costs its own result alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from vmm_cli.batch.runner import Task, WorkerPool
from vmm_cli.errors import InputError

T = TypeVar("T")


def gather(
    function: Callable[..., T],
    calls: Sequence[tuple[Any, ...]],
    limits_s: Sequence[float],
    *,
    jobs: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[T | InputError]:
    """Return what `function` gives for the arguments of each call, or the error that ended it.

    `limits_s`: how long each may take, in seconds. `on_progress` hears how many are done, of all.
    """
    results: dict[int, T | InputError] = {}
    with WorkerPool(max(1, min(jobs, len(calls)))) as pool:
        for i, (arguments, limit_s) in enumerate(zip(calls, limits_s, strict=True)):
            pool.submit(Task(str(i), function, arguments, limit_s))
        while pool.pending:
            outcome = pool.next_outcome()
            value: Any = outcome.value
            results[int(outcome.key)] = value if outcome.error is None else outcome.error
            on_progress(len(results), len(calls))
    return [results[i] for i in range(len(calls))]
