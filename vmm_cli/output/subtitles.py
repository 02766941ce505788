"""Subtitles: what holds from when to when, as SubRip (SRT) or WebVTT; a file is of one video."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from vmm_cli.output.escape import escape_controls

# SubRip has no escapes: what players take for markup (tags, and overrides as of SubStation Alpha)
# is written as what looks like it.
_SRT_LOOKALIKES = str.maketrans("<>{}\\", "\u2039\u203a()\u2216")


@dataclass(frozen=True, slots=True)
class Cue:
    """A text and when it is shown, in seconds on the video's clock; cues may overlap.

    Attributes:
        note: what stands on a line of its own below the text.
    """

    start_s: float
    end_s: float
    text: str
    note: str = ""


CuesOf = Callable[[Mapping[str, Any]], Iterable[Cue]]


class Subtitles:
    """Writes the cues that `cues_of` makes of a record; of one that is not ok, nothing."""

    def __init__(
        self,
        stream: TextIO,
        *,
        cues_of: CuesOf,
        write_cues: Callable[[TextIO, Iterable[Cue]], None],
    ) -> None:
        self._stream = stream
        self._cues_of = cues_of
        self._write_cues = write_cues

    def write(self, record: Mapping[str, Any]) -> None:
        """Write all cues of the one record."""
        if record["status"] == "ok":
            self._write_cues(self._stream, self._cues_of(record))
            self._stream.flush()

    def close(self) -> None:
        """Do nothing: every cue is whole already."""


def write_srt(stream: TextIO, cues: Iterable[Cue]) -> None:
    """Write cues as SubRip, in order of time; no cues are an empty file."""
    for number, (start_ms, end_ms, text) in enumerate(_timed(cues), start=1):
        shown = text.translate(_SRT_LOOKALIKES)
        stream.write(f"{number}\n{_time(start_ms, ',')} --> {_time(end_ms, ',')}\n{shown}\n\n")


def write_vtt(stream: TextIO, cues: Iterable[Cue]) -> None:
    """Write cues as WebVTT (W3C, section 4.1), in order of time."""
    stream.write("WEBVTT\n")
    for start_ms, end_ms, text in _timed(cues):
        shown = html.escape(text, quote=False)  # with ">" it hides "-->", which must not stand here
        stream.write(f"\n{_time(start_ms, '.')} --> {_time(end_ms, '.')}\n{shown}\n")


def _timed(cues: Iterable[Cue]) -> Iterator[tuple[int, int, str]]:
    """Yield start and end in ms, and the text and the note on one line each.

    A blank line would end the cue.
    """
    for cue in sorted(cues, key=lambda cue: (cue.start_s, cue.end_s)):
        start_ms = max(0, round(cue.start_s * 1000))
        # A cue that ends where it starts is shown by no player.
        end_ms = max(start_ms + 1, round(cue.end_s * 1000))
        lines = (escape_controls(" ".join(text.split())) for text in (cue.text, cue.note))
        yield start_ms, end_ms, "\n".join(line for line in lines if line)


def _time(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}{point}{rest:03d}"
