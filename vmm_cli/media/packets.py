"""The packets of a video stream: read a little ahead, and jumped through by keyframes.

Packets are what a container holds of each picture. Their times and keyframe marks say, before
anything is decoded, which picture is shown when and where a decoder can start.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import TYPE_CHECKING, cast

import av.container
import av.error
import av.packet
import av.stream
import av.video.frame
import av.video.stream

from vmm_cli.media.continuity import NEW_SETTINGS, Continuity, read_packets, watch
from vmm_cli.media.intra import begins_anew
from vmm_cli.media.source import AV_TIME_BASE, clock_origin_s
from vmm_cli.media.trust import Distrust, Trust

if TYPE_CHECKING:
    from av.packet import PacketSideData

    VideoPacket = av.packet.Packet[av.video.stream.VideoStream]

# How many packets are read ahead to know which picture follows which: H.264 and HEVC reorder at
# most 16 pictures, and a field may have a packet of its own.
LOOKAHEAD_PACKETS = 34
# A restart costs a drain of the decoder and a keyframe; below this distance reading on is cheaper.
JUMP_MIN_S = Fraction(3, 10)
# Without an index, packets are held back until it is clear whether a keyframe follows in time.
HOLD_MAX_PACKETS = 2_000
HOLD_MAX_BYTES = 64 * 2**20
# Containers whose index lists keyframes; others list whatever packets were met so far.
INDEXED_FORMATS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"})
# Containers that give every picture the time at which it is shown, not that of its decoding.
TIMED_FORMATS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
# Half a digit of the times that are printed, so that rounding down is undone.
PRINTED_TIME_SLACK_S = Fraction(1, 2_000_000)
# A seek may land after the wanted time; then it is tried one keyframe earlier, so many times.
SEEK_RETRIES = 6
# Of a stream that says nothing of its rate; raw streams are read at it by all players.
DEFAULT_RATE = Fraction(25)


@dataclass(frozen=True, slots=True)
class Clock:
    """Converts between a stream's ticks and seconds on the video's clock."""

    time_base: Fraction
    origin_ticks: int

    @classmethod
    def of(cls, container: av.container.InputContainer, stream: av.stream.Stream) -> Clock:
        """Return the clock of a stream."""
        base = stream.time_base or Fraction(1, AV_TIME_BASE)
        origin = clock_origin_s(container)
        own = stream.start_time
        # The container's start is rounded to microseconds; the stream's own is exact.
        if own is not None and abs(own * base - origin) <= Fraction(1, AV_TIME_BASE):
            return cls(base, own)
        return cls(base, round(origin / base))

    def ticks(self, seconds: Fraction) -> int:
        """Return the last tick not after a time; one printed with 6 digits finds its tick again."""
        return floor(self.exact_ticks(seconds))

    def exact_ticks(self, seconds: Fraction) -> Fraction:
        """Return a time in ticks that are not rounded down yet: see `ticks`."""
        return (seconds + PRINTED_TIME_SLACK_S) / self.time_base + self.origin_ticks

    def first_from(self, seconds: Fraction) -> int:
        """Return the first tick not before a time, exactly: where a window begins or ends."""
        return ceil(seconds / self.time_base) + self.origin_ticks

    def exact_seconds(self, ticks: int) -> Fraction:
        """Return what a tick reads on the clock."""
        return (ticks - self.origin_ticks) * self.time_base

    def seconds(self, ticks: int) -> float:
        """Return what a tick reads on the clock, as records have it."""
        return float(self.exact_seconds(ticks))


def picture_ticks(stream: av.video.stream.VideoStream) -> int:
    """Return how long a picture is shown, in ticks, where it does not say so itself."""
    rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
    base = stream.time_base or Fraction(1, AV_TIME_BASE)
    return max(1, round(1 / (rate * base))) if rate > 0 else 1


def stores_decoding_times(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> bool:
    """Return True if the container has no presentation times: AVI, and Matroska made from it."""
    if container.format.name == "avi":
        return True
    return container.format.name == "matroska,webm" and bool(stream.codec_tag.strip("\0"))


def is_indexed(stream: av.stream.Stream) -> bool:
    """Tell whether the container lists where its keyframes are.

    A lone entry is what reading the header leaves behind, not an index.
    """
    return stream.container.format.name in INDEXED_FORMATS and len(stream.index_entries) > 1


def video_packets(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    continuity: Continuity | None,
) -> Iterator[VideoPacket]:
    """Yield the stream's packets on the clock, without the empty one that flushes."""
    for packet in read_packets(container, stream, continuity=continuity):
        if packet.size:
            yield cast("VideoPacket", packet)


