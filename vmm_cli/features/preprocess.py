"""From pictures to what an image network was trained on. Numpy only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, cast, get_args

if TYPE_CHECKING:
    import numpy as np

    from vmm_cli.bundles import Json

Channels = tuple[float, float, float]
Resize = Literal["decoder", "bilinear", "antialias"]

_COLOURS = ("red", "green", "blue")
_PLAIN = frozenset({"short_side", "crop", "mean", "scale"})
_TORCHVISION = frozenset(
    {"short_side", "crop", "antialias", *(f"mean_{c}" for c in _COLOURS)}
    | {f"std_{c}" for c in _COLOURS}
)
_OPTIONAL = frozenset({"width", "frames", "rate_hz"})
_OWN = _PLAIN | {"resize"}
# Twice and more of what any network here wants: pictures of a bundle's own sizes take memory.
MAX_SIDE = 2048  # pixels
MAX_CLIP_VALUES = 2**28  # of frames x crop x crop x 3
MAX_RATE_HZ = 1000.0


@dataclass(frozen=True)
class Preprocess:
    """Scale so that the shorter side has `short_side` pixels, cut the central square, normalise.

    Attributes:
        short_side, crop: pixels; short_side >= crop.
        mean, scale: the network's input is (x - mean) / scale for x in 0..255, by colour where
            there are three.
        resize: `decoder`: pictures come scaled from libav (bicubic); `bilinear` (reads the four
            nearest pixels) and `antialias` (weighs all that shrink to one): scaled from the
            display size as torchvision does.
        width: with it, scale to exactly `short_side` x `width` pixels (height x width) whatever
            the aspect.
        frames: pictures of a clip; 1: the network looks at single pictures.
        rate_hz: pictures a second within a clip.

    Raises:
        ValueError: the numbers contradict each other.
    """

    short_side: int
    crop: int
    mean: float | Channels
    scale: float | Channels
    resize: Resize = "decoder"
    width: int | None = None
    frames: int = 1
    rate_hz: float = 0.0

    def __post_init__(self) -> None:
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        sides = (self.short_side, self.width or self.short_side)
        is_timed = self.frames == 1 or 0 < self.rate_hz <= MAX_RATE_HZ
        fits = max(sides) <= MAX_SIDE and math.prod(self.shape) <= MAX_CLIP_VALUES
        whole = 0 < self.crop <= min(sides) and min(scales) > 0 and self.frames >= 1
        if not (whole and is_timed and fits):
            raise ValueError(f"cannot be used for preprocessing: {self}")

    @classmethod
    def from_dict(cls, fields: Mapping[str, Json]) -> Preprocess:
        """Read the settings of a bundle. ValueError where one is missing, unknown or no number.

        They are the fields above by their names, colours as lists of three. Bundles of two kinds
        say it otherwise: without `resize` that is the decoder's; and torchvision's networks have
        `antialias`, 0 or 1, and mean and deviation by colour (`mean_red`) for x in 0..1.
        """
        if set(fields) == _PLAIN:
            return cls(*_sides(fields), _number(fields, "mean"), _number(fields, "scale"))
        mean: float | Channels
        scale: float | Channels
        if _OWN <= set(fields) <= _OWN | _OPTIONAL:
            if fields["resize"] not in get_args(Resize):
                raise ValueError(f"not a preprocessing: its resize is {fields['resize']!r:.40}")
            resize = cast(Resize, fields["resize"])
            mean, scale = _by_colour(fields, "mean"), _by_colour(fields, "scale")
        elif _TORCHVISION <= set(fields) <= _TORCHVISION | _OPTIONAL:
            resize = "antialias" if _number(fields, "antialias") else "bilinear"
            mean, scale = _of_0_to_1(fields, "mean"), _of_0_to_1(fields, "std")
        else:
            raise ValueError(f"not a preprocessing: {sorted(fields)}")
        return cls(
            *_sides(fields),
            mean,
            scale,
            resize,
            width=int(_number(fields, "width")) if "width" in fields else None,
            frames=int(_number({"frames": 1, **fields}, "frames")),
            rate_hz=_number({"rate_hz": 0, **fields}, "rate_hz"),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """What the network looks at once: [crop, crop, 3], or [frames, crop, crop, 3]."""
        picture = (self.crop, self.crop, 3)
        return picture if self.frames == 1 else (self.frames, *picture)

    @property
    def step_s(self) -> Fraction:
        """Seconds between a clip's pictures."""
        return 1 / Fraction(self.rate_hz)


def _number(fields: Mapping[str, Json], key: str) -> float:
    value = fields[key]
    if not isinstance(value, bool | int | float):
        raise ValueError(f"not a preprocessing: its {key} is no number")
    return float(value)


def _by_colour(fields: Mapping[str, Json], key: str) -> float | Channels:
    value = fields[key]
    if not isinstance(value, Sequence) or isinstance(value, str):
        return _number(fields, key)
    if len(value) != len(_COLOURS):
        raise ValueError(f"not a preprocessing: its {key} is not of three colours")
    colours = dict(zip(_COLOURS, value, strict=True))
    red, green, blue = (_number(colours, colour) for colour in _COLOURS)
    return red, green, blue


def _sides(fields: Mapping[str, Json]) -> tuple[int, int]:
    return int(_number(fields, "short_side")), int(_number(fields, "crop"))


def _of_0_to_1(fields: Mapping[str, Json], key: str) -> Channels:
    """Return colours that are told one by one, for x in 0..1, as those for x in 0..255."""
    red, green, blue = (255 * _number(fields, f"{key}_{colour}") for colour in _COLOURS)
    return red, green, blue


def prepare(numbers: Preprocess, image: np.ndarray) -> np.ndarray:
    """Return what the network sees of a picture, before normalising: uint8 [crop, crop, 3] RGB.

    `image`: uint8 [H, W, 3] RGB, as `resize` says: already scaled, or of the display size.
    """
    if numbers.resize == "decoder":
        return central_square(image, numbers.crop)
    from vmm_cli.features.torchvision_resize import resized_square

    return resized_square(
        image,
        scaled_size(numbers, *image.shape[:2]),
        numbers.crop,
        antialias=numbers.resize == "antialias",
    )


def scaled_size(numbers: Preprocess, height: int, width: int) -> tuple[int, int]:
    """Return height and width that a picture is scaled to; the longer side is rounded down.

    As torchvision rounds: torchvision.transforms.functional.resize.
    """
    if numbers.width is not None:
        return numbers.short_side, numbers.width
    if height <= width:
        return numbers.short_side, numbers.short_side * width // height
    return numbers.short_side * height // width, numbers.short_side


def central_square(image: np.ndarray, side: int) -> np.ndarray:
    """Return the middle of a picture: uint8 [H, W, 3] -> view [side, side, 3].

    Raises:
        ValueError: the picture is smaller.
    """
    height, width = image.shape[:2]
    if min(height, width) < side:
        raise ValueError(f"a picture of {width}x{height} holds no square of {side} pixels")
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]
