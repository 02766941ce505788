"""Subtitles say what was found, when it was found, to whatever reads them."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.squares import squares_clip
from vmm_cli.media.captions import captions, read_sidecar
from vmm_cli.output.formats import FORMATS, Shown
from vmm_cli.output.subtitles import Cue, write_srt, write_vtt

WRITERS = {"srt": write_srt, "vtt": write_vtt}
HOURS = 3600.0
CUES = [
    Cue(61.25, 63.0, "fight 0.87"),
    Cue(0.0, 2.5, "走る 0.91"),
    Cue(1.0, 4.0, "überqueren 0.50"),
    Cue(12 * HOURS + 59.9999, 12 * HOURS + 61, "fight 1.00"),
]


def written(form: str, cues: list[Cue]) -> str:
    stream = io.StringIO()
    WRITERS[form](stream, cues)
    return stream.getvalue()


def read_by_libav(path: Path) -> list[tuple[float, float, str]]:
    """Start, end and text of each caption as players that use libav see them."""
    found = []
    with av.open(os.fspath(path)) as container:
        (stream,) = container.streams.subtitles
        for packet in container.demux(stream):
            for subtitle in stream.decode(packet) if packet.size else []:
                start = float(packet.pts * packet.time_base)
                end = start + float(packet.duration * packet.time_base)
                text = subtitle.ass.decode("utf-8").split(",", 8)[-1]
                found.append((start, end, text))
    return found


def test_each_format_as_its_standard_writes_it() -> None:
    cues = [Cue(3661.5, 3662, "b"), Cue(0.25, 1, "a")]
    assert written("srt", cues) == (
        "1\n00:00:00,250 --> 00:00:01,000\na\n\n2\n01:01:01,500 --> 01:01:02,000\nb\n\n"
    )
    assert written("vtt", cues) == (
        "WEBVTT\n\n00:00:00.250 --> 00:00:01.000\na\n\n01:01:01.500 --> 01:01:02.000\nb\n"
    )
    assert written("srt", []) == ""
    assert written("vtt", []) == "WEBVTT\n"


@pytest.mark.parametrize("form", WRITERS)
def test_players_read_back_what_was_written(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{form}"
    path.write_text(written(form, CUES), encoding="utf-8")
    expected = sorted((round(c.start_s, 3), round(c.end_s, 3), c.text) for c in CUES)
    assert read_by_libav(path) == expected
    result = read_sidecar(path)
    assert result.warnings == ()
    assert [(c.start_s, c.end_s, c.text) for c in result.captions] == expected


@pytest.mark.parametrize("form", WRITERS)
def test_subtitles_beside_a_video_are_its_captions(form: str, tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "clip.mp4", seconds=3)
    cues = [Cue(0.5, 1.25, "moving 0.90"), Cue(1.0, 2.0, "still 0.60")]
    (tmp_path / f"clip.{form}").write_text(written(form, cues), encoding="utf-8")
    said = [(c.start_s, c.end_s, c.text) for c in captions(clip).captions]
    assert said == [(c.start_s, c.end_s, c.text) for c in cues]


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize(
    ("text", "as_srt"),
    [
        ("a b c d", "a b c d"),
        ("a --> b", "a --\u203a b"),
        ("<i>a</i> & <b>", "\u2039i\u203aa\u2039/i\u203a & \u2039b\u203a"),
        ("a &amp; b", "a &amp; b"),
        ("{x} top", "(x) top"),
        ("7", "7"),
        ("NOTE a", "NOTE a"),
        ("дождь 走る हिन्दी", "дождь 走る हिन्दी"),
    ],
)
def test_a_text_is_read_back_whatever_it_holds(
    form: str, text: str, as_srt: str, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{form}"
    cues = [Cue(0, 1, "before"), Cue(2, 3, text), Cue(4, 5, "after")]
    path.write_text(written(form, cues), encoding="utf-8")
    shown = as_srt if form == "srt" else text
    read = [(caption.start_s, caption.text) for caption in read_sidecar(path).captions]
    assert read == [(0, "before"), (2, shown), (4, "after")]
    assert [(start, end) for start, end, _ in read_by_libav(path)] == [(0, 1), (2, 3), (4, 5)]


@pytest.mark.parametrize("form", WRITERS)
def test_a_text_is_one_line_without_what_drives_a_player(form: str) -> None:
    text = written(form, [Cue(0, 1, "a\n\nb\r\nc\u2028d \x1b[2J {\\an8} C:\\new")])
    (line,) = (line for line in text.splitlines() if line.startswith("a"))
    if form == "srt":
        assert line == "a b c d \u2216x1b[2J (\u2216an8) C:\u2216new"
    else:
        assert line == "a b c d \\x1b[2J {\\an8} C:\\new"


@pytest.mark.parametrize("form", WRITERS)
def test_a_note_stands_on_a_line_of_its_own(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{form}"
    text = written(form, [Cue(0, 1, "Two\nlines", "+0.10"), Cue(2, 3, "", "+0.20"), Cue(4, 5, "7")])
    path.write_text(text, encoding="utf-8")
    read = [caption.text for caption in read_sidecar(path).captions]
    assert read == ["Two lines\n+0.10", "+0.20", "7"]


def test_bytes_that_are_no_text_can_be_written() -> None:
    for form in WRITERS:
        written(form, [Cue(0, 1, "a\udcff")]).encode("utf-8")


TIMES = st.floats(0, 400 * HOURS)


@pytest.mark.parametrize("form", WRITERS)
@given(spans=st.lists(st.tuples(TIMES, st.floats(0, 100)), max_size=8))
def test_times_are_in_order_and_right_to_the_millisecond(
    form: str, spans: list[tuple[float, float]]
) -> None:
    cues = [Cue(start, start + length, "x") for start, length in spans]
    point = "," if form == "srt" else r"\."
    time = rf"(\d\d+):([0-5]\d):([0-5]\d){point}(\d\d\d)"
    found = re.findall(rf"^{time} --> {time}$", written(form, cues), re.MULTILINE)
    read = []
    for hours, minutes, seconds, ms, *end in found:
        values = []
        for h, m, s, rest in ((hours, minutes, seconds, ms), end):
            values.append((int(h) * 60 + int(m)) * 60 + int(s) + int(rest) / 1000)
        read.append(tuple(values))
    assert len(read) == len(cues)
    assert [start for start, _ in read] == sorted(start for start, _ in read)
    for (start, end), cue in zip(
        read, sorted(cues, key=lambda c: (c.start_s, c.end_s)), strict=True
    ):
        assert start < end
        assert start == pytest.approx(cue.start_s, abs=0.000501)
        assert end == pytest.approx(max(cue.end_s, start + 0.001), abs=0.0015)


@pytest.mark.parametrize("form", WRITERS)
def test_only_what_is_done_has_subtitles(form: str) -> None:
    def cues_of(record: Any) -> list[Cue]:
        return [Cue(0, 1, record["label"])]

    stream = io.StringIO()
    writer = FORMATS[form].begin(stream, Shown(tables=(), cues=cues_of))
    writer.write({"status": "failed", "error": {"code": "missing", "message": "none"}})
    writer.close()
    assert stream.getvalue() == ""
    writer.write({"status": "ok", "label": "x"})
    writer.close()
    assert stream.getvalue() == written(form, [Cue(0, 1, "x")])
