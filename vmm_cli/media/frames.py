"""Decode the pictures that are wanted, and as few others as the stream allows.

One decode serves several requests. Three things keep it cheap, none of which changes a picture:

- packets are read a little ahead, so that it is known before decoding which picture is shown when;
- pictures that nothing wanted refers to are skipped inside the decoder (`skip_frame = NONREF`);
- where the next wanted time lies behind a later keyframe, the decoder restarts there: by seeking
  where the container has an index, else by dropping the packets in between unread by the decoder.

Packets are decoded one by one, so that a bad packet costs its own picture and not the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av.video.frame
import numpy as np
from av.video.reformatter import VideoReformatter

from vmm_cli.errors import InputError
from vmm_cli.media import damage
from vmm_cli.media.colours import Target, converted, convertible
from vmm_cli.media.decode_report import DecodeReport as DecodeReport  # given to callers
from vmm_cli.media.decoding import DecodeState, begin_reading, decode
from vmm_cli.media.extent import video_end_s
from vmm_cli.media.geometry import Geometry, Size, geometry
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.media.orientation import Orientation
from vmm_cli.media.packets import TIMED_FORMATS, PacketReader
from vmm_cli.media.sampling import Sampling, needs_duration
from vmm_cli.media.shown_frames import ShownFrame
from vmm_cli.media.source import open_media, require_video_stream
from vmm_cli.media.trust import Distrust, distrust, trust_in


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """What one consumer wants: which times, at which size (None: the display size)."""

    name: str
    sampling: Sampling
    size: Size | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """One shown picture.

    time_s: seconds on the video's clock; pts: in the stream's ticks; image: uint8 [H, W, 3] RGB,
    rotated and with square pixels, as a player shows it.
    """

    request: str
    time_s: float
    pts: int
    keyframe: bool
    image: np.ndarray

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"Frame({self.request!r}, {self.time_s:.3f} s, {width}x{height})"


@dataclass(frozen=True, slots=True)
class Picture:
    """One shown picture as it left the decoder; `request` is an index into the requests."""

    request: int
    time_s: float
    pts: int
    keyframe: bool
    frame: av.video.frame.VideoFrame
    geometry: Geometry


def iter_frames(
    path: Path,
    requests: Sequence[FrameRequest],
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    report: DecodeReport | None = None,
) -> Iterator[Frame]:
    """Yield the wanted pictures of a video, in time order, each at most once per request.

    The picture for a wanted time is the one shown then: the largest time not after it; before the
    first picture, the first. Rotation and pixel aspect are applied, colours follow the matrix and
    range that the stream declares, scaling is bicubic.

    Raises:
        InputError: `missing`, `refused`, `unreadable` (also: no picture could be decoded),
            `no_video`.
    """
    reformatter = VideoReformatter()
    for picture in iter_pictures(path, requests, max_pixels=max_pixels, report=report):
        yield Frame(
            requests[picture.request].name,
            picture.time_s,
            picture.pts,
            picture.keyframe,
            to_rgb(picture, reformatter),
        )


def to_rgb(picture: Picture, reformatter: VideoReformatter) -> np.ndarray:
    """Return the picture as shown: uint8 [H, W, 3] RGB."""
    shape = picture.geometry
    target = Target(shape.coded_width, shape.coded_height, "rgb24")
    scaled = converted(reformatter, picture.frame, target)
    return upright(scaled.to_ndarray(), shape.orientation)


def upright(image: np.ndarray, orientation: Orientation) -> np.ndarray:
    """Return a coded picture [H, W, C] turned the way a player shows it, contiguous."""
    if orientation.mirrored:
        image = image[:, ::-1]
    return np.ascontiguousarray(np.rot90(image, -orientation.quarter_turns_clockwise))


def iter_pictures(
    path: Path,
    requests: Sequence[FrameRequest],
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    report: DecodeReport | None = None,
) -> Iterator[Picture]:
    """Yield decoded pictures as `iter_frames` does, unconverted. For code inside `media`."""
    report = DecodeReport() if report is None else report
    counted = None
    samplings = [r.sampling for r in requests]
    if any(map(needs_duration, samplings)):
        counted = video_end_s(path, max_pixels=max_pixels)
    trust = trust_in(path)
    state: DecodeState | None = None
    while True:  # again, from the start, where a claim of the container turns out to be wrong
        with open_media(path, max_pixels=max_pixels) as container:
            stream = require_video_stream(container, max_pixels=max_pixels)
            if state is None:
                state = DecodeState.of(path, container, stream, samplings, counted, report)
            try:
                reading = begin_reading(container, stream, trust, state, report)
                for request, shown in decode(reading):
                    yield _picture(request, shown, requests[request].size, state)
                break
            except Distrust as doubt:
                trust = distrust(path, doubt.claim)
            finally:
                # Closed before the container: a decoder left with packets inside can hang at exit.
                if stream.codec_context.is_open:
                    stream.codec_context.flush_buffers()
    damage.note(path, report.gaps)
    for wish, cursor in zip(requests, state.cursors, strict=True):
        if cursor.past_end:
            report.past_end[wish.name] = [state.clock.seconds(t) for t in cursor.past_end]
    if report.decoded == 0 and report.skipped_packets:
        raise InputError(
            "unreadable",
            f"no picture could be decoded ({report.skipped_packets} bad packets)",
        )
    if report.decoded == 0 and not report.passed_over:
        raise InputError("unreadable", "no picture came out of its video stream")


def _picture(request: int, shown: ShownFrame, size: Size | None, state: DecodeState) -> Picture:
    frame = shown.frame
    orientation = state.orientations.of(frame)
    return Picture(
        request,
        state.clock.seconds(shown.pts),
        shown.pts,
        shown.keyframe,
        convertible(frame),
        geometry(frame.width, frame.height, shown.aspect, orientation, size),
    )


def times_every_picture(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> bool:
    """Tell whether every picture of a video has a time before it is decoded.

    Then any stretch of the video can be decoded without what comes before its first keyframe, and
    none of its pictures is missed or taken for another one's.

    Raises:
        InputError: as `iter_frames`.
    """
    with open_media(path, max_pixels=max_pixels) as container:
        stream = require_video_stream(container, max_pixels=max_pixels)
        if container.format.name not in TIMED_FORMATS:
            return False
        # Matroska that was made from AVI has decoding times alone.
        return PacketReader(container, stream).all_timed()
