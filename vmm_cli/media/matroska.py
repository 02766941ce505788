"""Matroska files that hold one recording after the other: which of them fit the first.

libav goes on into a second segment, but decodes it with what the first one's header says. Only
where both say the same can the pictures be right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

NAME = "matroska,webm"

# Element identifiers of RFC 8794 and RFC 9559.
_EBML, _SEGMENT, _TRACKS, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1654AE6B, 0x1F43B675
_TRACK_ENTRY, _CODEC_ID, _CODEC_PRIVATE = 0xAE, 0x86, 0x63A2
_MAX_TRACKS_BYTES = 2**20
_MAX_ELEMENTS = 1000  # before the first cluster


@dataclass(frozen=True, slots=True)
class Joins:
    """goes_on: whether something may follow the first segment. fits_to: the byte from where on the
    segments have other tracks than the first, None where none does."""

    goes_on: bool
    fits_to: int | None = None


def joins(path: Path) -> Joins:
    """Return how the segments of a Matroska file follow one another; OSError if it is not read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first: bytes | None = None
        position = 0
        while position < size:
            segment = _segment(file, position)
            if segment is None:
                # Recordings that were written live do not say how long they are.
                return Joins(goes_on=True)
            tracks, end = segment
            if first is None:
                first = tracks
            elif tracks != first:
                return Joins(goes_on=True, fits_to=position)
            if position == 0 and end >= size:
                return Joins(goes_on=False)
            position = end
    return Joins(goes_on=True)


def _segment(file: BinaryIO, position: int) -> tuple[bytes, int] | None:
    """Return the codecs of a segment and where it ends; None where that is not said."""
    header = _element(file, position)
    if header is None or header[0] != _EBML or header[2] is None:
        return None
    segment = _element(file, header[1] + header[2])
    if segment is None or segment[0] != _SEGMENT:
        return None
    _, begin, length = segment
    if length is None:
        return None
    for identity, at, inner in _children(file, begin, begin + length):
        if identity == _TRACKS and inner is not None:
            return _codecs(file, at, min(inner, _MAX_TRACKS_BYTES)), begin + length
        if identity == _CLUSTER:
            break
    return b"", begin + length


def _codecs(file: BinaryIO, begin: int, length: int) -> bytes:
    """Return what decoders are told of each track."""
    told = b""
    for identity, at, inner in _children(file, begin, begin + length):
        if identity != _TRACK_ENTRY or inner is None:
            continue
        for part, start, size in _children(file, at, at + inner):
            if part in (_CODEC_ID, _CODEC_PRIVATE) and size is not None:
                file.seek(start)
                told += part.to_bytes(4, "big") + file.read(min(size, _MAX_TRACKS_BYTES))
        told += b"|"
    return told


def _children(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[int, int, int | None]]:
    """Yield (identity, where the content begins, its length) of the elements in a stretch."""
    position = begin
    for _ in range(_MAX_ELEMENTS):
        element = _element(file, position) if position < end else None
        if element is None:
            return
        yield element
        if element[2] is None:
            return
        position = element[1] + element[2]


def _element(file: BinaryIO, position: int) -> tuple[int, int, int | None] | None:
    """Return an element's identity, where its content begins, and its length (None: any)."""
    file.seek(position)
    head = file.read(12)
    if len(head) < 2 or not head[0]:
        return None
    width = 9 - head[0].bit_length()
    identity = int.from_bytes(head[:width], "big")
    if width > 4 or len(head) <= width or not head[width]:
        return None
    wide = 9 - head[width].bit_length()
    raw = head[width : width + wide]
    if len(raw) < wide:
        return None
    length = int.from_bytes(raw, "big") & ((1 << 7 * wide) - 1)
    unknown = length == (1 << 7 * wide) - 1
    return identity, position + width + wide, None if unknown else length
