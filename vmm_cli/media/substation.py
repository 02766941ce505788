"""SubStation Alpha (SSA, ASS): the lines of dialogue, by what their `Format:` line says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from vmm_cli.media.cues import MAX_CUE_CHARACTERS, Cue, clock_s, lines_of, make_cue

# Where no line says otherwise; SSA calls the first one Marked.
EVENT_FIELDS = (
    "layer",
    "start",
    "end",
    "style",
    "name",
    "marginl",
    "marginr",
    "marginv",
    "effect",
    "text",
)
MAX_FIELDS = 64
# Matroska, "Subtitles: SSA": a block has no times, and a number in their place.
BLOCK_FIELDS = ("readorder", "layer", *EVENT_FIELDS[3:])

_CLOCK = re.compile(r"\s*(-?\d{1,9})\s*:\s*(-?\d{1,9})\s*:\s*(-?\d{1,9})(?:[.,:](-?\d{1,9}))?\s*")
_DRAWS = re.compile(r"\\p(\d+)")
_MARGINS_AND_EFFECT = re.compile(r"^(?:\s*\d{0,9}\s*,){3}[^,]*,")


def parse_substation(text: str) -> Iterator[Cue | None]:
    """Yield the cues of a file whose lines end with "\\n"; None for each that is damaged."""
    names: Sequence[str] = EVENT_FIELDS
    for kind, rest in _lines(text):
        if kind == "format":
            names = _names(rest)
            continue
        fields = _fields(rest, names)
        times = None if fields is None else _times(fields)
        if fields is None or times is None:
            yield None
        elif (
            cue := make_cue(*times, substation_plain(fields["text"]), fields["text"])
        ) is not None:
            yield cue


def block_names(header: str) -> tuple[str, ...]:
    """Return the fields of the blocks of a Matroska track, by the header it keeps of its file.

    The first three fields of the file's format, among them the times, are not in the blocks.
    """
    names: Sequence[str] = EVENT_FIELDS
    for kind, rest in _lines(header):
        if kind == "format":
            names = _names(rest)
    return ("readorder", "layer", *names[3:]) if "text" in names[3:] else BLOCK_FIELDS


def block_text(block: str, names: Sequence[str]) -> str | None:
    """Return the text of a block with these fields, with its markup; None for a bad one.

    Some programs write all of Matroska's fields, whatever the header says.
    """
    fields = _fields(block, names)
    if fields is None:
        return None
    text = fields["text"]
    if set(names).isdisjoint(EVENT_FIELDS[5:9]):
        text = _MARGINS_AND_EFFECT.sub("", text, count=1)
    return text


def substation_plain(marked: str) -> str:
    r"""Return the words of a text: without override tags and what is drawn.

    Takes time and memory in proportion to the text, whatever it holds.

    >>> substation_plain(r"{\b1}Two{\b0}\Nlines{\p1}m 0 0 l 9 9{\p0}")
    'Two\nlines'
    """
    pieces = []
    place = 0
    draws = False
    while (opened := marked.find("{", place)) >= 0:
        closed = marked.find("}", opened)
        if closed < 0:
            break  # a brace that is never closed is text
        if not draws:
            pieces.append(marked[place:opened])
        for scale in _DRAWS.findall(marked, opened, closed):
            draws = bool(scale.strip("0"))
        place = closed + 1
    if not draws:
        pieces.append(marked[place:])
    text = "".join(pieces)
    return text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Yield the lines that matter: ("format", its names) of events, ("dialogue", its fields)."""
    in_styles = False
    for line in lines_of(text):
        kind, _, rest = line.strip().partition(":")
        kind = kind.rstrip().casefold()
        if kind.startswith("["):
            in_styles = "styles" in kind
        elif kind == "dialogue" or (kind == "format" and not in_styles):
            yield kind, rest.lstrip()


def _names(listed: str) -> Sequence[str]:
    """Return the names of fields that a line lists; the usual ones where it lacks some needed."""
    names = tuple(name.strip().casefold() for name in listed.split(",", MAX_FIELDS))
    return names if {"start", "end", "text"} <= set(names) else EVENT_FIELDS


def _fields(line: str, names: Sequence[str]) -> Mapping[str, str] | None:
    """Return what a line says by name; None for a damaged one. Only the text may have commas."""
    if len(line) > MAX_CUE_CHARACTERS:
        return None
    place = names.index("text")
    *before, text = line.split(",", place)
    text, *after = text.rsplit(",", len(names) - place - 1)
    values = (*before, text, *after)
    return dict(zip(names, values, strict=True)) if len(values) == len(names) else None


def _times(fields: Mapping[str, str]) -> tuple[float, float] | None:
    start, end = (_CLOCK.fullmatch(fields[name]) for name in ("start", "end"))
    if start is None or end is None:
        return None
    return clock_s(start.groups()), clock_s(end.groups())
