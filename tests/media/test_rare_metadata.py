"""Rare or changing metadata never ends a file: colour matrices, pixel aspects, channel layouts."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext

from vmm_cli.media import sampling
from vmm_cli.media.audio import iter_audio
from vmm_cli.media.colours import YCGCO, convertible
from vmm_cli.media.extent import extent
from vmm_cli.media.frames import FrameRequest, iter_frames, iter_pictures
from vmm_cli.media.layouts import one_channel
from vmm_cli.media.miniatures import iter_miniatures
from vmm_cli.media.probe import probe
from vmm_cli.media.stills import StillEncoder
from vmm_cli.media.video import Video

Render = Callable[..., Path]


def filtered(clip: Path, target: Path, *filters: str) -> Path:
    """Copy a clip's pictures, the k-th equal part of it through the k-th bit stream filter."""
    with av.open(os.fspath(clip)) as source, av.open(os.fspath(target), "w") as copy:
        stream = source.streams.video[0]
        out = copy.add_stream_from_template(stream)
        packets = [p for p in source.demux(stream) if p.size]
        share = len(packets) // len(filters)
        for k, name in enumerate(filters):
            change = BitStreamFilterContext(name, stream, out)
            last = None if k == len(filters) - 1 else (k + 1) * share
            for packet in packets[k * share : last]:
                for made in change.filter(packet):
                    made.stream = out
                    copy.mux(made)
    return target


def first(path: Path) -> np.ndarray:
    return next(iter(iter_frames(path, [FrameRequest("x", sampling.at([0.12]))]))).image


@pytest.mark.parametrize("matrix", [3, 8, 10, 11, 12, 13, 14, 15, 16, 17, 200, 254])
def test_any_colour_matrix_can_be_read(render_clip: Render, tmp_path: Path, matrix: int) -> None:
    clip = render_clip(frames=5)
    odd = filtered(clip, tmp_path / "odd.mp4", f"h264_metadata=matrix_coefficients={matrix}")
    assert first(odd).std() > 20
    assert len(list(iter_miniatures(Video(odd), sampling.all()))) == 5
    wanted = [FrameRequest(name, sampling.at([0.12])) for name in ("x", "y")]
    assert np.array_equal(*(frame.image for frame in iter_frames(odd, wanted)))
    (picture,) = iter_pictures(odd, [FrameRequest("x", sampling.at([0]))])
    for image_format in ("jpg", "png", "webp"):
        assert len(StillEncoder(image_format).encode(picture)) > 100
    assert bool(extent(odd).warnings()) == (10 <= matrix <= 17)  # libav knows no others


def test_constant_luminance_is_near_its_twin(render_clip: Render, tmp_path: Path) -> None:
    clip = render_clip(frames=5, codec="libx264")
    pair = [
        first(filtered(clip, tmp_path / f"{m}.mp4", f"h264_metadata=matrix_coefficients={m}"))
        for m in (9, 10)
    ]
    assert np.array_equal(*pair)


@pytest.mark.parametrize("full", [False, True])
def test_ycgco_gives_the_colours_that_went_in(full: bool) -> None:
    """H.273: Y = R/4 + G/2 + B/4, Cg = -R/4 + G/2 - B/4, Co = R/2 - B/2."""
    rgb = np.zeros((16, 48, 3), np.float32)
    rgb[:, :16], rgb[:, 16:32], rgb[:, 32:] = (200, 40, 90), (10, 240, 100), (128, 128, 128)
    r, g, b = np.moveaxis(rgb, -1, 0)
    luma, green, orange = r / 4 + g / 2 + b / 4, -r / 4 + g / 2 - b / 4, r / 2 - b / 2
    scale, low, wide = (1, 0, 1) if full else (219 / 255, 16, 224 / 255)
    planes = np.stack([luma * scale + low, green * wide + 128, orange * wide + 128])
    frame = av.VideoFrame.from_ndarray(planes.round().astype(np.uint8), format="yuv444p")
    frame.colorspace, frame.color_range = YCGCO, 2 if full else 1
    shown = convertible(frame).to_ndarray(format="rgb24").astype(int)
    assert np.abs(shown - rgb).max() <= 4


