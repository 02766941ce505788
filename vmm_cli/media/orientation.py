"""How a coded picture must be turned, mirrored and stretched to be shown.

>>> quarter_turn = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
>>> display_matrix(quarter_turn)
Orientation(quarter_turns_clockwise=1, mirrored=False)
>>> display_size(720, 576, Fraction(16, 15), display_matrix(quarter_turn))
(576, 768)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av.error
from av.filter import Graph

if TYPE_CHECKING:
    from av.buffer import Buffer
    from av.video.frame import VideoFrame

# A pixel more oblong than this is a damaged number, and obeying it would ask for huge pictures.
MAX_SAMPLE_ASPECT = 16
_EXIF = 31  # AV_FRAME_DATA_EXIF
SMALL = 8  # pixels to a side of a picture that only its side data is wanted of


@dataclass(frozen=True, slots=True)
class Orientation:
    """Mirror left to right first where `mirrored`, then turn by quarters clockwise (0 to 3).

    In numpy: `np.rot90(image[:, ::-1] if mirrored else image, -quarter_turns_clockwise)`.
    """

    quarter_turns_clockwise: int = 0
    mirrored: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.quarter_turns_clockwise <= 3:
            raise ValueError(f"quarter turns are 0 to 3, got {self.quarter_turns_clockwise}")


UPRIGHT = Orientation()


def display_matrix(matrix: Sequence[int]) -> Orientation:
    """Read the 3x3 display matrix, nine int32 row by row; angles go to the nearest quarter.

    The matrix maps (x, y, 1), a row vector with y downwards, from the coded to the shown picture
    (ISO/IEC 14496-12, TrackHeaderBox). One that would flatten the picture counts as no matrix.
    ValueError unless there are nine numbers.
    """
    if len(matrix) != 9:
        raise ValueError(f"a display matrix has 9 numbers, got {len(matrix)}")
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    determinant = a * d - b * c
    if determinant == 0:
        return UPRIGHT
    mirrored = determinant < 0
    if mirrored:  # take the mirror out: it comes first and turns x round
        a, b = -a, -b
    clockwise = math.atan2(b - c, a + d)  # the turn that a, b and c, d share
    return Orientation(round(clockwise / (math.pi / 2)) % 4, mirrored)


def frame_orientation(frame: VideoFrame) -> Orientation:
    """Return how a decoded picture must be turned, from its display matrix or EXIF data."""
    small = _small_copy(frame)
    try:
        matrix = _matrix(small)
    except ValueError:
        # PyAV 18.1 cannot list the side data of a frame that has a kind it does not know (EXIF).
        try:
            matrix = _matrix(_without_exif(small))
        except (av.error.FFmpegError, ValueError):
            # The angle is then all there is. libav counts it counterclockwise.
            return Orientation(round(-frame.rotation / 90) % 4)
    if matrix is None:
        return UPRIGHT
    numbers = memoryview(matrix).cast("B").cast("i")
    return display_matrix(numbers.tolist()) if len(numbers) == 9 else UPRIGHT


def _matrix(frame: VideoFrame) -> Buffer | None:
    """Return a frame's display matrix. ValueError where PyAV cannot list its side data."""
    # PyAV's stub knows of motion vectors alone; each kind of side data is a buffer
    return cast("Buffer | None", frame.side_data.get("DISPLAYMATRIX"))


def _without_exif(frame: VideoFrame) -> VideoFrame:
    """Return a frame without its EXIF data, whose orientation libav has made a matrix of."""
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=Fraction(1),
        ),
        graph.add("sidedata", f"mode=delete:type={_EXIF}"),
        graph.add("buffersink"),
    ).configure()
    graph.push(frame)
    return cast("VideoFrame", graph.pull())


def _small_copy(frame: VideoFrame) -> VideoFrame:
    """Return a tiny picture with the same side data, or the frame itself where that fails.

    PyAV ties a frame whose side data is looked at into a reference cycle. It would hold the
    decoder's pictures until the garbage collector comes round: megabytes for each opened file.
    """
    try:
        return frame.reformat(width=SMALL, height=SMALL, format="gray", threads=1)
    except (av.error.FFmpegError, ValueError):  # a format that libswscale cannot read
        return frame


def sensible_aspect(sample_aspect: Fraction | None) -> Fraction:
    """Return the pixel's width over its height; 1 where it is unknown or cannot be true."""
    if sample_aspect is None or sample_aspect <= 0:
        return Fraction(1)
    if not Fraction(1, MAX_SAMPLE_ASPECT) <= sample_aspect <= MAX_SAMPLE_ASPECT:
        return Fraction(1)
    return Fraction(sample_aspect)


def display_size(
    width: int,
    height: int,
    sample_aspect: Fraction | None = None,
    orientation: Orientation = UPRIGHT,
) -> tuple[int, int]:
    """Return (width, height) in square pixels after turning; players stretch the width.

    Not forced to even numbers.
    """
    square = max(1, int(width * sensible_aspect(sample_aspect) + Fraction(1, 2)))
    if orientation.quarter_turns_clockwise % 2:
        return height, square
    return square, height
