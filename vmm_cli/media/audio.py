"""The sound of a media file: float32 at a wanted rate, streamed, on the pictures' clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

import av.container
import av.error
import av.packet
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

from vmm_cli import progress
from vmm_cli.media.continuity import read_packets, watch
from vmm_cli.media.extent import extent
from vmm_cli.media.layouts import one_channel
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.media.source import AV_TIME_BASE, best_audio_stream, clock_origin_s, open_media

Samples = npt.NDArray[np.float32]
Layout = Literal["mono", "stereo"]

BLOCK_S = 1  # seconds in a block: few calls, little memory
SMALLEST_GAP_S = Fraction(1, 100)  # containers round times to 1 ms; the shortest packets hold 20 ms
WRONG_TIME_S = Fraction(10)  # sound this far behind itself or past the end has a wrong timestamp
MAX_BLIND_GAP_S = Fraction(3600)  # the same ahead, where nobody knows the end
SEEK_FROM_S = 5  # an earlier start is reached by decoding: that takes some 10 ms
PREROLL_S = 1  # decoders of AAC, Opus and MP3 need some packets until their output is right

# Demuxers after whose seeks timestamps are still exact (bare MP3 and AAC guess theirs).
EXACT_SEEKS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts", "mxf", "wav", "flac"}

# Without it libav's mix of float channels to mono is louder than full scale: two equal channels
# come out 1.41 times, 5.1 up to 3.4 times as loud.
NO_LOUDER_THAN_FULL_SCALE = {"rematrix_maxval": "1.0"}


@dataclass(frozen=True)
class AudioBlock:
    """A stretch of sound: full scale is -1 to 1, from `time_s` on the clock.

    `samples` is float32 [N], or [N, 2] where stereo was asked for.
    """

    time_s: float
    samples: Samples


@dataclass(slots=True)
class SoundReport:
    """How many samples were heard."""

    samples: int = 0


def iter_audio(
    path: Path,
    rate: int,
    *,
    start: float = 0.0,
    end: float | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    layout: Layout = "mono",
) -> Iterator[AudioBlock]:
    """Yield the sound between `start` and `end` seconds at `rate` samples a second.

    Blocks of about a second follow each other without a hole, the first at `start`: a late start
    and gaps between timestamps are zeros, overlaps are left out, packets that cannot be decoded
    are skipped (and so become zeros). Sample k of all is at `start + k / rate` seconds, `start`
    taken to the nearest sample. Nothing is added where the sound ends before `end`. All channels
    are mixed to the wanted ones by their places, at most to full scale. Nothing comes from a file
    without sound.

    Where channels cannot be mixed by their places one is heard: see `one_channel`.

    A timestamp that cannot be true (10 s past the container's end, or behind what was heard) is
    passed over, the sound goes on where it was.

    Raises:
        InputError: as `open_media`.
        ValueError: for a rate below 1, a negative start or an end that does not lie after it.
    """
    if rate < 1:
        raise ValueError(f"the rate must be at least 1 sample a second, got {rate}")
    if start < 0:
        raise ValueError(f"start must not be negative, got {start:g} s")
    if end is not None and end <= start:
        raise ValueError(f"end ({end:g} s) must lie after start ({start:g} s)")
    last = None if end is None else Fraction(end)
    return _blocks(path, _Wanted(rate, layout), Fraction(start), last, max_pixels)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Samples a second, and which channels."""

    rate: int
    layout: Layout


def _blocks(
    path: Path, wanted: _Wanted, start: Fraction, end: Fraction | None, max_pixels: int
) -> Iterator[AudioBlock]:
    rate = wanted.rate
    first = round(start * rate)
    last = None if end is None else round(end * rate)
    with open_media(path, max_pixels=max_pixels) as container:
        stream = best_audio_stream(container)
        if stream is None:
            return
        known = extent(path, max_pixels=max_pixels)
        known_end = known.end_s or None
        frames = _frames_from(container, stream, start, restarts=bool(known.restarts_s))
        pieces = _pieces(frames, wanted, clock_origin_s(container), known_end)
        position = first
        until = end or known_end or start
        tell = progress.begin(float(start), float(until))
        for samples in _gathered(_laid_out(pieces, first, last, rate * BLOCK_S), rate * BLOCK_S):
            tell(position / rate)
            yield AudioBlock(position / rate, samples)
            position += len(samples)


def _frames_from(
    container: av.container.InputContainer, stream: AudioStream, start: Fraction, *, restarts: bool
) -> Iterator[AudioFrame]:
    """Yield decoded sound from some time before `start`, or from the very first.

    restarts: time stamps start anew in the file, so that a seek would not find its time.
    """
    origin = clock_origin_s(container)
    if start >= SEEK_FROM_S and container.format.name in EXACT_SEEKS and not restarts:
        try:
            container.seek(int((start + origin - PREROLL_S) * AV_TIME_BASE))
        except av.error.FFmpegError:
            pass  # not seekable: nothing was moved
        else:
            frames = _frames(container, stream)
            first = next(frames, None)
            time = None if first is None else _time_s(first, origin)
            if first is not None and time is not None and time <= start:
                yield first
                yield from frames
                return
            container.seek(min(0, container.start_time or 0))  # a wrong index: read it all
    yield from _frames(container, stream)


def _frames(container: av.container.InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Decode packet by packet; what is damaged is skipped."""
    for packet in read_packets(container, stream, continuity=watch(container), alone=True):
        try:
            frames = stream.decode(cast("av.packet.Packet[AudioStream]", packet))
        except av.error.FFmpegError:
            continue
        yield from frames


def _time_s(frame: AudioFrame, origin: Fraction) -> Fraction | None:
    if frame.pts is None or frame.time_base is None:
        return None
    return frame.pts * frame.time_base - origin


def _pieces(
    frames: Iterable[AudioFrame], wanted: _Wanted, origin: Fraction, known_end: Fraction | None
) -> Iterator[tuple[int, Samples]]:
    """Yield (position in output samples on the clock, samples) pieces, gaps and overlaps left.

    As long as timestamps agree with the number of samples heard, the samples count, so that
    rounded timestamps neither tear nor repeat anything. Where they part, a new run begins.
    """
    mixer: _Mixer | None = None
    setup: tuple[int, str, str] | None = None
    expected = Fraction(0)
    position = 0
    for frame in frames:
        if frame.sample_rate <= 0 or frame.samples <= 0:
            continue
        time = _time_s(frame, origin)
        if time is None or _is_wrong(time, expected, known_end):
            time = expected
        this_setup = (frame.sample_rate, frame.format.name, frame.layout.name)
        parted = abs(time - expected) > SMALLEST_GAP_S
        if mixer is None or parted or this_setup != setup:
            if mixer is not None:
                for samples in mixer.mixed(None):
                    yield position, samples
                    position += len(samples)
            if mixer is None or parted:
                expected = time
                position = round(time * wanted.rate)
            mixer = _Mixer(wanted)
            setup = this_setup
        for samples in mixer.mixed(frame):
            yield position, samples
            position += len(samples)
        expected += Fraction(frame.samples, frame.sample_rate)
    if mixer is not None:
        for samples in mixer.mixed(None):
            yield position, samples
            position += len(samples)


def _is_wrong(time: Fraction, expected: Fraction, known_end: Fraction | None) -> bool:
    if time < expected - WRONG_TIME_S:
        return True
    latest = expected + MAX_BLIND_GAP_S if known_end is None else known_end + WRONG_TIME_S
    return time > latest


class _Mixer:
    """Brings frames of one setup to the wanted channels and rate.

    Channels are mixed by their places. Where libswresample knows no mix (ambisonic layouts,
    channels without places), what `one_channel` says is heard.
    """

    def __init__(self, wanted: _Wanted) -> None:
        self._wanted = wanted
        self._resampler = self._new_resampler()
        self._by_hand = False

    def mixed(self, frame: AudioFrame | None) -> Iterator[Samples]:
        """Take a frame (None: the end) and yield what comes out, as blocks have it."""
        if not self._by_hand:
            try:
                yield from self._samples(self._resampler.resample(frame))
            except (av.error.FFmpegError, ValueError):
                # A resampler that failed once gives nothing more, and does not say so.
                self._by_hand = True
                self._resampler = self._new_resampler()
            else:
                return
        one = None if frame is None else _as_mono(frame)
        with suppress(av.error.FFmpegError, ValueError):  # a damaged frame
            yield from self._samples(self._resampler.resample(one))

    def _new_resampler(self) -> AudioResampler:
        wanted = self._wanted
        return AudioResampler(
            format="flt",
            layout=wanted.layout,
            rate=wanted.rate,
            options=NO_LOUDER_THAN_FULL_SCALE,
        )

    def _samples(self, outputs: Iterable[AudioFrame | None]) -> Iterator[Samples]:
        shape = (-1,) if self._wanted.layout == "mono" else (-1, 2)
        for output in outputs:
            if output is not None:  # PyAV 18.1 gives the None back where nothing was converted
                samples = np.asarray(output.to_ndarray(), np.float32).reshape(shape)
                yield np.nan_to_num(samples, nan=0.0).clip(-1, 1)  # damaged sound can be anything


def _as_mono(frame: AudioFrame) -> AudioFrame:
    mono = AudioFrame.from_ndarray(one_channel(frame)[None], format="flt", layout="mono")
    mono.sample_rate, mono.pts, mono.time_base = frame.sample_rate, frame.pts, frame.time_base
    return mono


def _laid_out(
    pieces: Iterable[tuple[int, Samples]], first: int, last: int | None, longest: int
) -> Iterator[Samples]:
    """Yield arrays that cover [first, last) without holes; zeros at most `longest`."""
    position = first
    for start, piece in pieces:
        samples = piece[position - start :] if start < position else piece
        gap_end = start if last is None else min(start, last)
        while position < gap_end and len(samples):
            zeros = min(longest, gap_end - position)
            yield np.zeros((zeros, *piece.shape[1:]), np.float32)
            position += zeros
        if last is not None:
            if position >= last:
                return
            samples = samples[: last - position]
        if len(samples):
            yield samples
            position += len(samples)


def _gathered(arrays: Iterable[Samples], size: int) -> Iterator[Samples]:
    """Join arrays until they hold `size` samples; the last block is shorter."""
    held: list[Samples] = []
    count = 0
    for array in arrays:
        held.append(array)
        count += len(array)
        if count >= size:
            joined = np.concatenate(held)
            whole = count - count % size
            for begin in range(0, whole, size):
                yield joined[begin : begin + size].copy()
            held = [joined[whole:]]
            count -= whole
    if count:
        yield np.concatenate(held)
