"""What a file declares that tells how long, and how much memory, work on it may take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av.container
import av.video.stream

from vmm_cli.media.source import AV_TIME_BASE, DEFAULT_MAX_PIXELS, is_bare, open_media


@dataclass(frozen=True, slots=True)
class Declared:
    """Nothing of it is certain.

    Attributes:
        duration_s: None for bare streams.
        pixels: of its largest pictures; 0 where it has none, or does not say.
        bits: of a sample in these.
    """

    duration_s: float | None
    pixels: int = 0
    bits: int = 8


def declared(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Declared:
    """Return what a file declares; nothing is decoded but what libav decodes as it opens it.

    Raises:
        InputError: as `open_media`.
    """
    with open_media(path, max_pixels=max_pixels) as container:
        duration_s = None
        if not is_bare(container) and container.duration:
            duration_s = container.duration / AV_TIME_BASE
        pixels, bits = max(map(_picture, container.streams.video), default=(0, 8))
        return Declared(duration_s, pixels, bits)


def _picture(stream: av.video.stream.VideoStream) -> tuple[int, int]:
    """Return how many pixels a stream's pictures have, and bits a sample."""
    codec = stream.codec_context
    if codec is None:  # one that libav does not know
        return 0, 8
    shape = codec.format
    bits = 8 if shape is None else max((part.bits for part in shape.components), default=8)
    return codec.width * codec.height, bits
