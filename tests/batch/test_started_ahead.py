"""A worker that is there before anybody knows what for."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.batch.test_runner import children_of, wait_until_gone
from vmm_cli.batch.executor import Device, Task
from vmm_cli.batch.local import LocalExecutor, started_ahead
from vmm_cli.cli.ahead import MODULES
from vmm_cli.cli.app import OPERATIONS
from vmm_cli.operations.info import INFO

pytestmark = pytest.mark.usefixtures("workers_start_afresh")


def has_imported(module: str) -> tuple[int, bool]:
    return os.getpid(), module in sys.modules


def ask(executor: LocalExecutor, number: int) -> tuple[int, bool]:
    executor.submit(Task(str(number), has_imported, ("colorsys",), 30))
    value = executor.next_outcome(lambda stands: None).value
    assert isinstance(value, tuple)
    return value


def workers_of_this_process() -> set[int]:
    """Return its children, without the one that multiprocessing keeps for resources."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children_of(os.getpid())}
    return {pid for pid, command in commands.items() if b"resource_tracker" not in command}


def test_the_executor_takes_it_with_what_it_has_imported() -> None:
    before = workers_of_this_process()
    with started_ahead(["colorsys", "no.such.module"]):
        (early,) = workers_of_this_process() - before
        with closing(LocalExecutor(2)) as executor:
            assert ask(executor, 1) == (early, True)
            assert executor.slots == 2
    assert not wait_until_gone({early})


def test_it_ends_with_the_block_where_nobody_takes_it() -> None:
    before = workers_of_this_process()
    with started_ahead(["colorsys"]):
        early = workers_of_this_process() - before
        assert len(early) == 1
    assert not wait_until_gone(early)
    with closing(LocalExecutor(1)) as executor:
        assert ask(executor, 1)[1] is False


def test_who_computes_on_a_device_starts_workers_that_know_of_it() -> None:
    before = workers_of_this_process()
    with started_ahead(["colorsys"]):
        early = workers_of_this_process() - before
        with closing(LocalExecutor(1, Device("cpu", print, optional=True))) as executor:
            pid, _ = ask(executor, 1)
            assert pid not in early
    assert not wait_until_gone(early)


def test_who_has_changed_the_environment_starts_workers_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = workers_of_this_process()
    with started_ahead(["colorsys"]):
        early = workers_of_this_process() - before
        monkeypatch.setenv("VMM_ENGINE", "torch")
        with closing(LocalExecutor(1)) as executor:
            assert ask(executor, 1)[0] not in early


def test_a_command_line_that_is_wrong_leaves_no_worker(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vmm_cli", "classify", "--no-such-option"]
    # Would go on until the worker has ended, which holds the pipe.
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "no such option" in done.stderr


def test_commands_over_videos_all_have_one() -> None:
    assert set(MODULES) == {operation.name for operation in (*OPERATIONS, INFO)}


def test_what_is_imported_is_there_and_needs_no_pytorch() -> None:
    modules = sorted({module for modules in MODULES.values() for module in modules})
    slow = ("torch", "scipy", "sklearn", "PIL", "onnxruntime")
    code = f"import sys, {', '.join(modules)}; print([m for m in {slow} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
