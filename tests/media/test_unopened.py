"""Files that are no videos, or no whole ones: each is called what it is."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from vmm_cli.errors import InputError
from vmm_cli.media.source import open_media
from vmm_cli.media.unopened import picture_kind

Render = Callable[..., Path]


def refusal(path: Path) -> tuple[str, str]:
    with pytest.raises(InputError) as caught, open_media(path):
        pass
    return caught.value.code, caught.value.message


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        (".bmp", "BMP"),
        (".tiff", "TIFF"),
        (".ico", "ICO"),
        (".jp2", "JPEG 2000"),
        (".ppm", "PNM"),
    ],
)
def test_a_picture_is_no_video(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"picture{suffix}"
    for picture in (Image.effect_noise((64, 48), 60).convert("RGB"), Image.new("RGB", (64, 48))):
        picture.save(path)
        code, message = refusal(path)
        assert code == "refused"
        assert message.startswith(f"is a picture, not a video: {kind};")


def moved_to_front(path: Path, target: Path) -> Path:
    """Write an MP4 with its index before its pictures."""
    import av

    with (
        av.open(str(path)) as source,
        av.open(str(target), "w", options={"movflags": "faststart"}) as made,
    ):
        stream = made.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    return target


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v"])
def test_a_movie_without_its_index_is_incomplete(render_clip: Render, suffix: str) -> None:
    whole = render_clip(f"whole{suffix}")
    content = whole.read_bytes()
    cut = whole.with_name(f"cut{suffix}")
    cut.write_bytes(content[: content.rindex(b"moov") - 4])
    assert refusal(cut) == (
        "unreadable",
        "the file is incomplete: its index (moov) is missing; copy or download it again",
    )
    cut.write_bytes(content[: len(content) // 2])
    assert "its index (moov) is missing" in refusal(cut)[1]
    first = moved_to_front(whole, whole.with_name(f"first{suffix}")).read_bytes()
    cut.write_bytes(first[: first.index(b"moov") + 200])
    assert "its index (moov) is cut short" in refusal(cut)[1]


def test_a_segment_of_a_stream_wants_its_beginning(render_clip: Render, tmp_path: Path) -> None:
    import av

    whole = render_clip()
    made = tmp_path / "fragmented.mp4"
    with (
        av.open(str(whole)) as source,
        av.open(
            str(made), "w", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        ) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    content = made.read_bytes()
    segment = tmp_path / "segment.m4s"
    segment.write_bytes(content[content.index(b"moof") - 4 :])
    code, message = refusal(segment)
    assert code == "unreadable"
    assert message.startswith("is a segment of a stream, without the index (moov)")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.mp4", b"<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page"),
        ("a.mp4", b"\n <HTML><head>", "is a web page"),
        ("a.mp4", b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", "is a PDF document"),
        ("a.mp4", b"\x1f\x8b\x08\0\0\0\0\0", "is an archive"),
        ("a.mp4", b"some words\n" * 100, "is text, not a video"),
        ("a.mp4", "höhe\n".encode() * 2000, "is text, not a video"),
        ("a.mp4", b"\0" * 5000, "begins with zeros alone"),
        ("a.mkv", b"\x1aE\xdf\xa3" + b"\xff" * 50, "its beginning cannot be read"),
        ("a.mp4", bytes(range(128, 256)) * 40, "is damaged, or not a video"),
        ("a.srt", b"1\n00:00:00,000 --> 00:00:01,000\nHi\n", "holds captions, not a video"),
    ],
)
def test_other_files(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert said in refusal(path)[1]


def test_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "videos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.mp4", b"x")
    assert "unpack it first" in refusal(path)[1]


@pytest.mark.parametrize("head", [b"", b"BMW and Audi", b"P5", b"RIFF\0\0\0\0AVI LIST", b"MMmm"])
def test_what_only_begins_like_a_picture(head: bytes) -> None:
    assert picture_kind(head) is None
