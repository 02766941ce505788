"""Where a video ends is where its pictures end, also in a file that was cut short."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.media.remux import cut, remux
from vmm_cli.media import sampling
from vmm_cli.media.frames import FrameRequest, iter_pictures, video_end_s


def decoded_end_s(path: Path) -> float:
    """Where the last picture ends that comes out of a decoder, in seconds after the start."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        origin = Fraction(container.start_time or 0, 1_000_000)
        usual = 1 / (stream.average_rate * stream.time_base)
        ends = []
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                continue
            for frame in frames:
                begin = frame.pts if frame.pts is not None else (ends[-1] if ends else 0)
                ends.append(begin + (frame.duration or usual))
        return float(max(ends) * stream.time_base - origin)


# 200 pictures, 10 a second, with B-frames where the codec has them.
KINDS = {
    "mp4": ("clip.mp4", "libx264", {"bf": "3"}),
    "mp4 in fragments": ("fragments.mp4", "libx264", {"bf": "2"}),
    "matroska": ("clip.mkv", "libx264", {"bf": "2"}),
    "matroska, index first": ("index_first.mkv", "libx264", {"bf": "2"}),
    "flv": ("clip.flv", "libx264", {"bf": "2"}),
    "flv, with keyframes": ("keyframes.flv", "libx264", {"bf": "2"}),
    "avi": ("clip.avi", "mpeg4", {}),
    "transport stream": ("clip.ts", "libx264", {"bf": "2"}),
    "mpeg program stream": ("clip.mpg", "mpeg2video", {"bf": "2"}),
    "asf": ("clip.asf", "msmpeg4", {}),
    "h264 alone": ("clip.h264", "libx264", {"bf": "2"}),
    "hevc alone": (
        "clip.hevc",
        "libx265",
        {"preset": "ultrafast", "x265-params": "log-level=none"},
    ),
}
# What else the muxer is told, by the name of the file.
MUXER = {
    "clip.mp4": {"movflags": "faststart"},
    "fragments.mp4": {"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    "index_first.mkv": {"reserve_index_space": "1500"},
    "keyframes.flv": {"flvflags": "add_keyframe_index"},
}
A_PICTURE = 0.101  # seconds, at 10 a second


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def clip(request, render_clip, tmp_path: Path) -> Path:
    name, codec, options = request.param
    made = render_clip(
        f"made/{name}", frames=200, rate=10, gop=20, width=64, height=64, codec=codec,
        options=options,
    )  # fmt: skip
    return remux(made, tmp_path / name, MUXER[name]) if name in MUXER else made


def test_a_video_ends_with_the_last_picture_that_is_there(clip: Path) -> None:
    assert float(video_end_s(clip)) == pytest.approx(decoded_end_s(clip), abs=0.002)
    cut(clip, 0.6)
    end_s = float(video_end_s(clip))
    assert 5 < end_s < 16
    assert end_s == pytest.approx(decoded_end_s(clip), abs=2 * A_PICTURE)
    counted = list(iter_pictures(clip, [FrameRequest("x", sampling.count(9))]))
    assert len({picture.pts for picture in counted}) == 9
    assert counted[-1].time_s == pytest.approx(end_s * 17 / 18, abs=2 * A_PICTURE)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_the_end_of_a_good_file_is_found_without_reading_it(tmp_path: Path, name: str) -> None:
    noise = tmp_path / "noise.mp4"
    rng = np.random.default_rng(1)
    with av.open(str(noise), "w") as container:
        stream = container.add_stream("mjpeg", rate=5)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuvj420p"
        picture = av.VideoFrame.from_ndarray(
            rng.integers(0, 256, (240, 320, 3), np.uint8), format="rgb24"
        )
        for _ in range(300):
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    clip = remux(noise, tmp_path / name)
    assert clip.stat().st_size > 4_000_000
    before = bytes_read()
    assert video_end_s(clip) == 60
    assert bytes_read() - before < clip.stat().st_size / 4


def bytes_read() -> int:
    counters = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in counters if line.startswith("rchar")).split()[1])
