"""From coded pictures to shown ones: sizes and the way up. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vmm_cli.media.orientation import Orientation, display_size


@dataclass(frozen=True, slots=True)
class Size:
    """A wanted size: width x height, or the shorter or longer side (aspect kept, even sizes).

    With `enlarge` False a picture whose shorter or longer side is smaller keeps its size.
    """

    width: int | None = None
    height: int | None = None
    short: int | None = None
    enlarge: bool = True
    long: int | None = None

    def __post_init__(self) -> None:
        sides = (self.width, self.height, self.short, self.long)
        given = tuple(side is not None for side in sides)
        if given not in (
            (True, True, False, False),
            (False, False, True, False),
            (False, False, False, True),
        ):
            raise ValueError("a size is width and height, the shorter side, or the longer side")
        if any(side is not None and side < 2 for side in sides):
            raise ValueError("a picture is at least 2 pixels wide and high")


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a decoded picture becomes the shown one: scale to coded size, then orient.

    coded_width, coded_height: the size to scale to before turning; width, height: as shown.
    """

    coded_width: int
    coded_height: int
    width: int
    height: int
    orientation: Orientation


def geometry(
    width: int,
    height: int,
    sample_aspect: Fraction | None,
    orientation: Orientation,
    size: Size | None,
) -> Geometry:
    """Return how a picture of width x height pixels is brought to `size` (None: display size)."""
    shown_width, shown_height = fit(*display_size(width, height, sample_aspect, orientation), size)
    if orientation.quarter_turns_clockwise % 2:
        return Geometry(shown_height, shown_width, shown_width, shown_height, orientation)
    return Geometry(shown_width, shown_height, shown_width, shown_height, orientation)


def fit(width: int, height: int, size: Size | None) -> tuple[int, int]:
    """Return the size in pixels at which a width x height picture is wanted.

    >>> fit(1280, 720, Size(short=224))
    (398, 224)
    >>> fit(320, 240, Size(short=480, enlarge=False))
    (320, 240)
    >>> fit(1280, 720, Size(long=416))
    (416, 234)
    """
    if size is None:
        return width, height
    if size.width is not None and size.height is not None:
        return size.width, size.height
    side, wanted = min(width, height), size.short
    if size.long is not None:
        side, wanted = max(width, height), size.long
    assert wanted is not None
    if not size.enlarge and side <= wanted:
        return width, height
    scale = Fraction(wanted, side)
    return _even(width * scale), _even(height * scale)


def _even(length: Fraction) -> int:
    return max(2, round(length / 2) * 2)
