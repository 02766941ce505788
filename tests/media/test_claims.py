"""What containers claim of keyframes and times, against what their streams hold."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import numbered_picture, picture_number
from vmm_cli.media import sampling
from vmm_cli.media.audio import iter_audio
from vmm_cli.media.extent import extent
from vmm_cli.media.frames import DecodeReport, FrameRequest, iter_frames
from vmm_cli.media.sampling import Sampling

Render = Callable[..., Path]
RATE = 25
WINDOW = sampling.all(start=Fraction(60, RATE), end=Fraction(63, RATE))


def shown(path: Path, plan: Sampling) -> list[tuple[float, int]]:
    """Return (time, number of the picture) of what a plan gives."""
    return [
        (round(frame.time_s, 3), picture_number(frame.image))
        for frame in iter_frames(path, [FrameRequest("x", plan)])
    ]


def numbers(path: Path, plan: Sampling) -> list[int]:
    return [number for _, number in shown(path, plan)]


def remuxed(clip: Path, target: Path, change: Callable[[av.Packet, int], None]) -> Path:
    """Copy a clip into another container, each packet (and its number) changed."""
    with av.open(os.fspath(clip)) as source, av.open(os.fspath(target), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for n, packet in enumerate(p for p in source.demux(video=0) if p.size):
            change(packet, n)
            packet.stream = stream
            copy.mux(packet)
    return target


def mark_all(packet: av.Packet, n: int) -> None:
    packet.is_keyframe = True


def mark_every_seventh(packet: av.Packet, n: int) -> None:
    packet.is_keyframe = packet.is_keyframe or n % 7 == 0


def time_by_decoding(packet: av.Packet, n: int) -> None:
    packet.dts += round(Fraction(1) / packet.time_base)  # none lies before the file's beginning
    packet.pts = packet.dts


def as_it_is(packet: av.Packet, n: int) -> None:
    pass


CODECS = {
    "h264": ("libx264", {"bf": "2"}),
    "h264, no b": ("libx264", {"bf": "0"}),
    "hevc": ("libx265", {"x265-params": "log-level=none", "preset": "ultrafast"}),
    "mpeg4": ("mpeg4", {"bf": "0"}),
    "mpeg4, b": ("mpeg4", {"bf": "2"}),
    "mpeg2": ("mpeg2video", {"bf": "2"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    "vp8": ("libvpx", {"deadline": "realtime", "cpu-used": "8"}),
}


def source(render_clip: Render, codec: str, target: str) -> Path:
    """Render a hundred pictures in a container whose packets another one takes."""
    name = "clip.mp4"
    if codec in ("vp8", "mpeg2"):
        name = "clip.mkv"
    elif target == "avi" and codec.startswith("h264"):
        name = "clip.ts"
    encoder, options = CODECS[codec]
    return render_clip(
        name, frames=100, gop=40, codec=encoder, options=options, width=160, height=64
    )


FALSE_MARKS = [
    (codec, target, mark)
    for codec, targets in {
        "h264": ("mp4", "mkv", "avi", "flv", "nut"),
        "h264, no b": ("mp4", "avi"),
        "hevc": ("mp4", "mkv"),
        "mpeg4": ("mp4", "avi", "mkv"),
        "mpeg4, b": ("mp4", "mkv", "avi"),
        "mpeg2": ("mp4", "mkv"),
        "vp9": ("mp4", "webm"),
        "vp8": ("webm",),
    }.items()
    for target in targets
    for mark in (mark_all, mark_every_seventh)
]


@pytest.mark.parametrize(("codec", "target", "mark"), FALSE_MARKS)
def test_false_keyframe_marks_change_no_picture(
    render_clip: Render, codec: str, target: str, mark: Callable[[av.Packet, int], None]
) -> None:
    clip = source(render_clip, codec, target)
    honest = remuxed(clip, clip.parent / f"honest.{target}", as_it_is)
    claimed = remuxed(clip, clip.parent / f"claimed.{target}", mark)
    everything = shown(honest, sampling.all())
    assert [n for _, n in everything] == list(range(100))
    for time in (Fraction(81, RATE), Fraction(5, 2)):
        until = [pair for pair in everything if pair[0] <= time + Fraction(1, 1_000_000)]
        assert shown(claimed, sampling.at([time])) == until[-1:]
    for plan in (sampling.every(1), sampling.count(7), sampling.keyframes(), WINDOW):
        assert shown(claimed, plan) == shown(honest, plan)


@pytest.mark.parametrize(
    ("codec", "target", "change"),
    [
        ("h264", "avi", as_it_is),
        ("h264", "mp4", time_by_decoding),
        ("h264", "mkv", time_by_decoding),
        ("h264", "ts", time_by_decoding),
        ("hevc", "mp4", time_by_decoding),
        ("mpeg4, b", "mp4", time_by_decoding),
    ],
)
def test_pictures_without_presentation_times_are_in_order(
    render_clip: Render, codec: str, target: str, change: Callable[[av.Packet, int], None]
) -> None:
    clip = source(render_clip, codec, target)
    claimed = remuxed(clip, clip.parent / f"claimed.{target}", change)
    everything = shown(claimed, sampling.all())
    assert [n for _, n in everything] == list(range(100))
    times = [time for time, _ in everything]
    assert times == pytest.approx([times[0] + n / RATE for n in range(100)], abs=0.002)
    for time, number in shown(claimed, sampling.every(1)) + shown(claimed, sampling.at([3])):
        assert dict(everything)[time] == number


def with_sound(path: Path, first: int, n: int, *, video: str, sound: str) -> Path:
    """Render pictures first .. first + n - 1 and a tone whose pitch says which part it is."""
    options = {"bf": "2"} if video in ("libx264", "mpeg2video") else {}
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream(video, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 160, 64, "yuv420p", 25
        tone = container.add_stream(sound, rate=48000)
        for i in range(n):
            frame = av.VideoFrame.from_ndarray(numbered_picture(first + i, 160, 64))
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            container.mux(stream.encode(frame))
            angle = 2 * np.pi * (500 if not first else 2000) * np.arange(1920) / 48000
            wave = (0.5 * np.sin(angle)).astype(np.float32)[None]
            heard = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            heard.sample_rate, heard.pts = 48000, i * 1920
            container.mux(tone.encode(heard))
        container.mux(stream.encode())
        container.mux(tone.encode())
    return path


JOINED = {
    "ts": ("libx264", "aac"),
    "m2ts": ("libx264", "ac3"),
    "mpg": ("mpeg2video", "mp2"),
    "vob": ("mpeg2video", "ac3"),
    "webm": ("libvpx", "libopus"),
    "mkv": ("libx264", "aac"),
}


@pytest.fixture(params=JOINED)
def joined(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Recordings of 3 and 2 s, one after the other in one file."""
    video, sound = JOINED[request.param]
    parts = [
        with_sound(tmp_path / f"{k}.{request.param}", first, n, video=video, sound=sound)
        for k, (first, n) in enumerate([(0, 75), (75, 50)])
    ]
    path = tmp_path / f"joined.{request.param}"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def test_joined_recordings_are_one_video(joined: Path) -> None:
    known = extent(joined)
    assert float(known.video_end_s or 0) == pytest.approx(5, abs=0.15)
    assert known.restarts_s == pytest.approx([3], abs=0.1)
    assert "start anew once" in known.warnings()[0]
    everything = shown(joined, sampling.all())
    assert [n for _, n in everything] == list(range(125))
    times = [time for time, _ in everything]
    assert times == sorted(times)
    assert np.diff(times).max() < 0.15
    assert numbers(joined, sampling.at([1, 4])) == pytest.approx([25, 100], abs=2)
    assert len(shown(joined, sampling.count(8))) == 8


