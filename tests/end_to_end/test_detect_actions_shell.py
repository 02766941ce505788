"""`vmm detect-actions` from the shell: what happens when, in every format, and as a picture."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.squares import HEIGHT, WIDTH, squares_clip
from vmm_cli.media.captions import Caption, captions, read_sidecar

Vmm = Callable[..., subprocess.CompletedProcess[str]]

RATE = 8  # pictures per second, as of `squares_clip`


def pictures(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(os.fspath(path)) as source:
        yield from source.decode(video=0)


def joined(
    parts: list[Path], target: Path, *, size: tuple[int, int] = (WIDTH, HEIGHT), rate: int = RATE
) -> Path:
    """Put the pictures of clips one after the other."""
    with av.open(os.fspath(target), "w") as output:
        stream = output.add_stream("libx264", rate=rate, options={"crf": "28"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number, picture in enumerate(chain.from_iterable(map(pictures, parts))):
            frame = picture.reformat(*size, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return target


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 s: still, moving from 4 s to 8 s, still."""
    folder = tmp_path_factory.mktemp("recording")
    kinds = ("still", "moving", "still")
    parts = [
        squares_clip(folder / f"{i}.mp4", kind, seed=i, seconds=4) for i, kind in enumerate(kinds)
    ]
    return joined(parts, folder / "recording.mp4")


def asked(model: Path, *inputs: Path) -> tuple[str | Path, ...]:
    return ("detect-actions", *inputs, "-m", model, "--labels", "moving", "--jobs", "1")


def spans(found: list[Caption]) -> list[tuple[float | None, float | None, str]]:
    return [(caption.start_s, caption.end_s, caption.text) for caption in found]


def said(record: dict[str, Any]) -> list[tuple[float, float, str]]:
    return [
        (round(s["start_s"], 3), round(s["end_s"], 3), f"{s['label']} {s['score']:.2f}")
        for s in record["segments"]
    ]


def test_records_and_subtitles_say_what_happens_when(
    run_vmm: Vmm, squares_model: Path, recording: Path, tmp_path: Path
) -> None:
    command = asked(squares_model, recording)
    record = json.loads(run_vmm(*command).stdout)
    assert record["schema"] == "vmm.detect-actions/1"
    assert record["duration_s"] == 12
    segments = record["segments"]
    assert segments, "it moves"
    assert {segment["label"] for segment in segments} == {"moving"}
    assert segments[0]["start_s"] == pytest.approx(4, abs=1)
    assert segments[-1]["end_s"] == pytest.approx(8, abs=1)
    shown = tmp_path / "shown.srt"
    shown.write_text(run_vmm(*command, "--format", "srt").stdout, encoding="utf-8")
    assert spans(list(read_sidecar(shown).captions)) == said(record)


@pytest.mark.slow
def test_a_subtitle_file_beside_the_video_is_shown_with_it(
    run_vmm: Vmm, squares_model: Path, recording: Path, tmp_path: Path
) -> None:
    video = Path(shutil.copy(recording, tmp_path / "video.mp4"))
    done = run_vmm(*asked(squares_model, video), "-o", tmp_path / "video.vtt")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    shown = captions(video)
    assert shown.warnings == ()
    (first, *_) = shown.captions
    assert first.text.startswith("moving ")
    assert first.start_s == pytest.approx(4, abs=1)


