"""A trained network on the windows of a video: chunk by chunk, so that memory stays level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vmm_cli import progress
from vmm_cli.analysis.calibration import tempered
from vmm_cli.analysis.labels import Explanation
from vmm_cli.features.grid import Window
from vmm_cli.features.plan import StreamPlan
from vmm_cli.features.windows import Encoded, WindowFeatures, window_features
from vmm_cli.features.words import text_of
from vmm_cli.inference.examples import examples
from vmm_cli.inference.load import Trained
from vmm_cli.inference.network import window_probabilities
from vmm_cli.media.video import Video

# Windows are encoded in chunks with so many steps in all, two minutes at two steps a second with
# windows that overlap by half: the features of a step, of the whole picture and of three crops, are
# 20 KB, and a chunk takes 10 MB.
CHUNK_STEPS = 480
# Seconds that are hidden at a time to see whether they mattered.
OCCLUSION_S = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """How a trained model looks at one video.

    Attributes:
        text: what is read with the video; "" where there is nothing, or the model reads nothing.
        keep_features: whether the store may hold what is of faces and voices, too.
    """

    model: Trained
    video: Video
    text: str
    use_store: bool = True
    keep_features: bool = False

    def see(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        """Return what a run of windows shows. InputError where the file cannot be read."""
        return window_features(
            self.video,
            windows,
            self.model.plan,
            text=self.text,
            use_store=self.use_store,
            keep_features=self.keep_features,
        )

    def chunks(self, windows: Sequence[Window]) -> Iterator[list[WindowFeatures]]:
        """Yield what the windows show, in chunks, as they are asked for."""
        progress.over(float(windows[0].start), float(windows[-1].end))
        at_once = windows_per_chunk(self.model.plan)
        for first in range(0, len(windows), at_once):
            yield self.see(windows[first : first + at_once])


def reader(
    model: Trained,
    video: Video,
    *,
    text: str | None = None,
    use_store: bool = True,
    keep_features: bool = False,
) -> Reader:
    """Return how a model looks at a video.

    `text`: what is known to belong to it; None: its title, its description and its captions.

    Raises:
        InputError: the file cannot be read.
    """
    words = text_of(text, video) if "text" in model.bundle.streams else ""
    return Reader(model, video, words, use_store, keep_features)


def windows_per_chunk(plan: StreamPlan) -> int:
    """Return how many windows are encoded at once."""
    return max(1, CHUNK_STEPS // plan.steps)


def probabilities_of(model: Trained, shown: Sequence[WindowFeatures], text: str) -> np.ndarray:
    """Return the probabilities of a model's labels in some windows: float64 [W, C]."""
    assert model.windows is not None  # a model for windows: see `classify_windows.is_for`
    batch = examples([Encoded(tuple(shown), text)], [0], model.bundle.streams, model.tokens)
    chances = window_probabilities(model.windows, batch, model.multi_label)
    return tempered(chances, model.temperature, model.multi_label)


# --- what a score rests on -----------------------------------------------------------------------


def explain(model: Trained, shown: WindowFeatures, label: int, text: str) -> Explanation:
    """Find out what a label's score rests on, by hiding streams and seconds in turn.

    What is written has no time: it stays when seconds are hidden. Occlusion, as of Zeiler and
    Fergus (2014).
    """
    present = [s for s, mask in shown.masks.items() if mask.any()]
    timed = [s for s in present if s != "text"]
    blocks = _blocks(shown)
    hidden = [
        *(_hide(shown, [stream], slice(None)) for stream in present),
        *(_hide(shown, timed, block) for block in blocks),
    ]
    probabilities = probabilities_of(model, [shown, *hidden], text)[:, label]
    score = float(probabilities[0])
    without = dict(zip(present, map(float, probabilities[1 : 1 + len(present)]), strict=True))
    if text and model.tokens is not None:
        without["text"] = float(probabilities_of(model, [shown], "")[0, label])
    ends = [*(float(shown.times[block.start]) for block in blocks[1:]), float(shown.window.end)]
    seconds = [
        (float(shown.times[block.start]), end, score - float(probability))
        for block, end, probability in zip(
            blocks, ends, probabilities[1 + len(present) :], strict=True
        )
    ]
    begin_s, end_s = float(shown.window.start), float(shown.window.end)
    name = model.bundle.labels[label]
    return Explanation(name, begin_s, end_s, score, without, tuple(seconds))


def _blocks(shown: WindowFeatures) -> list[slice]:
    """Return the steps that are hidden at a time."""
    steps = len(shown.times)
    step_s = float(shown.times[1] - shown.times[0]) if steps > 1 else OCCLUSION_S
    size = max(1, round(OCCLUSION_S / step_s))
    return [slice(first, min(first + size, steps)) for first in range(0, steps, size)]


def _hide(shown: WindowFeatures, streams: Sequence[str], steps: slice) -> WindowFeatures:
    masks = dict(shown.masks)
    for stream in streams:
        masks[stream] = masks[stream].copy()
        masks[stream][steps] = False
    return replace(shown, masks=masks)
