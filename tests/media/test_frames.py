"""Decoding only what is wanted gives the same pictures as decoding everything."""

from __future__ import annotations

import random
import subprocess
import sys
from fractions import Fraction
from functools import cache
from math import floor
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest

from tests.clips import picture_number
from vmm_cli.errors import InputError
from vmm_cli.media import sampling
from vmm_cli.media.frames import (
    DecodeReport,
    FrameRequest,
    iter_frames,
    iter_pictures,
    video_end_s,
)
from vmm_cli.media.geometry import Size
from vmm_cli.media.sampling import Sampling

PLANS = {
    "all": sampling.all(),
    "all, a window": sampling.all(start=1, end=Fraction(5, 2)),
    "keyframes": sampling.keyframes(),
    "keyframes, a window": sampling.keyframes(start=1, end=4),
    "five a second": sampling.fps(5),
    "one a second": sampling.every(1),
    "every 3 s, off the grid": sampling.every(3, start=Fraction(13, 10)),
    "sixty a second": sampling.fps(60, start=1, end=2),
    "the middle": sampling.count(1),
    "seven": sampling.count(7),
    "more than there are": sampling.count(1000),
    "four times": sampling.at([0, Fraction(1, 10), Fraction(31, 10), 4]),
}


class Decoded(NamedTuple):
    """All pictures of a file, as (ticks, whether a keyframe, duration in ticks)."""

    pictures: list[tuple[int, bool, int | None]]
    base: Fraction
    origin: int
    rate: Fraction


@cache
def decoded_whole(path: Path) -> Decoded:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = stream.time_base
        origin = round(Fraction(container.start_time or 0, 1_000_000) / base)
        pictures = [
            (f.pts, f.key_frame, f.duration) for p in container.demux(stream) for f in p.decode()
        ]
        return Decoded(pictures, base, origin, stream.average_rate)


def shown_times(path: Path, plan: Sampling) -> list[int]:
    """What `iter_frames` must give, the slow way: decode everything, then choose."""
    decoded, base, origin, stream_rate = decoded_whole(path)

    def ticks(seconds: Fraction) -> int:
        return floor((seconds + Fraction(1, 2_000_000)) / base) + origin

    if plan.kind in ("all", "keyframes"):
        return [
            pts
            for pts, key, _ in decoded
            if (plan.kind == "all" or key)
            and (pts - origin) * base >= plan.start
            and (plan.end is None or (pts - origin) * base < plan.end)
        ]
    last_pts, _, last_duration = decoded[-1]
    last_duration = last_duration or round(1 / (stream_rate * base))
    chosen: list[int] = []
    end_s = (last_pts + last_duration - origin) * base
    if plan.kind == "count":
        end_s = video_end_s(path)
    for wanted in map(ticks, sampling.wanted_times(plan, end_s)):
        if wanted >= last_pts + last_duration:
            continue
        before = [pts for pts, _, _ in decoded if pts <= wanted]
        shown = before[-1] if before else decoded[0][0]
        if not chosen or chosen[-1] != shown:
            chosen.append(shown)
    return chosen


def given_times(path: Path, plan: Sampling, report: DecodeReport | None = None) -> list[int]:
    return [p.pts for p in iter_pictures(path, [FrameRequest("x", plan)], report=report)]


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_real_clips_give_the_shown_pictures(bikes, bunny, plan):
    assert given_times(bikes, plan) == shown_times(bikes, plan)
    assert given_times(bunny, plan) == shown_times(bunny, plan)


# Marked as keyframes are points from where on the picture is refreshed bit by bit.
INTRA_REFRESH = {"x264-params": "intra-refresh=1:scenecut=0", "bf": "0"}
CONTAINERS = {
    "mp4, B-frames": ("clip.mp4", "libx264", {"bf": "3", "b-pyramid": "normal"}),
    "matroska": ("clip.mkv", "libx264", {"bf": "2"}),
    "mp4, without full keyframes": ("clip.mp4", "libx264", INTRA_REFRESH),
    "matroska, without full keyframes": ("clip.mkv", "libx264", INTRA_REFRESH),
    "transport stream": ("clip.ts", "libx264", {"bf": "2"}),
    "flv": ("clip.flv", "libx264", {"bf": "2"}),
    "avi": ("clip.avi", "mpeg4", {"bf": "2"}),
    "webm": ("clip.webm", "libvpx", {"deadline": "realtime", "cpu-used": "8"}),
    "hevc": ("clip.mp4", "libx265", {"preset": "ultrafast", "x265-params": "log-level=none"}),
    "mpeg program stream": ("clip.mpg", "mpeg2video", {"bf": "2"}),
}


