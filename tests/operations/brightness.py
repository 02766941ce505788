"""A command over videos, made outside the package: how bright the frames of each video are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from vmm_cli.batch.inputs import Input
from vmm_cli.batch.work import Work
from vmm_cli.errors import InputError, OptionError
from vmm_cli.operations.operation import Operation, Prepared, formats
from vmm_cli.operations.options import (
    check,
    end_option,
    max_pixels_option,
    option,
    start_option,
)
from vmm_cli.operations.parse import parse_count, parse_positive_seconds
from vmm_cli.output.formats import Shown
from vmm_cli.output.rows import Cell, Column, Record, Sheet, Table, Times, Value
from vmm_cli.output.subtitles import Cue

CHOICES = ("every", "count")


@dataclass(frozen=True)
class BrightnessOptions:
    """What `vmm brightness` can be asked for; times in seconds."""

    every: Fraction | None = option(
        "--every",
        metavar="S",
        parse=parse_positive_seconds,
        help="Look at one frame every S seconds [default: 1].",
    )
    count: int | None = option(
        "--count", metavar="N", parse=parse_count, help="Look at N frames, evenly spaced."
    )
    inverted: bool = option(
        "--inverted", default=False, help="Say how dark they are.", counts="given"
    )
    start: Fraction = start_option()
    end: Fraction | None = end_option()
    max_pixels: int = max_pixels_option()


@dataclass(frozen=True)
class Brightness:
    """Mean brightness, 0 to 1, of frames at times in seconds."""

    times_s: tuple[float, ...]
    means: tuple[float, ...]

    def to_record(self) -> dict[str, Any]:
        pairs = zip(self.times_s, self.means, strict=True)
        return {"frames": [{"time_s": round(t, 3), "mean": round(m, 3)} for t, m in pairs]}


def prepare(
    options: BrightnessOptions,
) -> Prepared[BrightnessOptions, BrightnessOptions, None, Brightness]:
    check(options, CHOICES)
    if options.count is not None and options.count > 1000:
        raise OptionError("{count} {n}: so many frames say no more than 1000", n=options.count)
    every = Fraction(1) if options.every is options.count is None else options.every
    settled = replace(options, every=every)
    return Prepared(settled, Work(settled, run=run, finish=finish), memory_bytes=300 * 2**20)


def run(job: BrightnessOptions, input: Input, part: None) -> Brightness:
    """In a worker: only here anything is loaded that decodes."""
    from vmm_cli.media import sampling
    from vmm_cli.media.frames import FrameRequest
    from vmm_cli.media.geometry import Size
    from vmm_cli.media.video import Video

    if job.every is not None:
        wanted = sampling.every(job.every, start=job.start, end=job.end)
    else:
        wanted = sampling.count(job.count or 1, start=job.start, end=job.end)
    video = Video(input.path, job.max_pixels)
    frames = video.frames([FrameRequest("frames", wanted, Size(short=32))])
    found = [(frame.time_s, float(frame.image.mean()) / 255) for frame in frames]
    if not found:
        raise InputError("past_end", "there is no frame at any of the wanted times")
    means = (1 - mean if job.inverted else mean for _, mean in found)
    return Brightness(tuple(time_s for time_s, _ in found), tuple(means))


def finish(job: BrightnessOptions, input: Input, parts: Sequence[Brightness]) -> Brightness:
    (whole,) = parts  # no input is split: there is no `plan`
    return whole


def cells(record: Record) -> Iterator[Sequence[Cell]]:
    for frame in record["frames"]:
        yield Times((frame["time_s"],)), f"{frame['mean']:.0%}"


def values(record: Record) -> Iterator[Sequence[Value]]:
    for frame in record["frames"]:
        yield frame["time_s"], frame["mean"]


def cues(record: Record) -> Iterator[Cue]:
    for frame in record["frames"]:
        yield Cue(frame["time_s"], frame["time_s"] + 1, f"{frame['mean']:.0%}")


TABLE = Table((Column("time", number=True), Column("brightness", number=True)), cells)
SHEET = Sheet(("time_s", "mean"), values)

BRIGHTNESS = Operation(
    name="brightness",
    schema="toy.brightness/1",
    help="Say how bright the frames of each video are.",
    examples=(
        ("How bright is each second?", "vmm brightness clips"),
        ("As subtitles", "vmm brightness clip.mp4 -o clip.srt"),
    ),
    options=BrightnessOptions,
    group="Frames",
    either_or=CHOICES,
    prepare=prepare,
    shown=lambda job: Shown((TABLE,), SHEET, cues),
    formats=formats("table", "jsonl", "json", "csv", "srt"),
)
