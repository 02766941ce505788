"""Clips with closed captions among their pictures: CEA-608 in H.264, as broadcasts have them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

# CEA-608 control codes of the first channel, sent twice each
ROLL_UP_2 = (0x14, 0x25)
CARRIAGE_RETURN = (0x14, 0x2D)
RESUME_CAPTION_LOADING = (0x14, 0x20)
END_OF_CAPTION = (0x14, 0x2F)
ERASE_DISPLAYED = (0x14, 0x2C)
ERASE_LOADED = (0x14, 0x2E)
LAST_ROW = (0x14, 0x70)
NOTHING = (0, 0)


def pairs_of(text: str) -> list[tuple[int, int]]:
    """Return the pairs of characters of a text, the last one filled up."""
    data = text.encode("ascii")
    data += b"\0" * (len(data) % 2)
    return [(data[i], data[i + 1]) for i in range(0, len(data), 2)]


def rolled_up(line: str) -> list[tuple[int, int]]:
    """Return what rolls the screen up and writes a line under it."""
    return [ROLL_UP_2] * 2 + [CARRIAGE_RETURN] * 2 + [LAST_ROW] * 2 + pairs_of(line)


def popped_on(text: str) -> list[tuple[int, int]]:
    """Return what loads a caption and shows it in the place of the one before."""
    loading = [RESUME_CAPTION_LOADING] * 2 + [ERASE_LOADED] * 2 + [LAST_ROW] * 2
    return loading + pairs_of(text) + [END_OF_CAPTION] * 2


def caption_data(pairs: Iterable[tuple[int, int]], *, newer: bytes = b"") -> bytes:
    """Return the SEI message (ATSC A/53 in ITU-T T.35) of a picture: pairs of the first field.

    newer: triplets of CEA-708, as they are.
    """
    triplets = b"".join(bytes((0xFC, _odd(a), _odd(b))) for a, b in pairs) + newer
    count = len(triplets) // 3
    payload = b"\xb5\x00\x31GA94\x03" + bytes((0x40 | count, 0xFF)) + triplets + b"\xff"
    unit = bytes((6, 4, len(payload))) + payload + b"\x80"
    return b"\0\0\0\1" + _escaped(unit)


def captioned_clip(
    path: Path, by_picture: Mapping[int, bytes], *, pictures: int, rate: int = 30
) -> Path:
    """Render a clip, with B-pictures, that has `caption_data` before some of its pictures."""
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"bf": "2", "b-adapt": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"

        def write(packets: list[av.Packet]) -> None:
            for packet in packets:
                assert packet.pts is not None
                number = round(packet.pts * packet.time_base * rate)
                copy = av.Packet(by_picture.get(number, b"") + bytes(packet))
                copy.stream, copy.time_base = stream, packet.time_base
                copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
                copy.is_keyframe = packet.is_keyframe
                container.mux(copy)

        for number in range(pictures):
            grey = np.full((48, 64, 3), 2 * number % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            write(stream.encode(frame))
        write(stream.encode())
    return path


def spread(pairs: Iterable[tuple[int, int]], first: int) -> dict[int, bytes]:
    """Return the caption data of pictures from `first` on, a pair in each."""
    return {first + i: caption_data([pair]) for i, pair in enumerate(pairs)}


def _odd(byte: int) -> int:
    """Return a character of seven bits with the parity bit that makes it odd."""
    return byte | (0x80 if byte.bit_count() % 2 == 0 else 0)


def _escaped(unit: bytes) -> bytes:
    """Put a 3 behind two zeros, so that no start code comes up (ITU-T H.264, 7.4.1)."""
    kept = bytearray()
    for byte in unit:
        if byte <= 3 and kept.endswith(b"\0\0"):
            kept.append(3)
        kept.append(byte)
    return bytes(kept)
