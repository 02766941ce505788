"""Channel layouts of sound, made safe to look at, and mixing those that libswresample cannot."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream

# Names of layouts whose channels lie in libav's own order; others are listed channel by channel.
_STANDARD = re.compile(r"mono|stereo|downmix|quad.*|\w+gonal|cube|\d+\.\d+[\w.()-]*|ambisonic \d+")
AMBISONIC = "ambisonic"

Samples = npt.NDArray[np.float32]


def make_safe(stream: AudioStream) -> None:
    """Give a stream whose decoder is not open yet a layout that holds no memory of its own.

    PyAV copies a layout without what it points to and frees that twice (18.1, layout.py): to look
    at the layout of some MOV and CAF files, or to decode them, ended the process.
    """
    context = stream.codec_context
    layout = context.layout
    name, n = layout.name, layout.nb_channels
    if not n:
        return
    if not _STANDARD.fullmatch(name):
        name = f"{n}C"  # libav's notation of channels without places
    context.layout = AudioLayout(name)


def shown_name(name: str) -> str | None:
    """Return a layout's name for people; None where it has only a number of channels."""
    return name if _STANDARD.fullmatch(name) else None


def one_channel(frame: AudioFrame) -> Samples:
    """Return float32 [N] of a frame whose channels cannot be mixed by their places.

    The first channel of an ambisonic layout, which is sound from all around; else the mean.
    """
    samples = frame.to_ndarray()  # [channels, N], or [1, N x channels] interleaved
    n = frame.layout.nb_channels
    channels = samples if frame.format.is_planar else samples.reshape(-1, n).T
    if np.issubdtype(channels.dtype, np.unsignedinteger):
        middle = 2 ** (channels.dtype.itemsize * 8 - 1)
        scaled = (channels.astype(np.float32) - middle) / middle
    elif np.issubdtype(channels.dtype, np.integer):
        scaled = channels.astype(np.float32) / 2 ** (channels.dtype.itemsize * 8 - 1)
    else:
        scaled = channels.astype(np.float32)
    if frame.layout.name.startswith(AMBISONIC):
        return np.ascontiguousarray(scaled[0])
    return np.ascontiguousarray(scaled.mean(axis=0))
