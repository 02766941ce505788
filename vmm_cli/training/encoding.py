"""Samples encoded in workers: their windows and their text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vmm_cli import progress
from vmm_cli.batch.executor import Device
from vmm_cli.batch.gather import gather
from vmm_cli.batch.tally import Standing
from vmm_cli.errors import InputError
from vmm_cli.features.chunks import chunks_of, joined
from vmm_cli.features.grid import windows
from vmm_cli.features.plan import StreamPlan
from vmm_cli.features.windows import (
    Encoded,
    WindowFeatures,
    window_features,
)
from vmm_cli.features.words import text_of
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.media.video import Video
from vmm_cli.training.data.samples import NO_DURATIONS, Sample, length_s

# A long sample is learnt from by so many of its windows, evenly spread: the others look alike.
MAX_WINDOWS = 8
# A worker on one sample is given up after this long, and more for larger files.
LIMIT_BASE_S = 300.0
LIMIT_PER_MEGABYTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Means:
    """With what files are read.

    Attributes:
        jobs: how many workers.
        use_store: whether features are taken from the store, and kept there.
        keep_features: whether the store may hold what is of faces and voices, too.
        max_pixels: of a picture, at most.
        device: that frozen encoders run on; None: the CPU.
    """

    jobs: int = 1
    use_store: bool = True
    keep_features: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS
    device: Device | None = None


def encode_samples(
    samples: Sequence[Sample],
    plan: StreamPlan,
    means: Means,
    *,
    with_text: bool,
    durations: Mapping[Path, float | None] = NO_DURATIONS,
    on_progress: Callable[[Standing], None] = lambda standing: None,
) -> list[Encoded | InputError]:
    """Encode samples in workers; one that cannot be read gives its error instead.

    `durations`: of files, in seconds, as far as they are known: progress goes by them.
    """
    return gather(
        encode_sample,
        [(sample, plan, means, with_text) for sample in samples],
        [limit_s(sample) for sample in samples],
        jobs=means.jobs,
        device=means.device,
        lengths_s=[_encoded_s(sample, plan, durations) for sample in samples],
        on_progress=on_progress,
    )


def _encoded_s(
    sample: Sample, plan: StreamPlan, durations: Mapping[Path, float | None]
) -> float | None:
    """Return how much of a sample `encode_sample` sees, in seconds, if that is known."""
    whole_s = length_s(sample, durations)
    if whole_s is None or sample.segments is not None:
        return whole_s
    return min(whole_s, MAX_WINDOWS * float(plan.window_s))


def limit_s(sample: Sample) -> float:
    """Return how long a worker may take over a sample, in seconds."""
    try:
        megabytes = sample.path.stat().st_size / 1e6
    except OSError:  # the worker will say what is wrong with it
        megabytes = 0.0
    return LIMIT_BASE_S + LIMIT_PER_MEGABYTE_S * megabytes


def video_of(sample: Sample, max_pixels: int) -> Video:
    """Return a sample's file and its part of it; of pictures up to `max_pixels`."""
    # Via str: a manifest's 0.1 means one tenth, not the nearest binary fraction.
    end = None if sample.end_s is None else Fraction(str(sample.end_s))
    return Video(sample.path, max_pixels, Fraction(str(sample.start_s)), end)


def encode_sample(sample: Sample, plan: StreamPlan, means: Means, with_text: bool) -> Encoded:
    """Encode one sample: what a worker does. Of a long one some windows, evenly spread.

    One with timed actions is encoded whole, as one window.

    Raises:
        InputError: the file cannot be read, or its span lies behind its end.
    """
    video = video_of(sample, means.max_pixels)
    start, until = video.start, video.until_s
    if sample.segments is not None:
        runs = [[chunk] for chunk in chunks_of(start, until, plan.rate_hz)]
    else:
        chosen = windows(start, until, plan.window_s)
        runs = [chosen]
        if len(chosen) > MAX_WINDOWS:
            picks = np.linspace(0, len(chosen) - 1, MAX_WINDOWS).round().astype(int)
            runs = [[chosen[i]] for i in picks]
    text = text_of(sample.text, video) if with_text else ""
    found: list[WindowFeatures] = []
    progress.over(float(start), float(until))
    for run in runs:
        found += window_features(
            video,
            run,
            plan,
            text=text,
            use_store=means.use_store,
            keep_features=means.keep_features,
        )
    if sample.segments is not None:
        found = [joined(found)]
    return Encoded(tuple(found), text)
