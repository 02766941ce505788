"""What pictures over time have in common: size and colours, ticks, and what is seen at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from PIL import Image, ImageDraw

from vmm_cli.media.video import Video
from vmm_cli.pictures.frames_at import frames_at
from vmm_cli.pictures.text import draw_text, text_width
from vmm_cli.pictures.time_axis import TimeAxis, spread, tick_text

# Pixels. The width is the same for a second and for a day.
WIDTH = 1600
MARGIN = 12
TEXT_HEIGHT = 22
GUTTER_WIDTH = 230  # for the labels
LEADER_HEIGHT = 14  # from a time down to its picture
PICTURE_HEIGHT, PICTURE_WIDTH = 90, 160  # at most
GAP = 6

MAX_PICTURES = 6  # so many fit beside each other

BACKGROUND = (24, 24, 24)
TRACK = (40, 40, 40)
GRID = (64, 64, 64)
LEADER = (150, 150, 150)

Colour = tuple[int, int, int]


def mixed(colour: Colour, share: float) -> Colour:
    """Return a colour over the background."""
    pairs = zip(colour, BACKGROUND, strict=True)
    red, green, blue = (round(share * c + (1 - share) * b) for c, b in pairs)
    return red, green, blue


def draw_ticks(draw: ImageDraw.ImageDraw, axis: TimeAxis, upper: int, lower: int) -> None:
    """Draw a line down the picture for each tick, and its time at both ends."""
    right = -1.0
    for time in axis.ticks():
        x = axis.x(time)
        draw.line((x, upper + TEXT_HEIGHT // 2, x, lower - TEXT_HEIGHT // 2), fill=GRID)
        text = tick_text(time)
        left = min(x - text_width(text) / 2, WIDTH - MARGIN - text_width(text))
        if left > right:
            draw_text(draw, (left, upper), text)
            draw_text(draw, (left, lower), text)
            right = left + text_width(text) + GAP


def pictures_at(video: Video, times: Sequence[float]) -> dict[float, Image.Image]:
    """Return the small picture for each time; see `frames_at`."""
    return frames_at(video, times, PICTURE_HEIGHT, PICTURE_WIDTH)


def row_height(pictures: Mapping[float, Image.Image]) -> int:
    """Return how high `draw_row` draws these pictures, with what stands under them."""
    tallest = max((picture.height for picture in pictures.values()), default=0)
    return LEADER_HEIGHT + tallest + TEXT_HEIGHT


def draw_row(
    image: Image.Image,
    marks: Sequence[tuple[float, str]],
    axis: TimeAxis,
    top: int,
    pictures: Mapping[float, Image.Image],
) -> None:
    """Draw captions of some times, in order, under their pictures, where there are some.

    A line leads from `top`, at each time, to what belongs to it.
    """
    draw = ImageDraw.Draw(image)
    shown = [pictures[time] for time, _ in marks if time in pictures]
    widths = [picture.width for picture in shown] + [ceil(text_width(text)) for _, text in marks]
    widest = max(widths)
    wanted = [axis.x(time) - widest / 2 for time, _ in marks]
    edges = spread(wanted, widest + GAP, axis.left, WIDTH - MARGIN + GAP)
    height = max((picture.height for picture in shown), default=0)
    for (time, text), edge in zip(marks, edges, strict=True):
        middle = edge + widest / 2
        draw.line((axis.x(time), top, middle, top + LEADER_HEIGHT), fill=LEADER)
        if time in pictures:
            picture = pictures[time]
            image.paste(picture, (round(middle - picture.width / 2), top + LEADER_HEIGHT))
        below = top + LEADER_HEIGHT + height + TEXT_HEIGHT // 2
        draw_centred(draw, (middle, below), text)


def draw_centred(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str) -> None:
    """Draw a line of text around its middle, on a ground that no line of a grid crosses."""
    x, y = place
    half_width, half_height = text_width(text) / 2, TEXT_HEIGHT // 2
    box = (x - half_width, y - half_height, x + half_width, y + half_height)
    draw.rectangle(box, fill=BACKGROUND)
    draw_text(draw, (x - half_width, y), text)
