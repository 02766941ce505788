"""A video's windows as a trained model sees them: every stream's values on the windows' grids.

Pictures are decoded once for all streams that want them. What frozen encoders computed is kept in
the feature store, by the run of windows it was computed for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from vmm_cli.features import store
from vmm_cli.features.encoder import OfFrames, OfSightings, OfSound, OfText
from vmm_cli.features.grid import Window, grid_times, on_grid
from vmm_cli.features.picture_streams import from_pictures
from vmm_cli.features.plan import StreamPlan
from vmm_cli.features.store import Entry
from vmm_cli.features.values import Features
from vmm_cli.media.video import Video


@dataclass(frozen=True, slots=True, eq=False)
class WindowFeatures:
    """One window's streams on its grid.

    Attributes:
        window: where it lies.
        times: float64 [T], seconds.
        values: by stream, float32 [T, D] or [T, C, H, W].
        masks: by stream, bool [T]: for which steps there is something.
    """

    window: Window
    times: np.ndarray
    values: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What is known of one sample: its windows, and its text ("" where there is none)."""

    windows: tuple[WindowFeatures, ...]
    text: str


def window_features(
    video: Video,
    windows: Sequence[Window],
    plan: StreamPlan,
    *,
    text: str = "",
    use_store: bool = True,
    keep_features: bool = False,
) -> list[WindowFeatures]:
    """Return what each of a run of windows shows, from the store or computed.

    `windows`: as `grid.windows` gives them, or a chunk of those. Memory grows with their number:
    long videos come in chunks. `text`: for a text stream whose encoder reads the whole.
    `keep_features`: whether the store may hold what is of faces and voices too. What the video
    does not have is masked out.

    Raises:
        InputError: the file cannot be read.
        ModelError: an encoder's weights are not at hand.
    """
    wanted = _seen_or_heard(plan)
    tracks = {
        (stream, i): track
        for stream in wanted
        for i, track in enumerate(_tracks(plan, stream, windows))
    }
    keys = {
        (stream, i): _key(video, plan, stream, track)
        if use_store and _is_stored(plan, stream, keep_features)
        else None
        for (stream, i), track in tracks.items()
    }

    def compute(lacking: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Entry[Features]]:
        streams = list(dict.fromkeys(stream for stream, _ in lacking))
        return {
            (stream, i): Entry(features, float(tracks[stream, i][-1].end))
            for stream, computed in _computed(
                video, windows, plan, streams, use_store=use_store, keep_features=keep_features
            ).items()
            for i, features in enumerate(computed)
        }

    entries = store.cached(video, keys, compute)
    found = {
        stream: [entry.features for (of, _), entry in sorted(entries.items()) if of == stream]
        for stream in wanted
    }
    shown = [_on_grid(i, window, found, plan) for i, window in enumerate(windows)]
    return _with_texts(shown, plan, text)


def _seen_or_heard(plan: StreamPlan) -> list[str]:
    """Return the streams that depend on the time: all but those of text."""
    return [stream for stream, row in plan.rows.items() if not isinstance(row.runs, OfText)]


def are_stored(video: Video, runs: Sequence[Sequence[Window]], plan: StreamPlan) -> bool:
    """Tell whether the store holds all that is wanted of these runs of windows.

    Raises:
        InputError: the file cannot be read.
    """
    wanted = _seen_or_heard(plan)
    return all(_is_stored(plan, stream) for stream in wanted) and all(
        store.contains(_key(video, plan, stream, track))
        for windows in runs
        for stream in wanted
        for track in _tracks(plan, stream, windows)
    )


def _on_grid(
    index: int, window: Window, found: Mapping[str, Sequence[Features]], plan: StreamPlan
) -> WindowFeatures:
    times = grid_times(window, plan.rate_hz)
    values, masks = {}, {}
    for stream, tracks in found.items():
        lasts_s = None if plan.rows[stream].holds == "next" else float(1 / plan.rate_hz)
        values[stream], masks[stream] = on_grid(tracks[index % len(tracks)], times, lasts_s)
    return WindowFeatures(window, times, values, masks)


def _with_texts(
    shown: Sequence[WindowFeatures], plan: StreamPlan, text: str
) -> list[WindowFeatures]:
    """Add the streams of text: what it means, the same at every step; absent without words."""
    meanings = {
        stream: _meaning(row.runs.embed, text)  # [1, D]
        for stream, row in plan.rows.items()
        if isinstance(row.runs, OfText) and row.runs.embed is not None
    }
    return [
        replace(
            window,
            values=dict(window.values)
            | {s: np.repeat(one, len(window.times), axis=0) for s, one in meanings.items()},
            masks=dict(window.masks)
            | {s: np.full(len(window.times), one.any()) for s, one in meanings.items()},
        )
        for window in shown
    ]


# --- what is kept ------------------------------------------------------------------------------
# A stream has one track over all windows, or, where what it sees depends on the window, two: one
# over the windows with even numbers, which abut, and one over the odd ones.


def _tracks(plan: StreamPlan, stream: str, windows: Sequence[Window]) -> list[Sequence[Window]]:
    if plan.rows[stream].per_window and len(windows) > 1:
        return [windows[0::2], windows[1::2]]
    return [windows]


def _key(video: Video, plan: StreamPlan, stream: str, track: Sequence[Window]) -> store.Key:
    spec = plan.encoders[stream]
    sampling = plan.times(track)
    return store.key(
        video.identity, spec.digest, sampling, encoder=spec.name, settings=spec.preprocess
    )


def _is_stored(plan: StreamPlan, stream: str, keep_features: bool = False) -> bool:
    row = plan.rows[stream]
    # Without its last blocks an encoder gives far more than it does with them.
    is_whole = not (row.learns and plan.train_last)
    return is_whole and (row.kept == "always" or (row.kept == "asked" and keep_features))


# --- computing ---------------------------------------------------------------------------------


def _computed(
    video: Video,
    windows: Sequence[Window],
    plan: StreamPlan,
    streams: Sequence[str],
    *,
    use_store: bool,
    keep_features: bool,
) -> dict[str, list[Features]]:
    """Return each stream's tracks."""
    seen = [s for s in streams if isinstance(plan.rows[s].runs, OfFrames | OfSightings)]
    found = {}
    if seen:
        found = from_pictures(
            video, windows, plan, seen, use_store=use_store, keep_poses=keep_features
        )
    for stream in streams:
        runs = plan.rows[stream].runs
        if isinstance(runs, OfSound):
            job = plan.job(stream, windows)
            span = {"start_s": float(job.whole.start), "end_s": float(job.whole.end)}
            step_s = float(1 / plan.rate_hz)
            found[stream] = [runs.encode(video, job.times, step_s, **span)]
    return found


@lru_cache(maxsize=4)
def _meaning(embed: Callable[[Sequence[str]], np.ndarray], text: str) -> np.ndarray:
    """Return what a text means, the same for all chunks of a video: float32 [1, D]."""
    return embed([text])
