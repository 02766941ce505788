"""What is inside one media file, as the fields of a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vmm_cli.batch.inputs import Input
from vmm_cli.media.probe import MediaInfo, probe

SCHEMA = "vmm.info/1"

# A worker peaks at 43 MB with a 720p file; the first picture of an 8K one takes 150 MB more.
WORKER_MEMORY_BYTES = 200 * 2**20


@dataclass(frozen=True)
class InfoRequest:
    """How to look: pictures of more than `max_pixels` are not decoded."""

    max_pixels: int


def run(request: InfoRequest, item: Input, part: object = None) -> MediaInfo:
    """Probe one input. InputError where it cannot be read."""
    return probe(item.path, max_pixels=request.max_pixels)


def finish(request: InfoRequest, item: Input, parts: Sequence[MediaInfo]) -> dict[str, Any]:
    """Return the record's fields: those of MediaInfo."""
    return asdict(parts[0])
