"""WebVTT, as https://www.w3.org/TR/webvtt1/ says that it is parsed (sections 6.1, 6.3 and 6.4)."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from vmm_cli.media.cues import Cue, CueText, clock_s, lines_of, make_cue

SIGNATURE = re.compile(r"WEBVTT(?=[ \t\n]|\Z)")

_ARROW = "-->"
# Commas and fewer digits than three are not WebVTT, but what they mean is plain.
_TIMESTAMP = r"(?:(\d{1,9}):)?(\d{2}):(\d{2})[.,](\d{1,3})(?!\d)"
_TIMING = re.compile(rf"[ \t\f]*{_TIMESTAMP}[ \t\f]*-->[ \t\f]*{_TIMESTAMP}")
# Any name makes a tag, known or not. The specification takes "<3 you" for one as well, and so
# loses the words; here what is neither a name nor a time stays.
_TAG = re.compile(r"</?(?:[A-Za-z.][^<>]*)?>|<\d+:[\d:.]+>")
# Not WebVTT, but left there by programs that convert from ASS: no words are spelt so.
_OVERRIDE = re.compile(r"\{\\[^{}]*\}")


def parse_webvtt(text: str) -> Iterator[Cue | None]:
    """Yield the cues of a file whose lines end with "\\n"; None for each that is damaged.

    A file without its first line, WEBVTT, is read all the same.
    """
    for timing, body in _blocks(text.lstrip("\ufeff\n")):
        times, marked = _times(timing), body.joined()
        if times is None or marked is None:
            yield None
        elif (cue := make_cue(*times, webvtt_plain(marked), marked)) is not None:
            yield cue


def webvtt_plain(marked: str) -> str:
    """Return the words of a cue: without tags and inner times, character references resolved.

    >>> webvtt_plain("<v Anna>I<00:00:01.469><c> love</c> fish &amp; chips &lt;3")
    'I love fish & chips <3'
    """
    return html.unescape(_OVERRIDE.sub("", _TAG.sub("", marked)))


def _blocks(text: str) -> Iterator[tuple[str, CueText]]:
    """Yield the line with the times of each cue, and its text.

    Only a line that is empty ends a block, or one with an arrow that cannot be this block's own.
    What has no arrow in its first two lines is no cue: notes, styles, regions.
    """
    in_header = SIGNATURE.match(text) is not None
    timing: str | None = None
    body = CueText()
    count = 0  # of the block's lines
    for line in lines_of(text):
        has_arrow = _ARROW in line
        if in_header and line and (count == 0 or not has_arrow):
            count += 1
            continue
        if in_header or not line or (has_arrow and (timing is not None or count > 1)):
            if timing is not None:
                yield timing, body
            timing, body, count, in_header = None, CueText(), 0, False
        if has_arrow:
            timing, body = line, CueText()
        elif line:
            body.add(line)
        count += bool(line)
    if timing is not None:
        yield timing, body


def _times(timing: str) -> tuple[float, float] | None:
    """Return start and end in seconds; None where a line with an arrow does not say both."""
    found = _TIMING.match(timing)
    if found is None:
        return None
    fields = found.groups()
    start, end = fields[:4], fields[4:]
    if any(int(field) > 59 for field in (*start[1:3], *end[1:3])):
        return None
    return clock_s(start), clock_s(end)
