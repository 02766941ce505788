"""Streams of captions: by codec, of codecs that libav does not know, and of none."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import pytest

from vmm_cli.media.captions import captions
from vmm_cli.media.probe import probe

HEADER = b"[Script Info]\nScriptType: v4.00+\n\n[Events]\n"
MILLISECOND = Fraction(1, 1000)

Sample = tuple[int, int, bytes]  # start and length in milliseconds, content


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


@pytest.fixture
def captioned(render_clip: Callable[..., Path]) -> Callable[..., Path]:
    """Render two seconds of pictures with a stream of captions, whose samples stay as they are."""

    def render(
        name: str,
        codec: str,
        samples: Sequence[Sample],
        *,
        header: bytes | None = None,
        patched: tuple[bytes, bytes] | None = None,
        language: str = "eng",
    ) -> Path:
        clip = render_clip("pictures.mp4", frames=50, width=64, height=48)
        path = clip.with_name(name)
        with av.open(os.fspath(clip)) as source, av.open(os.fspath(path), "w") as container:
            pictures = container.add_stream_from_template(source.streams.video[0])
            stream = container.add_stream(codec)
            stream.metadata["language"] = language
            stream.time_base = stream.codec_context.time_base = MILLISECOND
            if codec != "dvd_subtitle":
                stream.codec_context.subtitle_header = header or HEADER
            if header is not None:
                stream.codec_context.extradata = header
            for start, length, content in samples:
                packet = av.Packet(content)
                packet.stream, packet.time_base = stream, MILLISECOND
                packet.pts = packet.dts = start
                packet.duration = length
                container.mux(packet)
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = pictures
                    container.mux(packet)
        if patched is not None:
            data = path.read_bytes()
            assert data.count(patched[0]) == 1
            path.write_bytes(data.replace(*patched))
        return path

    return render


Render = Callable[..., Path]
UNKNOWN = (b"S_TEXT/UTF8", b"S_TEXT/VTTX")  # of no codec that libav knows
SHORT = HEADER + b"Format: Layer, Start, End, Style, Name, Text\n"


@pytest.mark.parametrize(
    ("codec", "content", "header", "text"),
    [
        ("subrip", b"{\\an8}I <i>love</i> it <3 <laughs>", None, "I love it <3 <laughs>"),
        ("webvtt", b"<v Anna>I &lt;3 <c>it</c>", None, "I <3 it"),
        ("ass", b"0,0,Default,,0,0,0,,{\\b1}One{\\b0}, two{\\p1}m 0 0{\\p0}", HEADER, "One, two"),
        ("ass", b"0,0,Default,Ann,One, two", SHORT, "One, two"),
        ("ass", b"0,0,Default,Ann,0,0,0,,One, two", SHORT, "One, two"),
    ],
)
def test_text_in_matroska(
    captioned: Render, codec: str, content: bytes, header: bytes | None, text: str
) -> None:
    clip = captioned("clip.mkv", codec, [(500, 1000, content)], header=header)
    found = captions(clip)
    assert [(c.start_s, c.end_s, c.text, c.language) for c in found.captions] == [
        (0.5, 1.5, text, "eng")
    ]
    assert found.warnings == ()


def test_timed_text_in_mp4(captioned: Render) -> None:
    style = box(b"styl", bytes(14))
    content = "Grüße <3".encode()
    wide = "Grüße".encode("utf-16")
    samples = [
        (0, 500, len(content).to_bytes(2, "big") + content + style),
        (500, 500, b"\0\0"),
        (1000, 500, len(wide).to_bytes(2, "big") + wide),
        (1500, 500, b"\xff\xffshort"),
    ]
    found = captions(captioned("clip.mp4", "mov_text", samples))
    assert [(c.start_s, c.text) for c in found.captions] == [(0, "Grüße <3"), (1, "Grüße")]
    assert found.warnings == ("1 damaged captions in the file were left out",)


def test_text_of_a_codec_that_libav_does_not_know(captioned: Render) -> None:
    samples = [(500, 500, b"<v Anna>I <b>love</b> it &amp;"), (1000, 500, b"it is great\n ")]
    clip = captioned("clip.mkv", "subrip", samples, patched=UNKNOWN)
    assert [stream.codec for stream in probe(clip).captions] == ["unknown"]
    found = captions(clip)
    assert [(c.start_s, c.text) for c in found.captions] == [
        *((0.5, "I love it &"), (1.0, "it is great"))
    ]
    assert found.warnings == ()


@pytest.mark.parametrize(
    "content",
    [
        b"\x16\0\x0b\x05\x00",
        b"\xff\xfe\xfd",
        b'<?xml version="1.0"?>\n<tt xmlns="http://www.w3.org/ns/ttml"><p begin="0s">x</p></tt>',
    ],
)
def test_what_cannot_be_read_is_told(captioned: Render, content: bytes) -> None:
    clip = captioned("clip.mkv", "subrip", [(500, 500, content)] * 2, patched=UNKNOWN)
    found = captions(clip)
    assert found.captions == ()
    assert found.warnings == ("the captions of its stream 1 are of a kind that cannot be read",)
    assert found.unread


def test_pictures_of_text_are_told(captioned: Render) -> None:
    clip = captioned("clip.mkv", "dvd_subtitle", [(500, 500, bytes(16))])
    found = captions(clip)
    assert found.warnings == (
        "the captions of its stream 1 are pictures of text (dvd_subtitle), which are not read",
    )
    assert found.unread
    clip.with_suffix(".srt").write_text("1\n00:00:00,500 --> 00:00:01,000\nwords\n")
    found = captions(clip)
    assert ([c.text for c in found.captions], found.warnings) == (["words"], ())


def test_webvtt_in_mp4(captioned: Render) -> None:
    samples = [
        (0, 500, box(b"vtte", b"")),
        (500, 500, box(b"vttc", box(b"iden", b"7") + box(b"payl", b"I <b>love</b> it"))),
        (1000, 500, box(b"vttc", box(b"payl", b"both")) + box(b"vttc", box(b"payl", b"at once"))),
    ]
    clip = captioned("clip.mp4", "mov_text", samples, patched=(b"tx3g", b"wvtt"))
    found = captions(clip)
    assert [(c.start_s, c.text) for c in found.captions] == [
        *((0.5, "I love it"), (1.0, "both"), (1.0, "at once"))
    ]
    assert {c.language for c in found.captions} == {"eng"}


@pytest.mark.parametrize("told_by", [b"vsid", b"iden", None])
def test_a_cue_of_webvtt_in_mp4_that_takes_more_than_a_sample(
    captioned: Render, told_by: bytes | None
) -> None:
    def cue(number: int, text: bytes) -> bytes:
        told = b"" if told_by is None else box(told_by, number.to_bytes(4, "big"))
        return box(b"vttc", told + box(b"payl", text))

    love, bad = cue(1, b"I love this"), cue(2, b"It is bad")
    empty = box(b"vtte", b"")
    samples = [(0, 300, love), (300, 300, love + bad), (600, 300, bad), (900, 300, empty)]
    samples += [(1200, 300, bad), (1500, 300, cue(3, b"It is bad") if told_by else love)]
    clip = captioned("clip.mp4", "mov_text", samples, patched=(b"tx3g", b"wvtt"))
    last = "It is bad" if told_by else "I love this"
    assert [(c.start_s, c.end_s, c.text) for c in captions(clip).captions] == [
        (0, 0.6, "I love this"),
        (0.3, 0.9, "It is bad"),
        (1.2, 1.5, "It is bad"),
        (1.5, 1.8, last),
    ]


def test_ttml_in_mp4_is_told_and_other_data_is_not(captioned: Render) -> None:
    ttml = b'<tt xmlns="http://www.w3.org/ns/ttml"><body/></tt>'
    clip = captioned("clip.mp4", "mov_text", [(0, 500, ttml)], patched=(b"tx3g", b"stpp"))
    assert captions(clip).warnings == (
        "the captions of its stream 1 are of a kind that cannot be read",
    )
    samples = [(0, 500, b"DEVC\0\1\0\4\0\0"), (500, 500, box(b"vttc", box(b"payl", b"no caption")))]
    clip = captioned("clip.mp4", "mov_text", samples, patched=(b"tx3g", b"gpmd"))
    found = captions(clip)
    assert (found.captions, found.warnings, found.unread) == ((), (), False)


def test_captions_in_the_file_roll_up_too(captioned: Render) -> None:
    samples = [(0, 500, b"I love it"), (500, 500, b"I love it\nit is great")]
    samples.append((1000, 500, b"it is great\nsaid Anna"))
    found = captions(captioned("clip.mkv", "subrip", samples))
    assert [(c.start_s, c.text) for c in found.captions] == [
        *((0, "I love it"), (0.5, "it is great"), (1, "said Anna"))
    ]


def test_a_nameless_file_beside_it_is_told_where_nothing_else_is(captioned: Render) -> None:
    clip = captioned("clip.mkv", "dvd_subtitle", [])
    clip.with_name("clip.new.srt").touch()
    clip.with_name("clip.newer.srt").touch()
    (told,) = [line for line in captions(clip).warnings if "clip.new" in line]
    assert told.startswith("clip.new.srt (and 1 more): not read")


def test_webvtt_by_mkvmerge(vmm_data: Path) -> None:
    found = captions(vmm_data / "hard_media" / "mkvmerge_webvtt.mkv")
    assert [(c.start_s, c.end_s, c.text) for c in found.captions] == [
        *((1, 3, "I love this wonderful day"), (4, 6, "It is great"))
    ]
    assert found.warnings == ()


@pytest.mark.parametrize(
    "samples",
    [
        [(400, 400, b"first"), (1200, 1800, b"outlasts the pictures")],
        [(0, 400, b"from the start"), (1200, 400, b"last")],
        [(1900, 2000, b"at the end")],
    ],
)
def test_captions_of_joined_recordings_stay_with_their_pictures(
    captioned: Render, samples: Sequence[Sample]
) -> None:
    clip = captioned("clip.mkv", "subrip", samples)
    alone = [(c.start_s, c.end_s, c.text) for c in captions(clip).captions]
    assert len(alone) == len(samples)
    joined = clip.with_name("joined.mkv")
    joined.write_bytes(clip.read_bytes() * 2)
    found = [(c.start_s, c.end_s, c.text) for c in captions(joined).captions]
    assert sorted(found) == sorted([*alone, *((a + 2, b + 2, text) for a, b, text in alone)])
