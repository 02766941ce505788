"""When something unusual happens in a video, and why it counts as that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vmm_cli.analysis.segments import Detection
from vmm_cli.analysis.unusual import events, score_of, surprise_of
from vmm_cli.inference.unusual_steps import Surprise
from vmm_cli.tasks import UNUSUAL

# From this share of a video on what is unusual is the video, and not what happens in it.
# Something that happens can last as long as a short clip of it.
OTHER_SHARE, OTHER_LEAST_S = 0.8, 10.0
# Of the place that is most above what is usual: those that are as much so are where it happens.
BOX_SHARE = 0.5
DIGITS = 4  # of shares

Grids = Mapping[str, tuple[int, int]]  # rows and columns, by stream that has places


def unusual_times(
    found: Surprise, min_score: float, until_s: float, grids: Grids
) -> list[Detection]:
    """Return when something unusual happens: see `analysis.unusual.events`."""
    return [
        _detection(found, slice(first, last), until_s, grids)
        for first, last in events(found.whole, surprise_of(min_score))
        if found.there[first:last].any() and found.times_s[first] < until_s
    ]


def _detection(found: Surprise, steps: slice, until_s: float, grids: Grids) -> Detection:
    end_s = min(until_s, float(found.times_s[steps.stop - 1]) + found.step_s)
    score = float(score_of(found.whole[steps].max()))
    reason = _reason(found, steps, grids)
    return Detection(float(found.times_s[steps.start]), end_s, UNUSUAL, score, reason)


def _reason(found: Surprise, steps: slice, grids: Grids) -> dict[str, Any]:
    """Return what is most unusual at the height of an event: which stream, how much of it, where.

    `share` is that stream's part of the surprise of all streams.
    """
    peak = steps.start + int(found.whole[steps].argmax())
    by_stream = found.by_stream[peak]
    most = int(by_stream.argmax())
    stream, total = found.streams[most], float(by_stream.sum())
    reason: dict[str, Any] = {
        "stream": stream,
        "share": round(float(by_stream[most]) / total if total else 1 / len(by_stream), DIGITS),
    }
    if stream in found.above and stream in grids:
        box = _box(found.above[stream][steps].astype(np.float64).mean(axis=0), grids[stream])
        if box is not None:
            reason["box"] = box
    return reason


def _box(above: np.ndarray, grid: tuple[int, int]) -> list[float] | None:
    """Return x, y, width and height of what is most above the usual, in shares of the picture."""
    rows, columns = grid
    places = above.reshape(rows, columns)
    if not places.max() > 0:
        return None
    high = places >= BOX_SHARE * places.max()
    y, x = np.flatnonzero(high.any(axis=1)), np.flatnonzero(high.any(axis=0))
    spans = (x[0] / columns, y[0] / rows, (x[-1] + 1 - x[0]) / columns, (y[-1] + 1 - y[0]) / rows)
    return [round(float(share), DIGITS) for share in spans]


def warnings_of(found: Surprise, detections: Sequence[Detection], until_s: float) -> Iterator[str]:
    """Yield what must be said of a video that is unusual nearly throughout."""
    whole_s = until_s - float(found.times_s[0])
    unusual_s = sum(one.end_s - one.start_s for one in detections)
    if whole_s >= OTHER_LEAST_S and unusual_s >= OTHER_SHARE * whole_s:
        yield (
            f"{100 * unusual_s / whole_s:.0f} % of it is unusual: it looks like another camera or "
            "place than the videos that the model learnt from, and not like something that happens"
        )
