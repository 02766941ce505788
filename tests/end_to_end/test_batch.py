"""Many inputs in one run, and the run after it: nothing twice, nothing half, nothing left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import pytest

from vmm_cli.batch.lock import lock

Vmm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., Path]

ASKED = ("extract-frames", "in", "-o", "out", "--count", "3")


def records(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {record["input"]: record for record in found}


def journal(output: Path) -> list[dict[str, Any]]:
    content = (output / "vmm.journal.jsonl").read_bytes()
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.splitlines()]


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what changes when a file is written or replaced."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in folder.rglob("*")
    }


@pytest.fixture
def clips(render_clip: Render, tmp_path: Path) -> Path:
    for name in ("a", "b", "sub/c"):
        render_clip(f"in/{name}.mp4", frames=25, width=160, height=128)
    return tmp_path / "in"


# --- resume --------------------------------------------------------------------------------------


def test_a_second_run_does_nothing_again(run_vmm: Vmm, clips: Path, tmp_path: Path) -> None:
    first = run_vmm(*ASKED)
    assert (first.returncode, len(records(first))) == (0, 3)
    before = stamps(tmp_path / "out")
    again = run_vmm(*ASKED)
    assert (again.returncode, again.stderr) == (0, "")
    assert records(again) == records(first)
    assert stamps(tmp_path / "out") == before
    # What does not change the pictures does not matter either.
    run_vmm(*ASKED, "--jobs", "1", "--timeout", "50", "--format", "table")
    assert stamps(tmp_path / "out") == before


def test_what_changed_is_done_again_and_no_more(
    run_vmm: Vmm, clips: Path, render_clip: Render, tmp_path: Path
) -> None:
    run_vmm(*ASKED)
    out = tmp_path / "out"

    def redone(*options: str) -> set[str]:
        before = stamps(out)
        assert run_vmm(*ASKED, *options).returncode == 0
        after = stamps(out)
        return {name for name in after if name.endswith(".mp4") and after[name] != before.get(name)}

    render_clip("in/a.mp4", frames=30, width=160, height=128)
    render_clip("in/d.mp4", frames=25, width=160, height=128)
    assert redone() == {"a.mp4", "d.mp4"}
    assert len(journal(out)) == 5
    os.utime(clips / "b.mp4", ns=(0, 0))  # another time means another file
    shutil.rmtree(out / "sub" / "c.mp4")  # the journal's word is not enough
    assert redone() == {"b.mp4", "sub/c.mp4"}
    everything = {"a.mp4", "b.mp4", "sub/c.mp4", "d.mp4"}
    assert redone("--size", "100") == everything
    assert redone("--size", "100") == set()
    assert redone("--size", "100", "--no-resume") == everything


def test_what_failed_is_tried_again(run_vmm: Vmm, clips: Path, tmp_path: Path) -> None:
    whole = (clips / "a.mp4").read_bytes()
    (clips / "a.mp4").write_bytes(b"still copying")
    assert run_vmm(*ASKED).returncode == 3
    (clips / "a.mp4").write_bytes(whole)
    done = run_vmm(*ASKED)
    assert done.returncode == 0
    assert len(journal(tmp_path / "out")) == 4


# --- runs that are cut short ---------------------------------------------------------------------


@contextmanager
def started(tmp_path: Path, *args: str) -> Iterator[subprocess.Popen[str]]:
    """Start vmm as a group of its own; whatever is left of it at the end is killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vmm_cli", *args],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_until(true: Callable[[], bool], limit_s: float = 100) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def first_is_done(output: Path) -> bool:
    """Tell whether an input is done: on stdout it may have to wait for those before it."""
    path = output / "vmm.journal.jsonl"
    return path.exists() and path.stat().st_size > 0


