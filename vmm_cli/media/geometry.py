"""From coded pictures to shown ones: sizes and the way up. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vmm_cli.media.orientation import Orientation, display_size


@dataclass(frozen=True, slots=True)
class Size:
    """A wanted size: exactly width x height, or the shorter side (aspect kept, even sizes).

    With `enlarge` False a picture whose shorter side is smaller keeps its size.
    """

    width: int | None = None
    height: int | None = None
    short: int | None = None
    enlarge: bool = True

    def __post_init__(self) -> None:
        exact = self.width is not None and self.height is not None and self.short is None
        by_short = self.width is None and self.height is None and self.short is not None
        if not (exact or by_short):
            raise ValueError("a size is either width and height or the shorter side")
        if any(side is not None and side < 2 for side in (self.width, self.height, self.short)):
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
    """
    if size is None:
        return width, height
    if size.short is None:
        assert size.width is not None and size.height is not None
        return size.width, size.height
    if not size.enlarge and min(width, height) <= size.short:
        return width, height
    scale = Fraction(size.short, min(width, height))
    return _even(width * scale), _even(height * scale)


def _even(length: Fraction) -> int:
    return max(2, round(length / 2) * 2)
