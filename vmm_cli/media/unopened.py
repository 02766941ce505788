"""What a file is that libav does not open, told by its own bytes: what to do next depends on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_HEAD_BYTES = 4096
_MAX_BOXES = 10_000  # at the top of a file; a fragment a second for hours

# (what a file begins with, kind of picture)
_PICTURES = (
    (re.compile(rb"\xff\xd8\xff"), "JPEG"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG"),
    (re.compile(rb"BM.{4}\x00{4}", re.DOTALL), "BMP"),
    (re.compile(rb"II\*\x00|MM\x00\*"), "TIFF"),
    (re.compile(rb"\x00\x00\x01\x00"), "ICO"),
    (re.compile(rb"\x00\x00\x00\x0cjP  "), "JPEG 2000"),
    (re.compile(rb"\xff\x0a|\x00\x00\x00\x0cJXL "), "JPEG XL"),
    (re.compile(rb"8BPS"), "Photoshop"),
    (re.compile(rb"P[1-6]\s"), "PNM"),
    (re.compile(rb"v/1\x01"), "OpenEXR"),
)
# (bytes at the beginning, what it is and what to do next)
_OTHERS = (
    (b"PK\3\4", "is an archive or a document, not a video: unpack it first"),
    (b"\x1f\x8b", "is an archive, not a video: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "is an archive, not a video: unpack it first"),
    (b"Rar!\x1a\7", "is an archive, not a video: unpack it first"),
    (b"%PDF-", "is a PDF document, not a video"),
)
_CAPTIONS = frozenset({".srt", ".vtt", ".ass", ".ssa", ".sub", ".smi", ".sami"})
_WEB_PAGE = "is a web page, not a video: the download went wrong; download the video itself"
_ZEROS = "begins with zeros alone: it was not written to the end; copy or download it again"
_TEXT = "is text, not a video"

_INCOMPLETE = "the file is incomplete: its index (moov) is {}; copy or download it again"
_SEGMENT = (
    "is a segment of a stream, without the index (moov) at its beginning: put the stream's init "
    "segment before it, as `cat init.mp4 segment.m4s > whole.mp4` does"
)
_CUT_MATROSKA = "the file is incomplete or damaged: its beginning cannot be read; copy it again"


def why_not_a_video(path: Path) -> str | None:
    """Return what a file is that is no video, or why it is no whole one; None where nobody knows.

    OSError where it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        kind = picture_kind(head)
        if kind is not None:
            return a_picture(kind)
        for signature, what in _OTHERS:
            if head.startswith(signature):
                return what
        if not head.strip(b"\0"):
            return _ZEROS
        if head.startswith(b"\x1aE\xdf\xa3"):
            return _CUT_MATROSKA
    return why_no_movie(path) or _why_text(head)


def a_picture(kind: str) -> str:
    """Return what is said of a still picture."""
    return f"is a picture, not a video: {kind}; of pictures vmm reads JPEG, PNG and WebP"


def refused_as(path: Path) -> str | None:
    """Return what a file is that libav knows and vmm does not read: a picture, captions; or None.

    OSError where it cannot be read.
    """
    with path.open("rb") as file:
        kind = picture_kind(file.read(_HEAD_BYTES))
    if kind is not None:
        return a_picture(kind)
    if path.suffix.lower() in _CAPTIONS:
        return "holds captions, not a video: name the video that they belong to"
    return None


def picture_kind(head: bytes) -> str | None:
    """Return the kind of still picture that a file's first bytes begin, or None.

    >>> picture_kind(b"\\xff\\xd8\\xff\\xe0")
    'JPEG'
    """
    return next((kind for signature, kind in _PICTURES if signature.match(head)), None)


def why_no_movie(path: Path) -> str | None:
    """Return what a file of the MP4 family lacks; None where it is none, or lacks nothing.

    OSError where it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        # Of each kind of box whether the last one is all there.
        kinds = {kind: end <= size for kind, _, end in boxes(file, size)}
    if not kinds.keys() & {b"ftyp", b"mdat", b"moof", b"styp", b"moov"}:
        return None
    if b"moov" in kinds:
        return None if kinds[b"moov"] else _INCOMPLETE.format("cut short")
    if kinds.keys() & {b"moof", b"styp"}:
        return _SEGMENT
    return _INCOMPLETE.format("missing")


def boxes(file: BinaryIO, size: int, start: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes of an MP4 file from `start` to `size`: kind, where it begins and ends; bytes.

    By default those at the top.
    """
    for _ in range(_MAX_BOXES):
        if start >= size:
            return
        file.seek(start)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if len(header) < 8 or not kind.isascii() or not kind.decode("ascii").isprintable():
            return
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        end = size if length == 0 else start + length
        if end <= start:
            return
        yield kind, start, end
        start = end


def _why_text(head: bytes) -> str | None:
    if b"\0" in head:
        return None
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return _WEB_PAGE
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not only the last letter is cut
            return None
    return _TEXT
