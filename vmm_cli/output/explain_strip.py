"""What a decision rests on, as a picture: frames in a row, under each how much it mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from vmm_cli.analysis import classify_windows
from vmm_cli.analysis.classify_windows import Part, WindowScores, WindowsRequest
from vmm_cli.errors import InputError, OutputError
from vmm_cli.media.frames import Frame, FrameRequest, iter_frames
from vmm_cli.media.geometry import Size
from vmm_cli.media.sampling import at
from vmm_cli.output.atomic_file import atomic_file
from vmm_cli.output.contact_sheet import clock_text, evenly
from vmm_cli.output.escape import escape_controls

if TYPE_CHECKING:
    from vmm_cli.batch.inputs import Input

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
LEAST_FULL_DROP = 0.1  # a bar is full at the largest drop, but not at one that means nothing
ROUNDING_S = 1e-3  # of the times in a record


@dataclass(frozen=True)
class StripRequest:
    """Classify, and draw what each decision rests on into `folder`."""

    classify: WindowsRequest
    folder: Path


def plan(request: StripRequest, input: Input, workers: int) -> list[Part | None]:
    """See `classify_windows.plan`."""
    return classify_windows.plan(request.classify, input, workers)


def run(request: StripRequest, input: Input, part: Part | None) -> WindowScores:
    """See `classify_windows.run`."""
    return classify_windows.run(request.classify, input, part)


def finish(request: StripRequest, input: Input, parts: Sequence[WindowScores]) -> dict[str, Any]:
    """Return the record's fields, and draw the strip that its field `strip` names.

    Raises:
        InputError: as `classify_windows.finish`.
        OutputError: the strip cannot be written.
    """
    record = classify_windows.finish(request.classify, input, parts)
    target = _target(request, input)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target.parent}: cannot be made: {error.strerror}") from error
    draw_strip(input.path, record["explain"], target, request.classify.max_pixels)
    record["strip"] = str(target.relative_to(request.folder))
    return record


def kept(request: StripRequest, input: Input) -> bool:
    """Tell whether the strip that an earlier run drew is still there."""
    return _target(request, input).is_file()


def _target(request: StripRequest, input: Input) -> Path:
    return request.folder / f"{input.output_name}.explain.png"


def draw_strip(path: Path, explained: Mapping[str, Any], target: Path, max_pixels: int) -> None:
    """Draw an explanation (as in a record) into a PNG; dark frames where there are no pictures.

    Raises:
        InputError: the video cannot be read.
        OutputError: the picture cannot be written.
    """
    seconds = explained["seconds"]
    chosen = [seconds[i] for i in evenly(len(seconds), MAX_FRAMES)]
    shown = _pictures(path, [(one["start_s"] + one["end_s"]) / 2 for one in chosen], max_pixels)
    width = max(image.width for image in shown)
    height = max(image.height for image in shown)
    font = ImageFont.load_default(FONT_SIZE)
    title = _title(explained)
    sheet = Image.new(
        "RGB",
        (
            max(len(shown) * (width + MARGIN), ceil(font.getlength(title)) + MARGIN) + MARGIN,
            height + BAR_HEIGHT + 2 * TEXT_HEIGHT + 2 * MARGIN,
        ),
        BACKGROUND,
    )
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, TEXT_HEIGHT // 2), title, fill=TEXT, font=font, anchor="lm")
    most = max(LEAST_FULL_DROP, *(abs(one["drop"]) for one in seconds))
    for i, (image, one) in enumerate(zip(shown, chosen, strict=True)):
        left, top = MARGIN + i * (width + MARGIN), TEXT_HEIGHT
        sheet.paste(image, (left + (width - image.width) // 2, top))
        bar = top + height + MARGIN // 2
        draw.rectangle((left, bar, left + width, bar + BAR_HEIGHT), fill=TRACK)
        length = round(width * abs(one["drop"]) / most)
        colour = FOR if one["drop"] > 0 else AGAINST
        if length:
            draw.rectangle((left, bar, left + length, bar + BAR_HEIGHT), fill=colour)
        drop = round(one["drop"], 2) + 0.0  # not "-0.00"
        said = f"{clock_text(one['start_s'])}  {drop:+.2f}"
        place = (left + width // 2, bar + BAR_HEIGHT + TEXT_HEIGHT // 2)
        draw.text(place, said, fill=TEXT, font=font, anchor="mm")
    with atomic_file(target) as file:
        sheet.save(file.buffer, "PNG")


def _title(explained: Mapping[str, Any]) -> str:
    label = escape_controls(explained["label"])
    shares = ", ".join(f"without {s} {p:.2f}" for s, p in explained["without"].items())
    return f"{label} {explained['score']:.2f} ({shares}); below, how much it falls without a part"


def _pictures(path: Path, times: Sequence[float], max_pixels: int) -> list[Image.Image]:
    """Return the picture shown at each time; a dark one where there is none."""
    request = FrameRequest("strip", at(times), Size(short=FRAME_HEIGHT))
    frames: list[Frame] = []
    try:
        frames += iter_frames(path, [request], max_pixels=max_pixels)
    except InputError as error:
        if error.code not in ("no_video", "unreadable"):  # a file can be heard and not seen
            raise
    return [_shown_at(frames, time_s) for time_s in times]


def _shown_at(frames: Sequence[Frame], time_s: float) -> Image.Image:
    before = [frame for frame in frames if frame.time_s <= time_s + ROUNDING_S] or frames[:1]
    if not before:
        return Image.new("RGB", (FRAME_HEIGHT, FRAME_HEIGHT), TRACK)
    return Image.fromarray(before[-1].image)
