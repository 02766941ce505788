"""The fonts that pictures are written in, and the letters that they have.

matplotlib, which carries DejaVu and knows what is installed, is imported only when they are asked
for.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from PIL import ImageFont

FONT_SIZE = 13
# Families that draw what DejaVu, which comes with matplotlib, cannot; those installed are used.
OTHER_FAMILIES = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
)


def font_files() -> dict[str, Collection[int]]:
    """Return the files of the fonts in use, in order, and the code points each can draw."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    files = [str(findfont(FontProperties(family=[family]))) for family in families()]
    return {file: get_font(file).get_charmap().keys() for file in files}


def families() -> list[str]:
    """Return the families of the fonts in use, in order."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(family for family in OTHER_FAMILIES if family in installed)]


@lru_cache(maxsize=1)
def letters() -> set[int]:
    """Return the code points that some font here draws."""
    return {code for characters in font_files().values() for code in characters}


@lru_cache(maxsize=4)
def loaded_fonts(
    size: int = FONT_SIZE,
) -> tuple[tuple[ImageFont.FreeTypeFont, Collection[int]], ...]:
    """Return the fonts in use, letters `size` pixels high, and the code points each can draw."""
    # Without shaping, which not every Pillow has: a strip looks the same everywhere.
    return tuple(
        (ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC), characters)
        for file, characters in font_files().items()
    )
