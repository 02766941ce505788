"""What is inside one media file, as the fields of a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vmm_cli.analysis.shots import Shot, find_shots
from vmm_cli.batch.inputs import Input
from vmm_cli.media.probe import MediaInfo, probe

SCHEMA = "vmm.info/1"

# A worker peaks at 43 MB with a 720p file; the first picture of an 8K one takes 150 MB more.
WORKER_MEMORY_BYTES = 200 * 2**20
# Reading on takes a decoder of 4K pictures with its references.
SHOTS_WORKER_MEMORY_BYTES = 400 * 2**20


@dataclass(frozen=True)
class InfoRequest:
    """How to look: pictures of more than `max_pixels` are not decoded; all are to find `shots`."""

    max_pixels: int
    shots: bool = False


@dataclass(frozen=True)
class Found:
    """What one file holds; `shots` None: they were not asked for."""

    media: MediaInfo
    shots: list[Shot] | None = None


def run(request: InfoRequest, item: Input, part: object = None) -> Found:
    """Probe one input. InputError where it cannot be read, or no picture decoded for its shots."""
    media = probe(item.path, max_pixels=request.max_pixels)
    if not request.shots:
        return Found(media)
    return Found(media, find_shots(item.path, max_pixels=request.max_pixels) if media.video else [])


def finish(request: InfoRequest, item: Input, parts: Sequence[Found]) -> dict[str, Any]:
    """Return the record's fields: those of MediaInfo, and `shots` where they were asked for."""
    (found,) = parts
    fields = asdict(found.media)
    if found.shots is not None:
        fields["shots"] = [
            {"start_s": round(shot.start_s, 6), "end_s": round(shot.end_s, 6)}
            for shot in found.shots
        ]
    return fields
