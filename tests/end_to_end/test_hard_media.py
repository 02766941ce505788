"""Files after public bug reports: each row of $VMM_DATA/hard_media/cases.csv, by the real command.

`cases.csv` says in words what is right; CHECKS says it in numbers, by file.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

Record = dict[str, Any]


@dataclass(frozen=True)
class Tools:
    """What a check works with: the real command, a folder of its own, the file."""

    vmm: Callable[..., subprocess.CompletedProcess[str]]
    folder: Path
    file: Path

    def record(self, command: str, *options: str, file: Path | None = None) -> Record:
        """Return the record of one input."""
        done = self.vmm(command, file or self.file, *options, "--format", "jsonl")
        assert done.returncode == 0, done.stderr + done.stdout
        (line,) = done.stdout.splitlines()
        record: Record = json.loads(line)
        assert record["status"] == "ok"
        return record

    def frames(self, *options: str) -> Frames:
        """Return what extract-frames writes."""
        output = self.folder / "frames"
        shutil.rmtree(output, ignore_errors=True)
        done = self.vmm("extract-frames", self.file, *options, "-o", output, "--format", "jsonl")
        assert done.returncode == 0, done.stderr + done.stdout
        record = json.loads(done.stdout)
        made = output / record["folder"]
        times = [json.loads(line)["time_s"] for line in (made / "frames.jsonl").open()]
        assert all(before < after for before, after in pairwise(times))
        return Frames(record, times, [picture(path) for path in sorted(made.glob("*.jpg"))])


@dataclass(frozen=True)
class Frames:
    """A record, the times of the pictures and the pictures themselves, uint8 [H, W, 3]."""

    record: Record
    times: list[float]
    pictures: list[np.ndarray]


def picture(path: Path) -> np.ndarray:
    with av.open(os.fspath(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def decoded_picture(path: Path, index: int, stream: int = 0) -> np.ndarray:
    """Return a picture by its number, decoding from the start."""
    with av.open(os.fspath(path)) as container:
        for n, frame in enumerate(container.decode(container.streams[stream])):
            if n == index:
                return frame.to_ndarray(format="rgb24")
    raise AssertionError(f"{path} has no picture {index}")


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    return float(np.abs(one.astype(int) - other.astype(int)).mean()) < 4


def joined_recordings(tools: Tools) -> None:
    """Two recordings of 6 s; pictures begin 0.023 s late, so that one is still shown at 12 s."""
    frames = tools.frames("--fps", "1")
    assert len(frames.times) in (12, 13)
    assert frames.times[-1] > 10.9
    assert tools.frames("--at", "7").times == pytest.approx([7], abs=0.041)
    info = tools.record("info", "--shots")
    assert info["duration_s"] == pytest.approx(12, abs=0.1)
    assert len(info["shots"]) == 2
    assert info["restarts_s"] == pytest.approx([6], abs=0.1)
    assert any("start anew" in line for line in info["warnings"])


def jump_forward(tools: Tools) -> None:
    frames = tools.frames("--fps", "1")
    assert len(frames.times) >= 12
    info = tools.record("info")
    assert info["duration_s"] == pytest.approx(12, abs=0.1)
    assert any("start anew" in line for line in info["warnings"])


def clean_pictures(tools: Tools) -> None:
    frames = tools.frames("--fps", "1")
    assert frames.times == pytest.approx(range(8), abs=0.001)
    for k, shown in enumerate(frames.pictures):
        assert alike(shown, decoded_picture(tools.file, 25 * k))
    (late,) = tools.frames("--at", "5").pictures
    assert alike(late, decoded_picture(tools.file, 125))


def in_steps_of_a_picture(tools: Tools) -> None:
    frames = tools.frames("--all")
    assert np.diff(frames.times) == pytest.approx(0.04, abs=0.0001)
    number = {round(time, 3): n for n, time in enumerate(frames.times)}
    for time, shown in zip(*each(tools.frames("--fps", "1")), strict=True):
        assert alike(shown, decoded_picture(tools.file, number[round(time, 3)]))


def each(frames: Frames) -> tuple[list[float], list[np.ndarray]]:
    return frames.times, frames.pictures


def fine_ticks(tools: Tools) -> None:
    assert tools.frames("--all").times == pytest.approx([n / 25 for n in range(75)])
    assert tools.frames("--keyframes").times == pytest.approx([0, 1, 2])
    window = tools.frames("--all", "--start", "1", "--end", "1.2").times
    assert window == pytest.approx([1, 1.04, 1.08, 1.12, 1.16])


def coarse_ticks(tools: Tools) -> None:
    assert tools.frames("--all", "--start", "0.5", "--end", "2.5").times == [1, 2]


def no_keyframe_before(tools: Tools) -> None:
    frames = tools.frames("--all", "--size", "160")
    assert len(frames.times) == 58
    assert frames.times[0] == 0
    assert len(tools.frames("--at", "0,0.5,1.5,1.9", "--size", "160").times) == 4


def default_stream(tools: Tools) -> None:
    (shown,) = tools.frames("--at", "1").pictures
    with av.open(os.fspath(tools.file)) as container:
        second = container.streams.video[1]
        assert shown.shape[:2] == (second.height, second.width)


def not_the_thumbnail(tools: Tools) -> None:
    assert len(tools.frames("--fps", "1").times) == 4


def second_programme(tools: Tools) -> None:
    assert len(tools.frames("--fps", "1").times) == 4


def rare_matrix(tools: Tools) -> None:
    for command in ("info", "classify", "sentiment"):
        record = tools.record(command)
        assert any("colour" in line for line in record["warnings"]), command
    shown = tools.frames("--at", "0").pictures[0]
    with av.open(os.fspath(tools.file)) as container:
        frame = next(container.decode(video=0))
        frame.colorspace = 9  # BT.2020, not of constant luminance
        assert alike(shown, frame.to_ndarray(format="rgb24"))


def eight_channels(tools: Tools) -> None:
    (sound,) = tools.record("info")["audio"]
    assert sound["channels"] == 8
    tools.record("sentiment")


def palette(tools: Tools) -> None:
    (shown,) = tools.frames("--at", "4").pictures
    assert shown.mean() == pytest.approx(114, abs=8)


def keyframes(n: int) -> Callable[[Tools], None]:
    def check(tools: Tools) -> None:
        assert len(tools.frames("--keyframes").times) == n

    return check


def changing_aspect(tools: Tools) -> None:
    sizes = [shown.shape[:2] for shown in tools.frames("--at", "1,5").pictures]
    assert sizes == [(576, 768), (576, 1024)]


def declared_crop(tools: Tools) -> None:
    """libav's binding does not show the crop that a container declares: the docs say so."""
    (shown,) = tools.frames("--at", "1").pictures
    if shown.shape[:2] != (320, 640):
        limits = Path(__file__).parents[2] / "README.md"
        assert "crop" in limits.read_text()


