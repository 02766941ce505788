"""One continuous clock for files whose time stamps start anew.

Recordings joined by `cat`, DVR and DVD files: after a join the time stamps jump. The packets of all
streams are watched together, and what comes after a jump is moved so that it follows what came
before. libav's own tools do the same for transport and program streams (AVFMT_TS_DISCONT).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av.container
import av.error
import av.format
import av.packet
import av.stream
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from vmm_cli.media import matroska
from vmm_cli.media.source import is_attached

if TYPE_CHECKING:
    AnyPacket = av.packet.Packet[av.stream.Stream]

# libav's demuxers may fail on one read and recover on the next; more in a row never recovered.
MAX_READ_FAILURES = 16
# Decoding times go back by less than this without a restart; what ffmpeg allows (ffmpeg_demux.c).
BACKWARD_S = Fraction(1, 10)
# A step ahead by more than this, of all streams at once, may be a new recording; as ffmpeg has it.
FORWARD_S = Fraction(10)
# After a restart the next packet of the stream is as near as this, and jumps as well; else the
# stamp was a wrong one, or a picture that is shown for long.
NEAR_S = Fraction(2)
# So many packets are held until the next one of their stream tells.
MAX_HELD_PACKETS = 500
# A stream that ended this much before another one does not say where the file's next part begins.
MAX_SKEW_S = Fraction(1, 2)
MAX_REORDERED = 17  # pictures: H.264 and HEVC show one at most 16 later than they store it
USUAL_RATE = Fraction(25)
# Containers that libav does not mark so, whose time stamps start anew all the same.
RESTARTING_FORMATS = frozenset({"nut", "flv", "live_flv"})
MP4 = "mov,mp4,m4a,3gp,3g2,mj2"


@dataclass(frozen=True, slots=True)
class Restart:
    """Where time stamps start anew. pos: byte of the file; time_s: seconds since time stamp 0."""

    pos: int
    time_s: Fraction


@dataclass(slots=True)
class _Track:
    """Where one stream has come to, on the clock."""

    end: Fraction  # of its packets, in the order of decoding where that is timed
    shown_end: Fraction  # of what they show
    decoded: Fraction | None = None  # the last decoding time
    shown: Fraction | None = None  # the last presentation time
    pos: int = 0  # of its last packet in the file


@dataclass(frozen=True, slots=True)
class _Earlier:
    """What held before the last restart: up to which byte of the file, by how much it was moved."""

    pos: int
    offset: Fraction


@dataclass(slots=True)
class Continuity:
    """Moves packets onto one clock, in the order of reading; notes the restarts it has seen.

    forward: whether a jump ahead counts as well. fits_to: the byte from where on nothing is read,
    since it needs other decoders; None: all is.
    """

    forward: bool
    fits_to: int | None = None
    restarts: list[Restart] = field(default_factory=list)
    _offset: Fraction = Fraction(0)
    _earlier: _Earlier | None = None
    _tracks: dict[int, _Track] = field(default_factory=dict)
    _held: deque[AnyPacket] = field(default_factory=deque)  # the first one jumps

    def take(self, packet: AnyPacket) -> Iterator[AnyPacket]:
        """Take the next packet; yield those that now have their place."""
        self._held.append(packet)
        yield from self._placed(ended=False)

    def end(self) -> Iterator[AnyPacket]:
        """Yield the packets that are left: no others come."""
        yield from self._placed(ended=True)

    def _placed(self, *, ended: bool) -> Iterator[AnyPacket]:
        while self._held:
            packet = self._held[0]
            if self._jumps(packet):
                following = self._next_of(packet)
                if following is None and not ended and len(self._held) < MAX_HELD_PACKETS:
                    return
                self._settle(packet, following)
            self._held.popleft()
            self._place(packet)
            yield packet

    def _next_of(self, packet: AnyPacket) -> AnyPacket | None:
        """Return the next packet of the same stream that has a time stamp."""
        for other in self._held:
            same = other is not packet and other.stream_index == packet.stream_index
            if same and _stamp(other) is not None:
                return other
        return None

    def _settle(self, packet: AnyPacket, following: AnyPacket | None) -> None:
        """Begin a new part with a packet that jumps, if the one after it agrees.

        Else a stamp that lies behind is a wrong one, and the packet follows what was before it; one
        that lies ahead is what it says.
        """
        raw = _stamp(packet)
        assert raw is not None
        if following is not None and self._agrees(packet, following):
            pos = self._pos(packet)
            self._earlier = _Earlier(pos, self._offset)
            self._offset = self._offset_after(packet)
            shown = raw if packet.pts is None else packet.pts * packet.time_base
            self.restarts.append(Restart(pos, shown + self._offset))
        elif self._goes_back(packet, raw + self._offset):
            _move(packet, self._offset_after(packet) - self._offset)

    def _agrees(self, packet: AnyPacket, following: AnyPacket) -> bool:
        """Return True if the packet after one that jumps is near it, and has jumped as well."""
        raw, then = _stamp(packet), _stamp(following)
        assert raw is not None
        assert then is not None
        near = abs(then - raw) <= NEAR_S + _reordering(packet)
        return near and self._strays(following, then + self._offset)

    def _pos(self, packet: AnyPacket) -> int:
        """Return where a packet lies; parts of what the container has as one, where that does."""
        if packet.pos is not None:
            return packet.pos
        track = self._tracks.get(packet.stream_index)
        return 0 if track is None else track.pos

    def _offset_of(self, packet: AnyPacket) -> Fraction:
        """Return by how much a packet is moved: as before, if it was stored before the restart."""
        earlier, raw = self._earlier, _stamp(packet)
        if earlier is None or raw is None or self._pos(packet) >= earlier.pos:
            return self._offset
        return self._offset if self._strays(packet, raw + earlier.offset) else earlier.offset

    def _jumps(self, packet: AnyPacket) -> bool:
        """Return True if a packet does not go on where its stream, or all of them, were."""
        raw = _stamp(packet)
        if raw is None or not _tells(packet):
            return False
        offset = self._offset_of(packet)
        return offset == self._offset and self._strays(packet, raw + offset)

    def _strays(self, packet: AnyPacket, time: Fraction) -> bool:
        latest = max((one.end for one in self._tracks.values()), default=None)
        ahead = self.forward and latest is not None and time > latest + FORWARD_S
        return ahead or self._goes_back(packet, time)

    def _goes_back(self, packet: AnyPacket, time: Fraction) -> bool:
        track = self._tracks.get(packet.stream_index)
        if track is None:
            return False
        if packet.dts is not None and track.decoded is not None:
            return time < track.decoded - BACKWARD_S
        return track.shown is not None and time < track.shown - _reordering(packet)

    def _place(self, packet: AnyPacket) -> None:
        raw = _stamp(packet)
        if raw is None:
            return
        offset = self._offset_of(packet)
        _move(packet, offset)
        if _tells(packet):
            self._note(packet, raw + offset)

    def _note(self, packet: AnyPacket, time: Fraction) -> None:
        length = (packet.duration or 0) * packet.time_base
        if not length and isinstance(packet.stream, VideoStream) and packet.stream.average_rate:
            length = 1 / packet.stream.average_rate
        end, pos = time + length, self._pos(packet)
        track = self._tracks.setdefault(packet.stream_index, _Track(end, end))
        track.end = max(track.end, end)
        track.pos = pos
        if packet.dts is not None:
            track.decoded = time
        if packet.pts is not None:
            shown = packet.pts * packet.time_base
            track.shown = shown if track.shown is None else max(track.shown, shown)
            track.shown_end = max(track.shown_end, shown + length)

    def _offset_after(self, packet: AnyPacket) -> Fraction:
        """Return the offset by which a packet follows the end of its stream, or that of all.

        By what is decoded and by what is shown: neither may go back.
        """
        tracks = self._tracks
        own = tracks.get(packet.stream_index)
        latest = max(track.end for track in tracks.values())
        if own is None or latest - own.end > MAX_SKEW_S:
            own = max(tracks.values(), key=lambda track: track.end)
        offsets = []
        if packet.dts is not None:
            offsets.append(own.end - packet.dts * packet.time_base)
        if packet.pts is not None:
            offsets.append(own.shown_end - packet.pts * packet.time_base)
        return max(offsets)


def _stamp(packet: AnyPacket) -> Fraction | None:
    """Return when a packet is decoded, or else shown, in seconds; None: it does not say."""
    ticks = packet.pts if packet.dts is None else packet.dts
    return None if ticks is None or not packet.time_base else ticks * packet.time_base


def _tells(packet: AnyPacket) -> bool:
    """Return True for pictures and sound: captions may last into the next part."""
    return isinstance(packet.stream, VideoStream | AudioStream)


def _move(packet: AnyPacket, offset: Fraction) -> None:
    if offset:
        ticks = round(offset / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks


def _reordering(packet: AnyPacket) -> Fraction:
    """Return how far a presentation time may lie before that of an earlier packet, in seconds."""
    if not isinstance(packet.stream, VideoStream):
        return BACKWARD_S
    return BACKWARD_S + MAX_REORDERED / (packet.stream.average_rate or USUAL_RATE)


def watch(container: av.container.InputContainer) -> Continuity | None:
    """Return what keeps a file's clock continuous; None where its time stamps cannot restart."""
    name = container.format.name
    if name == matroska.NAME:
        found = matroska.joins(Path(container.name.removeprefix("file:")))
        return Continuity(forward=False, fits_to=found.fits_to) if found.goes_on else None
    if name in RESTARTING_FORMATS or (name == MP4 and _is_open_ended(container)):
        return Continuity(forward=False)
    marked = container.format.flags & cast(int, av.format.Flags.ts_discont.value)
    return Continuity(forward=True) if marked else None


