"""The pool on real processes that crash, hang, and are killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.batch import worker_tasks
from vmm_cli.batch import children
from vmm_cli.batch.executor import Outcome, Task
from vmm_cli.batch.interruptions import held
from vmm_cli.batch.runner import WorkerPool

pytestmark = pytest.mark.usefixtures("workers_start_afresh")

# What hangs would last so long. That it is not waited for is told by less than half of this: a
# bound on what takes a moment would tell how busy the machine is.
FOR_EVER_S = 60


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(2) as pool:
        yield pool


def call(
    pool: WorkerPool, function: Callable[..., object], *args: Any, timeout_s: float | None = 30
) -> Outcome:
    pool.submit(Task("it", function, args, timeout_s))
    return pool.next_outcome()


def drain(pool: WorkerPool) -> dict[str, Outcome]:
    outcomes = {}
    while pool.pending:
        outcome = pool.next_outcome()
        outcomes[outcome.key] = outcome
    return outcomes


def code(outcome: Outcome) -> str | None:
    return outcome.error.code if outcome.error else None


def children_of(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_until_gone(pids: set[int], seconds: float = 30) -> set[int]:
    end = time.monotonic() + seconds
    while (left := {pid for pid in pids if is_running(pid)}) and time.monotonic() < end:
        time.sleep(0.02)
    return left


def test_many_small_tasks_over_two_workers(pool: WorkerPool) -> None:
    for number in range(200):
        pool.submit(Task(str(number), worker_tasks.double, (number,), 30))
    assert pool.pending == 200
    outcomes = drain(pool)
    assert {key: o.value for key, o in outcomes.items()} == {str(n): 2 * n for n in range(200)}
    with pytest.raises(LookupError):
        pool.next_outcome()


def test_tasks_run_side_by_side_and_no_more_workers_start_than_needed(
    pool: WorkerPool, tmp_path: Path
) -> None:
    before = children_of(os.getpid())
    assert call(pool, worker_tasks.double, 1).value == 2
    call(pool, worker_tasks.double, 1)
    assert len(children_of(os.getpid()) - before) <= 2  # a worker, and once Python's own tracker
    for key in "ab":
        pool.submit(Task(key, worker_tasks.meet, (str(tmp_path), 2), None))
    assert len({o.value for o in drain(pool).values()}) == 2
    start = time.monotonic()
    assert 0.4 <= call(pool, worker_tasks.nap, 0.4).wall_s <= time.monotonic() - start


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (worker_tasks.sleep_deaf, (FOR_EVER_S,)),
        (worker_tasks.match_for_ever, ()),
        (worker_tasks.stop_itself, ()),
        (worker_tasks.nap, (FOR_EVER_S,)),
    ],
)
def test_a_task_past_its_limit_is_ended_whatever_it_does(
    pool: WorkerPool, function: Callable[..., object], args: tuple[Any, ...]
) -> None:
    before = children_of(os.getpid())
    pool.submit(Task("stuck", function, args, 0.5))
    pool.submit(Task("good", worker_tasks.double, (4,), 30))
    start = time.monotonic()
    outcomes = drain(pool)
    assert time.monotonic() - start < FOR_EVER_S / 2
    assert code(outcomes["stuck"]) == "timeout"
    assert "0.5 s" in str(outcomes["stuck"].error)
    assert 0.5 <= outcomes["stuck"].wall_s < FOR_EVER_S / 2
    assert outcomes["good"].value == 8
    assert call(pool, worker_tasks.double, 5).value == 10
    pool.close()
    assert len(children_of(os.getpid()) - before) <= 1  # Python's own tracker


@pytest.mark.parametrize(
    ("function", "args", "words"),
    [
        (worker_tasks.leave, (3,), "code 3"),
        (worker_tasks.leave, (0,), "code 0"),
        (worker_tasks.read_null, (), "SIGSEGV"),
        (worker_tasks.kill_itself, (signal.SIGABRT,), "SIGABRT"),
        (worker_tasks.kill_itself, (signal.SIGKILL,), "SIGKILL; the system may have run out of"),
        (worker_tasks.kill_itself, (signal.SIGRTMIN + 3,), f"signal {signal.SIGRTMIN + 3}"),
        (worker_tasks.send_half_and_die, (), "SIGKILL"),
        (worker_tasks.hang_up, (), "closed its connection"),
        (worker_tasks.leave_child_and_die, (FOR_EVER_S / 3,), "SIGKILL"),
    ],
)
def test_a_dead_worker_costs_its_task_alone(
    pool: WorkerPool, function: Callable[..., object], args: tuple[Any, ...], words: str
) -> None:
    pool.submit(Task("bad", function, args, 30))
    for number in range(5):
        pool.submit(Task(str(number), worker_tasks.double, (number,), 30))
    start = time.monotonic()
    outcomes = drain(pool)
    assert time.monotonic() - start < FOR_EVER_S / 4
    assert code(outcomes["bad"]) == "crashed"
    assert words in str(outcomes["bad"].error)
    assert [outcomes[str(n)].value for n in range(5)] == [0, 2, 4, 6, 8]


def test_half_a_result_from_a_worker_that_stopped_holds_nothing_up(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "STALL_LIMIT_S", 0.5)
    pool.submit(Task("bad", worker_tasks.send_half_and_stop, (), 0.3))
    pool.submit(Task("good", worker_tasks.double, (1,), 30))
    outcomes = drain(pool)
    assert code(outcomes["bad"]) == "timeout"
    assert outcomes["good"].value == 2


def test_nonsense_from_a_worker_is_that_tasks_error(pool: WorkerPool) -> None:
    outcome = call(pool, worker_tasks.send_nonsense)
    assert code(outcome) == "internal"
    assert "cannot be read back" in str(outcome.error)


def test_every_second_task_crashes(pool: WorkerPool) -> None:
    for number in range(20):
        bad = number % 2
        function = worker_tasks.leave if bad else worker_tasks.double
        pool.submit(Task(str(number), function, (number,), 30))
    outcomes = drain(pool)
    assert [code(outcomes[str(n)]) for n in range(20)] == [None, "crashed"] * 10


def test_errors_of_a_function(pool: WorkerPool) -> None:
    refused = call(pool, worker_tasks.refuse)
    assert (code(refused), str(refused.error)) == ("refused", "a playlist")
    assert code(call(pool, worker_tasks.run_out_of_memory)) == "memory"
    internal = call(pool, worker_tasks.fail)
    assert (code(internal), str(internal.error)) == ("internal", "last line")
    assert internal.traceback is not None
    assert "worker_tasks.py" in internal.traceback
    gave_up = call(pool, worker_tasks.give_up)
    assert (code(gave_up), str(gave_up.error)) == ("internal", "SystemExit: a library gave up")
    assert code(call(pool, worker_tasks.raise_awkward)) == "internal"
    assert call(pool, worker_tasks.double, 1).error is None


@pytest.mark.parametrize(
    "function", [worker_tasks.unpicklable, worker_tasks.unreadable, worker_tasks.deep]
)
def test_a_result_that_cannot_be_passed_is_an_internal_error(
    pool: WorkerPool, function: Callable[..., object]
) -> None:
    outcome = call(pool, function)
    assert code(outcome) == "internal"
    assert "its result cannot be" in str(outcome.error)
    assert call(pool, worker_tasks.process_id).value in children_of(os.getpid())


def test_large_results_and_arguments_pass(pool: WorkerPool) -> None:
    pool.submit(Task("out", worker_tasks.frames, (100_000_000,), 30))
    pool.submit(Task("in", worker_tasks.length, (bytes(100_000_000),), 30))
    outcomes = drain(pool)
    assert outcomes["out"].value == bytes(100_000_000)
    assert outcomes["in"].value == 100_000_000


def test_a_large_result_may_arrive_after_the_limit_where_the_caller_was_away(
    pool: WorkerPool,
) -> None:
    pool.submit(Task("big", worker_tasks.frames, (20_000_000,), 1.0))
    while not any(worker.begun for worker in pool._workers):
        pool._attend()
    time.sleep(1.2)
    assert pool.next_outcome().value == bytes(20_000_000)


def test_a_worker_that_dies_while_a_large_task_is_sent(pool: WorkerPool) -> None:
    worker = call(pool, worker_tasks.process_id).value
    assert isinstance(worker, int)
    os.kill(worker, signal.SIGSTOP)
    pool.submit(Task("large", worker_tasks.length, (bytes(10_000_000),), 30))
    os.kill(worker, signal.SIGKILL)
    assert pool.next_outcome().value == 10_000_000  # it never began: it has another turn


def test_a_worker_that_dies_between_tasks_costs_nothing(pool: WorkerPool) -> None:
    worker = call(pool, worker_tasks.process_id).value
    assert isinstance(worker, int)
    assert call(pool, worker_tasks.answer_and_die_soon).value == "answer"
    assert wait_until_gone({worker}) == set()
    assert [call(pool, worker_tasks.double, n).value for n in range(3)] == [0, 2, 4]


def test_a_task_that_kills_whoever_reads_it_is_given_up_after_two_workers(pool: WorkerPool) -> None:
    outcome = call(pool, worker_tasks.length, worker_tasks.DiesWhenRead())
    assert code(outcome) == "crashed"
    assert call(pool, worker_tasks.double, 2).value == 4


def test_a_task_that_cannot_be_passed_is_refused_at_once(pool: WorkerPool) -> None:
    with pytest.raises(Exception, match="pickle"):
        pool.submit(Task("no", lambda: None, ()))
    assert pool.pending == 0


def test_initializer_runs_once_a_worker_before_its_first_task() -> None:
    with WorkerPool(1, initializer=worker_tasks.note_start, initargs=("x",)) as pool:
        assert [call(pool, worker_tasks.starts).value for _ in range(2)] == [["x"], ["x"]]


def test_a_failing_initializer_fails_the_tasks_and_not_the_run() -> None:
    with WorkerPool(2, initializer=worker_tasks.fail_to_start) as pool:
        for key in "abc":
            pool.submit(Task(key, worker_tasks.double, (1,), 30))
        assert {code(outcome) for outcome in drain(pool).values()} == {"refused"}


def test_a_worker_that_dies_at_its_start_is_replaced(tmp_path: Path) -> None:
    mark = str(tmp_path / "mark")
    with WorkerPool(1, initializer=worker_tasks.die_at_first_start, initargs=(mark,)) as pool:
        assert call(pool, worker_tasks.double, 3).value == 6
    with WorkerPool(2, initializer=worker_tasks.leave, initargs=(4,)) as pool:
        for key in "ab":
            pool.submit(Task(key, worker_tasks.double, (1,), 30))
        assert {code(outcome) for outcome in drain(pool).values()} == {"crashed"}


def test_a_start_that_hangs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "START_LIMIT_S", 0.5)
    with WorkerPool(1, initializer=worker_tasks.sleep_deaf, initargs=(FOR_EVER_S,)) as pool:
        outcome = call(pool, worker_tasks.double, 1, timeout_s=0.1)
    assert code(outcome) == "timeout"
    assert "had not started" in str(outcome.error)


def test_the_start_does_not_count_towards_a_limit() -> None:
    with WorkerPool(1, initializer=worker_tasks.nap, initargs=(1.5,)) as pool:
        assert call(pool, worker_tasks.double, 1, timeout_s=1.0).value == 2


def test_threads_are_set_in_the_worker_and_the_parents_environment_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with WorkerPool(1, threads_per_worker=3) as pool:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            assert call(pool, worker_tasks.environment, name).value == "3"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_workers_load_nothing_heavy_of_their_own(pool: WorkerPool) -> None:
    assert call(pool, worker_tasks.main_module_files).value == []


def test_workers_print_to_stderr_only(capfd: pytest.CaptureFixture[str], pool: WorkerPool) -> None:
    assert call(pool, worker_tasks.print_to_stdout).error is None
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == "from the worker\nfrom its child\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_workers_leave_interrupts_to_the_parent(pool: WorkerPool, number: int) -> None:
    worker = call(pool, worker_tasks.process_id).value
    assert isinstance(worker, int)
    os.kill(worker, number)
    assert call(pool, worker_tasks.process_id).value == worker


def test_a_closed_pool_has_ended_its_workers_and_takes_nothing() -> None:
    with WorkerPool(2) as pool:
        pids = {call(pool, worker_tasks.process_id).value}
        pool.submit(Task("stuck", worker_tasks.match_for_ever, ()))
        pids |= children_of(os.getpid()) & {w.process.pid for w in pool._workers}
        start = time.monotonic()
    assert time.monotonic() - start < FOR_EVER_S / 2
    assert not any(is_running(pid) for pid in pids if isinstance(pid, int))
    assert pool.pending == 0
    pool.close()
    with pytest.raises(RuntimeError):
        pool.submit(Task("late", worker_tasks.double, (1,)))
    with pytest.raises(ValueError, match="at least 1"):
        WorkerPool(0)


def test_no_descriptors_are_lost() -> None:
    with WorkerPool(1) as pool:
        call(pool, worker_tasks.double, 1)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with WorkerPool(2) as pool:
            call(pool, worker_tasks.leave, 1)
            call(pool, worker_tasks.double, 1)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("elsewhere", [True, False])
def test_an_interrupt_waits_until_a_worker_is_wholly_started(elsewhere: bool) -> None:
    """Also where another thread of the process takes the signal."""
    thread = threading.Thread(target=time.sleep, args=(0.3,))
    thread.start()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    reached = False
    with pytest.raises(KeyboardInterrupt), held():
        assert thread.ident is not None
        signal.pthread_kill(thread.ident if elsewhere else threading.get_ident(), signal.SIGINT)
        time.sleep(0.1)
        reached = True
    assert reached
    thread.join()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == blocked
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_very_first_worker_is_deaf_to_interrupts_from_its_start() -> None:
    script = (
        "import operator, pathlib\n"
        "from vmm_cli.batch.executor import Task\n"
        "from vmm_cli.batch.runner import WorkerPool\n"
        "if __name__ == '__main__':\n"
        "    with WorkerPool(1) as pool:\n"
        "        pool.submit(Task('', operator.add, (1, 2)))\n"
        "        pid = pool._workers[0].process.pid\n"
        "        print(pathlib.Path(f'/proc/{pid}/status').read_text())\n"
    )
    status = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    deaf_to = int(fields["SigBlk"], 16) | int(fields["SigIgn"], 16)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        assert deaf_to >> (number - 1) & 1


def start_parent(how: str, *args: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.batch.interrupted_parent", how, *args],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def busy_workers(parent: subprocess.Popen[str]) -> set[int]:
    assert parent.stdout is not None
    assert select.select([parent.stdout], [], [], 60)[0]
    word, *pids = parent.stdout.readline().split()
    assert word == "busy"
    workers = set(map(int, pids))
    assert len(workers) >= 1
    time.sleep(0.2)
    return children_of(parent.pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_parent_leaves_no_orphan(number: int) -> None:
    parent = start_parent("plain")
    children = busy_workers(parent)
    assert len(children) == 3  # two workers stuck in C, and Python's own tracker
    parent.send_signal(number)
    parent.communicate(timeout=30)
    assert wait_until_gone(children) == set()


def test_the_clock_of_a_stopped_run_stands(tmp_path: Path) -> None:
    """As by Ctrl-Z and fg: it was stopped for longer than the limit."""
    mark = tmp_path / "mark"
    parent = start_parent("limited", mark)
    busy_workers(parent)
    os.killpg(parent.pid, signal.SIGSTOP)
    time.sleep(3)
    mark.touch()  # what the task waits for
    os.killpg(parent.pid, signal.SIGCONT)
    stdout, stderr = parent.communicate(timeout=30)
    assert (stdout, stderr) == ("None\n", "")


@pytest.mark.parametrize("how", ["plain", "threaded"])
def test_ctrl_c_leaves_no_orphan_and_workers_say_nothing(how: str) -> None:
    parent = start_parent(how)
    children = busy_workers(parent)
    os.killpg(parent.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, stderr = parent.communicate(timeout=30)
    assert wait_until_gone(children) == set()
    assert stderr.count("Traceback") == 1  # the parent's own, which the shell of vmm turns into 130
    assert stderr.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08])
def test_ctrl_c_while_workers_start_leaves_no_orphan(delay: float) -> None:
    parent = start_parent("starting")
    assert parent.stdout is not None
    parent.stdout.readline()
    time.sleep(delay)
    os.killpg(parent.pid, signal.SIGINT)
    _, stderr = parent.communicate(timeout=30)
    in_session = {
        int(entry)
        for entry in os.listdir("/proc")
        if entry.isdigit() and _session(int(entry)) == parent.pid
    }
    assert wait_until_gone(in_session) == set()
    assert stderr.count("Traceback") == 1


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None