def first_decodable(tools: Tools) -> None:
    assert tools.frames("--at", "0").times == pytest.approx([1.36])
    assert tools.frames("--at", "0,3").times == pytest.approx([1.36, 3], abs=0.04)


def heard(tools: Tools) -> None:
    assert tools.record("sentiment", "--evidence", "voice")["evidence"] == ["voice"]


def dav(tools: Tools) -> None:
    assert tools.record("info")["video"][0]["codec"] == "h264"
    assert len(tools.frames("--all").times) == 125
    folder = tools.folder / "recordings"
    folder.mkdir()
    shutil.copy(tools.file, folder)
    assert tools.record("info", file=folder)["format"] == "dhav"


def rolling_captions(tools: Tools) -> None:
    record = tools.record("sentiment", "--evidence", "text", "--keep-transcript")
    lines = record["transcript"]
    assert len(lines) == 3
    assert lines[0]["start_s"] == pytest.approx(0.469, abs=0.001)
    assert record["summary"]["valence"] == pytest.approx(0.119, abs=0.02)


def captions_read_or_told(tools: Tools) -> None:
    record = tools.record("sentiment", "--evidence", "text", "--keep-transcript")
    told = [line for line in record.get("warnings", ()) if "caption" in line]
    assert record.get("transcript") or told