def _is_open_ended(container: av.container.InputContainer) -> bool:
    """Return True for an MP4 of fragments that came live: its header says no durations."""
    timed = [*container.streams.video, *container.streams.audio]
    return bool(timed) and not any(s.duration for s in timed if not is_attached(s))


def read_packets(
    container: av.container.InputContainer,
    *streams: av.stream.Stream,
    continuity: Continuity | None,
    alone: bool = False,
) -> Iterator[AnyPacket]:
    """Yield the packets of these streams (none: of all) on the clock; damage is read past.

    continuity: what `watch` says of this container. alone: nobody wants the other streams of this
    container, so that the demuxer need not read them.
    """
    wanted = {stream.index for stream in streams}
    read = streams
    if continuity is not None and streams:  # what the other streams do tells a restart too
        timed = (*container.streams.video, *container.streams.audio)
        read = (*streams, *(s for s in timed if s.index not in wanted and not is_attached(s)))
    if alone:
        for stream in container.streams:
            if stream not in read:
                stream.discard = av.stream.Discard.all
    demuxed = _demuxed(container, read)
    for packet in demuxed if continuity is None else _on_one_clock(demuxed, continuity):
        if not wanted or packet.stream_index in wanted:
            yield packet


def _on_one_clock(packets: Iterator[AnyPacket], continuity: Continuity) -> Iterator[AnyPacket]:
    for packet in packets:
        fits_to = continuity.fits_to
        if fits_to is not None and packet.pos is not None and packet.pos >= fits_to:
            break
        yield from continuity.take(packet)
    yield from continuity.end()


def _demuxed(
    container: av.container.InputContainer, streams: tuple[av.stream.Stream, ...]
) -> Iterator[AnyPacket]:
    failures = 0
    while failures < MAX_READ_FAILURES:
        try:
            for packet in container.demux(*streams):
                failures = 0
                yield packet
        except (av.error.FFmpegError, ValueError, IndexError):
            failures += 1  # IndexError: PyAV 18.1, where a stream appeared after the opening
        else:
            return
