"""SubRip (SRT). There is no specification: read as players do, and so that no word is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from vmm_cli.media.cues import Cue, CueText, clock_s, lines_of, make_cue

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


def parse_subrip(text: str) -> Iterator[Cue | None]:
    """Yield the cues of a file whose lines end with "\\n"; None for each that is damaged.

    A cue goes on until the next line with times, over empty lines too. The number before such a
    line is its counter; see `_counter_at`.
    """
    for times, body in _blocks(text):
        marked = body.joined()
        if times is None or marked is None:
            yield None
        elif (cue := make_cue(*times, subrip_plain(marked), marked)) is not None:
            yield cue


def subrip_plain(marked: str) -> str:
    """Return the words of a cue, without markup.

    >>> subrip_plain("{\\\\an8}<i>I <3 you</i> <laughs>")
    'I <3 you <laughs>'
    """
    text = _OVERRIDE.sub("", _TAG.sub("", _BREAK.sub("\n", marked)))
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    return text


def _blocks(text: str) -> Iterator[tuple[tuple[float, float] | None, CueText]]:
    """Yield the times of each cue, None where they are damaged, and its text."""
    times: tuple[float, float] | None = None
    body = CueText()  # until the first line with times, what stands before it
    is_cue = False
    counter = 0
    for line in lines_of(text):
        found = _times(line)
        if found is None and not _DAMAGED_TIMING.search(line):
            body.add(line)
            continue
        place = _counter_at(body.lines, begins_file=not is_cue)
        counter = counter + 1 if place is None else int(body.lines[place])
        if is_cue:
            if place is not None:
                del body.lines[place:]
            yield times, body
        times, body, is_cue = found, CueText(), True
    if is_cue:
        _drop_counter(body.lines, str(counter + 1))
        yield times, body


def _counter_at(lines: Sequence[str], *, begins_file: bool) -> int | None:
    """Return which of the lines before one with times is its counter; None where there is none.

    There may be empty lines behind it, if there is one before it as well.
    """
    last = len(lines) - 1
    while last >= 0 and not lines[last].strip():
        last -= 1
    if last < 0 or not _COUNTER.fullmatch(lines[last]):
        return None
    if last == len(lines) - 1:
        return last
    stands_alone = begins_file if last == 0 else not lines[last - 1].strip()
    return last if stands_alone else None


def _drop_counter(lines: list[str], counter: str) -> None:
    """Drop the next cue's number from the end of a file that was cut short there."""
    while lines and not lines[-1].strip():
        lines.pop()
    if len(lines) > 1 and lines[-1].strip() == counter and not lines[-2].strip():
        lines.pop()


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
