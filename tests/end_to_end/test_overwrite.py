"""What vmm did not write it does not replace: every format and picture, through the command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.squares import squares_clip

Vmm = Callable[..., subprocess.CompletedProcess[str]]
NOTES = "my notes\n"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    squares_clip(folder / "a.mp4", "moving", seconds=2)
    return folder / "a.mp4"


def refused(done: subprocess.CompletedProcess[str], path: Path) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{path}: is there, and no earlier run wrote it")
    assert "--overwrite" in line
    assert "another -" in line


OTHER_FORMATS = [pytest.param(f"out.{name}", marks=pytest.mark.slow) for name in ("jsonl", "json")]


@pytest.mark.parametrize(
    "name", ["out.csv", *OTHER_FORMATS, pytest.param("out.txt", marks=pytest.mark.slow)]
)
def test_notes_are_not_replaced_by_records(
    run_vmm: Vmm, clip: Path, tmp_path: Path, name: str
) -> None:
    output = tmp_path / name
    output.write_text(NOTES)
    wanted = ("--format", "table") if name == "out.txt" else ()
    command = ("info", clip, "-o", output, *wanted)
    refused(run_vmm(*command), output)
    assert output.read_text() == NOTES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "home", name]
    done = run_vmm(*command, "--overwrite")
    assert (done.returncode, done.stderr) == (0, "")
    first = output.read_text()
    assert "h264" in first

    again = run_vmm(*command, "-v")  # its own output is taken up, as ever
    assert "nothing to do: 1 already done" in again.stderr
    assert output.read_text() == first
    squares_clip(clip.with_name("b.mp4"), "still", seconds=1)
    grown = run_vmm("info", clip.parent, "-o", output, *wanted)
    assert (grown.returncode, grown.stderr) == (0, "")
    assert "b.mp4" in output.read_text()

    output.write_text(NOTES)  # whatever a journal says that lies beside it
    done = run_vmm(*command)
    assert done.returncode == 2
    assert output.read_text() == NOTES


def test_an_edited_table_is_not_replaced(run_vmm: Vmm, clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    assert run_vmm("info", clip, "-o", output).returncode == 0
    edited = output.read_text().replace("h264", "h264 (look again)")
    output.write_text(edited)
    done = run_vmm("info", clip, "-o", output)
    assert done.returncode == 2
    assert f"{output}: was changed since vmm wrote it; give --overwrite" in done.stderr
    assert output.read_text() == edited


def test_an_added_line_is_not_lost(run_vmm: Vmm, clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    assert run_vmm("info", clip, "-o", output).returncode == 0
    with output.open("a") as file:
        file.write('{"mine": 1}\n')
    assert run_vmm("info", clip, "-o", output).returncode == 2
    assert output.read_text().endswith('{"mine": 1}\n')


@pytest.mark.parametrize("name", ["out.csv", *OTHER_FORMATS])
def test_empty_files_are_replaced_and_results_that_nothing_tells_of_are_not(
    run_vmm: Vmm, clip: Path, tmp_path: Path, name: str
) -> None:
    output = tmp_path / name
    output.touch()
    assert run_vmm("info", clip, "-o", output).returncode == 0
    first = output.read_text()
    assert run_vmm("info", clip, "-o", output).returncode == 0
    (tmp_path / f"{name}.journal.jsonl").unlink()  # as of a file that was joined of two others
    refused(run_vmm("info", clip, "-o", output), output)
    assert output.read_text() == first


def test_a_link_to_notes_is_followed(run_vmm: Vmm, clip: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text(NOTES)
    output = tmp_path / "out.csv"
    output.symlink_to(notes)
    refused(run_vmm("info", clip, "-o", output), output)
    assert notes.read_text() == NOTES
    output.unlink()
    output.symlink_to("new.txt")
    assert run_vmm("info", clip, "-o", output).returncode == 0
    assert (tmp_path / "new.txt").read_text().startswith("input,status")


def test_a_file_with_the_name_of_the_lock_stays(run_vmm: Vmm, clip: Path, tmp_path: Path) -> None:
    lock = tmp_path / "uv.lock"
    lock.write_text("version = 1\n")
    command = ("info", clip, "-o", tmp_path / "uv", "--format", "csv")
    done = run_vmm(*command, "--overwrite")
    assert done.returncode == 2
    assert done.stderr == f"{lock}: is there and is no lock of vmm's; choose another -o\n"
    assert lock.read_text() == "version = 1\n"
    lock.write_text("4711\n")  # left by a run that was killed
    assert run_vmm(*command).returncode == 0
    assert not lock.exists()


def test_a_dry_run_says_it_too(run_vmm: Vmm, clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    output.write_text(NOTES)
    refused(run_vmm("info", clip, "-o", output, "--dry-run"), output)


def test_frames_go_among_files_of_others_only_where_asked(
    run_vmm: Vmm, clip: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    notes = output / "a.mp4" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text(NOTES)
    command = ("extract-frames", clip, "-o", output, "--count", "2")
    done = run_vmm(*command)
    assert done.returncode == 3
    assert "holds a file that is no frame, 'notes.txt'; give --overwrite" in done.stderr
    assert os.listdir(notes.parent) == ["notes.txt"]
    for count, options in (("2", ()), ("3", ("--no-resume",))):
        done = run_vmm(*command[:-1], count, "--overwrite", *options)
        assert (done.returncode, done.stderr) == (0, "")
        index = (output / "a.mp4" / "frames.jsonl").read_text().splitlines()
        pictures = [json.loads(line)["file"] for line in index]
        assert len(pictures) == int(count)
        assert sorted(os.listdir(notes.parent)) == sorted([*pictures, "frames.jsonl", "notes.txt"])
    assert notes.read_text() == NOTES


def test_frames_that_somebody_changed_are_not_replaced(run_vmm: Vmm, clip: Path) -> None:
    command = ("extract-frames", clip.name, "-o", "out")
    assert run_vmm(*command, "--count", "3", cwd=clip.parent).returncode == 0
    folder = clip.parent / "out" / clip.name
    frame = min(folder.glob("*.jpg"))
    frame.write_text("edited")
    done = run_vmm(*command, "--count", "2", cwd=clip.parent)
    assert done.returncode == 3
    assert f"{frame.name} was changed since vmm wrote it; give --overwrite" in done.stderr
    assert frame.read_text() == "edited"
    assert run_vmm(*command, "--count", "2", "--overwrite", cwd=clip.parent).returncode == 0
    assert not frame.exists() or frame.read_bytes() != b"edited"


def test_an_index_of_others_is_not_replaced(run_vmm: Vmm, clip: Path) -> None:
    folder = clip.parent / "out" / clip.name
    folder.mkdir(parents=True)
    (folder / "frames.jsonl").write_text('{"my": "labels"}\n')
    (folder / "frame_000007_t00001.000.jpg").write_text("mine")
    done = run_vmm("extract-frames", clip.name, "-o", "out", "--count", "2", cwd=clip.parent)
    assert done.returncode == 3
    assert "holds no frames.jsonl of an earlier run" in done.stderr
    assert len(list(folder.iterdir())) == 2


def test_a_folder_in_a_frame_s_place_is_named(run_vmm: Vmm, clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    folder = output / "a.mp4" / "frame_000001_t00000.000.jpg"
    folder.mkdir(parents=True)
    (folder.parent / "notes.txt").write_text(NOTES)
    done = run_vmm("extract-frames", clip, "-o", output, "--overwrite")
    assert done.returncode == 3
    assert f"{folder} is a folder in a frame's place; move it away" in done.stderr


def test_a_slash_at_the_end_means_a_folder(
    run_vmm: Vmm, squares_model: Path, clip: Path, tmp_path: Path
) -> None:
    output = f"{tmp_path / 'out'}/"
    command = ("detect-actions", clip, "-m", squares_model, "-o", output)
    for format in ((), ("--format", "csv")):
        done = run_vmm(*command, *format)
        assert done.returncode == 2
        assert f"{output}: is a folder; -o takes a file for the results, or give" in done.stderr
    assert run_vmm(*command, "--format", "vtt").returncode == 0
    assert (tmp_path / "out" / "a.vtt").is_file()
    frames = f"{tmp_path / 'frames'}/"
    assert run_vmm("extract-frames", clip, "--count", "1", "-o", frames).returncode == 0


def test_frames_never_take_the_place_of_a_file(run_vmm: Vmm, clip: Path) -> None:
    before = clip.read_bytes()
    command = ("extract-frames", clip.name, "-o", ".", "--overwrite")
    done = run_vmm(*command, cwd=clip.parent)
    assert done.returncode == 3
    assert "is no folder of frames" in done.stderr
    assert clip.read_bytes() == before


@pytest.mark.slow
def test_subtitles_of_others_are_not_replaced(
    run_vmm: Vmm, squares_model: Path, clip: Path, tmp_path: Path
) -> None:
    """The user's own captions lie beside the video under the very name."""
    own = clip.with_suffix(".srt")
    own.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    before = own.read_text()
    command = ("detect-actions", clip, "-m", squares_model)
    refused(run_vmm(*command, "-o", own), own)
    assert own.read_text() == before
    output = tmp_path / "out.srt"
    assert run_vmm(*command, "-o", output).returncode == 0
    first = output.read_text()
    assert "moving" in first
    other = run_vmm(*command, "--min-score", "0", "-o", output)  # its own, of other options
    assert (other.returncode, other.stderr) == (0, "")
    output.write_text(before)
    assert run_vmm(*command, "-o", output).returncode == 2
    assert output.read_text() == before
    assert run_vmm(*command, "-o", output, "--overwrite").returncode == 0
    assert output.read_text() == first


