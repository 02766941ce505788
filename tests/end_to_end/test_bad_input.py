"""What people really hand to a command: each costs itself alone, with one clear line."""

from __future__ import annotations

import ctypes
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from vmm_cli.cli.app import run

Vmm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., Path]

FRAMES = ("extract-frames", "--at", "0.5")


def by_input(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return {Path(record["input"]).name: record for record in records}


def codes(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Return each input's error code, or "ok"."""
    return {
        name: record["error"]["code"] if record["status"] == "failed" else record["status"]
        for name, record in by_input(done).items()
    }


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def write_tone(path: Path) -> None:
    """Write a second of sound, and nothing else, as an .mp4."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        tone = (np.sin(np.arange(8000) / 5) / 3).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


# --- one run over everything that can be wrong with a file ---------------------------------------

EXPECTED = {
    "fine.mp4": "ok",
    "also fine.mkv": "ok",
    "none.mp4": "missing",
    "empty.mp4": "unreadable",
    "header only.mp4": "unreadable",
    "no index.mp4": "unreadable",
    "text.mp4": "unreadable",
    "zeros.mp4": "unreadable",
    "sound only.mp4": "no_video",
    "concat.mp4": "refused",
    "ffconcat.mp4": "refused",
    "playlist.mp4": "refused",
    "dash.mp4": "refused",
    "fifo.mp4": "refused",
    "device.mp4": "refused",
    "loop.mp4": "unreadable",
}


@pytest.fixture
def bad(render_clip: Render, bikes: Path, tmp_path: Path) -> Path:
    """A folder of broken files among two good ones."""
    folder = tmp_path / "in"
    render_clip("in/fine.mp4", frames=25)
    render_clip("in/also fine.mkv", frames=25)
    (folder / "empty.mp4").touch()
    (folder / "header only.mp4").write_bytes(bikes.read_bytes()[:40])
    (folder / "no index.mp4").write_bytes(bikes.read_bytes()[: bikes.stat().st_size // 2])
    (folder / "text.mp4").write_text("#!/bin/sh\necho this is no video\n" * 50)
    (folder / "zeros.mp4").write_bytes(bytes(10_000))
    write_tone(folder / "sound only.mp4")
    (folder / "concat.mp4").write_text("ffconcat version 1.0\nfile fine.mp4\n")
    (folder / "ffconcat.mp4").write_text(f"ffconcat version 1.0\nfile '{folder}/fine.mp4'\n")
    (folder / "playlist.mp4").write_text("#EXTM3U\n#EXTINF:1,\nfine.mp4\n#EXT-X-ENDLIST\n")
    (folder / "dash.mp4").write_text('<?xml version="1.0"?>\n<MPD type="static"></MPD>')
    os.mkfifo(folder / "fifo.mp4")
    (folder / "device.mp4").symlink_to("/dev/zero")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        FRAMES,
        ("info",),
        pytest.param(("classify", "--model", "imagenet", "--count", "1"), marks=pytest.mark.slow),
    ],
)
def test_each_costs_itself_alone(
    run_vmm: Vmm, bad: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    output = ("-o", "out") if command == FRAMES else ()
    done = run_vmm(*command, *(bad / name for name in EXPECTED), *output)
    expected = dict(EXPECTED)
    if command == ("info",):
        expected["sound only.mp4"] = "ok"  # it says what is there
    assert done.returncode == 3
    assert codes(done) == expected
    # A line each on stderr, and nothing else: libav has nothing to add.
    failed = sorted(name for name, code in expected.items() if code != "ok")
    lines = sorted(done.stderr.splitlines(), key=lambda line: line.removeprefix(f"{bad}/"))
    assert len(lines) == len(failed)
    for name, line in zip(failed, lines, strict=True):
        assert line.startswith(f"{bad / name}: {expected[name]}: ")
    alone = run_vmm(*command, bad / "fine.mp4", *(("-o", "alone") if output else ()))
    assert by_input(alone)["fine.mp4"] == by_input(done)["fine.mp4"]
    if output:
        assert tree(tmp_path / "out" / "fine.mp4") == tree(tmp_path / "alone" / "fine.mp4")
        assert sorted(os.listdir(tmp_path / "out")) == [
            *("also fine.mkv", "fine.mp4", "vmm.journal.jsonl")
        ]


@pytest.mark.parametrize("clip", ["bikes", pytest.param("bunny", marks=pytest.mark.slow)])
def test_damaged_files_give_pictures_or_a_clear_record(
    run_vmm: Vmm, request: pytest.FixtureRequest, tmp_path: Path, clip: str
) -> None:
    """Bits flipped at random and ends cut off, in a real file."""
    content = request.getfixturevalue(clip).read_bytes()
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in range(10):
        rng = random.Random(f"{clip} {seed}")
        damaged = bytearray(content)
        for _ in range(10 ** (seed % 4)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        if seed % 3 == 0:
            del damaged[rng.randrange(len(damaged) // 10, len(damaged)) :]
        (folder / f"{seed}.mp4").write_bytes(damaged)
    (folder / "whole.mp4").write_bytes(content)
    done = run_vmm("extract-frames", folder, "-o", "out", "--size", "64")
    records = by_input(done)
    assert len(records) == 11
    assert records["whole.mp4"]["status"] == "ok"
    failed = warned = 0
    for name, record in records.items():
        frames = tmp_path / "out" / name / "frames.jsonl"
        if record["status"] == "ok":
            warned += len(record.get("warnings", ()))
            assert len(frames.read_text().splitlines()) == record["frames"] > 0
        else:
            failed += 1
            assert record["error"]["code"] in ("unreadable", "no_video")
            assert not frames.parent.exists()
    assert done.returncode == (3 if failed else 0)
    assert len(done.stderr.splitlines()) == failed + warned


@pytest.mark.parametrize(
    "bait",
    [
        pytest.param("ffconcat version 1.0\nfile secret.mp4\n", id="concat"),
        pytest.param(
            "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n",
            id="hls",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_no_other_file_is_read(run_vmm: Vmm, bikes: Path, tmp_path: Path, bait: str) -> None:
    lure, secret = tmp_path / "lure.mp4", tmp_path / "secret.mp4"
    lure.write_text(bait)
    if "concat" in bait:  # the lure works: libav left to itself reads the other file
        shutil.copy(bikes, secret)
        with av.open(str(lure)) as container:
            assert next(container.decode(video=0)).width == 640
        secret.unlink()
    # A FIFO tells whether it was opened: its writer waits for a reader.
    os.mkfifo(secret)
    opened = threading.Event()

    def wait_for_a_reader() -> None:
        os.close(os.open(secret, os.O_WRONLY))
        opened.set()

    waiting = threading.Thread(target=wait_for_a_reader, daemon=True)
    waiting.start()
    for command in (("info",), (*FRAMES, "-o", "out"), ("classify",)):
        done = run_vmm(*command, lure, cwd=tmp_path)
        assert (done.returncode, codes(done)) == (3, {"lure.mp4": "refused"})
        assert len(done.stderr.splitlines()) == 1
    assert not opened.is_set()
    os.close(os.open(secret, os.O_RDONLY | os.O_NONBLOCK))  # let the thread go
    waiting.join(5)


def test_no_input_at_all(run_vmm: Vmm, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "readme.txt").write_text("no video")
    done = run_vmm("extract-frames", "in", "-o", "out")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "no video found in in; name files or folders that hold some\n"
    assert not (tmp_path / "out").exists()
    assert run_vmm("extract-frames", "none.mp4", "-o", "out").returncode == 3


# --- permissions ---------------------------------------------------------------------------------

PR_CAPBSET_DROP = 24  # linux/prctl.h
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2  # linux/capability.h


def obey_permissions() -> None:
    """Take from this process, once it runs another program, root's right to pass over them."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if os.geteuid() == 0 and libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "capabilities cannot be dropped")


def run_obeying(*args: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    locked = cwd / "locked"
    locked.touch(mode=0)
    try:
        probe = subprocess.run(
            ["cat", locked], preexec_fn=obey_permissions, capture_output=True, check=False
        )
    except subprocess.SubprocessError:
        pytest.skip("root's rights cannot be dropped here, and root may read everything")
    if probe.returncode == 0:
        pytest.skip("permissions mean nothing here")
    return subprocess.run(
        [sys.executable, "-m", "vmm_cli", *map(str, args)],
        preexec_fn=obey_permissions,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_files_and_folders_that_may_not_be_read(render_clip: Render, tmp_path: Path) -> None:
    render_clip("in/fine.mp4", frames=25)
    render_clip("in/secret.mp4", frames=25).chmod(0)
    render_clip("in/closed/b.mp4", frames=25).parent.chmod(0)
    done = run_obeying(*FRAMES, "in", "in/closed/b.mp4", "-o", "out", cwd=tmp_path)
    (tmp_path / "in" / "closed").chmod(0o700)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    found = {r["input"]: r["status"] if r["status"] == "ok" else r["error"] for r in records}
    assert done.returncode == 3
    assert found.pop("in/fine.mp4") == "ok"
    assert set(found) == {"in/secret.mp4", "in/closed", "in/closed/b.mp4"}
    for error in found.values():
        assert error["code"] == "unreadable"
        assert "ermission denied" in error["message"] or "may not be listed" in error["message"]
    assert len(done.stderr.splitlines()) == len(found)


def test_outputs_that_cannot_be_written(render_clip: Render, tmp_path: Path) -> None:
    clip = render_clip(frames=25)
    (tmp_path / "closed").mkdir(mode=0o500)
    (tmp_path / "file").touch()
    for output in ("closed", "closed/new", "file"):
        done = run_obeying(*FRAMES, clip, "-o", output, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, ""), output
        assert len(done.stderr.splitlines()) == 1
        assert output in done.stderr


# --- the output ----------------------------------------------------------------------------------


def test_one_name_for_two_inputs_is_refused_before_work(
    run_vmm: Vmm, render_clip: Render, tmp_path: Path
) -> None:
    a, b = render_clip("a/x.mp4", frames=5), render_clip("b/X.mp4", frames=5)
    done = run_vmm(*FRAMES, a, b, "-o", "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{a} and {b}: both would write to" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    # A folder tells its files apart.
    assert run_vmm(*FRAMES, "a", tmp_path / "none.mp4", "-o", "out").returncode == 3


def test_the_input_folder_as_output(run_vmm: Vmm, render_clip: Render, tmp_path: Path) -> None:
    clip = render_clip("in/fine.mp4", frames=25)
    content = clip.read_bytes()
    done = run_vmm(*FRAMES, "in", "-o", "in")
    assert (done.returncode, codes(done)) == (3, {"fine.mp4": "collision"})
    assert len(done.stderr.splitlines()) == 1
    assert clip.read_bytes() == content
    # Inside it, its own pictures are no inputs, also in the second run.
    for _ in range(2):
        done = run_vmm(*FRAMES, "in", "-o", "in/frames")
        assert (done.returncode, codes(done)) == (0, {"fine.mp4": "ok"})


def test_a_place_that_is_taken(run_vmm: Vmm, render_clip: Render, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        render_clip(f"in/{name}.mp4", frames=25)
    (tmp_path / "out" / "b.mp4").mkdir(parents=True)
    (tmp_path / "out" / "b.mp4" / "thesis.txt").write_text("precious")
    (tmp_path / "out" / "c.mp4").write_text("precious")
    done = run_vmm(*FRAMES, "in", "-o", "out")
    assert done.returncode == 3
    assert codes(done) == {"a.mp4": "ok", "b.mp4": "collision", "c.mp4": "collision"}
    assert all("choose another -o" in line for line in done.stderr.splitlines())
    assert (tmp_path / "out" / "b.mp4" / "thesis.txt").read_text() == "precious"
    assert (tmp_path / "out" / "c.mp4").read_text() == "precious"


def run_with_small_files(
    limit: int, *args: str | Path, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run vmm where no file may grow beyond `limit` bytes: writing fails as on a full disk."""
    return subprocess.run(
        [sys.executable, "-m", "vmm_cli", *map(str, args)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_pictures_that_do_not_fit(render_clip: Render, bikes: Path, tmp_path: Path) -> None:
    small = render_clip(frames=25, width=64, height=64)
    asked = ("--at", "0.5", "--image-format", "png", "-o", "out")
    done = run_with_small_files(20_000, "extract-frames", bikes, small, *asked, cwd=tmp_path)
    assert (done.returncode, codes(done)) == (3, {"bikes.mp4": "output", "clip.mp4": "ok"})
    (line,) = done.stderr.splitlines()
    assert "cannot be written" in line
    assert sorted(os.listdir(tmp_path / "out")) == ["clip.mp4", "vmm.journal.jsonl"]
    again = run_with_small_files(10**8, "extract-frames", bikes, small, *asked, cwd=tmp_path)
    assert codes(again) == {"bikes.mp4": "ok", "clip.mp4": "ok"}


def test_a_journal_that_does_not_fit(render_clip: Render, tmp_path: Path) -> None:
    clip = render_clip(frames=25, width=64, height=64)
    done = run_with_small_files(300, *FRAMES, clip, "-o", "out", "--size", "2", cwd=tmp_path)
    assert done.returncode in (1, 3)
    assert len(done.stderr.splitlines()) == (1 if done.returncode == 1 else 2)
    assert "cannot be written" in done.stderr
    assert run_with_small_files(10**8, *FRAMES, clip, "-o", "out", cwd=tmp_path).returncode == 0


def test_a_reader_that_left(bikes: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "vmm_cli", *FRAMES, bikes, "-o", tmp_path / "out"],
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=300,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


# --- usage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "name one with -o DIR"),
        ("-o out --fps 2 --every 3", "--fps and --every contradict each other"),
        ("-o out --at 1 --all --keyframes", "--at and --keyframes and --all contradict"),
        ("-o out --start 3 --end 2", "--end (2 s) must lie after --start (3 s)"),
        ("-o out --start 3 --end 3", "--end (3 s) must lie after --start (3 s)"),
        ("-o out --end 0", "--end (0 s) must lie after --start (0 s)"),
        ("-o out --at 1,5 --end 4", "--at 5 s does not lie before --end (4 s)"),
        ("-o out --at 1 --start 3 --end 4", "--at 1 s, counted from --start (3 s), does not"),
        ("-o out --start=-1", "lies before the start of the video"),
        ("-o out --at 1,x", "--at: 'x' is not a valid time"),
        ("-o out --at ,", "--at: ',' is not a valid time"),
        ("-o out --fps 0", "--fps: '0' is not a frame rate above 0"),
        ("-o out --fps 1/0", "--fps: '1/0' is not a frame rate above 0"),
        ("-o out --every 0", "--every: '0' is not above 0 seconds"),
        ("-o out --count 0", "--count: '0' is not a whole number of at least 1"),
        ("-o out --size 0x9", "--size: '0x9' is not a valid size"),
        ("-o out --size 99999", "--size: '99999' is not a valid size"),
        ("-o out --quality 101", "--quality: 101 is not a valid quality"),
        ("-o out --quality 50 --image-format png", "--quality means nothing for png"),
        ("-o out --image-format bmp", "--image-format: 'bmp' is not one of"),
        ("-o out --format csv", "--format: 'csv' is not one of"),
    ],
)
def test_options_that_contradict(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    options: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["extract-frames", "x.mp4", *options.split()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert len(said.err.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


def test_times_past_the_end(run_vmm: Vmm, render_clip: Render, tmp_path: Path) -> None:
    clip = render_clip(frames=50, options={"bf": "3"})  # 2 s
    done = run_vmm("extract-frames", clip, "-o", "out", "--at", "0,1.99,2,7:00")
    (record,) = by_input(done).values()
    assert (done.returncode, record["frames"], record["past_end_s"]) == (0, 2, [2.0, 420.0])
    for options in ("--at 2,3", "--start 2"):
        done = run_vmm("extract-frames", clip, "-o", "none", *options.split())
        assert (done.returncode, codes(done)) == (3, {"clip.mp4": "past_end"})
        assert len(done.stderr.splitlines()) == 1
    assert os.listdir(tmp_path / "none") == ["vmm.journal.jsonl"]


# --- words of other people -----------------------------------------------------------------------


def test_hostile_names_and_titles(run_vmm: Vmm, render_clip: Render, tmp_path: Path) -> None:
    escape = "\x1b]0;owned\x07\x1b[31m"
    clip = render_clip(frames=25, metadata={"title": f"red {escape}\nsecond line"})
    names = [f"{escape}.mp4", "new\nline.mp4", os.fsdecode(b"latin\xe9.mp4"), "ok\u202e4pm.mp4"]
    folder = tmp_path / "in"
    folder.mkdir()
    for name in names:
        shutil.copy(clip, folder / name)
    shutil.copy(clip, folder / f"broken{escape}.mp4")
    os.truncate(folder / f"broken{escape}.mp4", 500)
    for command in (("info",), (*FRAMES, "-o", "out")):
        for options in ("--format table", "-vv"):
            done = run_vmm(*command, "in", *options.split())
            assert done.returncode == 3
            said = done.stdout + done.stderr
            assert not any(ord(c) < 32 and c != "\n" for c in said)
            assert "\u202e" not in said
            assert not any(0xDC80 <= ord(c) <= 0xDCFF for c in said)  # was valid UTF-8
        if command == ("info",):
            info = json.loads(run_vmm("info", clip).stdout)
            assert info["title"] == f"red {escape}\nsecond line"
        records = by_input(done)
        assert set(records) == {*names, f"broken{escape}.mp4"}
    # On disk each has the name that it had.
    assert set(os.listdir(tmp_path / "out")) == {*names, "vmm.journal.jsonl"}
    assert records[names[2]]["folder"] == names[2]


def test_an_answer_that_fits(run_vmm: Vmm, tmp_path: Path, render_clip: Render) -> None:
    """Addresses, pictures, sound, and videos without their index: what each is, and what to do."""
    whole = render_clip("whole.mp4")
    content = whole.read_bytes()
    (tmp_path / "half.mp4").write_bytes(content[: len(content) // 2])
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.bmp")
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs" / "a.flac").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    asked = ["https://example.org/a.mp4", "half.mp4", "photo.bmp", "whole.mp4"]
    done = run_vmm("info", *asked)
    assert done.returncode == 3
    said = dict(line.split(": ", 1) for line in done.stderr.replace("://", "//").splitlines())
    assert len(said) == 3
    assert said["https//example.org/a.mp4"].startswith("missing: vmm reads local files; download")
    assert "its index (moov) is missing" in said["half.mp4"]
    assert said["photo.bmp"].startswith("refused: is a picture, not a video: BMP")
    dry = run_vmm("info", *asked, "--dry-run")
    assert "vmm reads local files" in dry.stderr
    for folder, what in (("songs", "1 sound file;"), ("photos", "1 picture;")):
        none = run_vmm("info", folder)
        assert none.returncode == 4
        assert none.stderr.startswith(f"no video found in {folder}: it holds {what}")


def test_the_cap_of_pixels_holds_for_what_is_stored_too(run_vmm: Vmm, render_clip: Render) -> None:
    clip = render_clip()
    assert run_vmm("classify", clip).returncode == 0
    done = run_vmm("classify", clip, "--max-pixels", "10x10")
    assert done.returncode == 3
    assert "refused: its pictures are 320x240, above the cap of 100 pixels" in done.stderr


# --- what the system refuses


LONG = "x" * 300


@pytest.mark.parametrize(
    "command",
    [
        ("info", "CLIP", "-o", f"{LONG}.csv"),
        ("extract-frames", "CLIP", "-o", LONG),
        ("classify", "CLIP", "-m", f"./{LONG}"),
        ("train", ".", "-o", LONG, "--name", "n"),
    ],
)
def test_a_name_that_is_too_long_is_told(
    run_vmm: Vmm, render_clip: Render, command: tuple[str, ...]
) -> None:
    clip = render_clip("a.mp4", frames=1)
    done = run_vmm(*(clip if word == "CLIP" else word for word in command))
    assert done.returncode != 0
    assert "internal" not in done.stderr + done.stdout
    assert "too long" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give up root's rights")
def test_places_that_may_not_be_entered_are_told(
    run_vmm: Vmm, render_clip: Render, tmp_path: Path
) -> None:
    clip = render_clip("a.mp4", frames=1)
    closed = tmp_path / "closed"
    (closed / "model").mkdir(parents=True)
    closed.chmod(0)
    rights = "-dac_override,-dac_read_search"
    bound = ("setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}")
    for arguments in (
        ("info", clip, "-o", closed / "x.csv"),
        ("extract-frames", clip, "-o", closed / "frames"),
        ("classify", clip, "-m", closed / "model"),
        ("evaluate", closed / "model", tmp_path),
    ):
        done = subprocess.run(
            [*bound, sys.executable, "-m", "vmm_cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=os.environ | {"HOME": str(tmp_path)},
        )
        assert done.returncode in (1, 2), arguments
        (line,) = done.stderr.splitlines()
        assert "internal" not in line
        assert "closed" in line and "ermission denied" in line
    listed = subprocess.run(
        [*bound, sys.executable, "-m", "vmm_cli", "models", "list", "--format", "table"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"HOME": str(tmp_path), "VMM_MODELS": str(closed), "COLUMNS": "400"},
    )
    closed.chmod(0o755)
    assert "cannot be looked into: Permission denied" in listed.stdout + listed.stderr
    assert "imagenet" in listed.stdout


@pytest.mark.parametrize("option", ["-o", "--files-from", "--config"])
def test_a_log_goes_to_no_other_file_of_the_command(
    run_vmm: Vmm, render_clip: Render, tmp_path: Path, option: str
) -> None:
    clip = render_clip("a.mp4", frames=1)
    file = tmp_path / "file.jsonl"
    content = "" if option == "-o" else f"{clip}\n" if option == "--files-from" else "{}\n"
    file.write_text(content)
    inputs = () if option == "--files-from" else (clip,)
    done = run_vmm("info", *inputs, option, file, "--log-file", file)
    assert done.returncode == 2
    assert f"--log-file and {option} name the same file" in done.stderr
    assert "time_s" not in file.read_text()
