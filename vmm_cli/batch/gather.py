"""Call one function for many things in workers; what fails costs its own result alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from math import isfinite
from typing import Any, TypeVar, cast

from vmm_cli.batch.capacity import free_memory
from vmm_cli.batch.executor import Device, Stands, Task
from vmm_cli.batch.local import LocalExecutor
from vmm_cli.batch.tally import Standing, Tally
from vmm_cli.errors import InputError
from vmm_cli.progress import Stand

T = TypeVar("T")

# Whatever is free: less than this some networks do not do with.
LEAST_LIMIT_BYTES = 2 * 2**30


def gather(
    function: Callable[..., T],
    calls: Sequence[tuple[Any, ...]],
    limits_s: Sequence[float],
    *,
    jobs: int,
    device: Device | None = None,
    lengths_s: Sequence[float | None] | None = None,
    on_progress: Callable[[Standing], None] = lambda standing: None,
) -> list[T | InputError]:
    """Return what `function` gives for the arguments of each call, or the error that ended it.

    `limits_s`: how long each may take, in seconds. `lengths_s`: how much video each goes over, as
    far as that is known beforehand. `on_progress` hears how far all are, with parts of those under
    way that say how far they are. `device`: that networks compute on; None: the workers do.

    Raises:
        DeviceError: the device cannot be used, and nothing is to be done without it.
    """
    results: dict[int, T | InputError] = {}
    lengths = [None] * len(calls) if lengths_s is None else [*lengths_s]
    known = [length_s for length_s in lengths if length_s is not None]
    tally = Tally(len(calls), sum(known) if len(known) == len(calls) else None)
    heard: dict[int, Stand] = {}
    workers = max(1, min(jobs, len(calls)))
    memory_bytes = _memory_bytes(workers)
    with closing(LocalExecutor(workers, device)) as executor:
        for i, (arguments, limit_s) in enumerate(zip(calls, limits_s, strict=True)):
            executor.submit(
                Task(str(i), function, arguments, limit_s, memory_bytes, memory_hint="")
            )

        def how_far(i: int) -> tuple[float, float | None]:
            stand = heard.get(i)
            if stand is not None and lengths[i] is None and stand.first_s < stand.last_s:
                return stand.share, stand.last_s - stand.first_s
            return 0.0 if stand is None else stand.share, lengths[i]

        def tell(stands: Stands) -> None:
            under_way = {int(key): stand for key, stand in stands.items()}
            heard.update(under_way)
            on_progress(tally.standing(map(how_far, under_way)))

        while len(results) < len(calls):
            outcome = executor.next_outcome(tell)
            i, value = int(outcome.key), cast(T, outcome.value)
            results[i] = value if outcome.error is None else outcome.error
            share, length_s = how_far(i)
            if outcome.error is None:
                tally.settle(length_s)
            else:
                tally.fail(share, length_s)
            heard.pop(i, None)
            on_progress(tally.standing(map(how_far, heard)))
    return [results[i] for i in range(len(calls))]


def _memory_bytes(workers: int) -> int | None:
    """Return how much memory each of so many workers may take: its share of what is free."""
    share = max(free_memory() / workers, LEAST_LIMIT_BYTES)
    return int(share) if isfinite(share) else None
