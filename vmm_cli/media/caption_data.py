"""Caption data among pictures, as ATSC A/53 part 4 carries it in MPEG-2, H.264, HEVC and AV1.

It is found in the packets, before any picture is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import av.packet
import av.stream

CODEC = "eia_608"  # libav's name, also of tracks that hold nothing else

# A/53 part 4, 6.2.3: user_identifier and user_data_type_code, alike in all the codecs below.
_MARK = b"GA94\x03"
_ESCAPING = frozenset({"h264", "hevc"})  # these put a 3 behind two zeros that others would follow
_CODECS = _ESCAPING | {"mpeg2video", "mpeg1video", "av1"}
MAX_TRIPLETS = 31
HEAD_BYTES = 1024  # what is said of a picture stands before it


Packet: TypeAlias = "av.packet.Packet[av.stream.Stream]"


@dataclass(frozen=True)
class Triplets:
    """What belongs to one picture: three bytes (kind, two of data) for each pair of characters."""

    time_s: Fraction  # on the clock of what holds the captions
    data: bytes


def may_carry(stream: av.stream.Stream) -> bool:
    """Tell whether closed captions can be in the packets of a stream."""
    context = stream.codec_context
    return context is not None and context.codec.canonical_name in _CODECS


def is_marked(packet: Packet) -> bool:
    """Tell whether closed captions, be they empty, stand at the beginning of a packet."""
    return _MARK in bytes(memoryview(packet)[:HEAD_BYTES])


def triplets_of(packet: Packet, origin: Fraction) -> Iterator[Triplets]:
    """Yield the closed captions in a packet of pictures (none, one, or one for each field)."""
    ticks = packet.pts if packet.pts is not None else packet.dts
    if ticks is None:
        return
    data = bytes(packet)
    place = data.find(_MARK)
    while place >= 0:
        place += len(_MARK)
        # flags and a count, a byte of no use, then the triplets, with what may be put between
        payload = data[place : place + 2 + 2 * 3 * MAX_TRIPLETS]
        if packet.stream.codec_context.codec.canonical_name in _ESCAPING:
            payload = payload.replace(b"\0\0\3", b"\0\0")
        if payload and payload[0] & 0x40:
            count = payload[0] & 0x1F
            yield Triplets(ticks * packet.time_base - origin, payload[2 : 2 + 3 * count])
        place = data.find(_MARK, place)


def pairs_of(data: bytes) -> Iterator[bytes]:
    """Yield the triplets of one picture, three bytes each."""
    for place in range(0, len(data) - 2, 3):
        yield data[place : place + 3]
