"""What a video says in writing: subtitle files beside it, subtitle streams in it, its title."""

from __future__ import annotations

import html
import re
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av.container
import av.error
import av.packet
import av.stream
import pysubs2
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle

from vmm_cli.media.continuity import read_packets
from vmm_cli.media.probe import caption_kind, find_tag
from vmm_cli.media.source import clock_origin_s, open_media

SIDECAR_FORMATS = {".srt": "srt", ".vtt": "vtt", ".ass": "ass", ".ssa": "ssa"}
MAX_SIDECAR_BYTES = 32 * 2**20  # subtitles of a film take 0.1 MB; what is larger is no subtitles

# clip.en.srt, clip.pt-BR.forced.srt: a language tag (BCP 47), then what players append
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_REMARKS = {"forced", "sdh", "cc", "hi", "default"}


@dataclass(frozen=True)
class Caption:
    """A piece of text; one without times (a title) holds for the whole video.

    Times are seconds on the video's clock; `end_s` is None where nothing says when it goes.
    """

    start_s: float | None
    end_s: float | None
    text: str  # plain, without markup; lines parted by "\\n"
    source: Literal["sidecar", "stream", "title", "description", "speech"]
    language: str | None = None


@dataclass(frozen=True)
class CaptionResult:
    """The captions of a video, and in a line each what could not be read of them."""

    captions: tuple[Caption, ...]
    warnings: tuple[str, ...] = ()


def captions(path: Path) -> CaptionResult:
    """Read all text that belongs to a video, each source in order of time.

    From files of the same stem beside it (`clip.srt`, `clip.en.vtt`, `clip.ass`), from its text
    subtitle streams, and from its title and description tags. Pictures of text are left out. A
    damaged source gives what of it can be read, and a warning.

    Raises:
        InputError: as `open_media`, for the video itself.
    """
    found: list[Caption] = []
    complaints: list[str] = []
    with open_media(path) as container:
        for sidecar, language in sidecar_files(path):
            result = read_sidecar(sidecar, language)
            found += result.captions
            complaints += result.warnings
        embedded = _embedded(container)
        found += embedded.captions
        complaints += embedded.warnings
        title = find_tag(container.metadata, "title")
        if title is not None:
            found.append(Caption(None, None, title, "title"))
        description = find_tag(container.metadata, "description", "synopsis")
        if description is not None:
            found.append(Caption(None, None, description, "description"))
    return CaptionResult(tuple(found), tuple(complaints))


def sidecar_files(path: Path) -> list[tuple[Path, str | None]]:
    """Return the subtitle files that belong to a video by their names, each with its language."""
    found: list[tuple[Path, str | None]] = []
    try:
        neighbours = sorted(path.parent.iterdir())
    except OSError:
        return []
    for neighbour in neighbours:
        if neighbour.suffix.lower() not in SIDECAR_FORMATS:
            continue
        if neighbour.stem == path.stem:
            found.append((neighbour, None))
        elif neighbour.stem.startswith(path.stem + "."):
            language, *remarks = neighbour.stem[len(path.stem) + 1 :].split(".")
            if language.lower() in _REMARKS:
                found.append((neighbour, None))
            elif _LANGUAGE.fullmatch(language) and all(r.lower() in _REMARKS for r in remarks):
                found.append((neighbour, language))
    return found


def read_sidecar(path: Path, language: str | None = None) -> CaptionResult:
    """Read one subtitle file; a file that cannot be read gives a warning and no captions."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SIDECAR_BYTES:
            return CaptionResult((), (f"{path.name}: not a file of subtitles",))
        data = path.read_bytes()
    except OSError as error:
        return CaptionResult((), (f"{path.name}: cannot be read: {error.strerror}",))
    text = decode_text(data).replace("\r\n", "\n").replace("\r", "\n")
    form = _format_of(text, path.suffix.lower())
    events, bad = _parse(text, form)
    timed = [_from_event(event, form, language) for event in events]
    spoken = tuple(caption for caption in timed if caption is not None)
    complaints = []
    if bad:
        complaints.append(f"{path.name}: {bad} damaged lines were left out")
    if not events:
        complaints.append(f"{path.name}: no captions could be read from it")
    return CaptionResult(tuple(sorted(spoken, key=lambda c: c.start_s or 0.0)), tuple(complaints))


def decode_text(data: bytes) -> str:
    """Decode a subtitle file: by its byte order mark, else UTF-16 by its zeros, UTF-8, cp1252."""
    marks = (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe\x00\x00", "utf-32-le"),
        (b"\x00\x00\xfe\xff", "utf-32-be"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    )
    for mark, encoding in marks:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, errors="replace")
    start = data[:4096]
    if len(start) >= 4:  # digits and markup are ASCII in all languages: every other byte is zero
        if start[1::2].count(0) > len(start) / 4 and not start[0::2].count(0):
            return data.decode("utf-16-le", errors="replace")
        if start[0::2].count(0) > len(start) / 4 and not start[1::2].count(0):
            return data.decode("utf-16-be", errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        try:
            return data.decode("cp1252")
        except UnicodeDecodeError:
            return data.decode("latin-1")  # has every byte


def _format_of(text: str, suffix: str) -> str:
    """Return pysubs2's name of the format: what the text says it is, else what its name says."""
    start = text.lstrip()[:4096]
    if start.startswith("WEBVTT"):
        return "vtt"
    if start.startswith("[Script Info]"):
        return "ssa" if "[V4 Styles]" in start else "ass"
    return SIDECAR_FORMATS[suffix]


