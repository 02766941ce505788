"""Decode the pictures that are wanted, and as few others as the stream allows.

One decode serves several requests. Three things keep it cheap, none of which changes a picture:

- packets are read a little ahead, so that it is known before decoding which picture is shown when;
- pictures that nothing wanted refers to are skipped inside the decoder (`skip_frame = NONREF`);
- where the next wanted time lies behind a later keyframe, the decoder restarts there: by seeking
  where the container has an index, else by dropping the packets in between unread by the decoder.

Packets are decoded one by one, so that a bad packet costs its own picture and not the rest.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
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
from vmm_cli.media import damage
from vmm_cli.media.aspect import Aspects
from vmm_cli.media.colours import Target, converted, convertible
from vmm_cli.media.cursor import Cursor
from vmm_cli.media.damage import Gap
from vmm_cli.media.extent import declared_end_s, latest_end_s, video_end_s
from vmm_cli.media.geometry import Geometry, Size, geometry
from vmm_cli.media.intra import Beginning, is_keyframe
from vmm_cli.media.numbering import PictureNumbers
from vmm_cli.media.ordering import check_times, times_in_doubt
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
from vmm_cli.media.trust import Distrust, Trust, distrust, trust_in

if TYPE_CHECKING:
    from vmm_cli.media.packets import VideoPacket

# libav's pixel format with a palette, which travels beside the pictures.
PALETTED = "pal8"
# AVPictureType of pictures whose keyframes only the container tells: unknown, and I.
MARK_COUNTS = frozenset({0, 1})
# So many pictures at the beginning may come out before it is known how far a stream reorders.
UNSETTLED_PICTURES = 64
# So many pictures of the last ones may have a time that lies before that of the one before.
MAX_BEHIND, BEHIND_AMONG = 2, 64
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
    show. gaps: stretches whose pictures could not be decoded, where they were wanted.
    """

    decoded: int = 0
    passed_over: int = 0
    skipped_packets: int = 0
    duration_s: float | None = None
    end_s: float | None = None
    past_end: dict[str, list[float]] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)


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
    if any(needs_duration(r.sampling) for r in requests):
        counted = video_end_s(path, max_pixels=max_pixels)
    trust = trust_in(path)
    state: _State | None = None
    while True:  # again, from the start, where a claim of the container turns out to be wrong
        with open_media(path, max_pixels=max_pixels) as container:
            stream = require_video_stream(container, max_pixels=max_pixels)
            if state is None:
                state = _State.of(path, container, stream, requests, counted, report)
            try:
                for request, shown in _decode(container, stream, trust, state, report):
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


@dataclass(slots=True)
class _State:
    """What outlives the reading of a file from its start again."""

    path: Path
    clock: Clock
    cursors: list[Cursor]
    shown: _Shown
    orientations: _Orientations
    aspects: Aspects
    fields: bool  # two packets of one field each may make a picture

    @classmethod
    def of(
        cls,
        path: Path,
        container: av.container.InputContainer,
        stream: av.video.stream.VideoStream,
        requests: Sequence[FrameRequest],
        counted: Fraction | None,
        report: DecodeReport,
    ) -> _State:
        clock = Clock.of(container, stream)
        declared = declared_end_s(container, stream)
        report.duration_s = None if declared is None else float(declared)
        # Knowing by when the pictures end saves looking for more.
        known_end = latest_end_s(container, stream, clock, declared)
        cursors = [
            Cursor(r.sampling, counted if needs_duration(r.sampling) else known_end, clock)
            for r in requests
        ]
        aspects = Aspects.of(stream)
        return cls(
            path,
            clock,
            cursors,
            _Shown(cursors, picture_ticks(stream), report, aspects, clock),
            _Orientations(),
            aspects,
            stream.codec_context.field_order not in PROGRESSIVE_FIELD_ORDERS,
        )


