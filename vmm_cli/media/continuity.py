"""One continuous clock for files whose time stamps start anew.

Recordings joined by `cat`, DVR and DVD files: after a join the time stamps jump. The packets of all
streams are watched together, and what comes after a jump is moved so that it follows what came
before. libav's own tools do the same for transport and program streams (AVFMT_TS_DISCONT).
"""

from __future__ import annotations

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
class Continuity:
    """Moves packets onto one clock, in the order of reading; notes the restarts it has seen."""

    forward: bool  # whether a jump ahead counts as well
    restarts: list[Restart] = field(default_factory=list)
    _offset: Fraction = Fraction(0)
    _last: dict[int, Fraction] = field(default_factory=dict)  # by stream, seconds, moved
    _end: dict[int, Fraction] = field(default_factory=dict)
    _before: tuple[int, Fraction] | None = None  # (position, offset) before the last restart

    def place(self, packet: AnyPacket) -> None:
        """Move a packet's time stamps; one without any stays so."""
        stamp = packet.pts if packet.dts is None else packet.dts
        base = packet.time_base
        if stamp is None or not base:
            return
        raw = stamp * base
        offset = self._offset
        if self._before is not None and packet.pos is not None and packet.pos < self._before[0]:
            earlier = raw + self._before[1]  # stored before the restart, completed after it
            if not self._jumps(packet, earlier):
                offset = self._before[1]
        time = raw + offset
        if offset == self._offset and self._jumps(packet, time):
            expected = self._expected(packet.stream_index)
            self._before = (packet.pos or 0, self._offset)
            self._offset += expected - time
            offset, time = self._offset, expected
            shown = 0 if packet.pts is None else packet.pts * base - raw
            self.restarts.append(Restart(packet.pos or 0, expected + shown))
        if offset:
            ticks = round(offset / base)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
        index = packet.stream_index
        self._last[index] = max(time, self._last.get(index, time))
        end = time + (packet.duration or 0) * base
        if not packet.duration and isinstance(packet.stream, VideoStream):
            rate = packet.stream.average_rate
            end += 1 / rate if rate else 0
        self._end[index] = max(end, self._end.get(index, end))

    def _jumps(self, packet: AnyPacket, time: Fraction) -> bool:
        last = self._last.get(packet.stream_index)
        if last is not None and time < last - self._allowance(packet):
            return True
        return self.forward and bool(self._end) and time > max(self._end.values()) + FORWARD_S

    @staticmethod
    def _allowance(packet: AnyPacket) -> Fraction:
        """Return how far a stamp may lie behind the one before: further where pictures reorder."""
        stream = packet.stream
        if packet.dts is not None or not isinstance(stream, VideoStream):
            return BACKWARD_S
        rate = stream.average_rate or Fraction(25)
        return BACKWARD_S + Fraction(17) / rate

    def _expected(self, index: int) -> Fraction:
        """Return where the next packet of a stream begins: at its end, or at that of all."""
        latest = max(self._end.values())
        own = self._end.get(index, latest)
        return own if latest - own <= MAX_SKEW_S else latest


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
    for packet in _demuxed(container, read):
        if continuity is not None:
            continuity.place(packet)
        if not wanted or packet.stream_index in wanted:
            yield packet


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
