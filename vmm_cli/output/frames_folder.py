"""A folder of frames per video: pictures, `frames.jsonl`, and perhaps a contact sheet.

Everything is made in a hidden folder under the output, and takes its final place only when whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from vmm_cli import progress
from vmm_cli.batch.inputs import Input
from vmm_cli.durable import sync_file_system
from vmm_cli.errors import InputError
from vmm_cli.media.geometry import Size
from vmm_cli.media.sampling import Sampling, at, split

# The shell imports this module for its request; only the workers load a decoder.
if TYPE_CHECKING:
    from vmm_cli.media.frames import Picture
    from vmm_cli.media.stills import ImageFormat
    from vmm_cli.media.video import Video

INDEX_NAME = "frames.jsonl"
SHEET_NAME = "contact_sheet.jpg"
INDEX_FIELDS = frozenset({"file", "time_s", "pts", "keyframe", "width", "height"})
WORK_NAME = ".vmm.work"  # what is not finished; removed at the end of a run

_OURS = re.compile(
    rf"frame_\d{{6,}}_t-?\d+\.\d{{3}}\.(jpg|png|webp)|{re.escape(INDEX_NAME)}|{re.escape(SHEET_NAME)}",
    re.ASCII,
)

# Splitting costs a worker's start and a restart of the decoder; shorter stretches gain nothing.
SPLIT_MIN_PART_S = Fraction(10)


@dataclass(frozen=True, slots=True)
class ExtractRequest:
    """What `vmm extract-frames` was asked for.

    output: the folder that all frames go under. overwrite: whether frames may go among files of
    others, and take the place of those of the same names.
    """

    output: Path
    sampling: Sampling
    size: Size | None
    image_format: ImageFormat
    quality: int | None
    contact_sheet: bool
    max_pixels: int
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One stretch of one video, for one worker; `folder` is where its pictures go for now."""

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


def kept(request: ExtractRequest, input: Input) -> bool:
    """Tell whether all that an earlier run wrote is still there."""
    folder = request.output / input.output_name
    try:
        names = {entry.name for entry in folder.iterdir()}
        whole = all(line["file"] in names for line in _read_index(folder / INDEX_NAME))
    except (OSError, ValueError, KeyError):
        return False
    return whole and (SHEET_NAME in names or not request.contact_sheet)


def tidy(request: ExtractRequest) -> None:
    """Remove what unfinished work has left."""
    shutil.rmtree(request.output / WORK_NAME, ignore_errors=True)


def plan(request: ExtractRequest, input: Input, workers: int) -> list[Part]:
    """Split a long video into stretches of time, one a worker; one part where it does not pay."""
    video = _video(request, input)
    whole = [Part(_part_folder(request, input, 0), request.sampling)]
    if request.sampling.kind == "shots":
        return whole  # a cut is seen from both of its sides
    if request.sampling.kind == "all" and not video.times_every_picture():
        return whole  # a picture without a time of its own belongs to no stretch
    end = video.pictures_end_s
    if request.sampling.end is not None:
        end = min(end, request.sampling.end)
    start = request.sampling.start
    n = min(workers, int((end - start) / SPLIT_MIN_PART_S))
    if n < 2:
        return whole
    cuts = [start + (end - start) * i / n for i in range(1, n)]
    return [
        Part(_part_folder(request, input, i), sampling)
        for i, sampling in enumerate(split(request.sampling, cuts, end))
    ]


def run(request: ExtractRequest, input: Input, part: Part | None) -> PartResult:
    """Write one part's pictures into its hidden folder.

    Raises:
        InputError: the input cannot be read, or the pictures not be written.
    """
    from vmm_cli.media.frames import DecodeReport, FrameRequest
    from vmm_cli.media.stills import StillEncoder

    # Before the work rather than after it.
    refuse_foreign(request.output / input.output_name, request.overwrite)
    part = part or Part(_part_folder(request, input, 0), request.sampling)
    encoder = StillEncoder(request.image_format, request.quality)
    report = DecodeReport()
    sampling = part.sampling
    if sampling.kind == "shots":
        progress.rounds(2)
        sampling = _middles(request, input)
    wanted = FrameRequest("frames", sampling, request.size)
    number = 0
    _fresh_folder(part.folder)
    pictures = _video(request, input).pictures([wanted], report=report)
    try:
        with _writing(part.folder), _index_file(part.folder / INDEX_NAME) as index:
            for number, picture in enumerate(pictures, start=1):
                name = f"{number:06d}.{request.image_format}"
                (part.folder / name).write_bytes(encoder.encode(picture))
                index.write(_index_line(name, picture))
    except InputError as error:
        shutil.rmtree(part.folder, ignore_errors=True)
        if error.code == "unreadable" and not number and part.sampling != request.sampling:
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


