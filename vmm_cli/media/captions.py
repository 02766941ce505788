"""What a video says in writing: files of captions beside it, captions in it, its title."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import av.container

from vmm_cli.media.caption_streams import read_streams
from vmm_cli.media.closed_captions import read_closed_captions
from vmm_cli.media.cues import MAX_CUES, Cue, damaged_characters, decode_text, with_line_feeds
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.media.probe import find_tag
from vmm_cli.media.rolling import unrolled
from vmm_cli.media.sidecars import SIDECAR_FORMATS, is_aside, sidecar_files, unclaimed_files
from vmm_cli.media.source import open_media
from vmm_cli.media.subrip import parse_subrip
from vmm_cli.media.substation import parse_substation
from vmm_cli.media.webvtt import SIGNATURE, parse_webvtt

MAX_SIDECAR_BYTES = 32 * 2**20  # subtitles of a film take 0.1 MB; what is larger is no subtitles

# Yield the cues of a text, and None for each that is damaged.
PARSERS: Mapping[str, Callable[[str], Iterator[Cue | None]]] = {
    "srt": parse_subrip,
    "vtt": parse_webvtt,
    "ass": parse_substation,
    "ssa": parse_substation,
}


@dataclass(frozen=True)
class Caption:
    """A piece of text; one without times (a title) holds for the whole video.

    Times are seconds on the video's clock; `end_s` is None where nothing says when it goes.

    Attributes:
        track: what tells the captions of one track: the name of a file, the number of a stream.
        is_aside: the track is not for all that is said: what is foreign ("forced"), a commentary.
    """

    start_s: float | None
    end_s: float | None
    text: str  # plain, without markup; lines parted by "\\n"
    source: Literal["sidecar", "stream", "title", "description", "speech"]
    language: str | None = None
    track: str = field(default="", compare=False)
    is_aside: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class _Track:
    """What the captions of one track have in common; see `Caption`."""

    source: Literal["sidecar", "stream"]
    language: str | None
    name: str
    is_aside: bool = False


@dataclass(frozen=True)
class CaptionResult:
    """The captions of a video, and in a line each what could not be read of them.

    `unread`: there are captions, but none of them can be read.
    """

    captions: tuple[Caption, ...]
    warnings: tuple[str, ...] = ()
    unread: bool = False


def captions(
    path: Path, *, until_s: float | None = None, max_pixels: int = DEFAULT_MAX_PIXELS
) -> CaptionResult:
    """Read all text that belongs to a video, each source in order of time.

    From files of the same name beside it (`clip.srt`, `clip.en.vtt`, `clip.mp4.ass`), from its
    subtitle streams, and from its title and description tags; where neither files nor streams have
    a caption, from the closed captions among its pictures. Captions that roll up are taken line by
    line. A damaged source gives what of it can be read, and a warning. Where no captions are read,
    what there is of other kinds (pictures of text) is told in a warning.

    until_s: how far closed captions are looked for, in seconds; None: among the first pictures. See
    `read_closed_captions`.

    Raises:
        InputError: as `open_media`, for the video itself.
    """
    found: list[Caption] = []
    complaints: list[str] = []
    beside = sidecar_files(path)
    with open_media(path, max_pixels=max_pixels) as container:
        for sidecar, language in beside:
            result = read_sidecar(sidecar, language, aside=is_aside(sidecar, path))
            found += result.captions
            complaints += result.warnings
        streams = read_streams(container)
        for track in streams.tracks:
            about = _Track("stream", track.language, str(track.index), track.is_aside)
            found += _captions(track.cues, about)
        complaints += streams.warnings
        passed_over = [*streams.passed_over]
        told = [*_told(container)]
        if not found:
            # Reading streams of text leaves the container at its end.
            fresh = None if streams.tracks else container
            among = read_closed_captions(path, fresh, until_s=until_s, max_pixels=max_pixels)
            found += _captions(among.cues, _Track("stream", None, "closed captions"))
            passed_over += among.passed_over
    if not found:
        complaints += [*passed_over, *_of_nobody(unclaimed_files(path))]
    unread = not found and bool(beside or passed_over)
    return CaptionResult((*found, *told), tuple(complaints), unread)


def read_sidecar(path: Path, language: str | None = None, *, aside: bool = False) -> CaptionResult:
    """Read one file of captions; one that cannot be read gives a warning and no captions."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SIDECAR_BYTES:
            return CaptionResult((), (f"{path.name}: not a file of subtitles",))
        data = path.read_bytes()
    except OSError as error:
        return CaptionResult((), (f"{path.name}: cannot be read: {error.strerror}",))
    text = decode_text(data)
    unread = damaged_characters(data, text)
    text = with_line_feeds(text)
    cues: list[Cue] = []
    damaged = 0
    for cue in PARSERS[_format_of(text, path.suffix.lower())](text):
        if len(cues) == MAX_CUES:
            break
        if cue is None:
            damaged += 1
        else:
            cues.append(cue)
    if not cues:
        return CaptionResult((), (f"{path.name}: no captions could be read from it",))
    complaints = []
    if unread:
        complaints.append(f"{path.name}: {unread} damaged characters in it could not be read")
    if damaged:
        complaints.append(f"{path.name}: {damaged} damaged lines were left out")
    if len(cues) == MAX_CUES:
        complaints.append(f"{path.name}: only its first {MAX_CUES} captions are read")
    about = _Track("sidecar", language, path.name, aside)
    return CaptionResult(tuple(_captions(cues, about)), tuple(complaints))


def _format_of(text: str, suffix: str) -> str:
    """Return what the text says it is, else what its name says: a key of `PARSERS`."""
    start = text[:4096].lstrip("\ufeff \t\n")
    if SIGNATURE.match(start):
        return "vtt"
    if start[:13].casefold() == "[script info]":
        return "ass"
    return SIDECAR_FORMATS[suffix]


def _captions(cues: Iterable[Cue], about: _Track) -> Iterator[Caption]:
    for cue in unrolled(tuple(cues)):
        yield Caption(
            cue.start_s,
            cue.end_s,
            cue.text,
            about.source,
            about.language,
            about.name,
            about.is_aside,
        )


def _told(container: av.container.InputContainer) -> Iterator[Caption]:
    """Yield what the tags of a file say."""
    title = find_tag(container.metadata, "title")
    if title is not None:
        yield Caption(None, None, title, "title")
    description = find_tag(container.metadata, "description", "synopsis")
    if description is not None:
        yield Caption(None, None, description, "description")


def _of_nobody(others: Sequence[Path]) -> Iterator[str]:
    """Say in a line that there are files whose names may mean that they belong to the video."""
    if others:
        more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
        yield (
            f"{others[0].name}{more}: not read, as its name does not say that it belongs to the "
            "video; captions are called like the video, with a language or without"
        )
