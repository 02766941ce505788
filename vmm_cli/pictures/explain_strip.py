"""What a decision rests on, as a picture: frames in a row, under each how much it mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from PIL import Image, ImageDraw

from vmm_cli.media.video import Video
from vmm_cli.output.clock import clock_text
from vmm_cli.output.pictured import PictureKind
from vmm_cli.pictures.frames_at import frames_at
from vmm_cli.pictures.text import draw_text, drawable, shortened, text_width

MAX_FRAMES = 12
FRAME_HEIGHT = 120
BAR_HEIGHT = 14
TEXT_HEIGHT = 20
MARGIN = 6
BACKGROUND = (24, 24, 24)
TRACK = (60, 60, 60)
FOR = (90, 190, 110)  # hiding it lowers the score
AGAINST = (210, 110, 80)
NO_DROP = "0.00"
MIN_LABEL_WIDTH = 120  # pixels that a label has where the pictures are few
MIN_FULL_DROP = 0.1  # a bar is full at the largest drop, but not at one that means nothing


def _draw(video: Video, record: Mapping[str, Any], job: object) -> Image.Image:
    return draw_strip(video, record["explain"])


STRIP = PictureKind("--strips", "strip", ".explain.png", _draw)


def draw_strip(video: Video, explained: Mapping[str, Any]) -> Image.Image:
    """Draw an explanation (as in a record); boxes where there are no pictures.

    Of many parts those are drawn whose drop is the largest up or down, in the order of time.

    Raises:
        InputError: the video cannot be read.
    """
    seconds = explained["seconds"]
    chosen = strongest(seconds, MAX_FRAMES)
    nothing = "sound" if "audio" in explained["without"] else "no picture"
    times = [(one["start_s"] + one["end_s"]) / 2 for one in chosen]
    frames = frames_at(video, times, FRAME_HEIGHT)
    shown = [frames[time_s] for time_s in times] if frames else [_box(nothing)] * len(times)
    captions = [f"{clock_text(one['start_s'])}  {drop_text(one['drop'])}" for one in chosen]
    width = max(*(image.width for image in shown), *(ceil(text_width(text)) for text in captions))
    height = max(image.height for image in shown)
    rest = _rest_of_title(explained)
    inner = max(len(shown) * (width + MARGIN) - MARGIN, ceil(text_width(rest)) + MIN_LABEL_WIDTH)
    sheet = Image.new(
        "RGB",
        (inner + 2 * MARGIN, height + BAR_HEIGHT + 2 * TEXT_HEIGHT + 2 * MARGIN),
        BACKGROUND,
    )
    draw = ImageDraw.Draw(sheet)
    label = shortened(drawable(explained["label"]), inner - text_width(rest))
    draw_text(draw, (MARGIN, TEXT_HEIGHT // 2), label + rest)
    full = max(MIN_FULL_DROP, *(abs(one["drop"]) for one in seconds))
    for i, (image, one, text) in enumerate(zip(shown, chosen, captions, strict=True)):
        left, top = MARGIN + i * (width + MARGIN), TEXT_HEIGHT
        sheet.paste(image, (left + (width - image.width) // 2, top))
        bar = top + height + MARGIN // 2
        draw.rectangle((left, bar, left + width, bar + BAR_HEIGHT), fill=TRACK)
        length = round(width * abs(one["drop"]) / full)
        colour = FOR if one["drop"] > 0 else AGAINST
        if length and drop_text(one["drop"]) != NO_DROP:
            draw.rectangle((left, bar, left + length, bar + BAR_HEIGHT), fill=colour)
        middle = bar + BAR_HEIGHT + TEXT_HEIGHT // 2
        draw_text(draw, (left + (width - text_width(text)) / 2, middle), text)
    return sheet


def strongest(seconds: Sequence[Mapping[str, Any]], limit: int) -> list[Mapping[str, Any]]:
    """Return the `limit` parts with the largest drop up or down, or all, in the order of time."""
    kept = sorted(seconds, key=lambda one: -abs(one["drop"]))[:limit]
    return sorted(kept, key=lambda one: float(one["start_s"]))


def drop_text(drop: float) -> str:
    """Return a drop with two digits behind the point, or with three where two would be zero.

    >>> drop_text(0.256), drop_text(-0.002), drop_text(0.0001)
    ('+0.26', '-0.002', '0.00')
    """
    for digits in (2, 3):
        if round(drop, digits):
            return f"{drop:+.{digits}f}"
    return NO_DROP


def _rest_of_title(explained: Mapping[str, Any]) -> str:
    shares = ", ".join(f"without {s} {p:.2f}" for s, p in explained["without"].items())
    return f" {explained['score']:.2f} ({shares}); below, how much it falls without a part"


def _box(text: str) -> Image.Image:
    box = Image.new("RGB", (FRAME_HEIGHT, FRAME_HEIGHT), TRACK)
    left = (FRAME_HEIGHT - text_width(text)) / 2
    draw_text(ImageDraw.Draw(box), (left, FRAME_HEIGHT // 2), text)
    return box
