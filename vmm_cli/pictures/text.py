"""Lines of text on a picture: other people's words, in any script and of any length."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import ceil

from PIL import ImageDraw, ImageFont

from vmm_cli.output.escape import escape_controls
from vmm_cli.pictures.fonts import FONT_SIZE, letters, loaded_fonts

Colour = tuple[int, int, int]

TEXT: Colour = (230, 230, 230)
LONGEST_LABEL = 28  # characters; more leaves no room for the picture


def draw_text(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    *,
    size: int = FONT_SIZE,
    colour: Colour = TEXT,
) -> None:
    """Draw a line of text from its left end, at the height of its middle."""
    x, y = place
    for font, run in _runs(text, size):
        draw.text((x, y), run, fill=colour, font=font, anchor="lm")
        x += font.getlength(run)


def text_width(text: str, size: int = FONT_SIZE) -> float:
    """Return how wide a text is drawn, in pixels."""
    return sum(font.getlength(run) for font, run in _runs(text, size))


def shortened(text: str, width: float, size: int = FONT_SIZE) -> str:
    """Return a text, or its beginning and an ellipsis, that is drawn no wider than `width`."""
    if text_width(text, size) <= width:
        return text
    kept = text[: ceil(width)]  # a letter is a pixel wide or more
    while kept and text_width(f"{kept}…", size) > width:
        kept = kept[:-1]
    return f"{kept}…"


def _runs(text: str, size: int) -> list[tuple[ImageFont.FreeTypeFont, str]]:
    """Divide a text into pieces that one font can draw."""
    fonts = loaded_fonts(size)

    def fitting(character: str) -> int:
        code = ord(character)
        return next((i for i, (_, characters) in enumerate(fonts) if code in characters), 0)

    return [(fonts[i][0], "".join(run)) for i, run in groupby(text, fitting)]


def drawable_labels(labels: Sequence[str]) -> list[str]:
    r"""Return labels as they are drawn: short, on one line, in letters that a font here has.

    What no font has is written as an escape, and the middle of a long label as an ellipsis; labels
    that would look the same then are numbered.

    >>> drawable_labels(["a" * 40 + "1", "b\n"])
    ['aaaaaaaaaaaaaa…aaaaaaaaaaaa1', 'b\\n']
    """
    names = []
    for label in labels:
        text = drawable(label)
        half = LONGEST_LABEL // 2
        short = len(text) <= LONGEST_LABEL
        names.append(text if short else f"{text[:half]}…{text[1 - half :]}")
    if len(set(names)) < len(names):
        return [f"{number}: {name}" for number, name in enumerate(names, start=1)]
    return names


def drawable(text: str) -> str:
    """Return a text on one line, what no font here has as escapes."""
    drawn = letters()
    return "".join(
        character if ord(character) in drawn else _escaped(character)
        for character in escape_controls(text)
    )


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
