"""Times of pictures that come without any: by their number, which is how players time them."""

from __future__ import annotations

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
    """Times the pictures of raw streams, counting also those that could not be decoded.

    A picture follows the one before. A keyframe has its place: it is shown after all that is
    decoded before it, whatever became of that, and after what has overtaken it on the way out.
    """

    def __init__(self, stream: av.video.stream.VideoStream, clock: Clock) -> None:
        self._usual = picture_ticks(stream)
        self._origin = self._next = clock.origin_ticks
        self._shown: deque[tuple[int, int]] = deque(maxlen=LOOKAHEAD_PACKETS)  # (begin, length)
        if is_bare(stream.container):
            stream.codec_context.copy_opaque = True  # what is hung on a packet comes with its frame

    def note(self, packet: VideoPacket) -> None:
        """Number a packet without a time that the decoder is about to be given."""
        packet.opaque = _Place(self._next)
        self._next += packet.duration or self._usual

    def time(self, frame: av.video.frame.VideoFrame, end: int | None) -> int:
        """Return when a picture without a time is shown, in ticks; `end`: of the one before."""
        time = self._origin if end is None else end
        place = frame.opaque
        if not isinstance(place, _Place):
            return time
        if frame.key_frame:
            overtaken = sum(length for begin, length in self._shown if begin > place.begin)
            time = max(time, place.begin + overtaken)
        self._shown.append((place.begin, frame.duration or self._usual))
        return time
