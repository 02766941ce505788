"""Times of pictures that come without any: by their number, which is how players time them."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av.video.frame
import av.video.stream

from vmm_cli.media.packets import LOOKAHEAD_PACKETS, Clock, picture_ticks
from vmm_cli.media.source import is_bare

if TYPE_CHECKING:
    from vmm_cli.media.packets import VideoPacket


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a packet would begin, in ticks, if pictures were shown in the order of decoding."""

    begin: int


class PictureNumbers:
    """Times pictures that come without, counting also those that could not be decoded.

    Pictures come out in the order in which they are shown, so each takes the first of the times
    that the packets given so far have left: their decoding times, or where there are none those
    that follow from their number. A keyframe has its place: it is shown after all that is decoded
    before it, whatever became of that, and after what has overtaken it on the way out.
    """

    def __init__(self, stream: av.video.stream.VideoStream, clock: Clock, *, timed: bool) -> None:
        """Begin at the start of a stream; `timed` False: none of its packets tells a time."""
        self.timed = timed
        self._usual = picture_ticks(stream)
        self._origin = self._next = clock.origin_ticks
        self._shown: deque[tuple[int, int]] = deque(maxlen=LOOKAHEAD_PACKETS)  # (begin, length)
        self._ahead: int | None = None  # how far decoding times lie before the clock's 0
        self._waiting: list[int] = []  # decoding times of which no picture has come out, ascending
        if is_bare(stream.container) or not timed:
            stream.codec_context.copy_opaque = True  # what is hung on a packet comes with its frame

    def note(self, packet: VideoPacket) -> None:
        """Number a packet without a time that the decoder is about to be given."""
        begin = self._next
        if packet.dts is not None:
            if self._ahead is None:  # decoding begins before the first picture is shown
                self._ahead = max(0, self._origin - packet.dts)
            begin = packet.dts + self._ahead
        packet.opaque = _Place(begin)
        self._next = begin + (packet.duration or self._usual)
        if packet.dts is not None:
            insort(self._waiting, begin)

    def place(self, packet: VideoPacket) -> int | None:
        """Return when a packet that was noted would be shown by its number, in ticks."""
        place = packet.opaque
        return place.begin if isinstance(place, _Place) else None

    def lost(self, packet: VideoPacket) -> None:
        """Note that a packet gave no picture."""
        if (begin := self.place(packet)) in self._waiting:
            self._waiting.remove(begin)

    def time(self, frame: av.video.frame.VideoFrame, end: int | None) -> int:
        """Return when a picture without a time is shown, in ticks; `end`: of the one before."""
        time = self._origin if end is None else end
        if self._waiting:
            time = self._waiting[0]
        place = frame.opaque
        if isinstance(place, _Place):
            if frame.key_frame:
                overtaken = sum(length for begin, length in self._shown if begin > place.begin)
                time = max(time, place.begin + overtaken)
            self._shown.append((place.begin, frame.duration or self._usual))
        del self._waiting[: bisect_right(self._waiting, time)]
        return time