def absurd_duration(tools: Tools) -> None:
    for command in ("info", "sentiment", "classify"):
        record = tools.record(command)
        assert record["duration_s"] == pytest.approx(4.04, abs=0.05)
        assert any("declared" in line for line in record["warnings"])
    assert tools.frames("--fps", "1").record["duration_s"] == pytest.approx(4.04, abs=0.05)


def listed(tools: Tools) -> None:
    """The lists name two files of their folder's neighbours; here two of ours."""
    for name, encoding in (("list_bom.txt", "utf-8-sig"), ("list16.txt", "utf-16")):
        path = tools.file.parent / name
        names = path.read_bytes().decode(encoding).splitlines()
        assert len(names) == 2
        here = tools.folder / name
        clips = [tools.folder / Path(one).name for one in names]
        for clip in clips:
            shutil.copy(tools.file.parents[1] / "timescale_1e7.mp4", clip)
        here.write_bytes("\r\n".join(map(os.fspath, clips)).encode(encoding))
        done = tools.vmm("info", "--files-from", here, "--format", "jsonl")
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 2


def sidecar(tools: Tools) -> None:
    record = tools.record("sentiment", "--evidence", "text", "--keep-transcript")
    assert record["transcript"]
    assert {line.get("language") for line in record["transcript"]} <= {None, "en"}


def three_captions(tools: Tools) -> None:
    record = tools.record("sentiment", "--evidence", "text", "--keep-transcript")
    assert len(record["transcript"]) >= 3


CHECKS: dict[str, Callable[[Tools], None]] = {
    "ts_concat_reset.ts": joined_recordings,
    "ts_jump_forward.ts": jump_forward,
    "allkey.avi": clean_pictures,
    "no_stss.mp4": clean_pictures,
    "no_stss_n4.mp4": clean_pictures,
    "h264_bframes.avi": in_steps_of_a_picture,
    "xvid_packed.avi": in_steps_of_a_picture,
    "timescale_1e7.mp4": fine_ticks,
    "timelapse_1fps.avi": coarse_ticks,
    "editlist_no_sync_before.mp4": no_keyframe_before,
    "second_video_default.mkv": default_stream,
    "thumb_track_first.mkv": not_the_thumbnail,
    "first_program_empty.ts": second_programme,
    "matrix_bt2020c.mp4": rare_matrix,
    "pcm_7.1_8ch.mov": eight_channels,
    "pal8_raw.avi": palette,
    "qtrle.mov": keyframes(11),
    "cfhd.mov": keyframes(125),
    "sar_change.ts": changing_aspect,
    "mkv_pixelcrop.mkv": declared_crop,
    "midgop_h264.ts": first_decodable,
    "ambisonic4.mkv": heard,
    "cctv.dav": dav,
    "youtube_rolling.mp4": rolling_captions,
    "mkvmerge_webvtt.mkv": captions_read_or_told,
    "absurd_duration.mkv": absurd_duration,
    "lists/list_bom.txt": listed,
    "captions/clip.mkv": sidecar,
    "captions/ass_short_format.mp4": three_captions,
    "eia608.ts": captions_read_or_told,
}


# Those that load a network.
LONG = {
    "matrix_bt2020c.mp4",
    "pcm_7.1_8ch.mov",
    "ambisonic4.mkv",
    "youtube_rolling.mp4",
    "mkvmerge_webvtt.mkv",
    "absurd_duration.mkv",
    "captions/clip.mkv",
    "captions/ass_short_format.mp4",
    "eia608.ts",
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in CHECKS],
)
def test_a_hard_file_is_right(
    run_vmm: Callable[..., subprocess.CompletedProcess[str]],
    vmm_data: Path,
    tmp_path: Path,
    name: str,
) -> None:
    file = vmm_data / "hard_media" / name
    if not file.is_file():
        pytest.skip(f"$VMM_DATA has no hard_media/{name}")
    CHECKS[name](Tools(partial(run_vmm, timeout=300), tmp_path, file))


def test_every_case_is_checked(vmm_data: Path) -> None:
    cases = vmm_data / "hard_media" / "cases.csv"
    if not cases.is_file():
        pytest.skip("$VMM_DATA has no hard_media/cases.csv")
    with cases.open(newline="") as file:
        assert {row["file"] for row in csv.DictReader(file)} == set(CHECKS)
