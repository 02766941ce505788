"""Decode the pictures that are wanted, and as few others as the stream allows.

One decode serves several requests. Three things keep it cheap, none of which changes a picture:

- packets are read a little ahead, so that it is known before decoding which picture is shown when;
- pictures that nothing wanted refers to are skipped inside the decoder (`skip_frame = NONREF`);
- where the next wanted time lies behind a later keyframe, the decoder restarts there: by seeking
  where the container has an index, else by dropping the packets in between unread by the decoder.

Packets are decoded one by one, so that a bad packet costs its own picture and not the rest.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING

import av.container
import av.error
import av.packet
import av.video.codeccontext
import av.video.frame
import av.video.stream
import numpy as np
from av.video.reformatter import VideoReformatter

from vmm_cli.errors import InputError
from vmm_cli.media.geometry import Geometry, Size, geometry
from vmm_cli.media.orientation import Orientation, frame_orientation
from vmm_cli.media.sampling import Sampling, needs_duration, wanted_times
from vmm_cli.media.source import (
    AV_TIME_BASE,
    DEFAULT_MAX_PIXELS,
    clock_origin_s,
    clock_reading_s,
    open_media,
    require_video_stream,
)

if TYPE_CHECKING:
    VideoPacket = av.packet.Packet[av.video.stream.VideoStream]

# How many packets are read ahead to know which picture follows which: H.264 and HEVC reorder at
# most 16 pictures, and a field may have a packet of its own.
LOOKAHEAD_PACKETS = 34
# A restart costs a drain of the decoder and a keyframe; below this distance reading on is cheaper.
JUMP_MIN_S = Fraction(3, 10)
# Without an index, packets are held back until it is clear whether a keyframe follows in time.
HOLD_MAX_PACKETS = 2_000
HOLD_MAX_BYTES = 64 * 2**20
# libav's demuxers may fail on one read and recover on the next; more in a row never recovered.
MAX_DEMUX_FAILURES_IN_A_ROW = 16
# Containers whose index lists keyframes; others list whatever packets were met so far.
INDEXED_FORMATS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv"})
# The last entry of an index lies before the end by a picture and the reordering delay.
INDEX_END_SLACK_S = Fraction(2)
# AVFieldOrder: unknown, progressive.
PROGRESSIVE_FIELD_ORDERS = frozenset({0, 1})
# Half a digit of the times that are printed, so that rounding down is undone.
PRINTED_TIME_SLACK_S = Fraction(1, 2_000_000)
# A seek may land after the wanted time; then it is tried one keyframe earlier, so many times.
SEEK_RETRIES = 6


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

    duration_s: what the file declares (None: nothing); end_s: where the last picture seen ends;
    both in seconds on the clock. past_end: per request the wanted times (seconds) at which the
    video has nothing to show.
    """

    decoded: int = 0
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
        dst_color_range="JPEG",
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
        clock = _Clock.of(container, stream)
        declared = _declared_end_s(container, stream)
        report.duration_s = None if declared is None else float(declared)
        # Knowing where the pictures end saves looking for more; only an index is to be trusted.
        known_end = _index_end_s(stream, clock, declared) if _is_indexed(stream) else None
        cursors = [
            _Cursor(r.sampling, counted if needs_duration(r.sampling) else known_end, clock)
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
        if report.decoded == 0:
            if report.skipped_packets:
                raise InputError(
                    "unreadable",
                    f"no picture could be decoded ({report.skipped_packets} bad packets)",
                )
            raise InputError("unreadable", "no picture came out of its video stream")


def video_end_s(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Fraction:
    """Return where the video ends, in seconds on its clock.

    What the stream declares, else the container, else the last packet, found by reading (not
    decoding) the file once.

    Raises:
        InputError: as `iter_frames`.
    """
    with open_media(path, max_pixels=max_pixels) as container:
        stream = require_video_stream(container, max_pixels=max_pixels)
        declared = _declared_end_s(container, stream)
        if declared is not None:
            return declared
        origin = clock_origin_s(container)
        base = stream.time_base or Fraction(1, AV_TIME_BASE)
        end = Fraction(0)
        packets = 0
        for packet in _demux(container, stream):
            packets += 1
            if packet.pts is not None:
                end = max(end, (packet.pts + (packet.duration or 0)) * base - origin)
        return end or packets / (stream.guessed_rate or Fraction(25))


def _declared_end_s(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> Fraction | None:
    if stream.duration and stream.time_base:
        ticks = (stream.start_time or 0) + stream.duration
        return ticks * stream.time_base - clock_origin_s(container)
    tagged = clock_reading_s(stream.metadata.get("DURATION"))  # Matroska has it as a tag
    if tagged:
        return Fraction(tagged)
    return Fraction(container.duration, AV_TIME_BASE) if container.duration else None


def _index_end_s(
    stream: av.video.stream.VideoStream, clock: _Clock, declared: Fraction | None
) -> Fraction | None:
    """Return a time in seconds on the clock by which the last picture has ended, or None."""
    if declared is None:
        return None
    last = stream.index_entries[-1].timestamp - clock.origin_ticks
    return max(declared, last * clock.time_base + INDEX_END_SLACK_S)


@dataclass(frozen=True, slots=True)
class _Clock:
    """Converts between a stream's ticks and seconds on the video's clock."""

    time_base: Fraction
    origin_ticks: int

    @classmethod
    def of(
        cls, container: av.container.InputContainer, stream: av.video.stream.VideoStream
    ) -> _Clock:
        base = stream.time_base or Fraction(1, AV_TIME_BASE)
        return cls(base, round(clock_origin_s(container) / base))

    def ticks(self, seconds: Fraction) -> int:
        """Return the last tick not after a time; one printed with 6 digits finds its tick again."""
        return floor((seconds + PRINTED_TIME_SLACK_S) / self.time_base) + self.origin_ticks

    def seconds(self, ticks: int) -> float:
        return float((ticks - self.origin_ticks) * self.time_base)


@dataclass(slots=True)
class _Orientations:
    """Which way up a stream's pictures are, asked anew only where their angle changes.

    PyAV ties a frame whose side data is looked at into a reference cycle: looking at each would
    keep hundreds of pictures until the garbage collector comes round.
    """

    _by_angle: dict[int, Orientation] = field(default_factory=dict)

    def of(self, frame: av.video.frame.VideoFrame) -> Orientation:
        angle = frame.rotation
        if angle not in self._by_angle:
            self._by_angle[angle] = frame_orientation(frame)
        return self._by_angle[angle]


class _Cursor:
    """Where one request stands: which of its wanted ticks are still to be answered."""

    def __init__(self, sampling: Sampling, duration: Fraction | None, clock: _Clock) -> None:
        self.kind = sampling.kind
        self.start = clock.ticks(sampling.start)
        self.end = None if sampling.end is None else clock.ticks(sampling.end)
        self.pending: list[int] = []  # ascending; extended from _times as reading goes on
        self.fed: set[int] = set()  # pending ticks whose picture the decoder has been given
        self.past_end: list[int] = []
        self._times: Iterator[int] = iter(())
        if self.explicit:
            self._times = map(clock.ticks, wanted_times(sampling, duration))
        self._ended = not self.explicit
        self._last_pts: int | None = None

    @property
    def explicit(self) -> bool:
        return self.kind not in ("keyframes", "all")

    def extend(self, ticks: int) -> None:
        """Make `pending` reach beyond `ticks`, by one entry where there are more."""
        while not self._ended and (not self.pending or self.pending[-1] <= ticks):
            wanted = next(self._times, None)
            if wanted is None:
                self._ended = True
            else:
                self.pending.append(wanted)

    def wants(self, low: int, high: int | None, keyframe: bool) -> bool:
        """Tell whether the picture shown during [low, high) ticks is wanted, and note it as fed."""
        if self.kind == "keyframes" and not keyframe:
            return False
        if not self.explicit:
            return self.holds(low)
        first = bisect_left(self.pending, low)
        last = len(self.pending) if high is None else bisect_left(self.pending, high)
        self.fed.update(self.pending[first:last])
        return last > first

    def holds(self, ticks: int) -> bool:
        """Tell whether a picture's own time lies in the window."""
        return ticks >= self.start and (self.end is None or ticks < self.end)

    def first_unfed(self, position: int) -> int | None:
        """Return the smallest tick that still needs packets; None when the request is served."""
        if not self.explicit:
            tick = max(self.start, position)
            return tick if self.end is None or tick < self.end else None
        self.extend(position)
        for tick in self.pending:
            if tick not in self.fed:
                return tick
        if self.pending:
            self.extend(self.pending[-1])
            return self.pending[-1] if self.pending[-1] not in self.fed else None
        return None

    def answer(self, upto: int, pts: int) -> bool:
        """Answer the wanted ticks below `upto` with the picture `pts`; tell if it is new."""
        n = bisect_left(self.pending, upto)
        if n == 0:
            return False
        self.fed.difference_update(self.pending[:n])
        del self.pending[:n]
        new = pts != self._last_pts
        self._last_pts = pts
        return new

    def give_up(self, upto: int | None) -> None:
        """Leave the wanted ticks below `upto` (None: all that is left) without an answer."""
        n = len(self.pending) if upto is None else bisect_left(self.pending, upto)
        if upto is None and self.kind == "at":
            self.past_end = [*self.pending, *self._times]
        self.fed.difference_update(self.pending[:n])
        del self.pending[:n]


class _PacketReader:
    """Reads packets a little ahead and knows which presentation time follows which."""

    def __init__(
        self, container: av.container.InputContainer, stream: av.video.stream.VideoStream
    ) -> None:
        self._container = container
        self._stream = stream
        self._source = _demux(container, stream)
        self._ahead: deque[VideoPacket] = deque()
        self._known: list[int] = []  # presentation times around the position, ascending
        self._ended = False

    def _fill(self, n: int) -> None:
        while not self._ended and len(self._ahead) < n:
            packet = next(self._source, None)
            if packet is None:
                self._ended = True
                return
            self._ahead.append(packet)
            if packet.pts is not None and not packet.is_discard:
                insort(self._known, packet.pts)

    def peek(self) -> VideoPacket | None:
        """Return the next packet without taking it."""
        self._fill(LOOKAHEAD_PACKETS)
        return self._ahead[0] if self._ahead else None

    def take(self) -> VideoPacket | None:
        """Take the next packet; None at the end of the file."""
        packet = self.peek()
        if packet is not None:
            self._ahead.popleft()
            if len(self._known) > 4 * LOOKAHEAD_PACKETS + len(self._ahead):
                del self._known[: len(self._known) - 3 * LOOKAHEAD_PACKETS - len(self._ahead)]
        return packet

    def at_end(self) -> bool:
        """Tell whether the file has been read to its end, though not all packets may be taken."""
        self._fill(LOOKAHEAD_PACKETS)
        return self._ended

    def next_time(self, pts: int) -> int | None:
        """Return the smallest known presentation time after `pts`."""
        i = bisect_right(self._known, pts)
        return self._known[i] if i < len(self._known) else None

    def earliest(self, default: int) -> int:
        """Return the smallest presentation time among the packets not yet taken."""
        return min((p.pts for p in self._ahead if p.pts is not None), default=default)

    def furthest(self) -> int | None:
        """Return the largest presentation time read so far."""
        return self._known[-1] if self._known else None

    def keyframe_ahead(self, tick: int) -> VideoPacket | None:
        """Return the last keyframe ahead that is shown not after `tick`, reading on to find it.

        Holds packets until they reach past `tick`, within bounds; then the last one held counts.
        """
        found = None
        scanned = held = past = 0
        while True:
            for packet in list(self._ahead)[scanned:]:
                held += packet.size
                if packet.pts is None:
                    continue
                past += packet.pts > tick
                if packet.is_keyframe and packet.pts <= tick:
                    found = packet
            scanned = len(self._ahead)
            full = scanned >= HOLD_MAX_PACKETS or held >= HOLD_MAX_BYTES
            if full or self._ended or past >= LOOKAHEAD_PACKETS:
                return found
            self._fill(scanned + LOOKAHEAD_PACKETS)

    def drop_until(self, keyframe: VideoPacket) -> None:
        """Drop the packets ahead up to `keyframe`, which must be among them."""
        while self._ahead[0] is not keyframe:
            self._ahead.popleft()
        if keyframe.pts is not None:
            del self._known[: bisect_left(self._known, keyframe.pts)]

    def seek(self, ticks: int) -> None:
        """Continue at the keyframe that the container finds at or before `ticks`."""
        self._container.seek(ticks, stream=self._stream, backward=True)
        self._ahead.clear()
        self._known.clear()
        self._ended = False
        self._source = _demux(self._container, self._stream)


def _demux(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> Iterator[VideoPacket]:
    """Yield the stream's packets, without the empty one that flushes, past failed reads."""
    failures = 0
    while failures < MAX_DEMUX_FAILURES_IN_A_ROW:
        try:
            for packet in container.demux(stream):
                failures = 0
                if packet.size:
                    yield packet
            return
        except (av.error.FFmpegError, ValueError, IndexError):
            failures += 1


def _decode(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    clock: _Clock,
    cursors: Sequence[_Cursor],
    report: DecodeReport,
) -> Iterator[tuple[int, av.video.frame.VideoFrame, int]]:
    """Yield (request, decoded frame, pts) for every wanted picture, in time order."""
    reader = _PacketReader(container, stream)
    jump = _Jump(reader, stream, clock)
    shown = _Shown(cursors, clock, stream)
    # Two packets of one field each may make a picture: skipping one would leave half of it.
    fields = stream.codec_context.field_order not in PROGRESSIVE_FIELD_ORDERS
    only_keyframes = all(c.kind == "keyframes" for c in cursors)
    while True:
        upcoming = reader.peek()
        position = reader.earliest(default=clock.origin_ticks)
        unfed = [t for c in cursors if (t := c.first_unfed(position)) is not None]
        if upcoming is None or (not unfed and shown.any_seen):
            break
        # Draining between the fields of a wanted picture would lose it: wait until it is out.
        whole = not fields or not any(c.fed for c in cursors)
        if unfed and whole and jump.pays(min(unfed), upcoming):
            for frame in _drain(stream, report):
                yield from shown.take(frame, reader)
            shown.segment_ends(min(unfed))
            yield from shown.answered()
            jump.make(min(unfed))
        packet = reader.take()
        if packet is None:
            break
        if only_keyframes and not packet.is_keyframe and packet.pts is not None and not fields:
            continue
        wanted = _is_wanted(packet, reader, cursors) or not shown.any_seen or fields
        stream.codec_context.skip_frame = "DEFAULT" if wanted else "NONREF"
        for frame in _decode_packet(packet, report):
            yield from shown.take(frame, reader)
    for frame in _drain(stream, report):
        yield from shown.take(frame, reader)
    shown.stream_ends(complete=reader.at_end())
    yield from shown.answered()
    report.end_s = None if shown.end is None else clock.seconds(shown.end)


def _is_wanted(packet: VideoPacket, reader: _PacketReader, cursors: Iterable[_Cursor]) -> bool:
    if packet.is_discard:
        return True  # an edit list plays none of it, but later pictures may refer to it
    if packet.pts is None:
        return True  # without a presentation time nothing can be said before decoding
    following = reader.next_time(packet.pts)
    furthest = reader.furthest()
    wanted = False
    for cursor in cursors:
        cursor.extend(packet.pts if furthest is None else furthest)
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


def _is_indexed(stream: av.video.stream.VideoStream) -> bool:
    """Tell whether the container lists where its keyframes are.

    A lone entry is what reading the header leaves behind, not an index.
    """
    return stream.container.format.name in INDEXED_FORMATS and len(stream.index_entries) > 1


class _Shown:
    """Assigns decoded pictures to wanted times."""

    def __init__(
        self,
        cursors: Sequence[_Cursor],
        clock: _Clock,
        stream: av.video.stream.VideoStream,
    ) -> None:
        self._cursors = cursors
        self._previous: tuple[av.video.frame.VideoFrame, int] | None = None
        self._queue: list[tuple[int, av.video.frame.VideoFrame, int]] = []
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self._frame_ticks = max(1, round(1 / (rate * clock.time_base))) if rate > 0 else 1
        self._origin = clock.origin_ticks
        self.end: int | None = None
        self.any_seen = False

    def take(
        self, frame: av.video.frame.VideoFrame, reader: _PacketReader
    ) -> Iterator[tuple[int, av.video.frame.VideoFrame, int]]:
        """Take the next decoded picture and yield what it decides."""
        pts = frame.pts
        if pts is None:  # some streams time only their keyframes, raw ones nothing
            pts = self._origin if self._previous is None else self.end or self._origin
        length = frame.duration or self._frame_ticks
        self.end = max(self.end or pts, pts + length)
        following = reader.next_time(pts)
        for index, cursor in enumerate(self._cursors):
            if not cursor.explicit:
                if cursor.holds(pts) and (cursor.kind == "all" or frame.key_frame):
                    self._queue.append((index, frame, pts))
                continue
            cursor.extend(pts if following is None else following)
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
                cursor.give_up(None)

    def _answer_with_last(self, upto: int) -> None:
        for index, cursor in enumerate(self._cursors):
            if cursor.explicit and self._previous is not None:
                frame, pts = self._previous
                cursor.extend(upto)
                if cursor.answer(upto, pts):
                    self._queue.append((index, frame, pts))
            elif cursor.explicit:
                cursor.give_up(upto)


class _Jump:
    """Decides whether to restart at a later keyframe, and does it."""

    def __init__(
        self, reader: _PacketReader, stream: av.video.stream.VideoStream, clock: _Clock
    ) -> None:
        self._reader = reader
        self._stream = stream
        self._min_ticks = int(JUMP_MIN_S / clock.time_base)
        self._indexed = _is_indexed(stream)
        first = reader.peek()
        # Some containers index by decoding time, a fixed delay before presentation.
        self._delay = 0
        if self._indexed and first is not None and first.is_keyframe and first.pts is not None:
            self._delay = max(0, first.pts - stream.index_entries[0].timestamp)
        self._settled = -(2**62)  # below this tick (indexed) or position, nothing can be gained

    def pays(self, tick: int, upcoming: VideoPacket) -> bool:
        """Tell whether restarting for `tick` skips enough of what lies before it."""
        here = upcoming.pts if upcoming.pts is not None else upcoming.dts
        if here is None or tick - here < self._min_ticks:
            return False
        if self._indexed:
            if tick <= self._settled:
                return False
            indexed = self._keyframe_before(tick)
            return indexed is not None and indexed - here >= self._min_ticks
        if here < self._settled:
            return False
        keyframe = self._reader.keyframe_ahead(tick)
        if keyframe is None or (keyframe.pts or 0) - here < self._min_ticks:
            self._settled = self._reader.furthest() or tick
            return False
        return True

    def make(self, tick: int) -> None:
        """Move the reader to the last keyframe shown not after `tick`, where `pays` said so."""
        self._stream.codec_context.flush_buffers()
        if not self._indexed:
            keyframe = self._reader.keyframe_ahead(tick)
            if keyframe is not None:
                self._reader.drop_until(keyframe)
            return
        self._settled = tick  # where this lands is as near as can be: once is enough
        # The wanted time itself: a demuxer that indexes by decoding time corrects for that.
        target = tick
        for _ in range(SEEK_RETRIES):
            try:
                self._reader.seek(target)
            except av.error.FFmpegError:
                self._indexed = False
                return
            first = self._reader.peek()
            if first is not None and first.is_keyframe and (first.pts or tick) <= tick:
                return
            indexed = self._keyframe_before(target)
            if indexed is None:
                return
            target = indexed - 1

    def _keyframe_before(self, tick: int) -> int | None:
        """Return the presentation time of the last indexed keyframe not after `tick`."""
        entries = self._stream.index_entries
        at = entries.search_timestamp(tick - self._delay, backward=True)
        return None if at < 0 else entries[at].timestamp + self._delay
