"""Captions beside and inside a video: names, encodings, markup, damage, streams, tags."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from vmm_cli.errors import InputError
from vmm_cli.media.captions import Caption, captions, decode_text, read_sidecar

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Grüße</i> aus <font color="red">Köln</font>

2
00:00:03,000 --> 00:00:04,000 X1:10 X2:20
{\\an8}In
1984

3
00:00:05,000 --> 00:00:06,000


4
00:00:07,250 --> 00:00:08,000
The last line is a number:
42
"""
SRT_TEXTS = ["Grüße aus Köln", "In\n1984", "The last line is a number:\n42"]

VTT = """WEBVTT - with a title

STYLE
::cue { color: yellow }

NOTE nobody
reads this

intro
00:01.000 --> 00:02.000 align:start
<v Anna>Fish &amp; <b>chips</b></v>

01:00:03.000 --> 01:00:04.000
<00:00:03.000><c>one</c> <00:00:03.500><c>two</c>
\u200e
NOTE the end
"""

ASS = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,{\\b1}Later{\\b0}, with a comma
Dialogue: 0,0:00:01.50,0:00:02.25,Default,,0,0,0,,Two\\Nlines
Comment: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,not shown
Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{\\p1}m 0 0 l 100 0 100 100{\\p0}
"""


def texts(path: Path, content: bytes | str) -> list[str]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [caption.text for caption in read_sidecar(path).captions]


def test_subrip(tmp_path: Path) -> None:
    path = tmp_path / "clip.srt"
    assert texts(path, SRT) == SRT_TEXTS
    result = read_sidecar(path, "de")
    assert result.warnings == ()
    assert result.captions[0] == Caption(1.0, 2.5, "Grüße aus Köln", "sidecar", "de")
    assert result.captions[-1].start_s == 7.25


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r", "\r\r\n"])
@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"],
)
def test_every_encoding_and_newline(tmp_path: Path, encoding: str, newline: str) -> None:
    content = SRT.replace("\n", newline).encode(encoding)
    assert texts(tmp_path / "clip.srt", content) == SRT_TEXTS


@pytest.mark.parametrize("damage", [b"\xc3", b"\xff", b"\xe2\x80"])
def test_a_damaged_byte_costs_itself_only(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "clip.srt"
    data = SRT.encode()
    assert texts(path, data + damage)[0] == SRT_TEXTS[0]
    assert read_sidecar(path).warnings == (
        "clip.srt: 1 damaged characters in it could not be read",
    )
    assert "Gr\u00fc" in texts(path, data.replace(b"aus", b"a" + damage + b"s"))[0]
    whole = SRT.replace("aus", "\ufffd")
    texts(path, whole)
    assert read_sidecar(path).warnings == ()


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1252", "\u00c0 bient\u00f4t, \u00ab l\u2019\u00e9t\u00e9 \u00bb\u2026 \u00c3\u00a9"),
        ("latin-1", "Gr\u00fc\u00dfe"),
    ],
)
def test_a_windows_code_page_is_no_damaged_utf_8(encoding: str, words: str) -> None:
    assert decode_text(words.encode(encoding)) == words


def test_every_byte_is_some_text() -> None:
    assert decode_text(b"") == ""
    assert decode_text(bytes(range(128, 256)))  # cp1252 has holes; latin-1 has none


def test_webvtt(tmp_path: Path) -> None:
    path = tmp_path / "clip.vtt"
    assert texts(path, VTT)[:2] == ["Fish & chips", "one two\n\u200e\nNOTE the end"]
    first, second = read_sidecar(path).captions
    assert (first.start_s, first.end_s) == (1, 2)
    assert second.start_s == 3603


def test_webvtt_with_another_name(tmp_path: Path) -> None:
    assert texts(tmp_path / "clip.srt", VTT)[0] == "Fish & chips"


def test_ass(tmp_path: Path) -> None:
    path = tmp_path / "clip.ass"
    assert texts(path, ASS) == ["Two\nlines", "Later, with a comma"]
    assert read_sidecar(path).captions[0].end_s == 2.25


def test_bad_lines_cost_themselves_only(tmp_path: Path) -> None:
    broken = ASS.replace("Style: Default,Arial,20", "Style: Default,Arial,huge")
    broken += "Dialogue: 0,when,ever,Default,,0,0,0,,lost\n"
    path = tmp_path / "clip.ass"
    assert texts(path, broken) == ["Two\nlines", "Later, with a comma"]
    assert read_sidecar(path).warnings == ("clip.ass: 1 damaged lines were left out",)


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 500, b"no captions here", SRT[:20]])
def test_what_is_no_captions_gives_a_warning(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "clip.srt"
    assert texts(path, content) == []
    assert read_sidecar(path).warnings == ("clip.srt: no captions could be read from it",)


def test_a_truncated_file_gives_what_it_has(tmp_path: Path) -> None:
    assert texts(tmp_path / "clip.srt", SRT[: SRT.index("984")]) == [SRT_TEXTS[0], "In\n1"]


def test_damage_never_raises(tmp_path: Path) -> None:
    dice = random.Random(0)
    for suffix, content in ((".srt", SRT), (".vtt", VTT), (".ass", ASS)):
        path = tmp_path / f"clip{suffix}"
        for _ in range(100):
            data = bytearray(content.encode())
            for _ in range(dice.choice((1, 5, 50))):
                data[dice.randrange(len(data))] = dice.randrange(256)
            for text in texts(path, bytes(data)):
                assert text.strip()


def test_a_sidecar_that_is_a_folder_or_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "clip.srt"
    folder.mkdir()
    assert read_sidecar(folder).warnings
    large = tmp_path / "clip.en.srt"
    large.write_text(SRT)
    monkeypatch.setattr("vmm_cli.media.captions.MAX_SIDECAR_BYTES", 10)
    assert read_sidecar(large).captions == ()
    assert read_sidecar(tmp_path / "none.srt").warnings


def test_no_more_captions_are_read_than_there_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmm_cli.media.captions.MAX_CUES", 2)
    path = tmp_path / "clip.srt"
    assert texts(path, SRT) == SRT_TEXTS[:2]
    assert read_sidecar(path).warnings == ("clip.srt: only its first 2 captions are read",)


def test_rolling_captions_are_read_line_by_line(tmp_path: Path) -> None:
    made_by_yt_dlp = (
        "1\n00:00:00,469 --> 00:00:03,169\n \nI love this\n\n"
        "2\n00:00:03,169 --> 00:00:03,179\nI love this\n \n\n"
        "3\n00:00:03,179 --> 00:00:05,500\nI love this\nit is great\n\n"
    )
    path = tmp_path / "clip.srt"
    path.write_text(made_by_yt_dlp)
    assert [(c.start_s, c.end_s, c.text) for c in read_sidecar(path).captions] == [
        *((0.469, 3.179, "I love this"), (3.179, 5.5, "it is great"))
    ]


def test_empty_lines_between_cues_say_nothing(tmp_path: Path) -> None:
    cue = "{0}\n00:00:0{0},000 --> 00:00:0{1},000\nNo.\n"
    content = cue.format(1, 2) + "\n" + cue.format(2, 3) + "\n\n\n" + cue.format(3, 4)
    assert texts(tmp_path / "clip.srt", content) == ["No."] * 3


def test_all_sources_of_a_clip(render_clip: Callable[..., Path]) -> None:
    path = render_clip(frames=2, metadata={"title": " A title ", "description": "What it is"})
    path.with_suffix(".srt").write_text(SRT, encoding="utf-8")
    path.with_suffix(".de.vtt").write_text(VTT, encoding="utf-8")
    found = captions(path).captions
    assert [c.source for c in found] == ["sidecar"] * 5 + ["title", "description"]
    assert [c.language for c in found[:2]] == ["de", "de"]
    assert found[-2] == Caption(None, None, " A title ", "title")
    assert found[-1].text == "What it is"


def test_a_clip_without_captions(bikes: Path) -> None:
    assert captions(bikes).captions == ()


def test_a_video_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        captions(tmp_path / "none.mp4")


@pytest.mark.parametrize(
    ("name", "codec"), [("clip.mkv", "subrip"), ("clip.mkv", "ass"), ("clip.mp4", "mov_text")]
)
def test_captions_in_the_file(tmp_path: Path, name: str, codec: str) -> None:
    sidecar = tmp_path / "text.srt"
    sidecar.write_text(SRT, encoding="utf-8")
    path = tmp_path / name
    header = b"[Script Info]\nScriptType: v4.00+\n\n[Events]\n"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec)
        stream.codec_context.subtitle_header = header
        stream.codec_context.time_base = Fraction(1, 1000)
        for start, text in ((1000, b"One {\\i1}and{\\i0}"), (3000, b"Two\\Nlines, here")):
            subtitle = av.subtitles.subtitle.SubtitleSet.create(
                b"0,0,Default,,0,0,0,," + text, 0, 500, pts=start
            )
            packet = stream.codec_context.encode_subtitle(subtitle)
            packet.stream = stream
            packet.time_base = Fraction(1, 1000)
            container.mux(packet)
    result = captions(path)
    assert result.warnings == ()
    assert [c.text for c in result.captions] == ["One and", "Two\nlines, here"]
    assert [c.source for c in result.captions] == ["stream", "stream"]
    second = result.captions[1]
    assert second.start_s is not None
    assert second.end_s == pytest.approx(second.start_s + 0.5)
