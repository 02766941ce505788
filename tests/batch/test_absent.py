"""Inputs that are not there: addresses, and folders of something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmm_cli.batch.absent import what_is_there, why_missing

LOCAL = "vmm reads local files; download it first, with curl, yt-dlp or ffmpeg"
NOWHERE = "no such file or folder"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("https://youtu.be/x", LOCAL),
        ("RTSP://camera/1", LOCAL),
        ("s3://bucket/a.mp4", LOCAL),
        ("file:///a%20b/c.mp4", "vmm reads paths, not addresses; give /a b/c.mp4"),
        ("a.mp4", NOWHERE),
        ("c:/videos/a.mp4", NOWHERE),
        ("://", NOWHERE),
        ("", "its name is empty"),
        ("-", f"{NOWHERE}; --files-from - reads names from standard input"),
    ],
)
def test_why_missing(name: str, said: str) -> None:
    assert why_missing(name) == said


def test_what_a_folder_without_videos_holds(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    assert what_is_there([str(tmp_path)]) == ""
    (tmp_path / "a.jpg").touch()
    assert what_is_there([str(tmp_path)]) == (
        "it holds 1 picture; "
        "`vmm classify` and `vmm detect-objects` take folders of JPEG, PNG and WebP"
    )
    for name in ("a.FLAC", "inner/b.mp3"):
        (tmp_path / name).touch()
    said = what_is_there([str(tmp_path)])
    assert said.startswith("it holds 2 sound files; `vmm classify`, `vmm transcribe` and")
