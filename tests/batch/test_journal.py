from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vmm_cli.batch.journal import Journal, fingerprint, journal_path
from vmm_cli.batch.lock import lock, lock_path
from vmm_cli.errors import LockedError, OutputError
from vmm_cli.identity import FileIdentity

IDENTITY = FileIdentity(size=10, mtime_ns=20, content="ab")
PRINT = fingerprint("vmm.classify/1", {"top_k": 5}, "digest")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


def ok(**fields: Any) -> dict[str, Any]:
    return {"schema": "vmm.classify/1", "status": "ok", **fields}


def test_it_lies_beside_a_file_and_inside_a_folder(tmp_path: Path) -> None:
    assert journal_path(tmp_path) == tmp_path / "vmm.journal.jsonl"
    assert lock_path(tmp_path) == tmp_path / ".vmm.lock"
    assert journal_path(tmp_path / "out.csv") == tmp_path / "out.csv.journal.jsonl"
    assert lock_path(tmp_path / "out.csv") == tmp_path / "out.csv.lock"


def test_what_is_done_is_known_in_this_run_and_in_later_ones(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    odd = os.fsdecode(b"caf\xe9\n\x1b[31m\xf0\x9f\x8e\x9e.mp4")
    with Journal(output) as journal:
        assert journal.last("a.mp4") is None
        journal.append("a.mp4", IDENTITY, PRINT, ok(n=1))
        journal.append(odd, IDENTITY, PRINT, ok(n=2))
        journal.append("a.mp4", IDENTITY, PRINT, ok(n=3))
        assert journal.done("a.mp4", PRINT) == IDENTITY
        assert journal.last("a.mp4") == ok(n=3)
    for _ in range(2):
        with Journal(output) as journal:
            assert journal.done("a.mp4", PRINT) == journal.done(odd, PRINT) == IDENTITY
            assert journal.last("a.mp4") == ok(n=3)
            assert journal.last(odd) == ok(n=2)
            assert journal.names() == ("a.mp4", odd)
    lines = [json.loads(line) for line in journal.path.read_bytes().splitlines()]
    assert lines[0] == {
        "input": "a.mp4",
        "identity": {"size": 10, "mtime_ns": 20, "content": "ab"},
        "fingerprint": PRINT,
        "record": ok(n=1),
    }


def test_a_hard_link_goes_on_from_what_its_file_has_and_parts_from_it(tmp_path: Path) -> None:
    output, link = tmp_path / "out.jsonl", tmp_path / "link.jsonl"
    with Journal(output) as journal:
        journal.append("a", IDENTITY, PRINT, ok())
    output.write_text("results")
    os.link(output, link)
    with Journal(link) as journal:
        assert journal.done("a", PRINT) == IDENTITY
        journal.append("b", IDENTITY, PRINT, ok())
    with Journal(output) as journal:
        assert journal.names() == ("a",)
    (tmp_path / "other.jsonl").write_text("results")  # the same content is not the same file
    with Journal(tmp_path / "other.jsonl") as journal:
        assert journal.names() == ()


def test_not_done_where_options_or_status_differ(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append("a", IDENTITY, PRINT, ok())
        assert journal.done("a", PRINT) == IDENTITY
        assert journal.done("b", PRINT) is None
        assert journal.done("a", PRINT + "x") is None
        failed = {"status": "failed", "error": {"code": "timeout", "message": "m"}}
        journal.append("a", None, PRINT, failed)
        assert journal.done("a", PRINT) is None
        assert journal.last("a") == failed


def test_a_fingerprint_changes_with_what_matters_only() -> None:
    assert fingerprint("vmm.classify/1", {"top_k": 5}, "digest") == PRINT
    one = fingerprint("s", {"a": 1, "b": [1.5, None]}, None)
    assert one == fingerprint("s", {"b": (1.5, None), "a": 1}, None)
    others = {
        fingerprint("t", {"a": 1, "b": [1.5, None]}, None),
        fingerprint("s", {"a": 2, "b": [1.5, None]}, None),
        fingerprint("s", {"a": 1}, None),
        fingerprint("s", {"a": 1, "b": [1.5, None]}, "d"),
    }
    assert len({one, *others}) == 5
    with pytest.raises(TypeError):
        fingerprint("s", {"a": object()}, None)


def test_torn_and_foreign_lines_are_passed_over(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append("a", IDENTITY, PRINT, ok(n=1))
        journal.append("b", IDENTITY, PRINT, ok(n=2))
    whole = journal.path.read_bytes()
    for cut in range(1, len(whole) + 1):
        journal.path.write_bytes(whole[:-cut])
        with Journal(tmp_path) as journal:
            first_line = len(whole.splitlines(keepends=True)[0])
            assert journal.names() == (("a",) if len(whole) - cut >= first_line else ())
            journal.append("c", IDENTITY, PRINT, ok(n=3))
        with Journal(tmp_path) as journal:
            assert journal.done("c", PRINT) == IDENTITY
            assert journal.last("c") == ok(n=3)
    garbage = b'\xff\xfe\0\n{"input": 5}\n[]\n\n"a"\n{"input": "a"}\n' + b"[" * 100_000 + b"\n"
    journal.path.write_bytes(garbage + whole + garbage + b'{"input": "a", "identity": {}, "fing')
    with Journal(tmp_path) as journal:
        assert journal.done("a", PRINT) == journal.done("b", PRINT) == IDENTITY
        assert [journal.last(name) for name in "ab"] == [ok(n=1), ok(n=2)]


def test_a_run_killed_while_it_writes_loses_no_whole_line(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from vmm_cli.batch.journal import Journal\n"
        "from vmm_cli.identity import FileIdentity\n"
        "with Journal(Path(sys.argv[1])) as journal:\n"
        "    for n in range(10**6):\n"
        "        journal.append(str(n), FileIdentity(1, 2, 'c'), 'f', {'status': 'ok', 'n': n})\n"
        "        print(n, flush=True)\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], env=ENVIRONMENT, stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    first = [writer.stdout.readline() for _ in range(20)]
    writer.kill()
    told = [*first, *writer.communicate()[0].split(b"\n")[:-1]]
    with Journal(tmp_path) as journal:
        for number in map(int, told):
            assert journal.done(str(number), "f") == FileIdentity(1, 2, "c")


def test_what_was_there_counts_after_a_full_disk(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append("a", IDENTITY, PRINT, ok(n=1))
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        size = journal.path.stat().st_size
        try:
            # The kernel takes 50 bytes more and then refuses, as it does when the disk fills up.
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, before[1]))
            with pytest.raises(OutputError, match="cannot be written: File too large"):
                journal.append("b", IDENTITY, PRINT, ok(n=2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        assert journal.path.stat().st_size == size + 50
        assert journal.last("b") is None
        journal.append("c", IDENTITY, PRINT, ok(n=3))
        assert journal.last("c") == ok(n=3)
    with Journal(tmp_path) as journal:
        assert journal.names() == ("a", "c")
        assert journal.last("c") == ok(n=3)


def test_a_failing_sync_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Journal(tmp_path) as journal:
        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(OutputError, match="Input/output error"):
            journal.append("a", IDENTITY, PRINT, ok())


def test_where_no_journal_can_be(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file or directory"):
        Journal(tmp_path / "absent" / "out.jsonl")
    (tmp_path / "out.journal.jsonl").mkdir()
    with pytest.raises(OutputError, match="Is a directory"):
        Journal(tmp_path / "out")
    os.mkfifo(tmp_path / "fifo.journal.jsonl")
    with pytest.raises(OutputError, match="cannot be read"):
        Journal(tmp_path / "fifo")


def hold(output: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-m", "tests.batch.lock_holder", output],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.mark.parametrize("folder", [True, False])
def test_two_processes_and_one_lock(tmp_path: Path, folder: bool) -> None:
    output = tmp_path if folder else tmp_path / "out.jsonl"
    holder = hold(output)
    with pytest.raises(LockedError) as caught, lock(output):
        pass
    assert f"process {holder.pid}" in str(caught.value)
    assert caught.value.exit_code == 11
    second = subprocess.run(
        [sys.executable, "-m", "tests.batch.lock_holder", output],
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 11
    holder.communicate("")
    with lock(output):
        assert lock_path(output).exists()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holder_and_a_stale_file_do_no_harm(tmp_path: Path) -> None:
    holder = hold(tmp_path)
    holder.kill()
    holder.communicate()
    assert lock_path(tmp_path).exists()
    with lock(tmp_path):
        assert lock_path(tmp_path).read_text() == f"{os.getpid()}\n"
        with pytest.raises(LockedError), lock(tmp_path):
            pass
    lock_path(tmp_path).write_bytes(b"\xff garbage, longer than a process id could be")
    with lock(tmp_path):
        pass


def test_the_lock_is_let_go_when_the_block_raises(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), lock(tmp_path):
        raise KeyboardInterrupt
    with lock(tmp_path):
        lock_path(tmp_path).unlink()  # somebody tidied up


def test_one_holder_at_a_time_though_the_file_comes_and_goes(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.batch.count_under_lock", tmp_path, counter, "150"],
            env=ENVIRONMENT,
        )
        for _ in range(3)
    ]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    assert counter.read_text() == "450"


def test_a_lock_file_that_its_holder_removes_meanwhile_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder lets go between our open and our lock: what we opened has gone."""
    real = fcntl.flock
    removed: list[int] = []

    def remove_then_lock(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append(descriptor)
            lock_path(tmp_path).unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_then_lock)
    with lock(tmp_path):
        assert lock_path(tmp_path).exists()
        with pytest.raises(LockedError), lock(tmp_path):
            pass


def test_outputs_that_cannot_be_written(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "out.lock").symlink_to(target)
    for output in (tmp_path / "absent" / "out", tmp_path / "out", Path("/proc/out")):
        with pytest.raises(OutputError, match="cannot be written"), lock(output):
            pass
    assert target.read_text() == "precious"
