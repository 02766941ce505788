"""How a video feels over time, as a picture: the curve, what it rests on, and its peaks.

Under the curve stand the emotion that leads, how much each kind of evidence counts, how many faces
there are, and what the video shows where valence is highest or lowest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle, groupby, islice
from math import ceil, floor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageDraw

from vmm_cli.analysis.sentiment.curve import LEAST_CONFIDENCE
from vmm_cli.analysis.sentiment.evidence import EMOTIONS, EXPERTS
from vmm_cli.media.video import Video
from vmm_cli.output.clock import clock_text
from vmm_cli.output.pictured import PictureKind
from vmm_cli.output.sentiment_text import (
    NO_EVIDENCE,
    Point,
    dominant,
    follows,
    missing_words,
    span_of,
    valence_text,
)
from vmm_cli.pictures.text import draw_text, drawable, drawable_labels, shortened, text_width
from vmm_cli.pictures.time_axis import TimeAxis
from vmm_cli.pictures.time_picture import (
    BACKGROUND,
    GAP,
    GRID,
    GUTTER_WIDTH,
    LEADER,
    MARGIN,
    MAX_PICTURES,
    TEXT_HEIGHT,
    TRACK,
    WIDTH,
    Colour,
    draw_centred,
    draw_row,
    draw_ticks,
    mixed,
    pictures_at,
    row_height,
)

# Pixels
CURVE_HEIGHT = 220
CURVE_PADDING = 6  # above +1 and below -1, for half the line's width
LANE_HEIGHT = 22
LANE_GAP = 8
MIN_BAR_WIDTH = 3
SWATCH_WIDTH = 14
MARK_RADIUS = 4
THINNEST, THICKEST = 1.5, 3.5  # the line, at confidence 0 and 1

# Of Okabe and Ito's palette, which also those tell apart who see fewer colours.
POSITIVE, NEGATIVE = (86, 180, 233), (230, 159, 0)
EVIDENCE = (190, 200, 205)
FACES = (130, 150, 130)
# Dark enough for light letters on them; cold ones are pleasant, as on the curve.
EMOTION_COLOURS: Mapping[str, Colour] = {
    "anger": (178, 62, 62),
    "disgust": (126, 122, 34),
    "fear": (118, 96, 190),
    "happiness": (44, 116, 186),
    "sadness": (160, 92, 34),
    "surprise": (36, 132, 138),
    "neutral": (92, 92, 92),
}
# How strong colours are at confidence 0, and what confidence 1 adds.
FILL, FILL_GAIN = 0.10, 0.40
LINE, LINE_GAIN = 0.35, 0.65
MIN_LANE = 0.15  # how strong a lane is where its evidence hardly counts

FOOTNOTE = "expression is not feeling: see docs/sentiment.md"
KEY = "the surer, the stronger the curve; lanes: how much each counts"

Span = Callable[[Point], tuple[float, float]]


class HasStep(Protocol):
    """What was wanted: a curve with a point `every` so many seconds."""

    @property
    def every(self) -> Fraction:
        """The step."""


def _draw(video: Video, record: Mapping[str, Any], job: HasStep) -> Image.Image:
    return draw_sentiment(video, record, every_s=float(job.every))


PLOT = PictureKind("--plot", "plot", ".sentiment.png", _draw)


def draw_sentiment(video: Video, record: Mapping[str, Any], *, every_s: float) -> Image.Image:
    """Draw a record's `curve` and `summary`, with pictures of the video, over its wanted part.

    every_s: the step of the curve. Where nothing is known nothing is drawn. The peaks and the point
    furthest from 0 are marked, at most 6; not one that a title alone could give.

    Raises:
        InputError: the video cannot be read.
    """
    duration_s = float(record["duration_s"])
    start_s = float(video.start)
    until_s = duration_s if video.end is None else min(float(video.end), duration_s)
    left = MARGIN + GUTTER_WIDTH
    axis = TimeAxis(start_s, until_s, left, WIDTH - MARGIN - left)
    points: Sequence[Point] = record["curve"]

    def span(point: Point) -> tuple[float, float]:
        return span_of(point, start_s, every_s)

    marks = _marks(record)
    pictures = pictures_at(video, [time for time, _ in marks])
    lanes = [*_lanes(record, axis, span)]
    top = MARGIN + 2 * TEXT_HEIGHT
    lanes_top = top + CURVE_HEIGHT + LANE_GAP
    lanes_bottom = lanes_top + len(lanes) * (LANE_HEIGHT + LANE_GAP)
    bottom = lanes_bottom + (row_height(pictures) if marks else 0)
    image = Image.new("RGB", (WIDTH, bottom + 2 * TEXT_HEIGHT + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(image)
    draw_text(draw, (MARGIN, MARGIN + TEXT_HEIGHT // 2), _title(video.path, record))
    draw_ticks(draw, axis, top - TEXT_HEIGHT // 2, bottom + TEXT_HEIGHT // 2)
    _draw_scale(draw, axis, top)
    _draw_curve(image, _columns(points, axis, span, every_s), axis, top)
    if not points:
        draw_centred(draw, (axis.left + axis.width / 2, top + _y(0.25)), NO_EVIDENCE)
    for time, valence in marks:  # under the lanes, which they would cut to pieces
        _draw_mark(draw, axis.x(time), valence, top, lanes_bottom)
    for i, lane in enumerate(lanes):
        _draw_lane(draw, lane, axis, lanes_top + i * (LANE_HEIGHT + LANE_GAP))
    if marks:
        captions = [
            (time, f"{clock_text(round(time, 1))[:-2]}  {valence_text(v)}") for time, v in marks
        ]
        draw_row(image, captions, axis, lanes_bottom, pictures)
    _draw_key(draw, points, bottom + TEXT_HEIGHT * 3 // 2)
    return image


# --- what is shown ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Columns:
    """The curve by columns of pixels, each float64 [width]; nan where nothing is known.

    Attributes:
        low, high: between which the curve runs within the column: where steps are narrower than
            columns, no peak is lost.
        confidence: from 0 to 1.
    """

    low: np.ndarray
    high: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True)
class Bar:
    """What is drawn in a lane from one column to another. height: a share of the lane's."""

    left: int
    right: int
    colour: Colour
    text: str = ""
    height: float = 1.0