def _video(request: ExtractRequest, input: Input) -> Video:
    from vmm_cli.media.video import Video

    return Video(input.path, request.max_pixels)


def _middles(request: ExtractRequest, input: Input) -> Sampling:
    """Return the plan that takes the middle of every shot."""
    from vmm_cli.analysis.shots import find_shots

    window = request.sampling
    shots = find_shots(_video(request, input), start=window.start, end=window.end)
    if not shots:
        raise _nothing_there(window, None)
    return at((Fraction(shot.start_s) + Fraction(shot.end_s)) / 2 for shot in shots)


def finish(request: ExtractRequest, input: Input, results: list[PartResult]) -> dict[str, Any]:
    """Put the parts together as the video's folder and return the record's fields."""
    target = request.output / input.output_name
    past_end = [t for r in results for t in r.past_end]
    failures = [r.failure for r in results if r.failure is not None]
    duration_s = max((r.duration_s for r in results if r.duration_s is not None), default=None)
    filled = [r.folder for r in results if r.pictures]
    if not filled:
        for result in results:
            shutil.rmtree(result.folder, ignore_errors=True)
        raise failures[0] if failures else _nothing_there(request.sampling, duration_s)
    made = filled[0]
    with _writing(target):
        n = _join(filled, request.image_format)
        if request.contact_sheet:
            from vmm_cli.output.contact_sheet import MAX_CELLS, draw_contact_sheet, evenly

            shown = _index_lines(made / INDEX_NAME, set(evenly(n, MAX_CELLS)))
            draw_contact_sheet(made, shown, made / SHEET_NAME)
        # One flush of the file system, so that a record that says ok outlives a power cut: an fsync
        # for each of thousands of pictures would take as long as decoding them.
        sync_file_system(made)
        _put_in_place(made, target, overwrite=request.overwrite)
    for result in results:
        shutil.rmtree(result.folder, ignore_errors=True)
    fields: dict[str, Any] = {
        "duration_s": None if duration_s is None else round(duration_s, 3),
        "frames": n,
        "folder": input.output_name,
        "skipped_packets": sum(r.skipped_packets for r in results),
    }
    if request.contact_sheet:
        fields["contact_sheet"] = f"{input.output_name}/{SHEET_NAME}"
    if past_end:
        fields["past_end_s"] = [round(t, 6) for t in past_end]
    return fields


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


def _join(folders: list[Path], image_format: ImageFormat) -> int:
    """Move the pictures of all parts into the first part's folder; return how many there are.

    One that is shown on both sides of a cut counts once.
    """
    made = folders[0]
    joined = made / f"{INDEX_NAME}.joined"
    number = 0
    last_pts = None
    with _index_file(joined) as index:
        for folder in folders:
            first = True
            for line in _read_index(folder / INDEX_NAME):
                repeated = first and last_pts is not None and last_pts >= line["pts"]
                first = False
                if repeated:
                    (folder / line["file"]).unlink()
                    continue
                number += 1
                last_pts = line["pts"]
                name = f"frame_{number:06d}_t{line['time_s']:09.3f}.{image_format}"
                (folder / line["file"]).rename(made / name)
                index.write(json.dumps(line | {"file": name}) + "\n")
    joined.rename(made / INDEX_NAME)
    return number


def _index_file(path: Path) -> TextIO:
    return path.open("w", encoding="ascii", newline="\n")


