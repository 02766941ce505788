"""What may be opened, and what is refused."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import av
import pytest
from av.video.reformatter import VideoReformatter

from vmm_cli.errors import InputError
from vmm_cli.media import sampling
from vmm_cli.media.extent import extent
from vmm_cli.media.frames import DecodeReport, FrameRequest, iter_frames, iter_pictures, to_rgb
from vmm_cli.media.geometry import Size
from vmm_cli.media.source import open_media
from vmm_cli.media.stills import StillEncoder

CONCAT = "ffconcat version 1.0\nfile {target}\n"
PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize("text", [CONCAT, PLAYLIST], ids=["concat", "m3u8"])
@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".m3u8", ".txt"])
def test_scripts_that_name_other_files_are_refused(bikes, tmp_path, text, suffix):
    script = tmp_path / f"script{suffix}"
    script.write_text(text.format(target=bikes))
    with pytest.raises(InputError) as caught, open_media(script):
        pass
    assert caught.value.code in ("refused", "unreadable")


def test_names_that_read_like_protocols_are_files(bikes, tmp_path):
    for name in ("concat:a|b", "http:x.mp4", "-i", "pipe:0"):
        path = tmp_path / name
        path.write_bytes(bikes.read_bytes())
        assert extent(path).end_s == 10


def test_names_of_any_bytes_open(bikes, tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9\nline.mp4")
    path.write_bytes(bikes.read_bytes())
    assert extent(path).end_s == 10


def test_what_is_no_regular_file_is_refused_without_reading(tmp_path):
    fifo = tmp_path / "fifo.mp4"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path):
        with pytest.raises(InputError) as caught, open_media(path):
            pass
        assert caught.value.code == "refused"


def test_missing_and_empty_files_are_told_apart(tmp_path):
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for path, code in ((tmp_path / "no.mp4", "missing"), (empty, "unreadable")):
        with pytest.raises(InputError) as caught, open_media(path):
            pass
        assert caught.value.code == code


def external_track(clip: Path, lure: Path) -> None:
    """Write an MP4 whose pictures lie in `clip`, which it names as old Macintoshes did (alias)."""
    content = clip.read_bytes()
    at = content.index(b"dref") - 4
    path = b"/" + clip.name.encode()
    alias = bytes(10) + bytes([1]) + b"v" + bytes(26) + bytes(12) + bytes([1]) + b"f" + bytes(62)
    alias += bytes(16) + struct.pack(">hh", 1, 1) + bytes(16)
    alias += struct.pack(">HH", 2, len(path)) + path + bytes(len(path) % 2) + b"\xff\xff\0\0"
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    box = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    (old,) = struct.unpack(">I", content[at : at + 4])
    made = bytearray(content[:at] + box + content[at + old :])
    for name in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):  # the boxes around it grow
        place = made.index(name) - 4
        (size,) = struct.unpack(">I", made[place : place + 4])
        made[place : place + 4] = struct.pack(">I", size + len(box) - old)
    lure.write_bytes(made)


def test_a_track_that_lies_in_another_file_is_not_read(render_clip, tmp_path):
    clip = render_clip("secret.mp4", frames=25)
    lure = tmp_path / "lure.mp4"
    external_track(clip, lure)
    with av.open(str(lure), options={"enable_drefs": "1"}) as container:  # the lure works
        assert len(list(container.decode(video=0))) == 25
    with pytest.raises(InputError, match="no picture") as caught:
        list(iter_frames(lure, [FrameRequest("x", sampling.all())]))
    assert caught.value.code == "unreadable"


def test_pictures_are_decoded_scaled_and_turned_without_threads(bunny, render_clip):
    """On a machine of many cores every worker would start as many."""
    turned = render_clip(frames=5, rotation=90)
    before = threads()
    encoder = StillEncoder("jpg")
    for clip in (bunny, turned):
        for picture in iter_pictures(clip, [FrameRequest("x", sampling.fps(1), Size(short=99))]):
            encoder.encode(picture)
            to_rgb(picture, VideoReformatter())
            assert threads() == before
    with open_media(bunny) as container:
        assert {stream.codec_context.thread_count for stream in container.streams} == {1}


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def test_pictures_larger_than_the_container_says_are_not_decoded(render_clip):
    """A picture's own header counts: VP8 says in each keyframe how large it is."""
    clip = render_clip(
        "clip.mkv", frames=10, codec="libvpx", options={"deadline": "realtime"}, width=320
    )
    content = clip.read_bytes()
    declared = b"\xb0\x82\x01\x40\xba\x81\xf0"  # PixelWidth 320, PixelHeight 240
    assert content.count(declared) == 1
    clip.write_bytes(content.replace(declared, b"\xb0\x82\x00\x40\xba\x81\x40"))  # 64 and 64
    with open_media(clip) as container:
        assert container.streams.video[0].codec_context.width == 64
    report = DecodeReport()
    request = [FrameRequest("x", sampling.all())]
    with pytest.raises(InputError, match="no picture could be decoded") as caught:
        list(iter_frames(clip, request, max_pixels=320 * 240 - 1, report=report))
    assert caught.value.code == "unreadable"
    assert report.decoded == 0
    shapes = {frame.image.shape for frame in iter_frames(clip, request, max_pixels=320 * 240)}
    assert shapes == {(240, 320, 3)}


def test_the_file_is_closed_again(bikes):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with open_media(bikes):
            pass
    assert len(os.listdir("/proc/self/fd")) == before
