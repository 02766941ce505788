"""A video's windows as a trained model sees them: every stream's values on the windows' grids.

Pictures are decoded once for all streams that want them. What frozen encoders computed is kept in
the feature store, by the run of windows it was computed for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from vmm_cli import store
from vmm_cli.bundle import EncoderSpec
from vmm_cli.encoders.features import Features
from vmm_cli.encoders.grid import Window, grid_times, on_grid
from vmm_cli.encoders.log_mel import SOUND
from vmm_cli.encoders.pictures import OF_PICTURES, from_pictures
from vmm_cli.encoders.plan import FACES, SENTENCES, SPEECH, StreamPlan, sees_windows_apart
from vmm_cli.identity import FileIdentity
from vmm_cli.media.video import Video

# From a fine spectrogram, and from what a text means, what was said could be told again.
NEVER_STORED = ("log-mel", SENTENCES)
# By these somebody could be known again: kept only where the user asks for it.
PERSONAL = (FACES, SPEECH)


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

    `windows`: as `grid.windows` gives them, or a stretch of those. Memory grows with their number:
    long videos come in stretches. `text`: for a text stream whose encoder reads the whole.
    `keep_features`: whether the store may hold what is of faces and voices too. What the video
    does not have is masked out.

    Raises:
        InputError: the file cannot be read.
        ModelError: an encoder's weights are not at hand.
    """
    timed = replace(plan, encoders={s: e for s, e in plan.encoders.items() if s != "text"})
    identity = video.identity if use_store else None
    kept = [stream for stream in timed.encoders if _is_stored(stream, plan, keep_features)]
    found = {} if identity is None else _stored(identity, windows, timed, kept)
    missing = {s: spec for s, spec in timed.encoders.items() if s not in found}
    if missing:
        computed = _computed(video, windows, replace(plan, encoders=missing))
        if identity is not None and video.is_unchanged():
            _keep(identity, windows, timed, {s: f for s, f in computed.items() if s in kept})
        found |= computed
    shown = [_on_grid(i, window, found, timed) for i, window in enumerate(windows)]
    return _with_sentences(shown, text) if "text" in plan.encoders else shown


def are_stored(video: Video, runs: Sequence[Sequence[Window]], plan: StreamPlan) -> bool:
    """Tell whether the store holds all that is wanted of these runs of windows.

    Raises:
        InputError: the file cannot be read.
    """
    timed = {stream: spec for stream, spec in plan.encoders.items() if stream != "text"}
    if not all(_is_stored(stream, plan) for stream in timed):
        return False
    return all(
        store.contains(_key(video.identity, spec, track, plan))
        for windows in runs
        for spec in timed.values()
        for track in _tracks(spec, windows)
    )


def _on_grid(
    index: int, window: Window, found: Mapping[str, Sequence[Features]], plan: StreamPlan
) -> WindowFeatures:
    times = grid_times(window, plan.rate_hz)
    values, masks = {}, {}
    for stream in plan.encoders:
        features = found[stream][index % len(found[stream])]
        # A picture is shown until the next one comes; the others have values for steps.
        lasts_s = None if stream == "image" else float(1 / plan.rate_hz)
        values[stream], masks[stream] = on_grid(features, times, lasts_s)
    return WindowFeatures(window, times, values, masks)


def _with_sentences(shown: Sequence[WindowFeatures], text: str) -> list[WindowFeatures]:
    """Add the stream `text`: what the text means, the same at every step; absent without words."""
    meaning = _meaning(text)  # [1, D]
    return [
        replace(
            window,
            values={**window.values, "text": np.repeat(meaning, len(window.times), axis=0)},
            masks={**window.masks, "text": np.full(len(window.times), meaning.any())},
        )
        for window in shown
    ]


# --- what is kept ------------------------------------------------------------------------------
# A stream has one track over all windows, or, where what it sees depends on the window, two: one
# over the windows with even numbers, which abut, and one over the odd ones.


def _tracks(spec: EncoderSpec, windows: Sequence[Window]) -> list[Sequence[Window]]:
    if sees_windows_apart(spec) and len(windows) > 1:
        return [windows[0::2], windows[1::2]]
    return [windows]


def _key(
    identity: FileIdentity, spec: EncoderSpec, track: Sequence[Window], plan: StreamPlan
) -> str:
    return store.key(identity, spec.digest, plan.times(track))


def _is_stored(stream: str, plan: StreamPlan, keep_features: bool = False) -> bool:
    # Without its last blocks the encoder gives far more than it does with them.
    unfinished = stream == "image" and plan.train_last > 0
    name = plan.encoders[stream].name
    allowed = keep_features or name not in PERSONAL
    return allowed and name not in NEVER_STORED and not unfinished


def _stored(
    identity: FileIdentity, windows: Sequence[Window], plan: StreamPlan, kept: Sequence[str]
) -> dict[str, list[Features]]:
    found = {}
    for stream in kept:
        spec = plan.encoders[stream]
        keys = [_key(identity, spec, track, plan) for track in _tracks(spec, windows)]
        entries = [store.load(key) for key in keys]
        if all(entry is not None for entry in entries):
            found[stream] = [entry.features for entry in entries if entry is not None]
    return found


def _keep(
    identity: FileIdentity,
    windows: Sequence[Window],
    plan: StreamPlan,
    computed: Mapping[str, Sequence[Features]],
) -> None:
    for stream, features in computed.items():
        tracks = _tracks(plan.encoders[stream], windows)
        for track, part in zip(tracks, features, strict=True):
            entry = store.Entry(part, float(track[-1].end))
            store.save(_key(identity, plan.encoders[stream], track, plan), entry)


# --- computing ---------------------------------------------------------------------------------


def _computed(
    video: Video, windows: Sequence[Window], plan: StreamPlan
) -> dict[str, list[Features]]:
    """Return each stream's tracks."""
    found: dict[str, list[Features]] = {}
    if not OF_PICTURES.isdisjoint(plan.encoders):
        found |= from_pictures(video, windows, plan)
    whole = Window(windows[0].start, windows[-1].end)
    for stream in ("audio", "voice"):
        if stream in plan.encoders:
            encode = _of_sound(plan.encoders[stream].name)
            times, step_s = grid_times(whole, plan.rate_hz), float(1 / plan.rate_hz)
            span = {"start_s": float(whole.start), "end_s": float(whole.end)}
            found[stream] = [encode(video, times, step_s, **span)]
    return found


def _of_sound(encoder: str) -> Callable[..., Features]:
    if encoder == SPEECH:
        from vmm_cli.encoders.speech import voice_features

        return voice_features
    return SOUND[encoder]


@lru_cache(maxsize=4)
def _meaning(text: str) -> np.ndarray:
    """Return what a text means, the same for all stretches of a video: float32 [1, D]."""
    from vmm_cli.encoders.sentences import sentence_embeddings

    return sentence_embeddings([text])