class PacketReader:
    """Reads packets a little ahead and knows which presentation time follows which."""

    def __init__(
        self,
        container: av.container.InputContainer,
        stream: av.video.stream.VideoStream,
        *,
        timed: bool = True,
    ) -> None:
        """Read a stream from where its container stands.

        timed: whether its presentation times are true; else they are taken from the packets.
        """
        self._container = container
        self._stream = stream
        self._timed = timed
        # Where there are no presentation times, and nothing is reordered, those of decoding count.
        self._as_decoded = stores_decoding_times(container, stream) and not (
            stream.codec_context.reorder_depth
        )
        continuity = watch(container)
        self.may_restart = continuity is not None
        self._source = video_packets(container, stream, continuity)
        self._marked: deque[int] = deque(maxlen=4 * LOOKAHEAD_PACKETS)
        self._ahead: deque[VideoPacket] = deque()
        self._known: list[int] = []  # presentation times around the position, ascending
        self._ended = False
        # Settings that a packet brought which was dropped: libav hands them out once.
        self._settings: PacketSideData | None = None

    def _fill(self, n: int) -> None:
        while not self._ended and len(self._ahead) < n:
            packet = next(self._source, None)
            if packet is None:
                self._ended = True
                return
            if not self._timed:
                packet.pts = None
            elif self._as_decoded:
                packet.pts = packet.dts
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
            if packet.is_keyframe and packet.pts is not None:
                self._marked.append(packet.pts)
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

    def is_marked(self, pts: int) -> bool:
        """Return True if a packet taken lately with this time was marked as a keyframe."""
        return pts in self._marked

    def in_order(self) -> bool:
        """Return True if the packets ahead are stored in the order in which they are shown."""
        self._fill(LOOKAHEAD_PACKETS)
        times = [packet.pts for packet in self._ahead if packet.pts is not None]
        return all(before < after for before, after in pairwise(times))

    def all_timed(self) -> bool:
        """Tell whether each packet ahead says when its picture is shown."""
        self._fill(LOOKAHEAD_PACKETS)
        return all(packet.pts is not None for packet in self._ahead)

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
            self._drop(self._ahead.popleft())
        self._set_up()
        if keyframe.pts is not None:
            del self._known[: bisect_left(self._known, keyframe.pts)]

    def seek(self, ticks: int) -> None:
        """Continue at the keyframe that the container finds at or before `ticks`."""
        self._container.seek(ticks, stream=self._stream, backward=True)
        while self._ahead:
            self._drop(self._ahead.popleft())
        self._known.clear()
        self._marked.clear()
        self._ended = False
        # Where a seek leads to its time, time stamps do not start anew.
        self._source = video_packets(self._container, self._stream, None)
        self._set_up()

    def pass_over(self, packet: VideoPacket) -> None:
        """Note that a packet that was taken is not decoded."""
        self._drop(packet)
        self._set_up()

    def _drop(self, packet: VideoPacket) -> None:
        if packet.has_sidedata(NEW_SETTINGS):
            self._settings = packet.get_sidedata(NEW_SETTINGS)

    def _set_up(self) -> None:
        """Have the next packet bring the settings that were dropped, unless it has its own."""
        if self._settings is None or (packet := self.peek()) is None:
            return
        if not packet.has_sidedata(NEW_SETTINGS):
            packet.set_sidedata(self._settings)
        self._settings = None


