"""A video written again with changed pictures: H.264 in MP4, each picture at its own time.

The times are those of the clock that players show, so that what comes late comes late again, and
pictures that last for different times do so again. Sound goes with them: see `kept_sound`. Nothing
else does: no title, no date, no place, no chapters, no captions, no covers.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import av.codec.codec
import av.container
import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vmm_cli.errors import InputError, ResourceError
from vmm_cli.media import sampling
from vmm_cli.media.colours import CONVERTIBLE, Target, converted
from vmm_cli.media.frames import FrameRequest, Picture, to_rgb
from vmm_cli.media.geometry import Geometry
from vmm_cli.media.kept_sound import Piece, kept_sound
from vmm_cli.media.video import Video

# Given the time (seconds on the video's clock) and the picture as shown, uint8 [H, W, 3] RGB, which
# it may change; returns it, or another one of its size.
Edit = Callable[[float, np.ndarray], np.ndarray]

ENCODER = "libx264"
# Half a gigabyte an hour at 720p; text stays sharp. `veryfast` takes a third of the time of the
# default, for files a tenth larger; looking fewer pictures ahead takes 150 MB less of 4K.
OPTIONS = {"preset": "veryfast", "crf": "20", "rc-lookahead": "4", "bframes": "2"}
THREADS = 2  # beside the one that decodes and draws
# Finer ticks are brought to this: MP4 counts how long a picture lasts in 32 bits.
FINEST_TICK = Fraction(1, 1_000_000)
USUAL_RATE = Fraction(25)
FASTEST_RATE = Fraction(1000)

_UNSPECIFIED, _BT601, _BT709, _RGB = 2, 5, 1, 0  # AVColorSpace
_LIMITED = 1  # AVCOL_RANGE_MPEG
_OF_THE_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.ENOENT}
)


@dataclass(frozen=True, slots=True)
class Again:
    """What was written: how many pictures, and whether there is any sound with them."""

    pictures: int
    sound: bool


def write_again(video: Video, path: Path, edit: Edit) -> Again:
    """Write a video's wanted part to `path`, an MP4.

    A picture of odd width or height gets a column or row more, the last one once more: what players
    decode everywhere (4:2:0) has even sides. All pictures have the size of the first one.

    Args:
        video: what is written.
        path: where to; a file there is overwritten.
        edit: changes each picture.

    Raises:
        InputError: the file cannot be read, or has pictures that cannot be encoded.
        ResourceError: this PyAV cannot encode H.264.
        OSError: it cannot be written.
    """
    number = 0
    options = {"movflags": "+faststart"}  # plays while it loads
    with _as_told(), av.open(os.fspath(path), "w", format="mp4", options=options) as container:
        pictures = _pictures(video)
        picture = next(pictures, None)
        if picture is None:
            raise InputError("past_end", "no picture is shown in the wanted part")
        with kept_sound(video, container) as sound:
            writer = _Writer(container, video, picture, sound)
            while picture is not None:
                following = next(pictures, None)
                number += writer.write(picture, following, edit)
                picture = following
            writer.finish()
    return Again(number, writer.with_sound)


@contextmanager
def _as_told() -> Iterator[None]:
    """Have libav's errors be those that `write_again` tells of."""
    try:
        yield
    except MemoryError:  # libav's own, which is an FFmpegError too
        raise
    except av.error.FFmpegError as error:
        if error.errno in _OF_THE_DISK:
            raise OSError(error.errno, os.strerror(error.errno)) from None
        raise InputError("unreadable", f"cannot be encoded: {error.strerror}") from None


def _pictures(video: Video) -> Iterator[Picture]:
    """Yield all pictures of the wanted part, first the one that is shown where it begins."""
    requests = [FrameRequest("all", sampling.all(start=video.start, end=video.end))]
    if video.start:
        first = sampling.at([0], start=video.start, end=video.end)
        requests.append(FrameRequest("first", first))
    last: int | None = None
    for picture in video.pictures(requests):
        if last is None or picture.pts > last:
            last = picture.pts
            yield picture


