"""Colour matrices that libswscale refuses, converted as near as can be.

The matrix is what a file says of its pictures (ITU-T H.273, MatrixCoefficients); it must not decide
whether they can be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import av.error
import av.video.frame
import numpy as np
from av.video.reformatter import VideoReformatter

from vmm_cli.errors import InputError

SCALING_THREADS = 1  # left to itself libav starts a thread for each core in each worker

_UNSPECIFIED, _BT709, _BT2020 = 2, 1, 9
YCGCO = 8
CONVERTIBLE = frozenset({0, 1, 2, 4, 5, 6, 7, 9})
# What stands in for a matrix: BT.2020 for its constant-luminance form and for the codings of HDR.
_STAND_INS = {10: _BT2020, 11: _BT2020, 14: _BT2020, 15: _BT2020}
# Matrices that follow from the primaries (12, 13): those of BT.709 and of BT.2020.
_FROM_PRIMARIES = {1: _BT709, 9: _BT2020}
_DERIVED = frozenset({12, 13})
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG

Interpolation = Literal["BICUBIC", "AREA"]


def is_approximate(matrix: int) -> bool:
    """Return True if colours of this matrix are converted by another one that is near."""
    return matrix not in CONVERTIBLE and matrix != YCGCO


def convertible(frame: av.video.frame.VideoFrame) -> av.video.frame.VideoFrame:
    """Return a decoded picture as libswscale can read it: most often as it is.

    What stands in for its matrix is written into the picture; YCgCo stays, for who wants it again.
    """
    matrix = frame.colorspace
    if matrix in CONVERTIBLE:
        return frame
    if matrix == YCGCO and not _is_rgb(frame):
        return _from_ycgco(frame)
    if matrix in _DERIVED:
        frame.colorspace = _FROM_PRIMARIES.get(frame.color_primaries, _UNSPECIFIED)
    else:
        frame.colorspace = _STAND_INS.get(matrix, _UNSPECIFIED)
    return frame


def _is_rgb(frame: av.video.frame.VideoFrame) -> bool:
    return frame.format.is_rgb


def _from_ycgco(frame: av.video.frame.VideoFrame) -> av.video.frame.VideoFrame:
    """Return a YCgCo picture as RGB (H.273, equations 44 to 47)."""
    frame.colorspace = _UNSPECIFIED
    planes = frame.reformat(format="yuv444p", threads=SCALING_THREADS).to_ndarray()  # [3, H, W]
    frame.colorspace = YCGCO
    y, cg, co = planes.astype(np.float32)
    if frame.color_range == _FULL_RANGE:
        cg, co = cg - 128, co - 128
    else:
        y = (y - 16) * (255 / 219)
        cg, co = (cg - 128) * (255 / 224), (co - 128) * (255 / 224)
    rgb = np.stack([y - cg + co, y + cg, y - cg - co], axis=-1)  # [H, W, 3]
    return av.video.frame.VideoFrame.from_ndarray(rgb.round().clip(0, 255).astype(np.uint8))


@dataclass(frozen=True, slots=True)
class Target:
    """What a picture is converted to. matrix, full_range None: as the picture has it."""

    width: int
    height: int
    pixel_format: str
    matrix: int | None = None
    full_range: bool | None = None
    interpolation: Interpolation = "BICUBIC"


def converted(
    reformatter: VideoReformatter, frame: av.video.frame.VideoFrame, target: Target
) -> av.video.frame.VideoFrame:
    """Return a picture scaled and converted.

    Raises:
        InputError: `unreadable`: its pixels are of a format that libswscale cannot read.
    """
    ranges = {None: None, True: "JPEG", False: "MPEG"}
    try:
        return reformatter.reformat(
            frame,
            target.width,
            target.height,
            target.pixel_format,
            dst_colorspace=target.matrix,
            dst_color_range=ranges[target.full_range],
            interpolation=target.interpolation,
            threads=SCALING_THREADS,
        )
    except MemoryError:  # libav's own, which is an FFmpegError too
        raise
    except (av.error.FFmpegError, ValueError) as error:
        message = f"a picture of the format {frame.format.name} cannot be converted: {error}"
        raise InputError("unreadable", message) from None
