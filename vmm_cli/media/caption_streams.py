"""The streams of captions in a container, packet by packet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial

import av.container
import av.error
import av.stream
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle

from vmm_cli.media.caption_data import CODEC, Packet, Triplets
from vmm_cli.media.closed_captions import decode
from vmm_cli.media.cues import (
    MAX_CUE_CHARACTERS,
    MAX_CUES,
    Cue,
    decode_text,
    make_cue,
    with_line_feeds,
)
from vmm_cli.media.probe import caption_kind, read_packets
from vmm_cli.media.source import clock_origin_s
from vmm_cli.media.subrip import subrip_plain
from vmm_cli.media.substation import BLOCK_FIELDS, block_names, block_text, substation_plain
from vmm_cli.media.webvtt import webvtt_plain

# Yields the texts of a packet, each as it stands there and plain; ValueError: it is damaged.
Reader = Callable[[Packet], Iterator[tuple[str, str]]]


@dataclass(frozen=True)
class TrackRead:
    """The cues of one stream, in the file's order, and its language where it says one."""

    cues: tuple[Cue, ...]
    language: str | None


@dataclass(frozen=True)
class StreamsRead:
    """What the streams of a container say; in a line each what is passed over, or damaged."""

    tracks: tuple[TrackRead, ...]
    passed_over: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class _ForeignError(ValueError):
    """A packet of a codec that libav does not know holds no text."""


@dataclass
class _Track:
    """A stream while it is read.

    Attributes:
        reader: None: pictures of text.
        triplets: of a track of closed captions, in the place of `cues`.
        damaged: how many packets could not be read.
        is_foreign: there were packets of no kind that can be read.
    """

    stream: SubtitleStream
    reader: Reader | None
    cues: list[Cue] = field(default_factory=list)
    triplets: list[Triplets] = field(default_factory=list)
    damaged: int = 0
    is_foreign: bool = False


def read_streams(container: av.container.InputContainer) -> StreamsRead:
    """Read all streams of text in a container; leaves it at its end."""
    tracks = [_Track(stream, _reader_of(stream)) for stream in container.streams.subtitles]
    by_index = {track.stream.index: track for track in tracks if track.reader is not None}
    for stream in container.streams:
        if stream.index not in by_index:
            stream.discard = av.stream.Discard.all  # spares the demuxer the pictures
    origin = clock_origin_s(container)
    end = Fraction(0)
    if by_index:
        for packet in read_packets(container, *(track.stream for track in by_index.values())):
            if packet.pts is not None and packet.size:
                start = packet.pts * packet.time_base - origin
                end = max(end, start + (packet.duration or 0) * packet.time_base)
                _take(by_index[packet.stream.index], packet, start)
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
                (*track.cues, *decode(track.triplets, end)),
                track.stream.language if track.stream.language != "und" else None,
            )
            for track in tracks
        ),
        tuple(_passed_over(t) for t in tracks if t.reader is None or t.is_foreign),
        tuple(complaints),
    )


def _take(track: _Track, packet: Packet, start: Fraction) -> None:
    """Add what a packet says to its track."""
    if _codec(track.stream) == CODEC:
        track.triplets.append(Triplets(start, bytes(packet)))
        return
    end = start + (packet.duration or 0) * packet.time_base
    try:
        texts = [] if track.reader is None else [*track.reader(packet)]
    except _ForeignError:
        track.is_foreign = True
        return
    except (av.error.FFmpegError, ValueError):
        track.damaged += 1
        return
    for marked, text in texts:
        if len(track.cues) == MAX_CUES:
            return
        cue = make_cue(float(start), float(end) if end > start else None, text, marked)
        if cue is not None:
            track.cues.append(cue)


def _passed_over(track: _Track) -> str:
    which = f"the captions of its stream {track.stream.index}"
    if track.reader is None:
        return f"{which} are pictures of text ({_codec(track.stream)}), which are not read"
    return f"{which} are of a kind that cannot be read"


