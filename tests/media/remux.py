"""Copies of clips in other containers, and copies that were cut short."""

from __future__ import annotations

import os
from pathlib import Path

import av


def remux(clip: Path, target: Path, options: dict[str, str] | None = None) -> Path:
    """Copy a clip's pictures as they are into the container that the target's name asks for."""
    with av.open(str(clip)) as source, av.open(str(target), "w", options=options or {}) as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                copy.mux(packet)
    return target


def cut(clip: Path, share: float) -> Path:
    """Cut a file short, in place, to a share of its size."""
    os.truncate(clip, int(clip.stat().st_size * share))
    return clip
