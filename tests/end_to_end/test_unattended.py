"""Runs that nobody watches: memory, a reader that goes away, what a terminal is told."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.terminal import AtTerminal

Vmm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., Path]


def with_many_samples(clip: Path, target: Path, n: int) -> Path:
    """Copy an MP4 whose table of decoding times then declares `n` samples (ISO/IEC 14496-12)."""
    data = bytearray(clip.read_bytes())
    at = data.index(b"stts") + 4
    data[at + 8 : at + 12] = struct.pack(">I", n)
    at = data.index(b"stsz") + 4
    data[at + 4 : at + 12] = struct.pack(">II", 1000, n)  # all of one size: no table follows
    target.write_bytes(data)
    return target


def test_an_input_that_takes_too_much_memory_fails_alone(
    run_vmm: Vmm, render_clip: Render, tmp_path: Path
) -> None:
    clip = render_clip("good.mp4")
    bomb = with_many_samples(clip, tmp_path / "bomb.mp4", 40_000_000)
    done = run_vmm("info", bomb, clip, "--max-memory", "200M", "--format", "jsonl", timeout=120)
    records = {Path(r["input"]).name: r for r in map(json.loads, done.stdout.splitlines())}
    assert records["good.mp4"]["status"] == "ok"
    assert records["bomb.mp4"]["error"]["code"] == "memory"
    assert "--max-memory" in records["bomb.mp4"]["error"]["message"]
    assert done.returncode == 3


def test_a_terminal_is_told_what_was_done_and_where_it_is(
    run_at_terminal: AtTerminal, render_clip: Render, tmp_path: Path
) -> None:
    render_clip("a.mp4")
    home = {"HOME": os.fspath(tmp_path)}
    first = run_at_terminal("info", "a.mp4", "none.mp4", "-o", "l.jsonl", cwd=tmp_path, env=home)
    assert first.returncode == 3
    assert first.last.startswith("1 done, 1 failed in ")
    assert first.last.endswith("; results in l.jsonl")
    again = run_at_terminal("info", "a.mp4", "-o", "l.jsonl", cwd=tmp_path, env=home)
    assert again.last == "nothing to do: 1 already done; results in l.jsonl"
    quiet = run_at_terminal("info", "a.mp4", "-o", "l.jsonl", "-q", cwd=tmp_path, env=home)
    assert quiet.drawn == []


def test_a_terminal_is_told_how_far_a_video_is(
    run_at_terminal: AtTerminal, bikes: Path, tmp_path: Path
) -> None:
    asked = ("extract-frames", bikes, "-o", "out", "--all", "--size", "800")
    shown = run_at_terminal(*asked, cwd=tmp_path, env={"HOME": os.fspath(tmp_path)})
    percents = {int(n) for line in shown.drawn for n in re.findall(r"(\d+)%", line)}
    assert percents - {0, 100}


def test_a_file_that_cannot_be_opened_counts_for_no_half_of_the_work(
    run_at_terminal: AtTerminal, bikes: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    asked = ("extract-frames", "a.mp4", bikes, "-o", "out", "--all", "--size", "800")
    shown = run_at_terminal(*asked, cwd=tmp_path, env={"HOME": os.fspath(tmp_path)})
    begun = [int(n) for line in shown.drawn for n in re.findall(r" 1/2 +(\d+)%", line)]
    assert begun[0] < 45


def test_where_few_files_may_be_open(render_clip: Render) -> None:
    command = ["prlimit", "--nofile=14:14", sys.executable, "-m", "vmm_cli", "info"]
    done = subprocess.run(
        [*command, render_clip("a.mp4")], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("this process may have 14 files open at once")
    assert line.endswith("ulimit -n")


# As in a container that runs under a number that the system has no name for.
NAMELESS = """
import pwd
def unknown(number):
    raise KeyError(number)
pwd.getpwuid = unknown
from vmm_cli.__main__ import main
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("command", [("info",), ("classify", "--count", "1"), ("doctor",)])
def test_a_user_without_a_name_and_a_home(
    render_clip: Render, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "nameless.py").write_text(NAMELESS)
    inputs = () if command == ("doctor",) else (render_clip("a.mp4"),)
    done = subprocess.run(
        [sys.executable, tmp_path / "nameless.py", *command, *inputs],
        env={k: v for k, v in os.environ.items() if k != "HOME" and not k.startswith("XDG_")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0
    assert "internal" not in done.stdout
    assert done.stderr == ""


def test_records_come_in_the_order_of_the_inputs(
    run_vmm: Vmm, render_clip: Render, tmp_path: Path
) -> None:
    long = render_clip("z_long.mp4", frames=100)  # others wait for it, ten seconds at most
    short = [render_clip(f"{n}.mp4", frames=3) for n in range(4)]
    done = run_vmm("info", "--shots", long, *short, "--jobs", "2", "--format", "jsonl")
    names = [Path(json.loads(line)["input"]).name for line in done.stdout.splitlines()]
    assert names == [long.name, *(clip.name for clip in short)]


def test_frames_are_written_though_nobody_reads_the_records(bikes: Path, tmp_path: Path) -> None:
    clips = [Path(shutil.copy(bikes, tmp_path / f"{n}.mp4")) for n in range(4)]
    names = " ".join(map(os.fspath, clips))
    command = f"vmm extract-frames {names} --count 2 -o {tmp_path / 'out'} | head -n 1"
    environment = os.environ | {
        "HOME": os.fspath(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    subprocess.run(["bash", "-c", command], check=True, env=environment, timeout=120)
    for n in range(4):
        assert len(list((tmp_path / "out" / f"{n}.mp4").glob("*.jpg"))) == 2


def test_what_cannot_be_decoded_stands_in_every_record(
    run_vmm: Vmm, render_clip: Render, tmp_path: Path
) -> None:
    clip = render_clip("clip.mp4", frames=300, options={"bf": "2"}, width=160, height=64)
    data = bytearray(clip.read_bytes())
    begin, end = int(0.3 * len(data)), int(0.55 * len(data))  # before the index
    data[begin:end] = bytes(end - begin)
    clip.write_bytes(data)
    found = []
    for jobs in ("1", "2"):
        output = tmp_path / jobs
        done = run_vmm("extract-frames", clip, "--fps", "2", "-o", output, "--jobs", jobs)
        assert done.returncode == 0
        record = json.loads(done.stdout)
        assert "could not be decoded from" in done.stderr
        assert record["undecoded_s"]
        frames = output / "clip.mp4" / "frames.jsonl"
        found.append((record["frames"], record["undecoded_s"], frames.read_text()))
    assert found[0] == found[1]


def test_an_interrupt_during_an_import_ends_with_the_same_code(tmp_path: Path) -> None:
    """`python -m` ends by SIGINT where one passed through `exec`, as dataclasses call it."""
    (tmp_path / "interrupted.py").write_text(
        "import vmm_cli.__main__ as command, vmm_cli.cli.app as app\n"
        "def run(argv): exec('raise KeyboardInterrupt')\n"
        "app.run = run\n"
        "command.main()\n"
    )
    done = subprocess.run([sys.executable, "-m", "interrupted"], cwd=tmp_path)
    assert done.returncode == 130
