"""How unusual each step of a video of any length is, chunk by chunk.

What is compared of a step depends on the step before it alone; what is averaged over time is
averaged once all parts are there. So the result hangs neither on the chunks nor on who did which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vmm_cli import progress
from vmm_cli.bundles import Bundle
from vmm_cli.errors import ModelError
from vmm_cli.features.chunks import chunks_of, joined
from vmm_cli.features.grid import Window
from vmm_cli.features.windows import WindowFeatures, window_features
from vmm_cli.features.words import text_of
from vmm_cli.inference.steps import Part
from vmm_cli.inference.usual import raw_scores, surprises
from vmm_cli.inference.usual_model import UsualModel, load_usual
from vmm_cli.media.video import Video


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Some chunks of a video, compared with what is usual.

    Attributes:
        scores: by stream, float64 [T], NaN where it has nothing.
        above: by stream that has places, by how much each is above what is usual: float16 [T, D].
        end_s: where the video ends, in seconds on its clock.
    """

    scores: dict[str, np.ndarray]
    above: dict[str, np.ndarray]
    end_s: float

    @property
    def streams(self) -> frozenset[str]:
        """The streams that there are."""
        return frozenset(name for name, one in self.scores.items() if np.isfinite(one).any())


@dataclass(frozen=True, slots=True, eq=False)
class Surprise:
    """How surprising each step of a video is: -log10 of the share of usual time that is as much so.

    Attributes:
        times_s: float64 [T], of a grid of `step_s`.
        streams: the model's, in order.
        by_stream: float64 [T, S]; whole: float64 [T], of all together.
        there: bool [T]: at which steps any stream is.
        above: as of `Compared`, of the whole video.
    """

    times_s: np.ndarray
    step_s: float
    streams: tuple[str, ...]
    by_stream: np.ndarray
    whole: np.ndarray
    there: np.ndarray
    above: dict[str, np.ndarray]


def compare(
    bundle: Bundle,
    video: Video,
    part: Part | None,
    *,
    use_store: bool,
    text: str | None = None,
) -> Compared:
    """Compare the wanted part of a video, or a part of that, with what is usual.

    `text`: what is known to belong to it; None: its title, its description and its captions.

    Raises:
        InputError: the video cannot be read, or ends before the wanted time.
        ModelError: the model is damaged or was exchanged meanwhile.
    """
    model = load_usual(bundle.folder.resolve(), bundle.digest)
    layout = chunks_of(video.start, video.until_s, model.plan.rate_hz)
    own = layout if part is None else layout[part.first : part.last]
    progress.over(float(own[0].start), float(own[-1].end))
    words = text_of(text, video) if "text" in bundle.streams else ""

    def see(window: Window, kept: bool) -> WindowFeatures:
        (found,) = window_features(
            video, [window], model.plan, text=words, use_store=use_store and kept
        )
        return found

    before = None
    if part is not None and part.first > 0:
        border = layout[part.first].start  # what lies before it is kept by its neighbour
        before = see(Window(border - 1 / model.plan.rate_hz, border), False)
    pieces = []
    for chunk in own:
        here = see(chunk, True)
        pieces.append(_compared(model, here, before))
        before = here
    return Compared(
        {name: np.concatenate([one[name] for one, _ in pieces]) for name in pieces[0][0]},
        {name: np.concatenate([one[name] for _, one in pieces]) for name in pieces[0][1]},
        float(video.end_s),
    )


def _compared(
    model: UsualModel, here: WindowFeatures, before: WindowFeatures | None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the scores of a chunk's steps, by stream, and where they are, of those with places."""
    whole = here if before is None else joined([before, here])
    first = len(whole.times) - len(here.times)
    scores, above = {}, {}
    for stream in model.usual.streams:
        try:
            found = raw_scores(stream, whole.values[stream.name], whole.masks[stream.name])
        except ValueError as error:
            name = model.bundle.name
            raise ModelError(f"model {name!r} does not fit its encoders: {error}") from None
        scores[stream.name] = found[0][first:]
        if found[1] is not None:
            above[stream.name] = found[1][first:]
    return scores, above


def surprise_of_parts(bundle: Bundle, video: Video, parts: Sequence[Compared]) -> Surprise:
    """Return how surprising each step of a video is, from all its parts.

    Raises:
        ModelError: as `compare`.
    """
    model = load_usual(bundle.folder.resolve(), bundle.digest)

    def whole(name: str) -> np.ndarray:
        return np.concatenate([part.scores[name] for part in parts])

    names = tuple(stream.name for stream in model.usual.streams)
    raw = {name: whole(name) for name in names}
    by_stream, joined_ = surprises(model.usual, raw)
    step_s = float(1 / model.plan.rate_hz)
    times = float(video.start) + np.arange(len(joined_)) * step_s
    there = np.isfinite(np.stack(list(raw.values()))).any(axis=0)
    above = {name: np.concatenate([part.above[name] for part in parts]) for name in parts[0].above}
    return Surprise(times, step_s, names, by_stream, joined_, there, above)
