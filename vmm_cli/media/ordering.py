"""Whether a stream's presentation times agree with the order in which its pictures come out.

A decoder hands out pictures in the order in which they are shown. Containers without presentation
times (AVI; Matroska made from AVI) leave libav to guess them, and some muxers write decoding times
in their place: then the times of pictures that refer to later ones are permuted.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import av.container
import av.error
import av.video.stream

from vmm_cli.media.continuity import watch
from vmm_cli.media.packets import PacketReader, stores_decoding_times, video_packets
from vmm_cli.media.source import open_media
from vmm_cli.media.trust import Distrust, mark_checked, was_checked

# Codecs whose order libav cannot tell without presentation times.
_UNGUESSABLE = frozenset({"h264", "hevc", "vvc"})
CHECKED_PACKETS = 32  # more than two groups of as many pictures as H.264 and HEVC may reorder


def times_in_doubt(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    reader: PacketReader,
) -> bool:
    """Return True if pictures are reordered and the container's times do not show it."""
    if not stream.codec_context.reorder_depth:
        return False
    return stores_decoding_times(container, stream) or reader.in_order()


def check_times(
    path: Path, container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> None:
    """Check presentation times that are in doubt, against the first pictures.

    Raises:
        Distrust: they are not those at which its pictures are shown.
    """
    guessed = stores_decoding_times(container, stream)
    if guessed and stream.codec_context.codec.canonical_name in _UNGUESSABLE:
        raise Distrust("times")
    if was_checked(path):
        return
    if not _ascend(path, stream.index):
        raise Distrust("times")
    mark_checked(path)


def _ascend(path: Path, index: int) -> bool:
    """Decode the first pictures and return True if their times ascend."""
    last = None
    with open_media(path) as container:
        stream = container.streams[index]
        assert isinstance(stream, av.video.stream.VideoStream)
        for packet in islice(video_packets(container, stream, watch(container)), CHECKED_PACKETS):
            try:
                frames = packet.decode()
            except (av.error.FFmpegError, ValueError):
                continue
            for frame in frames:
                if frame.pts is None or (last is not None and frame.pts < last):
                    return False
                last = frame.pts
    return True
