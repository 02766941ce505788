"""Decode the pictures that are wanted, and as few others as the stream allows.

One decode serves several requests. Three things keep it cheap, none of which changes a picture:

- packets are read a little ahead, so that it is known before decoding which picture is shown when;
- pictures that nothing wanted refers to are skipped inside the decoder (`skip_frame = NONREF`);
- where the next wanted time lies behind a later keyframe, the decoder restarts there: by seeking
  where the container has an index, else by dropping the packets in between unread by the decoder.

Packets are decoded one by one, so that a bad packet costs its own picture and not the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av.container
import av.error
import av.video.frame
import av.video.stream
import numpy as np
from av.video.reformatter import VideoReformatter

from vmm_cli import progress
from vmm_cli.errors import InputError
from vmm_cli.media.cursor import Cursor
from vmm_cli.media.ending import (
    declared_end_s,
    declared_is_there,
    latest_end_s,
    near_end_ticks,
    read_end_ticks,
)
from vmm_cli.media.geometry import Geometry, Size, geometry
from vmm_cli.media.numbering import PictureNumbers
from vmm_cli.media.orientation import Orientation, frame_orientation
from vmm_cli.media.packets import (
    TIMED_FORMATS,
    Clock,
    KeyframeJump,
    PacketReader,
    picture_ticks,
)
from vmm_cli.media.sampling import Sampling, needs_duration
from vmm_cli.media.source import DEFAULT_MAX_PIXELS, open_media, require_video_stream

if TYPE_CHECKING:
    from vmm_cli.media.packets import VideoPacket

# Work is spread over processes; left to itself libav starts a thread for each core in each of them.
SCALING_THREADS = 1
# AVFieldOrder: unknown, progressive.
PROGRESSIVE_FIELD_ORDERS = frozenset({0, 1})


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


@dataclass(slots=True)
class DecodeReport:
    """What happened while decoding; complete once the iterator has ended.

    passed_over: packets that were read and not decoded, as nothing wanted them. duration_s: what
    the file declares (None: nothing); end_s: where the last picture seen ends; both in seconds on
    the clock. past_end: per request the wanted times (seconds) at which the video has nothing to
    show.
    """

    decoded: int = 0
    passed_over: int = 0
    skipped_packets: int = 0
    duration_s: float | None = None
    end_s: float | None = None
    past_end: dict[str, list[float]] = field(default_factory=dict)


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
    scaled = reformatter.reformat(
        picture.frame,
        shape.coded_width,
        shape.coded_height,
        "rgb24",
        interpolation="BICUBIC",
        threads=SCALING_THREADS,
    )
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
    if any(needs_duration(r.sampling) for r in requests):
        counted = video_end_s(path, max_pixels=max_pixels)
    with open_media(path, max_pixels=max_pixels) as container:
        stream = require_video_stream(container, max_pixels=max_pixels)
        clock = Clock.of(container, stream)
        declared = declared_end_s(container, stream)
        report.duration_s = None if declared is None else float(declared)
        # Knowing by when the pictures end saves looking for more.
        known_end = latest_end_s(stream, clock, declared)
        cursors = [
            Cursor(r.sampling, counted if needs_duration(r.sampling) else known_end, clock)
            for r in requests
        ]
        orientations = _Orientations()
        try:
            for request, frame, pts in _decode(container, stream, clock, cursors, report):
                shape = geometry(
                    frame.width,
                    frame.height,
                    stream.sample_aspect_ratio,
                    orientations.of(frame),
                    requests[request].size,
                )
                yield Picture(request, clock.seconds(pts), pts, bool(frame.key_frame), frame, shape)
        finally:
            # Closed before the container: a decoder left with packets inside can hang at exit.
            if stream.codec_context.is_open:
                stream.codec_context.flush_buffers()
        for wish, cursor in zip(requests, cursors, strict=True):
            if cursor.past_end:
                report.past_end[wish.name] = [clock.seconds(t) for t in cursor.past_end]
        if report.decoded == 0 and report.skipped_packets:
            raise InputError(
                "unreadable",
                f"no picture could be decoded ({report.skipped_packets} bad packets)",
            )
        if report.decoded == 0 and not report.passed_over:
            raise InputError("unreadable", "no picture came out of its video stream")


def video_end_s(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Fraction:
    """Return where the pictures of a video end, in seconds on its clock.

    What the file declares where its index shows that all of it is there; else what the packets of
    its last seconds say, or where that says nothing those of the whole file. Nothing is decoded.

    Raises:
        InputError: as `iter_frames`.
    """
    with open_media(path, max_pixels=max_pixels) as container:
        stream = require_video_stream(container, max_pixels=max_pixels)
        clock = Clock.of(container, stream)
        declared = declared_end_s(container, stream)
        if declared is not None:
            if declared_is_there(container, stream, clock, declared):
                return declared
            near = near_end_ticks(container, stream, clock, declared)
            if near > clock.origin_ticks:
                end = read_end_ticks(container, stream, clock, near)
                if end is not None:
                    return clock.exact_seconds(end)
    with open_media(path, max_pixels=max_pixels) as container:
        stream = require_video_stream(container, max_pixels=max_pixels)
        clock = Clock.of(container, stream)
        end = read_end_ticks(container, stream, clock, None)
        return Fraction(0) if end is None else clock.exact_seconds(end)


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


@dataclass(slots=True)
class _Orientations:
    """Which way up a stream's pictures are, asked anew only where their angle changes.

    Looking at a frame's side data takes a copy of it: see `frame_orientation`.
    """

    _by_angle: dict[int, Orientation] = field(default_factory=dict)

    def of(self, frame: av.video.frame.VideoFrame) -> Orientation:
        angle = frame.rotation
        if angle not in self._by_angle:
            self._by_angle[angle] = frame_orientation(frame)
        return self._by_angle[angle]


def _decode(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    clock: Clock,
    cursors: Sequence[Cursor],
    report: DecodeReport,
) -> Iterator[tuple[int, av.video.frame.VideoFrame, int]]:
    """Yield (request, decoded frame, pts) for every wanted picture, in time order."""
    reader = PacketReader(container, stream)
    jump = KeyframeJump(reader, stream, clock)
    numbers = PictureNumbers(stream, clock)
    shown = _Shown(cursors, numbers, stream)
    # Two packets of one field each may make a picture: skipping one would leave half of it.
    fields = stream.codec_context.field_order not in PROGRESSIVE_FIELD_ORDERS
    only_keyframes = all(c.kind == "keyframes" for c in cursors)
    watch = _watch(container, clock, cursors)
    while True:
        upcoming = reader.peek()
        position = reader.earliest(default=clock.origin_ticks)
        unfed = [t for c in cursors if (t := c.first_unfed(position)) is not None]
        served = not unfed and shown.any_seen
        # Draining between the fields of a wanted picture would lose it: wait until it is out.
        whole = not fields or not any(c.awaits_picture() for c in cursors)
        if upcoming is None or served or (unfed and whole and jump.pays(min(unfed), upcoming)):
            frames = _drain(stream, report)
            if jump.back_off(frames):
                _start_over(cursors)
                continue
            for frame in frames:
                yield from shown.take(frame, reader)
            if upcoming is None or served:
                break
            shown.segment_ends(min(unfed))
            yield from shown.answered()
            jump.make(min(unfed))
        packet = reader.take()
        if packet is None:
            break
        watch(packet)
        if only_keyframes and not packet.is_keyframe and packet.pts is not None and not fields:
            report.passed_over += 1
            continue
        wanted = _is_wanted(packet, reader, cursors) or not shown.any_seen or fields
        stream.codec_context.skip_frame = "DEFAULT" if wanted else "NONREF"
        if packet.pts is None:
            numbers.note(packet)
        frames = _decode_packet(packet, report)
        if frames and jump.back_off(frames):
            _start_over(cursors)
            continue
        for frame in frames:
            yield from shown.take(frame, reader)
    shown.stream_ends(complete=reader.at_end())
    yield from shown.answered()
    report.end_s = None if shown.end is None else clock.seconds(shown.end)


def _watch(
    container: av.container.InputContainer, clock: Clock, cursors: Iterable[Cursor]
) -> Callable[[VideoPacket], None]:
    """Return what tells how far reading is, by the time of a packet or else by its place."""
    firsts, lasts = zip(*(cursor.span_s for cursor in cursors), strict=True)
    ends = [last for last in lasts if last is not None]
    if len(ends) < len(lasts):
        tell_place = progress.begin(0, container.size, seconds=False)
        return lambda packet: tell_place(packet.pos or 0)
    tell_time = progress.begin(min(firsts), max(ends))
    origin, tick_s = clock.origin_ticks, float(clock.time_base)
    return lambda packet: tell_time(((packet.dts or origin) - origin) * tick_s)


def _start_over(cursors: Iterable[Cursor]) -> None:
    for cursor in cursors:
        cursor.start_over()


def _is_wanted(packet: VideoPacket, reader: PacketReader, cursors: Iterable[Cursor]) -> bool:
    if packet.is_discard:
        return True  # an edit list plays none of it, but later pictures may refer to it
    if packet.pts is None:
        return True  # without a presentation time nothing can be said before decoding
    following = reader.next_time(packet.pts)
    wanted = False
    for cursor in cursors:  # each notes what it is given
        wanted |= cursor.wants(packet.pts, following, packet.is_keyframe)
    return wanted


def _decode_packet(packet: VideoPacket, report: DecodeReport) -> list[av.video.frame.VideoFrame]:
    try:
        frames = packet.decode()
    except (av.error.FFmpegError, ValueError):
        report.skipped_packets += 1
        return []
    report.decoded += len(frames)
    return frames


def _drain(
    stream: av.video.stream.VideoStream, report: DecodeReport
) -> list[av.video.frame.VideoFrame]:
    """Return the pictures that the decoder still holds; it then needs a flush before more."""
    if not stream.codec_context.is_open:
        return []
    try:
        frames = stream.codec_context.decode(None)
    except (av.error.FFmpegError, ValueError):
        return []
    report.decoded += len(frames)
    return frames


class _Shown:
    """Assigns decoded pictures to wanted times."""

    def __init__(
        self,
        cursors: Sequence[Cursor],
        numbers: PictureNumbers,
        stream: av.video.stream.VideoStream,
    ) -> None:
        self._cursors = cursors
        self._numbers = numbers
        self._previous: tuple[av.video.frame.VideoFrame, int] | None = None
        self._queue: list[tuple[int, av.video.frame.VideoFrame, int]] = []
        self._picture_ticks = picture_ticks(stream)
        self.end: int | None = None
        self.any_seen = False

    def take(
        self, frame: av.video.frame.VideoFrame, reader: PacketReader
    ) -> Iterator[tuple[int, av.video.frame.VideoFrame, int]]:
        """Take the next decoded picture and yield what it decides."""
        pts = frame.pts
        if pts is None:  # some streams time only their keyframes, raw ones nothing
            pts = self._numbers.time(frame, self.end)
        length = frame.duration or self._picture_ticks
        following = reader.next_time(pts)
        # A picture lasts until the next one, also where its own duration says less.
        self.end = max(self.end or pts, pts + length, pts if following is None else following)
        for index, cursor in enumerate(self._cursors):
            if not cursor.explicit:
                if cursor.holds(pts) and (cursor.kind == "all" or frame.key_frame):
                    self._queue.append((index, frame, pts))
                continue
            if self._previous is not None:
                before, before_pts = self._previous
                if cursor.answer(pts, before_pts):
                    self._queue.append((index, before, before_pts))
            elif not self.any_seen and cursor.answer(pts, pts):
                self._queue.append((index, frame, pts))
            if following is not None and cursor.answer(following, pts):
                self._queue.append((index, frame, pts))
        self._previous = (frame, pts)
        self.any_seen = True
        yield from self.answered()

    def answered(self) -> Iterator[tuple[int, av.video.frame.VideoFrame, int]]:
        """Yield what has been decided and not yet been yielded, in time order."""
        queue, self._queue = self._queue, []
        yield from sorted(queue, key=lambda item: item[2])

    def segment_ends(self, upto: int) -> None:
        """Answer what is wanted below `upto` with the last picture before the decoder restarts."""
        self._answer_with_last(upto)
        self._previous = None

    def stream_ends(self, *, complete: bool) -> None:
        """Answer what is wanted until the last picture ends; what lies later is past the end."""
        if self.end is not None:
            self._answer_with_last(self.end)
        if complete:
            for cursor in self._cursors:
                cursor.finish()

    def _answer_with_last(self, upto: int) -> None:
        for index, cursor in enumerate(self._cursors):
            if cursor.explicit and self._previous is not None:
                frame, pts = self._previous
                if cursor.answer(upto, pts):
                    self._queue.append((index, frame, pts))
            elif cursor.explicit:
                cursor.give_up(upto)
