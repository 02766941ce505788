"""How pleasant a video is over time, and which emotion it shows, by a network that vmm trained.

The network sees windows that each overlap the next by half, as in training; long videos are gone
through in stretches of them, so that memory does not grow with their length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vmm_cli import progress
from vmm_cli.analysis.evidence import VALENCE, valence_of
from vmm_cli.bundles import Bundle
from vmm_cli.encoders.grid import windows
from vmm_cli.encoders.plan import plan_of
from vmm_cli.encoders.streams import Encoded, media_end_s, wanted_until, window_features
from vmm_cli.encoders.words import text_of
from vmm_cli.errors import ModelError
from vmm_cli.media.source import DEFAULT_MAX_PIXELS
from vmm_cli.trained import check, load_trained

# Windows are encoded in stretches of so many steps in all: two minutes at two a second.
STRETCH_STEPS = 480

# What a model's valence comes from; see `valence_from`.
RATINGS, EMOTIONS, NOTHING = "ratings", "emotions", "nothing"


@dataclass(frozen=True, eq=False)
class RatedWindows:
    """What a network says of a video's windows, N of them, in order.

    Attributes:
        emotions: the model's own, E of them; there may be none.
        times: float64 [N], the windows' middles in seconds on the clock.
        start_s, end_s: float64 [N], what each covers.
        valence: float32 [N], from -1 to 1; NaN where the model gives none.
        probabilities: float32 [N, E], each row sums to 1.
        present: bool [N], whether anything the model looks at is there; else the row says nothing.
        streams: by stream float32 [N], the share of the window's steps in which it is there.
        video_end_s: where the video ends, in seconds on its clock.
    """

    emotions: tuple[str, ...]
    times: np.ndarray
    start_s: np.ndarray
    end_s: np.ndarray
    valence: np.ndarray
    probabilities: np.ndarray
    present: np.ndarray
    streams: Mapping[str, np.ndarray]
    video_end_s: float

    def __repr__(self) -> str:
        return f"RatedWindows({len(self.times)} windows, {int(self.present.sum())} with something)"

    @property
    def mean(self) -> np.ndarray:
        """What holds of the whole, from the windows with something: float64 [1 + E], or NaN."""
        said = np.concatenate([self.valence[:, None], self.probabilities], axis=1)
        if not self.present.any():
            return np.full(said.shape[1], np.nan)
        whole: np.ndarray = said[self.present].mean(axis=0, dtype=np.float64)
        return whole


def valence_from(labels: Sequence[str], rated: bool) -> str:
    """Return what a model's valence comes from: one of `RATINGS`, `EMOTIONS` and `NOTHING`.

    `rated`: whether it learnt from valences. If not, and all its emotions are in the table of
    `evidence.VALENCE`, it is what that expects of their probabilities.
    """
    if rated:
        return RATINGS
    return EMOTIONS if labels and all(label in VALENCE for label in labels) else NOTHING


def with_valence(said: np.ndarray, labels: Sequence[str], source: str) -> np.ndarray:
    """Return what a network said with the valence that it means: [N, 1 + E]; see `valence_from`."""
    if source == RATINGS:
        return said
    valence = valence_of(said[:, 1:], labels) if source == EMOTIONS else np.full(len(said), np.nan)
    return np.concatenate([valence[:, None], said[:, 1:]], axis=1)


def is_for(bundle: Bundle) -> bool:
    """Tell whether a bundle is of the kind that this module runs: one that `vmm train` made."""
    return bundle.task == "valence" and bundle.network.get("kind") == "fusion"


def check_model(bundle: Bundle, *, needs_valence: bool = False) -> None:
    """Raise ModelError where a model cannot be run, or has no valence though it needs one."""
    if not is_for(bundle):
        raise ModelError(
            f"model {bundle.name!r} was not made by `vmm train --task valence`, and rates no video"
        )
    plan_of(bundle)
    check(bundle)
    if needs_valence and bundle.network.get("valence_from") == NOTHING:
        raise ModelError(
            f"model {bundle.name!r} tells emotions alone, and nothing says how pleasant they are; "
            f"train it on rows with a valence, or on emotions called {', '.join(VALENCE)}"
        )


def valence_of_windows(
    bundle: Bundle,
    path: Path,
    *,
    start: Fraction = Fraction(0),
    end: Fraction | None = None,
    text: str | None = None,
    use_store: bool = True,
    keep_features: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> RatedWindows:
    """Rate the windows of a video between `start` and `end` seconds.

    `bundle`: verified, see `check_model`. `text`: what is known to belong to the video; None: its
    title, its description and its captions. `keep_features`: whether the store may hold features of
    faces and voices.

    Raises:
        InputError: the file cannot be read, or ends before `start`.
        ModelError: the model is damaged, was exchanged meanwhile, or needs weights not at hand.
    """
    import torch

    from vmm_cli.judge import examples, window_ratings

    model = load_trained(bundle.folder.resolve(), bundle.digest)
    video_end = media_end_s(path, max_pixels=max_pixels)
    until = wanted_until(start, end, video_end)
    chosen = windows(start, until, model.plan.window_s)
    words = ""
    if "text" in bundle.streams:
        until_s = None if end is None else float(end)
        words = text_of(text, path, start_s=float(start), end_s=until_s)
    said: list[np.ndarray] = []
    shares: dict[str, list[float]] = {stream: [] for stream in bundle.streams}
    at_once = max(1, STRETCH_STEPS // model.plan.steps)
    progress.over(float(start), float(until))
    for first in range(0, len(chosen), at_once):
        shown = window_features(
            path,
            chosen[first : first + at_once],
            model.plan,
            text=words,
            use_store=use_store,
            keep_features=keep_features,
            max_pixels=max_pixels,
        )
        batch = examples([Encoded(tuple(shown), words)], [0], bundle.streams, model.tokens)
        said.append(window_ratings(model.network, batch, torch.device("cpu")))
        for stream in bundle.streams:
            if stream in shown[0].masks:
                shares[stream] += [float(window.masks[stream].mean()) for window in shown]
            else:  # words, which have no time
                shares[stream] += [float(bool(words))] * len(shown)
    streams = {stream: np.array(share, np.float32) for stream, share in shares.items()}
    whole = with_valence(
        np.concatenate(said), bundle.labels, str(bundle.network.get("valence_from", RATINGS))
    ).astype(np.float32)
    bounds = np.array([[float(window.start), float(window.end)] for window in chosen])
    return RatedWindows(
        emotions=bundle.labels,
        times=bounds.mean(axis=1),
        start_s=bounds[:, 0],
        end_s=bounds[:, 1],
        valence=whole[:, 0],
        probabilities=whole[:, 1:],
        present=np.any([share > 0 for share in streams.values()], axis=0),
        streams=streams,
        video_end_s=float(video_end),
    )
