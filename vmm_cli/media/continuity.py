"""One continuous clock for files whose time stamps start anew.

Recordings joined by `cat`, DVR and DVD files: after a join the time stamps jump. The packets of all
streams are watched together, and what comes after a jump is moved so that it follows what came
before. libav's own tools do the same for transport and program streams (AVFMT_TS_DISCONT).
"""

from __future__ import annotations

from collections import OrderedDict, deque
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

from vmm_cli.media import fragments, matroska
from vmm_cli.media.source import is_attached
from vmm_cli.media.trust import FileKey, file_key, remember

if TYPE_CHECKING:
    from av.packet import PktSideDataT

    AnyPacket = av.packet.Packet[av.stream.Stream]

# What a decoder is told anew where a stream changes: AV_PKT_DATA_NEW_EXTRADATA.
NEW_SETTINGS: PktSideDataT = "new_extradata"
# libav's demuxers may fail on one read and recover on the next; more in a row never recovered.
MAX_READ_FAILURES = 16
# Decoding times go back by less than this without a restart; what ffmpeg allows (ffmpeg_demux.c).
BACKWARD_S = 0.1
# A step ahead by more than this, of all streams at once, may be a new recording; as ffmpeg has it.
FORWARD_S = 10.0
# After a restart the next packet of the stream is as near as this, and jumps as well; else the
# stamp was a wrong one, or a picture that is shown for long.
NEAR_S = 2.0
# So many packets are held until the next one of their stream tells.
MAX_HELD_PACKETS = 500
# A stream that ended this much before another one does not say where the file's next part begins.
MAX_SKEW_S = 0.5
MAX_REORDERED = 17  # pictures: H.264 and HEVC show one at most 16 later than they store it
USUAL_RATE = 25.0
# Containers that libav does not mark so, whose time stamps start anew all the same.
RESTARTING_FORMATS = frozenset({"nut", "flv", "live_flv"})


@dataclass(frozen=True, slots=True)
class Restart:
    """Where time stamps start anew. pos: byte of the file; time_s: seconds since time stamp 0."""

    pos: int
    time_s: Fraction


@dataclass(slots=True)
class _Track:
    """Where one stream of pictures or sound has come to, in its ticks on the clock.

    tick: seconds, tick_s the same as a float: for comparing, which exact seconds make ten times as
    slow. picture: how many ticks a picture lasts where packets don't say. reordering_s: how far a
    presentation time may lie before that of an earlier packet.
    """

    tick: Fraction
    tick_s: float
    picture: int
    reordering_s: float
    end: int | None = None  # of its packets, in the order of decoding where that is timed
    shown_end: int | None = None  # of what they show
    decoded: int | None = None  # the last decoding time
    shown: int | None = None  # the last presentation time
    pos: int = 0  # of its last packet in the file

    def seconds(self, ticks: int | None) -> float:
        """Return a time in seconds; one that lies before all others for None."""
        return float("-inf") if ticks is None else ticks * self.tick_s


@dataclass(frozen=True, slots=True)
class _Earlier:
    """What held before the last restart: up to which byte of the file, by how much it was moved."""

    pos: int
    offset: Fraction


