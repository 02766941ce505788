"""Stills are the shown picture: right size, right way up, right colours."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from PIL import Image

from vmm_cli.media import sampling
from vmm_cli.media.frames import FrameRequest, Picture, iter_frames, iter_pictures, to_rgb
from vmm_cli.media.geometry import Geometry, Size
from vmm_cli.media.orientation import UPRIGHT, Orientation
from vmm_cli.media.stills import StillEncoder, quantiser_scale

# The MPEG intra matrix in the order JPEG writes it, times the quantiser scale 3, over 8: what
# ffmpeg writes with -q:v 3.
QV3_START = [8, 6, 7, 8, 9, 10, 10, 12, 6, 6, 8, 9, 10, 10, 12, 13]


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("image_format", ["jpg", "png", "webp"])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_still_is_the_frame_as_shown(render_clip, image_format, rotation):
    clip = render_clip(frames=2, rotation=rotation, width=320, height=240)
    request = [FrameRequest("x", sampling.all(), Size(short=120))]
    (picture, *_) = iter_pictures(clip, request)
    (frame, *_) = iter_frames(clip, request)
    still = np.asarray(opened(StillEncoder(image_format).encode(picture)).convert("RGB"))
    assert still.shape == frame.image.shape
    assert np.abs(still.astype(int) - frame.image).mean() < 3


def test_default_jpeg_quality_is_that_of_qv_3(bikes):
    (picture, *_) = iter_pictures(bikes, [FrameRequest("x", sampling.at([0]))])
    image = opened(StillEncoder("jpg").encode(picture))
    assert image.quantization[0][:16] == QV3_START


@pytest.mark.parametrize("image_format", ["jpg", "webp"])
def test_quality_orders_sizes(bikes, image_format):
    (picture, *_) = iter_pictures(bikes, [FrameRequest("x", sampling.at([0]))])
    sizes = [len(StillEncoder(image_format, q).encode(picture)) for q in (5, 40, 80, 100)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] / 3


def shown(picture: Picture, image_format: str) -> np.ndarray:
    if image_format == "rgb":
        return to_rgb(picture, VideoReformatter())
    content = StillEncoder(image_format, None if image_format == "png" else 100).encode(picture)
    return np.asarray(opened(content).convert("RGB"))


@pytest.mark.parametrize("image_format", ["rgb", "jpg", "png", "webp"])
def test_scaling_is_bicubic(image_format):
    """Against another bicubic scaler: of noise, bilinear gives 35 dB and the nearest pixel 16."""
    noise = np.random.default_rng(1).integers(16, 240, (272, 640), dtype=np.uint8)
    frame = av.VideoFrame(640, 272, "yuvj420p")
    luma, *chroma = frame.planes
    luma.update(noise.tobytes())
    for plane in chroma:
        plane.update(bytes([128]) * plane.buffer_size)
    found = shown(
        Picture(0, 0.0, 0, True, frame, Geometry(320, 136, 320, 136, UPRIGHT)), image_format
    )
    truth = np.asarray(Image.fromarray(noise).resize((320, 136), Image.Resampling.BICUBIC))
    error = found.astype(float) - truth[..., None]
    assert 10 * np.log10(255**2 / (error**2).mean()) > 38


@pytest.mark.parametrize("image_format", ["rgb", "jpg", "png", "webp"])
@pytest.mark.parametrize(("full", "levels"), [(False, (16, 235)), (True, (0, 255))])
def test_black_is_black_and_white_is_white(image_format, full, levels):
    frame = av.VideoFrame(64, 64, "yuv420p")
    frame.color_range = 2 if full else 1
    black, white = levels
    luma, *chroma = frame.planes
    row = bytes([black] * 32 + [white] * 32).ljust(luma.line_size, b"\0")
    luma.update(row * 64)
    for plane in chroma:
        plane.update(bytes([128]) * plane.buffer_size)
    picture = Picture(0, 0.0, 0, True, frame, Geometry(64, 64, 64, 64, UPRIGHT))
    found = shown(picture, image_format)
    assert found[:, 2:30].max() <= 3
    assert found[:, 34:62].min() >= 252


def test_quantiser_scales_span_libavs_range():
    assert [quantiser_scale(q) for q in (1, 97, 100)] == [31, 3, 2]


MATRICES = {"bt709": (1, 0.2126, 0.0722), "bt601": (5, 0.299, 0.114), "bt2020": (9, 0.2627, 0.0593)}


@pytest.mark.parametrize("image_format", ["jpg", "png", "webp"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", MATRICES)
def test_colours_follow_the_declared_matrix_and_range(matrix, full, image_format):
    code, red, blue = MATRICES[matrix]
    truth = np.zeros((64, 64, 3), np.uint8)
    truth[:, :32], truth[:, 32:] = (200, 60, 30), (30, 180, 90)
    frame = av.VideoFrame(64, 64, "yuv444p")
    frame.colorspace, frame.color_range = code, 2 if full else 1
    for plane, values in zip(frame.planes, yuv(truth, red, blue, full), strict=True):
        padded = np.zeros((64, plane.line_size), np.uint8)
        padded[:, :64] = values
        plane.update(padded.tobytes())
    picture = Picture(0, 0.0, 0, True, frame, Geometry(64, 64, 64, 64, UPRIGHT))
    content = StillEncoder(image_format, None if image_format == "png" else 100).encode(picture)
    found = np.asarray(opened(content).convert("RGB")).astype(int)
    inside = (slice(8, -8), slice(4, 24))
    assert np.abs(found[inside] - truth[inside]).max() <= 6


def yuv(rgb: np.ndarray, red: float, blue: float, full: bool) -> list[np.ndarray]:
    r, g, b = (rgb[..., i].astype(float) for i in range(3))
    y = red * r + (1 - red - blue) * g + blue * b
    u, v = (b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))
    if full:
        planes = [y, u + 128, v + 128]
    else:
        planes = [y * 219 / 255 + 16, u * 224 / 255 + 128, v * 224 / 255 + 128]
    return [np.clip(np.round(p), 0, 255).astype(np.uint8) for p in planes]


def test_a_mirrored_picture_is_mirrored_back(bikes):
    (picture, *_) = iter_pictures(bikes, [FrameRequest("x", sampling.at([0]), Size(short=64))])
    shape = picture.geometry
    mirrored = Picture(
        0,
        0.0,
        0,
        True,
        picture.frame,
        Geometry(
            shape.coded_width, shape.coded_height, shape.width, shape.height, Orientation(0, True)
        ),
    )
    plain = np.asarray(opened(StillEncoder("png").encode(picture)))
    turned = np.asarray(opened(StillEncoder("png").encode(mirrored)))
    assert np.array_equal(plain[:, ::-1], turned)


def test_short_side_keeps_the_aspect_with_even_sizes():
    from vmm_cli.media.geometry import fit

    assert fit(1280, 720, Size(short=224)) == (398, 224)
    assert fit(720, 1280, Size(short=224)) == (224, 398)
    assert fit(101, 33, None) == (101, 33)
    assert fit(100, 1, Size(short=2)) == (200, 2)
    assert Fraction(398, 224) != Fraction(16, 9)  # even sizes cost a little aspect
