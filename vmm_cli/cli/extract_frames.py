"""`vmm extract-frames`: pictures of each video, as files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from vmm_cli import errors
from vmm_cli.cli.failure import failure_text
from vmm_cli.cli.help import OUTPUT
from vmm_cli.cli.options import (
    End,
    SharedOptions,
    Start,
    check_range,
    parse_count,
    parse_file_name,
    parse_positive_seconds,
    parse_time,
    takes_shared_options,
)

if TYPE_CHECKING:
    from vmm_cli.media.geometry import Size
    from vmm_cli.media.sampling import Sampling
    from vmm_cli.output.table import Row, TableOfRecords

SCHEMA = "vmm.extract-frames/1"
# A decoder of 4K pictures with its references, the scaled picture and the interpreter.
WORKER_MEMORY_BYTES = 400 * 2**20
MAX_SIDE = 16000  # libav encodes no square much larger
DEFAULT_FPS = Fraction(1)

_SIZE = re.compile(r"(\d+)(?:[xX](\d+))?", re.ASCII)
_RATE = re.compile(r"(\d+\.?\d*|\.\d+)(?:/(\d+))?", re.ASCII)


def parse_size(text: object) -> tuple[int, ...]:
    """Return (width, height) from "640x360" or (shorter side,) from "224". ValueError otherwise."""
    word = str(text).strip()
    match = _SIZE.fullmatch(word)
    sides = tuple(int(side) for side in match.groups() if side) if match else ()
    if not sides or not all(2 <= side <= MAX_SIDE for side in sides):
        raise ValueError(
            f"{word!r} is not a valid size; give WxH (640x360) or the shorter side (224), "
            f"from 2 to {MAX_SIDE}"
        )
    return sides


def parse_rate(text: object) -> Fraction:
    """Return frames per second from "5", "0.5" or "30000/1001". ValueError otherwise."""
    word = str(text).strip()
    match = _RATE.fullmatch(word)
    if match is None or not Fraction(match[1]) or (match[2] and not int(match[2])):
        raise ValueError(f"{word!r} is not a frame rate above 0; give 5, 0.5 or 30000/1001")
    return Fraction(match[1]) / int(match[2] or 1)


def parse_times(text: object) -> tuple[Fraction, ...]:
    """Return the times of a comma-separated list. ValueError otherwise."""
    return tuple(parse_time(word) for word in str(text).split(",") if word.strip()) or (
        parse_time(text),
    )


def parse_quality(text: object) -> int:
    """Return a quality from 1 to 100. ValueError otherwise."""
    quality = parse_count(text)
    if quality > 100:
        raise ValueError(
            f"{quality} is not a valid quality; give 1 (smallest files) to 100 (best pictures)"
        )
    return quality


FramesFolder = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        parser=parse_file_name,
        help="Folder for the frames [required]. A rerun skips what is done already.",
        rich_help_panel=OUTPUT,
    ),
]


@partial(takes_shared_options, output=FramesFolder)
def extract_frames(
    shared: SharedOptions,
    fps: Annotated[
        Fraction | None,
        typer.Option(
            "--fps",
            metavar="F",
            parser=parse_rate,
            help="F frames per second [default: 1].",
            rich_help_panel="Which frames",
        ),
    ] = None,
    every: Annotated[
        Fraction | None,
        typer.Option(
            "--every",
            metavar="S",
            parser=parse_positive_seconds,
            help="One frame every S seconds.",
            rich_help_panel="Which frames",
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            metavar="N",
            parser=parse_count,
            help="N frames, evenly spaced.",
            rich_help_panel="Which frames",
        ),
    ] = None,
    at: Annotated[
        Any,
        typer.Option(
            "--at",
            metavar="T,...",
            parser=parse_times,
            help="The frames shown at these times: seconds or [HH:]MM:SS[.mmm].",
            rich_help_panel="Which frames",
        ),
    ] = None,
    keyframes: Annotated[
        bool,
        typer.Option(
            "--keyframes",
            help="Every keyframe.",
            rich_help_panel="Which frames",
        ),
    ] = False,
    all: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Every frame.",
            rich_help_panel="Which frames",
        ),
    ] = False,
    shots: Annotated[
        bool,
        typer.Option(
            "--shots",
            help="The middle frame of each shot.",
            rich_help_panel="Which frames",
        ),
    ] = False,
    start: Start = None,
    end: End = None,
    size: Annotated[
        Any,
        typer.Option(
            "--size",
            metavar="WxH|SHORT",
            parser=parse_size,
            help="Exact size, or the length of the shorter side [default: as displayed].",
            rich_help_panel="Pictures",
        ),
    ] = None,
    image_format: Annotated[
        Literal["jpg", "png", "webp"],
        typer.Option(
            "--image-format",
            metavar="jpg|png|webp",
            help="File format of the pictures.",
            rich_help_panel="Pictures",
        ),
    ] = "jpg",
    quality: Annotated[
        int | None,
        typer.Option(
            "--quality",
            metavar="1-100",
            parser=parse_quality,
            help="Quality of jpg and webp [default: 97 for jpg, as ffmpeg's -q:v 3; 90 for webp].",
            rich_help_panel="Pictures",
        ),
    ] = None,
    contact_sheet: Annotated[
        bool,
        typer.Option(
            "--contact-sheet",
            help="Also draw a contact sheet of each video.",
            rich_help_panel="Pictures",
        ),
    ] = False,
    format: Annotated[
        Literal["table", "json", "jsonl"] | None,
        typer.Option(
            "--format",
            metavar="table|json|jsonl",
            help="Format of the records [default: table on a terminal, else jsonl].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> int:
    """Save frames of each video as picture files.

    Each video gets a folder of its own under DIR, with the pictures and frames.jsonl, which has a
    line for each of them. Give at most one of the ways to choose frames; times count from --start.
    """
    from vmm_cli.batch.work import Work
    from vmm_cli.cli.running import run_batch
    from vmm_cli.media.geometry import Size
    from vmm_cli.output import frames_folder
    from vmm_cli.output.json_array import JsonArray
    from vmm_cli.output.jsonl import JsonLines

    if shared.output_path is None:
        raise errors.UsageError("no output folder given; name one with -o DIR")
    if quality is not None and image_format == "png":
        raise errors.UsageError("--quality means nothing for png, which is lossless; leave it out")
    check_range(start, end)
    sampling = _sampling(fps, every, count, at, keyframes, all, shots, start, end)
    request = frames_folder.ExtractRequest(
        output=shared.output_path,
        sampling=sampling,
        size=_size(size, Size),
        image_format=image_format,
        quality=quality,
        contact_sheet=contact_sheet,
        max_pixels=shared.max_pixels,
        overwrite=shared.overwrite,
    )
    return run_batch(
        shared,
        schema=SCHEMA,
        request=request,
        options={
            "sampling": repr(sampling),
            "size": list(size or ()),
            "image_format": image_format,
            "quality": quality,
            "contact_sheet": contact_sheet,
        },
        work=Work(
            run=frames_folder.run,
            finish=frames_folder.finish,
            plan=frames_folder.plan,
            kept=frames_folder.kept,
            tidy=frames_folder.tidy,
            folders=True,
        ),
        work_memory_bytes=WORKER_MEMORY_BYTES,
        formats={
            "table": _table,
            "json": JsonArray,
            "jsonl": JsonLines,
        },
        wanted_format=format,
        output_folder=True,
    )


def _size(sides: tuple[int, ...] | None, make: type[Size]) -> Size | None:
    if not sides:
        return None
    return make(short=sides[0]) if len(sides) == 1 else make(width=sides[0], height=sides[1])


def _sampling(
    fps: Fraction | None,
    every: Fraction | None,
    count: int | None,
    at: tuple[Fraction, ...] | None,
    keyframes: bool,
    all: bool,
    shots: bool,
    start: Fraction | None,
    end: Fraction | None,
) -> Sampling:
    from vmm_cli.media import sampling

    given = {
        "--fps": fps is not None,
        "--every": every is not None,
        "--count": count is not None,
        "--at": at is not None,
        "--keyframes": keyframes,
        "--all": all,
        "--shots": shots,
    }
    names = [name for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise errors.UsageError(
            f"{' and '.join(names)} contradict each other; give only one of them"
        )
    begin = start or Fraction(0)
    if every is not None:
        return sampling.every(every, start=begin, end=end)
    if count is not None:
        return sampling.count(count, start=begin, end=end)
    if at is not None:
        for time in at:
            if end is not None and begin + time >= end:
                counted = f", counted from --start ({float(begin):g} s)," if begin else ""
                raise errors.UsageError(
                    f"--at {float(time):g} s{counted} does not lie before --end ({float(end):g} s)"
                )
        return sampling.at(at, start=begin, end=end)
    if keyframes:
        return sampling.keyframes(start=begin, end=end)
    if all:
        return sampling.all(start=begin, end=end)
    if shots:
        return sampling.shots(start=begin, end=end)
    return sampling.fps(fps or DEFAULT_FPS, start=begin, end=end)


def _table(stream: TextIO) -> TableOfRecords:
    from vmm_cli.output.table import Column, TableOfRecords  # loads rich

    columns = [
        Column("input", shorten="start"),
        Column("duration", number=True),
        Column("frames", number=True),
        Column("folder", shorten="start"),
        Column("notes"),
    ]
    return TableOfRecords(stream, columns, table_rows)


def table_rows(record: Mapping[str, Any]) -> Iterator[Row]:
    """Return the table's row for one record."""
    from vmm_cli.output.table import Row, Times

    if record["status"] != "ok":
        reason = failure_text(record)
        yield Row((record["input"], reason or record["status"]), failed=bool(reason))
    else:
        notes = []
        if record["skipped_packets"]:
            notes.append(f"{record['skipped_packets']} bad packets skipped")
        if past_end := record.get("past_end_s"):
            notes.append(f"past the end: {', '.join(f'{t:g} s' for t in past_end)}")
        yield Row(
            (
                record["input"],
                Times((record["duration_s"],)),
                str(record["frames"]),
                record["folder"],
                "; ".join(notes),
            )
        )
