"""Where a video ends: what the file declares, and whether the pictures go on until then.

A file that was cut short still declares its whole length. Whether it was is seen in its index,
where that says how much of the file each picture takes, else at the packets of its last seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction

import av.container
import av.error
import av.index
import av.video.stream

from vmm_cli.media.packets import Clock, demux, is_indexed, picture_ticks
from vmm_cli.media.source import AV_TIME_BASE, clock_origin_s, clock_reading_s, is_bare

# The last entry of an index lies before the end by a picture and the reordering delay.
INDEX_END_SLACK_S = Fraction(2)
# Containers whose index lists each picture, with its place in the file and its size.
SIZED_INDEX_FORMATS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "avi"})


def declared_end_s(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> Fraction | None:
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
    stream: av.video.stream.VideoStream, clock: Clock, declared: Fraction | None
) -> Fraction | None:
    """Return a time in seconds on the clock by which the last picture has ended, or None.

    Only an index is to be trusted with that.
    """
    if declared is None or not is_indexed(stream):
        return None
    last = clock.exact_seconds(stream.index_entries[-1].timestamp)
    return max(declared, last + INDEX_END_SLACK_S)


def declared_is_there(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    clock: Clock,
    declared: Fraction,
) -> bool:
    """Tell whether an index of all pictures leads up to the declared end and out of no file."""
    if container.format.name not in SIZED_INDEX_FORMATS or not is_indexed(stream):
        return False
    last = stream.index_entries[-1]
    reaches = clock.exact_seconds(last.timestamp) >= declared - INDEX_END_SLACK_S
    return reaches and _end_of(last) <= container.size


def near_end_ticks(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    clock: Clock,
    declared: Fraction,
) -> int:
    """Return from where reading on finds the last pictures: before the end, or before a cut."""
    entries = stream.index_entries
    whole = bisect_left(
        range(len(entries)), True, key=lambda i: _end_of(entries[i]) > container.size
    )
    if is_indexed(stream) and 0 < whole < len(entries):
        return entries[whole - 1].timestamp
    return clock.ticks(declared - INDEX_END_SLACK_S)


def _end_of(entry: av.index.IndexEntry) -> int:
    return entry.pos + entry.size


def read_end_ticks(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    clock: Clock,
    start: int | None,
) -> int | None:
    """Return where the last picture ends, found by reading packets and decoding none.

    From the keyframe before `start` ticks on, or where that is None all of the file: then a picture
    without a time follows the one before. None where there are no pictures.
    """
    if start is not None:
        try:
            container.seek(start, stream=stream, backward=True)
        except av.error.FFmpegError:
            return None
    end = clock.origin_ticks if start is None else None
    found = None
    usual = picture_ticks(stream)
    for packet in demux(container, stream):
        begin = end if packet.pts is None else packet.pts
        if begin is None or packet.is_corrupt or packet.is_discard:
            continue
        end = max(begin + (packet.duration or usual), end or begin)
        found = end
    return found
