"""The streams of captions in a container, packet by packet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial

import av.container
import av.error
import av.stream
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle

from vmm_cli.media.caption_data import CODEC, Packet, Triplets
from vmm_cli.media.closed_captions import decode
from vmm_cli.media.continuity import read_packets, watch
from vmm_cli.media.cues import (
    MAX_CUE_CHARACTERS,
    MAX_CUES,
    Cue,
    decode_text,
    make_cue,
    with_line_feeds,
)
from vmm_cli.media.probe import caption_kind
from vmm_cli.media.source import clock_origin_s
from vmm_cli.media.subrip import subrip_plain
from vmm_cli.media.substation import BLOCK_FIELDS, block_names, block_text, substation_plain
from vmm_cli.media.webvtt import webvtt_plain

BOX_HEADER_BYTES = 8
ROUNDING_S = 0.0015  # of times that are written in milliseconds
_ASIDE = av.stream.Disposition.forced | av.stream.Disposition.comment


@dataclass(frozen=True)
class CaptionText:
    """A text as it stands in a packet, and plain.

    key: what tells a cue that may go on in the next packet; empty: it does not.
    """

    marked: str
    text: str
    key: bytes = b""


# Yields the texts of a packet; ValueError: it is damaged.
Reader = Callable[[Packet], Iterator[CaptionText]]


@dataclass(frozen=True)
class TrackRead:
    """The cues of one stream, in the file's order, and its language where it says one.

    is_aside: it is marked as not for all that is said, but for what is foreign, or a commentary.
    """

    index: int
    cues: tuple[Cue, ...]
    language: str | None
    is_aside: bool


@dataclass(frozen=True)
class StreamsRead:
    """What the streams of a container say; in a line each what is passed over, or damaged."""

    tracks: tuple[TrackRead, ...]
    passed_over: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class _ForeignError(ValueError):
    """A packet of a codec that libav does not know holds captions, but not as text."""


class _NoCaptionsError(ValueError):
    """A packet of data holds no captions at all."""


@dataclass
class _Track:
    """A stream while it is read.

    Attributes:
        triplets: of a track of closed captions, in place of `cues`.
        positions: of cues that may go on in the next packet, in `cues`, by what tells them; see
            `_cue_boxes`.
        damaged: how many packets could not be read.
        is_foreign: it has captions of no kind that can be read.
        is_over: it is known that there is nothing (more) to be read.
    """

    stream: av.stream.Stream
    reader: Reader
    cues: list[Cue] = field(default_factory=list)
    triplets: list[Triplets] = field(default_factory=list)
    positions: dict[bytes, int] = field(default_factory=dict)
    damaged: int = 0
    is_foreign: bool = False
    is_over: bool = False


def read_streams(container: av.container.InputContainer) -> StreamsRead:
    """Read all streams of text in a container; leaves it at its end."""
    is_mp4 = container.format.name.startswith("mov")
    streams = [s for s in container.streams if s.type == "subtitle" or (is_mp4 and _is_data(s))]
    tracks = [_Track(s, reader) for s in streams if (reader := _reader_of(s)) is not None]
    by_index = {track.stream.index: track for track in tracks}
    origin = clock_origin_s(container)
    end = Fraction(0)
    wanted = (track.stream for track in tracks)
    packets = read_packets(container, *wanted, continuity=watch(container), alone=True)
    for packet in packets if tracks else ():
        track = by_index[packet.stream.index]
        if packet.pts is not None and packet.size and not track.is_over:
            start = packet.pts * packet.time_base - origin
            end = max(end, start + (packet.duration or 0) * packet.time_base)
            _take(track, packet, start)
            if all(track.is_over for track in tracks):
                break
    complaints = []
    if damaged := sum(track.damaged for track in tracks):
        complaints.append(f"{damaged} damaged captions in the file were left out")
    for track in tracks:
        if len(track.cues) == MAX_CUES:
            which = f"stream {track.stream.index}"
            complaints.append(f"only the first {MAX_CUES} captions of its {which} are read")
    return StreamsRead(
        tuple(
            TrackRead(
                track.stream.index,
                (*track.cues, *decode(track.triplets, end)),
                track.stream.language if track.stream.language != "und" else None,
                bool(track.stream.disposition & _ASIDE),
            )
            for track in tracks
        ),
        tuple(_passed_over(streams, tracks)),
        tuple(complaints),
    )


def _take(track: _Track, packet: Packet, start: Fraction) -> None:
    """Add what a packet says to its track."""
    if _codec(track.stream) == CODEC:
        track.triplets.append(Triplets(start, bytes(packet)))
        return
    end = start + (packet.duration or 0) * packet.time_base
    try:
        texts = [*track.reader(packet)]
    except (_ForeignError, _NoCaptionsError) as error:
        if track.cues:
            track.damaged += 1
        else:
            track.is_foreign, track.is_over = isinstance(error, _ForeignError), True
        return
    except (av.error.FFmpegError, ValueError):
        track.damaged += 1
        return
    shown = track.positions
    if end > start:  # else it is what a muxer puts between others
        track.positions = {}
    for one in texts:
        if track.is_over:
            return
        cue = make_cue(float(start), float(end) if end > start else None, one.text, one.marked)
        if cue is None:
            continue
        position = shown.pop(one.key, None) if one.key else None
        if position is not None and _touch(track.cues[position], cue):
            track.cues[position] = replace(track.cues[position], end_s=cue.end_s)
        else:
            position = len(track.cues)
            track.cues.append(cue)
            track.is_over = len(track.cues) == MAX_CUES
        if one.key:
            track.positions[one.key] = position


def _touch(before: Cue, after: Cue) -> bool:
    return before.end_s is not None and abs(after.start_s - before.end_s) < ROUNDING_S


def _passed_over(streams: Sequence[av.stream.Stream], tracks: Sequence[_Track]) -> Iterator[str]:
    by_index = {track.stream.index: track for track in tracks}
    for stream in streams:
        which = f"the captions of its stream {stream.index}"
        track = by_index.get(stream.index)
        if track is None:
            yield f"{which} are pictures of text ({_codec(stream)}), which are not read"
        elif track.is_foreign:
            yield f"{which} are of a kind that cannot be read"


def _codec(stream: av.stream.Stream) -> str | None:
    context = stream.codec_context
    return None if context is None else context.codec.canonical_name


def _is_data(stream: av.stream.Stream) -> bool:
    """Tell whether libav knows nothing of a stream: in MP4, WebVTT and TTML are among those."""
    return stream.type == "data" and stream.codec_context is None


# --- by codec -----------------------------------------------------------------------------------


def _reader_of(stream: av.stream.Stream) -> Reader | None:
    """Return what reads the packets of a stream; None where they are pictures."""
    codec = _codec(stream)
    if not isinstance(stream, SubtitleStream):
        return _data
    if codec is None:
        return _unknown
    if codec in READERS:
        return READERS[codec]
    if codec in ("ass", "ssa"):
        header = with_line_feeds(decode_text(stream.codec_context.extradata or b""))
        return partial(_substation, block_names(header))
    return _by_libav if caption_kind(stream) == "text" else None


def _subrip(packet: Packet) -> Iterator[CaptionText]:
    marked = _text(bytes(packet))
    yield CaptionText(marked, subrip_plain(marked))


def _webvtt(packet: Packet) -> Iterator[CaptionText]:
    marked = _text(bytes(packet))
    yield CaptionText(marked, webvtt_plain(marked))


def _timed_text(packet: Packet) -> Iterator[CaptionText]:
    """3GPP TS 26.245, 5.17: a length of two bytes, the text, then boxes of how it looks."""
    data = bytes(packet)
    length = int.from_bytes(data[:2], "big")
    if length > len(data) - 2:
        raise ValueError(f"{length} bytes of text in a packet of {len(data)}")
    marked = _text(data[2 : 2 + length])
    yield CaptionText(marked, subrip_plain(marked))


def _substation(names: tuple[str, ...], packet: Packet) -> Iterator[CaptionText]:
    marked = block_text(_text(bytes(packet)), names)
    if marked is None:
        raise ValueError("a line of dialogue has too few fields")
    yield CaptionText(marked, substation_plain(marked))


def _by_libav(packet: Packet) -> Iterator[CaptionText]:
    """Libav gives every format of text as the blocks that Matroska has of ASS."""
    assert isinstance(packet.stream, SubtitleStream)
    for subtitle in packet.stream.decode(packet):
        if isinstance(subtitle, AssSubtitle) and subtitle.ass:
            marked = block_text(subtitle.ass.decode("utf-8", errors="replace"), BLOCK_FIELDS)
            if marked is not None:
                yield CaptionText(marked, substation_plain(marked))


def _unknown(packet: Packet) -> Iterator[CaptionText]:
    """WebVTT as Matroska has it (S_TEXT/WEBVTT), for which libav has no decoder.

    A block has a cue's text alone; its settings and its name are beside it.
    """
    if packet.size > MAX_CUE_CHARACTERS:
        raise _ForeignError
    try:
        marked = with_line_feeds(bytes(packet).decode("utf-8"))
    except UnicodeDecodeError:
        raise _ForeignError from None
    if _is_ttml(marked) or any(c < " " and c not in "\n\t" for c in marked):
        raise _ForeignError
    yield CaptionText(marked, webvtt_plain(marked))


def _data(packet: Packet) -> Iterator[CaptionText]:
    """WebVTT as MP4 has it (wvtt), of which libav knows nothing; and whatever else that is so."""
    data = bytes(packet)
    texts = _cue_boxes(data) if len(data) >= BOX_HEADER_BYTES else []
    if texts is not None:
        for key, marked in texts:
            yield CaptionText(marked, webvtt_plain(marked), key)
    elif _is_ttml(data[:4096].decode("utf-8", errors="replace")):
        raise _ForeignError
    else:
        raise _NoCaptionsError


def _is_ttml(text: str) -> bool:
    """Tell whether text is that of TTML, which has its times inside."""
    return re.match(r"\s*(?:<\?xml[^>]*>\s*)?<(?:\w+:)?tt[\s>]", text.lstrip("\ufeff")) is not None


def _cue_boxes(data: bytes) -> list[tuple[bytes, str]] | None:
    """Return key and text of the cues in a sample of WebVTT in MP4; None where the bytes are none.

    ISO/IEC 14496-30, 6.6: a box for each cue (vttc) that has one of its text (payl), or vtte for
    none. A cue that is shown for longer than a sample stands in the next one too, with the same
    number of its source (vsid); not all writers put that there, and then its name (iden) tells.
    """
    texts = []
    for kind, body in _boxes(data):
        if kind == b"vttc":
            inner = dict(_boxes(body))
            if (payload := inner.get(b"payl")) is not None:
                source = inner.get(b"vsid", b"")
                key = (source or inner.get(b"iden", b"")) + b"\0" + payload
                texts.append((key, _text(payload)))
        elif kind not in (b"vtte", b"vtta"):
            return None
    return texts


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of the boxes that bytes are made of; no kind for what is none."""
    position = 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if not BOX_HEADER_BYTES <= size <= len(data) - position:
            yield b"", data[position:]
            return
        yield data[position + 4 : position + 8], data[position + 8 : position + size]
        position += size


def _text(data: bytes) -> str:
    if len(data) > MAX_CUE_CHARACTERS:
        raise ValueError(f"{len(data)} bytes in one caption")
    return with_line_feeds(decode_text(data).rstrip("\0"))


READERS: Mapping[str, Reader] = {
    "mov_text": _timed_text,
    "subrip": _subrip,
    "text": _subrip,
    "webvtt": _webvtt,
}
