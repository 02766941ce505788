"""A video of any length on one grid of steps, encoded chunk by chunk.

So it is read by networks that say when what happens: they see every step, and have no windows of
their own. The chunks abut and always lie alike, so that what the feature store keeps of one
serves training and every analysis.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from vmm_cli.features.grid import Window, grid_times
from vmm_cli.features.plan import StreamPlan
from vmm_cli.features.windows import WindowFeatures, are_stored
from vmm_cli.media.video import Video

# A minute at two steps a second; few enough that videos of minutes can be divided over workers.
CHUNK_STEPS = 120


def chunks_of(start: Fraction, end: Fraction, rate_hz: Fraction) -> list[Window]:
    """Return the chunks that cover [start, end) seconds; all but the last have 120 steps."""
    steps = len(grid_times(Window(start, end), rate_hz))
    length = CHUNK_STEPS / rate_hz
    begins = [start + i * length for i in range(-(-steps // CHUNK_STEPS))]
    return [Window(begin, min(begin + length, end)) for begin in begins]


def chunks_are_stored(video: Video, chosen: Sequence[Window], plan: StreamPlan) -> bool:
    """Tell whether the feature store holds all these chunks. InputError as `file_identity`."""
    return are_stored(video, [[chunk] for chunk in chosen], plan)


def joined(parts: Sequence[WindowFeatures]) -> WindowFeatures:
    """Return chunks that abut as one."""
    first = parts[0]
    return WindowFeatures(
        Window(first.window.start, parts[-1].window.end),
        np.concatenate([part.times for part in parts]),
        {s: np.concatenate([part.values[s] for part in parts]) for s in first.values},
        {s: np.concatenate([part.masks[s] for part in parts]) for s in first.masks},
    )


def cut(shown: WindowFeatures, first: int, last: int) -> WindowFeatures:
    """Return the steps [first, last) of a chunk; there is at least one."""
    times = shown.times[first:last]
    step = Fraction(shown.times[1] - shown.times[0]) if len(shown.times) > 1 else Fraction(1)
    begin = Fraction(times[0])
    end = shown.window.end if last >= len(shown.times) else Fraction(times[-1]) + step
    return WindowFeatures(
        Window(begin, end),
        times,
        {stream: values[first:last] for stream, values in shown.values.items()},
        {stream: mask[first:last] for stream, mask in shown.masks.items()},
    )
