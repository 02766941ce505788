"""One continuous clock for files whose time stamps start anew.

Recordings joined by `cat`, DVR and DVD files: after a join the time stamps jump. The packets of
pictures and sound are watched together, and what comes after a jump is moved so that it follows
what came before; captions and data are moved along. libav's own tools do the same for transport and
program streams (AVFMT_TS_DISCONT).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av.container
import av.error
import av.format
import av.packet
import av.stream
from av.video.stream import VideoStream

from vmm_cli.media.source import is_attached

if TYPE_CHECKING:
    AnyPacket = av.packet.Packet[av.stream.Stream]

# libav's demuxers may fail on one read and recover on the next; more in a row never recovered.
MAX_READ_FAILURES = 16
# Decoding times go back by less than this without a restart; what ffmpeg allows (ffmpeg_demux.c).
BACKWARD_S = Fraction(1, 10)
# A step ahead by more than this, of all streams at once, is a new recording; as ffmpeg has it.
FORWARD_S = Fraction(10)
# A stream that ended this much before another one does not say where the file's next part begins.
MAX_SKEW_S = Fraction(1, 2)
MAX_REORDERED = 17  # pictures: H.264 and HEVC show one at most 16 later than they store it
USUAL_RATE = Fraction(25)
MAX_HELD = 256  # packets of captions and data between two of pictures or sound
# Containers that libav does not mark so, whose time stamps start anew all the same when joined.
RESTARTING_FORMATS = frozenset({"nut"})
# Their time stamps jump backward only: a jump ahead is a picture that is shown for long.
MATROSKA = "matroska,webm"
_EBML_ID, _SEGMENT_ID = 0x1A45DFA3, 0x18538067
_EBML_HEADER_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Restart:
    """Where time stamps start anew. pos: byte of the file; time_s: seconds since time stamp 0."""

    pos: int
    time_s: Fraction


def may_restart(container: av.container.InputContainer) -> bool:
    """Return True if time stamps can start anew inside this file."""
    discontinuous = cast(int, av.format.Flags.ts_discont.value)
    if container.format.flags & discontinuous or container.format.name in RESTARTING_FORMATS:
        return True
    return container.format.name == MATROSKA and _goes_on_after_segment(container)


def _goes_on_after_segment(container: av.container.InputContainer) -> bool:
    """Return True unless the first Matroska segment says that it takes all of the file (RFC 8794).

    Recordings that were written live do not say how long their segment is.
    """
    with Path(container.name.removeprefix("file:")).open("rb") as file:
        head = file.read(_EBML_HEADER_MAX_BYTES)
    position = 0
    for element in (_EBML_ID, _SEGMENT_ID):
        identity, at = _variable_int(head, position, keep_marker=True)
        size, begin = _variable_int(head, at, keep_marker=False)
        if identity != element or size is None:
            return True
        position = begin + size
    return position < container.size


def _variable_int(data: bytes, at: int, *, keep_marker: bool) -> tuple[int | None, int]:
    """Return an EBML number and where it ends; None where it says "unknown" or is cut off."""
    if at >= len(data) or not data[at]:
        return None, at
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big")
    if not keep_marker:
        value &= (1 << 7 * length) - 1
        if value == (1 << 7 * length) - 1:
            return None, at + length
    return value, at + length


@dataclass(slots=True)
class _Track:
    """Where one stream has come to, on the clock."""

    end: Fraction  # of its packets, in the order of decoding where that is timed
    shown_end: Fraction  # of what they show
    decoded: Fraction | None = None  # the last decoding time
    shown: Fraction | None = None  # the last presentation time
    pos: int = 0  # of its last packet in the file


@dataclass(slots=True)
class Continuity:
    """Moves packets onto one clock, in the order of reading; notes the restarts it has seen."""

    forward: bool  # whether a jump ahead counts as well
    restarts: list[Restart] = field(default_factory=list)
    read_to: int = 0  # how far packets reach into the file, in bytes
    _offset: Fraction = Fraction(0)
    _before: Restart | None = None  # the last restart, and the offset until then
    _since: Fraction = Fraction(0)  # where the last restart lies on the clock
    _tracks: dict[int, _Track] = field(default_factory=dict)

    def place(self, packet: AnyPacket) -> None:
        """Move the time stamps of a packet of pictures or sound; one without any stays so."""
        stamp = packet.pts if packet.dts is None else packet.dts
        base = packet.time_base
        if stamp is None or not base:
            return
        raw = stamp * base
        track = self._tracks.get(packet.stream_index)
        pos = packet.pos
        if pos is None:  # the second and later ones of a packet that the container has as one
            pos = 0 if track is None else track.pos
        offset = self._offset
        before = self._before
        late = before is not None and pos < before.pos  # stored before it, complete only now
        if before is not None and late and not self._jumps(packet, track, raw + before.time_s):
            offset = before.time_s
        if offset == self._offset and self._jumps(packet, track, raw + offset):
            self._before = Restart(pos, self._offset)
            offset = self._offset = self._offset_after(packet)
            shown = raw if packet.pts is None else packet.pts * base
            self._since = shown + offset
            self.restarts.append(Restart(pos, self._since))
        self._note(packet, raw + offset, offset, pos)
        _move(packet, offset)

    def follow(self, packet: AnyPacket) -> None:
        """Move the time stamps of a packet of captions or data as those of pictures and sound are.

        Beside a restart it belongs to the side on which it comes nearer to it: captions may be
        stored before the first picture of their part, or late.
        """
        pos = packet.pos or 0
        self.read_to = max(self.read_to, pos + packet.size)
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None or not packet.time_base:
            return
        offset, before = self._offset, self._before
        if before is not None and packet.pos is not None and pos < before.pos:
            raw = stamp * packet.time_base
            offset = min(before.time_s, offset, key=lambda o: abs(raw + o - self._since))
        _move(packet, offset)

    def _note(self, packet: AnyPacket, time: Fraction, offset: Fraction, pos: int) -> None:
        length = (packet.duration or 0) * packet.time_base
        if not length and isinstance(packet.stream, VideoStream) and packet.stream.average_rate:
            length = 1 / packet.stream.average_rate
        end = time + length
        track = self._tracks.setdefault(packet.stream_index, _Track(end, end))
        track.end = max(track.end, end)
        track.pos = pos
        self.read_to = max(self.read_to, pos + packet.size)
        if packet.dts is not None:
            track.decoded = time
        if packet.pts is not None:
            shown = packet.pts * packet.time_base + offset
            track.shown = shown if track.shown is None else max(track.shown, shown)
            track.shown_end = max(track.shown_end, shown + length)

    def _jumps(self, packet: AnyPacket, track: _Track | None, time: Fraction) -> bool:
        """Return True if a packet at this time does not go on where its stream was."""
        if track is not None:
            if packet.dts is not None and track.decoded is not None:
                if time < track.decoded - BACKWARD_S:
                    return True
            elif track.shown is not None and time < track.shown - _reordering(packet):
                return True
        latest = max((one.end for one in self._tracks.values()), default=None)
        return self.forward and latest is not None and time > latest + FORWARD_S

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
    if not may_restart(container):
        return None
    return Continuity(forward=container.format.name not in (MATROSKA, *RESTARTING_FORMATS))


def read_packets(
    container: av.container.InputContainer,
    *streams: av.stream.Stream,
    continuity: Continuity | None = None,
    alone: bool = False,
) -> Iterator[AnyPacket]:
    """Yield the packets of these streams (none: of all) on the clock; damage is read past.

    continuity: what to note restarts in; None: of one's own. alone: nobody wants the other streams
    of this container, so that the demuxer need not read them.
    """
    continuity = continuity if continuity is not None else watch(container)
    wanted = {stream.index for stream in streams}
    read = streams
    if continuity is not None and streams:  # what the other streams do tells a restart too
        timed = (*container.streams.video, *container.streams.audio)
        read = (*streams, *(s for s in timed if s.index not in wanted and not is_attached(s)))
    if alone:
        for stream in container.streams:
            if stream not in read:
                stream.discard = av.stream.Discard.all
    packets = _demuxed(container, read)
    for packet in packets if continuity is None else _placed(packets, continuity):
        if not wanted or packet.stream_index in wanted:
            yield packet


def _placed(packets: Iterable[AnyPacket], continuity: Continuity) -> Iterator[AnyPacket]:
    """Yield packets on the clock: captions once the next picture tells on which side they are."""
    held: list[AnyPacket] = []
    for packet in packets:
        if packet.stream.type not in ("video", "audio"):
            held.append(packet)
            if len(held) < MAX_HELD:
                continue
        else:
            continuity.place(packet)
        for one in held:
            continuity.follow(one)
        yield from held
        held.clear()
        if packet.stream.type in ("video", "audio"):
            yield packet
    for one in held:
        continuity.follow(one)
    yield from held


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