def _codec(stream: SubtitleStream) -> str | None:
    context = stream.codec_context
    return None if context is None else context.codec.canonical_name


# --- by codec -----------------------------------------------------------------------------------


def _reader_of(stream: SubtitleStream) -> Reader | None:
    """Return what reads the packets of a stream; None where they are pictures."""
    codec = _codec(stream)
    if codec is None:
        return _unknown
    if codec in READERS:
        return READERS[codec]
    if codec in ("ass", "ssa"):
        header = with_line_feeds(decode_text(stream.codec_context.extradata or b""))
        return partial(_substation, block_names(header))
    return _by_libav if caption_kind(stream) == "text" else None


def _subrip(packet: Packet) -> Iterator[tuple[str, str]]:
    marked = _text(bytes(packet))
    yield marked, subrip_plain(marked)


def _webvtt(packet: Packet) -> Iterator[tuple[str, str]]:
    marked = _text(bytes(packet))
    yield marked, webvtt_plain(marked)


def _timed_text(packet: Packet) -> Iterator[tuple[str, str]]:
    """3GPP TS 26.245, 5.17: a length of two bytes, the text, then boxes of how it looks."""
    data = bytes(packet)
    length = int.from_bytes(data[:2], "big")
    if length > len(data) - 2:
        raise ValueError(f"{length} bytes of text in a packet of {len(data)}")
    marked = _text(data[2 : 2 + length])
    yield marked, subrip_plain(marked)


def _substation(names: tuple[str, ...], packet: Packet) -> Iterator[tuple[str, str]]:
    marked = block_text(_text(bytes(packet)), names)
    if marked is None:
        raise ValueError("a line of dialogue has too few fields")
    yield marked, substation_plain(marked)


def _by_libav(packet: Packet) -> Iterator[tuple[str, str]]:
    """Libav gives every format of text as the blocks that Matroska has of ASS."""
    assert isinstance(packet.stream, SubtitleStream)
    for subtitle in packet.stream.decode(packet):
        if isinstance(subtitle, AssSubtitle) and subtitle.ass:
            marked = block_text(subtitle.ass.decode("utf-8", errors="replace"), BLOCK_FIELDS)
            if marked is not None:
                yield marked, substation_plain(marked)


def _unknown(packet: Packet) -> Iterator[tuple[str, str]]:
    """What libav has no decoder for: WebVTT, as Matroska has it (S_TEXT/WEBVTT) and MP4 (wvtt).

    In Matroska a block has a cue's text alone; its settings and its name are beside it.
    """
    data = bytes(packet)
    if (payloads := _cue_boxes(data)) is not None:
        texts = payloads
    else:
        try:
            texts = [with_line_feeds(data.decode("utf-8"))]
        except UnicodeDecodeError:
            raise _ForeignError from None
        if not all(c.isprintable() or c in "\n\t" or c > "\x9f" for c in texts[0]):
            raise _ForeignError
        if texts[0].lstrip().startswith(("<?xml", "<tt")):
            raise _ForeignError  # TTML has its times inside
    for marked in texts:
        yield marked, webvtt_plain(marked)


def _cue_boxes(data: bytes) -> list[str] | None:
    """Return the texts of a sample of WebVTT in MP4; None where the bytes are none.

    ISO/IEC 14496-30, 6.6: a box for each cue (vttc) that has one of its text (payl), or vtte for
    none.
    """
    texts = []
    for kind, body in _boxes(data):
        if kind == b"vttc":
            texts += [_text(inner) for name, inner in _boxes(body) if name == b"payl"]
        elif kind not in (b"vtte", b"vtta"):
            return None
    return texts


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of the boxes that bytes are made of; no kind for what is none."""
    place = 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        if not 8 <= size <= len(data) - place:
            yield b"", data[place:]
            return
        yield data[place + 4 : place + 8], data[place + 8 : place + size]
        place += size


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
