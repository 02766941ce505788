"""SubRip (SRT). There is no specification: read as players do, and so that no word is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vmm_cli.media.cues import Parsed, clock_s, make_cue

_NUMBER = r"\s*(-?\d{1,9})\s*"
_CLOCK = rf"\s*(-?\s*\d{{1,9}}\s*:)?{_NUMBER}:{_NUMBER}(?:[,.:]{_NUMBER})?"
_TIMING = re.compile(rf"{_CLOCK}-{{1,3}}\s?>{_CLOCK}")
_DAMAGED_TIMING = re.compile(r"\d\s*-{2,3}>|-{2,3}>\s*-?\d")
_COUNTER = re.compile(r"\s*\d{1,9}\s*")

_NAMES = "b|i|u|s|em|strong|strike|big|small|tt|center|sub|sup|ruby|rb|rt|rp"
_NAMES_WITH_MORE = "font|span|p|div|a|c|v|lang"
# Tags that are markup somewhere: SubRip's own, HTML's, and WebVTT's, of which much is converted.
# Other angle brackets are part of the text: "<3", "<laughs>".
_TAG = re.compile(
    rf"<\s*(?:/\s*)?(?:{_NAMES})(?:\.[\w.-]*)?\s*(?:/\s*)?>"
    rf"|<\s*(?:/\s*)?(?:{_NAMES_WITH_MORE})(?:[\s.=/][^<>]*)?>"
    r"|<\d+:[\d:.]+>",
    re.IGNORECASE,
)
_BREAK = re.compile(r"<\s*br\s*(?:/\s*)?>", re.IGNORECASE)
# ASS override tags and MicroDVD's, which players obey here: {\an8}, {y:i}.
_OVERRIDE = re.compile(r"\{(?:\\[^{}]*|[yYfFsScCpP]:[^{}]*)\}")
_ESCAPES = (("\\N", "\n"), ("\\n", "\n"), ("\\h", " "))


def parse_subrip(text: str) -> Parsed:
    """Return the cues of a file whose lines end with "\\n".

    A cue goes on until the next line with times, over empty lines too. The number before such a
    line is its counter. A cue whose times cannot be read is counted as damaged.
    """
    cues = []
    damaged = 0
    for times, lines in _blocks(text):
        if times is None:
            damaged += 1
            continue
        marked = "\n".join(lines)
        cue = make_cue(*times, subrip_plain(marked), marked)
        if cue is not None:
            cues.append(cue)
    return Parsed(tuple(cues), damaged)


def subrip_plain(marked: str) -> str:
    """Return the words of a cue, without markup.

    >>> subrip_plain("{\\\\an8}<i>I <3 you</i> <laughs>")
    'I <3 you <laughs>'
    """
    text = _OVERRIDE.sub("", _TAG.sub("", _BREAK.sub("\n", marked)))
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    return text


def _blocks(text: str) -> Iterator[tuple[tuple[float, float] | None, list[str]]]:
    """Yield the times of each cue, None where they are damaged, and its lines."""
    times: tuple[float, float] | None = None
    lines: list[str] | None = None
    counter = 0
    before = ""
    for line in text.split("\n"):
        found = _times(line)
        if found is None and not _DAMAGED_TIMING.search(line):
            if lines is not None:
                lines.append(line)
            before = line
            continue
        is_counted = _COUNTER.fullmatch(before) is not None
        if lines is not None:
            if is_counted and lines:
                lines.pop()
            yield times, lines
        counter = int(before) if is_counted else counter + 1
        times, lines, before = found, [], ""
    if lines is not None:
        yield times, _without_counter(lines, counter + 1)


def _without_counter(lines: list[str], counter: int) -> list[str]:
    """Return the last cue's lines, where the file was cut short without the next one's number."""
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    if len(lines) > 1 and lines[-1].strip() == str(counter) and not lines[-2].strip():
        return lines[:-1]
    return lines


def _times(line: str) -> tuple[float, float] | None:
    """Return start and end in seconds; None for a line that is not one of times."""
    found = _TIMING.match(line) if ">" in line else None
    if found is None:
        return None
    fields = [None if f is None else f.replace(":", "").replace(" ", "") for f in found.groups()]
    start, end = fields[:4], fields[4:]
    if any(clock[0] is None and clock[3] is None for clock in (start, end)):
        return None  # "10:30 -> 11:45" may be text
    return clock_s(start), clock_s(end)
