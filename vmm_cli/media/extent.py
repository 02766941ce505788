"""How far a file's pictures and sound go, and what of that its container only claims.

A file that was cut short still declares its whole length, and some declare years. What is declared
counts only where an index shows that all of it is there; else the packets of the last seconds say
where pictures and sound end, or where time stamps may start anew those of the whole file. Nothing
is decoded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.container
import av.error
import av.index
import av.stream
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from vmm_cli.errors import InputError
from vmm_cli.media.colours import is_approximate
from vmm_cli.media.continuity import Continuity, read_packets, watch
from vmm_cli.media.packets import Clock, is_indexed, picture_ticks
from vmm_cli.media.source import (
    AV_TIME_BASE,
    DEFAULT_MAX_PIXELS,
    best_audio_stream,
    best_video_stream,
    clock_origin_s,
    clock_reading_s,
    is_bare,
    open_media,
    require_video_stream,
)
from vmm_cli.media.trust import FileKey, file_key

# The last entry of an index lies before the end by a picture and the reordering delay.
INDEX_END_SLACK_S = Fraction(2)
# Containers whose index lists each picture, with its place in the file and its size.
SIZED_INDEX_FORMATS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "avi"})
# Demuxers that count time anew after a seek, so that it is off by some pictures.
SHIFTING_SEEKS = frozenset({"mxf"})
# What may be missing of a whole file: declared lengths are rounded, and tracks end one by one.
MISSING_MIN_S = Fraction(1, 2)
MISSING_MIN_SHARE = Fraction(1, 50)
# So much of a file at most may follow the last packet that libav finds: an index, padding.
UNREAD_MAX_SHARE = 0.1
MAX_REMEMBERED = 256  # files

DIGITS = 3  # of times in records
USUAL_BITS = 8  # of a sample

Stream = VideoStream | AudioStream


@dataclass(frozen=True)
class Extent:
    """How far a file goes; seconds on its clock.

    video_end_s: where its last picture ends; None: it has no pictures. end_s: where the last of
    pictures and sound ends. declared_s: where the container says so; None: it does not.
    restarts_s: where time stamps start anew. unread: the share of the bytes that lies behind the
    last packet, where all were read. matrix: AVColorSpace of its pictures. pixels: of the largest
    pictures it declares, bits: of a sample in these; they tell how much memory decoding takes.
    """

    video_end_s: Fraction | None
    end_s: Fraction
    declared_s: Fraction | None = None
    restarts_s: tuple[float, ...] = ()
    unread: float = 0.0
    matrix: int | None = None
    pixels: int = 0
    bits: int = 8

    @property
    def cut_short(self) -> bool:
        """Whether the container declares more than is there."""
        if self.declared_s is None:
            return False
        missing = self.declared_s - self.end_s
        return missing > max(MISSING_MIN_S, MISSING_MIN_SHARE * self.declared_s)

    def fields(self) -> dict[str, Any]:
        """Return what every command's record says of the file; times in seconds."""
        fields: dict[str, Any] = {}
        if self.end_s > 0:
            fields["duration_s"] = round(float(self.end_s), DIGITS)
        if self.cut_short and self.declared_s is not None:
            fields["declared_duration_s"] = round(float(self.declared_s), DIGITS)
        if self.restarts_s:
            fields["restarts_s"] = [round(time_s, DIGITS) for time_s in self.restarts_s]
        return fields

    def warnings(self) -> list[str]:
        """Return in a line each what a user should know of this file."""
        lines = []
        if self.cut_short and self.declared_s is not None:
            lines.append(
                f"only {float(self.end_s):.1f} of the declared {float(self.declared_s):.1f} s "
                "can be read; the file seems to be cut short"
            )
        if self.restarts_s:
            n = len(self.restarts_s)
            times = "once" if n == 1 else f"{n} times"
            first = f"{self.restarts_s[0]:.3f} s"
            lines.append(
                f"its time stamps start anew {times}, first at {first}; "
                "the parts are read as one video, one after the other"
            )
        if self.unread > UNREAD_MAX_SHARE:
            lines.append(f"nothing can be read in the last {self.unread:.0%} of the file")
        if self.matrix is not None and is_approximate(self.matrix):
            lines.append("its colour matrix is a rare one; colours are converted approximately")
        return lines


_remembered: OrderedDict[FileKey, Extent] = OrderedDict()