def _picture(request: int, shown: _ShownPicture, size: Size | None, state: _State) -> Picture:
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
    trust: Trust,
    state: _State,
    report: DecodeReport,
) -> Iterator[tuple[int, _ShownPicture]]:
    """Yield (request, picture) for every wanted picture, in time order.

    Raises:
        Distrust: a claim of the container does not hold; what was answered stays so.
    """
    cursors, shown, clock, fields = state.cursors, state.shown, state.clock, state.fields
    reader = PacketReader(container, stream, timed=trust.times)
    if trust.times and times_in_doubt(container, stream, reader):
        check_times(state.path, container, stream)
    if stream.codec_context.pix_fmt == PALETTED:
        trust = replace(trust, marks=False)  # a palette comes once, with the first packet
    jump = KeyframeJump(reader, stream, clock, trust)
    reorders = stream.codec_context.reorder_depth > 0
    numbers = PictureNumbers(stream, clock, timed=trust.times)
    shown.begin(reader, numbers, Beginning(stream, begun=not trust.whole), reorders=reorders)
    for cursor in cursors:
        cursor.start_over()
    only_keyframes = trust.marks and all(c.kind == "keyframes" for c in cursors)
    watch = _watch(container, clock, cursors)
    while True:
        upcoming = reader.peek()
        position = reader.earliest(default=clock.origin_ticks)
        unfed = [t for c in cursors if (t := c.first_unfed(position)) is not None]
        served = not unfed and shown.any_seen
        # Draining between the fields of a wanted picture would lose it, and what is wanted before
        # the first picture is answered by that: wait until it is out.
        waits = fields or not shown.any_seen
        whole = not waits or not any(c.awaits_picture() for c in cursors)
        if upcoming is None or served or (unfed and whole and jump.pays(min(unfed), upcoming)):
            frames = _drain(stream, report)
            if only_keyframes and not all(is_keyframe(f, stream) for f in frames):
                raise Distrust("marks")
            if jump.check(frames):
                _start_over(cursors)
                continue
            over = upcoming is None or served
            for frame in frames:
                yield from shown.take(frame)
            yield from shown.settle(over=over)
            if over:
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
            reader.pass_over(packet)
            continue
        is_wanted = _is_wanted(packet, reader, cursors)
        wanted = is_wanted or shown.needs(packet) or fields
        stream.codec_context.skip_frame = "DEFAULT" if wanted else "NONREF"
        if packet.pts is None:
            shown.numbers.note(packet)
        made = _decode_packet(packet, report, jump)
        state.aspects.note(stream, packet.pts)
        if only_keyframes and (made is None or not all(is_keyframe(f, stream) for f in made)):
            raise Distrust("marks")
        if made is None:
            shown.lose(packet)
            continue
        if made and jump.check(made):
            _start_over(cursors)
            continue
        if is_wanted:
            shown.expect(packet)
        for frame in made:
            yield from shown.take(frame)
    if only_keyframes and not shown.any_seen:
        raise Distrust("marks")  # nothing is marked
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


def _decode_packet(
    packet: VideoPacket, report: DecodeReport, jump: KeyframeJump
) -> list[av.video.frame.VideoFrame] | None:
    """Return the pictures that came out; None where the packet is bad.

    Raises:
        Distrust: right after a jump: it lacks what comes before, or reading on will tell.
    """
    try:
        frames = packet.decode()
    except (av.error.FFmpegError, ValueError):
        if jump.pending:
            raise Distrust("marks") from None
        report.skipped_packets += 1
        return None
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


@dataclass(frozen=True, slots=True)
class _ShownPicture:
    """A decoded picture with what was known of it when it came out of the decoder."""

    frame: av.video.frame.VideoFrame
    pts: int
    keyframe: bool
    aspect: Fraction | None


def _earlier(time: int | None, other: int) -> int:
    return other if time is None else min(time, other)


