"""Captions, lists and names by other makers, through the real command."""

from __future__ import annotations

import json
import os
import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.media.closed import captioned_clip, popped_on, spread

Vmm = Callable[..., subprocess.CompletedProcess[str]]
READ = ("sentiment", "--evidence", "text", "--keep-transcript", "--jobs", "1", "--format", "jsonl")

LINES = ("I love this wonderful place", "it is great", "but the food was horrible")
ROLLING = """WEBVTT
Kind: captions
Language: en

00:00:00.469 --> 00:00:01.169 align:start position:0%
~
I<00:00:00.569><c> love</c><00:00:00.620><c> this</c><00:00:00.740><c> wonderful place</c>

00:00:01.169 --> 00:00:01.179 align:start position:0%
I love this wonderful place
~

00:00:01.179 --> 00:00:02.500 align:start position:0%
I love this wonderful place
it<00:00:01.500><c> is</c><00:00:02.000><c> great</c>

00:00:02.500 --> 00:00:02.510 align:start position:0%
it is great
~

00:00:02.510 --> 00:00:04.000 align:start position:0%
it is great
but<00:00:02.600><c> the</c><00:00:02.700><c> food</c><00:00:03.200><c> was horrible</c>
""".replace("~", " ")  # a line of one space
PLAIN = f"""WEBVTT

00:00:00.469 --> 00:00:01.179
{LINES[0]}

00:00:01.179 --> 00:00:02.510
{LINES[1]}

00:00:02.510 --> 00:00:04.000
{LINES[2]}
"""


def records_of(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """Return the records by the names of their files."""
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return {Path(record["input"]).name: record for record in records}


def spoken(record: dict[str, Any]) -> list[tuple[float, str]]:
    return [(entry["start_s"], entry["text"]) for entry in record["transcript"]]


@pytest.fixture
def clip(render_clip: Callable[..., Path]) -> Path:
    """Four seconds without sound."""
    return render_clip("in/clip.mp4", frames=100, width=64, height=48)


def test_captions_by_other_makers(run_vmm: Vmm, clip: Path) -> None:
    folder = clip.parent
    for name in ("plain.mp4", "whole.mp4", "broken.mp4"):
        os.link(clip, folder / name)
    (folder / "clip.en.vtt").write_text(ROLLING, encoding="utf-8")
    (folder / "plain.en-US.vtt").write_text(PLAIN, encoding="utf-8")
    (folder / "whole.mp4.srt").write_text("1\n00:00:01,000 --> 00:00:03,000\nI <3 this great day\n")
    (folder / "broken.srt").write_bytes(bytes(100))
    captioned_clip(folder / "tv.ts", spread(popped_on("I love it"), 0), pictures=60)

    done = run_vmm(*READ, folder)
    records = records_of(done)
    rolling, plain = records["clip.mp4"], records["plain.mp4"]
    assert spoken(rolling) == [*zip((0.469, 1.179, 2.51), LINES, strict=True)]
    assert (rolling["summary"], rolling["curve"]) == (plain["summary"], plain["curve"])
    assert spoken(records["whole.mp4"]) == [(1, "I <3 this great day")]
    assert [text for _, text in spoken(records["tv.ts"])] == ["I love it"]
    broken = records["broken.mp4"]
    assert broken["missing"]["text"]["message"].startswith("no captions that can be read, speech,")
    assert broken["warnings"] == ["broken.srt: no captions could be read from it"]
    assert "broken.srt: no captions could be read from it" in done.stderr
    assert not any("warnings" in record for record in records.values() if record is not broken)

    listed = records_of(run_vmm("info", folder / "tv.ts"))["tv.ts"]
    assert listed["captions"] == [
        {"index": 0, "codec": "eia_608", "kind": "text", "language": None}
    ]


def test_lists_from_windows(run_vmm: Vmm, clip: Path, tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "\u00e9t\u00e9") for form in ("NFC", "NFD"))
    os.link(clip, tmp_path / f"{apart}.mp4")
    (tmp_path / "list.txt").write_bytes(f"in/clip.mp4\r\n{composed}.mp4\r\n".encode("utf-16"))
    records = records_of(run_vmm("info", "--files-from", "list.txt"))
    assert {record["input"] for record in records.values()} == {"in/clip.mp4", f"{composed}.mp4"}


# --- real files ---------------------------------------------------------------------------------

REAL = {
    "youtube_rolling.mp4": [*zip((0.469, 3.179, 5.51), LINES, strict=True)],
    "mkvmerge_webvtt.mkv": [(1, "I love this wonderful day"), (4, "It is great")],
    "captions/clip.mkv": [(1, "I love this wonderful day, it is great.")],
    "eia608.ts": [(0, "First subtitle"), (1.167, "Second subtitle")],
    "captions/ass_short_format.mp4": [
        (0, "This is the first subtitle."),
        (2.34, "This is the second subtitle\nwith a newline\nand another."),
        (4.56, "This is the third subtitle, with a comma."),
    ],
}


def test_real_captions(run_vmm: Vmm, vmm_data: Path) -> None:
    records = records_of(run_vmm(*READ, *(vmm_data / "hard_media" / name for name in REAL)))
    assert {name: spoken(record) for name, record in records.items()} == {
        Path(name).name: lines for name, lines in REAL.items()
    }
    assert not any("warnings" in record for record in records.values())
    valence = records["youtube_rolling.mp4"]["summary"]["valence"]
    assert valence == pytest.approx(0.119, abs=0.0005)


@pytest.mark.parametrize("name", ["list_bom.txt", "list16.txt"])
def test_real_lists(run_vmm: Vmm, vmm_data: Path, clip: Path, tmp_path: Path, name: str) -> None:
    for listed in ("UPPER.MP4", "noext"):
        (tmp_path / "n").mkdir(exist_ok=True)
        os.link(clip, tmp_path / "n" / listed)
    done = run_vmm("info", "--files-from", vmm_data / "hard_media" / "lists" / name)
    assert set(records_of(done)) == {"UPPER.MP4", "noext"}
