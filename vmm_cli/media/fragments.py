"""MP4 files of fragments: whether the times of these start anew within a file.

Each fragment says when it begins (tfdt). Where one recording follows the other, as after `cat`, or
where a muxer counts each fragment from 0, one begins no later than the one before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vmm_cli.media.unopened import boxes

NAME = "mov,mp4,m4a,3gp,3g2,mj2"
_MAX_MOOF_BYTES = 2**20


def times_start_anew(path: Path) -> bool:
    """Return True if a fragment of a track begins no later than the one before it.

    An index of all fragments (sidx) before the first of them is what libav goes by: then the
    fragments are not looked at. OSError where the file cannot be read.
    """
    begun: dict[int, int] = {}
    size = path.stat().st_size
    with path.open("rb") as file:
        for kind, start, end in boxes(file, size):
            if kind == b"sidx" and not begun:
                return False
            if kind != b"moof" or end - start > _MAX_MOOF_BYTES:
                continue
            for track, time in _begins(file, start, end):
                if track in begun and time <= begun[track]:
                    return True
                begun[track] = time
    return False


def _begins(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield of each track of a fragment its number and when it begins, in its ticks."""
    for kind, begin, stop in boxes(file, end, start + 8):
        if kind != b"traf":
            continue
        track, time = None, None
        for inner, at, _ in boxes(file, stop, begin + 8):
            file.seek(at + 8)
            head = file.read(12)
            if inner == b"tfhd":
                track = int.from_bytes(head[4:8], "big")
            elif inner == b"tfdt":
                time = int.from_bytes(head[4:12] if head[0] == 1 else head[4:8], "big")
        if track is not None and time is not None:
            yield track, time