@dataclass(slots=True)
class Continuity:
    """Moves packets onto one clock, in the order of reading; notes the restarts it has seen.

    forward: whether a jump ahead counts as well. fits_to: the byte from where on nothing is read,
    since it needs other decoders; None: all is. keeps: whether packets after a restart are kept
    that libav has marked as not to be shown, since their times go back.
    """

    forward: bool
    fits_to: int | None = None
    keeps: bool = False
    read_to: int = 0  # up to which byte packets of pictures and sound have their place
    restarts: list[Restart] = field(default_factory=list)
    _offset: Fraction = Fraction(0)
    _earlier: _Earlier | None = None
    _tracks: dict[int, _Track] = field(default_factory=dict)
    _latest_s: float = float("inf")  # the end of all that has its place; at first nothing is ahead
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
            track, raw = self._track_of(packet), _stamp(packet)
            if raw is not None:
                if track is not None and self._jumps(packet, track, raw):
                    following = self._next_of(packet)
                    if following is None and not ended and len(self._held) < MAX_HELD_PACKETS:
                        return
                    self._settle(packet, track, following)
                self._place(packet, track)
            self._held.popleft()
            yield _shown(packet) if self.keeps and self.restarts else packet

    def _track_of(self, packet: AnyPacket) -> _Track | None:
        """Return the track of a packet; None for captions: they may last into the next part."""
        track = self._tracks.get(packet.stream_index)
        if track is None and isinstance(packet.stream, VideoStream | AudioStream):
            track = self._tracks[packet.stream_index] = _track(packet)
        return track

    def _next_of(self, packet: AnyPacket) -> AnyPacket | None:
        """Return the next packet of the same stream that has a time stamp."""
        for other in self._held:
            same = other is not packet and other.stream_index == packet.stream_index
            if same and _stamp(other) is not None:
                return other
        return None

    def _settle(self, packet: AnyPacket, track: _Track, following: AnyPacket | None) -> None:
        """Begin a new part with a packet that jumps, if the one after it agrees.

        Else a stamp that lies behind is a wrong one, and the packet follows what was before it; one
        that lies ahead is what it says.
        """
        raw = _stamp(packet)
        assert raw is not None
        if following is not None and self._agrees(packet, track, following):
            pos = self._pos(packet)
            self._earlier = _Earlier(pos, self._offset)
            self._offset = self._offset_after(packet)
            shown = raw if packet.pts is None else packet.pts
            self.restarts.append(Restart(pos, shown * track.tick + self._offset))
        elif self._goes_back(packet, track, raw + _ticks(self._offset, track.tick)):
            _move(packet, self._offset_after(packet) - self._offset)

    def _agrees(self, packet: AnyPacket, track: _Track, following: AnyPacket) -> bool:
        """Return True if the packet after one that jumps is near it, and has jumped as well."""
        raw, then = _stamp(packet), _stamp(following)
        assert raw is not None
        assert then is not None
        near = track.seconds(abs(then - raw)) <= NEAR_S + track.reordering_s
        return near and self._strays(following, track, then + _ticks(self._offset, track.tick))

    def _pos(self, packet: AnyPacket) -> int:
        """Return where a packet lies; parts of what the container has as one, where that does."""
        if packet.pos is not None:
            return packet.pos
        track = self._tracks.get(packet.stream_index)
        return 0 if track is None else track.pos

    def _offset_of(self, packet: AnyPacket, track: _Track | None, raw: int) -> Fraction:
        """Return by how much a packet is moved: as before, if it was stored before the restart."""
        earlier = self._earlier
        if earlier is None or self._pos(packet) >= earlier.pos:
            return self._offset
        if track is not None and self._strays(
            packet, track, raw + _ticks(earlier.offset, track.tick)
        ):
            return self._offset
        return earlier.offset

    def _jumps(self, packet: AnyPacket, track: _Track, raw: int) -> bool:
        """Return True if a packet does not go on where its stream, or all of them, were."""
        offset = self._offset_of(packet, track, raw)
        if offset != self._offset:
            return False
        return self._strays(packet, track, raw + _ticks(offset, track.tick))

    def _strays(self, packet: AnyPacket, track: _Track, ticks: int) -> bool:
        ahead = self.forward and track.seconds(ticks) > self._latest_s + FORWARD_S
        return ahead or self._goes_back(packet, track, ticks)

    def _goes_back(self, packet: AnyPacket, track: _Track, ticks: int) -> bool:
        if packet.dts is not None and track.decoded is not None:
            return track.seconds(ticks) < track.seconds(track.decoded) - BACKWARD_S
        return track.seconds(ticks) < track.seconds(track.shown) - track.reordering_s

    def _place(self, packet: AnyPacket, track: _Track | None) -> None:
        raw = _stamp(packet)
        assert raw is not None
        _move(packet, self._offset_of(packet, track, raw))
        if track is not None:
            self._note(packet, track)

    def _note(self, packet: AnyPacket, track: _Track) -> None:
        time, length = _stamp(packet), packet.duration or track.picture
        assert time is not None
        end = time + length
        track.pos = self._pos(packet)
        self.read_to = max(self.read_to, track.pos + packet.size)
        track.end = end if track.end is None else max(track.end, end)
        if packet.dts is not None:
            track.decoded = time
        shown_end = end
        if packet.pts is not None:
            shown_end = packet.pts + length
            track.shown = packet.pts if track.shown is None else max(track.shown, packet.pts)
        track.shown_end = shown_end if track.shown_end is None else max(track.shown_end, shown_end)
        end_s = track.seconds(track.end)
        if end_s > self._latest_s or self._latest_s == float("inf"):
            self._latest_s = end_s

    def _offset_after(self, packet: AnyPacket) -> Fraction:
        """Return the offset by which a packet follows the end of its stream, or that of all.

        By what is decoded and by what is shown: neither may go back.
        """
        own = self._tracks[packet.stream_index]
        if self._latest_s - own.seconds(own.end) > MAX_SKEW_S:
            own = max(self._tracks.values(), key=lambda track: track.seconds(track.end))
        assert own.end is not None
        assert own.shown_end is not None
        offsets = []
        if packet.dts is not None:
            offsets.append(own.end * own.tick - packet.dts * packet.time_base)
        if packet.pts is not None:
            offsets.append(own.shown_end * own.tick - packet.pts * packet.time_base)
        return max(offsets)