def _parse(text: str, form: str) -> tuple[list[pysubs2.SSAEvent], int]:
    """Return the events that pysubs2 finds, and how many lines it could not read."""
    if form == "vtt":
        text = _cues_only(text)
    elif form == "srt":
        # pysubs2 takes a number at the end of a text for that of the next caption; here is one
        text += "\n\n0\n"
    try:
        return _load(text, form), 0
    except (ValueError, TypeError, pysubs2.Pysubs2Error):
        pass
    events: list[pysubs2.SSAEvent] = []
    bad = 0
    for line in text.splitlines():  # one bad line must not cost the others
        if line.startswith("Dialogue:"):
            try:
                events += _load(f"[Events]\n{line}\n", form)
            except (ValueError, TypeError, pysubs2.Pysubs2Error):
                bad += 1
    return events, bad


def _load(text: str, form: str) -> list[pysubs2.SSAEvent]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about colours and alignments
        return list(pysubs2.SSAFile.from_string(text, format_=form))


def _cues_only(text: str) -> str:
    """Return WebVTT without what pysubs2 takes for text: notes, styles, names of cues, inner times.

    W3C WebVTT, section 4.1: blocks are parted by blank lines; one with "-->" is a cue.
    """
    cues: list[str] = []
    for block in re.split(r"\n[ \t]*\n", text):
        lines = block.strip("\n").split("\n")
        timing = next((i for i, line in enumerate(lines) if "-->" in line), None)
        if timing is not None:
            body = (re.sub(r"<\d[^>]*>", "", line) for line in lines[timing + 1 :])
            cues.append("\n".join(["0", lines[timing], *body]))
    return "WEBVTT\n\n" + "\n\n".join(cues) + "\n\n0\n"


def _from_event(event: pysubs2.SSAEvent, form: str, language: str | None) -> Caption | None:
    if event.is_comment or event.is_drawing:
        return None
    text = event.plaintext
    if form == "vtt":
        text = html.unescape(text)
    end_s = event.end / 1000 if event.end > event.start else None
    return _caption(event.start / 1000, end_s, text, "sidecar", language)


def _caption(
    start_s: float | None,
    end_s: float | None,
    text: str,
    source: Literal["sidecar", "stream"],
    language: str | None,
) -> Caption | None:
    """Return a caption with its lines trimmed; None where no text is left."""
    lines = [line.strip() for line in text.replace("\xa0", " ").splitlines()]
    trimmed = "\n".join(line for line in lines if line)
    return Caption(start_s, end_s, trimmed, source, language) if trimmed else None


def _embedded(container: av.container.InputContainer) -> CaptionResult:
    """Decode the text subtitle streams of a container, packet by packet."""
    streams = [s for s in container.streams.subtitles if caption_kind(s) == "text"]
    if not streams:
        return CaptionResult(())
    for other in container.streams:
        if other not in streams:
            other.discard = av.stream.Discard.all  # spares the demuxer the pictures
    origin = clock_origin_s(container)
    found: dict[int, list[Caption]] = {stream.index: [] for stream in streams}
    bad = 0
    for packet in read_packets(container, *streams):
        stream = packet.stream
        if packet.pts is None or not packet.size or not isinstance(stream, SubtitleStream):
            continue
        start = packet.pts * packet.time_base - origin
        length = (packet.duration or 0) * packet.time_base
        try:
            texts = list(_texts(stream, packet))
        except (av.error.FFmpegError, ValueError):
            bad += 1
            continue
        for text in texts:
            caption = _caption(
                float(max(start, Fraction(0))),
                float(start + length) if length > 0 else None,
                text,
                "stream",
                stream.language if stream.language != "und" else None,
            )
            if caption is not None:
                found[stream.index].append(caption)
    complaints = (f"{bad} damaged captions in the file were left out",) if bad else ()
    ordered = [c for one in found.values() for c in sorted(one, key=lambda c: c.start_s or 0.0)]
    return CaptionResult(tuple(ordered), complaints)


def _texts(stream: SubtitleStream, packet: av.packet.Packet[av.stream.Stream]) -> Iterator[str]:
    """Yield the plain texts of a packet: libav gives every text format as ASS."""
    for subtitle in stream.decode(packet):
        if isinstance(subtitle, AssSubtitle) and subtitle.ass:
            # ReadOrder, Layer, Style, Name, three margins, Effect, Text
            fields = subtitle.ass.decode("utf-8", errors="replace").split(",", 8)
            event = pysubs2.SSAEvent(text=fields[-1])
            if not event.is_drawing:
                yield event.plaintext
