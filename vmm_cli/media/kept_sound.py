"""The sound of a video for another file of it, an MP4: its packets as they are, or encoded anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av.audio.codeccontext
import av.container
import av.packet
import av.stream
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from vmm_cli.media.continuity import read_packets, watch
from vmm_cli.media.source import best_audio_stream, clock_origin_s, open_media

if TYPE_CHECKING:
    from vmm_cli.media.audio import Layout
    from vmm_cli.media.video import Video

    SoundPacket = av.packet.Packet[AudioStream]

# What MP4 holds and players play, by libav's names of codecs.
COPIED = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
# Samples a second that AAC knows (ISO/IEC 14496-3, table 1.18), and what others are brought to.
AAC_RATES = frozenset(
    {96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}
)
USUAL_RATE = 48000
BITS_PER_CHANNEL = 96_000  # a second; nobody hears a difference
# Decoders need some packets until their output is right; players leave out what lies before 0.
PREROLL_S = Fraction(1, 10)
WRONG_TIME_S = Fraction(10)  # a packet so far past the end has a wrong time stamp


@dataclass(frozen=True, slots=True)
class Piece:
    """A packet of sound, and when it is heard: seconds from the beginning of the new file."""

    time_s: float
    packet: SoundPacket


@contextmanager
def kept_sound(video: Video, written: av.container.OutputContainer) -> Iterator[Iterator[Piece]]:
    """Yield the sound of a video's wanted part in packets of a new stream of `written`.

    It is the stream that players take. Its packets are copied where MP4 holds their codec and
    their time stamps can be trusted; else it is encoded anew, in one channel or two. Nothing is
    yielded for a video without sound.

    Raises:
        InputError: as `open_media`.
    """
    with open_media(video.path, max_pixels=video.max_pixels) as container:
        stream = best_audio_stream(container)
        if stream is None or video.extent is None:
            yield iter(())
        elif stream.codec_context.codec.canonical_name in COPIED and not video.extent.restarts_s:
            kept = written.add_stream_from_template(stream)
            yield _copied(video, container, stream, kept)
        else:
            yield _encoded(video, stream, written)


def _copied(
    video: Video, container: av.container.InputContainer, stream: AudioStream, kept: AudioStream
) -> Iterator[Piece]:
    base = stream.time_base or Fraction(1, stream.rate)
    offset = round((clock_origin_s(container) + video.start) / base)
    latest = None if video.extent is None else video.extent.end_s + WRONG_TIME_S - video.start
    until = latest if video.end is None else video.end - video.start
    last: int | None = None
    for packet in read_packets(container, stream, continuity=watch(container), alone=True):
        time, size = packet.pts, packet.size
        if time is None or not size:
            continue
        time_s = (time - offset) * base
        over = until is not None and time_s >= until
        if over and video.end is not None:
            break
        if over or time_s < -PREROLL_S:
            continue
        packet.pts = packet.dts = time - offset
        if last is not None and packet.pts <= last:
            continue  # MP4 knows no time that goes back
        last = packet.pts
        packet.stream = kept
        yield Piece(float(time_s), cast("SoundPacket", packet))


def _encoded(
    video: Video, stream: AudioStream, written: av.container.OutputContainer
) -> Iterator[Piece]:
    rate = stream.rate if stream.rate in AAC_RATES else USUAL_RATE
    layout: Layout = "mono" if stream.channels == 1 else "stereo"
    kept = written.add_stream("aac", rate=rate, layout=layout)
    assert isinstance(kept, AudioStream)
    kept.bit_rate = BITS_PER_CHANNEL * (1 if layout == "mono" else 2)
    return _encode(video, kept, layout)


def _encode(video: Video, kept: AudioStream, layout: Layout) -> Iterator[Piece]:
    rate = kept.rate
    start, end = float(video.start), None if video.end is None else float(video.end)
    position = 0
    for block in video.audio(rate, start=start, end=end, layout=layout):
        frame = AudioFrame.from_ndarray(block.samples.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
        position += len(block.samples)
        yield from _pieces(kept.encode(frame), rate)
    if position:
        yield from _pieces(kept.encode(None), rate)


def _pieces(packets: list[SoundPacket], rate: int) -> Iterator[Piece]:
    for packet in packets:
        time = (packet.pts or 0) * (packet.time_base or Fraction(1, rate))
        yield Piece(float(time), packet)