def _track(packet: AnyPacket) -> _Track:
    """Return a track that begins with a packet of pictures or sound."""
    tick, stream = packet.time_base, packet.stream
    if not isinstance(stream, VideoStream):
        return _Track(tick, float(tick), 0, BACKWARD_S)
    rate = stream.average_rate
    picture = round(1 / (rate * tick)) if rate else 0
    return _Track(
        tick, float(tick), picture, BACKWARD_S + MAX_REORDERED / float(rate or USUAL_RATE)
    )


def _stamp(packet: AnyPacket) -> int | None:
    """Return when a packet is decoded, or else shown, in ticks; None: it does not say."""
    if not packet.time_base:
        return None
    return packet.pts if packet.dts is None else packet.dts


def _shown(packet: AnyPacket) -> AnyPacket:
    """Return a packet whose picture is shown; PyAV lets nobody take that mark off."""
    if not packet.is_discard:
        return packet
    content = bytes(packet)
    copy = av.packet.Packet(len(content))  # made by size: decoders read past the end, into zeros
    copy.update(content)
    copy.stream, copy.time_base = packet.stream, packet.time_base
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.is_keyframe = packet.is_keyframe
    if packet.has_sidedata(NEW_SETTINGS):
        copy.set_sidedata(packet.get_sidedata(NEW_SETTINGS))
    return copy


def _ticks(offset: Fraction, tick: Fraction) -> int:
    return round(offset / tick) if offset else 0


def _move(packet: AnyPacket, offset: Fraction) -> None:
    if offset:
        ticks = _ticks(offset, packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks


def watch(container: av.container.InputContainer) -> Continuity | None:
    """Return what keeps a file's clock continuous; None where its time stamps cannot restart."""
    name = container.format.name
    if name == matroska.NAME:
        found = matroska.joins(_path(container))
        return Continuity(forward=False, fits_to=found.fits_to) if found.goes_on else None
    if name == fragments.NAME:
        return Continuity(forward=False, keeps=True) if _start_anew(_path(container)) else None
    if name in RESTARTING_FORMATS:
        return Continuity(forward=False)
    marked = container.format.flags & cast(int, av.format.Flags.ts_discont.value)
    return Continuity(forward=True) if marked else None


def _path(container: av.container.InputContainer) -> Path:
    return Path(container.name.removeprefix("file:"))


_fragments_looked_at: OrderedDict[FileKey, bool] = OrderedDict()


def _start_anew(path: Path) -> bool:
    key = file_key(path)
    if key not in _fragments_looked_at:
        remember(_fragments_looked_at, key, fragments.times_start_anew(path))
    return _fragments_looked_at[key]


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