def extent(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Extent:
    """Return how far a file's pictures and sound go.

    Raises:
        InputError: as `open_media`; `no_video`: it has neither pictures nor sound.
    """
    key = file_key(path)
    known = _remembered.get(key)
    if known is None:
        known = _remembered[key] = _measured(path, max_pixels)
        while len(_remembered) > MAX_REMEMBERED:
            _remembered.popitem(last=False)
    return known


def video_end_s(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Fraction:
    """Return where the pictures of a video end, in seconds on its clock.

    Raises:
        InputError: as `require_video_stream`.
    """
    try:
        known = extent(path, max_pixels=max_pixels)
    except InputError as error:
        if error.code != "no_video":
            raise
        known = None
    if known is None or known.video_end_s is None or known.pixels > max_pixels:
        with open_media(path, max_pixels=max_pixels) as container:
            require_video_stream(container, max_pixels=max_pixels)
    return Fraction(0) if known is None else known.video_end_s or Fraction(0)


def _measured(path: Path, max_pixels: int) -> Extent:
    with open_media(path, max_pixels=max_pixels) as container:
        video = best_video_stream(container)
        streams = [s for s in (video, best_audio_stream(container)) if s is not None]
        if not streams:
            raise InputError("no_video", "holds neither pictures nor sound")
        pictures = None if video is None else video.index  # a stream is gone with its container
        matrix = None if video is None else video.codec_context.colorspace
        pixels, bits = max(map(_picture, container.streams.video), default=(0, USUAL_BITS))
        origin = clock_origin_s(container)
        continuity = watch(container)
        declared = {s.index: declared_end_s(container, s) for s in streams}
        ends: Mapping[int, Fraction] = {}
        if continuity is None:
            ends = _stated_ends(container, streams, declared)
    unread = 0.0
    if not ends:
        with open_media(path, max_pixels=max_pixels) as container:
            continuity = watch(container)
            again = [container.streams[s] for s in declared]
            ends = _read_ends(container, [s for s in again if isinstance(s, Stream)], continuity)
        if continuity is not None:
            unread = max(0.0, 1 - continuity.read_to / path.stat().st_size)
    restarts = () if continuity is None else continuity.restarts
    stated = [end for end in declared.values() if end is not None]
    return Extent(
        None if pictures is None else max(ends.get(pictures, Fraction(0)), Fraction(0)),
        max([*ends.values(), Fraction(0)]),
        None if restarts else max(stated, default=None),
        tuple(float(one.time_s - origin) for one in restarts),
        unread,
        matrix,
        pixels,
        bits,
    )


def _picture(stream: VideoStream) -> tuple[int, int]:
    """Return how many pixels a stream's pictures have, and bits a sample."""
    codec = stream.codec_context
    if codec is None:  # one that libav does not know
        return 0, USUAL_BITS
    shape = codec.format
    bits = max((part.bits for part in shape.components), default=USUAL_BITS) if shape else 0
    return codec.width * codec.height, bits or USUAL_BITS


def _stated_ends(
    container: av.container.InputContainer,
    streams: Sequence[Stream],
    declared: Mapping[int, Fraction | None],
) -> dict[int, Fraction]:
    """Return by stream where it ends, from the index or the last packets; {}: neither says it."""
    stated = {index: end for index, end in declared.items() if end is not None}
    if len(stated) < len(streams):
        return {}
    if all(declared_is_there(container, s, stated[s.index]) for s in streams):
        return stated
    if container.format.name in SHIFTING_SEEKS:
        return {}
    near = min(_near_end_s(container, s, stated[s.index]) for s in streams)
    if near <= 0:
        return {}
    first = streams[0]
    clock = Clock.of(container, first)
    try:
        container.seek(clock.ticks(near), stream=first, backward=True)
    except av.error.FFmpegError:
        return {}
    ends = _read_ends(container, streams, None)
    return ends if first.index in ends else {}


def declared_end_s(container: av.container.InputContainer, stream: Stream) -> Fraction | None:
    """Return the end that the stream declares, else the container, in seconds on the clock."""
    if is_bare(container):
        return None  # libav guesses it from a bit rate, wrong by any factor
    if stream.duration and stream.time_base:
        ticks = (stream.start_time or 0) + stream.duration
        return ticks * stream.time_base - clock_origin_s(container)
    tagged = clock_reading_s(stream.metadata.get("DURATION"))  # Matroska has it as a tag
    if tagged:
        return Fraction(tagged)
    return Fraction(container.duration, AV_TIME_BASE) if container.duration else None


def latest_end_s(
    container: av.container.InputContainer,
    stream: VideoStream,
    clock: Clock,
    declared: Fraction | None,
) -> Fraction | None:
    """Return a time in seconds on the clock by which the last picture has ended, or None.

    Only an index is to be trusted with that, and only where nothing can follow what it lists.
    """
    if declared is None or not is_indexed(stream) or watch(container) is not None:
        return None
    last = clock.exact_seconds(stream.index_entries[-1].timestamp)
    return max(declared, last + INDEX_END_SLACK_S)


def declared_is_there(
    container: av.container.InputContainer, stream: Stream, declared: Fraction
) -> bool:
    """Return True if an index of all packets leads up to the declared end and out of no file."""
    if container.format.name not in SIZED_INDEX_FORMATS or not is_indexed(stream):
        return False
    last = stream.index_entries[-1]
    clock = Clock.of(container, stream)
    reaches = clock.exact_seconds(last.timestamp) >= declared - INDEX_END_SLACK_S
    return reaches and _end_of(last) <= container.size


def _near_end_s(
    container: av.container.InputContainer, stream: Stream, declared: Fraction
) -> Fraction:
    """Return from where reading on finds the last packets: before the end, or before a cut."""
    entries = stream.index_entries
    whole = bisect_left(
        range(len(entries)), True, key=lambda i: _end_of(entries[i]) > container.size
    )
    if is_indexed(stream) and 0 < whole < len(entries):
        return Clock.of(container, stream).exact_seconds(entries[whole - 1].timestamp)
    return declared - INDEX_END_SLACK_S


def _end_of(entry: av.index.IndexEntry) -> int:
    return entry.pos + entry.size


def _read_ends(
    container: av.container.InputContainer,
    streams: Sequence[Stream],
    continuity: Continuity | None,
) -> dict[int, Fraction]:
    """Return by stream where its last packet ends, from where the container stands to its end.

    A packet without a time follows the one before, the first one begins at 0.
    """
    clocks = {s.index: Clock.of(container, s) for s in streams}
    usual = {s.index: picture_ticks(s) if isinstance(s, VideoStream) else 0 for s in streams}
    ends: dict[int, int] = {}
    for packet in read_packets(container, *streams, continuity=continuity):
        index = packet.stream_index
        if not packet.size or packet.is_corrupt or packet.is_discard:
            continue
        before = ends.get(index, clocks[index].origin_ticks)
        begin = before if packet.pts is None else packet.pts
        ends[index] = max(begin + (packet.duration or usual[index]), before)
    return {index: clocks[index].exact_seconds(end) for index, end in ends.items()}
