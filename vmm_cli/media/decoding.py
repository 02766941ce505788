"""Reads a video from its start and decodes what its cursors want, and as little else as it can.

Packets are decoded one by one, so that a bad packet costs its own picture and not the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av.container
import av.error
import av.video.frame
import av.video.stream

from vmm_cli import progress
from vmm_cli.media.aspect import Aspects
from vmm_cli.media.cursor import Cursor
from vmm_cli.media.decode_report import DecodeReport
from vmm_cli.media.extent import declared_end_s, latest_end_s
from vmm_cli.media.intra import Beginning, is_keyframe
from vmm_cli.media.numbering import PictureNumbers
from vmm_cli.media.ordering import check_times, times_in_doubt
from vmm_cli.media.orientation import Orientation, frame_orientation
from vmm_cli.media.packets import Clock, KeyframeJump, PacketReader, picture_ticks
from vmm_cli.media.sampling import Sampling, needs_duration
from vmm_cli.media.shown_frames import ShownFrame, ShownFrames
from vmm_cli.media.trust import Distrust, Trust

if TYPE_CHECKING:
    from vmm_cli.media.packets import VideoPacket

# libav's pixel format with a palette, which travels beside the pictures.
PALETTED = "pal8"
# AVFieldOrder: unknown, progressive.
PROGRESSIVE_FIELD_ORDERS = frozenset({0, 1})


@dataclass(slots=True)
class Orientations:
    """Which way up a stream's pictures are, asked anew only where their angle changes.

    Looking at a frame's side data takes a copy of it: see `frame_orientation`.
    """

    _by_angle: dict[int, Orientation] = field(default_factory=dict)

    def of(self, frame: av.video.frame.VideoFrame) -> Orientation:
        """Return which way up a decoded picture is."""
        angle = frame.rotation
        if angle not in self._by_angle:
            self._by_angle[angle] = frame_orientation(frame)
        return self._by_angle[angle]


@dataclass(slots=True)
class DecodeState:
    """What outlives the reading of a file from its start again."""

    path: Path
    clock: Clock
    cursors: list[Cursor]
    shown: ShownFrames
    orientations: Orientations
    aspects: Aspects
    fields: bool  # two packets of one field each may make a picture

    @classmethod
    def of(
        cls,
        path: Path,
        container: av.container.InputContainer,
        stream: av.video.stream.VideoStream,
        samplings: Sequence[Sampling],
        counted: Fraction | None,
        report: DecodeReport,
    ) -> DecodeState:
        """Prepare to decode what is wanted of an open file; `counted`: where its pictures end."""
        clock = Clock.of(container, stream)
        declared = declared_end_s(container, stream)
        report.duration_s = None if declared is None else float(declared)
        # Knowing by when the pictures end saves looking for more.
        known_end = latest_end_s(container, stream, clock, declared)
        cursors = [Cursor(s, counted if needs_duration(s) else known_end, clock) for s in samplings]
        aspects = Aspects.of(stream)
        return cls(
            path,
            clock,
            cursors,
            ShownFrames(cursors, picture_ticks(stream), report, aspects, clock),
            Orientations(),
            aspects,
            stream.codec_context.field_order not in PROGRESSIVE_FIELD_ORDERS,
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that is read from its start, for the first time or again."""

    stream: av.video.stream.VideoStream
    state: DecodeState
    report: DecodeReport
    reader: PacketReader
    jump: KeyframeJump
    watch: Callable[[VideoPacket], None]
    only_keyframes: bool  # nothing else is wanted, and the container's marks are believed

    def check_marks(self, frames: Sequence[av.video.frame.VideoFrame] | None) -> None:
        """Hold decoded pictures against the container's marks, where only keyframes are decoded.

        Raises:
            Distrust: what is marked as a keyframe is none.
        """
        if self.only_keyframes and (
            frames is None or not all(is_keyframe(f, self.stream) for f in frames)
        ):
            raise Distrust("marks")


def begin_reading(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    trust: Trust,
    state: DecodeState,
    report: DecodeReport,
) -> Reading:
    """Begin to read a file from its start.

    Raises:
        Distrust: its times are in doubt, and a look at the pictures bears that out.
    """
    clock, cursors = state.clock, state.cursors
    reader = PacketReader(container, stream, timed=trust.times)
    if trust.times and times_in_doubt(container, stream, reader):
        check_times(state.path, container, stream)
    if stream.codec_context.pix_fmt == PALETTED:
        trust = replace(trust, marks=False)  # a palette comes once, with the first packet
    jump = KeyframeJump(reader, stream, clock, trust)
    reorders = stream.codec_context.reorder_depth > 0
    numbers = PictureNumbers(stream, clock, timed=trust.times)
    state.shown.begin(reader, numbers, Beginning(stream, begun=not trust.whole), reorders=reorders)
    _start_over(cursors)
    only_keyframes = trust.marks and all(c.kind == "keyframes" for c in cursors)
    watch = _watch(container, clock, cursors)
    return Reading(stream, state, report, reader, jump, watch, only_keyframes)


def decode(reading: Reading) -> Iterator[tuple[int, ShownFrame]]:
    """Yield (request, picture) for every wanted picture, in time order.

    Raises:
        Distrust: a claim of the container does not hold; what was answered stays so.
    """
    reader, jump, state = reading.reader, reading.jump, reading.state
    cursors, shown, clock, fields = state.cursors, state.shown, state.clock, state.fields
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
            frames = _drain(reading.stream, reading.report)
            reading.check_marks(frames)
            if jump.check(frames):
                _start_over(cursors)
                continue
            for frame in frames:
                yield from shown.take(frame)
            over = upcoming is None or served
            yield from shown.settle(over=over)
            if over:
                break
            shown.segment_ends(min(unfed))
            yield from shown.answered()
            jump.make(min(unfed))
        packet = reader.take()
        if packet is None:
            break
        for frame in _feed(reading, packet):
            yield from shown.take(frame)
    if reading.only_keyframes and not shown.any_seen:
        raise Distrust("marks")  # nothing is marked
    shown.stream_ends(complete=reader.at_end())
    yield from shown.answered()
    reading.report.end_s = None if shown.end is None else clock.seconds(shown.end)


def _feed(reading: Reading, packet: VideoPacket) -> Sequence[av.video.frame.VideoFrame]:
    """Give the decoder a packet, or pass over it, and return the pictures that come out.

    Raises:
        Distrust: a claim of the container does not hold.
    """
    stream, jump, state = reading.stream, reading.jump, reading.state
    reading.watch(packet)
    shown, fields = state.shown, state.fields
    if reading.only_keyframes and not packet.is_keyframe and packet.pts is not None and not fields:
        reading.report.passed_over += 1
        reading.reader.pass_over(packet)
        return ()
    is_wanted = _is_wanted(packet, reading.reader, state.cursors)
    wanted = is_wanted or shown.needs(packet) or fields
    stream.codec_context.skip_frame = "DEFAULT" if wanted else "NONREF"
    if packet.pts is None:
        shown.numbers.note(packet)
    made = _decode_packet(packet, reading.report, jump)
    state.aspects.note(stream, packet.pts)
    reading.check_marks(made)
    if made is None:
        shown.lose(packet)
        return ()
    if made and jump.check(made):
        _start_over(state.cursors)
        return ()
    if is_wanted:
        shown.expect(packet)
    return made


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
