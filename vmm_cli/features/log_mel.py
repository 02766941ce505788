"""What is heard: the log-mel spectrogram that Whisper reads, step by step on a time grid.

The power of 25 ms windows, 10 ms apart, in 80 bands of the mel scale, as a logarithm. Frame i of a
spectrogram is centred at i / 100 s on the clock; the sound is mirrored where it begins and ends.
numpy only.

Source: Radford et al. 2022, Robust Speech Recognition via Large-Scale Weak Supervision, 2.2; the
scale and the bands of equal area are those of Slaney 1998, Auditory Toolbox.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from vmm_cli.features.values import Features
from vmm_cli.media.audio import Samples
from vmm_cli.media.video import Video

AUDIO_VERSION = "1"  # part of what kept features are named by: changes when a value changes

SAMPLE_RATE = 16000  # samples a second; what tells speech and noises apart lies below 8 kHz
WINDOW = 400  # samples, 25 ms: short against a syllable, long against the period of a voice
HOP = 160  # samples, 10 ms
FRAMES_PER_S = SAMPLE_RATE // HOP
MELS = 80
FLOOR = 1e-10  # power that counts as silence: has a logarithm, and lies below 16-bit rounding
SILENCE = float(np.log10(FLOOR))

# Slaney's scale: 15 mels of equal width up to 1000 Hz, from there 27 for each factor of 6.4.
BREAK_HZ = 1000.0
BREAK_MELS = 15
MEL_FACTOR = float(np.log(6.4) / 27)  # natural logarithm of the factor from a mel to the next

TIME_ROUNDING_FRAMES = 1e-6  # a binary time may lie this much beside the frame that it means

_RADIUS = WINDOW // 2
HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)  # periodic


@lru_cache(maxsize=1)
def mel_filters() -> np.ndarray:
    """Return how much of each frequency is in each band: float64 [80, 201], read-only.

    Triangles of area 1, their corners at equal steps of Slaney's mel scale between 0 and 8000 Hz,
    at the frequencies k x 40 Hz of a window's spectrum.
    """
    top = BREAK_MELS + np.log(SAMPLE_RATE / 2 / BREAK_HZ) / MEL_FACTOR
    mels = np.linspace(0, top, MELS + 2)
    above = BREAK_HZ * np.exp(MEL_FACTOR * (mels - BREAK_MELS))
    corners = np.where(mels < BREAK_MELS, mels * BREAK_HZ / BREAK_MELS, above)
    left, peak, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]  # [80, 1]
    hertz = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)  # [201]
    rising, falling = (hertz - left) / (peak - left), (right - hertz) / (right - peak)
    filters: np.ndarray = np.maximum(0, np.minimum(rising, falling)) * 2 / (right - left)
    filters.setflags(write=False)
    return filters


def audio_statistics(
    video: Video,
    times: np.ndarray,
    step_s: float,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> Features:
    """Return mean and standard deviation of the log-mel frames in each step [t, t + step_s).

    `times`: float64 [T], ascending, the first not before `start_s`. Values: float32 [T, 160], 80
    means, then 80 deviations, of log10(max(power, 1e-10)): unlike Whisper's form nothing depends on
    how loud the rest is, so a span of a file has the values of the same steps of the whole. Only
    frames centred in [start_s, end_s) count (their windows reach 12.5 ms further), and only steps
    with such a frame are returned: none where there is no sound. A late start and gaps are silence.
    Where a span's sound is sought and not read from the begin, lossy decoders give it slightly
    otherwise: the noise they make up (AAC 0.001 in the mean and 0.1 in a quiet band, Opus 0.02 and
    0.4), and where timestamps are rounded, up to half a millisecond of shift (0.01 and 0.4).

    Raises:
        InputError: as `iter_audio`.
        ValueError: steps shorter than a frame, or a span that `iter_audio` refuses.
    """
    firsts, lasts = _frames_of_steps(times, step_s, end_s)
    sums = np.zeros((len(times), 2 * MELS))
    counts = np.zeros(len(times))
    for step, _, log_mel in _by_step(video, firsts, lasts, start_s):  # [n, 80]
        sums[step, :MELS] += log_mel.sum(axis=0)
        sums[step, MELS:] += (log_mel**2).sum(axis=0)
        counts[step] += len(log_mel)
    heard = counts > 0
    means, squares = np.split(sums[heard] / counts[heard, None], 2, axis=1)  # [T, 80] each
    deviations = np.sqrt(np.maximum(squares - means**2, 0))
    values = np.concatenate([means, deviations], axis=1).astype(np.float32)
    return Features(times[heard], values)


def frames_per_step(step_s: float) -> int:
    """Return F, the number of frames in a patch of `step_s` seconds. ValueError if none fits."""
    frames = round(step_s * FRAMES_PER_S)
    if frames < 1:
        raise ValueError(f"a step of {step_s:g} s is shorter than a frame of sound")
    return frames


def audio_patches(
    video: Video,
    times: np.ndarray,
    step_s: float,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> Features:
    """Return the spectrogram of each step, F = `frames_per_step(step_s)` frames from its time on.

    As `audio_statistics`, but values float32 [T, 1, 80, F]; what of a step is not there is silence.
    """
    width = frames_per_step(step_s)
    firsts, lasts = _frames_of_steps(times, step_s, end_s, width)
    values = np.full((len(times), 1, MELS, width), SILENCE, np.float32)
    heard = np.zeros(len(times), bool)
    for step, offset, log_mel in _by_step(video, firsts, lasts, start_s):
        values[step, 0, :, offset : offset + len(log_mel)] = log_mel.T
        heard[step] = True
    return Features(times[heard], values[heard])


def _frames_of_steps(
    times: np.ndarray, step_s: float, end_s: float | None, width: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first frame of each step and the one after its last: int64 [T] each.

    With `width` every step has as many frames, so that all are alike where a step is not a whole
    number of frames; either way a step that `end_s` cuts has those before it.
    """
    frames_per_step(step_s)
    firsts = _frame_at(times)
    lasts = _frame_at(times + step_s) if width is None else firsts + width
    if end_s is not None:
        cut = _frame_at(times + step_s) > _frame_at(end_s)
        lasts = np.where(cut, np.minimum(lasts, _frame_at(end_s)), lasts)
    return firsts, lasts


