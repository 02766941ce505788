"""`vmm extract-frames`: pictures of each video, as files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vmm_cli import progress
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.ledger import Owned
from vmm_cli.batch.work import Work
from vmm_cli.errors import InputError, OptionError
from vmm_cli.media import sampling
from vmm_cli.media.geometry import Size
from vmm_cli.media.sampling import Sampling, split
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
    parse_time,
)
from vmm_cli.operations.sampled import sampling_text
from vmm_cli.output import frames_folder
from vmm_cli.output.formats import Shown
from vmm_cli.output.frames_folder import SHEET_NAME, part_folder
from vmm_cli.output.rows import Cell, Column, Record, Table, Times

# Only the workers load a decoder.
if TYPE_CHECKING:
    from vmm_cli.media.video import Video

# A decoder of 4K pictures with its references, the scaled picture and the interpreter.
WORKER_MEMORY_BYTES = 400 * 2**20
MAX_SIDE = 16000  # libav encodes no square much larger
# Splitting costs a worker's start and a restart of the decoder; shorter parts gain nothing.
SPLIT_MIN_PART_S = Fraction(10)

WHICH, PICTURES = "Which frames", "Pictures"  # groups of the help

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


@dataclass(frozen=True)
class ExtractOptions:
    """What `vmm extract-frames` can be asked for; `size` is (width, height) or (shorter side,)."""

    fps: Fraction | None = option(
        "--fps",
        metavar="F",
        parse=parse_rate,
        help="F frames per second [default: 1].",
        group=WHICH,
        either_or="frames",
    )
    every: Fraction | None = option(
        "--every",
        metavar="S",
        parse=parse_positive_seconds,
        help="One frame every S seconds.",
        group=WHICH,
        either_or="frames",
    )
    count: int | None = option(
        "--count",
        metavar="N",
        parse=parse_count,
        help="N frames, evenly spaced.",
        group=WHICH,
        either_or="frames",
    )
    at: tuple[Fraction, ...] | None = option(
        "--at",
        metavar="T,...",
        parse=parse_times,
        help="The frames shown at these times: seconds or [HH:]MM:SS[.mmm].",
        group=WHICH,
        either_or="frames",
    )
    keyframes: bool = option(
        "--keyframes", default=False, help="Every keyframe.", group=WHICH, either_or="frames"
    )
    all: bool = option("--all", default=False, help="Every frame.", group=WHICH, either_or="frames")
    shots: bool = option(
        "--shots",
        default=False,
        help="The middle frame of each shot.",
        group=WHICH,
        either_or="frames",
    )
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


@dataclass(frozen=True, slots=True)
class Job:
    """What is wanted of every input.

    output: the folder that all frames go under. overwrite: whether frames may go among files of
    others, and take the place of those of the same names.
    """

    output: Path
    sampling: Sampling
    size: Size | None = None
    image_format: Literal["jpg", "png", "webp"] = "jpg"
    quality: int | None = None
    contact_sheet: bool = False
    max_pixels: int = 8192 * 8192
    overwrite: bool = False

    def video(self, input: Input) -> Video:
        """Return an input as a handle."""
        from vmm_cli.media.video import Video

        return Video(input.path, self.max_pixels)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of one video, for one worker; `folder` is where its pictures go for now."""

    folder: Path
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class PartResult:
    """What one worker wrote; its pictures stand in the index of its folder, not in memory.

    `failure`: why one of several parts has no pictures.
    """

    folder: Path
    pictures: int = 0
    skipped_packets: int = 0
    past_end: tuple[float, ...] = ()
    duration_s: float | None = None
    failure: InputError | None = None


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of one video.

    Attributes:
        folder: their folder's name in the output; sheet: whether a contact sheet is there.
        number: how many there are.
        past_end: wanted times (s) that lie past the end of the video.
    """

    folder: str
    number: int
    sheet: bool
    skipped_packets: int
    past_end: tuple[float, ...]
    duration_s: float | None

    def to_record(self) -> dict[str, Any]:
        """Return the fields of a record, rounded, as JSON types."""
        record: dict[str, Any] = {
            "duration_s": None if self.duration_s is None else round(self.duration_s, 3),
            "frames": self.number,
            "folder": self.folder,
            "skipped_packets": self.skipped_packets,
        }
        if self.sheet:
            record["contact_sheet"] = f"{self.folder}/{SHEET_NAME}"
        if self.past_end:
            record["past_end_s"] = [round(t, 6) for t in self.past_end]
        return record


# --- what is to be done -------------------------------------------------------------------------


def prepare(
    options: ExtractOptions,
) -> Prepared[ExtractOptions, Job, Part, PartResult]:
    """Check the options against each other."""
    check(options)
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
        run=run,
        finish=finish,
        plan=plan,
        kept=kept,
        tidy=tidy,
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


def kept(job: Job, input: Input) -> bool:
    """Tell whether all that an earlier run wrote is still there."""
    return frames_folder.is_whole(job.output / input.output_name, with_sheet=job.contact_sheet)


def tidy(job: Job) -> None:
    """Remove what unfinished work has left."""
    frames_folder.remove_unfinished(job.output)


# --- the work: plan, run, finish ----------------------------------------------------------------


def plan(job: Job, input: Input, workers: int) -> list[Part]:
    """Split a long video into parts, one a worker; one part where splitting does not pay."""
    whole = [_whole(job, input)]
    if job.sampling.kind == "shots":
        return whole  # a cut is seen from both of its sides
    video = job.video(input)
    if job.sampling.kind == "all" and not video.times_every_picture():
        return whole  # a picture without a time of its own belongs to no part
    end = video.pictures_end_s
    if job.sampling.end is not None:
        end = min(end, job.sampling.end)
    start = job.sampling.start
    n = min(workers, int((end - start) / SPLIT_MIN_PART_S))
    if n < 2:
        return whole
    cuts = [start + (end - start) * i / n for i in range(1, n)]
    return [
        Part(part_folder(job.output, input.output_name, i), part)
        for i, part in enumerate(split(job.sampling, cuts, end))
    ]


def _whole(job: Job, input: Input) -> Part:
    return Part(part_folder(job.output, input.output_name, 0), job.sampling)


def run(job: Job, input: Input, part: Part | None) -> PartResult:
    """Write one part's pictures into its hidden folder.

    Raises:
        InputError: the input cannot be read, or the pictures not be written.
    """
    from vmm_cli.media.frames import DecodeReport, FrameRequest
    from vmm_cli.media.stills import StillEncoder

    # Before the work rather than after it.
    frames_folder.refuse_foreign(job.output / input.output_name, job.overwrite)
    part = part or _whole(job, input)
    video, report = job.video(input), DecodeReport()
    times = part.sampling
    if times.kind == "shots":
        progress.rounds(2)
        times = _middles(job, video)
    pictures = video.pictures([FrameRequest("frames", times, job.size)], report=report)
    encoder = StillEncoder(job.image_format, job.quality)
    number = 0
    try:
        for written in frames_folder.write_part(part.folder, pictures, encoder):
            number = written
    except InputError as error:
        shutil.rmtree(part.folder, ignore_errors=True)
        if error.code == "unreadable" and not number and part.sampling != job.sampling:
            # The rest of a file that was cut short: what the other parts found still counts.
            return PartResult(part.folder, skipped_packets=report.skipped_packets, failure=error)
        raise
    return PartResult(
        part.folder,
        number,
        report.skipped_packets,
        tuple(report.past_end.get("frames", ())),
        report.end_s if report.duration_s is None else report.duration_s,
    )


def _middles(job: Job, video: Video) -> Sampling:
    """Return the plan that takes the middle of every shot."""
    from vmm_cli.analysis.shots import find_shots

    window = job.sampling
    shots = find_shots(video, start=window.start, end=window.end)
    if not shots:
        raise _nothing_there(window, None)
    return sampling.at((Fraction(shot.start_s) + Fraction(shot.end_s)) / 2 for shot in shots)


def finish(job: Job, input: Input, results: Sequence[PartResult]) -> Frames:
    """Put the parts together as the video's folder."""
    failures = [r.failure for r in results if r.failure is not None]
    duration_s = max((r.duration_s for r in results if r.duration_s is not None), default=None)
    filled = [r.folder for r in results if r.pictures]
    if not filled:
        for result in results:
            shutil.rmtree(result.folder, ignore_errors=True)
        raise failures[0] if failures else _nothing_there(job.sampling, duration_s)
    number = frames_folder.assemble(
        filled,
        job.output / input.output_name,
        job.image_format,
        with_sheet=job.contact_sheet,
        overwrite=job.overwrite,
    )
    for result in results:
        shutil.rmtree(result.folder, ignore_errors=True)
    return Frames(
        input.output_name,
        number,
        job.contact_sheet,
        sum(r.skipped_packets for r in results),
        tuple(t for r in results for t in r.past_end),
        duration_s,
    )


def _nothing_there(sampling: Sampling, duration_s: float | None) -> InputError:
    length = "" if duration_s is None else f", which ends at {duration_s:.3f} s"
    if sampling.kind not in ("keyframes", "all", "shots"):
        return InputError("past_end", f"every wanted time lies past the end of the video{length}")
    until = "on" if sampling.end is None else f"to {float(sampling.end):g} s"
    window = f"from {float(sampling.start):g} s {until}"
    if sampling.kind == "keyframes":
        advice = "widen --start and --end, or take frames by time with --fps or --every"
        return InputError("past_end", f"no keyframe is shown {window}; {advice}")
    whole = f"the video{length}," if length else "the video"
    return InputError("past_end", f"no picture of {whole} is shown {window}")


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
    prepare=prepare,
    shown=lambda job: Shown(tables=(TABLE,)),
    formats=formats("table", "json", "jsonl"),
    fills_folder=True,
)
