"""Stills, JPEG, PNG and WebP, as videos of one picture: what reads them, and how large they are.

libav finds out what a still is by its content and name, and takes some JPEGs for streams of them.
So it is told; and what is wrong with one is said here, as libav makes up what is missing of a JPEG
and says no more of a picture that is too large than that it cannot be decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path

from vmm_cli.errors import InputError
from vmm_cli.media.unopened import picture_kind

JPEG_NAMES = frozenset({".jfif", ".jpe", ".jpeg", ".jpg"})  # under another one it may be a stream
_HEAD_BYTES = 4096
_MOST = 2**31 // 8  # of (width + 128) x (height + 128), where libav stops
_WEBP_MOVES = 0x02  # of the flags of a VP8X chunk
_END_OF_PICTURE = b"\xff\xd9"
_SCAN = 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG's markers that tell a size


def still_demuxer(path: Path, max_pixels: int) -> str | None:
    """Return libav's name for what reads a still; None for other files.

    Raises:
        InputError: it is cut short, has more than `max_pixels`, or moves and libav cannot read it.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        if head[12:16] == b"VP8X" and head[20:21] and head[20] & _WEBP_MOVES:
            raise InputError(
                "refused",
                "is a WebP that moves, which vmm does not read: convert it to a GIF or a video",
            )
        _check_size(*_webp_size(head), max_pixels)
        return "webp_pipe"
    kind = picture_kind(head)
    if kind == "PNG" and b"acTL" not in head.partition(b"IDAT")[0]:
        _check_size(_number(head[16:20]), _number(head[20:24]), max_pixels)
        return "png_pipe"
    if kind != "JPEG" or path.suffix.lower() not in JPEG_NAMES:
        return None
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        for marker, at in _segments(content):
            if marker in _FRAMES:
                height, width = _number(content[at + 5 : at + 7]), _number(content[at + 7 : at + 9])
                _check_size(width, height, max_pixels)
            if marker == _SCAN and content.find(_END_OF_PICTURE, at) >= 0:
                return "jpeg_pipe"
    raise InputError("unreadable", "the picture is cut short: copy or download it again")


def _segments(content: mmap) -> Iterator[tuple[int, int]]:
    """Yield a JPEG's markers as far as the first scan, and where they lie."""
    at = 2
    while len(segment := content[at : at + 4]) == 4 and segment[0] == 0xFF:
        if segment[1] == 0xFF:  # a fill byte
            at += 1
            continue
        yield segment[1], at
        if segment[1] == _SCAN:
            return
        at += 2 + _number(segment[2:])


def _webp_size(head: bytes) -> tuple[int, int]:
    """Return the size of a WebP: https://developers.google.com/speed/webp/docs/riff_container."""
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return (
        int.from_bytes(head[26:28], "little") & 0x3FFF,
        int.from_bytes(head[28:30], "little") & 0x3FFF,
    )


def _check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise InputError for a picture that is too large."""
    if width * height > max_pixels:
        raise too_large(width, height, max_pixels)
    if (width + 128) * (height + 128) >= _MOST:
        raise InputError(
            "refused",
            f"its picture is {width}x{height}, more than the library decodes; scale it down",
        )


def too_large(width: int, height: int, max_pixels: int) -> InputError:
    """Return the error for pictures above the cap."""
    return InputError(
        "refused",
        f"its pictures are {width}x{height}, above the cap of {max_pixels} pixels; "
        "raise it with --max-pixels",
    )


def _number(big_endian: bytes) -> int:
    return int.from_bytes(big_endian, "big")
