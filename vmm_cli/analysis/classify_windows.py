"""What a video shows, by a model that was trained on windows of several streams.

A video no longer than the model's window is judged at once, a longer one in windows that each
overlap the next by half; a label's score is the mean of its probability over the windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm_cli import progress
from vmm_cli.analysis.classify import (
    SCORE_DIGITS,
    SUPPORT_TIMES,
    TIME_DIGITS,
    Classification,
    LabelScore,
)
from vmm_cli.analysis.classify import Window as TimelineWindow
from vmm_cli.bundle import Bundle
from vmm_cli.encoders.grid import Window, windows
from vmm_cli.encoders.plan import plan_of
from vmm_cli.encoders.streams import (
    Encoded,
    WindowFeatures,
    window_features,
)
from vmm_cli.encoders.words import text_of
from vmm_cli.errors import InputError
from vmm_cli.media.source import DEFAULT_MAX_PIXELS
from vmm_cli.media.video import Video
from vmm_cli.trained import Trained, check, load_trained

if TYPE_CHECKING:
    from vmm_cli.batch.inputs import Input

# Long videos are encoded in stretches of windows with so many steps in all, about one minute: the
# features of a step, of the whole picture and of three crops, are 20 KB, and a stretch takes 10 MB.
STRETCH_STEPS = 480
# Seconds that are hidden at a time to see whether they mattered.
OCCLUSION_S = 0.5


@dataclass(frozen=True)
class WindowsRequest:
    """What is wanted of every input; see `windows_request`.

    Attributes:
        bundle: folder of the model; bundle_digest: `Bundle.digest` of what was resolved.
        start, end: the part of the video to judge, seconds; end None: to its end.
        windows_s: length of a timeline's cells in seconds; None: no timeline.
        explain: whether to find out what the decision rests on.
    """

    bundle: Path
    bundle_digest: str
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    top_k: int = 5
    windows_s: float | None = None
    explain: bool = False
    use_store: bool = True
    max_pixels: int = DEFAULT_MAX_PIXELS

    def video(self, input: Input) -> Video:
        """Return an input's wanted part."""
        return Video(input.path, self.max_pixels, self.start, self.end)


