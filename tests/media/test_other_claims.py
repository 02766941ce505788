"""More that containers claim: settings, lengths, fragments, beginnings between keyframes."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.media.remux import remux
from tests.media.test_audio import render_sound, tone
from tests.media.test_claims import mark_every_seventh, numbers, remuxed, shown
from vmm_cli.media import sampling
from vmm_cli.media.audio import iter_audio
from vmm_cli.media.extent import extent
from vmm_cli.media.frames import DecodeReport, FrameRequest, iter_frames

Render = Callable[..., Path]
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


# --- settings that change


def flv_tags(content: bytes) -> Iterator[tuple[int, bytearray]]:
    """Yield (time in ms, tag with the size of the tag behind it) of an FLV (FLV 10.1, E.4.1)."""
    at = 13
    while at + 11 < len(content):
        length = 15 + int.from_bytes(content[at + 1 : at + 4], "big")
        tag = bytearray(content[at : at + length])
        yield (tag[7] << 24) + int.from_bytes(tag[4:7], "big"), tag
        at += length


def changing(render_clip: Render, tmp_path: Path, left_out: int = 0) -> Path:
    """Join two recordings of other settings; of the second some pictures are left out."""
    x264 = {"profile": "baseline", "bf": "0"}
    first = render_clip("1.flv", frames=50, gop=25, codec="libx264", options=x264 | {"qp": "10"})
    content = first.read_bytes()
    second = render_clip("2.flv", frames=150, gop=25, codec="libx264", options=x264 | {"qp": "40"})
    for time, tag in flv_tags(second.read_bytes()):
        has_pictures = tag[0] == 9 and tag[12] == 1
        left_out -= has_pictures
        if tag[0] == 9 and (not has_pictures or left_out < 0):
            tag[4:7] = (time + 2000).to_bytes(3, "big")
            content += bytes(tag)
    path = tmp_path / "changes.flv"
    path.write_bytes(content)
    return path


def is_clean(image: np.ndarray) -> bool:
    """Return True if the bars of a picture are black or white."""
    middles = image[:, 10::20].astype(int)
    return bool(np.minimum(abs(middles - 235), abs(middles - 16)).max() < 40)


def test_settings_that_change_are_not_lost_with_what_is_passed_over(
    render_clip: Render, tmp_path: Path
) -> None:
    path = changing(render_clip, tmp_path, left_out=10)
    pictures = [*iter_frames(path, [FrameRequest("x", sampling.keyframes())])]
    assert len(pictures) >= 7
    assert all(is_clean(picture.image) for picture in pictures)


def test_settings_that_change_are_not_lost_by_a_jump(render_clip: Render, tmp_path: Path) -> None:
    """Without them pictures come out, all of them wrong."""
    path = changing(render_clip, tmp_path)
    at = [Fraction(1), Fraction(5), Fraction(7)]
    assert [n for _, n in shown(path, sampling.at(at))] == [25, 75, 125]
    report = DecodeReport()
    (late,) = iter_frames(path, [FrameRequest("x", sampling.at([7]))], report=report)
    assert is_clean(late.image)
    assert report.decoded < 20, "it was jumped to"


# --- fragments


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_joined_fragments_are_one_video(render_clip: Render, tmp_path: Path, codec: str) -> None:
    options = {"bf": "2"} if codec == "libx264" else {"bf": "0"}
    clips = [render_clip(f"{n}.mp4", frames=100, codec=codec, options=options) for n in range(2)]
    parts = [remux(clip, clip.with_name(f"f_{clip.name}"), FRAGMENTS) for clip in clips]
    path = tmp_path / "joined.mp4"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert numbers(path, sampling.all()) == [*range(100), *range(100)]
    assert numbers(path, sampling.fps(1)) == [0, 25, 50, 75, 0, 25, 50, 75]
    known = extent(path)
    assert known.end_s == 8
    assert known.restarts_s == pytest.approx([4], abs=0.05)
    assert extent(parts[0]).warnings() == []
    alone = [f.image for f in iter_frames(parts[1], [FrameRequest("x", sampling.all())])]
    joined = [f.image for f in iter_frames(path, [FrameRequest("x", sampling.all())])]
    assert all(np.array_equal(a, b) for a, b in zip(alone, joined[100:], strict=True))


def test_fragments_that_all_begin_at_0_are_one_video(render_clip: Render) -> None:
    clip = render_clip("clip.mp4", frames=100, options={"bf": "0"})
    path = remux(clip, clip.with_name("fragments.mp4"), FRAGMENTS)
    data = bytearray(path.read_bytes())
    at = 0
    while (at := data.find(b"tfdt", at + 1)) > 0:
        size = 8 if data[at + 4] else 4
        data[at + 8 : at + 8 + size] = bytes(size)
    path.write_bytes(data)
    assert numbers(path, sampling.all()) == list(range(100))
    assert extent(path).end_s == 4


# --- lengths


def test_joined_avi_is_one_video(render_clip: Render, tmp_path: Path) -> None:
    clip = render_clip("clip.avi", frames=100, codec="mpeg4", options={"bf": "0"})
    path = tmp_path / "joined.avi"
    path.write_bytes(clip.read_bytes() * 2)
    assert extent(path).end_s == 8
    assert numbers(path, sampling.fps(1)) == [0, 25, 50, 75] * 2
    assert numbers(path, sampling.count(2)) == [50, 50]


def test_a_small_movie_behind_another_one_is_told(render_clip: Render, tmp_path: Path) -> None:
    clip = render_clip("clip.mp4", frames=20, options={"bf": "0"}, width=64, height=64)
    path = tmp_path / "joined.mp4"
    path.write_bytes(clip.read_bytes() * 2)
    assert extent(path).unread == pytest.approx(0.5)


def test_a_tag_of_another_container_is_no_length(render_clip: Render) -> None:
    clip = render_clip("clip.mp4", frames=50, options={"bf": "0"})
    path = clip.with_name("tagged.nut")
    with av.open(os.fspath(clip)) as source, av.open(os.fspath(path), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        stream.metadata["DURATION"] = "00:00:08.000000000"
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                copy.mux(packet)
    assert extent(path).warnings() == []


def noise(path: Path, codec: str, options: dict[str, str]) -> Path:
    """Write pictures that take much room."""
    rng = np.random.default_rng(0)
    with av.open(os.fspath(path), "w") as output:
        stream = output.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        stream.bit_rate = 2_000_000
        for n in range(25):
            image = rng.integers(0, 255, (128, 160, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("clip.mp4", "libx264", {"bf": "0", "preset": "ultrafast"}),
        ("clip.ivf", "libvpx", {"deadline": "realtime", "cpu-used": "8"}),
    ],
)
def test_what_nobody_reads_of_a_joined_file_is_told(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    clip = noise(tmp_path / name, codec, options)
    assert extent(clip).warnings() == []
    path = clip.with_name(f"joined{clip.suffix}")
    path.write_bytes(clip.read_bytes() * 2)
    (warning,) = extent(path).warnings()
    assert "cannot be read with the rest" in warning
    assert extent(path).unread == pytest.approx(0.5, abs=0.05)


def declared(clip: Path, seconds: int) -> Path:
    """Have an MP4 declare another length, in all its headers (ISO/IEC 14496-12, 8.2, 8.3, 8.4)."""
    data = bytearray(clip.read_bytes())
    for kind, scale_at, at in ((b"mvhd", 12, 16), (b"mdhd", 12, 16), (b"tkhd", None, 20)):
        begin = data.index(kind) + 4
        scale = 1000
        if scale_at is not None:
            scale = int.from_bytes(data[begin + scale_at - 0 : begin + scale_at + 4], "big")
        data[begin + at : begin + at + 4] = struct.pack(">I", seconds * scale)
    clip.write_bytes(data)
    return clip


def test_pictures_that_are_shown_for_long_count_to_the_end(render_clip: Render) -> None:
    clip = render_clip("slow.mp4", frames=12, rate=Fraction(1, 10), gop=1, options={"bf": "0"})
    path = declared(clip, 12)
    assert extent(path).end_s == 120
    assert numbers(path, sampling.every(10)) == list(range(12))


def late(clip: Path, name: str, seconds: int) -> Path:
    def later(packet: av.Packet, n: int) -> None:
        ticks = round(seconds / packet.time_base)
        packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks

    return remuxed(clip, clip.with_name(name), later)


@pytest.mark.parametrize("name", ["late.mkv", "late.nut", "late.mp4"])
def test_a_late_start_does_not_count_as_length(render_clip: Render, name: str) -> None:
    clip = render_clip("clip.mp4", frames=100, options={"bf": "0"})
    path = late(clip, name, 3600 if name != "late.mp4" else 2)
    assert float(extent(path).end_s) == pytest.approx(4, abs=0.01)
    assert extent(path).warnings() == []
    assert numbers(path, sampling.count(2)) == [25, 75]


def test_sound_goes_on_behind_a_gap_though_less_is_declared(tmp_path: Path) -> None:
    """Twenty seconds without packets, in a file that declares three."""
    rate = 16000
    path = render_sound(
        tmp_path / "gap.mkv",
        [(0.0, tone(2, rate)[None]), (22.0, tone(3, rate)[None])],
        rate=rate,
        codec="pcm_s16le",
        picture_s=25,
    )
    data = bytearray(path.read_bytes())
    at = data.index(b"\x44\x89") + 3
    size = data[at - 1] & 0x7F
    data[at : at + size] = struct.pack(">d" if size == 8 else ">f", 2700.0)
    at = 0
    while (at := data.find(b"00:00:2", at + 1)) > 0:
        data[at : at + 18] = b"00:00:02.700000000"
    path.write_bytes(data)
    heard = np.concatenate([block.samples for block in iter_audio(path, rate)])
    loud = np.flatnonzero(np.abs(heard) > 0.2) / rate
    assert loud.max() == pytest.approx(25, abs=0.1)
    (block, *_) = iter_audio(path, rate, start=23)
    assert np.abs(block.samples[: rate // 2]).max() > 0.2


# --- beginnings between keyframes


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("clip.ts", "mpeg4"),
        ("clip.avi", "mpeg4"),
        ("clip.asf", "wmv2"),
        ("clip.flv", "flv"),
        ("clip.ts", "libx264"),
        ("clip.ts", "mpeg2video"),
    ],
)
def test_a_beginning_that_cannot_be_decoded_is_told_and_not_shown(
    render_clip: Render, name: str, codec: str
) -> None:
    clip = render_clip(name, frames=100, gop=50, codec=codec, options={"bf": "0"})
    path = clip.with_name(f"mid{clip.suffix}")
    with av.open(os.fspath(clip)) as source, av.open(os.fspath(path), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        packets = [p for p in source.demux(video=0) if p.size]
        first = next(n for n, packet in enumerate(packets) if n >= 12 and packet.is_keyframe)
        for packet in packets[12:]:
            packet.stream = stream
            copy.mux(packet)
    report = DecodeReport()
    pictures = [*iter_frames(path, [FrameRequest("x", sampling.all())], report=report)]
    assert [n for _, n in shown(path, sampling.all())] == list(range(first, 100))
    ((begin, end),) = report.gaps
    assert end == pytest.approx(pictures[0].time_s, abs=0.001)
    assert begin <= end - (first - 12) / 25 + 0.05


def test_damage_from_the_very_first_picture_on_is_told_from_there(render_clip: Render) -> None:
    clip = render_clip("clip.avi", frames=60, codec="mjpeg", pix_fmt="yuvj420p")
    with av.open(os.fspath(clip)) as container:
        bad = [p for p in container.demux(video=0) if p.size][:20]
    data = bytearray(clip.read_bytes())
    for packet in bad:
        data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    clip.write_bytes(data)
    report = DecodeReport()
    assert len([*iter_frames(clip, [FrameRequest("x", sampling.all())], report=report)]) == 40
    assert report.gaps == [pytest.approx((0, 0.8))]


def test_a_stream_without_any_whole_picture_is_shown(render_clip: Render) -> None:
    """Refreshed bit by bit, or cut out of a longer one: it is all there is."""
    clip = render_clip("clip.avi", frames=100, gop=200, codec="mpeg4", options={"bf": "0"})
    path = clip.with_name("mid.avi")
    with av.open(os.fspath(clip)) as source, av.open(os.fspath(path), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in [p for p in source.demux(video=0) if p.size][1:]:
            packet.stream = stream
            packet.is_keyframe = True
            copy.mux(packet)
    assert len(shown(path, sampling.all())) >= 98


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("clip.mov", "qtrle", "rgb24"),
        ("clip.avi", "cinepak", "rgb24"),
        ("clip.mp4", "mpeg4", "yuv420p"),
    ],
)
def test_marked_pictures_are_what_decoding_from_the_start_gives(
    render_clip: Render, name: str, codec: str, pix_fmt: str
) -> None:
    clip = render_clip(name, frames=60, gop=20, codec=codec, pix_fmt=pix_fmt, width=160, height=64)
    path = remuxed(clip, clip.with_name(f"marked{clip.suffix}"), mark_every_seventh)
    right = dict(shown(clip, sampling.all()))
    found = shown(path, sampling.keyframes())
    assert len(found) >= 3
    assert all(right[time] == number for time, number in found)


def test_a_stream_that_is_refreshed_bit_by_bit_has_its_one_keyframe(render_clip: Render) -> None:
    """The other marked packets are where a refresh begins."""
    options = {"x264-params": "intra-refresh=1:keyint=25:scenecut=0", "bf": "0"}
    clip = render_clip("clip.mp4", frames=100, options=options)
    report = DecodeReport()
    frames = [*iter_frames(clip, [FrameRequest("x", sampling.keyframes())], report=report)]
    assert frames[0].time_s == 0
    assert all(is_clean(frame.image) for frame in frames)
    assert (report.gaps, report.skipped_packets) == ([], 0)


@pytest.mark.parametrize(("name", "codec"), [("none.asf", "wmv2"), ("none.mkv", "mpeg4")])
def test_keyframes_are_found_though_none_is_marked(
    render_clip: Render, name: str, codec: str
) -> None:
    def unmarked(packet: av.Packet, n: int) -> None:
        packet.is_keyframe = False

    source = "clip.asf" if codec == "wmv2" else "clip.mp4"
    clip = render_clip(source, frames=60, gop=20, codec=codec, width=160, height=64)
    path = remuxed(clip, clip.with_name(name), unmarked)
    assert numbers(path, sampling.keyframes()) == numbers(clip, sampling.keyframes())


# --- times of AVI


def test_pictures_of_avi_that_are_not_reordered_are_in_time(render_clip: Render) -> None:
    clip = render_clip("clip.ts", frames=100, options={"bf": "0"})
    path = remux(clip, clip.with_name("clip.avi"))
    assert shown(path, sampling.fps(1)) == [(0, 0), (1, 25), (2, 50), (3, 75)]