@pytest.mark.parametrize(
    ("arguments", "suffix"),
    [
        (("detect-actions", "-m", "MODEL", "--timeline"), ".timeline.png"),
        pytest.param(
            ("classify", "-m", "MODEL", "--strips"), ".explain.png", marks=pytest.mark.slow
        ),
        pytest.param(
            ("sentiment", "--evidence", "face", "--plot"),
            ".sentiment.png",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_pictures_of_others_are_not_replaced(
    run_vmm: Vmm,
    squares_model: Path,
    clip: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    suffix: str,
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = folder / f"a.mp4{suffix}"
    shutil.copy(Path(__file__), picture)
    before = picture.read_bytes()
    words = [str(squares_model) if word == "MODEL" else word for word in arguments]
    command = (*words, folder, clip)
    done = run_vmm(*command)
    refused(done, picture)
    assert f"another {arguments[-1]}" in done.stderr
    assert picture.read_bytes() == before
    assert run_vmm(*command, "--overwrite").returncode == 0
    drawn = picture.read_bytes()
    assert drawn.startswith(b"\x89PNG")
    assert run_vmm(*command).returncode == 0  # its own is drawn anew
    assert picture.read_bytes() == drawn

    other = squares_clip(tmp_path / "others" / "a.mp4", "still", seconds=1)
    done = run_vmm(*words, folder, other)
    assert done.returncode == 2
    assert f"{picture}: belongs to {clip}, not to {other}; give --overwrite" in done.stderr
    assert picture.read_bytes() == drawn
    assert run_vmm(*words, folder, other, "--overwrite").returncode == 0
    assert picture.read_bytes() != drawn

    with Image.open(picture) as image:  # an editor may keep the mark
        image.transpose(Image.Transpose.ROTATE_180).save(picture, pnginfo=vmm_mark())
    done = run_vmm(*words, folder, other)
    assert done.returncode == 2
    assert f"{picture}: was changed since vmm wrote it" in done.stderr


def vmm_mark() -> PngInfo:
    mark = PngInfo()
    mark.add_text("Software", "vmm")
    return mark


def test_subtitles_of_another_video_of_the_name_are_not_replaced(
    run_vmm: Vmm, squares_model: Path, clip: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "subtitles"
    command = ("detect-actions", "-m", squares_model, "--format", "vtt", "-o", folder)
    folder.mkdir()
    assert run_vmm(*command, clip).returncode == 0
    before = (folder / "a.vtt").read_text()
    other = squares_clip(tmp_path / "others" / "a.mp4", "still", seconds=1)
    done = run_vmm(*command, other)
    assert done.returncode == 2
    assert f"{folder / 'a.vtt'}: belongs to {clip}, not to {other}; give --overwrite" in done.stderr
    assert (folder / "a.vtt").read_text() == before
    clip.unlink()  # as after a move of the whole library
    assert run_vmm(*command, other).returncode == 0


@pytest.mark.slow
def test_files_of_an_evaluation(
    run_vmm: Vmm, squares_model: Path, squares: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "measured"
    folder.mkdir()
    notes = folder / "scores.csv"
    notes.write_text(NOTES)
    command = ("evaluate", squares_model, squares, "-o", folder)
    refused(run_vmm(*command), notes)
    assert os.listdir(folder) == ["scores.csv"]
    assert run_vmm(*command, "--overwrite").returncode == 0
    assert notes.read_text() != NOTES
    assert run_vmm(*command).returncode == 0
    metrics = folder / "metrics.json"
    metrics.write_text(metrics.read_text().replace("1.0", "0.5"))
    edited = metrics.read_text()
    done = run_vmm(*command)
    assert done.returncode == 2
    assert f"{metrics}: was changed since vmm wrote it" in done.stderr
    assert metrics.read_text() == edited


def test_an_output_without_its_folder_says_so(run_vmm: Vmm, clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "no" / "such" / "out.jsonl"
    done = run_vmm("info", clip, "-o", output)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == (
        f"{output}: the folder {output.parent} does not exist; make it first, or choose another -o"
    )
    output.parent.parent.write_text("a file")
    done = run_vmm("info", clip, "-o", output.parent.with_suffix(".csv"))
    assert f"{output.parent.parent} is not a folder" in done.stderr