def nothing_left(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture(scope="session")
def endless(bikes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video that nobody waits for the end of: 25,000 pictures."""
    return many_times(bikes, tmp_path_factory.mktemp("endless") / "endless.mp4", 100)


@pytest.fixture
def long_run(render_clip: Render, endless: Path, tmp_path: Path) -> Path:
    """A short video, and two others at which the run still is whenever it is cut short."""
    render_clip("in/0.mp4", frames=25, width=160, height=128)
    for name in ("1.mp4", "2.mp4"):
        os.link(endless, tmp_path / "in" / name)
    return tmp_path / "in"


def in_the_middle(output: Path) -> bool:
    """Tell whether the short video is done and pictures of both others are there."""
    begun = [place for place in (output / ".vmm.work").rglob("*") if any(place.glob("*.jpg"))]
    return first_is_done(output) and len(begun) >= 2


@pytest.mark.parametrize(
    ("how", "send"),
    [
        pytest.param(
            signal.SIGINT,
            os.killpg,
            id="Ctrl-C, which reaches the workers too",
            marks=pytest.mark.slow,
        ),
        pytest.param(signal.SIGTERM, os.kill, id="kill, timeout, cron"),
        pytest.param(signal.SIGTERM, os.killpg, id="systemd", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, os.killpg, id="a closed terminal", marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, os.kill, id="out of memory"),
    ],
)
def test_a_run_cut_short_is_whole_as_far_as_it_came(
    run_vmm: Vmm,
    render_clip: Render,
    long_run: Path,
    tmp_path: Path,
    how: signal.Signals,
    send: Callable[[int, signal.Signals], None],
) -> None:
    asked = ("extract-frames", "in", "-o", "out", "--all", "--size", "120", "--jobs", "3")
    with started(tmp_path, *asked) as process:
        wait_until(lambda: in_the_middle(tmp_path / "out"))
        send(process.pid, how)
        printed, said = process.communicate(timeout=300)
        wait_until(lambda: nothing_left(process.pid))
    out = tmp_path / "out"
    if how is signal.SIGKILL:
        assert process.returncode == -how
    else:
        assert process.returncode == 130
        assert said == "interrupted; run the same again to go on\n"
        assert not (out / ".vmm.work").exists()
        assert not (out / ".vmm.lock").exists()
    entries = journal(out)
    done = {entry["input"] for entry in entries}
    assert {json.loads(line)["input"] for line in printed.splitlines()} <= done
    assert done == {"in/0.mp4"}
    for entry in entries:  # what the journal calls done is there to the last picture
        folder = out / entry["record"]["folder"]
        lines = [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]
        assert len(lines) == entry["record"]["frames"] == 25
        assert all((folder / line["file"]).stat().st_size for line in lines)
    # and nothing half stands in a final place
    assert [folder.name for folder in out.glob("*.mp4")] == ["0.mp4"]
    before = stamps(out)
    for name in ("1.mp4", "2.mp4"):  # these can be waited for
        (long_run / name).unlink()
        render_clip(f"in/{name}", frames=25, width=160, height=128)
    again = run_vmm(*asked)
    assert (again.returncode, len(records(again))) == (0, 3)
    assert sorted(os.listdir(out)) == ["0.mp4", "1.mp4", "2.mp4", "vmm.journal.jsonl"]
    assert stamps(out)["0.mp4"] == before["0.mp4"]
    assert len(journal(out)) == 3


def test_a_burst_of_signals_is_one_interruption(long_run: Path, tmp_path: Path) -> None:
    """A supervisor's second signal, or a key held down, breaks nothing off."""
    asked = ("extract-frames", "in", "-o", "out", "--all", "--size", "120", "--jobs", "3")
    with started(tmp_path, *asked) as process:
        wait_until(lambda: first_is_done(tmp_path / "out"))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) * 5:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            time.sleep(0.01)
        _, said = process.communicate(timeout=300)
        wait_until(lambda: nothing_left(process.pid))
    assert process.returncode == 130
    assert said == "interrupted; run the same again to go on\n"
    assert not (tmp_path / "out" / ".vmm.work").exists()
    assert not (tmp_path / "out" / ".vmm.lock").exists()


def test_a_folder_replaced_during_a_run_is_left_to_whoever_made_it(
    bikes: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for i in range(8):  # the run is not over before the folder is another
        shutil.copy(bikes, tmp_path / "in" / f"{i}.mp4")
    asked = ("extract-frames", "in", "-o", "out", "--all", "--size", "120", "--jobs", "1")
    out = tmp_path / "out"
    with started(tmp_path, *asked) as process:
        wait_until(lambda: first_is_done(out))
        out.rename(tmp_path / "before")
        out.mkdir()
        _, said = process.communicate(timeout=300)
    assert process.returncode == 1
    (line,) = said.splitlines()
    assert line == "out was removed or replaced during the run; run the same again"
    # A worker that was in the middle of an input may have begun the next one there.
    assert {path.name for path in out.iterdir()} <= {".vmm.work"}
    assert len(list((tmp_path / "before" / "0.mp4").iterdir())) == 251


def test_a_torn_journal_line_costs_itself_alone(run_vmm: Vmm, clips: Path, tmp_path: Path) -> None:
    run_vmm(*ASKED)
    path = tmp_path / "out" / "vmm.journal.jsonl"
    os.truncate(path, path.stat().st_size - 20)  # as a power cut leaves it
    done = run_vmm(*ASKED)
    assert (done.returncode, len(records(done))) == (0, 3)
    lines = path.read_bytes().splitlines()
    assert len(lines) == 4
    assert [json.loads(lines[i])["record"]["status"] for i in (0, 1, 3)] == ["ok"] * 3


def test_a_held_output(run_vmm: Vmm, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with lock(tmp_path / "out"):
        done = run_vmm(*ASKED)
        assert (done.returncode, done.stdout) == (11, "")
        assert done.stderr == (
            f"another run (process {os.getpid()}) holds out; "
            "wait for it to end or choose another -o\n"
        )
        assert run_vmm(*ASKED[:3], "elsewhere").returncode == 0
    assert run_vmm(*ASKED).returncode == 0


# --- inputs that take too long, or kill their worker ---------------------------------------------


def test_the_others_are_whole_when_one_takes_too_long(
    run_vmm: Vmm, render_clip: Render, endless: Path, tmp_path: Path
) -> None:
    for name in ("a", "c", "d"):
        render_clip(f"in/{name}.mp4", frames=1, width=64, height=64)
    os.link(endless, tmp_path / "in" / "b.mp4")
    asked = ("--all", "--jobs", "2", "--timeout", "3")
    done = run_vmm("extract-frames", "in", "-o", "out", *asked)
    found = {name: record["status"] for name, record in records(done).items()}
    assert found == {"in/a.mp4": "ok", "in/b.mp4": "failed", "in/c.mp4": "ok", "in/d.mp4": "ok"}
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line == "in/b.mp4: timeout: not done after 3 s; raise the limit with --timeout"
    assert sorted(os.listdir(tmp_path / "out")) == ["a.mp4", "c.mp4", "d.mp4", "vmm.journal.jsonl"]


@pytest.mark.slow
def test_neighbours_of_what_takes_too_long_are_labelled(
    run_vmm: Vmm, render_clip: Render, endless: Path, tmp_path: Path
) -> None:
    """What a worker loads first, torch and a model, counts against no input's limit."""
    for name in ("a", "c", "d"):
        render_clip(f"in/{name}.mp4", frames=1, width=64, height=64)
    os.link(endless, tmp_path / "in" / "b.mp4")
    asked = ("--every", "0.04", "--jobs", "2", "--timeout", "2")
    done = run_vmm("classify", "in", *asked, timeout=120)
    found = {name: record["status"] for name, record in records(done).items()}
    assert found == {"in/a.mp4": "ok", "in/b.mp4": "failed", "in/c.mp4": "ok", "in/d.mp4": "ok"}


def many_times(clip: Path, target: Path, times: int) -> Path:
    """Write a clip's pictures one time after the other, as they are coded."""
    with av.open(os.fspath(target), "w") as output:
        stream, start = None, 0
        for _ in range(times):
            with av.open(os.fspath(clip)) as container:
                source = container.streams.video[0]
                stream = stream or output.add_stream_from_template(source)
                for packet in container.demux(source):
                    if packet.dts is None:
                        continue
                    packet.stream = stream
                    packet.dts += start
                    packet.pts += start
                    output.mux(packet)
                start += source.duration
    return target


def test_a_killed_worker_costs_its_input_alone(bikes: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(3):
        shutil.copy(bikes, tmp_path / "in" / f"{i}.mp4")
    asked = (*ASKED[:4], "--all", "--size", "64", "--jobs", "1")
    with started(tmp_path, *asked) as process:
        work = tmp_path / "out" / ".vmm.work"
        wait_until(lambda: work.is_dir() and any(work.iterdir()))
        (worker,) = (
            int(pid)
            for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        os.kill(worker, signal.SIGSEGV)
        out, said = process.communicate(timeout=300)
    assert process.returncode == 3
    found = [json.loads(line) for line in out.splitlines()]
    assert sorted(record["status"] for record in found) == ["failed", "ok", "ok"]
    (error,) = (record["error"] for record in found if record["status"] == "failed")
    assert error["code"] == "crashed"
    assert "SIGSEGV" in error["message"]
    assert len(said.splitlines()) == 1
    assert len(list((tmp_path / "out").glob("*.mp4"))) == 2
    assert not work.exists()


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (700 * 2**20,) * 2)
from vmm_cli.__main__ import main
if __name__ == "__main__":
    main()
"""


def test_memory_that_does_not_reach_is_a_record(bikes: Path, tmp_path: Path) -> None:
    (tmp_path / "limited.py").write_text(LIMITED)
    done = subprocess.run(
        [
            *(sys.executable, "limited.py", "extract-frames", bikes, "-o", "out"),
            *("--at", "1", "--size", "12000x12000", "--image-format", "png"),  # 432 MB as RGB
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 3
    assert records(done)[str(bikes)]["error"]["code"] == "memory"
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_that_holds_another_video_s_frames_is_refused(run_vmm, render_clip, tmp_path):
    first = render_clip("x/a.mp4", frames=30)
    second = render_clip("y/a.mp4", frames=60)
    assert run_vmm("extract-frames", first, "-o", "out").returncode == 0
    before = (tmp_path / "out" / "a.mp4" / "frames.jsonl").read_bytes()
    refused = run_vmm("extract-frames", second, "-o", "out")
    assert refused.returncode == 3
    assert json.loads(refused.stdout)["error"]["code"] == "collision"
    assert (tmp_path / "out" / "a.mp4" / "frames.jsonl").read_bytes() == before
    # The same file under another name is no other video.
    assert run_vmm("extract-frames", "x/a.mp4", "-o", "out").returncode == 0


def test_a_missing_picture_is_made_again(run_vmm, render_clip, tmp_path):
    clip = render_clip(frames=60)
    run_vmm("extract-frames", clip, "-o", "out")
    lost = next((tmp_path / "out" / "clip.mp4").glob("*.jpg"))
    lost.unlink()
    assert run_vmm("extract-frames", clip, "-o", "out").returncode == 0
    assert lost.is_file()
