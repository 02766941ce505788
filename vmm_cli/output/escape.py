"""Text from files and their names, made safe to print.

Titles, labels and file names are other people's words: they may hold escape codes that drive a
terminal, line ends that fake a second line, and bytes that are no UTF-8.
"""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0 and C1 controls, DEL
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what makes text read backwards
    "\u2028\u2029"  # line and paragraph separators
    "\ud800-\udfff"  # lone surrogates: bytes of a name that are no UTF-8
    "]"
)
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if character in _NAMED:
        return _NAMED[character]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # the byte itself, as os.fsdecode hid it
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def escape_controls(text: str) -> str:
    r"""Return `text` as one printable line: every unsafe character as a backslash escape.

    >>> print(escape_controls("a\x1b[31m\nb"))
    a\x1b[31m\nb
    """
    return _UNSAFE.sub(_escaped, text)


def escape_json(text: str) -> str:
    r"""Return JSON text with unsafe characters as \uXXXX, which parses back to the same strings.

    `text` must be JSON on one line: C0 controls are escaped in it already.
    """
    return _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
