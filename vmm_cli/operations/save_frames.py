"""The work of `vmm extract-frames`: decode the wanted frames of one video, and save them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vmm_cli import progress
from vmm_cli.batch.inputs import Input
from vmm_cli.errors import InputError
from vmm_cli.media import sampling
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.media.sampling import Sampling, split
from vmm_cli.output import frames_folder
from vmm_cli.output.frames_folder import SHEET_NAME, part_folder

# Only the workers load a decoder.
if TYPE_CHECKING:
    from vmm_cli.media.geometry import Size
    from vmm_cli.media.video import Video

# Splitting costs a worker's start and a restart of the decoder; shorter parts gain nothing.
SPLIT_MIN_PART_S = Fraction(10)


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
    max_pixels: int = DEFAULT_MAX_PIXELS
    overwrite: bool = False

    def video(self, input: Input) -> Video:
        """Return an input as a handle."""
        from vmm_cli.media.video import Video

        return Video(input.path, self.max_pixels, self.sampling.start, self.sampling.end)


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


def kept(job: Job, input: Input) -> bool:
    """Tell whether all that an earlier run wrote is still there."""
    return frames_folder.is_whole(job.output / input.output_name, with_sheet=job.contact_sheet)


def tidy(job: Job) -> None:
    """Remove what unfinished work has left."""
    frames_folder.remove_unfinished(job.output)


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
    shots = find_shots(video)
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