@pytest.mark.slow
def test_several_videos_have_a_file_each(
    run_vmm: Vmm, squares_model: Path, recording: Path, tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    (videos / "inner").mkdir(parents=True)
    shutil.copy(recording, videos / "a.mp4")
    squares_clip(videos / "inner" / "b.mp4", "still", seconds=2)
    (videos / "broken.mp4").write_bytes(b"\0" * 5000)
    output = tmp_path / "subtitles"
    command = (*asked(squares_model, videos), "-o", output, "--format", "srt")
    done = run_vmm(*command)
    assert (done.returncode, done.stdout) == (3, "")
    assert "broken.mp4" in done.stderr
    written = {str(p.relative_to(output)) for p in output.rglob("*") if p.is_file()}
    assert written == {"a.srt", "inner/b.srt", "vmm.journal.jsonl", "vmm.files.jsonl"}
    first = (output / "a.srt").read_text(encoding="utf-8")
    assert "moving" in first

    (output / "a.srt").unlink()
    again = run_vmm(*command, "-v")
    assert "0 done, 2 already done, 1 failed" in again.stderr
    assert (output / "a.srt").read_text(encoding="utf-8") == first, "rendered from the journal"
    (output / "inner" / "b.vtt").write_text("the user's own", encoding="utf-8")
    refused = run_vmm(*command[:-1], "vtt")
    assert refused.returncode == 2 and "no earlier run wrote it" in refused.stderr
    assert (output / "inner" / "b.vtt").read_text(encoding="utf-8") == "the user's own"
    (output / "inner" / "b.vtt").unlink()
    other = run_vmm(*command[:-1], "vtt", "-v")
    assert "0 done, 2 already done, 1 failed" in other.stderr
    assert (output / "a.vtt").read_text(encoding="utf-8").startswith("WEBVTT\n")


@pytest.mark.slow
def test_a_folder_that_is_there_takes_the_file_of_one_video(
    run_vmm: Vmm, squares_model: Path, recording: Path, tmp_path: Path
) -> None:
    command = asked(squares_model, recording)
    (tmp_path / "there").mkdir()
    assert run_vmm(*command, "-o", "there", "--format", "srt").returncode == 0
    assert (tmp_path / "there" / "recording.srt").is_file()
    assert run_vmm(*command, "-o", "new", "--format", "srt").returncode == 0
    assert (tmp_path / "new").is_file(), "one video that is named: one file"


def test_what_subtitles_cannot_be(
    run_vmm: Vmm, squares_model: Path, recording: Path, tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(recording, videos / name)
    command = asked(squares_model, videos)

    def refused(*options: str, code: int = 2) -> str:
        done = run_vmm(*command, *options)
        assert (done.returncode, done.stdout) == (code, "")
        assert len(done.stderr.splitlines()) == 1
        return done.stderr

    assert "give -o FOLDER" in refused("--format", "srt")
    assert "can hold one video, and there are 2" in refused("-o", "all.srt")
    assert "--format srt|vtt" in refused("-o", "videos")
    (tmp_path / "file").write_text("mine")
    assert "file: is not a folder" in refused("-o", "file", "--format", "vtt")
    # Beside the videos their own subtitles have the names that ours would have.
    (videos / "b.srt").write_text("mine")
    assert "b.srt: is there" in refused("-o", "videos", "--format", "srt")
    assert (videos / "b.srt").read_text() == "mine"
    assert (tmp_path / "file").read_text() == "mine"
    assert not (videos / "a.srt").exists()
    (videos / "a.avi").write_bytes(b"")
    assert "both would write to" in refused("-o", "out", "--format", "srt")
    assert not (tmp_path / "out").exists()


def test_one_that_failed_has_no_subtitles(
    run_vmm: Vmm, squares_model: Path, tmp_path: Path
) -> None:
    command = asked(squares_model, tmp_path / "none.mp4")
    for options in (("--format", "vtt"), ("-o", "none.vtt")):
        done = run_vmm(*command, *options)
        assert (done.returncode, done.stdout) == (3, "")
        assert "missing" in done.stderr
    assert not (tmp_path / "none.vtt").exists()


def test_a_plan_is_no_subtitles(
    run_vmm: Vmm, squares_model: Path, recording: Path, tmp_path: Path
) -> None:
    done = run_vmm(
        *asked(squares_model, recording), "--format", "srt", "--dry-run", "--timeline", "drawn"
    )
    assert json.loads(done.stdout)["status"] == "planned"
    assert not (tmp_path / "drawn").exists()


@pytest.mark.slow
def test_the_picture_shows_when(
    run_vmm: Vmm, squares_model: Path, recording: Path, tmp_path: Path
) -> None:
    command = (*asked(squares_model, recording), "--timeline", tmp_path / "drawn", "-o", "o.jsonl")
    assert run_vmm(*command).returncode == 0
    record = json.loads((tmp_path / "o.jsonl").read_text())
    assert record["timeline"] == "recording.mp4.timeline.png"
    assert "curves" not in record
    drawn = tmp_path / "drawn" / record["timeline"]
    with Image.open(drawn) as image:
        picture = np.asarray(image.convert("RGB"))
    yellow = (picture[..., 0] > 180) & (picture[..., 1] > 170) & (picture[..., 2] < 110)
    assert yellow.any(), "the square"
    drawn.unlink()
    assert run_vmm(*command).returncode == 0
    assert drawn.is_file(), "a picture that has gone is drawn again"


def test_a_timeline_that_cannot_be_written_is_said_before_the_work(
    run_vmm: Vmm, squares_model: Path, recording: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    done = run_vmm(*asked(squares_model, recording), "--timeline", tmp_path / "file")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is a file, not a folder" in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_an_unknown_label_names_the_near_one(
    run_vmm: Vmm, squares_model: Path, recording: Path
) -> None:
    done = run_vmm("detect-actions", recording, "-m", squares_model, "--labels", "movin")
    assert done.returncode == 2
    assert "did you mean 'moving'" in done.stderr


@pytest.mark.slow
def test_fights_are_found_in_a_long_recording(run_vmm: Vmm, vmm_data: Path, tmp_path: Path) -> None:
    """The bundled model, of clips of a few seconds, slid over a recording of a minute."""
    with (vmm_data / "fights" / "clips.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    calm = [vmm_data / "fights" / row["path"] for row in rows if row["label"] == "no_fight"]
    fights = [vmm_data / "fights" / row["path"] for row in rows if row["label"] == "fight"]
    recording = joined(
        [*calm[:10], *fights[4:12], *calm[10:20]], tmp_path / "night.mp4", size=(480, 360), rate=25
    )
    first = sum(1 for _ in chain.from_iterable(map(pictures, calm[:10]))) / 25
    last = first + sum(1 for _ in chain.from_iterable(map(pictures, fights[4:12]))) / 25
    done = run_vmm("detect-actions", recording, "-m", "fights", "--labels", "fight", timeout=300)
    assert done.returncode == 0, done.stderr
    segments = json.loads(done.stdout)["segments"]
    best = max(segments, key=lambda segment: segment["score"])
    overlap = min(best["end_s"], last) - max(best["start_s"], first)
    union = max(best["end_s"], last) - min(best["start_s"], first)
    assert overlap / union > 0.6
