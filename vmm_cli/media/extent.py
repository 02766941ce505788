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
from vmm_cli.media import fragments, matroska, trust
from vmm_cli.media.colours import is_approximate
from vmm_cli.media.continuity import Continuity, read_packets, watch
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.media.packets import Clock, is_indexed, picture_ticks
from vmm_cli.media.source import (
    AV_TIME_BASE,
    best_audio_stream,
    best_video_stream,
    clock_origin_s,
    clock_reading_s,
    is_bare,
    open_media,
    require_video_stream,
)
from vmm_cli.media.trust import FileKey, file_key
from vmm_cli.media.unopened import boxes

# The last packets are looked for from so long before a declared end.
LAST_PACKETS_S = Fraction(2)
# Containers whose index lists each picture, with its place in the file and its size.
SIZED_INDEX_FORMATS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "avi"})
# Demuxers that count time anew after a seek, so that it is off by some pictures.
SHIFTING_SEEKS = frozenset({"mxf"})
# What may be missing of a whole file: declared lengths are rounded, and tracks end one by one.
MISSING_MIN_S = Fraction(1, 2)
MISSING_MIN_SHARE = Fraction(1, 50)
# So much of a file at most may follow the last packet that libav finds: an index, padding.
UNREAD_MAX_SHARE = 0.1
UNREAD_MAX_BYTES = 2**14
MOVIE_MIN_BYTES = 512  # of an MP4 with any picture in it
# In Ogg all packets of a page, of up to 64 KiB, lie where the page begins.
UNREAD_MAX_BYTES_OF = {"ogg": 2**16}

DIGITS = 3  # of times in records
USUAL_BITS = 8  # of a sample

Stream = VideoStream | AudioStream


@dataclass(frozen=True)
class Extent:
    """How far a file goes; seconds on its clock.

    video_end_s: where its last picture ends; None: it has no pictures. end_s: where the last of
    pictures and sound ends. declared_s: where the container says so; None: it does not.
    restarts_s: where time stamps start anew. unread: the share of the bytes behind the last packet,
    where all were read and it is more than an index takes. other_recording: whether what follows
    needs other decoders. matrix: AVColorSpace of its pictures.
    has_sound: whether it has a stream of sound, be it one that can be decoded or not.
    pixels: of the largest pictures it declares, bits: of a sample in these; they tell how much
    memory decoding takes.
    """

    video_end_s: Fraction | None
    end_s: Fraction
    declared_s: Fraction | None = None
    restarts_s: tuple[float, ...] = ()
    unread: float = 0.0
    other_recording: bool = False
    matrix: int | None = None
    has_sound: bool = False
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
        if self.other_recording:
            lines.append(
                "another recording of other settings follows in the file, and is not read; split "
                "the file to read it"
            )
        elif self.unread > 0:
            lines.append(f"the last {self.unread:.0%} of the file cannot be read with the rest")
        if self.matrix is not None and is_approximate(self.matrix):
            lines.append("its colour matrix is a rare one; colours are converted approximately")
        return lines


_remembered: OrderedDict[FileKey, Extent] = OrderedDict()


def extent(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Extent:
    """Return how far a file's pictures and sound go.

    Raises:
        InputError: as `open_media`; `no_video`: it has neither pictures nor sound.
    """
    known = _remembered.get(file_key(path))
    if known is None:
        known = _measured(path, max_pixels)
        remember(path, known)
    return known


def remember(path: Path, known: Extent) -> None:
    """Remember how far a file goes, which somebody has found out."""
    trust.remember(_remembered, file_key(path), known)


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
        has_sound = len(container.streams.audio) > 0
        pixels, bits = max(map(_picture, container.streams.video), default=(0, USUAL_BITS))
        origin = clock_origin_s(container)
        continuity = watch(container)
        declared = {s.index: declared_end_s(container, s) for s in streams}
        is_whole = all(_is_whole(container, s) for s in streams)
        unread = _unread_movie(container, streams)
        read = _stated_ends(container, streams, declared) if continuity is None else _Read({})
        unread = unread or _unread(container, read.to)
    other = False
    if not read.ends:
        with open_media(path, max_pixels=max_pixels) as container:
            continuity = watch(container)
            again = [container.streams[s] for s in declared]
            read = _read_ends(container, [s for s in again if isinstance(s, Stream)], continuity)
            read_to = read.to if continuity is None else continuity.read_to
            unread = _unread(container, read_to or None)
            other = continuity is not None and continuity.fits_to is not None
    ends = read.ends
    restarts = () if continuity is None else continuity.restarts
    stated = [end for end in declared.values() if end is not None]
    return Extent(
        None if pictures is None else max(ends.get(pictures, Fraction(0)), Fraction(0)),
        max([*ends.values(), Fraction(0)]),
        None if restarts or is_whole else max(stated, default=None),
        tuple(float(one.time_s - origin) for one in restarts),
        unread,
        other,
        matrix,
        has_sound,
        pixels,
        bits,
    )


def _unread(container: av.container.InputContainer, read_to: int | None) -> float:
    """Return the share of a file that lies behind a byte; None: nobody knows up to where."""
    if read_to is None:
        return 0.0
    left = container.size - read_to
    share = left / container.size
    max_bytes = UNREAD_MAX_BYTES_OF.get(container.format.name, UNREAD_MAX_BYTES)
    return share if left > max_bytes and share > UNREAD_MAX_SHARE else 0.0


def _is_whole(container: av.container.InputContainer, stream: Stream) -> bool:
    """Return True if an index lists each packet, and all of them lie in the file."""
    if container.format.name not in SIZED_INDEX_FORMATS or not is_indexed(stream):
        return False
    end = _end_of(stream.index_entries[-1])
    return end <= container.size and not _goes_on_unlisted(container, stream)


def _goes_on_unlisted(container: av.container.InputContainer, stream: Stream) -> bool:
    """Return True for an AVI that goes on where its index ends: libav reads on as well."""
    if container.format.name != "avi" or not is_indexed(stream):
        return False
    return bool(_unread(container, _end_of(stream.index_entries[-1])))


def _unread_movie(container: av.container.InputContainer, streams: Sequence[Stream]) -> float:
    """Return the share of an MP4 that lies behind all that libav found: fragments, another one."""
    if container.format.name != fragments.NAME:
        return 0.0
    end = max((_end_of(s.index_entries[-1]) for s in streams if is_indexed(s)), default=None)
    if end is None or container.size - end < MOVIE_MIN_BYTES:
        return 0.0
    with Path(container.name.removeprefix("file:")).open("rb") as file:
        behind = [(kind, start) for kind, start, _ in boxes(file, container.size) if start >= end]
        kinds = {kind for kind, _ in behind}
    if b"moof" in kinds and (share := _unread(container, end)):
        return share
    # A movie behind another one that holds pictures: each has its header and its data.
    if not {b"ftyp", b"moov", b"mdat"} <= kinds:
        return 0.0
    return 1 - min(start for kind, start in behind if kind == b"ftyp") / container.size


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
) -> _Read:
    """Return where the streams end, from the index or the last packets; nothing: neither says."""
    stated = {index: end for index, end in declared.items() if end is not None}
    if len(stated) < len(streams):
        return _Read({})
    if all(declared_is_there(container, s, stated[s.index]) for s in streams):
        return _Read(stated)
    if container.format.name in SHIFTING_SEEKS:
        return _Read({})
    near = min(_near_end_s(container, s, stated[s.index]) for s in streams)
    if near <= 0:
        return _Read({})
    first = streams[0]
    clock = Clock.of(container, first)
    try:
        container.seek(clock.ticks(near), stream=first, backward=True)
    except av.error.FFmpegError:
        return _Read({})
    read = _read_ends(container, streams, None)
    return read if first.index in read.ends else _Read({})


