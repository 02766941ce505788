"""What files of captions have in common: bytes to text, clocks to seconds, cues."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_RETURNS = re.compile(r"\r+\n?")

DAMAGED = "\ufffd"
# In other encodings what happens to be right UTF-8 beyond ASCII is rarer than what is not.
MIN_WHOLE = 3  # for each that is not

# A film has some two thousand cues of a hundred characters at most; karaoke a cue for each picture,
# with thousands of characters of markup. What is larger than this is no caption, whoever made it.
MAX_CUES = 200_000
MAX_CUE_CHARACTERS = 2**16


@dataclass(frozen=True)
class Cue:
    """A piece of text and when it is shown, in seconds on the clock of what holds it.

    Attributes:
        start_s: never below 0.
        end_s: None where nothing says when it goes.
        text: plain, without markup; lines are trimmed, parted by "\\n", and none is empty.
        marked: the text with its markup, as it stands in the file, but no blanks around it.
    """

    start_s: float
    end_s: float | None
    text: str
    marked: str = ""


@dataclass
class CueText:
    """The lines of a cue while they are read; of one that goes on for ever the first are kept."""

    lines: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, line: str) -> None:
        """Add a line."""
        self.size += len(line) + 1
        if self.size <= MAX_CUE_CHARACTERS:
            self.lines.append(line)

    def joined(self) -> str | None:
        """Return the text; None where it is too long for one."""
        return "\n".join(self.lines) if self.size <= MAX_CUE_CHARACTERS else None


def make_cue(start_s: float, end_s: float | None, text: str, marked: str = "") -> Cue | None:
    """Return a cue with its lines trimmed; None where it has no text or is never shown.

    What begins before 0 is shown from 0 on; what does not end after its start has no known end.
    """
    lines = [line.strip() for line in text.replace("\xa0", " ").splitlines()]
    trimmed = "\n".join(line for line in lines if line)
    if not trimmed or (start_s < 0 and end_s is not None and end_s <= 0):
        return None
    shown_until = None if end_s is None or end_s <= start_s else end_s
    return Cue(max(start_s, 0.0), shown_until, trimmed, marked.strip())


def clock_s(fields: Sequence[str | None]) -> float:
    """Return the seconds of hours, minutes, seconds and the digits after the point.

    A field that is absent is 0. A minus before any of them is that of the whole time: programs
    that shift captions write "-00:00:01,500" as well as "00:00:-1,-500".

    >>> clock_s((None, "1", "02", "5")), clock_s(("00", "00", "-1", "-500"))
    (62.5, -1.5)
    """
    hours, minutes, seconds, digits = ((field or "0").strip() for field in fields)
    negative = any(field.startswith("-") for field in (hours, minutes, seconds, digits))
    digits = digits.lstrip("-")
    whole = (abs(int(hours)) * 60 + abs(int(minutes))) * 60 + abs(int(seconds))
    # One division, so that the result is the nearest float.
    magnitude: float = (whole * 10 ** len(digits) + int(digits)) / 10 ** len(digits)
    return -magnitude if negative else magnitude


def decode_text(data: bytes) -> str:
    """Decode a file of text: by its byte order mark, else UTF-16 by its zeros, UTF-8, cp1252.

    What is damaged in UTF-8 becomes U+FFFD; see `damaged_characters`.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
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
        text = data.decode("utf-8", errors="replace")
        damaged = damaged_characters(data, text)
        whole = len(text) - len(text.encode("ascii", errors="ignore")) - damaged
        if whole >= MIN_WHOLE * damaged or (damaged == 1 and whole):
            return text
        try:
            return data.decode("cp1252")
        except UnicodeDecodeError:
            return data.decode("latin-1")  # has every byte


def damaged_characters(data: bytes, text: str) -> int:
    """Return how many characters `decode_text` could not read: those that it has put there."""
    return max(0, text.count(DAMAGED) - data.count(DAMAGED.encode()))


def with_line_feeds(text: str) -> str:
    """Return a text whose lines all end with a line feed alone.

    Programs that translate the ends of lines twice leave more than one carriage return there.

    >>> with_line_feeds("one\\r\\r\\ntwo\\rthree\\r\\n")
    'one\\ntwo\\nthree\\n'
    """
    return _RETURNS.sub(lambda run: "\n" if run[0][-1] == "\n" else "\n" * len(run[0]), text)


def lines_of(text: str) -> Iterator[str]:
    """Yield the lines of a text, one by one: a list of them can take twenty times its memory."""
    place = 0
    while (end := text.find("\n", place)) >= 0:
        yield text[place:end]
        place = end + 1
    yield text[place:]
