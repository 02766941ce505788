"""Whole runs in real processes: records, failures, resuming, and the process that owns a device."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.batch.execute_tasks import (
    Request,
    on_device,
    on_optional_device,
    on_watched_device,
    plain,
    split,
    writing_files,
)
from vmm_cli.batch.execute import Listener, execute
from vmm_cli.batch.executor import Device, Outcome, Stands, StartExecutor, Task
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.journal import fingerprint, journal_path
from vmm_cli.batch.ledger import Records, Summary
from vmm_cli.batch.local import LocalExecutor
from vmm_cli.batch.work import Limits, Work
from vmm_cli.errors import DeviceError, InputError
from vmm_cli.identity import file_identity


@dataclass
class Runs:
    """Runs `execute` in a folder and keeps what it said."""

    folder: Path
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    progress: list[tuple[int, int]] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)

    def __call__(
        self,
        work: Callable[[Request], Work[Request, Any, int]],
        contents: dict[str, str],
        missing: tuple[str, ...] = (),
        *,
        request: Request | None = None,
        start: StartExecutor | None = None,
        jobs: int = 2,
        timeout_s: float = 30,
        output: Path | None = None,
        resume: bool = True,
        **mark: Any,
    ) -> Summary:
        inputs = []
        for name, content in contents.items():
            path = self.folder / name
            if not path.exists() or path.read_text() != content:
                path.write_text(content)
            inputs.append(Input(path, name, name))
        self.records.clear()
        self.progress.clear()
        self.tracebacks.clear()
        schema = mark.pop("schema", "test/1")
        marks = (fingerprint(schema, mark.get("options", {}), mark.get("model_digest")),)
        return execute(
            work(request or Request(self.log)),
            inputs,
            missing,
            records=Records(schema, marks + mark.get("earlier", ()), output, resume),
            limits=Limits(1, timeout_s),
            start=start or partial(LocalExecutor, jobs),
            listener=Listener(
                on_record=lambda record: self.records.update({record["input"]: record}),
                on_progress=lambda now: self.progress.append((now.done, now.total)),
                on_traceback=self.tracebacks.append,
            ),
        )

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def notes(self, first: str) -> list[list[str]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.split() for line in lines if line.split()[0] == first]

    def code(self, name: str) -> str | None:
        return self.records[name].get("error", {}).get("code")

    def sums(self) -> dict[str, int]:
        return {name: r["sum"] for name, r in self.records.items() if r["status"] == "ok"}


@pytest.fixture
def run(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


# --- records


def test_every_input_gets_one_record(run: Runs) -> None:
    bad = {"c": "run:fail", "d": "run:refuse", "e": "run:die"}
    summary = run(plain, {"a": "1 2", "b": "3", **bad}, missing=("gone",))
    assert summary == Summary(done=2, resumed=0, failed=4)
    assert run.records["a"] == {
        "schema": "test/1",
        "input": "a",
        "status": "ok",
        "sum": 3,
        "results": [3],
    }
    assert run.records["gone"] == {
        "schema": "test/1",
        "input": "gone",
        "status": "failed",
        "error": {"code": "missing", "message": "no such file or folder"},
    }
    assert [run.code(name) for name in "cde"] == ["internal", "refused", "crashed"]
    assert list(dict.fromkeys(run.progress)) == [(i, 6) for i in range(1, 7)]
    assert any(t.startswith("c:\n") and "ValueError: as told" in t for t in run.tracebacks)


def test_a_hanging_input_costs_itself_alone(run: Runs) -> None:
    run(plain, {"a": "run:hang", "b": "1", "c": "2"}, timeout_s=1.0)
    assert run.code("a") == "timeout"
    assert run.sums() == {"b": 1, "c": 2}


def test_an_input_of_its_own_is_split_and_joined_in_order(run: Runs) -> None:
    run(split, {"a": "1 2 3 4 5"}, jobs=3)
    assert run.records["a"]["results"] == [5, 7, 3]
    assert len({worker for _, _, worker in run.notes("run")}) > 1


def test_one_bad_part_fails_its_input_once(run: Runs) -> None:
    summary = run(split, {"a": "run:fail run:fail 3"}, jobs=3)
    assert (summary.done, summary.failed) == (0, 1)
    assert run.code("a") == "internal"


# --- resuming


def test_what_is_done_is_not_done_again(run: Runs, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(plain, {"a": "1", "b": "2", "c": "run:fail"}, output=out)
    first = dict(run.records)
    summary = run(plain, {"a": "1", "b": "20", "c": "run:fail"}, output=out)
    assert summary == Summary(done=2, resumed=1, failed=1)
    assert run.records["a"] == first["a"]
    assert run.sums() == {"a": 1, "b": 20}
    assert [name for _, name, _ in run.notes("run")].count("a") == 1
    assert [name for _, name, _ in run.notes("run")].count("c") == 2


def test_what_is_done_is_known_by_the_file_it_was_done_with(run: Runs, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(plain, {"a": "1"}, missing=("gone",), output=out)
    lines = journal_path(out).read_text().splitlines()
    entries = {entry["input"]: entry for entry in map(json.loads, lines)}
    assert entries["a"]["identity"] == file_identity(tmp_path / "a").to_dict()
    assert entries["gone"]["identity"] is None
    stamp = (tmp_path / "a").stat().st_mtime_ns
    (tmp_path / "a").write_text("2")  # of the same length, at the same time
    os.utime(tmp_path / "a", ns=(stamp, stamp))
    assert run(plain, {"a": "2"}, output=out).resumed == 0


@pytest.mark.parametrize(
    "changed", [{"options": {"x": 1}}, {"schema": "test/2"}, {"model_digest": "y"}]
)
def test_other_work_is_done_again(run: Runs, tmp_path: Path, changed: dict[str, Any]) -> None:
    out = tmp_path / "out.jsonl"
    run(plain, {"a": "1"}, output=out)
    assert run(plain, {"a": "1"}, output=out, **changed).resumed == 0
    assert run(plain, {"a": "1"}, output=out, **changed).resumed == 1
    assert run(plain, {"a": "1"}, output=out, **changed, resume=False).resumed == 0


def test_files_that_are_gone_are_made_again_and_the_rest_is_tidied(
    run: Runs, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    run(writing_files, {"a": "1"}, output=out)
    assert len(run.notes("tidy")) == 2
    assert run(writing_files, {"a": "1"}, output=out).resumed == 1
    gone = Request(run.log, kept=False)
    assert run(writing_files, {"a": "1"}, output=out, request=gone).resumed == 0


def test_what_an_earlier_version_has_done_counts(run: Runs, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(plain, {"a": "1"}, output=out, options={"x": 1})
    changed = {"output": out, "options": {"every": "1", "x": "1"}}
    assert run(plain, {"a": "1"}, **changed).resumed == 0
    out.with_name(f"{out.name}.journal.jsonl").unlink()
    run(plain, {"a": "1"}, output=out, options={"x": 1})
    before = fingerprint("test/1", {"x": 1}, None)
    assert run(plain, {"a": "1", "b": "2"}, earlier=(before,), **changed).resumed == 1
    assert run(plain, {"b": "2"}, **changed).resumed == 1  # what is new has the new mark


# --- another executor


class OneByOne:
    """Does each task in this process, when its outcome is asked for; it has no device."""

    slots = 1

    def __init__(self, device: Device | None) -> None:
        if device is not None and not device.optional:
            raise DeviceError("there is no device here")
        self.waiting: deque[Task] = deque()
        self.done: list[str] = []
        self.closed = False

    def submit(self, task: Task) -> None:
        self.waiting.append(task)

    def next_outcome(self, on_look: Callable[[Stands], None]) -> Outcome:
        on_look({})
        task = self.waiting.popleft()
        self.done.append(task.function.__name__)
        try:
            return Outcome(task.key, task.function(*task.args), None, None, 0.0)
        except InputError as error:
            return Outcome(task.key, None, error, None, 0.0)

    def close(self) -> None:
        self.closed = True


def test_another_executor_is_three_methods(run: Runs, tmp_path: Path) -> None:
    started: list[OneByOne] = []

    def start(device: Device | None) -> OneByOne:
        started.append(OneByOne(device))
        return started[-1]

    contents = {"a": "1 2", "b": "run:refuse", "c": "3"}
    out = tmp_path / "out.jsonl"
    assert run(plain, contents, start=start, output=out) == Summary(done=2, resumed=0, failed=1)
    assert (run.sums(), run.code("b")) == ({"a": 3, "c": 3}, "refused")
    assert {worker for _, _, worker in run.notes("run")} == {str(os.getpid())}
    assert started[0].closed
    assert run(plain, contents, start=start, output=out).resumed == 2
    assert started[1].done.count("are_done") >= 1


def test_an_executor_without_a_device_does_without_or_refuses(run: Runs) -> None:
    assert run(on_optional_device, {"a": "1 2"}, start=OneByOne).done == 1
    assert run.sums() == {"a": 6}
    with pytest.raises(DeviceError, match="there is no device"):
        run(on_device, {"a": "1 2"}, start=OneByOne)


# --- the process that owns a device


def computed(run: Runs) -> list[tuple[str, list[int]]]:
    """By whom was computed, and on what."""
    return [(pid, [*map(int, rows)]) for _, pid, *rows in run.notes("compute")]


def test_what_several_inputs_ask_is_computed_in_one_process(run: Runs) -> None:
    contents = {"a": "1 2 3", "b": "4", "c": "5+6"}
    run(on_device, contents)
    assert run.sums() == {"a": 12, "b": 8, "c": 22}
    ((_, owner, device),) = run.notes("load")
    assert device == "works"
    assert {pid for pid, _ in computed(run)} == {owner}
    assert sorted(row for _, rows in computed(run) for row in rows) == [1, 2, 3, 4, 5, 6]


def test_what_waits_is_computed_together(run: Runs) -> None:
    contents = {name: " ".join(str(i) for i in range(1, 100)) for name in "abcd"}
    run(on_device, contents, jobs=4, request=Request(run.log, open_after=4 * 99))
    assert run.sums() == dict.fromkeys("abcd", 2 * sum(range(1, 100)))
    assert max(len(rows) for _, rows in computed(run)) > 1


def test_what_asks_for_nothing_starts_no_device(run: Runs) -> None:
    run(on_device, {"a": "run:nothing"}, request=Request(run.log, device="dies"))
    assert run.sums() == {"a": 0}


@pytest.mark.parametrize(
    ("number", "code"), [(101, "crashed"), (102, "internal"), (103, "crashed")]
)
def test_what_ends_the_device_s_process_costs_its_input_alone(
    run: Runs, number: int, code: str
) -> None:
    contents = {"a": "1 2", "bad": f"{number} 3", "b": "4", "c": "5"}
    run(on_watched_device, contents, jobs=4, request=Request(run.log, open_after=6))
    assert run.sums() == {"a": 6, "b": 8, "c": 10}
    assert run.code("bad") == code
    tried = [rows for _, rows in computed(run) if number in rows]
    assert len(tried) >= 2
    assert tried[-1] == [number]
    assert len({pid for _, pid, _ in run.notes("load")}) >= 2


def test_a_computation_that_hangs_ends_before_those_who_wait_for_it_do(run: Runs) -> None:
    contents = {"bad": "103", "a": "3", "b": "4 5"}
    run(on_device, contents, jobs=3, timeout_s=9.0, request=Request(run.log, open_after=4))
    assert run.code("bad") in ("crashed", "timeout")
    assert run.sums() == {"a": 6, "b": 18}


@pytest.mark.parametrize(("device", "said"), [("none", "no such device"), ("dies", "code 3")])
def test_without_the_device_nothing_is_done(run: Runs, device: str, said: str) -> None:
    with pytest.raises(DeviceError, match=said):
        run(on_device, {"a": "1 2", "b": "3"}, request=Request(run.log, device=device))
    assert not run.records


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_optional_device_can_be_done_without(
    run: Runs, jobs: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("vmm_cli"), "propagate", True)
    contents = {"a": "1 2 3", "b": "4", "c": "5", "e": "run:die"}
    run(on_optional_device, contents, request=Request(run.log, device="none"), jobs=jobs)
    assert run.sums() == {"a": 12, "b": 8, "c": 10}
    assert run.code("e") == "crashed"
    assert {device for _, _, device in run.notes("load")} == {"cpu"}
    assert "there is no such device; going on without it" in caplog.text


def test_a_device_that_goes_is_done_without(
    run: Runs, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("vmm_cli"), "propagate", True)
    goes = Request(run.log, device=f"once:{run.folder / 'mark'}")
    run(on_optional_device, {"a": "1 2", "bad": "101", "b": "3 4"}, request=goes)
    assert run.sums() == {"a": 6, "b": 14}
    assert run.code("bad") == "crashed"  # here, too
    assert "the device has gone; going on without it" in caplog.text


# --- nothing stays behind


def are_running(pids: list[int]) -> bool:
    def is_running(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return False

    return any(map(is_running, pids))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_ended_run_leaves_no_process_and_no_socket(tmp_path: Path, number: int) -> None:
    (tmp_path / "hangs").write_text("1 103")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.batch.interrupted_execute", tmp_path],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None and parent.stderr is not None
        children = list(map(int, parent.stdout.readline().split()))
        assert len(children) >= 2  # a worker and the device's process
        assert any(name.startswith(f"@vmm-{parent.pid}-") for name in unix_sockets())
        os.kill(parent.pid, number)
        said = parent.stderr.read()
        assert parent.wait(30) != 0
    wait_until(lambda: not are_running(children))
    wait_until(lambda: not any(f"@vmm-{parent.pid}-" in name for name in unix_sockets()))
    assert "leaked" not in said
    assert ("KeyboardInterrupt" in said) == (number == signal.SIGINT)


def unix_sockets() -> set[str]:
    """Return the names of all sockets of this machine."""
    lines = Path("/proc/net/unix").read_text().splitlines()[1:]
    return {words[7] for words in map(str.split, lines) if len(words) > 7}


def wait_until(is_so: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)
