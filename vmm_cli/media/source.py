"""The guarded open: which files may be read, and how.

A video file is untrusted input. Playlists and concat scripts can make libav open other files, a
FIFO can block for ever, and a picture can declare a size that takes all memory; none of that gets
past `open_media`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import cast

import av
import av.audio.stream
import av.container
import av.error
import av.format
import av.logging
import av.stream
import av.video.stream

from vmm_cli.errors import InputError
from vmm_cli.media.layouts import make_safe
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.media.still_files import still_demuxer, too_large
from vmm_cli.media.unopened import refused_as, why_no_movie, why_not_a_video

# libav prints warnings of its own, with bytes of the file in them; ours are enough.
av.logging.set_level(None)

# Demuxers by libav's names. Left out on purpose: whatever opens further files (concat, hls, dash,
# sdp, imf), devices (lavfi, v4l2, x11grab), image sequences (image2) and text.
ALLOWED_FORMATS = (
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg",
    "mpegvideo", "flv", "live_flv", "asf", "ogg", "mxf", "gif", "apng", "png_pipe", "webp_pipe",
    "jpeg_pipe", "mjpeg", "h264", "hevc", "av1", "obu", "ivf", "m4v", "vc1", "dv", "nut", "rm",
    "wtv", "yuv4mpegpipe", "h263", "wav", "w64", "flac", "mp3", "aac", "ac3", "eac3", "aiff", "amr",
    "amrnb", "amrwb", "caf", "au", "ape", "wv", "tta", "dts", "qcp", "loas", "dhav",
)  # fmt: skip

# Attached pictures (cover art) are streams of one frame that say nothing about time.
_NOT_A_PICTURE_STREAM = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails

_REFUSAL = "not a container vmm reads (playlists, scripts and devices are refused)"

_UNKNOWN = "is damaged, or not a video: no format that vmm reads was recognised"

# Decoders count widths as they pad them, to 64. The size of a still is known before.
_PADDING_PIXELS = 64 * 2**14

AV_TIME_BASE = 1_000_000  # libav's container times are in microseconds


def check_regular_file(path: Path) -> os.stat_result:
    """Return the status of a file. InputError unless it is a regular one that has content."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise InputError("missing", "no such file") from None
    except OSError as error:
        raise InputError("unreadable", f"cannot be looked at: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise InputError("refused", f"is {kind}; vmm reads regular files only")
    if status.st_size == 0:
        raise InputError("unreadable", "the file is empty (0 bytes)")
    return status


@contextmanager
def open_media(
    path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Iterator[av.container.InputContainer]:
    """Open a media file for reading and close it again.

    Regular files of the ordinary containers only, through the `file` protocol only, so that no
    other file is ever read. Decoders get one thread (spread work over processes instead: frame
    threads beside torch can hang when a loop is left early) and refuse pictures of more than
    `max_pixels`.

    Raises:
        InputError: `missing`, `refused` (not a regular file, a playlist, a format not on the
            list) or `unreadable` (permission, not a media file).
    """
    check_regular_file(path)
    # By what a JPEG shows libav takes some for a stream of them, and some not: it is told.
    still = _told(partial(still_demuxer, max_pixels=max_pixels), path)
    options = {
        "format_whitelist": ",".join(ALLOWED_FORMATS),
        # None of these demuxers opens a second file (mov's external tracks wait for an option of
        # their own, enable_drefs), so this stops nothing that the list of formats lets through. It
        # keeps the network out should one of them ever do.
        "protocol_whitelist": "file",
        # Of what libav decodes while it finds out what the streams are; see also `_bound`.
        "max_pixels": str(max_pixels),
    }
    try:
        # `file:` keeps names such as "concat:a|b" or "http://x" from being read as protocols.
        container = av.open(
            "file:" + os.fspath(path),
            "r",
            format=still,
            options=options,
            metadata_errors="replace",
        )
    except av.error.PermissionError:
        raise InputError("unreadable", "permission denied") from None
    except av.error.ArgumentError:
        # libav answers EINVAL where it knows the format and the list does not have it.
        raise InputError("refused", _told(refused_as, path) or _REFUSAL) from None
    except (av.error.FFmpegError, OSError) as error:
        if _is_playlist(path):
            raise InputError("refused", _REFUSAL) from None
        unknown = isinstance(error, av.error.InvalidDataError)
        reason = _UNKNOWN if unknown else f"cannot be opened: {_reason(error)}"
        raise InputError("unreadable", _told(why_not_a_video, path) or reason) from None
    with container:
        # Of an index that is cut short libav gives what is left, which may be nothing.
        whole = any(stream.type in ("video", "audio") for stream in container.streams)
        if not whole and (cut := _told(why_no_movie, path)) is not None:
            raise InputError("unreadable", cut)
        for stream in container.streams:
            if stream.type in ("video", "audio"):
                _bound(stream, max_pixels if still is None else max_pixels + _PADDING_PIXELS)
        yield container


def _told(tell: Callable[[Path], str | None], path: Path) -> str | None:
    """Return what `tell` tells of a file, None where it cannot be read."""
    try:
        return tell(path)
    except OSError:
        return None


def _is_playlist(path: Path) -> bool:
    """Tell whether a file that libav would not open is an HLS or DASH playlist.

    libav does not say so where the playlist's name ends in .mp4 or it can tell no better.
    """
    try:
        with path.open("rb") as file:
            head = file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError:
        return False
    return head.startswith(b"#EXTM3U") or (head.startswith(b"<") and b"<MPD" in head)


def _bound(stream: av.stream.Stream, max_pixels: int) -> None:
    """Set thread and pixel limits on a stream's decoder, which opens at the first packet."""
    codec_context = stream.codec_context
    if codec_context is None:  # a codec libav does not know
        return
    codec_context.thread_count = 1
    if isinstance(stream, av.audio.stream.AudioStream):
        make_safe(stream)
    if stream.type == "video":
        codec_context.options = {"max_pixels": str(max_pixels)}


def is_attached(stream: av.stream.Stream) -> bool:
    """Return True for a cover or thumbnail: a picture that belongs to no time."""
    return bool(stream.disposition & _NOT_A_PICTURE_STREAM)


def best_video_stream(
    container: av.container.InputContainer,
) -> av.video.stream.VideoStream | None:
    """Return the video stream that players take, or None.

    libav's choice goes by what is marked as default, by the pictures seen at the beginning and by
    bit rate. Where it chooses a cover or what has no decoder, the first other one.
    """
    usable = [s for s in container.streams.video if s.codec_context and not is_attached(s)]
    best = container.streams.best("video")
    chosen = [s for s in usable if s is best]
    return chosen[0] if chosen else min(usable, key=_not_default, default=None)


def best_audio_stream(
    container: av.container.InputContainer,
) -> av.audio.stream.AudioStream | None:
    """Return the stream of sound that libav thinks best, of those that can be decoded; or None."""
    best = container.streams.best("audio")
    if isinstance(best, av.audio.stream.AudioStream) and best.codec_context is not None:
        return best
    return next((s for s in container.streams.audio if s.codec_context is not None), None)


def _not_default(stream: av.stream.Stream) -> bool:
    return not stream.disposition & av.stream.Disposition.default


def require_video_stream(
    container: av.container.InputContainer, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> av.video.stream.VideoStream:
    """Return the video stream to decode.

    Raises:
        InputError: `no_video`, or `refused` where its pictures exceed `max_pixels`.
    """
    stream = best_video_stream(container)
    if stream is None:
        raise InputError("no_video", _without_video(container))
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > max_pixels:
        raise too_large(width, height, max_pixels)
    return stream


def _without_video(container: av.container.InputContainer) -> str:
    """Return why a container has no pictures to decode."""
    if any(s.codec_context is None for s in container.streams.video):
        return "its video has a codec that libav does not know"
    kinds: set[str] = {s.type for s in container.streams if not is_attached(s)}
    if any(is_attached(s) for s in container.streams.video):
        kinds.add("a cover picture")
    held = " and ".join(sorted(kinds))
    return f"holds no video stream ({f'only {held}' if held else 'no streams at all'})"


def is_bare(container: av.container.Container) -> bool:
    """Tell whether the pictures come without a container, so that nothing states their times."""
    no_timestamps = cast(int, av.format.Flags.no_timestamps.value)  # PyAV's stub has no values
    return bool(container.format.flags & no_timestamps)


def clock_origin_s(container: av.container.InputContainer) -> Fraction:
    """Return the container's start time in seconds: 0 on the clock that players show."""
    start = container.start_time
    return Fraction(start, AV_TIME_BASE) if start is not None else Fraction(0)


def clock_reading_s(text: str | None) -> float | None:
    """Return the seconds of a Matroska DURATION tag, "00:00:02.023000000"; None for no such."""
    try:
        hours, minutes, seconds = (text or "").strip().split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)[:1].lower() + str(text)[1:]
