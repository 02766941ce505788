"""Which decoded picture is shown at which wanted time.

The frame for a wanted time is the one shown then: the largest time not after it, before the first
frame the first. The times of what is handed out never go back.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av.video.frame

from vmm_cli.media.aspect import Aspects
from vmm_cli.media.cursor import Cursor
from vmm_cli.media.intra import Beginning
from vmm_cli.media.numbering import PictureNumbers
from vmm_cli.media.packets import Clock, PacketReader
from vmm_cli.media.trust import Distrust

if TYPE_CHECKING:
    from vmm_cli.media.decode_report import DecodeReport
    from vmm_cli.media.packets import VideoPacket

# AVPictureType of pictures whose keyframes only the container tells: unknown, and I.
MARK_COUNTS = frozenset({0, 1})
# So many pictures at the beginning may come out before it is known how far a stream reorders.
UNSETTLED_PICTURES = 64
# So many pictures of the last ones may have a time that lies before that of the one before.
MAX_BEHIND, BEHIND_AMONG = 2, 64


@dataclass(frozen=True, slots=True)
class ShownFrame:
    """A decoded picture with what was known of it when it came out of the decoder."""

    frame: av.video.frame.VideoFrame
    pts: int
    keyframe: bool
    aspect: Fraction | None


def _earlier(time: int | None, other: int) -> int:
    return other if time is None else min(time, other)


class ShownFrames:
    """Assigns decoded pictures to wanted times; the times of what it hands out never go back."""

    numbers: PictureNumbers
    _reader: PacketReader
    _beginning: Beginning[ShownFrame]
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
        self._previous: ShownFrame | None = None
        self._early: list[ShownFrame] = []  # ascending by time
        self._expected: int | None = None  # the first wanted time, until a picture is there
        self._lost_since: int | None = None  # the first of the pictures in a row that are bad
        self._queue: list[tuple[int, ShownFrame]] = []
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
        beginning: Beginning[ShownFrame],
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

    def take(self, frame: av.video.frame.VideoFrame) -> Iterator[tuple[int, ShownFrame]]:
        """Take the next decoded picture and yield what it decides.

        Raises:
            Distrust: pictures come out in the order in which they are shown; their times do not.
        """
        pts = frame.pts
        if pts is None:  # some streams time only their keyframes, raw ones nothing
            pts = self.numbers.time(frame, self._numbered_end)
        self._numbered_end = pts + (frame.duration or self._usual_ticks)
        aspect = self._aspects.at(pts)
        picture = ShownFrame(frame, pts, self._is_keyframe(frame, pts), aspect)
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

    def settle(self, *, over: bool) -> Iterator[tuple[int, ShownFrame]]:
        """Yield what the pictures decide that are held: no others come before them.

        over: nor do any come after them.
        """
        if over:
            self._early.extend(self._beginning.rest())
        while self._early:
            self._consider(self._early.pop(0))
        yield from self.answered()

    def _consider(self, picture: ShownFrame) -> None:
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

    def answered(self) -> Iterator[tuple[int, ShownFrame]]:
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