@dataclass(frozen=True)
class Lane:
    """A row under the curve: bars, or a text in their place."""

    name: str
    bars: Sequence[Bar]
    text: str = ""


def _marks(record: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return the times to show pictures of, in order, and their valences."""
    marked = [*record["summary"]["peaks"]]
    # A level stretch is no peak, nor one of experts that disagree: it can still be the furthest.
    if told := [point for point in record["curve"] if _is_of_a_moment(point)]:
        marked.append(max(told, key=lambda point: abs(point["valence"])))
    marks = {(float(one["time_s"]), float(one["valence"])) for one in marked}
    return sorted(sorted(marks, key=lambda mark: (-abs(mark[1]), mark[0]))[:MAX_PICTURES])


def _columns(points: Sequence[Point], axis: TimeAxis, span: Span, every_s: float) -> Columns:
    low, high, confidence = (np.full(axis.width, np.nan) for _ in range(3))
    for run in _runs(points, every_s):
        times = [span(run[0])[0], *(float(point["time_s"]) for point in run), span(run[-1])[1]]
        ends = [run[0], *run, run[-1]]  # a point holds for the whole of its step
        x = np.array([axis.x(time) - axis.left for time in times])
        valence = np.array([float(point["valence"]) for point in ends])
        sure = np.array([_confidence(point) for point in ends])
        first = min(floor(x[0]), axis.width - 1)
        last = max(first + 1, ceil(x[-1]))
        at_edges = np.interp(np.arange(first, last + 1), x, valence)
        lowest, highest = (
            np.minimum(at_edges[1:], at_edges[:-1]),
            np.maximum(at_edges[1:], at_edges[:-1]),
        )
        places = np.floor(x).astype(int).clip(first, last - 1) - first
        np.minimum.at(lowest, places, valence)
        np.maximum.at(highest, places, valence)
        part = slice(first, last)
        low[part] = np.fmin(low[part], lowest)
        high[part] = np.fmax(high[part], highest)
        confidence[part] = np.interp(np.arange(first, last) + 0.5, x, sure)
    return Columns(low, high, confidence)


def _runs(points: Sequence[Point], every_s: float) -> Iterator[list[Point]]:
    """Yield the runs of points between which no step is missing."""
    run: list[Point] = []
    for point in points:
        if run and not follows(run[-1], point, every_s):
            yield run
            run = []
        run.append(point)
    if run:
        yield run


def _is_of_a_moment(point: Point) -> bool:
    """Tell whether some evidence counts for more than a title could."""
    strongest = max(point["evidence"].values(), default=0.0)
    return point["confidence"] is None or strongest >= LEAST_CONFIDENCE


def _confidence(point: Point) -> float:
    confidence = point["confidence"]
    return 1.0 if confidence is None else float(confidence)


def _lanes(record: Mapping[str, Any], axis: TimeAxis, span: Span) -> Iterator[Lane]:
    points: Sequence[Point] = record["curve"]
    parts = [_part(point, axis, span) for point in points]
    if any(point["emotions"] for point in points):
        yield Lane("emotion", [*_emotion_bars(points, parts, axis.width)])
    used, missing = record["evidence"], missing_words(record)
    for kind in dict.fromkeys((*EXPERTS, *used, *missing)):
        if kind in missing:
            yield Lane(kind, (), missing[kind])
        elif kind in used:
            weights = [point["evidence"].get(kind, 0.0) for point in points]
            bars = [
                Bar(left, right, mixed(EVIDENCE, MIN_LANE + (1 - MIN_LANE) * weight))
                for left, right, weight in _steps_of(_highest(weights, parts, axis.width))
            ]
            yield Lane(_evidence_name(record, kind), bars)
    counts = [float(point.get("faces", 0)) for point in points]
    highest = max(counts, default=0.0)
    if highest > 0:
        bars = [
            Bar(left, right, FACES, height=count / highest)
            for left, right, count in _steps_of(_highest(counts, parts, axis.width))
        ]
        yield Lane(f"faces at once: at most {highest:.0f}", bars)


def _evidence_name(record: Mapping[str, Any], kind: str) -> str:
    expert = record.get("experts", {}).get(kind, {})
    notes = [expert["source"]] if expert.get("source") else []
    if expert.get("calibrated") is False:
        notes.append("uncalibrated")
    return f"{kind} ({', '.join(notes)})" if notes else kind


def _emotion_bars(points: Sequence[Point], parts: Sequence[slice], width: int) -> Iterator[Bar]:
    """Yield a bar for each run of columns in which one emotion leads most of the steps."""
    leading = _leading(points)
    drawn = [*leading.values()]
    order = {emotion: i for i, emotion in enumerate(leading)}
    votes = np.zeros((width, len(leading)))
    for point, part in zip(points, parts, strict=True):
        leader = dominant(point)
        if leader is not None:
            votes[part, order[leader]] += 1
    leaders = np.where(votes.any(axis=1), votes.argmax(axis=1) + 1.0, 0.0)
    for left, right, number in _steps_of(leaders):
        yield Bar(left, right, *drawn[int(number) - 1])


def _leading(points: Sequence[Point]) -> dict[str, tuple[Colour, str]]:
    """Return the emotions that lead at some point, with their colours and as they are drawn.

    Those of the experts come first; a model that was trained has words of its own.
    """
    leaders = {dominant(point): None for point in points}
    known = [emotion for emotion in EMOTIONS if emotion in leaders]
    others = [emotion for emotion in leaders if emotion is not None and emotion not in EMOTIONS]
    colours = [EMOTION_COLOURS[emotion] for emotion in known]
    colours += islice(cycle(EMOTION_COLOURS.values()), len(others))
    emotions = [*known, *others]
    drawn = zip(colours, drawable_labels(emotions), strict=True)
    return dict(zip(emotions, drawn, strict=True))


def _highest(values: Sequence[float], parts: Sequence[slice], width: int) -> np.ndarray:
    """Return the highest value of the steps in each column: float64 [width], 0 without any."""
    columns = np.zeros(width)
    for part, value in zip(parts, values, strict=True):
        columns[part] = np.maximum(columns[part], value)
    return columns


def _part(point: Point, axis: TimeAxis, span: Span) -> slice:
    """Return the columns of a point's step, as many at least as can be seen."""
    begin_s, end_s = span(point)
    first = min(round(axis.x(begin_s)) - axis.left, axis.width - MIN_BAR_WIDTH)
    return slice(first, max(first + MIN_BAR_WIDTH, round(axis.x(end_s)) - axis.left))


def _steps_of(columns: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """Yield the runs of columns with one value above 0: first, end and value."""
    first = 0
    for value, run in groupby(columns.tolist()):
        end = first + sum(1 for _ in run)
        if value > 0:
            yield first, end, value
        first = end


def _title(path: Path, record: Mapping[str, Any]) -> str:
    summary = record["summary"]
    found = NO_EVIDENCE
    if summary["valence"] is not None:
        bounds = f"{valence_text(summary['min'])} to {valence_text(summary['max'])}"
        found = f"valence {valence_text(summary['valence'])} ({bounds})"
        if summary["dominant"]:
            found += f", mostly {shortened(drawable(summary['dominant']), GUTTER_WIDTH)}"
        found += f"; {summary['covered']:.0%} covered"
        if summary.get("confidence") is not None:  # records of earlier versions have none
            found += f", confidence {summary['confidence']:.2f}"
    rest = f"   {clock_text(record['duration_s'])}   {found}"
    room = WIDTH - 2 * MARGIN - text_width(rest)
    return shortened(drawable(path.name), room) + rest


# --- drawing ------------------------------------------------------------------------------------


def _y(valence: Any) -> Any:
    """Return how far below the top of the curve's panel a valence is drawn, in pixels."""
    return CURVE_PADDING + (1 - valence) / 2 * (CURVE_HEIGHT - 2 * CURVE_PADDING)


def _draw_scale(draw: ImageDraw.ImageDraw, axis: TimeAxis, top: int) -> None:
    right = axis.left + axis.width - 1
    named = {1.0: "pleasant  +1", 0.5: "", 0.0: "0", -0.5: "", -1.0: "unpleasant  -1"}
    for valence, text in named.items():
        y = top + _y(valence)
        draw.line((axis.left, y, right, y), fill=LEADER if valence == 0 else GRID)
        draw_text(draw, (axis.left - GAP - text_width(text), y), text)
    draw_text(draw, (MARGIN, top + _y(0.0)), "valence")


def _draw_curve(image: Image.Image, columns: Columns, axis: TimeAxis, top: int) -> None:
    """Draw the curve and what lies between it and 0; edges are smoothed up and down."""
    known = np.flatnonzero(~np.isnan(columns.low))
    sure = columns.confidence[known]
    half = (THINNEST + (THICKEST - THINNEST) * sure) / 2
    upper, lower, zero = _y(columns.high[known]), _y(columns.low[known]), _y(0.0)
    rows = np.arange(CURVE_HEIGHT)[:, None]
    line = _covered(rows, upper - half, lower + half) * (LINE + LINE_GAIN * sure)
    between = _covered(rows, np.minimum(upper, zero), np.maximum(lower, zero))
    share = np.maximum(line, between * (FILL + FILL_GAIN * sure))[..., None]  # [H, K, 1]
    colours = np.where(rows[..., None] < zero, POSITIVE, NEGATIVE)  # [H, 1, 3]
    box = (axis.left, top, axis.left + axis.width, top + CURVE_HEIGHT)
    panel = np.array(image.crop(box))  # [H, W, 3]
    panel[:, known] = np.rint(panel[:, known] * (1 - share) + colours * share)
    image.paste(Image.fromarray(panel), box)


def _covered(rows: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return which share of each pixel lies between two heights: [H, 1], [K], [K] -> [H, K]."""
    shares: np.ndarray = (np.minimum(lower, rows + 1) - np.maximum(upper, rows)).clip(0, 1)
    return shares


def _draw_mark(draw: ImageDraw.ImageDraw, x: float, valence: float, top: int, bottom: int) -> None:
    y = top + _y(valence)
    draw.line((x, y, x, bottom), fill=LEADER)
    box = (x - MARK_RADIUS, y - MARK_RADIUS, x + MARK_RADIUS, y + MARK_RADIUS)
    draw.ellipse(box, fill=POSITIVE if valence >= 0 else NEGATIVE, outline=(255, 255, 255))


def _draw_lane(draw: ImageDraw.ImageDraw, lane: Lane, axis: TimeAxis, top: int) -> None:
    middle, bottom = top + LANE_HEIGHT // 2, top + LANE_HEIGHT - 1
    draw_text(draw, (MARGIN, middle), shortened(lane.name, GUTTER_WIDTH - GAP))
    draw.rectangle((axis.left, top, axis.left + axis.width - 1, bottom), fill=TRACK)
    draw_text(draw, (axis.left + GAP, middle), lane.text)
    for bar in lane.bars:
        left, right = axis.left + bar.left, axis.left + bar.right
        highest = bottom - round(bar.height * (LANE_HEIGHT - 1))
        draw.rectangle((left, highest, right - 1, bottom), fill=bar.colour)
        if text_width(bar.text) + GAP <= right - left:
            draw_text(draw, ((left + right - text_width(bar.text)) / 2, middle), bar.text)


def _draw_key(draw: ImageDraw.ImageDraw, points: Sequence[Point], middle: int) -> None:
    """Draw what the colours of emotions mean, and what to bear in mind."""
    text = f"{KEY};  {FOOTNOTE}" if points else FOOTNOTE
    end = WIDTH - MARGIN - text_width(text)
    draw_text(draw, (end, middle), text)
    x: float = MARGIN
    for colour, name in _leading(points).values():
        width = SWATCH_WIDTH + GAP + text_width(name)
        if x + width > end - GAP:
            return
        box = (x, middle - SWATCH_WIDTH // 2, x + SWATCH_WIDTH, middle + SWATCH_WIDTH // 2)
        draw.rectangle(box, fill=colour)
        draw_text(draw, (x + SWATCH_WIDTH + GAP, middle), name)
        x += width + 3 * GAP
