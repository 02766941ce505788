"""Stills as videos of one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

import vmm_cli as vmm
from vmm_cli.media.frames import FrameRequest, iter_frames
from vmm_cli.media.sampling import every
from vmm_cli.media.source import open_media
from vmm_cli.media.still_files import still_demuxer
from vmm_cli.media.video import Video

SIZE = (70, 44)
KINDS = (".jpg", ".png", ".webp")
CAP = 10**6


def drawn(path: Path, mode: str = "RGB", **saving: Any) -> Path:
    """Save a picture whose left half is red and whose right half is blue."""
    picture = Image.new("RGB", SIZE, (200, 30, 30))
    picture.paste((30, 30, 200), (SIZE[0] // 2, 0, *SIZE))
    picture.convert(mode).save(path, **saving)
    return path


def only_picture(path: Path) -> np.ndarray:
    (frame,) = vmm.frames(path)
    assert frame.time_s == 0
    return frame.image


@pytest.mark.parametrize("suffix", KINDS)
def test_a_still_is_a_video_of_one_picture(tmp_path: Path, suffix: str) -> None:
    image = only_picture(drawn(tmp_path / f"a{suffix}", quality=95))
    assert image.shape == (SIZE[1], SIZE[0], 3)
    assert image[20, 10, 0] > 150 > image[20, 60, 0]  # red, then blue
    assert image[20, 60, 2] > 150 > image[20, 10, 2]


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_and_mirrored_as_pillow_does(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / f"a{suffix}"
    picture = Image.new("RGB", SIZE, (200, 30, 30))
    picture.paste((30, 30, 200), (SIZE[0] // 2, 0, *SIZE))
    picture.paste((30, 200, 30), (0, 0, SIZE[0] // 2, SIZE[1] // 2))  # no two sides are alike
    picture.save(path, exif=exif, quality=95)
    with Image.open(path) as stored:
        wanted = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"), int)
    image = only_picture(path)
    assert image.shape == wanted.shape
    assert np.abs(image - wanted).mean() < 8
    info = Video(path).info.video[0]
    assert (info.display_width, info.display_height) == (wanted.shape[1], wanted.shape[0])


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "I;16"])
def test_pixels_of_all_kinds(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    if mode == "I;16":
        Image.fromarray(np.full((44, 70), 40000, np.uint16)).save(path)
    else:
        drawn(path, mode)
    assert only_picture(path).shape == (SIZE[1], SIZE[0], 3)


def test_one_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    """libav makes up the missing part of a JPEG."""
    noise = Image.effect_noise((64, 64), 60)
    for suffix in KINDS:
        path = tmp_path / f"a{suffix}"
        noise.save(path, lossless=True)
        whole = path.read_bytes()
        for share in (0.9, 0.5, 0.1):
            path.write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(vmm.InputError, match=r"cut short|no picture"):
                only_picture(path)


def test_a_thumbnail_s_end_is_not_the_picture_s(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    thumbnail = drawn(tmp_path / "small.jpg").read_bytes()
    drawn(path, comment=thumbnail)
    assert only_picture(path).shape == (SIZE[1], SIZE[0], 3)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(vmm.InputError, match="cut short"):
        only_picture(path)


def test_what_moves_is_no_still(tmp_path: Path) -> None:
    frames = [Image.new("RGB", SIZE, colour) for colour in ("red", "green", "blue")]
    moving = tmp_path / "a.webp"
    frames[0].save(moving, save_all=True, append_images=frames[1:], duration=100)
    with pytest.raises(vmm.InputError, match="a WebP that moves"):
        only_picture(moving)
    for suffix in (".png", ".gif"):
        path = tmp_path / f"a{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
        assert still_demuxer(path, CAP) is None
        assert len(list(vmm.frames(path, every=0.1))) == 3


@pytest.mark.parametrize("suffix", KINDS)
def test_the_cap_is_said_before_anything_is_decoded(tmp_path: Path, suffix: str) -> None:
    path = drawn(tmp_path / f"a{suffix}")
    with (
        pytest.raises(vmm.InputError, match="are 70x44, above the cap of 3000 pixels"),
        open_media(path, max_pixels=3000),
    ):
        pass
    # Exactly as many as it has: decoders pad widths to 64.
    exact = SIZE[0] * SIZE[1]
    assert len(list(iter_frames(path, [FrameRequest("", every(1))], max_pixels=exact))) == 1


@pytest.mark.parametrize("kind", ["lossy", "lossless", "alpha"])
def test_the_size_of_each_kind_of_webp(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.webp"
    drawn(path, "RGBA" if kind == "alpha" else "RGB", lossless=kind == "lossless")
    if kind == "alpha":
        Image.new("RGBA", SIZE, (1, 2, 3, 4)).save(path)
    with pytest.raises(vmm.InputError, match="are 70x44"):
        still_demuxer(path, 3000)


def test_more_than_the_library_decodes(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("1", (16_300, 16_500)).save(path)
    with pytest.raises(vmm.InputError, match="more than the library decodes"):
        still_demuxer(path, 10**10)


def test_a_stream_of_jpegs_is_no_still(tmp_path: Path) -> None:
    picture = drawn(tmp_path / "a.jpg").read_bytes()
    stream = tmp_path / "a.mjpeg"
    stream.write_bytes(picture * 3)
    assert still_demuxer(stream, CAP) is None
