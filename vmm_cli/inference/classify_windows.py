"""What a video shows, by a model that was trained on windows of several streams.

A video no longer than the model's window is judged at once, a longer one in windows that each
overlap the next by half; a label's score is the mean of its probability over the windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vmm_cli.analysis.labels import (
    SUPPORT_TIMES,
    Classification,
    Explanation,
    LabelledWindow,
    LabelScore,
)
from vmm_cli.bundles import Bundle
from vmm_cli.errors import InputError
from vmm_cli.features.grid import Window, windows
from vmm_cli.features.plan import plan_of
from vmm_cli.features.windows import WindowFeatures
from vmm_cli.inference.load import Trained, check, load_trained
from vmm_cli.inference.windows import (
    Reader,
    explain,
    probabilities_of,
    reader,
    windows_per_chunk,
)
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.media.video import Video

if TYPE_CHECKING:
    from vmm_cli.batch.inputs import Input


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
    tells_sources: ClassVar[bool] = False

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
        shown: what was seen, where it is all in one chunk and is to be explained.
    """

    windows: Sequence[Window]
    chances: np.ndarray
    streams: frozenset[str]
    text: str
    end_s: float
    shown: Sequence[WindowFeatures] = ()


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
    at_once = windows_per_chunk(model.plan)
    chunks = ceil(len(chosen) / at_once)
    parts = min(workers, chunks)
    if parts < 2:
        return [None]
    bounds = [i * chunks // parts * at_once for i in range(parts + 1)]
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
    look = reader(model, video, text=text, use_store=request.use_store)
    chances: list[np.ndarray] = []
    streams: set[str] = set()
    shown: list[WindowFeatures] = []
    for shown in look.chunks(chosen):
        chances.append(probabilities_of(model, shown, look.text))
        streams |= {s for window in shown for s, mask in window.masks.items() if mask.any()}
    if look.text and model.tokens is not None:
        streams.add("text")
    keep = request.explain and part is None and len(chances) == 1
    return WindowScores(
        chosen,
        np.concatenate(chances),
        frozenset(streams),
        look.text,
        float(video.end_s),
        shown if keep else (),
    )


def finish(request: WindowsRequest, input: Input, parts: Sequence[WindowScores]) -> Classification:
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

    That one is looked at again, with its chunk, unless it is still there.
    """
    label = int(chances.mean(axis=0).argmax())
    place = int(chances[:, label].argmax())
    shown = parts[0].shown
    if not shown:
        whole = [window for part in parts for window in part.windows]
        at_once = windows_per_chunk(model.plan)
        first = place // at_once * at_once
        look = Reader(model, request.video(input), parts[0].text, request.use_store)
        shown = look.see(whole[first : first + at_once])
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
) -> Iterator[LabelledWindow]:
    """Yield the timeline."""
    assert request.windows_s is not None
    for cell in cells(shown, request.windows_s):
        near = chances[cell.first : cell.last]
        over = shown[cell.first : cell.last]
        labels = _labels(request, bundle, over, near, cell.shares @ near)
        yield LabelledWindow(cell.start_s, cell.end_s, labels)


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
