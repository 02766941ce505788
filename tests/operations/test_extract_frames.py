"""Folders of frames: parts that add up, whole or not at all, and nobody else's files touched."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.clips import picture_number
from vmm_cli.batch.inputs import Input
from vmm_cli.errors import InputError
from vmm_cli.media import sampling
from vmm_cli.media.geometry import Size
from vmm_cli.media.sampling import Sampling, split
from vmm_cli.operations import save_frames
from vmm_cli.operations.save_frames import Job, Part

Render = Callable[..., Path]


def request_for(output: Path, plan: Sampling, **changes: Any) -> Job:
    values: dict[str, Any] = {
        "output": output,
        "sampling": plan,
        "size": Size(short=64),
        "image_format": "jpg",
        "quality": None,
        "contact_sheet": False,
        "max_pixels": 10**7,
    }
    return Job(**(values | changes))


def extract(request: Job, clip: Path, output_name: str | None = None) -> dict[str, Any]:
    item = Input(clip, str(clip), output_name or clip.name)
    found = save_frames.finish(request, item, [save_frames.run(request, item, None)])
    save_frames.tidy(request)
    return found.to_record()


def numbers(folder: Path) -> list[int]:
    lines = [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]
    return [picture_number(np.asarray(Image.open(folder / line["file"]))) for line in lines]


# --- splitting -----------------------------------------------------------------------------------


def test_a_picture_shown_on_both_sides_of_a_cut_comes_once(
    render_clip: Render, tmp_path: Path
) -> None:
    clip = render_clip(frames=50, rate=10, gop=10, width=160, height=128)
    item = Input(clip, str(clip), "clip.mp4")
    for plan in (sampling.fps(40), sampling.keyframes(), sampling.count(80)):
        whole = request_for(tmp_path / "whole", plan)
        extract(whole, clip)
        request = request_for(tmp_path / "parts", plan)
        cuts = [Fraction(123, 100), Fraction(2), Fraction(444, 100)]
        parts = [
            Part(request.output / ".vmm.work" / str(i), part)
            for i, part in enumerate(split(plan, cuts, Fraction(5)))
        ]
        results = [save_frames.run(request, item, part) for part in parts]
        save_frames.finish(request, item, results)
        save_frames.tidy(request)
        made, expected = ((r.output / "clip.mp4") for r in (request, whole))
        assert numbers(made) == numbers(expected)
        for file in expected.iterdir():
            assert (made / file.name).read_bytes() == file.read_bytes()


def index_first(clip: Path, target: Path) -> Path:
    """Write an MP4 whose index stands before its pictures, so that its first half can be read."""
    with (
        av.open(str(clip)) as source,
        av.open(str(target), "w", options={"movflags": "faststart"}) as copy,
    ):
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                copy.mux(packet)
    return target


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_file_cut_short_gives_the_same_whole_or_in_parts(
    render_clip: Render, tmp_path: Path, suffix: str
) -> None:
    clip = render_clip(f"clip.{suffix}", frames=400, rate=5, gop=20, width=160, height=128)
    if suffix == "mp4":
        clip = index_first(clip, tmp_path / "cut.mp4")
    os.truncate(clip, clip.stat().st_size * 3 // 5)  # its header still says 80 s
    item = Input(clip, str(clip), clip.name)
    plans = (sampling.fps(3), sampling.keyframes(), sampling.at([1, 25, 99]), sampling.count(7))
    for plan in (*plans, sampling.all()):
        whole = request_for(tmp_path / "whole", plan)
        expected = extract(whole, clip)
        request = request_for(tmp_path / "parts", plan)
        parts = save_frames.plan(request, item, 3)
        assert len(parts) == 3
        results = [save_frames.run(request, item, part) for part in parts]
        fields = save_frames.finish(request, item, results).to_record()
        for key in ("frames", "duration_s"):
            assert fields[key] == expected[key]
        assert plan.kind != "count" or fields["frames"] == 7
        assert numbers(tmp_path / "parts" / clip.name) == numbers(tmp_path / "whole" / clip.name)


def test_shots_are_not_split_and_may_be_of_a_file_cut_short(
    render_clip: Render, tmp_path: Path
) -> None:
    clip = render_clip("clip.mkv", frames=400, rate=5, gop=20, width=160, height=128)
    os.truncate(clip, clip.stat().st_size * 3 // 5)
    request = request_for(tmp_path / "out", sampling.shots(start=3))
    assert len(save_frames.plan(request, Input(clip, "clip", "clip.mkv"), 3)) == 1
    fields = extract(request, clip)
    assert fields["frames"] == len(numbers(tmp_path / "out" / "clip.mkv")) >= 1


def test_short_clips_are_not_split(bikes: Path, tmp_path: Path) -> None:
    item = Input(bikes, "bikes", "bikes")
    for plan in (sampling.fps(1), sampling.all(), sampling.every(1, start=99)):
        assert len(save_frames.plan(request_for(tmp_path, plan), item, 8)) == 1


@pytest.mark.parametrize(
    ("name", "codec", "parts"),
    [
        ("clip.mp4", "libx264", 2),
        ("clip.mkv", "libx264", 2),
        ("clip.ts", "libx264", 1),
        ("clip.h264", "libx264", 1),
    ],
)
def test_all_pictures_are_split_where_each_has_a_time(
    render_clip: Render, tmp_path: Path, name: str, codec: str, parts: int
) -> None:
    clip = render_clip(name, frames=100, rate=4, width=64, height=64, codec=codec)
    request = request_for(tmp_path, sampling.all())
    assert len(save_frames.plan(request, Input(clip, name, name), 8)) == parts


# --- the folder ----------------------------------------------------------------------------------


def test_an_earlier_run_is_replaced_whole(bikes: Path, tmp_path: Path) -> None:
    extract(request_for(tmp_path, sampling.fps(1), contact_sheet=True), bikes)
    folder = tmp_path / "bikes.mp4"
    assert len(list(folder.iterdir())) == 12
    extract(request_for(tmp_path, sampling.at([3]), image_format="png"), bikes)
    assert sorted(p.name for p in folder.iterdir()) == [
        "frame_000001_t00003.000.png",
        "frames.jsonl",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["bikes.mp4"]


@pytest.mark.parametrize("there", ["file", "folder", "link", "notes among frames"])
def test_what_is_not_ours_is_left_alone(bikes: Path, tmp_path: Path, there: str) -> None:
    target, output = tmp_path / "out" / "bikes.mp4", tmp_path / "out"
    output.mkdir()
    request = request_for(output, sampling.at([3]))
    if there == "file":
        target.write_text("precious")
        kept = target
    elif there == "link":
        kept = tmp_path / "elsewhere" / "frames.jsonl"
        kept.parent.mkdir()
        kept.write_text("precious")
        target.symlink_to(kept.parent)
    else:
        if there == "notes among frames":
            extract(request, bikes)
        kept = target / "notes.txt"
        kept.parent.mkdir(exist_ok=True)
        kept.write_text("precious")
    with pytest.raises(InputError, match="choose another -o") as caught:
        save_frames.run(request, Input(bikes, "bikes", "bikes.mp4"), None)
    assert caught.value.code == "collision"
    assert kept.read_text() == "precious"
    assert not (output / ".vmm.work").exists()  # found out before the work


def test_an_empty_folder_in_its_place_is_taken(bikes: Path, tmp_path: Path) -> None:
    (tmp_path / "bikes.mp4").mkdir()
    assert extract(request_for(tmp_path, sampling.at([3])), bikes)["frames"] == 1


def test_a_name_as_long_as_names_can_be(bikes: Path, tmp_path: Path) -> None:
    name = "ü" * 125 + ".mp4"  # 254 bytes of at most 255
    extract(request_for(tmp_path, sampling.at([3])), bikes, name)
    assert (tmp_path / name / "frames.jsonl").is_file()


def test_a_failed_input_leaves_nothing(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    request = request_for(tmp_path / "out", sampling.fps(1))
    with pytest.raises(InputError):
        save_frames.run(request, Input(text, "text.mp4", "a/text.mp4"), None)
    save_frames.tidy(request)
    assert list(request.output.iterdir()) == []


def test_nothing_in_the_wanted_range(bikes: Path, tmp_path: Path) -> None:
    for plan, message in [
        (sampling.fps(1, start=10), "every wanted time lies past the end of the video, which ends"),
        (sampling.at([10, 11]), "every wanted time lies past the end"),
        (sampling.count(3, start=99), "every wanted time lies past the end"),
        (
            sampling.all(start=99),
            "no picture of the video, which ends at 10.000 s, is shown from 99 s",
        ),
        (
            sampling.keyframes(start=Fraction(1, 100), end=Fraction(2, 100)),
            r"no keyframe is shown from 0\.01 s to 0\.02 s; widen --start and --end, or",
        ),
        (sampling.keyframes(start=99), "no keyframe is shown from 99 s on; widen"),
        (sampling.shots(start=99), "no picture of the video is shown from 99 s on"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            extract(request_for(tmp_path, plan), bikes)
        assert caught.value.code == "past_end"


def test_what_cannot_be_encoded_is_said(bikes: Path, tmp_path: Path) -> None:
    # WebP's sides go to 16383 pixels.
    request = request_for(
        tmp_path, sampling.at([3]), size=Size(width=16384, height=16), image_format="webp"
    )
    with pytest.raises(InputError, match="could not be encoded"):
        extract(request, bikes)