@pytest.mark.parametrize(
    ("codec", "aspects", "expected"),
    [
        ("libx264", (Fraction(16, 15), Fraction(64, 45)), (171, 228)),
        ("mpeg2video", (Fraction(8, 15), Fraction(32, 45)), (85, 114)),
    ],
)
def test_each_picture_has_its_own_aspect(
    render_clip: Render,
    tmp_path: Path,
    codec: str,
    aspects: tuple[Fraction, Fraction],
    expected: tuple[int, int],
) -> None:
    """Two parts of a transport stream, as where a broadcast goes from 4:3 to 16:9."""
    parts = []
    for n, aspect in enumerate(aspects):
        clip = render_clip(
            f"{n}.ts",
            codec=codec,
            width=160,
            height=64,
            options={"bf": "2"},
            sample_aspect_ratio=aspect,
        )
        parts.append(clip.read_bytes())
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(parts))
    widths = [f.image.shape[1] for f in iter_frames(joined, [FrameRequest("x", sampling.all())])]
    assert widths == [expected[0]] * 50 + [expected[1]] * 50
    late = next(iter(iter_frames(joined, [FrameRequest("x", sampling.at([3]))])))
    assert late.image.shape[1] == expected[1]


def write_sound(path: Path, layout: str, codec: str, samples: np.ndarray) -> Path:
    """Write float samples [channels, N] at 16 kHz."""
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream(codec, rate=16000, layout=layout)
        given = (samples * 32767).astype(np.int16).T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(given, format="s16", layout=layout)
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["sound.mov", "sound.caf", "sound.wav"])
@pytest.mark.parametrize("layout", ["stereo", "5.1", "6.1", "7.1", "7.1(wide)"])
def test_no_layout_of_channels_ends_the_process(tmp_path: Path, name: str, layout: str) -> None:
    channels = av.AudioLayout(layout).nb_channels
    wave = np.sin(np.arange(16000) / 5)[None].repeat(channels, 0) * 0.5
    path = write_sound(tmp_path / name, layout, "pcm_s16le", wave)
    for _ in range(3):
        (sound,) = probe(path).audio
        assert sound.channels == channels
        heard = np.concatenate([block.samples for block in iter_audio(path, 16000)])
        assert len(heard) == pytest.approx(16000, abs=16)
        assert np.abs(heard).max() > 0.2


@pytest.mark.parametrize("layout", ["60C", "24C"])
def test_channels_without_places_are_heard(tmp_path: Path, layout: str) -> None:
    channels = av.AudioLayout(layout).nb_channels
    wave = np.sin(np.arange(16000) / 5)[None].repeat(channels, 0) * 0.5
    path = write_sound(tmp_path / "sound.mkv", layout, "pcm_s16le", wave)
    heard = np.concatenate([block.samples for block in iter_audio(path, 16000)])
    assert len(heard) == pytest.approx(16000, abs=16)
    assert np.abs(heard).max() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("form", ["s16", "s16p", "flt", "fltp", "u8"])
def test_of_ambisonic_sound_the_first_channel_is_heard(form: str) -> None:
    """W of B-format, which has the sound from all around."""
    whole = {"s16": (2**15, 0, np.int16), "flt": (1, 0, np.float32), "u8": (128, 128, np.uint8)}
    scale, middle, kind = whole[form.removesuffix("p")]
    wave = np.zeros((4, 1000))
    wave[0], wave[1] = 0.5 * np.sin(np.arange(1000) / 5), 0.25
    given = (wave * scale + middle).astype(kind)
    laid = given if form.endswith("p") else np.ascontiguousarray(given.T.reshape(1, -1))
    frame = av.AudioFrame.from_ndarray(laid, format=form, layout="ambisonic 1")
    assert np.abs(one_channel(frame) - wave[0]).max() < 0.02
