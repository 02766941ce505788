"""What happens when, as a picture: a lane for each label, with its segments as bars.

Above the bars stands the label's score over time, below them what the video shows at the peaks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vmm_cli.media.video import Video
from vmm_cli.output.clock import clock_text
from vmm_cli.output.pictured import PictureKind
from vmm_cli.pictures.text import draw_text, drawable, drawable_labels, shortened, text_width
from vmm_cli.pictures.time_axis import TimeAxis
from vmm_cli.pictures.time_picture import (
    BACKGROUND,
    GAP,
    GUTTER_WIDTH,
    MARGIN,
    MAX_PICTURES,
    TEXT_HEIGHT,
    TRACK,
    WIDTH,
    Colour,
    draw_row,
    draw_ticks,
    mixed,
    pictures_at,
    row_height,
)

# Pixels
CURVE_HEIGHT = 34
BAR_HEIGHT = 20
LANE_GAP = 16
MIN_BAR_WIDTH = 3  # of them one is the edge

MAX_LANES = 12  # more are looked at one by one, and nobody does
MAX_LANES_WITH_PICTURES = 8
MAX_NAMED = 40  # of those without a lane; there is room for fewer
LANES_WITHOUT_SEGMENTS = 3  # where nothing is found: the labels that came nearest

# Dark enough for light letters on them, and apart from each other also for those who see fewer
# colours, since neighbours differ in lightness.
COLOURS = (
    (52, 116, 186),
    (176, 92, 34),
    (58, 132, 84),
    (162, 70, 122),
    (118, 96, 190),
    (140, 116, 30),
    (36, 132, 138),
    (178, 62, 62),
)
FAINT = 0.45  # of a curve, and of a bar at score 0


def _draw(video: Video, record: Mapping[str, Any], job: Any) -> Image.Image:
    return draw_timeline(video, record, undrawn=job.bundle.undrawn)


TIMELINE = PictureKind("--timeline", "timeline", ".timeline.png", _draw, only_drawn=("curves",))


def draw_timeline(
    video: Video, record: Mapping[str, Any], *, undrawn: Collection[str] = ()
) -> Image.Image:
    """Draw a record's `segments` and `curves`, with pictures of the video, over its wanted part.

    There is a lane for each label that has segments, in the model's order; where none has, for
    those with the highest scores. However many there are, the picture has at most 12 lanes: of the
    labels with the best segments, of equal ones those that cover more. The others are named below.
    The 8 best show pictures, at most 6 each; where there are labels that are `undrawn`, none does.

    Raises:
        InputError: the video cannot be read.
    """
    duration_s = record["duration_s"]
    until_s = duration_s if video.end is None else min(float(video.end), duration_s)
    left = MARGIN + GUTTER_WIDTH
    axis = TimeAxis(float(video.start), until_s, left, WIDTH - MARGIN - left)
    lanes, left_out = _lanes(record)
    names = drawable_labels([lane.label for lane in lanes])
    if undrawn:
        lanes = [replace(lane, peaks=()) for lane in lanes]
    pictures = pictures_at(video, [time for lane in lanes for time, _ in lane.peaks])
    row = row_height(pictures) if pictures else 0
    heights = [_height(lane, row) for lane in lanes]
    top = MARGIN + 2 * TEXT_HEIGHT
    bottom = top + sum(heights)
    below = [_more(left_out)] if left_out else []
    below.append(_key(pictures, undrawn))
    height = bottom + (len(below) + 1) * TEXT_HEIGHT + MARGIN
    image = Image.new("RGB", (WIDTH, height), BACKGROUND)
    draw = ImageDraw.Draw(image)
    draw_text(draw, (MARGIN, MARGIN + TEXT_HEIGHT // 2), _title(video.path, record))
    draw_ticks(draw, axis, top - TEXT_HEIGHT // 2, bottom + TEXT_HEIGHT // 2)
    for lane, name, height, colour in zip(lanes, names, heights, cycle(COLOURS), strict=False):
        _draw_lane(image, lane, name, colour, axis, top, pictures)
        top += height
    for number, text in enumerate(below, start=1):
        draw_text(draw, (MARGIN, bottom + number * TEXT_HEIGHT + TEXT_HEIGHT // 2), text)
    return image


# --- what is shown ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Lane:
    """What is drawn of one label.

    Attributes:
        segments: as in a record.
        times, scores: float64 [T], its score over time; T is 0 where nothing is known of it.
        peaks: the times to show pictures of, each with the score of its segment, in order of time.
    """

    label: str
    segments: Sequence[Mapping[str, Any]]
    times: np.ndarray
    scores: np.ndarray
    peaks: tuple[tuple[float, float], ...] = ()

    @property
    def rank(self) -> tuple[float, float]:
        """The best score of a segment, and the seconds that all of them last."""
        best = max((float(segment["score"]) for segment in self.segments), default=0.0)
        lengths = (float(one["end_s"]) - float(one["start_s"]) for one in self.segments)
        return best, sum(lengths)


def _lanes(record: Mapping[str, Any]) -> tuple[list[Lane], list[str]]:
    """Return the lanes to draw, and the labels with segments that have none, the best first."""
    curves = record.get("curves", {"times_s": [], "labels": {}})
    times = np.asarray(curves["times_s"], np.float64)
    by_label: dict[str, list[Mapping[str, Any]]] = {label: [] for label in curves["labels"]}
    for segment in record["segments"]:
        by_label.setdefault(segment["label"], []).append(segment)
    lanes = []
    for label, segments in by_label.items():
        scores = curves["labels"].get(label)
        known = times if scores is not None else times[:0]
        lanes.append(Lane(label, segments, known, np.asarray(scores or [], np.float64)))
    found = [lane for lane in lanes if lane.segments]
    if not found:
        lanes.sort(key=lambda lane: -lane.scores.max(initial=0))
        return lanes[:LANES_WITHOUT_SEGMENTS], []
    ranked = [lane.label for lane in sorted(found, key=lambda lane: lane.rank, reverse=True)]
    shown, pictured = set(ranked[:MAX_LANES]), set(ranked[:MAX_LANES_WITH_PICTURES])
    return [
        replace(lane, peaks=_peaks(lane)) if lane.label in pictured else lane
        for lane in found
        if lane.label in shown
    ], ranked[MAX_LANES:]


def _peaks(lane: Lane) -> tuple[tuple[float, float], ...]:
    best = sorted(lane.segments, key=lambda segment: -float(segment["score"]))[:MAX_PICTURES]
    return tuple(sorted((peak_s(lane, one), float(one["score"])) for one in best))


def peak_s(lane: Lane, segment: Mapping[str, Any]) -> float:
    """Return when in a segment its label scores highest; its middle where that is not known."""
    begin, end = float(segment["start_s"]), float(segment["end_s"])
    middle = (begin + end) / 2
    inside = np.flatnonzero((lane.times >= begin) & (lane.times <= end))
    if not len(inside):
        return middle
    scores = lane.scores[inside]
    highest = lane.times[inside[scores == scores.max()]]
    return float(highest[np.abs(highest - middle).argmin()])


def _title(path: Path, record: Mapping[str, Any]) -> str:
    segments = record["segments"]
    number = len(segments)
    found = "nothing found" if not number else "1 segment" if number == 1 else f"{number} segments"
    model = drawable(record["model"]["name"])
    rest = f"   {clock_text(record['duration_s'])}   {model}: {found}"
    room = WIDTH - 2 * MARGIN - text_width(rest)
    return shortened(drawable(path.name), room) + rest


def _more(labels: Sequence[str]) -> str:
    """Return a line that names the labels without a lane, as far as there is room."""
    number = "1 more label" if len(labels) == 1 else f"{len(labels)} more labels"
    named = ", ".join(drawable_labels(labels[:MAX_NAMED]))
    return shortened(f"and {number}, of lower scores: {named}", WIDTH - 2 * MARGIN)


def _key(pictures: Mapping[float, Image.Image], undrawn: Collection[str]) -> str:
    below = "; below: what is seen where the best of them score highest" if pictures else ""
    if undrawn:
        below = f"; without pictures, since the model finds what is {', '.join(undrawn)}"
    return f"bars: segments and their scores; above: the score over time, from 0 to 1{below}"


# --- drawing ------------------------------------------------------------------------------------


def _height(lane: Lane, row: int) -> int:
    return CURVE_HEIGHT + BAR_HEIGHT + (row if lane.peaks else 0) + LANE_GAP


def _draw_lane(
    image: Image.Image,
    lane: Lane,
    name: str,
    colour: Colour,
    axis: TimeAxis,
    top: int,
    pictures: Mapping[float, Image.Image],
) -> None:
    draw = ImageDraw.Draw(image)
    bar = top + CURVE_HEIGHT
    room = GUTTER_WIDTH - GAP
    draw_text(draw, (MARGIN, top + CURVE_HEIGHT // 2), shortened(name, room))
    draw_text(draw, (MARGIN, bar + BAR_HEIGHT // 2), _count(lane))
    right = axis.left + axis.width - 1
    draw.rectangle((axis.left, bar, right, bar + BAR_HEIGHT - 1), fill=TRACK)
    if len(lane.times):
        scores = axis.columns(lane.times, lane.scores).clip(0, 1)
        heights = np.rint(scores * (CURVE_HEIGHT - 1))
        for i, height in enumerate(heights.astype(int).tolist()):
            x = axis.left + i
            draw.line((x, bar - 1 - height, x, bar - 1), fill=mixed(colour, FAINT))
    # The best last, so that it lies on top where they overlap.
    for segment in sorted(lane.segments, key=lambda segment: float(segment["score"])):
        _draw_bar(draw, segment, colour, axis, bar)
    if lane.peaks and pictures:
        marks = [
            (time, f"{clock_text(round(time, 1))[:-2]}  {score:.2f}") for time, score in lane.peaks
        ]
        draw_row(image, marks, axis, bar + BAR_HEIGHT, pictures)


def _count(lane: Lane) -> str:
    if not lane.segments:
        return f"at most {lane.scores.max(initial=0):.2f}"
    return "1 segment" if len(lane.segments) == 1 else f"{len(lane.segments)} segments"


def _draw_bar(
    draw: ImageDraw.ImageDraw, segment: Mapping[str, Any], colour: Colour, axis: TimeAxis, top: int
) -> None:
    score = float(segment["score"])
    left, right = axis.x(float(segment["start_s"])), axis.x(float(segment["end_s"]))
    right = max(right, left + MIN_BAR_WIDTH)
    fill = mixed(colour, FAINT + (1 - FAINT) * score)
    # An edge in the colour of the background parts bars that touch.
    draw.rectangle((left, top, right - 2, top + BAR_HEIGHT - 1), fill=fill)
    draw.line((right - 1, top, right - 1, top + BAR_HEIGHT - 1), fill=BACKGROUND)
    text = f"{score:.2f}"
    if text_width(text) + GAP <= right - left:
        draw_text(draw, ((left + right - text_width(text)) / 2, top + BAR_HEIGHT // 2), text)
