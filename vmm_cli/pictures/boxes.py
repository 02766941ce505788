"""Boxes with names, and skeletons of people, drawn on a picture of any size."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from vmm_cli.output.coco import LEAST_SCORE
from vmm_cli.pictures.text import Colour, draw_text, drawable, shortened, text_width

if TYPE_CHECKING:
    from vmm_cli.analysis.boxes_between import Placed, Point

# In shares of the picture's shorter side, and in pixels at least.
TEXT_SIZE, LEAST_TEXT_SIZE = 0.028, 10
LINE_WIDTH, LEAST_LINE_WIDTH = 0.004, 2
DARK, LIGHT = (0, 0, 0), (255, 255, 255)
GOLDEN_RATIO = (
    0.618034  # hues of labels so far apart, around the circle, never come near each other
)
SATURATION, BRIGHTNESS = 0.8, 1.0
# Which of COCO's 17 points a skeleton joins: face, arms, trunk and legs.
BONES = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12),
    (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip


def draw_boxes(image: np.ndarray, placed: Sequence[Placed], labels: Sequence[str]) -> np.ndarray:
    """Return a picture with what is placed in it drawn on it: uint8 [H, W, 3] RGB -> the same.

    placed: what is there, drawn last where it comes first. labels: of the model, in its order,
    which colours go by.
    """
    if not placed:
        return image
    height, width = image.shape[:2]
    short = min(height, width)
    line = max(LEAST_LINE_WIDTH, round(short * LINE_WIDTH))
    size = max(LEAST_TEXT_SIZE, round(short * TEXT_SIZE))
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    colours = [colour_of(labels.index(one.label)) for one in placed]
    corners = [_corners(one.box, width, height) for one in placed]
    order = range(len(placed))[::-1]
    for i in order:
        draw.rectangle(corners[i], outline=colours[i], width=line)
        _draw_pose(draw, placed[i].pose or (), colours[i], (width, height), line)
    for i in order:  # names above all lines
        _draw_name(draw, _name(placed[i]), corners[i], colours[i], size)
    return np.asarray(picture)


@lru_cache(maxsize=256)
def colour_of(number: int) -> Colour:
    """Return the colour of a label, by its number."""
    shares = colorsys.hsv_to_rgb(number * GOLDEN_RATIO % 1, SATURATION, BRIGHTNESS)
    red, green, blue = (round(share * 255) for share in shares)
    return red, green, blue


def _name(one: Placed) -> str:
    return drawable(one.label if one.track is None else f"{one.label} {one.track}")


def _corners(box: Sequence[float], width: int, height: int) -> tuple[int, int, int, int]:
    """Return the pixels of a box's left, top, right and bottom edges, within the picture."""
    x, y, wide, high = box
    left, top = min(max(0, round(x * width)), width - 1), min(max(0, round(y * height)), height - 1)
    right = min(max(left, round((x + wide) * width) - 1), width - 1)
    bottom = min(max(top, round((y + high) * height) - 1), height - 1)
    return left, top, right, bottom


def _draw_pose(
    draw: ImageDraw.ImageDraw,
    pose: Sequence[Point],
    colour: Colour,
    sides: tuple[int, int],
    line: int,
) -> None:
    """Draw the bones both of whose ends are seen, and the points."""
    places = {
        i: (point[0] * sides[0], point[1] * sides[1])
        for i, point in enumerate(pose)
        if point[2] >= LEAST_SCORE
    }
    for one, other in BONES:
        if one in places and other in places:
            draw.line([places[one], places[other]], fill=colour, width=2 * line)
    for x, y in places.values():
        radius = 1.5 * line
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), LIGHT, DARK)


def _draw_name(
    draw: ImageDraw.ImageDraw,
    name: str,
    corners: tuple[int, int, int, int],
    colour: Colour,
    size: int,
) -> None:
    """Draw a name above its box, or in it where there is no room; inside the picture anyway."""
    width, height = draw.im.size
    margin = max(1, size // 5)
    name = shortened(name, width - 2 * margin, size)
    wide, high = ceil(text_width(name, size)) + 2 * margin, size + 2 * margin
    left, top = corners[:2]
    left = max(0, min(left, width - wide))
    top = top - high if top >= high else max(0, min(top, height - high))
    draw.rectangle((left, top, left + wide - 1, top + high - 1), fill=colour)
    letters = DARK if np.dot(colour, (0.299, 0.587, 0.114)) > 110 else LIGHT
    draw_text(draw, (left + margin, top + high / 2), name, size=size, colour=letters)