def test_the_sound_of_joined_recordings_is_on_the_same_clock(joined: Path) -> None:
    sound = np.concatenate([block.samples for block in iter_audio(joined, 16000)])
    assert len(sound) / 16000 == pytest.approx(5, abs=0.2)
    assert pitch(sound[16000:32000]) == pytest.approx(500, abs=20)
    assert pitch(sound[int(3.3 * 16000) : int(4.3 * 16000)]) == pytest.approx(2000, abs=20)


def test_a_late_part_is_heard_alone_as_with_the_rest(tmp_path: Path) -> None:
    parts = [
        with_sound(tmp_path / f"{k}.ts", 75 * k, 75, video="libx264", sound="aac").read_bytes()
        for k in range(3)
    ]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(parts))
    sound = np.concatenate([block.samples for block in iter_audio(path, 16000)])
    late = np.concatenate([block.samples for block in iter_audio(path, 16000, start=6, end=7)])
    assert np.allclose(late, sound[6 * 16000 : 7 * 16000], atol=0.01)


def test_what_cannot_be_read_of_joined_recordings_is_told(tmp_path: Path) -> None:
    """libav reads no third Matroska segment."""
    parts = [
        with_sound(tmp_path / f"{k}.webm", 75 * k, 75, video="libvpx", sound="libopus")
        for k in range(3)
    ]
    path = tmp_path / "joined.webm"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert any("of the file cannot be read" in line for line in extent(path).warnings())


