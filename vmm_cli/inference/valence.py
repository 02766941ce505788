"""How pleasant a video is over time, and which emotion it shows, by a network that vmm trained.

The network sees windows that each overlap the next by half, as in training; long videos are gone
through in chunks of them, so that memory does not grow with their length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vmm_cli.analysis.sentiment.evidence import VALENCE, valence_of
from vmm_cli.bundles import Bundle
from vmm_cli.errors import ModelError
from vmm_cli.features.grid import windows
from vmm_cli.features.plan import plan_of
from vmm_cli.features.windows import Encoded
from vmm_cli.inference.examples import examples
from vmm_cli.inference.load import check, load_trained
from vmm_cli.inference.network import window_ratings
from vmm_cli.inference.windows import reader
from vmm_cli.media.video import Video

# What a model's valence comes from; see `valence_from`.
RATINGS, EMOTIONS, NOTHING = "ratings", "emotions", "nothing"


@dataclass(frozen=True, eq=False)
class RatedWindows:
    """Predictions for the windows of a video, N of them, in order.

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
        by_window = np.concatenate([self.valence[:, None], self.probabilities], axis=1)
        if not self.present.any():
            return np.full(by_window.shape[1], np.nan)
        whole: np.ndarray = by_window[self.present].mean(axis=0, dtype=np.float64)
        return whole


def valence_from(labels: Sequence[str], rated: bool) -> str:
    """Return what a model's valence comes from: one of `RATINGS`, `EMOTIONS` and `NOTHING`.

    `rated`: whether it learnt from valences. If not, and all its emotions are in the table of
    `evidence.VALENCE`, it is what that expects of their probabilities.
    """
    if rated:
        return RATINGS
    return EMOTIONS if labels and all(label in VALENCE for label in labels) else NOTHING


def with_valence(outputs: np.ndarray, labels: Sequence[str], source: str) -> np.ndarray:
    """Return the outputs of a network with the valence that they mean: [N, 1 + E]."""
    if source == RATINGS:
        return outputs
    valence = (
        valence_of(outputs[:, 1:], labels) if source == EMOTIONS else np.full(len(outputs), np.nan)
    )
    return np.concatenate([valence[:, None], outputs[:, 1:]], axis=1)


def is_for(bundle: Bundle) -> bool:
    """Tell whether a bundle is of the kind that this module runs: one that `vmm train` made."""
    return bundle.task == "valence" and bundle.network.get("kind") == "fusion"


def check_valence_model(bundle: Bundle, *, needs_valence: bool = False) -> None:
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


def rate_windows(
    bundle: Bundle,
    video: Video,
    *,
    text: str | None = None,
    use_store: bool = True,
    keep_features: bool = False,
) -> RatedWindows:
    """Rate the windows of the wanted part of a video.

    `bundle`: verified, see `check_valence_model`. `text`: what is known to belong to the video;
    None: its title, its description and its captions. `keep_features`: whether the store may hold
    features of faces and voices.

    Raises:
        InputError: the file cannot be read, or ends before the wanted part.
        ModelError: the model is damaged, was exchanged meanwhile, or needs weights not at hand.
    """
    model = load_trained(bundle.folder.resolve(), bundle.digest)
    network = model.windows
    assert network is not None  # see `check_valence_model`
    chosen = windows(video.start, video.until_s, model.plan.window_s)
    look = reader(model, video, text=text, use_store=use_store, keep_features=keep_features)
    outputs: list[np.ndarray] = []
    shares: dict[str, list[float]] = {stream: [] for stream in bundle.streams}
    for shown in look.chunks(chosen):
        batch = examples([Encoded(tuple(shown), look.text)], [0], bundle.streams, model.tokens)
        outputs.append(window_ratings(network, batch))
        for stream in bundle.streams:
            if stream in shown[0].masks:
                shares[stream] += [float(window.masks[stream].mean()) for window in shown]
            else:  # words, which have no time
                shares[stream] += [float(bool(look.text))] * len(shown)
    streams = {stream: np.array(share, np.float32) for stream, share in shares.items()}
    whole = with_valence(
        np.concatenate(outputs), bundle.labels, str(bundle.network.get("valence_from", RATINGS))
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
        video_end_s=float(video.end_s),
    )
