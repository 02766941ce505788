"""What a file declares of its pictures, which tells how much memory work on it may take."""

from __future__ import annotations

from pathlib import Path

import av.video.stream

from vmm_cli.media.source import DEFAULT_MAX_PIXELS, open_media

USUAL_BITS = 8


def declared_pictures(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
    """Return the pixels of a file's largest pictures (0: none, or not known), and bits a sample.

    Nothing is decoded but what libav decodes as it opens the file.

    Raises:
        InputError: as `open_media`.
    """
    with open_media(path, max_pixels=max_pixels) as container:
        return max(map(_picture, container.streams.video), default=(0, USUAL_BITS))


def _picture(stream: av.video.stream.VideoStream) -> tuple[int, int]:
    """Return how many pixels a stream's pictures have, and bits a sample."""
    codec = stream.codec_context
    if codec is None:  # one that libav does not know
        return 0, USUAL_BITS
    shape = codec.format
    bits = max((part.bits for part in shape.components), default=USUAL_BITS) if shape else 0
    return codec.width * codec.height, bits or USUAL_BITS