@pytest.mark.parametrize(("name", "codec", "options"), CONTAINERS.values(), ids=CONTAINERS)
def test_every_container_gives_the_shown_pictures(render_clip, name, codec, options):
    clip = render_clip(
        name, frames=130, gop=30, codec=codec, options=options, width=160, height=128
    )
    for plan in PLANS.values():
        assert given_times(clip, plan) == shown_times(clip, plan), plan


def test_random_plans_on_one_clip(render_clip):
    clip = render_clip(frames=200, gop=40, options={"bf": "3"}, width=160, height=128)
    rng = random.Random(5)
    for _ in range(40):
        start = Fraction(rng.randrange(0, 7000), 1000)
        end = start + Fraction(rng.randrange(1, 5000), 1000)
        step = Fraction(rng.randrange(10, 4000), 1000)
        plan = sampling.every(step, start=start, end=rng.choice([end, None]))
        assert given_times(clip, plan) == shown_times(clip, plan), plan


def test_the_pictures_are_the_right_ones(render_clip):
    clip = render_clip(frames=100, gop=20, options={"bf": "3"})
    frames = list(iter_frames(clip, [FrameRequest("x", sampling.fps(5))]))
    assert [picture_number(f.image) for f in frames] == list(range(0, 100, 5))
    assert [round(f.time_s, 6) for f in frames] == [i / 5 for i in range(20)]


def test_one_decode_serves_several_requests(render_clip):
    clip = render_clip(frames=50)
    requests = [
        FrameRequest("sparse", sampling.every(1), Size(short=64)),
        FrameRequest("dense", sampling.fps(5)),
        FrameRequest("keys", sampling.keyframes(), Size(width=100, height=50)),
    ]
    report = DecodeReport()
    frames = list(iter_frames(clip, requests, report=report))
    by_name = {r.name: [f for f in frames if f.request == r.name] for r in requests}
    assert [f.time_s for f in by_name["sparse"]] == [0, 1]
    assert [picture_number(f.image) for f in by_name["dense"]] == list(range(0, 50, 5))
    assert {f.image.shape for f in by_name["sparse"]} == {(64, 86, 3)}
    assert {f.image.shape for f in by_name["keys"]} == {(50, 100, 3)}
    assert all(f.keyframe for f in by_name["keys"])
    assert [f.time_s for f in frames] == sorted(f.time_s for f in frames)
    assert report.decoded <= 50


def test_little_is_decoded_for_little(render_clip):
    clip = render_clip(frames=500, gop=50, options={"bf": "2"}, width=160, height=128)
    report = DecodeReport()
    times = given_times(clip, sampling.every(8), report)
    assert len(times) == 3
    assert report.decoded < 30


def test_times_denser_than_pictures_cost_no_more_than_the_pictures(bikes):
    everything = given_times(bikes, sampling.all())
    for plan in (sampling.count(10**9), sampling.fps(10**8)):
        report = DecodeReport()
        assert given_times(bikes, plan, report) == everything
        assert report.decoded == 250


