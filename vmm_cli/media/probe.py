"""What is inside a media file: containers, streams, sizes, times and tags, without decoding it all.

`probe` reads headers, the first packets and at most one picture. Text that comes from the file
(titles, tags, languages) is handed on as it is; whoever prints it escapes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Literal, cast

import av.codec.codec
import av.container
import av.error
import av.packet
import av.stream
from av.audio.stream import AudioStream
from av.subtitles.stream import SubtitleStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vmm_cli.errors import InputError
from vmm_cli.media.caption_data import CODEC as CLOSED_CAPTIONS
from vmm_cli.media.caption_data import is_marked, may_carry
from vmm_cli.media.continuity import read_packets, watch
from vmm_cli.media.extent import extent
from vmm_cli.media.layouts import shown_name
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.media.orientation import (
    UPRIGHT,
    Orientation,
    display_size,
    frame_orientation,
    sensible_aspect,
)
from vmm_cli.media.source import (
    AV_TIME_BASE,
    best_video_stream,
    clock_reading_s,
    is_attached,
    is_bare,
    open_media,
)

MAX_TIMED_PACKETS = 1000  # 40 s at 25 pictures a second: enough to see whether times vary
MAX_READ_PACKETS = 8000  # of all streams together, where the video stream's are few and far between
MAX_TRIED_PACKETS = 64  # given to the decoder until the first picture comes out
MAX_REORDERED = 16  # H.264 and HEVC show a picture at most 16 pictures later than they store it

UNKNOWN_CODEC = "unknown"

# Code points of ISO/IEC 23091-2 (H.273), by the names that libav prints.
MATRICES = {
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco",
    9: "bt2020nc", 10: "bt2020c", 11: "smpte2085", 12: "chroma-derived-nc",
    13: "chroma-derived-c", 14: "ictcp",
}  # fmt: skip
RANGES = {1: "limited", 2: "full"}
PRIMARIES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film",
    9: "bt2020", 10: "smpte428", 11: "smpte431", 12: "smpte432", 22: "ebu3213",
}  # fmt: skip
TRANSFERS = {
    1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear",
    9: "log100", 10: "log316", 11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1",
    14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip
HDR_TRANSFERS: dict[int, Literal["pq", "hlg"]] = {16: "pq", 18: "hlg"}

INTERLACED_FIELD_ORDERS = {2, 3, 4, 5}  # libav's AV_FIELD_TT, BB, TB, BT; 1 is progressive


@dataclass(frozen=True)
class VideoStreamInfo:
    """One stream of pictures. None: the file does not say."""

    index: int
    codec: str | None
    width: int  # as coded
    height: int
    display_width: int  # as shown: in square pixels, turned
    display_height: int
    rotation: int  # degrees clockwise to show it upright: 0, 90, 180 or 270
    flipped: bool  # mirrored left to right before it is turned
    sample_aspect: str  # of a pixel, width:height, such as "64:45"
    frame_rate: float | None  # average, per second
    frames: int | None
    pixel_format: str | None
    bit_depth: int | None
    color_matrix: str | None
    color_range: str | None  # "limited" or "full"
    color_primaries: str | None
    color_transfer: str | None
    hdr: Literal["pq", "hlg"] | None
    interlaced: bool
    timestamps_vary: bool | None  # None: fewer than three pictures have a time
    keyframe_interval_s: float | None  # mean over what was read; None: fewer than two keyframes
    duration_s: float | None
    bit_rate: int | None
    language: str | None
    decodable: bool | None  # a first picture came out of the decoder; None: it was not tried


@dataclass(frozen=True)
class AttachedPictureInfo:
    """A cover or thumbnail: a picture that belongs to no time."""

    index: int
    codec: str | None
    width: int
    height: int


@dataclass(frozen=True)
class AudioStreamInfo:
    """One stream of sound."""

    index: int
    codec: str | None
    sample_rate: int | None  # Hz
    channels: int | None
    layout: str | None
    duration_s: float | None
    bit_rate: int | None
    language: str | None


@dataclass(frozen=True)
class CaptionStreamInfo:
    """One stream of subtitles, or closed captions: these have the index of the pictures."""

    index: int
    codec: str | None
    kind: Literal["text", "bitmap"] | None
    language: str | None


@dataclass(frozen=True)
class MediaInfo:
    """What a media file holds; plain values, for `dataclasses.asdict` and JSON.

    Times are seconds. `video` has the stream that is read for pictures first; only that one was
    looked into, the others are told from their headers.
    """

    format: str  # libav's name of the demuxer, such as "mov,mp4,m4a,3gp,3g2,mj2"
    size_bytes: int
    duration_s: float | None
    start_time_s: float | None  # what the container calls its start: 0 on vmm's clock
    bit_rate: int | None
    title: str | None
    description: str | None
    tags: dict[str, str] = field(default_factory=dict)
    video: tuple[VideoStreamInfo, ...] = ()
    audio: tuple[AudioStreamInfo, ...] = ()
    captions: tuple[CaptionStreamInfo, ...] = ()
    attached_pictures: tuple[AttachedPictureInfo, ...] = ()


@dataclass(frozen=True)
class _Glance:
    """What the first packets of a video stream showed."""

    picture: VideoFrame | None = None
    times: tuple[int, ...] = ()  # presentation timestamps, ascending, without the doubtful last
    keyframe_times: tuple[int, ...] = ()
    closed_captions: bool = False  # stand among the pictures


def probe(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> MediaInfo:
    """Tell what a media file holds.

    Reads headers, up to 1000 packets and one picture. Only where nothing certain says where the
    file ends, or its time stamps may start anew, are all packets read, and none of those decoded.

    Raises:
        InputError: `missing`, `refused` or `unreadable` (see `open_media`); `unreadable` too
            where the container holds no stream at all.
    """
    with open_media(path, max_pixels=max_pixels) as container:
        if not len(container.streams):
            raise InputError("unreadable", "holds no streams")
        best = best_video_stream(container)
        glance = _glance(container, best, max_pixels) if best is not None else _Glance()
        pictures = [s for s in container.streams.video if is_attached(s)]
        videos = [s for s in container.streams.video if not is_attached(s)]
        videos.sort(key=lambda stream: stream is not best)
        return MediaInfo(
            format=container.format.name,
            size_bytes=path.stat().st_size,
            start_time_s=_seconds(container.start_time, Fraction(1, AV_TIME_BASE)),
            bit_rate=container.bit_rate or None,
            title=find_tag(container.metadata, "title"),
            description=find_tag(container.metadata, "description", "synopsis"),
            tags=dict(container.metadata),
            video=tuple(_video_info(s, glance if s is best else None) for s in videos),
            audio=tuple(_audio_info(stream) for stream in container.streams.audio),
            captions=tuple(_captions_info(container, best, glance)),
            attached_pictures=tuple(_picture_info(stream) for stream in pictures),
            duration_s=_duration_s(path, max_pixels),
        )


def _duration_s(path: Path, max_pixels: int) -> float | None:
    """Return where pictures and sound end; None where there are neither."""
    try:
        end_s = extent(path, max_pixels=max_pixels).end_s
    except InputError as error:
        if error.code != "no_video":
            raise
        return None
    return float(end_s) if end_s > 0 else None


def find_tag(tags: Mapping[str, str], *names: str) -> str | None:
    """Return the first tag of these names that says something; upper and lower case are one."""
    folded = {name.casefold(): text for name, text in tags.items()}
    return next((folded[name] for name in names if folded.get(name, "").strip()), None)


def _glance(
    container: av.container.InputContainer, stream: VideoStream, max_pixels: int
) -> _Glance:
    """Read the first packets: their times, and the first picture that can be decoded."""
    context = stream.codec_context
    picture: VideoFrame | None = None
    decode = context.width * context.height <= max_pixels
    times: list[int] = []
    keyframe_times: list[int] = []
    captions_looked_for, captioned = may_carry(stream), False
    read = 0
    for read, packet in enumerate(read_packets(container, continuity=watch(container)), start=1):
        if len(times) == MAX_TIMED_PACKETS or read > MAX_READ_PACKETS:
            break
        if packet.stream is not stream:
            continue
        if packet.pts is not None:
            times.append(packet.pts)
            if packet.is_keyframe:
                keyframe_times.append(packet.pts)
        captioned = captioned or (captions_looked_for and is_marked(packet))
        if decode and picture is None and len(times) <= MAX_TRIED_PACKETS:
            picture = _first_picture(stream, packet)
    if is_bare(container):
        return _Glance(picture, closed_captions=captioned)
    times.sort()
    if len(times) == MAX_TIMED_PACKETS:
        del times[-MAX_REORDERED:]  # pictures shown between these may come later in the file
    return _Glance(picture, tuple(times), tuple(sorted(keyframe_times)), captioned)


def _first_picture(
    stream: VideoStream, packet: av.packet.Packet[av.stream.Stream]
) -> VideoFrame | None:
    try:
        pictures = stream.decode(packet)
    except (av.error.FFmpegError, ValueError, MemoryError):
        return None
    return pictures[0] if pictures else None


def _video_info(stream: VideoStream, looked_at: _Glance | None) -> VideoStreamInfo:
    context = stream.codec_context
    glance = looked_at or _Glance()
    picture = glance.picture
    if context is None:  # libav has no decoder for it
        width = height = 0
        pixel_format, depth = None, None
    else:
        width, height = context.width, context.height
        pixel_format = context.pix_fmt
        components = context.format.components if context.format is not None else ()
        depth = max((component.bits for component in components), default=None)
    orientation = frame_orientation(picture) if picture is not None else UPRIGHT
    aspect = sensible_aspect(stream.sample_aspect_ratio)
    shown = _shown_size(width, height, aspect, orientation)
    color = picture if picture is not None else context
    return VideoStreamInfo(
        index=stream.index,
        codec=_codec_name(stream),
        width=width,
        height=height,
        display_width=shown[0],
        display_height=shown[1],
        rotation=90 * orientation.quarter_turns_clockwise,
        flipped=orientation.mirrored,
        sample_aspect=f"{aspect.numerator}:{aspect.denominator}",
        frame_rate=_frame_rate(stream, glance.times),
        frames=stream.frames or None,
        pixel_format=pixel_format,
        bit_depth=depth,
        color_matrix=MATRICES.get(color.colorspace) if color is not None else None,
        color_range=RANGES.get(color.color_range) if color is not None else None,
        color_primaries=PRIMARIES.get(color.color_primaries) if color is not None else None,
        color_transfer=TRANSFERS.get(color.color_trc) if color is not None else None,
        hdr=HDR_TRANSFERS.get(color.color_trc) if color is not None else None,
        interlaced=_interlaced(stream, picture),
        timestamps_vary=times_vary(glance.times),
        keyframe_interval_s=_mean_step_s(glance.keyframe_times, stream.time_base),
        duration_s=_stream_duration_s(stream),
        bit_rate=(context.bit_rate or None) if context is not None else None,
        language=stream.language,
        decodable=_is_decodable(stream, looked_at),
    )


def _is_decodable(stream: VideoStream, looked_at: _Glance | None) -> bool | None:
    if looked_at is not None:
        return looked_at.picture is not None
    return False if stream.codec_context is None else None


def _shown_size(
    width: int, height: int, aspect: Fraction, orientation: Orientation
) -> tuple[int, int]:
    if width <= 0 or height <= 0:
        return 0, 0
    return display_size(width, height, aspect, orientation)


def _interlaced(stream: VideoStream, picture: VideoFrame | None) -> bool:
    context = stream.codec_context
    if context is not None and context.field_order in INTERLACED_FIELD_ORDERS:
        return True
    return picture is not None and picture.interlaced_frame


def _frame_rate(stream: VideoStream, times: tuple[int, ...]) -> float | None:
    """Return pictures a second: what the container says, else the mean over what was read."""
    # What libav calls the average of a bare stream is a default of its own.
    stated = stream.guessed_rate if is_bare(stream.container) else stream.average_rate
    if stated:
        return float(stated)
    step = _mean_step_s(times, stream.time_base)
    return 1 / step if step else None


def times_vary(times: tuple[int, ...]) -> bool | None:
    """Tell whether the steps between ascending timestamps differ; None for fewer than three.

    Rounding to ticks and 10 % of jitter do not count; a picture left out does.

        >>> times_vary((0, 33, 67, 100)), times_vary((0, 40, 80, 160))
        (False, True)
    """
    if len(times) < 3:
        return None
    steps = [after - before for before, after in pairwise(times)]
    usual = median(steps)
    spread = max(steps) - min(steps)
    return spread > max(2, usual / 10) or max(steps) >= 2 * max(usual, 1)


def _mean_step_s(times: tuple[int, ...], time_base: Fraction | None) -> float | None:
    if len(times) < 2 or time_base is None or times[-1] == times[0]:
        return None
    return float((times[-1] - times[0]) * time_base / (len(times) - 1))


def _audio_info(stream: AudioStream) -> AudioStreamInfo:
    context = stream.codec_context
    channels = context.channels if context is not None else 0
    return AudioStreamInfo(
        index=stream.index,
        codec=_codec_name(stream),
        sample_rate=(context.sample_rate or None) if context is not None else None,
        channels=channels or None,
        layout=shown_name(context.layout.name) if channels else None,
        duration_s=_stream_duration_s(stream),
        bit_rate=(context.bit_rate or None) if context is not None else None,
        language=stream.language,
    )


def _captions_info(
    container: av.container.InputContainer, video: VideoStream | None, glance: _Glance
) -> Iterator[CaptionStreamInfo]:
    for stream in container.streams.subtitles:
        yield _caption_info(stream)
    if video is not None and glance.closed_captions:
        yield CaptionStreamInfo(video.index, CLOSED_CAPTIONS, "text", None)


def _caption_info(stream: SubtitleStream) -> CaptionStreamInfo:
    return CaptionStreamInfo(
        stream.index, _codec_name(stream), caption_kind(stream), stream.language
    )


def caption_kind(stream: SubtitleStream) -> Literal["text", "bitmap"] | None:
    """Tell whether a subtitle stream holds text or pictures of text; None where it is unknown."""
    if stream.codec_context is None:
        return None
    properties = stream.codec_context.codec.properties
    if properties & cast(int, av.codec.codec.Properties.TEXT_SUB.value):
        return "text"
    if properties & cast(int, av.codec.codec.Properties.BITMAP_SUB.value):
        return "bitmap"
    return None


def _picture_info(stream: VideoStream) -> AttachedPictureInfo:
    context = stream.codec_context
    width, height = (context.width, context.height) if context is not None else (0, 0)
    return AttachedPictureInfo(stream.index, _codec_name(stream), width, height)


def _codec_name(stream: av.stream.Stream) -> str | None:
    """Return the format's name ("mp3"), not that of libav's decoder of it ("mp3float").

    UNKNOWN_CODEC for one that libav does not know; PyAV does not show what its container calls it.
    """
    context = stream.codec_context
    return context.codec.canonical_name if context is not None else UNKNOWN_CODEC


def _stream_duration_s(stream: av.stream.Stream) -> float | None:
    if stream.duration is not None and stream.duration > 0:
        return _seconds(stream.duration, stream.time_base)
    return clock_reading_s(find_tag(stream.metadata, "duration"))


def _seconds(ticks: int | None, time_base: Fraction | None) -> float | None:
    return float(ticks * time_base) if ticks is not None and time_base is not None else None
