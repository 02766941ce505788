"""What the libav in use can read and write; for `vmm doctor`."""

from __future__ import annotations

import av
import av.codec

# What cameras, phones, the web and editors write today; any other codec libav knows works too.
EXPECTED_DECODERS = (
    "h264", "hevc", "libdav1d", "vp8", "vp9", "mpeg4", "mpeg2video", "mjpeg", "prores", "gif",
    "aac", "mp3", "opus", "vorbis", "flac", "ac3", "pcm_s16le",
    "subrip", "mov_text", "webvtt", "ass",
)  # fmt: skip
EXPECTED_ENCODERS = ("mjpeg", "png", "libwebp", "libx264", "aac")


def library_versions() -> dict[str, str]:
    """Return the versions of PyAV and of the libav libraries it carries."""
    versions = {"av": av.__version__}
    for name, version in sorted(av.library_versions.items()):
        versions[name] = ".".join(str(part) for part in version)
    return versions


def decoders() -> dict[str, bool]:
    """Return whether each expected decoder is there.

    libav names a decoder by its library where it has none of its own (AV1: libdav1d).
    """
    return {name: _opens(name, "r") for name in EXPECTED_DECODERS}


def encoders() -> dict[str, bool]:
    """Return whether each encoder that pictures and videos are written with is there."""
    return {name: _opens(name, "w") for name in EXPECTED_ENCODERS}


def _opens(name: str, mode: str) -> bool:
    try:
        av.codec.Codec(name, mode)  # type: ignore[arg-type]
    except av.codec.codec.UnknownCodecError:
        return False
    return True