def test_a_jump_ahead_is_told_and_left_out(tmp_path: Path) -> None:
    clip = with_sound(tmp_path / "one.ts", 0, 75, video="libx264", sound="aac")
    path = tmp_path / "jump.ts"
    with av.open(os.fspath(clip)) as source, av.open(os.fspath(path), "w") as copy:
        streams = {s.index: copy.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.size:
                ahead = (
                    round(10_000 / packet.time_base)
                    if packet.dts * packet.time_base > 1.4 + 1.5
                    else 0
                )
                packet.pts, packet.dts = packet.pts + ahead, packet.dts + ahead
                packet.stream = streams[packet.stream_index]
                copy.mux(packet)
    known = extent(path)
    assert float(known.end_s) == pytest.approx(3, abs=0.2)
    assert len(known.restarts_s) == 1
    assert numbers(path, sampling.all()) == list(range(75))


def test_a_good_file_starts_nowhere_anew(tmp_path: Path) -> None:
    for name, (video, sound) in JOINED.items():
        clip = with_sound(tmp_path / f"one.{name}", 0, 75, video=video, sound=sound)
        assert extent(clip).restarts_s == ()
        assert extent(clip).warnings() == []


def pitch(samples: np.ndarray) -> float:
    """Return the strongest frequency of a second of sound at 16 kHz, in Hz."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * 16000 / len(samples))


def test_a_stream_that_was_taken_up_again_is_one_video(tmp_path: Path) -> None:
    """FLV as servers write it: a connection that comes back begins at 0 again."""
    parts = [
        with_sound(tmp_path / f"{k}.flv", 75 * k, 75, video="libx264", sound="aac").read_bytes()
        for k in range(2)
    ]
    path = tmp_path / "again.flv"
    path.write_bytes(parts[0] + parts[1][13:])  # without the file's header (FLV 10.1, E.2)
    known = extent(path)
    assert known.restarts_s == pytest.approx([3], abs=0.1)
    assert float(known.end_s) == pytest.approx(6, abs=0.2)
    assert numbers(path, sampling.all()) == list(range(150))
    assert numbers(path, sampling.at([5])) == pytest.approx([124], abs=2)


@pytest.mark.parametrize("size", [(320, 240), (160, 64)])
def test_a_recording_that_needs_another_decoder_is_told_and_left_out(
    render_clip: Render, size: tuple[int, int]
) -> None:
    width, height = size
    first = render_clip("1.mkv", frames=50, width=160, height=64, options={"bf": "2"})
    other = render_clip(
        "2.mkv", frames=50, width=width, height=height, options={"profile": "baseline"}
    )
    path = first.with_name("joined.mkv")
    path.write_bytes(first.read_bytes() + other.read_bytes())
    assert numbers(path, sampling.all()) == list(range(50))
    assert "another recording" in " ".join(extent(path).warnings())


def test_pictures_that_are_shown_for_long_are_no_new_recordings(render_clip: Render) -> None:
    pts = [375 * n for n in range(6)]
    path = render_clip(
        "slides.ts", frames=6, options={"bf": "0"}, pts=pts, time_base=Fraction(1, RATE)
    )
    assert extent(path).restarts_s == ()
    assert numbers(path, sampling.at([20, 50])) == [1, 3]


def test_one_wrong_time_stamp_moves_nothing_else(render_clip: Render) -> None:
    clip = render_clip("clip.ts", frames=100, options={"bf": "0"}, width=160, height=64)
    path = clip.with_name("stamp.ts")
    data = bytearray(clip.read_bytes())
    with av.open(os.fspath(clip)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    patch_time_stamp(data, packets[60].pos, packets[60].pts - 2 * 90_000)
    path.write_bytes(data)
    assert extent(path).restarts_s == ()
    assert numbers(path, sampling.at([3, 3.5])) == [75, 87]


def patch_time_stamp(data: bytearray, at: int, pts: int) -> None:
    """Give the PES packet behind a transport packet another time (ISO/IEC 13818-1, 2.4.3.7)."""
    at = data.index(b"\0\0\1\xe0", at) + 9
    mark = data[at] & 0xF0
    data[at : at + 5] = bytes(
        [
            mark | (pts >> 29 & 0x0E) | 1,
            pts >> 22 & 0xFF,
            (pts >> 14 & 0xFE) | 1,
            pts >> 7 & 0xFF,
            (pts << 1 & 0xFE) | 1,
        ]
    )
    if mark == 0x30:  # the decoding time follows
        at += 5
        data[at : at + 5] = bytes(
            [
                0x10 | (pts >> 29 & 0x0E) | 1,
                pts >> 22 & 0xFF,
                (pts >> 14 & 0xFE) | 1,
                pts >> 7 & 0xFF,
                (pts << 1 & 0xFE) | 1,
            ]
        )


def test_a_length_that_is_declared_too_short_is_not_believed(render_clip: Render) -> None:
    path = render_clip("short.avi", frames=200, codec="mpeg4", width=160, height=64)
    data = bytearray(path.read_bytes())
    at = data.index(b"strh") + 8 + 32  # dwLength of AVISTREAMHEADER
    data[at : at + 4] = (50).to_bytes(4, "little")
    path.write_bytes(data)
    assert extent(path).end_s == 8
    assert numbers(path, sampling.count(4)) == [25, 75, 125, 175]


def with_a_hole(clip: Path, begin: float, end: float) -> Path:
    """Copy a clip, a part of its pictures' bytes zeros."""
    data = bytearray(clip.read_bytes())
    data[int(begin * len(data)) : int(end * len(data))] = bytes(
        int(end * len(data)) - int(begin * len(data))
    )
    path = clip.with_name("hole.mp4")
    path.write_bytes(data)
    return path


def test_pictures_that_cannot_be_decoded_are_told(render_clip: Render) -> None:
    clip = render_clip("clip.mp4", frames=300, gop=25, width=160, height=64, options={"bf": "2"})
    path = with_a_hole(clip, 0.4, 0.6)
    report = DecodeReport()
    given = [
        frame.time_s
        for frame in iter_frames(path, [FrameRequest("x", sampling.fps(2))], report=report)
    ]
    assert given == sorted(given)
    (gap,) = report.gaps
    assert gap[1] - gap[0] > 1
    assert not [time for time in given if gap[0] + 0.1 < time < gap[1] - 0.1]
    late = iter_frames(path, [FrameRequest("x", sampling.at([(gap[0] + gap[1]) / 2]))])
    assert [frame.time_s <= gap[0] for frame in late] == [True], "what was shown before stays"


def test_a_wanted_picture_that_is_bad_leaves_the_one_before(render_clip: Render) -> None:
    clip = render_clip("clip.avi", frames=100, codec="mjpeg", pix_fmt="yuvj420p")
    with av.open(os.fspath(clip)) as container:
        bad = [p for p in container.demux(video=0) if p.size][60]
    data = bytearray(clip.read_bytes())
    data[bad.pos + 8 : bad.pos + 8 + bad.size] = bytes(bad.size)
    clip.write_bytes(data)
    assert numbers(clip, sampling.at([1, Fraction(60, RATE)])) == [25, 59]