class KeyframeJump:
    """Decides whether to restart at a later keyframe, does it, and checks what comes of it.

    A container's marks are claims: a jump counts once the first picture after it is what decoding
    from the start would give.
    """

    def __init__(
        self,
        reader: PacketReader,
        stream: av.video.stream.VideoStream,
        clock: Clock,
        trust: Trust,
    ) -> None:
        self._reader = reader
        self._stream = stream
        self._min_ticks = int(JUMP_MIN_S / clock.time_base)
        self._possible = trust.marks and trust.times
        # Where time stamps may start anew, the container's own do not say where to seek.
        self._seeks = not reader.may_restart
        self._indexed = self._seeks and is_indexed(stream)
        first = reader.peek()
        # Some containers index by decoding time, a fixed delay before presentation.
        self._delay = 0
        if self._indexed and first is not None and first.is_keyframe and first.pts is not None:
            self._delay = max(0, first.pts - stream.index_entries[0].timestamp)
        self._settled = -(2**62)  # below this tick (indexed) or position, nothing can be gained
        self._landed: int | None = None  # the keyframe of the last jump, until a picture came out
        self._wanted: int | None = None  # what that jump was for
        self._backed_off = False

    def pays(self, tick: int, upcoming: VideoPacket) -> bool:
        """Return True if restarting for `tick` skips enough of what lies before it."""
        here = upcoming.pts if upcoming.pts is not None else upcoming.dts
        if not self._possible or here is None or tick - here < self._min_ticks:
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
        """Move the reader to the last keyframe shown not after `tick`, where `pays` said so.

        Raises:
            Distrust: the container does not lead to where it says.
        """
        self._stream.codec_context.flush_buffers()
        if self._indexed:
            self._seek(tick)
        elif (keyframe := self._reader.keyframe_ahead(tick)) is not None:
            self._reader.drop_until(keyframe)
        first = self._reader.peek()
        if first is None or not first.is_keyframe or first.pts is None or first.pts > tick:
            raise Distrust("marks")
        self._landed, self._wanted, self._backed_off = first.pts, tick, False

    @property
    def pending(self) -> bool:
        """Whether no picture has come out since the last jump."""
        return self._wanted is not None

    def check(self, frames: Sequence[av.video.frame.VideoFrame]) -> bool:
        """Check the first pictures after a jump; return True if reading starts again before them.

        `frames`: the first that came out, none where the decoder is empty. Some streams have no
        full keyframes: marked are points from where on the picture is refreshed bit by bit, and the
        decoder holds it back until it is whole. It is by the next such point: so the jump is
        tried once more, one keyframe earlier.

        Raises:
            Distrust: what came out, or that nothing did, says that the mark is wrong.
        """
        if self._wanted is None or self._landed is None:
            return False
        wanted, landed = self._wanted, self._landed
        if frames and (frames[0].pts is None or frames[0].pts <= wanted):
            if not begins_anew(frames[0], self._stream):
                raise Distrust("marks")
            self._wanted = self._landed = None
            return False
        if self._backed_off or not self._seeks:
            raise Distrust("marks")
        if not self._indexed:
            self._settled = landed + 1
        self._stream.codec_context.flush_buffers()
        try:
            self._reader.seek(landed - 1)
        except av.error.FFmpegError:
            raise Distrust("marks") from None
        first = self._reader.peek()
        if first is None or first.pts is None or first.pts > wanted:
            raise Distrust("marks")
        self._landed, self._backed_off = first.pts, True
        return True

    def _seek(self, tick: int) -> None:
        self._settled = tick  # where this lands is as near as can be: once is enough
        # The wanted time itself: a demuxer that indexes by decoding time corrects for that.
        target = tick
        for _ in range(SEEK_RETRIES):
            try:
                self._reader.seek(target)
            except av.error.FFmpegError:
                raise Distrust("marks") from None
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