@dataclass(frozen=True, slots=True)
class Part:
    """The windows [first, last) of an input, for splitting one video over workers."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, eq=False)
class WindowScores:
    """Some windows of a video judged.

    Attributes:
        windows: W of them.
        chances: float64 [W, C], each label's probability.
        streams: those that the video has.
        text: what was read with it.
        end_s: where the video ends, in seconds on its clock.
        shown: what was seen, where it is all in one stretch and is to be explained.
    """

    windows: Sequence[Window]
    chances: np.ndarray
    streams: frozenset[str]
    text: str
    end_s: float
    shown: Sequence[WindowFeatures] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the score of a label in one window rests on.

    Attributes:
        score: the label's probability.
        without: by stream, its probability when that stream is hidden.
        seconds: begin, end and by how much the probability falls when just that is hidden.
    """

    label: str
    window: Window
    score: float
    without: Mapping[str, float]
    seconds: tuple[tuple[float, float, float], ...]

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types, rounded."""
        return {
            "label": self.label,
            "start_s": round(float(self.window.start), TIME_DIGITS),
            "end_s": round(float(self.window.end), TIME_DIGITS),
            "score": round(self.score, SCORE_DIGITS),
            "without": {s: round(p, SCORE_DIGITS) for s, p in self.without.items()},
            "seconds": [
                {
                    "start_s": round(begin, TIME_DIGITS),
                    "end_s": round(end, TIME_DIGITS),
                    "drop": round(drop, SCORE_DIGITS),
                }
                for begin, end, drop in self.seconds
            ],
        }


def is_for(bundle: Bundle) -> bool:
    """Tell whether a bundle is of the kind that this module runs."""
    return bundle.task == "classes" and bundle.network.get("kind") == "fusion"


def windows_request(
    bundle: Bundle,
    *,
    start: Fraction = Fraction(0),
    end: Fraction | None = None,
    top_k: int = 5,
    windows_s: float | None = None,
    explain: bool = False,
    use_store: bool = True,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> WindowsRequest:
    """Return what is wanted of every input.

    Raises:
        ModelError: the model needs encoders that are not at hand, or its parts do not fit.
    """
    plan_of(bundle)
    check(bundle)
    return WindowsRequest(
        bundle=bundle.folder.resolve(),
        bundle_digest=bundle.digest,
        start=start,
        end=end,
        top_k=top_k,
        windows_s=windows_s,
        explain=explain,
        use_store=use_store,
        max_pixels=max_pixels,
    )


# --- the work: plan, run, finish ---------------------------------------------------------------


def plan(request: WindowsRequest, input: Input, workers: int) -> list[Part | None]:
    """Return the parts to run for one input: [None] for the whole, unless splitting it pays.

    Raises:
        InputError: the input cannot be read.
    """
    model = load_trained(request.bundle, request.bundle_digest)
    chosen = _windows(request.video(input), model)
    stretches = ceil(len(chosen) / _stretch(model))
    parts = min(workers, stretches)
    if parts < 2:
        return [None]
    bounds = [i * stretches // parts * _stretch(model) for i in range(parts + 1)]
    return [Part(first, last) for first, last in pairwise(bounds)]


def run(
    request: WindowsRequest, input: Input, part: Part | None, *, text: str | None = None
) -> WindowScores:
    """Judge the windows of an input, or of a part of it.

    `text`: what is known to belong to it; None: its title, its description and its captions.

    Raises:
        InputError: the input cannot be read, or ends before the wanted time.
        ModelError: the model is damaged or was exchanged meanwhile.
    """
    model = load_trained(request.bundle, request.bundle_digest)
    video = request.video(input)
    chosen = _windows(video, model)
    if part is not None:
        chosen = chosen[part.first : part.last]
    words = text_of(text, video) if "text" in model.bundle.streams else ""
    chances: list[np.ndarray] = []
    streams: set[str] = set()
    shown: list[WindowFeatures] = []
    progress.over(float(chosen[0].start), float(chosen[-1].end))
    for first in range(0, len(chosen), _stretch(model)):
        shown = _seen(request, model, video, chosen[first : first + _stretch(model)], words)
        chances.append(judged(model, shown, words))
        streams |= {s for window in shown for s, mask in window.masks.items() if mask.any()}
    if words and model.tokens is not None:
        streams.add("text")
    keep = request.explain and part is None and len(chances) == 1
    return WindowScores(
        chosen,
        np.concatenate(chances),
        frozenset(streams),
        words,
        float(video.end_s),
        shown if keep else (),
    )


def _seen(
    request: WindowsRequest, model: Trained, video: Video, chosen: Sequence[Window], text: str
) -> list[WindowFeatures]:
    return window_features(video, chosen, model.plan, text=text, use_store=request.use_store)


def finish(
    request: WindowsRequest, input: Input, parts: Sequence[WindowScores]
) -> Classification:
    """Return what one input shows, from all its parts.

    Raises:
        InputError: `no_stream`: it has nothing that the model looks at.
    """
    model = load_trained(request.bundle, request.bundle_digest)
    bundle = model.bundle
    streams = frozenset().union(*(part.streams for part in parts))
    require_streams(bundle, streams)
    whole = [window for part in parts for window in part.windows]
    chances = np.concatenate([part.chances for part in parts])
    timeline = request.windows_s is not None
    return Classification(
        max(part.end_s for part in parts),
        bundle.name,
        bundle.version,
        _labels(request, bundle, whole, chances, chances.mean(axis=0)),
        tuple(_cells(request, bundle, whole, chances)) if timeline else None,
        streams=tuple(stream for stream in bundle.streams if stream in streams),
        explanation=_explained(request, model, input, parts, chances) if request.explain else None,
    )


def _explained(
    request: WindowsRequest,
    model: Trained,
    input: Input,
    parts: Sequence[WindowScores],
    chances: np.ndarray,
) -> Explanation:
    """Explain the best label by the window that speaks most for it.

    That one is looked at again, with its stretch, unless it is still there.
    """
    label = int(chances.mean(axis=0).argmax())
    place = int(chances[:, label].argmax())
    shown = parts[0].shown
    if not shown:
        whole = [window for part in parts for window in part.windows]
        first = place // _stretch(model) * _stretch(model)
        stretch = whole[first : first + _stretch(model)]
        shown = _seen(request, model, request.video(input), stretch, parts[0].text)
        place -= first
    return explain(model, shown[place], label, parts[0].text)


def require_streams(bundle: Bundle, streams: frozenset[str]) -> None:
    """Raise InputError where a video has nothing that the model looks at."""
    if not streams:
        raise InputError(
            "no_stream", f"it has nothing that the model looks at: {', '.join(bundle.streams)}"
        )


def _windows(video: Video, model: Trained) -> list[Window]:
    """Return the windows to judge."""
    return windows(video.start, video.until_s, model.plan.window_s)


def _labels(
    request: WindowsRequest,
    bundle: Bundle,
    shown: Sequence[Window],
    chances: np.ndarray,
    scores: np.ndarray,
) -> tuple[LabelScore, ...]:
    """Return the best labels with the middles of the windows that speak most for them."""
    labels = []
    for column in np.argsort(-scores, kind="stable")[: request.top_k]:
        strongest = np.argsort(-chances[:, column], kind="stable")[:SUPPORT_TIMES]
        middles = [float(shown[i].start + shown[i].end) / 2 for i in sorted(strongest)]
        labels.append(LabelScore(bundle.labels[column], float(scores[column]), tuple(middles)))
    return tuple(labels)


def _cells(
    request: WindowsRequest, bundle: Bundle, shown: Sequence[Window], chances: np.ndarray
) -> Iterator[TimelineWindow]:
    """Yield the timeline."""
    assert request.windows_s is not None
    for cell in cells(shown, request.windows_s):
        near = chances[cell.first : cell.last]
        over = shown[cell.first : cell.last]
        labels = _labels(request, bundle, over, near, cell.shares @ near)
        yield TimelineWindow(cell.start_s, cell.end_s, labels)


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """A part [start_s, end_s) of a timeline, and the windows [first, last) that cover it.

    shares: float64 [last - first], by how much each covers it; they add up to 1.
    """

    start_s: float
    end_s: float
    first: int
    last: int
    shares: np.ndarray


def cells(shown: Sequence[Window], length_s: float) -> Iterator[Cell]:
    """Yield the cells of a timeline over windows that follow each other."""
    starts = np.array([float(window.start) for window in shown])
    ends = np.array([float(window.end) for window in shown])
    number = max(1, ceil((ends[-1] - starts[0]) / length_s - 1e-6))
    for i in range(number):
        begin = float(starts[0] + i * length_s)
        end = float(min(begin + length_s, ends[-1]))
        first = int(np.searchsorted(ends, begin, side="right"))
        last = int(np.searchsorted(starts, end, side="left"))
        cover = np.minimum(ends[first:last], end) - np.maximum(starts[first:last], begin)
        yield Cell(begin, end, first, last, cover / cover.sum())


# --- judging -----------------------------------------------------------------------------------


def _stretch(model: Trained) -> int:
    """Return how many windows are encoded at once."""
    return max(1, STRETCH_STEPS // model.plan.steps)


def judged(model: Trained, shown: Sequence[WindowFeatures], text: str) -> np.ndarray:
    """Return the probabilities of some windows: float64 [W, C]."""
    import torch

    from vmm_cli.judge import examples, window_probabilities

    batch = examples([Encoded(tuple(shown), text)], [0], model.bundle.streams, model.tokens)
    return window_probabilities(model.network, batch, torch.device("cpu"), model.multi_label)


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
    chances = judged(model, [shown, *hidden], text)[:, label]
    score = float(chances[0])
    without = dict(zip(present, map(float, chances[1 : 1 + len(present)]), strict=True))
    if text and model.tokens is not None:
        without["text"] = float(judged(model, [shown], "")[0, label])
    ends = [*(float(shown.times[block.start]) for block in blocks[1:]), float(shown.window.end)]
    seconds = [
        (float(shown.times[block.start]), end, score - float(chance))
        for block, end, chance in zip(blocks, ends, chances[1 + len(present) :], strict=True)
    ]
    return Explanation(model.bundle.labels[label], shown.window, score, without, tuple(seconds))


def _blocks(shown: WindowFeatures) -> list[slice]:
    """Return the steps of each stretch that is hidden at a time."""
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
