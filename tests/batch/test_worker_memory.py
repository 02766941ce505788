"""A worker that takes more memory than it may costs its own task, and that alone."""

from __future__ import annotations

import pytest

from tests.batch import worker_tasks
from vmm_cli.batch.executor import Outcome, Task
from vmm_cli.batch.memory import DEEP_BYTES, DEFAULT_BYTES, MemoryLimit, default_limit, is_watched
from vmm_cli.batch.runner import WorkerPool

pytestmark = pytest.mark.usefixtures("workers_start_afresh")

MIB = 2**20
watched = pytest.mark.skipif(
    not is_watched(), reason="this system doesn't tell how much memory a process takes"
)


def outcomes(pool: WorkerPool) -> dict[str, Outcome]:
    found = {}
    while pool.pending:
        outcome = pool.next_outcome()
        found[outcome.key] = outcome
    return found


def with_limit(key: str, function: object, megabytes: int, limit: int) -> Task:
    assert callable(function)
    return Task(key, function, (megabytes,), 30, memory_bytes=limit * MIB)


@watched
@pytest.mark.parametrize("workers", [1, 2])
def test_what_takes_too_much_fails_alone(workers: int) -> None:
    with WorkerPool(workers) as pool:
        pool.submit(with_limit("too much", worker_tasks.take_memory, 600, 300))
        for number in range(3):
            pool.submit(with_limit(str(number), worker_tasks.take_memory, 100, 300))
        found = outcomes(pool)
    error = found.pop("too much").error
    assert error is not None
    assert (error.code, "300 MiB" in str(error)) == ("memory", True)
    assert "--max-memory" in str(error)
    assert {outcome.value for outcome in found.values()} == {100 * MIB}


@watched
def test_what_earlier_tasks_left_does_not_count_against_a_later_one() -> None:
    """It has another turn, in a worker of its own; what takes too much by itself has none."""
    with WorkerPool(1) as pool:
        pool.submit(with_limit("first", worker_tasks.keep_memory, 200, 300))
        pool.submit(with_limit("second", worker_tasks.take_memory, 200, 300))
        pool.submit(with_limit("third", worker_tasks.keep_memory, 200, 300))
        pool.submit(with_limit("fourth", worker_tasks.take_memory, 600, 300))
        found = outcomes(pool)
    assert found["second"].value == 200 * MIB
    assert found["third"].error is None
    error = found["fourth"].error
    assert error is not None and error.code == "memory"


def test_without_a_limit_anything_may_be_taken() -> None:
    with WorkerPool(1) as pool:
        pool.submit(Task("it", worker_tasks.take_memory, (400,), 30))
        assert pool.next_outcome().value == 400 * MIB


@pytest.mark.parametrize(
    ("free", "work", "jobs", "usual", "deep"),
    [
        (64 * 2**30, 0, 2, DEFAULT_BYTES, DEFAULT_BYTES + DEEP_BYTES),
        (64 * 2**30, 800 * MIB, 2, 1200 * MIB, 1200 * MIB + DEEP_BYTES),  # half as much again
        (2**30, 0, 2, 512 * MIB, 512 * MIB),  # all together fit what is free
        (2**30, 700 * MIB, 4, 700 * MIB, 700 * MIB),  # but the work itself must fit
    ],
)
def test_the_default_fits_the_machine(
    monkeypatch: pytest.MonkeyPatch, free: int, work: int, jobs: int, usual: int, deep: int
) -> None:
    monkeypatch.setattr("vmm_cli.batch.memory.free_memory", lambda: free)
    assert default_limit(work, jobs) == MemoryLimit(usual, deep)


def test_large_pictures_of_many_bits_may_take_more() -> None:
    limit = MemoryLimit(900, 1400)
    assert limit.over(7680 * 4320, 10) == 1400
    assert limit.over(7680 * 4320, 8) == limit.over(1920 * 1080, 10) == 900