def _index_line(name: str, picture: Picture) -> str:
    line = {
        "file": name,
        "time_s": round(picture.time_s, 6),
        "pts": picture.pts,
        "keyframe": picture.keyframe,
        "width": picture.geometry.width,
        "height": picture.geometry.height,
    }
    return json.dumps(line) + "\n"


def _read_index(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="ascii") as file:
        yield from map(json.loads, file)


def _index_lines(path: Path, wanted: set[int]) -> list[dict[str, Any]]:
    return [line for i, line in enumerate(_read_index(path)) if i in wanted]


def _part_folder(request: ExtractRequest, input: Input, index: int) -> Path:
    # A digest: the input's own name may leave no room for a suffix.
    name = hashlib.sha256(os.fsencode(input.output_name)).hexdigest()[:24]
    return request.output / WORK_NAME / f"{name}.{index}"


def _fresh_folder(folder: Path) -> None:
    with _writing(folder):
        shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed
        folder.mkdir(parents=True)


def refuse_foreign(target: Path, overwrite: bool = False) -> None:
    """Raise InputError `collision` where `target` is there and holds more than our frames.

    `overwrite`: more may be there, as long as it is a folder.
    """
    if not os.path.lexists(target):
        return
    advice = "choose another -o"
    if target.is_symlink() or not target.is_dir():
        raise InputError("collision", f"{target} is there and is no folder of frames; {advice}")
    _refuse_folders(target)
    if overwrite:
        return
    advice = f"give --overwrite to write among what is there, or {advice}"
    with _writing(target):
        names = sorted(entry.name for entry in target.iterdir())
        foreign = _foreign(names)
        if foreign:
            raise InputError(
                "collision", f"{target} holds a file that is no frame, {foreign[0]!r}; {advice}"
            )
        if names and not _is_index(target / INDEX_NAME):
            raise InputError(
                "collision", f"{target} holds no {INDEX_NAME} of an earlier run; {advice}"
            )
        if changed := _changed(target, names):
            raise InputError(
                "collision",
                f"{target / changed} was changed since vmm wrote it; "
                "give --overwrite to replace it, or choose another -o",
            )


def _changed(target: Path, names: Iterable[str]) -> str | None:
    """Return the name of a picture that is newer than the index, which is written last."""
    if not names:
        return None
    written = (target / INDEX_NAME).stat().st_mtime_ns
    pictures = (name for name in names if name != SHEET_NAME)
    return next((name for name in pictures if (target / name).stat().st_mtime_ns > written), None)


def _is_index(path: Path) -> bool:
    """Return True if a file says of each line's picture what `_index_line` writes, and no more."""
    try:
        return all(line.keys() == INDEX_FIELDS for line in _read_index(path))
    except (OSError, ValueError, AttributeError):
        return False


def _refuse_folders(target: Path) -> None:
    """Raise InputError `collision` where a folder has a frame's name: it is not ours to remove."""
    with _writing(target):
        entries = sorted(target.iterdir())
    for entry in entries:
        if _OURS.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink():
            raise InputError(
                "collision",
                f"{entry} is a folder in a frame's place; move it away, or choose another -o",
            )


def _foreign(names: Iterable[str]) -> list[str]:
    return [name for name in names if not _OURS.fullmatch(name)]


def _put_in_place(made: Path, target: Path, *, overwrite: bool) -> None:
    """Rename the finished folder to its place, where an earlier run's frames may stand."""
    refuse_foreign(target, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_dir():
        made.rename(target)
    elif _foreign(entry.name for entry in target.iterdir()):
        _put_among(made, target)
    else:
        old = made.with_name(f"{made.name}.old")
        target.rename(old)
        made.rename(target)
        shutil.rmtree(old, ignore_errors=True)


def _put_among(made: Path, target: Path) -> None:
    """Move the finished files into a folder that also holds others, which stay; the index last."""
    for entry in target.iterdir():
        if _OURS.fullmatch(entry.name):
            entry.unlink()
    names = [entry.name for entry in made.iterdir()]
    for name in sorted(names, key=lambda name: name == INDEX_NAME):
        (made / name).rename(target / name)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError("output", f"{path} cannot be written: {error.strerror or error}") from None
