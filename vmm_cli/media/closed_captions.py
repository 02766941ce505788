"""Closed captions among the pictures of a video: CEA-608, which libav's decoder reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av.codec.context
import av.container
import av.error
import av.packet
import av.stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

from vmm_cli.errors import InputError
from vmm_cli.media import sampling
from vmm_cli.media.caption_data import Triplets, is_marked, may_carry, pairs_of, triplets_of
from vmm_cli.media.continuity import read_packets, watch
from vmm_cli.media.cues import Cue, make_cue
from vmm_cli.media.frames import FrameRequest, iter_pictures
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.media.ordering import check_times, times_in_doubt
from vmm_cli.media.packets import PacketReader
from vmm_cli.media.probe import MAX_TIMED_PACKETS
from vmm_cli.media.source import best_video_stream, clock_origin_s, open_media
from vmm_cli.media.substation import BLOCK_FIELDS, block_text, substation_plain
from vmm_cli.media.trust import Distrust, distrust, trust_in

if TYPE_CHECKING:
    from av.sidedata.sidedata import SideData

_TIME_BASE_HZ = 1_000_000
_ERASE_DISPLAYED_MEMORY = bytes((0xFC, 0x94, 0x2C))
_ENDLESS = 0xFFFFFFFF  # libav's end of what nothing ends


@dataclass(frozen=True)
class ClosedCaptions:
    """What was read among the pictures; in a line what there is and cannot be read."""

    cues: tuple[Cue, ...] = ()
    passed_over: tuple[str, ...] = ()


def read_closed_captions(
    path: Path,
    unread: av.container.InputContainer | None = None,
    *,
    until_s: float | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> ClosedCaptions:
    """Read the closed captions among the pictures of a file.

    Pictures are decoded only where nothing but the decoder knows in which order they, and their
    captions, are shown.

    unread: the file, opened, with nothing read of it yet. until_s: how far to read, in seconds on
    the clock; None: to the end, but where the first
    `MAX_TIMED_PACKETS` pictures carry none, no further.

    Raises:
        InputError: as `open_media`.
    """
    if unread is not None:
        among = _in_packets(unread, until_s)
    else:
        with open_media(path, max_pixels=max_pixels) as container:
            among = _in_packets(container, until_s)
    if not among.found:
        return ClosedCaptions()
    if among.is_untimed or not _times_hold(path, max_pixels):
        try:
            among = _in_pictures(path, until_s, max_pixels)
        except InputError as error:
            message = f"the captions among its pictures cannot be put in order: {error}"
            return ClosedCaptions((), (message,))
    cues = decode(among.found, among.end_s)
    if not cues and has_newer(among.found):
        message = "the captions among its pictures (CEA-708) are of a kind that cannot be read"
        return ClosedCaptions((), (message,))
    return ClosedCaptions(cues)


@dataclass
class _Among:
    """What was found among the pictures, and when the last of them goes.

    is_untimed: nothing says when some of these pictures, which are not stored in order, are shown.
    """

    found: list[Triplets] = field(default_factory=list)
    end_s: Fraction = Fraction(0)
    is_untimed: bool = False


def _in_packets(container: av.container.InputContainer, until_s: float | None) -> _Among:
    among = _Among()
    stream = best_video_stream(container)
    if stream is None or not may_carry(stream):
        return among
    origin = clock_origin_s(container)
    is_there = False
    packets = read_packets(container, stream, continuity=watch(container), alone=True)
    for number, packet in enumerate(packets):
        is_there = is_there or is_marked(packet)
        if until_s is None:
            if not is_there and number >= MAX_TIMED_PACKETS:
                break
        elif packet.dts is not None and packet.dts * packet.time_base - origin > until_s:
            break
        among.found += triplets_of(packet, origin)
        if packet.pts is not None:
            end = packet.pts + (packet.duration or 0)
            among.end_s = max(among.end_s, end * packet.time_base - origin)
        elif packet.size and stream.codec_context.reorder_depth:
            among.is_untimed = True
    return among


def _times_hold(path: Path, max_pixels: int) -> bool:
    """Tell whether the pictures of a file are shown when it says."""
    if not trust_in(path).times:
        return False
    with open_media(path, max_pixels=max_pixels) as container:
        stream = best_video_stream(container)
        assert stream is not None  # captions were found there
        try:
            if times_in_doubt(container, stream, PacketReader(container, stream)):
                check_times(path, container, stream)
        except Distrust as doubt:
            distrust(path, doubt.claim)
            return False
    return True


def _in_pictures(path: Path, until_s: float | None, max_pixels: int) -> _Among:
    among = _Among()
    end = None if until_s is None or until_s == inf else Fraction(until_s)
    wanted = FrameRequest("captions", sampling.all(end=end))
    for picture in iter_pictures(path, [wanted], max_pixels=max_pixels):
        shown_at, frame = Fraction(picture.time_s), picture.frame
        for data in cast("Iterable[SideData]", frame.side_data):
            if data.type.name == "A53_CC":
                among.found.append(Triplets(shown_at, bytes(data)))
        length = (frame.duration or 0) * (frame.time_base or 0)
        among.end_s = max(among.end_s, shown_at + length)
    return among


def decode(found: Iterable[Triplets], end_s: Fraction) -> tuple[Cue, ...]:
    """Return what the captions of the first channel say until `end_s`; see `Triplets`."""
    pairs = [
        Triplets(one.time_s, kept)
        for one in sorted(found, key=lambda one: one.time_s)
        if (kept := b"".join(pair for pair in pairs_of(one.data) if _is_caption(pair)))
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


def _is_caption(pair: bytes) -> bool:
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
