"""Decoded pictures to JPEG, PNG and WebP files, by libav's own encoders.

JPEG and WebP take the decoder's YUV planes: scaling is the only conversion, no RGB in between.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import av
import av.error
import av.filter
import av.video.codeccontext
import av.video.frame
from av.video.reformatter import Colorspace, VideoReformatter

from vmm_cli.errors import InputError
from vmm_cli.media.colours import SCALING_THREADS, Target, converted
from vmm_cli.media.frames import Picture
from vmm_cli.media.orientation import UPRIGHT, Orientation

ImageFormat = Literal["jpg", "png", "webp"]

# 97 maps to the quantiser scale 3, what ffmpeg calls `-q:v 3`.
DEFAULT_QUALITY = {"jpg": 97, "webp": 90}
PNG_COMPRESSION_LEVEL = 3  # of 9; higher levels gain a few per cent for several times the work

# AVColorSpace values whose matrix JPEG's own (BT.601, by JFIF) stands for as it is: unspecified,
# BT.470BG, SMPTE 170M. All others are converted.
_JFIF_MATRICES = frozenset({2, 5, 6})
_INTRA = 1  # AV_PICTURE_TYPE_I

_TRANSPOSE = {1: "clock", 3: "cclock"}


def quantiser_scale(quality: int) -> int:
    """Return libav's JPEG quantiser scale, 2 (best) to 31, for a quality of 1 to 100.

    >>> quantiser_scale(97), quantiser_scale(100), quantiser_scale(1)
    (3, 2, 31)
    """
    return 2 + round((100 - quality) * 29 / 99)


@dataclass(slots=True)
class StillEncoder:
    """Encodes pictures to one image format; keeps its encoders from picture to picture.

    quality: 1 to 100, for jpg and webp; None takes the default of the format.
    """

    image_format: ImageFormat
    quality: int | None = None
    _reformatter: VideoReformatter = field(default_factory=VideoReformatter)
    _encoders: dict[tuple[int, int], av.video.codeccontext.VideoCodecContext] = field(
        default_factory=dict
    )
    _serial: int = 0

    def encode(self, picture: Picture) -> bytes:
        """Return a picture as shown as an image file. InputError `unreadable` if libav fails."""
        shape = picture.geometry
        try:
            frame = self._scaled(picture.frame, shape.coded_width, shape.coded_height)
            if shape.orientation != UPRIGHT:
                frame = _turned(frame, shape.orientation)
            encoder = self._encoder(frame.width, frame.height)
            # Each still stands alone; encoders only ask that their times ascend.
            frame.pts, frame.time_base = self._serial, encoder.time_base
            frame.pict_type = _INTRA
            self._serial += 1
            packets = encoder.encode(frame)
        except MemoryError:  # libav's own, which is an FFmpegError too
            raise
        except (av.error.FFmpegError, ValueError) as error:
            raise InputError("unreadable", f"a picture could not be encoded: {error}") from None
        return b"".join(bytes(packet) for packet in packets)

    def _scaled(
        self, frame: av.video.frame.VideoFrame, width: int, height: int
    ) -> av.video.frame.VideoFrame:
        if self.image_format == "png":
            return converted(self._reformatter, frame, Target(width, height, "rgb24"))
        jpeg = self.image_format == "jpg"
        # JPEG and WebP have no field for the matrix: readers take BT.601.
        matrix = None if frame.colorspace in _JFIF_MATRICES else Colorspace.ITU601
        target = Target(width, height, "yuvj420p" if jpeg else "yuv420p", matrix, jpeg)
        return converted(self._reformatter, frame, target)

    def _encoder(self, width: int, height: int) -> av.video.codeccontext.VideoCodecContext:
        encoder = self._encoders.get((width, height))
        if encoder is None:
            encoder = _open_encoder(self.image_format, width, height, self.quality)
            self._encoders[width, height] = encoder
        return encoder


def _open_encoder(
    image_format: ImageFormat, width: int, height: int, quality: int | None
) -> av.video.codeccontext.VideoCodecContext:
    name = {"jpg": "mjpeg", "png": "png", "webp": "libwebp"}[image_format]
    encoder = av.CodecContext.create(name, "w")
    assert isinstance(encoder, av.video.codeccontext.VideoCodecContext)
    encoder.width, encoder.height = width, height
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    if image_format == "png":
        encoder.pix_fmt = "rgb24"
        encoder.options = {"compression_level": str(PNG_COMPRESSION_LEVEL)}
        return encoder
    level = DEFAULT_QUALITY[image_format] if quality is None else quality
    if image_format == "jpg":
        encoder.pix_fmt = "yuvj420p"
        # A quantiser between equal bounds is what `-q:v` fixes it to.
        encoder.qmin = encoder.qmax = quantiser_scale(level)
    else:
        encoder.pix_fmt = "yuv420p"
        encoder.options = {"quality": str(level)}
    return encoder


def _turned(
    frame: av.video.frame.VideoFrame, orientation: Orientation
) -> av.video.frame.VideoFrame:
    """Return a picture mirrored and turned by quarters, in its own pixel format."""
    filters = ["hflip"] if orientation.mirrored else []
    turns = orientation.quarter_turns_clockwise
    filters += ["hflip", "vflip"] if turns == 2 else []
    filters += [f"transpose={_TRANSPOSE[turns]}"] if turns % 2 else []
    graph = av.filter.Graph()
    graph.threads = SCALING_THREADS
    nodes = [
        graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=Fraction(1, 25),
        )
    ]
    for name in filters:
        kind, _, argument = name.partition("=")
        nodes.append(graph.add(kind, argument or None))
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    frame.pts = 0
    graph.vpush(frame)
    return graph.vpull()