class _Shown:
    """Assigns decoded pictures to wanted times; the times of what it hands out never go back."""

    numbers: PictureNumbers
    _reader: PacketReader
    _beginning: Beginning[_ShownPicture]
    _reorders: bool

    def __init__(
        self,
        cursors: Sequence[Cursor],
        usual_ticks: int,
        report: DecodeReport,
        aspects: Aspects,
        clock: Clock,
    ) -> None:
        self._cursors = cursors
        self._clock = clock
        self._usual_ticks = usual_ticks
        self._report = report
        self._aspects = aspects
        self._previous: _ShownPicture | None = None
        self._early: list[_ShownPicture] = []  # ascending by time
        self._expected: int | None = None  # the first wanted time, until a picture is there
        self._lost_since: int | None = None  # the first of the pictures in a row that are bad
        self._queue: list[tuple[int, _ShownPicture]] = []
        self._taken: int | None = None  # the time of the last picture that was considered
        self._count = 0  # of the pictures that came out
        self._behind: list[int] = []  # which of them had a time before that of the one before
        self._again = False  # reading once more what lies up to that
        self.end: int | None = None
        self.any_seen = False

    def begin(
        self,
        reader: PacketReader,
        numbers: PictureNumbers,
        beginning: Beginning[_ShownPicture],
        *,
        reorders: bool,
    ) -> None:
        """Take pictures of a file that is read from its start, for the first time or again."""
        self.numbers = numbers
        self._reader = reader
        self._beginning = beginning
        self._numbered_end: int | None = None
        self._reorders = reorders
        self._previous = None
        self._lost_since = self._expected = None
        self._report.gaps.clear()
        self._report.skipped_packets = 0
        self._early.clear()
        self._again = self._taken is not None
        self._behind.clear()

    def needs(self, packet: VideoPacket) -> bool:
        """Return True for pictures that are needed though no time wants them.

        The first one, and when reading again the last one there was: it may still be shown later.
        """
        return not self.any_seen or (self._again and packet.pts == self._taken)

    def lose(self, packet: VideoPacket) -> None:
        """Note that a packet gave no picture."""
        self.numbers.lost(packet)
        if packet.pts is not None:
            self._lost_since = _earlier(self._lost_since, packet.pts)

    def expect(self, packet: VideoPacket) -> None:
        """Note that the decoder was given a wanted picture: none before the first whole one."""
        if self.any_seen or packet.is_discard:
            return
        time = self.numbers.place(packet) if packet.pts is None else packet.pts
        if time is not None:
            self._expected = _earlier(self._expected, time)

    def _close_gap(self, until: int) -> None:
        # Pictures from before the bad ones may still come out of the decoder.
        if self._lost_since is not None and not self._again and until > self._lost_since:
            seconds = self._clock.seconds
            self._report.gaps.append((seconds(self._lost_since), seconds(until)))
            self._lost_since = None

    def take(self, frame: av.video.frame.VideoFrame) -> Iterator[tuple[int, _ShownPicture]]:
        """Take the next decoded picture and yield what it decides.

        Raises:
            Distrust: pictures come out in the order in which they are shown; their times do not.
        """
        pts = frame.pts
        if pts is None:  # some streams time only their keyframes, raw ones nothing
            pts = self.numbers.time(frame, self._numbered_end)
        self._numbered_end = pts + (frame.duration or self._usual_ticks)
        aspect = self._aspects.at(pts)
        picture = _ShownPicture(frame, pts, self._is_keyframe(frame, pts), aspect)
        for whole in self._beginning.whole(picture):
            insort(self._early, whole, key=lambda one: one.pts)
        # Until a decoder has seen how far a stream reorders, it may hand out a picture too early:
        # one that is not the next is held until the one after it is there.
        due = None
        if self._taken is not None and self._reorders and self._count < UNSETTLED_PICTURES:
            due = self._reader.next_time(self._taken)
        while self._early and (len(self._early) > 1 or due is None or self._early[0].pts <= due):
            self._consider(self._early.pop(0))
        yield from self.answered()

    def settle(self, *, over: bool) -> Iterator[tuple[int, _ShownPicture]]:
        """Yield what the pictures decide that are held: no others come before them.

        over: nor do any come after them.
        """
        if over:
            self._early.extend(self._beginning.rest())
        while self._early:
            self._consider(self._early.pop(0))
        yield from self.answered()

    def _consider(self, picture: _ShownPicture) -> None:
        pts = picture.pts
        self._count += 1
        if self._taken is not None and pts < self._taken:
            if self._again:
                self._previous = picture
            else:
                self._falls_behind()
            return
        if self._again and pts == self._taken:
            self._previous = picture
            return
        self._again = False
        if not self.any_seen and self._expected is not None and self._expected < pts:
            self._lost_since = _earlier(self._lost_since, self._expected)
        self._close_gap(pts)
        length = picture.frame.duration or self._usual_ticks
        following = self._reader.next_time(pts)
        # A picture lasts until the next one, also where its own duration says less.
        self.end = max(self.end or pts, pts + length, pts if following is None else following)
        for index, cursor in enumerate(self._cursors):
            if not cursor.explicit:
                if cursor.holds(pts) and (cursor.kind == "all" or picture.keyframe):
                    self._queue.append((index, picture))
                continue
            if self._previous is not None:
                if cursor.answer(pts, self._previous.pts):
                    self._queue.append((index, self._previous))
            elif not self.any_seen and cursor.answer(pts, pts):
                self._queue.append((index, picture))
            if following is not None and cursor.answer(following, pts):
                self._queue.append((index, picture))
        self._previous = picture
        self._taken = pts
        self.any_seen = True

    def _is_keyframe(self, frame: av.video.frame.VideoFrame, pts: int) -> bool:
        """Go by the decoder, and by the container where its decoder does not tell."""
        if frame.key_frame:
            return True
        return frame.pict_type in MARK_COUNTS and self._reader.is_marked(pts)

    def _falls_behind(self) -> None:
        """Leave out a picture that has no place on the clock.

        Raises:
            Distrust: too many have none.
        """
        self._report.skipped_packets += 1
        self._behind = [n for n in self._behind if n > self._count - BEHIND_AMONG]
        self._behind.append(self._count)
        if len(self._behind) > MAX_BEHIND and self.numbers.timed:
            raise Distrust("times")

    def answered(self) -> Iterator[tuple[int, _ShownPicture]]:
        """Yield what has been decided and not yet been yielded, in time order."""
        queue, self._queue = self._queue, []
        yield from sorted(queue, key=lambda item: item[1].pts)

    def segment_ends(self, upto: int) -> None:
        """Answer what is wanted below `upto` with the last picture before the decoder restarts."""
        self._answer_with_last(upto)
        self._previous = self._expected = None
        self._again = self._taken is not None  # a jump may land on what was there before

    def stream_ends(self, *, complete: bool) -> None:
        """Answer what is wanted until the last picture ends; what lies later is past the end.

        Where pictures could not be decoded the one before them is still shown.
        """
        end = max([self.end or 0, *(c.fed_until for c in self._cursors)])
        if self._lost_since is not None:
            self._close_gap(max(end, self._reader.furthest() or end) + self._usual_ticks)
        if self.end is not None:
            self._answer_with_last(end)
        if complete:
            for cursor in self._cursors:
                cursor.finish()

    def _answer_with_last(self, upto: int) -> None:
        for index, cursor in enumerate(self._cursors):
            if cursor.explicit and self._previous is not None:
                if cursor.answer(upto, self._previous.pts):
                    self._queue.append((index, self._previous))
            elif cursor.explicit:
                cursor.give_up(upto)
