"""`vmm extract-frames`: pictures of each video, as files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vmm_cli.batch.ledger import Owned
from vmm_cli.batch.work import Work
from vmm_cli.errors import OptionError
from vmm_cli.media import sampling
from vmm_cli.media.sampling import Sampling
from vmm_cli.operations import save_frames
from vmm_cli.operations.operation import Operation, Prepared, formats
from vmm_cli.operations.options import (
    OUTPUT,
    check,
    end_option,
    max_pixels_option,
    option,
    overwrite_option,
    start_option,
)
from vmm_cli.operations.parse import (
    parse_count,
    parse_file_name,
    parse_positive_seconds,
    parse_rate,
    parse_time,
)
from vmm_cli.operations.sampled import sampling_text
from vmm_cli.operations.save_frames import Job, Part, PartResult
from vmm_cli.output.formats import Shown
from vmm_cli.output.rows import Cell, Column, Record, Table, Times

# Only the workers load a decoder.
if TYPE_CHECKING:
    pass

# A decoder of 4K pictures with its references, the scaled picture and the interpreter.
WORKER_MEMORY_BYTES = 400 * 2**20
MAX_SIDE = 16000  # libav encodes no square much larger

PICTURES = "Pictures"  # a group of the help
CHOICES = ("fps", "every", "count", "at", "keyframes", "all", "shots")

_SIZE = re.compile(r"(\d+)(?:[xX](\d+))?", re.ASCII)


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


@dataclass(frozen=True)
class ExtractOptions:
    """What `vmm extract-frames` can be asked for; `size` is (width, height) or (shorter side,)."""

    fps: Fraction | None = option(
        "--fps", metavar="F", parse=parse_rate, help="F frames per second [default: 1]."
    )
    every: Fraction | None = option(
        "--every", metavar="S", parse=parse_positive_seconds, help="One frame every S seconds."
    )
    count: int | None = option(
        "--count", metavar="N", parse=parse_count, help="N frames, evenly spaced."
    )
    at: tuple[Fraction, ...] | None = option(
        "--at",
        metavar="T,...",
        parse=parse_times,
        help="The frames shown at these times: seconds or [HH:]MM:SS[.mmm].",
    )
    keyframes: bool = option("--keyframes", default=False, help="Every keyframe.")
    all: bool = option("--all", default=False, help="Every frame.")
    shots: bool = option("--shots", default=False, help="The middle frame of each shot.")
    start: Fraction = start_option()
    end: Fraction | None = end_option()
    size: tuple[int, ...] | None = option(
        "--size",
        metavar="WxH|SHORT",
        parse=parse_size,
        help="Exact size, or the length of the shorter side [default: as displayed].",
        group=PICTURES,
        as_json=lambda sides: list(sides or ()),
    )
    image_format: Literal["jpg", "png", "webp"] = option(
        "--image-format",
        default="jpg",
        metavar="jpg|png|webp",
        help="File format of the pictures.",
        group=PICTURES,
        show_default=True,
    )
    quality: int | None = option(
        "--quality",
        metavar="1-100",
        parse=parse_quality,
        help="Quality of jpg and webp [default: 97 for jpg, as ffmpeg's -q:v 3; 90 for webp].",
        group=PICTURES,
    )
    contact_sheet: bool = option(
        "--contact-sheet",
        default=False,
        help="Also draw a contact sheet of each video.",
        group=PICTURES,
    )
    output: str | None = option(
        "--output",
        "-o",
        metavar="DIR",
        parse=parse_file_name,
        help="Folder for the frames [required]. A rerun skips what is done already.",
        group=OUTPUT,
        missing="no output folder given; name one with -o DIR",
        counts="never",
    )
    overwrite: bool = overwrite_option()
    max_pixels: int = max_pixels_option(counts="never")


# --- what is to be done -------------------------------------------------------------------------


def prepare(
    options: ExtractOptions,
) -> Prepared[ExtractOptions, Job, Part, PartResult]:
    """Check the options against each other."""
    from vmm_cli.media.geometry import Size

    check(options, CHOICES)
    if options.quality is not None and options.image_format == "png":
        raise OptionError("{quality} means nothing for png, which is lossless; leave it out")
    for time in options.at or ():
        if options.end is not None and options.start + time >= options.end:
            counted = ""
            if options.start:
                counted = ", counted from {start} ({first_s:g} s),"
            raise OptionError(
                f"{{at}} {{time_s:g}} s{counted} does not lie before {{end}} ({{last_s:g}} s)",
                time_s=float(time),
                first_s=float(options.start),
                last_s=float(options.end),
            )
    wanted = _sampling(options)
    sides = options.size
    size = None
    if sides:
        size = Size(short=sides[0]) if len(sides) == 1 else Size(width=sides[0], height=sides[1])
    job = Job(
        output=Path(options.output or ""),
        sampling=wanted,
        size=size,
        image_format=options.image_format,
        quality=options.quality,
        contact_sheet=options.contact_sheet,
        max_pixels=options.max_pixels,
        overwrite=options.overwrite,
    )
    work = Work(
        job,
        run=save_frames.run,
        finish=save_frames.finish,
        plan=save_frames.plan,
        kept=save_frames.kept,
        tidy=save_frames.tidy,
        owned=Owned("frames", place=_folder),
    )
    # The same times under another name are the same frames.
    settled = replace(options, fps=None, every=wanted.step_s, at=wanted.offsets_s or None)
    earlier = {
        "sampling": sampling_text(wanted),
        "size": list(sides or ()),
        "image_format": options.image_format,
        "quality": options.quality,
        "contact_sheet": options.contact_sheet,
    }
    return Prepared(settled, work, WORKER_MEMORY_BYTES, earlier=earlier)


def _sampling(options: ExtractOptions) -> Sampling:
    start, end = options.start, options.end
    if options.every is not None:
        return sampling.every(options.every, start=start, end=end)
    if options.count is not None:
        return sampling.count(options.count, start=start, end=end)
    if options.at is not None:
        return sampling.at(options.at, start=start, end=end)
    if options.keyframes:
        return sampling.keyframes(start=start, end=end)
    if options.all:
        return sampling.all(start=start, end=end)
    if options.shots:
        return sampling.shots(start=start, end=end)
    return sampling.fps(options.fps or 1, start=start, end=end)


def _folder(record: Record) -> str | None:
    folder = record.get("folder")
    return folder if isinstance(folder, str) else None


# --- how records are shown ----------------------------------------------------------------------


def cells(record: Record) -> Iterator[Sequence[Cell]]:
    """Yield the table's row for one record."""
    notes = []
    if record["skipped_packets"]:
        notes.append(f"{record['skipped_packets']} bad packets skipped")
    if past_end := record.get("past_end_s"):
        notes.append(f"past the end: {', '.join(f'{t:g} s' for t in past_end)}")
    duration = Times((record["duration_s"],))
    yield duration, str(record["frames"]), record["folder"], "; ".join(notes)


TABLE = Table(
    own=(
        Column("duration", number=True),
        Column("frames", number=True),
        Column("folder", shorten="start"),
        Column("notes"),
    ),
    cells=cells,
    grouped=False,
)

EXTRACT_FRAMES = Operation(
    name="extract-frames",
    schema="vmm.extract-frames/1",
    help="""Save frames of each video as picture files.

    Each video gets a folder of its own under DIR, with the pictures and frames.jsonl, which has a
    line for each of them. Give at most one of the ways to choose frames; times count from --start.
    """,
    examples=(
        (
            "Two frames per second of every video in a folder",
            "vmm extract-frames clips -o frames --fps 2",
        ),
        (
            "One picture of each shot, 360 pixels high, and an overview",
            "vmm extract-frames clip.mp4 -o frames --shots --size 360 --contact-sheet",
        ),
    ),
    options=ExtractOptions,
    group="Which frames",
    either_or=CHOICES,
    prepare=prepare,
    shown=lambda job: Shown(tables=(TABLE,)),
    formats=formats("table", "json", "jsonl"),
    fills_folder=True,
)
