"""`vmm extract-frames`: the right pictures, under the right names, at the right size."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.clips import picture_number

Vmm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., Path]

NAME = re.compile(r"frame_(\d{6})_t(\d{5}\.\d{3})\.(jpg|png|webp)")

# Keyframes on the second only, and pictures stored in another order than they are shown in.
NO_SCENE_CUTS = {"bf": "3", "x264-params": "scenecut=0"}

# The MPEG intra matrix (ISO/IEC 11172-2, 2.4.3.2), row by row. `-q:v 3` multiplies it by 3 / 8 and
# rounds down; its first entry, the DC coefficient, is always divided by 8.
MPEG_INTRA_MATRIX = [
    *(8, 16, 19, 22, 26, 27, 29, 34),
    *(16, 16, 22, 24, 27, 29, 34, 37),
    *(19, 22, 26, 27, 29, 34, 34, 38),
    *(22, 22, 26, 27, 29, 34, 37, 40),
    *(22, 26, 27, 29, 32, 35, 40, 48),
    *(26, 27, 29, 32, 35, 40, 48, 58),
    *(26, 27, 29, 34, 38, 46, 56, 69),
    *(27, 29, 35, 38, 46, 56, 69, 83),
]
QV3_TABLE = [8, *(value * 3 // 8 for value in MPEG_INTRA_MATRIX[1:])]


def record_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    (line,) = done.stdout.splitlines()
    record: dict[str, Any] = json.loads(line)
    return record


def checked_lines(folder: Path) -> list[dict[str, Any]]:
    """Read frames.jsonl and hold it against the picture files beside it."""
    lines = [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]
    for number, line in enumerate(lines, start=1):
        assert list(line) == ["file", "time_s", "pts", "keyframe", "width", "height"]
        assert [type(value) for value in line.values()] == [str, float, int, bool, int, int]
        match = NAME.fullmatch(line["file"])
        assert match is not None
        assert int(match[1]) == number
        assert match[2] == f"{line['time_s']:09.3f}"
        with Image.open(folder / line["file"]) as image:
            assert image.size == (line["width"], line["height"])
    times = [line["time_s"] for line in lines]
    assert times == sorted(set(times))
    files = {path.name for path in folder.iterdir()} - {"frames.jsonl", "contact_sheet.jpg"}
    assert files == {line["file"] for line in lines}
    return lines


def pictures(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(folder / line["file"])) for line in checked_lines(folder)]


def numbers(folder: Path) -> list[int]:
    return [picture_number(image) for image in pictures(folder)]


# The clip: 100 pictures, 25 a second, a keyframe each second.
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", [0, 25, 50, 75]),
        ("--fps 5 --start 1 --end 2", [25, 30, 35, 40, 45]),
        pytest.param("--fps 30000/10000 --end 0:00:01", [0, 8, 16], marks=pytest.mark.slow),
        ("--fps 100 --start 1 --end 1.2", [25, 26, 27, 28, 29]),
        ("--every 1.5", [0, 37, 75]),
        pytest.param("--every 1 --start 0.5", [12, 37, 62, 87], marks=pytest.mark.slow),
        ("--count 4", [12, 37, 62, 87]),
        pytest.param("--count 1", [50], marks=pytest.mark.slow),
        pytest.param("--count 500 --start 3.5", [*range(87, 100)], marks=pytest.mark.slow),
        ("--at 3.96,0,00:01.52,1.53", [0, 38, 99]),
        ("--at 0.5,1 --start 1 --end 2.5", [37, 50]),
        ("--keyframes", [0, 25, 50, 75]),
        pytest.param("--keyframes --start 0.04 --end 2", [25], marks=pytest.mark.slow),
        ("--all", [*range(100)]),
        pytest.param("--all --start 0.96 --end 1.04", [24, 25], marks=pytest.mark.slow),
    ],
)
def test_which_pictures(
    run_vmm: Vmm, render_clip: Render, tmp_path: Path, options: str, expected: list[int]
) -> None:
    clip = render_clip(frames=100, width=160, height=128, options=NO_SCENE_CUTS)
    done = run_vmm("extract-frames", clip, "-o", "out", *options.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert record_of(done) == {
        "schema": "vmm.extract-frames/1",
        "input": str(clip),
        "status": "ok",
        "duration_s": 4.0,
        "frames": len(expected),
        "folder": "clip.mp4",
        "skipped_packets": 0,
    }
    folder = tmp_path / "out" / "clip.mp4"
    assert numbers(folder) == expected
    for line, number in zip(checked_lines(folder), expected, strict=True):
        assert line["time_s"] == pytest.approx(number / 25, abs=1e-6)
        assert line["keyframe"] == (number % 25 == 0)


def test_a_frame_of_each_shot(run_vmm: Vmm, bikes: Path, tmp_path: Path) -> None:
    asked = ("extract-frames", bikes, "-o", "out", "--shots")
    record = record_of(run_vmm(*asked, "--contact-sheet"))
    assert record["frames"] == 6
    lines = checked_lines(tmp_path / "out" / "bikes.mp4")
    assert [line["time_s"] for line in lines] == [0.6, 2.12, 4.24, 6.48, 8.56, 9.84]
    before = tree(tmp_path / "out")
    assert record_of(run_vmm(*asked, "--contact-sheet")) == record
    assert tree(tmp_path / "out") == before
    record_of(run_vmm(*asked, "--start", "2", "--end", "6"))
    lines = checked_lines(tmp_path / "out" / "bikes.mp4")
    assert [line["time_s"] for line in lines] == [2.52, 4.24, 5.72]
    past = record_of(run_vmm(*asked, "--start", "99"))
    assert past["error"]["code"] == "past_end"
    assert "is shown from 99 s on" in past["error"]["message"]
    planned = record_of(run_vmm(*asked, "--dry-run"))
    assert planned["status"] == "planned"
    contradiction = run_vmm(*asked, "--fps", "2")
    assert contradiction.returncode == 2
    assert "--fps and --shots contradict each other" in contradiction.stderr


def test_a_late_start_and_uneven_times(run_vmm: Vmm, render_clip: Render, tmp_path: Path) -> None:
    pts = [5000, 5040, 5500, 5520, 6500, 6600, 7000]
    clip = render_clip("late.mkv", frames=7, pts=pts, time_base=Fraction(1, 1000), rate=1000)
    run_vmm("extract-frames", clip, "-o", "out", "--all")
    lines = checked_lines(tmp_path / "out" / "late.mkv")
    # On the clock that players show the first picture is at 0; pts are the stream's own.
    assert [line["time_s"] for line in lines] == [0, 0.04, 0.5, 0.52, 1.5, 1.6, 2.0]
    assert [line["pts"] for line in lines] == pts
    assert numbers(tmp_path / "out" / "late.mkv") == [*range(7)]
    run_vmm("extract-frames", clip, "-o", "out", "--every", "0.5", "--start", "0.01")
    assert numbers(tmp_path / "out" / "late.mkv") == [0, 2, 3, 4]


@pytest.mark.parametrize(
    "degrees",
    [90, pytest.param(180, marks=pytest.mark.slow), pytest.param(270, marks=pytest.mark.slow)],
)
def test_pictures_stand_upright(
    run_vmm: Vmm, render_clip: Render, tmp_path: Path, degrees: int
) -> None:
    clip = render_clip(frames=30, rotation=degrees, width=320, height=240)
    run_vmm("extract-frames", clip, "-o", "out", "--at", "0.2,0.6", "--size", "160")
    shown = pictures(tmp_path / "out" / "clip.mp4")
    assert {image.shape[:2] for image in shown} == {(160, 214) if degrees == 180 else (214, 160)}
    # The matrix counts counterclockwise; turned back, the bars can be read.
    assert [picture_number(np.rot90(image, -degrees // 90)) for image in shown] == [5, 15]


@pytest.mark.parametrize(
    ("image_format", "options", "size"),
    [
        ("jpg", "", (427, 240)),  # 320 pixels of 4:3 make 426.7 square ones
        ("png", "", (427, 240)),
        ("webp", "--size 101x83", (101, 83)),
        ("jpg", "--size 100x80", (100, 80)),
        pytest.param("jpg", "--size 120", (214, 120), marks=pytest.mark.slow),
        pytest.param("png", "--size 481", (856, 480), marks=pytest.mark.slow),
    ],
)
def test_sizes_and_formats(
    run_vmm: Vmm,
    render_clip: Render,
    tmp_path: Path,
    image_format: str,
    options: str,
    size: tuple[int, int],
) -> None:
    clip = render_clip(frames=10, sample_aspect_ratio=Fraction(4, 3))
    run_vmm(
        *("extract-frames", clip, "-o", "out", "--fps", "5", *options.split()),
        *("--image-format", image_format),
    )
    folder = tmp_path / "out" / "clip.mp4"
    assert {image.shape for image in pictures(folder)} == {(size[1], size[0], 3)}
    assert numbers(folder) == [0, 5]
    for line in checked_lines(folder):
        with Image.open(folder / line["file"]) as image:
            assert image.format == {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[image_format]


def picture_at_5(run_vmm: Vmm, bikes: Path, tmp_path: Path, *options: str) -> Path:
    done = run_vmm("extract-frames", bikes, "-o", "out", "--at", "5", *options)
    assert done.returncode == 0
    folder = tmp_path / "out" / "bikes.mp4"
    return folder / str(checked_lines(folder)[0]["file"])


def test_default_quality_is_that_of_qv_3(run_vmm: Vmm, bikes: Path, tmp_path: Path) -> None:
    with Image.open(picture_at_5(run_vmm, bikes, tmp_path)) as image:
        assert image.quantization == {0: QV3_TABLE}  # type: ignore[attr-defined]


@pytest.mark.parametrize("image_format", ["jpg", pytest.param("webp", marks=pytest.mark.slow)])
def test_better_quality_takes_more_bytes(
    run_vmm: Vmm, bikes: Path, tmp_path: Path, image_format: str
) -> None:
    sizes = [
        picture_at_5(
            *(run_vmm, bikes, tmp_path, "--image-format", image_format, "--quality", quality)
        )
        .stat()
        .st_size
        for quality in ("10", "60", "100")
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] / 3


COLOURS = [(200, 60, 30), (30, 180, 90), (40, 70, 210), (235, 235, 235), (20, 20, 20)]


def render_colours(path: Path, matrix: int, color_range: int) -> None:
    """Render bars of `COLOURS`, with the matrix (AVColorSpace) and range declared."""
    bars = np.repeat(np.array([COLOURS], np.uint8), 64, axis=1).repeat(64, axis=0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = bars.shape[1], bars.shape[0], "yuv420p"
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = color_range
        frame = av.VideoFrame.from_ndarray(bars, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=matrix, dst_color_range=color_range
        )
        for _ in range(3):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    "image_format",
    [
        "jpg",
        pytest.param("png", marks=pytest.mark.slow),
        pytest.param("webp", marks=pytest.mark.slow),
    ],
)
def test_colours(run_vmm: Vmm, tmp_path: Path, image_format: str) -> None:
    (tmp_path / "in").mkdir()
    for name, matrix, color_range in [("709", 1, 1), ("601", 5, 1), ("full", 1, 2)]:
        render_colours(tmp_path / "in" / f"{name}.mp4", matrix, color_range)
    run_vmm("extract-frames", "in", "-o", "out", "--at", "0", "--image-format", image_format)
    for name in ("709", "601", "full"):
        (image,) = pictures(tmp_path / "out" / f"{name}.mp4")
        for bar, colour in enumerate(COLOURS):
            found = image[20:44, bar * 64 + 20 : bar * 64 + 44].reshape(-1, 3).mean(axis=0)
            assert found == pytest.approx(colour, abs=6), (name, colour)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "journal" not in path.name
    }


@pytest.mark.parametrize(
    "options",
    [
        "--fps 30",
        pytest.param("--count 37", marks=pytest.mark.slow),
        pytest.param("--keyframes", marks=pytest.mark.slow),
        pytest.param("--all --start 0.5", marks=pytest.mark.slow),
        pytest.param("--at 0.05,15.99,16,16.01,31,99", marks=pytest.mark.slow),
    ],
)
def test_split_over_workers_changes_no_byte(
    run_vmm: Vmm, render_clip: Render, tmp_path: Path, options: str
) -> None:
    # 13 pictures a second: the cut at 16.0 s falls between two of them.
    clip = render_clip(frames=13 * 32, rate=13, gop=40, width=160, height=128, options={"bf": "2"})
    records = [
        record_of(run_vmm("extract-frames", clip, "-o", out, "--jobs", jobs, *options.split()))
        for jobs, out in (("1", "whole"), ("2", "split"))
    ]
    assert records[0] == records[1]
    whole, split = tree(tmp_path / "whole"), tree(tmp_path / "split")
    assert whole == split
    assert len(whole) == records[0]["frames"] + 1
    if options == "--fps 30":  # above the clip's rate: each picture once
        assert numbers(tmp_path / "split" / "clip.mp4") == [*range(13 * 32)]


def test_a_contact_sheet_for_each_video(run_vmm: Vmm, bikes: Path, tmp_path: Path) -> None:
    done = run_vmm("extract-frames", bikes, "-o", "out", "--contact-sheet")
    record = record_of(done)
    assert record["contact_sheet"] == "bikes.mp4/contact_sheet.jpg"
    with Image.open(tmp_path / "out" / record["contact_sheet"]) as sheet:
        assert sheet.format == "JPEG"
        picture = np.asarray(sheet)
    assert picture.std() > 20
    # 10 frames of 640x272 in rows of 6: cells of 240x102 with their times below, and margins.
    assert picture.shape == (2 * (102 + 22 + 8) + 8, 6 * (240 + 8) + 8, 3)
    assert picture[150:240, 1100:1400].std() < 5  # the last two cells are empty
    assert len(checked_lines(tmp_path / "out" / "bikes.mp4")) == 10


def test_the_other_formats_of_the_records(run_vmm: Vmm, bikes: Path, tmp_path: Path) -> None:
    asked = ("extract-frames", bikes, tmp_path / "none.mp4", "-o", "out", "--at", "1,77")
    array = json.loads(run_vmm(*asked, "--format", "json").stdout)
    assert [record["status"] for record in array] == ["ok", "failed"]
    assert array[0]["past_end_s"] == [77.0]
    table = run_vmm(*asked, "--format", "table").stdout
    assert "past the end: 77 s" in table
    assert "missing: no such file" in table