class _Writer:
    """Encodes pictures, and writes them in turn with the sound of the same time."""

    def __init__(
        self,
        container: av.container.OutputContainer,
        video: Video,
        first: Picture,
        sound: Iterator[Piece],
    ) -> None:
        self._container = container
        self._start = float(video.start)
        self._sound = sound
        self._piece = next(sound, None)
        self.with_sound = False
        self._size = first.geometry.width, first.geometry.height
        self._matrix = _matrix_of(first.frame)
        self._reading, self._writing = VideoReformatter(), VideoReformatter()
        self._stream = _stream(container, video, first)
        self._tick_s = self._stream.codec_context.time_base
        self._last: int | None = None

    def write(self, picture: Picture, following: Picture | None, edit: Edit) -> bool:
        """Write a picture; tell whether there was a place for it on the clock."""
        tick = self._tick(picture)
        if self._last is not None and tick <= self._last:
            return False
        self._last = tick
        self._write_sound(max(0.0, picture.time_s - self._start))
        image = edit(picture.time_s, to_rgb(self._fitted(picture), self._reading))
        frame = self._coded(image)
        frame.pts, frame.time_base = tick, self._tick_s
        frame.duration = self._length(picture, tick, following)
        self._container.mux(self._stream.encode(frame))
        return True

    def finish(self) -> None:
        """Write what is left."""
        self._container.mux(self._stream.encode(None))
        self._write_sound(float("inf"))

    def _tick(self, picture: Picture) -> int:
        time_s = max(0.0, picture.time_s - self._start)  # the first one may have begun before
        return round(time_s / self._tick_s)

    def _length(self, picture: Picture, tick: int, following: Picture | None) -> int:
        """Return for how many ticks a picture is shown."""
        if following is not None:
            return max(1, self._tick(following) - tick)
        frame = picture.frame
        if frame.duration and frame.time_base:
            return max(1, round(frame.duration * frame.time_base / self._tick_s))
        rate = self._stream.codec_context.framerate or USUAL_RATE
        return max(1, round(1 / (rate * self._tick_s)))

    def _write_sound(self, until_s: float) -> None:
        while self._piece is not None and self._piece.time_s <= until_s:
            self._container.mux(self._piece.packet)
            self.with_sound = True
            self._piece = next(self._sound, None)

    def _fitted(self, picture: Picture) -> Picture:
        """Return a picture that is shown at the size of the first one."""
        shape, (width, height) = picture.geometry, self._size
        if (shape.width, shape.height) == (width, height):
            return picture
        coded = (height, width) if shape.orientation.quarter_turns_clockwise % 2 else self._size
        return replace(picture, geometry=Geometry(*coded, width, height, shape.orientation))

    def _coded(self, image: np.ndarray) -> VideoFrame:
        """Return a picture as it is encoded: uint8 [H, W, 3] RGB."""
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        frame = VideoFrame.from_ndarray(image, format="rgb24")
        matrix = _BT601 if self._matrix == _UNSPECIFIED else self._matrix
        target = Target(frame.width, frame.height, "yuv420p", matrix, full_range=False)
        return converted(self._writing, frame, target)


def _matrix_of(frame: VideoFrame) -> int:
    """Return the matrix that pictures are coded by: their own, where they have one."""
    matrix = frame.colorspace
    return _BT709 if matrix == _RGB or matrix not in CONVERTIBLE else matrix


def _stream(container: av.container.OutputContainer, video: Video, first: Picture) -> VideoStream:
    """Return the stream that pictures like the first one are written to."""
    described = video.info.video[0]
    rate = Fraction(described.frame_rate or USUAL_RATE).limit_denominator(1001)
    rate = min(max(rate, Fraction(1)), FASTEST_RATE)
    try:
        stream = container.add_stream(ENCODER, rate=rate, options=OPTIONS)
    except av.codec.codec.UnknownCodecError:
        raise ResourceError(
            f"PyAV was built here without {ENCODER}, which videos are written with; "
            "install its wheel: pip install --force-reinstall --only-binary av av"
        ) from None
    assert isinstance(stream, VideoStream)
    codec, frame = stream.codec_context, first.frame
    codec.thread_count = THREADS
    codec.width, codec.height = (side + side % 2 for side in _size(first))
    codec.pix_fmt = "yuv420p"
    codec.time_base = max(frame.time_base or FINEST_TICK, FINEST_TICK)
    codec.colorspace = _matrix_of(frame)
    codec.color_range = _LIMITED
    codec.color_primaries, codec.color_trc = frame.color_primaries, frame.color_trc
    return stream


def _size(picture: Picture) -> tuple[int, int]:
    return picture.geometry.width, picture.geometry.height
