"""What `probe` says of real, rendered and damaged files."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vmm_cli.errors import InputError
from vmm_cli.media.probe import MAX_TIMED_PACKETS, probe, times_vary

Render = Callable[..., Path]


def copy_streams(source: Path, target: Path, **options: str) -> Path:
    """Copy the packets of a file into another container."""
    with av.open(str(source)) as read, av.open(str(target), "w", options=options) as written:
        streams = {s.index: written.add_stream_from_template(s) for s in read.streams}
        for packet in read.demux():
            if packet.size:  # the last one only flushes
                packet.stream = streams[packet.stream.index]
                written.mux(packet)
    return target


def test_a_real_clip(bikes: Path) -> None:
    info = probe(bikes)
    assert info.size_bytes == bikes.stat().st_size
    assert info.duration_s == pytest.approx(10, abs=0.05)
    assert info.audio == info.captions == info.attached_pictures == ()
    (video,) = info.video
    assert (video.codec, video.frames, video.frame_rate) == ("h264", 250, 25)
    assert (video.width, video.height) == (video.display_width, video.display_height) == (640, 272)
    assert (video.rotation, video.flipped, video.sample_aspect) == (0, False, "1:1")
    assert (video.pixel_format, video.bit_depth) == ("yuv420p", 8)
    assert video.decodable
    assert not video.interlaced
    assert video.timestamps_vary is False
    json.dumps(dataclasses.asdict(info))


def test_sound_is_told(bunny: Path) -> None:
    info = probe(bunny)
    (audio,) = info.audio
    assert (audio.codec, audio.sample_rate) == ("aac", 48000)
    assert audio.channels is not None
    assert audio.layout
    assert audio.duration_s == pytest.approx(info.duration_s, abs=0.2)


def test_shape_tags_and_keyframes(render_clip: Render) -> None:
    path = render_clip(
        "turned.mp4",
        frames=40,
        gop=10,
        options={"sc_threshold": "0", "bf": "0"},
        sample_aspect_ratio=Fraction(3, 2),
        rotation=-90,
        metadata={"title": "A \x1b[31mred\x1b[0m title", "comment": "kept"},
    )
    info = probe(path)
    (video,) = info.video
    assert (video.width, video.height, video.sample_aspect) == (320, 240, "3:2")
    assert (video.display_width, video.display_height, video.rotation) == (240, 480, 90)
    assert video.keyframe_interval_s == pytest.approx(0.4)
    assert info.title == "A \x1b[31mred\x1b[0m title"  # as it is: printing escapes it
    assert info.description is None
    assert info.tags["comment"] == "kept"


def test_varying_times(render_clip: Render) -> None:
    steady = render_clip("steady.mkv", frames=30, rate=Fraction(30000, 1001))
    varying = render_clip(
        "varying.mkv",
        frames=30,
        pts=[k * 40 + 7 * (k % 3) for k in range(30)],
        time_base=Fraction(1, 1000),
    )
    assert probe(steady).video[0].timestamps_vary is False
    assert probe(varying).video[0].timestamps_vary is True


def test_rounding_is_no_variation_but_a_missing_picture_is() -> None:
    assert times_vary(()) is None
    assert times_vary((0, 40)) is None
    assert times_vary(tuple(k * 1000 // 30 for k in range(100))) is False
    assert times_vary(tuple(k * 3003 for k in range(100))) is False
    assert times_vary(tuple(k for k in range(100) if k != 50)) is True
    assert times_vary(tuple(k * 40 for k in range(100) if k != 50)) is True


def test_a_container_without_a_duration(render_clip: Render) -> None:
    whole = render_clip("whole.mkv", frames=50)
    live = copy_streams(whole, whole.with_name("live.mkv"), live="1")
    with av.open(str(live)) as container:
        assert container.duration is None
    assert probe(live).duration_s == pytest.approx(2, abs=0.002)


def test_a_bare_stream_is_as_long_as_its_pictures(render_clip: Render) -> None:
    whole = render_clip("whole.mp4", frames=50, options={"bf": "0"})
    bare = copy_streams(whole, whole.with_name("bare.h264"))
    info = probe(bare)
    assert info.format == "h264"
    assert info.duration_s == pytest.approx(2, abs=0.1)


def test_a_late_start_is_told(render_clip: Render) -> None:
    times = [k + 250 for k in range(50)]
    path = render_clip("late.ts", pts=times, time_base=Fraction(1, 25))
    info = probe(path)
    assert info.start_time_s == pytest.approx(10)
    assert info.duration_s == pytest.approx(2, abs=0.05)


def test_colours_and_hdr(render_clip: Render) -> None:
    def tagged(primaries: str, transfer: str, matrix: str) -> dict[str, str]:
        return {"x264-params": f"colorprim={primaries}:transfer={transfer}:colormatrix={matrix}"}

    pq = render_clip(
        "pq.mkv",
        frames=2,
        pix_fmt="yuv420p10le",
        options=tagged("bt2020", "smpte2084", "bt2020nc"),
    )
    video = probe(pq).video[0]
    assert (video.hdr, video.bit_depth) == ("pq", 10)
    assert (video.color_primaries, video.color_matrix) == ("bt2020", "bt2020nc")
    assert video.color_transfer == "smpte2084"

    plain = render_clip("plain.mkv", frames=2, options=tagged("bt709", "bt709", "bt709"))
    video = probe(plain).video[0]
    assert (video.hdr, video.bit_depth, video.color_matrix) == (None, 8, "bt709")


def test_interlacing(render_clip: Render) -> None:
    woven = render_clip(
        "woven.mpg", frames=12, codec="mpeg2video", options={"flags": "+ildct+ilme"}
    )
    assert probe(woven).video[0].interlaced
    assert not probe(render_clip("plain.mpg", frames=12, codec="mpeg2video")).video[0].interlaced


def test_sound_alone(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    info = probe(path)
    assert info.video == ()
    assert info.duration_s == pytest.approx(1)
    assert info.audio[0].sample_rate == 8000


def test_pictures_above_the_cap_are_told_but_not_decoded(render_clip: Render) -> None:
    info = probe(render_clip(), max_pixels=100 * 100)
    assert (info.video[0].width, info.video[0].decodable) == (320, False)


def test_a_codec_that_nobody_knows(render_clip: Render) -> None:
    path = render_clip()
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    (video,) = probe(path).video
    assert (video.codec, video.decodable) == ("unknown", False)


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "unreadable"), (b"no video " * 100, "unreadable"), (b"\x00" * 4096, "unreadable")],
)
def test_what_is_no_media(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "odd.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        probe(path)
    assert caught.value.code == code


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        probe(tmp_path / "none.mp4")
    assert caught.value.code == "missing"


def test_damage_gives_an_answer_or_an_input_error(render_clip: Render) -> None:
    dice = random.Random(0)
    for name in ("damaged.mp4", "damaged.mkv", "damaged.ts", "damaged.avi"):
        path = render_clip(name, frames=10, width=64, height=48)
        whole = path.read_bytes()
        for trial in range(40):
            data = bytearray(whole)
            if trial % 4 == 0:
                del data[dice.randrange(len(data)) :]
            for _ in range(dice.choice((1, 10, 100))):
                if data:
                    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            path.write_bytes(data)
            try:
                info = probe(path)
            except InputError:
                continue
            json.dumps(dataclasses.asdict(info))


def test_long_files_are_read_in_part(render_clip: Render) -> None:
    path = render_clip(
        frames=MAX_TIMED_PACKETS + 200,
        width=32,
        height=16,
        gop=50,
        options={"sc_threshold": "0", "preset": "ultrafast"},
    )
    video = probe(path).video[0]
    assert video.frames == MAX_TIMED_PACKETS + 200
    assert video.timestamps_vary is False
    assert video.keyframe_interval_s == pytest.approx(2)
