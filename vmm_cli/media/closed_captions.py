"""Closed captions among the pictures of a video: CEA-608, which libav's decoder reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av.codec.context
import av.error
import av.packet
import av.stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

from vmm_cli.media.caption_data import Triplets, is_marked, may_carry, pairs_of, triplets_of
from vmm_cli.media.continuity import read_packets, watch
from vmm_cli.media.cues import Cue, make_cue
from vmm_cli.media.probe import MAX_TIMED_PACKETS
from vmm_cli.media.source import best_video_stream, clock_origin_s, open_media
from vmm_cli.media.substation import BLOCK_FIELDS, block_text, substation_plain

_TIME_BASE_HZ = 1_000_000
_ERASE_DISPLAYED_MEMORY = bytes((0xFC, 0x94, 0x2C))
_ENDLESS = 0xFFFFFFFF  # libav's end of what nothing ends


@dataclass(frozen=True)
class ClosedCaptions:
    """What was read among the pictures; in a line what there is and cannot be read."""

    cues: tuple[Cue, ...] = ()
    passed_over: tuple[str, ...] = ()


def read_closed_captions(path: Path) -> ClosedCaptions:
    """Read the closed captions among the pictures of a file, without decoding these.

    Where the first packets carry none, no more are read.

    Raises:
        InputError: as `open_media`.
    """
    with open_media(path) as container:
        stream = best_video_stream(container)
        if stream is None or not may_carry(stream):
            return ClosedCaptions()
        origin, end = clock_origin_s(container), Fraction(0)
        found: list[Triplets] = []
        is_there = False
        packets = read_packets(container, stream, continuity=watch(container), alone=True)
        for number, packet in enumerate(packets):
            is_there = is_there or is_marked(packet)
            if not is_there and number >= MAX_TIMED_PACKETS:
                return ClosedCaptions()
            found += triplets_of(packet, origin)
            if packet.pts is not None:
                end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base - origin)
    cues = decode(found, end)
    if not cues and has_newer(found):
        message = "the captions among its pictures (CEA-708) are of a kind that cannot be read"
        return ClosedCaptions((), (message,))
    return ClosedCaptions(cues)


def decode(found: Iterable[Triplets], end_s: Fraction) -> tuple[Cue, ...]:
    """Return what the captions of the first channel say until `end_s`; see `Triplets`."""
    pairs = [
        Triplets(one.time_s, kept)
        for one in sorted(found, key=lambda one: one.time_s)
        if (kept := b"".join(pair for pair in pairs_of(one.data) if _is_said(pair)))
    ]
    if not pairs:
        return ()
    fields = {pair[0] & 3 for one in pairs for pair in pairs_of(one.data)}
    context = av.codec.context.CodecContext.create("cc_dec", "r")
    assert isinstance(context, SubtitleCodecContext)
    context.options = {
        "pkt_timebase": f"1/{_TIME_BASE_HZ}",
        "data_field": "first" if 0 in fields else "second",
    }
    cues: list[Cue] = []
    for one in (*pairs, Triplets(max(end_s, pairs[-1].time_s), _ERASE_DISPLAYED_MEMORY)):
        packet = av.packet.Packet(one.data)
        packet.pts = packet.dts = round(one.time_s * _TIME_BASE_HZ)
        try:
            shown = context.decode2(packet)
        except (av.error.FFmpegError, ValueError):
            continue
        cues += [] if shown is None else _cues(shown)
    return tuple(cues)


def has_newer(found: Iterable[Triplets]) -> bool:
    """Tell whether there are captions of the newer kind, CEA-708: a service that says something."""
    return any(pair[0] & 7 == 7 and pair[2] & 0x1F for one in found for pair in pairs_of(one.data))


def _is_said(pair: bytes) -> bool:
    """Tell whether a triplet is valid, of CEA-608, and no padding."""
    return pair[0] & 6 == 4 and (pair[1] & 0x7F or pair[2] & 0x7F) != 0


def _cues(shown: SubtitleSet) -> Iterator[Cue]:
    start_s = shown.pts / _TIME_BASE_HZ
    length_ms = shown.end_display_time
    end_s = start_s + length_ms / 1000 if 0 < length_ms < _ENDLESS else None
    for subtitle in shown:
        if isinstance(subtitle, AssSubtitle):
            marked = block_text(subtitle.ass.decode("utf-8", errors="replace"), BLOCK_FIELDS) or ""
            cue = make_cue(start_s, end_s, substation_plain(marked), marked)
            if cue is not None:
                yield cue