def _frame_at(time_s: float | np.ndarray) -> np.ndarray:
    """Return the number of the first frame centred at a time or later: int64."""
    return np.ceil(np.asarray(time_s) * FRAMES_PER_S - TIME_ROUNDING_FRAMES).astype(np.int64)


def _by_step(
    video: Video, firsts: np.ndarray, lasts: np.ndarray, start_s: float
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield the frames of steps as they are heard, a step's in one piece or in several.

    Each as (step, number of its first frame within the step, float64 [n, 80]).
    """
    if not len(firsts):
        return
    begin, end = max(int(firsts[0]), int(_frame_at(start_s))), int(lasts.max())
    if begin >= end:
        return
    index = begin
    for log_mel in _log_mel_blocks(video, begin, end):
        until = index + len(log_mel)
        ended, begun = np.searchsorted(lasts, index, "right"), np.searchsorted(firsts, until)
        for step in range(int(ended), int(begun)):
            first = max(int(firsts[step]), index)
            frames = log_mel[first - index : max(0, int(lasts[step]) - index)]
            if len(frames):
                yield step, first - int(firsts[step]), frames
        index = until


def _log_mel_blocks(video: Video, first: int, last: int) -> Iterator[np.ndarray]:
    """Yield the frames from number `first` to before `last`, float64 [n, 80], block by block."""
    held = np.zeros(0, np.float32)
    for samples in _sound_of_frames(video, first, last):
        held = np.concatenate([held, samples])
        count = (len(held) - WINDOW) // HOP + 1
        if count > 0:
            yield log_powers(held)
            held = held[count * HOP :]


def _sound_of_frames(video: Video, first: int, last: int) -> Iterator[Samples]:
    """Yield the samples under the windows of frames `first` to before `last`.

    Mirrored at the clock's zero, and where the sound ends by as much as makes N // 160 frames of N
    samples, as Whisper does.
    """
    begin = first * HOP - _RADIUS
    start = max(0, begin)
    end = (last - 1) * HOP + _RADIUS + 1  # one more: to mirror 200 samples takes 201
    position = start
    tail = np.zeros(0, np.float32)
    blocks = video.audio(SAMPLE_RATE, start=start / SAMPLE_RATE, end=end / SAMPLE_RATE)
    for block in blocks:
        missing = start - begin if position == start else 0
        yield np.pad(block.samples, (missing, 0), mode="reflect")
        position += len(block.samples)
        tail = np.concatenate([tail, block.samples])[-_RADIUS - 1 :]
    if start < position < end:
        yield np.pad(tail, (0, _RADIUS - HOP), mode="reflect")[len(tail) :]


def log_powers(samples: Samples) -> np.ndarray:
    """Return the logarithm of the power in each band: float32 [N] -> float64 [frames, 80].

    As many frames as there are whole windows. In float64: next to a loud tone, float32 would hear
    its own rounding.
    """
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]  # [frames, 400]
    spectrum = np.fft.rfft(windows * HANN)  # [frames, 201]
    power = spectrum.real**2 + spectrum.imag**2
    log_mel: np.ndarray = np.log10(np.maximum(power @ mel_filters().T, FLOOR))  # [frames, 80]
    return log_mel
