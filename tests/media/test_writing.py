"""Videos written again: each picture at its own time, and the sound in step with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import picture_number
from tests.media.test_audio import tone
from vmm_cli.errors import InputError
from vmm_cli.media import sampling
from vmm_cli.media.frames import FrameRequest
from vmm_cli.media.video import Video
from vmm_cli.media.writing import write_again

Render = Callable[..., Path]

RATE = 48000
IN_STEP_S = 0.02
FLASH_S, FLASHES_S = 2.0, 0.2  # when, and for how long


def as_it_is(time_s: float, image: np.ndarray) -> np.ndarray:
    return image


def shown(path: Path, **window: Fraction) -> list[tuple[float, np.ndarray]]:
    """All pictures of a file with their times."""
    request = FrameRequest("all", sampling.all(**window))
    return [(frame.time_s, frame.image) for frame in Video(path).frames([request])]


@dataclass(frozen=True)
class Clip:
    """A flash and a beep at once: how a file of them is made."""

    suffix: str = ".mp4"
    codec: str = "aac"
    layout: str = "mono"
    variable: bool = False
    pictures_from_s: float = 0.0
    sound_from_s: float = 0.0
    clock_from_s: float = 0.0

    def render(self, path: Path) -> Path:
        with av.open(str(path), "w") as container:
            pictures = container.add_stream("mpeg4", rate=50)
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
            pictures.codec_context.time_base = pictures.time_base = Fraction(1, 1000)
            sound = container.add_stream(self.codec, rate=RATE, layout=self.layout)
            steps = [0.01, 0.03] if self.variable else [0.02]
            time_s, number = self.pictures_from_s, 0
            while time_s < 3:
                lit = FLASH_S - 1e-9 <= time_s < FLASH_S + FLASHES_S
                frame = av.VideoFrame.from_ndarray(
                    np.full((48, 64, 3), 255 if lit else 16, np.uint8), format="rgb24"
                ).reformat(format="yuv420p")
                frame.pts = round((time_s + self.clock_from_s) * 1000)
                frame.time_base = Fraction(1, 1000)
                container.mux(pictures.encode(frame))
                time_s += steps[number % len(steps)]
                number += 1
            container.mux(pictures.encode())
            samples = np.zeros(3 * RATE, np.float32)
            samples[round(FLASH_S * RATE) :][: round(FLASHES_S * RATE)] = tone(FLASHES_S, RATE)
            first = round(self.sound_from_s * RATE)
            for begin in range(first, len(samples), 960):
                piece = samples[begin : begin + 960]
                channels = 2 if self.layout == "stereo" else 1
                frame = av.AudioFrame.from_ndarray(
                    np.repeat(piece, channels)[None], "flt", self.layout
                )
                frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
                frame.pts = begin + round(self.clock_from_s * RATE)
                container.mux(sound.encode(frame))
            container.mux(sound.encode())
        return path


def flash_and_beep(path: Path) -> tuple[float, float]:
    """When a file flashes and beeps, by its time stamps alone."""
    with av.open(str(path)) as container:
        flash = next(
            frame.time
            for frame in container.decode(video=0)
            if frame.to_ndarray(format="gray").mean() > 128
        )
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = np.abs(frame.to_ndarray().astype(np.float64))
            if frame.format.name.startswith("s16"):
                samples /= 2**15
            loud = np.flatnonzero(samples.reshape(-1) > 0.2)
            if len(loud):
                channels = 1 if frame.format.is_planar else frame.layout.nb_channels
                return flash, frame.time + loud[0] % (frame.samples * channels) / channels / RATE
    raise AssertionError("no beep")


@pytest.mark.parametrize(
    ("clip", "codec"),
    [
        (Clip(), "aac"),
        (Clip(variable=True), "aac"),
        (Clip(pictures_from_s=0.5), "aac"),
        (Clip(sound_from_s=0.7), "aac"),
        (Clip(sound_from_s=0.7, codec="libmp3lame"), "mp3"),
        (Clip(".ts", clock_from_s=20.0), "aac"),
        (Clip(".ts", "mp2", pictures_from_s=0.4, clock_from_s=5.0), "aac"),
        (Clip(".mkv", "libopus", variable=True, sound_from_s=0.3), "opus"),
        (Clip(".mkv", "pcm_s16le", "stereo", pictures_from_s=0.3), "aac"),
        (Clip(".mov", "pcm_s16le", variable=True), "aac"),
    ],
    ids=lambda one: repr(one) if isinstance(one, Clip) else one,
)
@pytest.mark.parametrize("start", [Fraction(0), Fraction(13, 10)])
def test_pictures_and_sound_stay_in_step(
    clip: Clip, codec: str, start: Fraction, tmp_path: Path
) -> None:
    source = clip.render(tmp_path / f"clip{clip.suffix}")
    written = tmp_path / "again.mp4"
    assert write_again(Video(source, start=start), written, as_it_is).sound
    flash, beep = flash_and_beep(written)
    assert abs(flash - beep) <= IN_STEP_S
    with av.open(str(source)) as container:  # encoders' delays make some begin before 0
        origin_s = container.start_time / 1_000_000 + float(start)
    before = flash_and_beep(source)
    assert flash == pytest.approx(before[0] - origin_s, abs=1e-3)
    assert beep == pytest.approx(before[1] - origin_s, abs=1e-3)
    with av.open(str(written)) as container:
        assert container.streams.audio[0].codec_context.codec.canonical_name == codec


def test_each_picture_keeps_its_time(render_clip: Render, tmp_path: Path) -> None:
    pts = [n * n + 30 * n for n in range(60)]  # slower and slower
    source = render_clip("clip.mkv", frames=60, pts=pts, time_base=Fraction(1, 1000))
    told: list[float] = []

    def edit(time_s: float, image: np.ndarray) -> np.ndarray:
        told.append(time_s)
        return image

    assert write_again(Video(source), tmp_path / "again.mp4", edit).pictures == 60
    again, before = shown(tmp_path / "again.mp4"), shown(source)
    assert [time for time, _ in again] == [time for time, _ in before] == told
    assert [picture_number(image) for _, image in again] == list(range(60))


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), 1, 240])
def test_rates_are_kept_exactly(rate: Fraction, render_clip: Render, tmp_path: Path) -> None:
    source = render_clip(frames=10, rate=rate)
    write_again(Video(source), tmp_path / "again.mp4", as_it_is)
    ends = []
    for path in (source, tmp_path / "again.mp4"):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            times = [p.pts * p.time_base for p in container.demux(stream) if p.pts is not None]
            assert sorted(times) == [n / Fraction(rate) for n in range(10)]
            ends.append(stream.duration * stream.time_base)
    assert ends[0] == ends[1]


def test_only_the_wanted_part_is_written(render_clip: Render, tmp_path: Path) -> None:
    video = Video(render_clip(), start=Fraction("0.51"), end=Fraction("1.2"))
    write_again(video, tmp_path / "part.mp4", as_it_is)
    part = shown(tmp_path / "part.mp4")
    assert [picture_number(image) for _, image in part] == list(range(12, 30))
    assert part[0][0] == 0  # the picture that is shown then
    assert part[1][0] == pytest.approx(0.52 - 0.51, abs=1e-4)


@pytest.mark.parametrize("sides", [(97, 63), (64, 63), (65, 48)])
def test_odd_sides_grow_by_one(sides: tuple[int, int], render_clip: Render, tmp_path: Path) -> None:
    width, height = sides
    source = render_clip("clip.mkv", frames=2, width=width, height=height, pix_fmt="yuv444p")
    seen: list[tuple[int, ...]] = []

    def edit(time_s: float, image: np.ndarray) -> np.ndarray:
        seen.append(image.shape)
        return np.full_like(image, 200)

    write_again(Video(source), tmp_path / "again.mp4", edit)
    assert seen == [(height, width, 3)] * 2
    for _, image in shown(tmp_path / "again.mp4"):
        assert image.shape == (height + height % 2, width + width % 2, 3)
        assert abs(image.astype(int) - 200).max() < 8  # also where it has grown


@pytest.mark.parametrize(
    ("made", "shape"),
    [
        ({"rotation": 90}, (320, 240, 3)),
        ({"rotation": 180}, (240, 320, 3)),
        ({"sample_aspect_ratio": Fraction(3, 2)}, (240, 480, 3)),
    ],
)
def test_pictures_are_written_as_they_are_shown(
    made: dict[str, object], shape: tuple[int, ...], render_clip: Render, tmp_path: Path
) -> None:
    source = render_clip(frames=3, **made)
    write_again(Video(source), tmp_path / "again.mp4", as_it_is)
    for (_, image), (_, before) in zip(shown(tmp_path / "again.mp4"), shown(source), strict=True):
        assert image.shape == before.shape == shape
        assert abs(image.astype(int) - before).mean() < 3
    with av.open(str(tmp_path / "again.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.height, frame.width, frame.rotation) == (*shape[:2], 0)


def test_colours_stay_what_they_are(tmp_path: Path, render_clip: Render) -> None:
    def paint(time_s: float, image: np.ndarray) -> np.ndarray:
        image[:] = (200, 40, 90)
        return image

    for name, made in (("a.mp4", {}), ("b.gif", {"codec": "gif", "pix_fmt": "rgb8", "rate": 10})):
        source = render_clip(name, frames=3, **made)
        write_again(Video(source), tmp_path / "again.mp4", paint)
        for _, image in shown(tmp_path / "again.mp4"):
            assert abs(image[:-1, :-1].astype(int) - (200, 40, 90)).max() < 6


def test_nothing_else_is_kept(render_clip: Render, tmp_path: Path) -> None:
    told = {"title": "Home", "creation_time": "2020-01-02T03:04:05Z", "location": "+48.1+011.5/"}
    source = render_clip("clip.mov", frames=3, metadata=told)
    write_again(Video(source), tmp_path / "again.mp4", as_it_is)
    content = (tmp_path / "again.mp4").read_bytes()
    assert b"Home" not in content and b"+48" not in content and b"2020" not in content
    with av.open(str(tmp_path / "again.mp4")) as container:
        assert not {"title", "creation_time", "location"} & container.metadata.keys()
        assert [stream.type for stream in container.streams] == ["video"]


def test_titles_of_sound_and_chapters_are_left_out(tmp_path: Path) -> None:
    made, source = Clip(".mkv").render(tmp_path / "made.mkv"), tmp_path / "told.mkv"
    with av.open(str(made)) as plain, av.open(str(source), "w") as container:
        copies = [container.add_stream_from_template(stream) for stream in plain.streams]
        for stream in copies:
            stream.metadata["title"] = "Home"
        container.set_chapters(
            [
                {
                    "id": 1,
                    "start": 0,
                    "end": 1000,
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": "Home"},
                }
            ]
        )
        for packet in plain.demux():
            if packet.pts is not None:
                packet.stream = copies[packet.stream_index]
                container.mux(packet)
    assert b"Home" in source.read_bytes()
    write_again(Video(source), tmp_path / "again.mp4", as_it_is)
    assert b"Home" not in (tmp_path / "again.mp4").read_bytes()


def test_damage_costs_what_is_damaged(render_clip: Render, tmp_path: Path) -> None:
    source = render_clip("clip.ts", frames=75, codec="mpeg2video", gop=10)
    content = bytearray(source.read_bytes())
    for at in range(len(content) // 3, len(content) // 2, 7):
        content[at] ^= 0x55
    source.write_bytes(content)
    number = write_again(Video(source), tmp_path / "again.mp4", as_it_is).pictures
    assert 20 < number < 75
    assert len(shown(tmp_path / "again.mp4")) == number


def test_what_cannot_be_written_is_told(render_clip: Render, tmp_path: Path) -> None:
    video = Video(render_clip(frames=3))
    with pytest.raises(OSError, match="No such file"):
        write_again(video, tmp_path / "nowhere" / "again.mp4", as_it_is)
    with pytest.raises(InputError, match="video"):
        write_again(Video(Path(__file__)), tmp_path / "again.mp4", as_it_is)
