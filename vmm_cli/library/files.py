"""What a file holds, its frames and its shots."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from vmm_cli.errors import UsageError
from vmm_cli.library.warned import warn
from vmm_cli.operations.parse import parse_time

# Each loads when it is needed.
if TYPE_CHECKING:
    from vmm_cli.analysis.shots import Shot
    from vmm_cli.media.frames import Frame
    from vmm_cli.media.probe import MediaInfo
    from vmm_cli.media.sampling import Sampling
    from vmm_cli.media.video import Video

AnyPath: TypeAlias = "str | os.PathLike[str]"
# Seconds, or a text such as "1:30".
Time: TypeAlias = "float | Fraction | str"


def probe(path: AnyPath) -> MediaInfo:
    """Return what a media file holds: streams, times, tags; as `vmm info`.

    Raises:
        InputError: it is missing, refused or unreadable.
    """
    video = _video(path)
    _warn_of(video)
    return video.info


def frames(
    path: AnyPath,
    *,
    every: Time | None = None,
    fps: float | Fraction | None = None,
    count: int | None = None,
    at: Sequence[Time] | None = None,
    start: Time = 0,
    end: Time | None = None,
    short_side: int | None = None,
) -> Iterator[Frame]:
    """Yield frames in time order: `time_s` in seconds, `image` uint8 [H, W, 3] RGB as shown.

    Which ones: one `every` so many seconds, `fps` a second, `count` of them evenly spaced, those
    shown `at` some times; else all. `short_side`: scaled so that it has so many pixels.

    Raises:
        UsageError: more than one of these is given, or a time cannot be read.
        InputError: the file cannot be read, or has no pictures.
    """
    from vmm_cli.media.frames import FrameRequest
    from vmm_cli.media.geometry import Size

    asked = {"every": every, "fps": fps, "count": count, "at": at}
    sampling = _sampling({name: one for name, one in asked.items() if one is not None}, start, end)
    if short_side is not None and short_side < 1:
        raise UsageError(f"short_side: {short_side!r} is not a number of pixels")
    size = None if short_side is None else Size(short=short_side)
    video = _video(path)
    _warn_of(video)
    return _told(video, video.frames([FrameRequest("frames", sampling, size)]))


def _sampling(asked: Mapping[str, Any], start: Time, end: Time | None) -> Sampling:
    from vmm_cli.media import sampling

    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} contradict each other; give only one of them")
    span: dict[str, Any] = {"start": _seconds("start", start)}
    if end is not None:
        span["end"] = _seconds("end", end)
    try:
        for name, value in asked.items():
            if name == "count":
                return sampling.count(value, **span)
            if name == "fps":
                return sampling.fps(Fraction(str(value)), **span)
            if name == "at":
                return sampling.at([_seconds("at", time) for time in value], **span)
            return sampling.every(_seconds(name, value), **span)
        return sampling.all(**span)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise UsageError(str(error)) from None


def shots(path: AnyPath, *, start: Time = 0, end: Time | None = None) -> list[Shot]:
    """Return the shots of a video, in order: from when to when one camera's picture is shown.

    Raises:
        InputError: the file cannot be read, or has no pictures.
    """
    from vmm_cli.analysis.shots import find_shots

    last = None if end is None else _seconds("end", end)
    video = replace(_video(path), start=_seconds("start", start), end=last)
    _warn_of(video)
    found = find_shots(video)
    _warn_of_damage(video)
    return found


def _video(path: AnyPath) -> Video:
    from vmm_cli.media.video import Video

    return Video(Path(path))


def _told(video: Video, frames: Iterator[Frame]) -> Iterator[Frame]:
    yield from frames
    _warn_of_damage(video)


def _warn_of_damage(video: Video) -> None:
    from vmm_cli.media.damage import joined_text, noted

    if gaps := noted(video.path):
        warn(f"{video.path}: {joined_text(gaps)}")


def _warn_of(video: Video) -> None:
    for line in video.extent.warnings() if video.extent is not None else ():
        warn(f"{video.path}: {line}")


def _seconds(name: str, time: Time) -> Fraction:
    try:
        # Via str: 0.1 means one tenth, not the nearest binary fraction.
        seconds = parse_time(time) if isinstance(time, str) else Fraction(str(time))
    except ValueError:
        raise UsageError(
            f"{name}: {time!r} is not a valid time; give seconds, or a text such as '1:30'"
        ) from None
    if seconds < 0:
        raise UsageError(f"{name}: {time!r} lies before the start of the video")
    return seconds