def declared_end_s(container: av.container.InputContainer, stream: Stream) -> Fraction | None:
    """Return the end that the stream declares, else the container, in seconds on the clock."""
    if is_bare(container):
        return None  # libav guesses it from a bit rate, wrong by any factor
    if stream.duration and stream.time_base:
        ticks = (stream.start_time or 0) + stream.duration
        return ticks * stream.time_base - clock_origin_s(container)
    # Both say when the last packet ends, by its time stamp. Matroska has the first as a tag.
    tagged = None
    if container.format.name == matroska.NAME:  # a tag of the like is copied to other containers
        tagged = clock_reading_s(stream.metadata.get("DURATION"))
    end = Fraction(tagged) if tagged else Fraction(container.duration or 0, AV_TIME_BASE)
    origin = clock_origin_s(container)
    return (end - origin if 0 < origin < end else end) or None


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
    if _goes_on_unlisted(container, stream):
        return None
    last = clock.exact_seconds(stream.index_entries[-1].timestamp)
    return max(declared, last + _index_slack_s(stream))


def declared_is_there(
    container: av.container.InputContainer, stream: Stream, declared: Fraction
) -> bool:
    """Return True if an index of all packets ends where the stream says, inside the file."""
    if not _is_whole(container, stream):
        return False
    clock = Clock.of(container, stream)
    last = clock.exact_seconds(stream.index_entries[-1].timestamp)
    return declared - _index_slack_s(stream) <= last <= declared + MISSING_MIN_S


def _index_slack_s(stream: Stream) -> Fraction:
    """Return by how much the last entry of an index may lie before the end.

    By a picture and the reordering delay: entries of MP4 have decoding times.
    """
    if not isinstance(stream, VideoStream):
        return MISSING_MIN_S
    picture_s = picture_ticks(stream) * (stream.time_base or Fraction(1, AV_TIME_BASE))
    return MISSING_MIN_S + (2 + stream.codec_context.reorder_depth) * picture_s


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
    return declared - LAST_PACKETS_S


def _end_of(entry: av.index.IndexEntry) -> int:
    return entry.pos + entry.size


@dataclass(frozen=True, slots=True)
class _Read:
    """Where the last packet of each stream ends, and up to which byte there are packets."""

    ends: Mapping[int, Fraction]
    to: int | None = None


def _read_ends(
    container: av.container.InputContainer,
    streams: Sequence[Stream],
    continuity: Continuity | None,
) -> _Read:
    """Read packets from where the container stands to its end.

    A packet without a time follows the one before, the first one begins at 0.
    """
    clocks = {s.index: Clock.of(container, s) for s in streams}
    usual = {s.index: picture_ticks(s) if isinstance(s, VideoStream) else 0 for s in streams}
    ends: dict[int, int] = {}
    to: int | None = None
    for packet in read_packets(container, *streams, continuity=continuity):
        index = packet.stream_index
        if not packet.size or packet.is_corrupt or packet.is_discard:
            continue
        before = ends.get(index, clocks[index].origin_ticks)
        begin = before if packet.pts is None else packet.pts
        ends[index] = max(begin + (packet.duration or usual[index]), before)
        if packet.pos is not None:
            to = max(to or 0, packet.pos + packet.size)
    return _Read({index: clocks[index].exact_seconds(end) for index, end in ends.items()}, to)
