"""What is inside one media file, as the fields of a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

from vmm_cli.analysis.shots import Shot, find_shots
from vmm_cli.batch.inputs import Input
from vmm_cli.media.probe import MediaInfo
from vmm_cli.media.video import Video

SCHEMA = "vmm.info/1"

# A worker peaks at 43 MB with a 720p file; the first picture of an 8K one takes 150 MB more.
WORKER_MEMORY_BYTES = 200 * 2**20
# Reading on takes a decoder of 4K pictures with its references.
SHOTS_WORKER_MEMORY_BYTES = 400 * 2**20
# Of what others wrote into a file; a title of megabytes is no title.
LONGEST_TEXT = 1000  # characters
MOST_TAGS = 100

T = TypeVar("T")


@dataclass(frozen=True)
class InfoRequest:
    """How to look: pictures of more than `max_pixels` are not decoded; all are to find `shots`."""

    max_pixels: int
    shots: bool = False


@dataclass(frozen=True)
class Found:
    """What one file holds, its texts shortened; `shots` None: they were not asked for."""

    media: MediaInfo
    tags_left_out: int
    shots: list[Shot] | None = None


def run(request: InfoRequest, item: Input, part: object = None) -> Found:
    """Probe one input. InputError where it cannot be read, or no picture decoded for its shots."""
    video = Video(item.path, request.max_pixels)
    media = video.info
    found = Found(shortened(media), max(0, len(media.tags) - MOST_TAGS))
    if not request.shots:
        return found
    shots = find_shots(video) if media.video else []
    return replace(found, shots=shots)


def shortened(value: T) -> T:
    """Return what a file says of itself with long texts cut, which say how long they were.

    value: texts, and dataclasses, tuples and mappings of them; the first `MOST_TAGS` of mappings.
    """
    new: Any = value
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        new = f"{value[:LONGEST_TEXT]}... ({len(value):,} characters)"
    elif isinstance(value, tuple):
        new = tuple(map(shortened, value))
    elif isinstance(value, dict):
        first = list(value.items())[:MOST_TAGS]
        new = {shortened(key): shortened(inner) for key, inner in first}
    elif is_dataclass(value) and not isinstance(value, type):
        inside = {field.name: shortened(getattr(value, field.name)) for field in fields(value)}
        new = replace(value, **inside)
    shorter: T = new
    return shorter


def finish(request: InfoRequest, item: Input, parts: Sequence[Found]) -> dict[str, Any]:
    """Return the record's fields: those of MediaInfo, and `shots` where they were asked for."""
    (found,) = parts
    record = asdict(found.media)
    if found.tags_left_out:
        record["tags_left_out"] = found.tags_left_out
    if found.shots is not None:
        record["shots"] = [
            {"start_s": round(shot.start_s, 6), "end_s": round(shot.end_s, 6)}
            for shot in found.shots
        ]
    return record