def test_variable_frame_rate_and_late_start(render_clip):
    pts = [1000, 1040, 1500, 1520, 2500, 2600, 3000]
    clip = render_clip("clip.mkv", frames=7, pts=pts, time_base=Fraction(1, 1000), rate=1000)
    frames = list(iter_frames(clip, [FrameRequest("x", sampling.at([0, Fraction(45, 100), 1, 2]))]))
    # On the clock that players show the first picture is at 0.
    assert [picture_number(f.image) for f in frames] == [0, 1, 3, 6]
    assert [round(f.time_s, 3) for f in frames] == [0, 0.04, 0.52, 2.0]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_applied(render_clip, degrees):
    clip = render_clip(frames=2, rotation=degrees, width=320, height=240)
    upright = render_clip("upright.mp4", frames=2, width=320, height=240)
    (turned, *_) = iter_frames(clip, [FrameRequest("x", sampling.all())])
    (plain, *_) = iter_frames(upright, [FrameRequest("x", sampling.all())])
    expected = np.rot90(plain.image, degrees // 90)  # the matrix counts counterclockwise
    assert turned.image.shape == expected.shape
    assert np.abs(turned.image.astype(int) - expected).mean() < 2


def test_pixels_are_squared(render_clip):
    clip = render_clip(frames=2, width=320, height=240, sample_aspect_ratio=Fraction(4, 3))
    (frame, *_) = iter_frames(clip, [FrameRequest("x", sampling.all())])
    assert frame.image.shape == (240, 427, 3)


def test_bad_packets_cost_themselves_alone(bikes, tmp_path):
    content = bytearray(bikes.read_bytes())
    rng = random.Random(3)
    for _ in range(12):  # well behind the header, which mp4 files here keep at the end or start
        content[rng.randrange(len(content) // 4, len(content) * 3 // 4)] ^= 0xFF
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(content)
    report = DecodeReport()
    times = given_times(broken, sampling.all(), report)
    assert len(times) > 200
    assert len(times) + report.skipped_packets >= 245


@pytest.mark.parametrize("seed", range(6))
def test_damaged_files_end_in_pictures_or_an_input_error(bunny, tmp_path, seed):
    content = bytearray(bunny.read_bytes())
    rng = random.Random(seed)
    for _ in range(200):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content[: rng.randrange(len(content) // 2, len(content))])
    try:
        assert given_times(damaged, sampling.fps(5))
    except InputError as error:
        assert error.code in ("unreadable", "no_video", "refused")


def test_times_past_the_end_are_reported(render_clip):
    clip = render_clip(frames=25)
    report = DecodeReport()
    assert len(given_times(clip, sampling.at([0, 5, 7]), report)) == 1
    assert report.past_end == {"x": [5.0, 7.0]}


def test_the_pixel_cap_refuses(render_clip):
    clip = render_clip(frames=2)
    with pytest.raises(InputError, match="--max-pixels") as caught:
        list(iter_frames(clip, [FrameRequest("x", sampling.all())], max_pixels=1000))
    assert caught.value.code == "refused"


def test_no_video_stream_is_said(vmm_sound):
    with pytest.raises(InputError, match="no video stream") as caught:
        list(iter_frames(vmm_sound, [FrameRequest("x", sampling.all())]))
    assert caught.value.code == "no_video"


@pytest.fixture
def vmm_sound(tmp_path: Path) -> Path:
    path = tmp_path / "tone.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        tone = (np.sin(np.arange(8000) / 5) * 9000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


LEAVE_EARLY = """
import sys
from pathlib import Path
from vmm_cli.compat import ensure_torchvision
import torch
ensure_torchvision()
import torchvision
from vmm_cli.media import sampling
from vmm_cli.media.frames import FrameRequest, iter_frames
for i in range(200):
    for frame in iter_frames(Path(sys.argv[1]), [FrameRequest("x", sampling.all())]):
        break
print("left 200 times")
"""


@pytest.mark.slow
def test_leaving_early_200_times_never_hangs(bikes):
    done = subprocess.run(
        [sys.executable, "-c", LEAVE_EARLY, str(bikes)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "left 200 times\n", done.stderr


def test_the_picture_never_comes_after_its_time(render_clip):
    clip = render_clip("clip.avi", codec="mpeg4", frames=50, width=160, height=128)
    (frame,) = iter_frames(clip, [FrameRequest("x", sampling.at([Fraction(118, 100)]))])
    assert frame.time_s <= 1.18


def test_printed_times_find_their_picture_again(bikes, render_clip):
    ntsc = render_clip(frames=60, rate=Fraction(30000, 1001), width=160, height=128)
    for clip in (bikes, ntsc):
        pictures = list(iter_pictures(clip, [FrameRequest("x", sampling.all())]))
        for picture in pictures[::7]:
            printed = Fraction(f"{picture.time_s:.6f}")
            assert given_times(clip, sampling.at([printed])) == [picture.pts]


RAW = {
    "h264": ("clip.h264", "libx264", 60, {"bf": "2", "x264-params": "scenecut=0"}),
    "h264, ntsc": ("clip.h264", "libx264", Fraction(30000, 1001), {"bf": "3"}),
    "hevc": (
        "clip.hevc",
        "libx265",
        30,
        {"preset": "ultrafast", "x265-params": "log-level=none:keyint=20"},
    ),
}


@pytest.mark.parametrize(("name", "codec", "rate", "options"), RAW.values(), ids=RAW)
def test_pictures_without_a_container_are_timed_by_their_number(
    render_clip, name, codec, rate, options
):
    clip = render_clip(
        name, frames=90, gop=20, rate=rate, codec=codec, options=options, width=160, height=128
    )
    assert video_end_s(clip) == Fraction(90) / rate
    for plan in (
        sampling.all(),
        sampling.keyframes(),
        sampling.keyframes(start=1),
        sampling.fps(4),
    ):
        report = DecodeReport()
        frames = list(iter_frames(clip, [FrameRequest("x", plan)], report=report))
        times = [frame.time_s for frame in frames]
        assert times == [pytest.approx(float(picture_number(f.image) / rate)) for f in frames]
        assert report.end_s == pytest.approx(float(90 / rate))
        assert plan.kind != "keyframes" or all(frame.keyframe for frame in frames)
        assert len(frames) > 1


def test_what_cannot_be_decoded_without_a_container_takes_its_time_too(render_clip):
    """A recording that was joined late: until a keyframe comes there is nothing to start from."""
    clip = render_clip(
        "clip.h264", frames=90, gop=20, options={"bf": "2", "x264-params": "scenecut=0"}
    )
    with av.open(str(clip)) as container:
        _, second, *_ = container.demux(video=0)
    clip.write_bytes(clip.read_bytes()[second.pos :])
    report = DecodeReport()
    frames = list(iter_frames(clip, [FrameRequest("x", sampling.keyframes())], report=report))
    assert [picture_number(frame.image) for frame in frames] == [20, 40, 60, 80]
    assert [round(frame.time_s * 25, 6) for frame in frames] == [19, 39, 59, 79]
    assert report.end_s == pytest.approx(float(video_end_s(clip))) == 89 / 25


@pytest.fixture
def trimmed(render_clip, tmp_path: Path) -> Path:
    """A clip that an edit list starts in the middle of a group of pictures: 45 are not shown."""
    clip = render_clip(frames=150, gop=60, options={"bf": "2"}, width=160, height=128)
    target = tmp_path / "trimmed.mp4"
    with av.open(str(clip)) as source, av.open(str(target), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        shift = round(Fraction(45, 25) / source.streams.video[0].time_base)
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts -= shift
                packet.dts -= shift
                packet.stream = stream
                copy.mux(packet)
    return target


def test_what_an_edit_list_leaves_out_does_not_hide_what_follows(trimmed):
    everything = given_times(trimmed, sampling.all())
    for plan in (sampling.fps(10), sampling.at([0, Fraction(1, 2), Fraction(6, 5), 3])):
        assert given_times(trimmed, plan) == shown_times(trimmed, plan)
    assert given_times(trimmed, sampling.at([0])) == everything[:1]


def test_limited_and_full_range_give_the_same_picture(render_clip):
    limited = render_clip("limited.mp4", frames=1)
    full = render_clip("full.mp4", frames=1, pix_fmt="yuvj420p")
    one, other = (
        next(iter(iter_frames(clip, [FrameRequest("x", sampling.all())]))).image.astype(int)
        for clip in (limited, full)
    )
    assert np.abs(one - other).mean() < 3


ODD_PLANS = [sampling.fps(7), sampling.at([Fraction(1, 10), 1, Fraction(11, 3)]), sampling.every(2)]
# Their times run backwards or repeat: which picture is shown when is not well defined.
NO_ORDER = {"no_timescale.mp4", "h264-mjpeg.mkv", "h264-png.mkv", "test.mkv", "testsrc.mkv"}


@pytest.mark.slow
def test_odd_files_give_the_shown_pictures(vmm_data):
    """Sampling decodes less than everything, and gives of everything what is shown."""
    checked = 0
    for path in sorted((vmm_data / "odd_media").rglob("*")):
        if (
            not path.is_file()
            or path.name in NO_ORDER
            or (path.stat().st_size > 700_000 and path.suffix != ".mts")
        ):
            continue
        request = [FrameRequest("x", sampling.all())]
        try:
            shown = [(p.time_s, p.pts) for p in iter_pictures(path, request)]
        except InputError:
            continue
        if [t for t, _ in shown] != sorted({t for t, _ in shown}):
            continue
        for plan in ODD_PLANS:
            expected = []
            for wanted in sampling.wanted_times(plan, Fraction(shown[-1][0]) + Fraction(1, 1000)):
                before = [pts for t, pts in shown if t <= float(wanted) + 6e-7] or [shown[0][1]]
                if wanted <= shown[-1][0] and before[-1:] != expected[-1:]:
                    expected.append(before[-1])
            try:
                found = given_times(path, plan)
            except InputError:
                found = []
            assert found[: len(expected)] == expected, (path.name, plan)
        checked += 1
    assert checked > 50
