"""What a decision rests on, as a picture: frames in a row, under each how much it mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from math import ceil
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from vmm_cli.errors import InputError
from vmm_cli.media.frames import Frame, FrameRequest
from vmm_cli.media.geometry import Size
from vmm_cli.media.sampling import at
from vmm_cli.media.video import Video
from vmm_cli.output.clock import clock_text
from vmm_cli.output.pictured import PictureKind
from vmm_cli.output.plots import drawable, font_files

if TYPE_CHECKING:
    from collections.abc import Collection

    from vmm_cli.analysis.classify_windows import WindowsRequest

MAX_FRAMES = 12
FRAME_HEIGHT = 120
BAR_HEIGHT = 14
TEXT_HEIGHT = 20
MARGIN = 6
FONT_SIZE = 13
BACKGROUND = (24, 24, 24)
TEXT = (230, 230, 230)
TRACK = (60, 60, 60)
FOR = (90, 190, 110)  # hiding it lowers the score
AGAINST = (210, 110, 80)
NO_DROP = "0.00"
LEAST_LABEL_WIDTH = 120  # pixels that a label has where the pictures are few
LEAST_FULL_DROP = 0.1  # a bar is full at the largest drop, but not at one that means nothing
ROUNDING_S = 1e-3  # of the times in a record


def _draw(video: Video, record: dict[str, Any], request: WindowsRequest) -> Image.Image:
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
    shown = _pictures(video, times, nothing)
    said = [f"{clock_text(one['start_s'])}  {drop_text(one['drop'])}" for one in chosen]
    width = max(*(image.width for image in shown), *(ceil(text_width(text)) for text in said))
    height = max(image.height for image in shown)
    rest = _rest_of_title(explained)
    inner = max(len(shown) * (width + MARGIN) - MARGIN, ceil(text_width(rest)) + LEAST_LABEL_WIDTH)
    sheet = Image.new(
        "RGB",
        (inner + 2 * MARGIN, height + BAR_HEIGHT + 2 * TEXT_HEIGHT + 2 * MARGIN),
        BACKGROUND,
    )
    draw = ImageDraw.Draw(sheet)
    label = shortened(drawable(explained["label"], _drawn()), inner - text_width(rest))
    draw_text(draw, (MARGIN, TEXT_HEIGHT // 2), label + rest)
    most = max(LEAST_FULL_DROP, *(abs(one["drop"]) for one in seconds))
    for i, (image, one, text) in enumerate(zip(shown, chosen, said, strict=True)):
        left, top = MARGIN + i * (width + MARGIN), TEXT_HEIGHT
        sheet.paste(image, (left + (width - image.width) // 2, top))
        bar = top + height + MARGIN // 2
        draw.rectangle((left, bar, left + width, bar + BAR_HEIGHT), fill=TRACK)
        length = round(width * abs(one["drop"]) / most)
        colour = FOR if one["drop"] > 0 else AGAINST
        if length and drop_text(one["drop"]) != NO_DROP:
            draw.rectangle((left, bar, left + length, bar + BAR_HEIGHT), fill=colour)
        middle = bar + BAR_HEIGHT + TEXT_HEIGHT // 2
        draw_text(draw, (left + (width - text_width(text)) / 2, middle), text)
    return sheet


def strongest(seconds: Sequence[Mapping[str, Any]], most: int) -> list[Mapping[str, Any]]:
    """Return at most `most` parts, those with the largest drop up or down, in the order of time."""
    kept = sorted(seconds, key=lambda one: -abs(one["drop"]))[:most]
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


def _pictures(video: Video, times: Sequence[float], nothing: str) -> list[Image.Image]:
    """Return the picture shown at each time; where there is none, a box that says `nothing`."""
    request = FrameRequest("strip", at(times), Size(short=FRAME_HEIGHT))
    frames: list[Frame] = []
    try:
        frames += video.frames([request])
    except InputError as error:
        if error.code not in ("no_video", "unreadable"):  # a file can be heard and not seen
            raise
    if not frames:
        return [_box(nothing)] * len(times)
    return [_shown_at(frames, time_s) for time_s in times]


def _shown_at(frames: Sequence[Frame], time_s: float) -> Image.Image:
    before = [frame for frame in frames if frame.time_s <= time_s + ROUNDING_S] or frames[:1]
    return Image.fromarray(before[-1].image)


def _box(text: str) -> Image.Image:
    box = Image.new("RGB", (FRAME_HEIGHT, FRAME_HEIGHT), TRACK)
    left = (FRAME_HEIGHT - text_width(text)) / 2
    draw_text(ImageDraw.Draw(box), (left, FRAME_HEIGHT // 2), text)
    return box


# --- text: labels are in any script -------------------------------------------------------------


def draw_text(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str) -> None:
    """Draw a line of text from its left end, at the height of its middle."""
    x, y = place
    for font, run in _runs(text):
        draw.text((x, y), run, fill=TEXT, font=font, anchor="lm")
        x += font.getlength(run)


def text_width(text: str) -> float:
    """Return how wide a text is drawn, in pixels."""
    return sum(font.getlength(run) for font, run in _runs(text))


def shortened(text: str, width: float) -> str:
    """Return a text, or its beginning and an ellipsis, that is drawn no wider than `width`."""
    if text_width(text) <= width:
        return text
    kept = text[: ceil(width)]  # a letter is a pixel wide or more
    while kept and text_width(f"{kept}…") > width:
        kept = kept[:-1]
    return f"{kept}…"


def _runs(text: str) -> list[tuple[ImageFont.FreeTypeFont, str]]:
    """Divide a text into pieces that one font can draw."""
    fonts = _fonts()

    def fitting(character: str) -> int:
        code = ord(character)
        return next((i for i, (_, characters) in enumerate(fonts) if code in characters), 0)

    return [(fonts[i][0], "".join(run)) for i, run in groupby(text, fitting)]


@lru_cache(maxsize=1)
def _fonts() -> tuple[tuple[ImageFont.FreeTypeFont, Collection[int]], ...]:
    """Return the fonts in use and the code points that each can draw."""
    # Without shaping, which not every Pillow has: a strip looks the same everywhere.
    return tuple(
        (ImageFont.truetype(file, FONT_SIZE, layout_engine=ImageFont.Layout.BASIC), characters)
        for file, characters in font_files().items()
    )


def _drawn() -> set[int]:
    return {code for _, characters in _fonts() for code in characters}
