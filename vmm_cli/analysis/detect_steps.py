"""What a model for segments says of a video of any length, stretch by stretch.

What is said of a place depends on a known number of steps to either side of it. So the video is
gone through in pieces that overlap by those, and the result hangs neither on the pieces nor on
which worker did which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vmm_cli import progress
from vmm_cli.analysis.segments import (
    Detection,
    moving_mean,
    of_places,
    of_steps,
    steps_to_smooth,
)
from vmm_cli.bundles import Bundle
from vmm_cli.encoders.grid import Window
from vmm_cli.encoders.plan import StreamPlan, plan_of
from vmm_cli.encoders.streams import WindowFeatures, media_end_s, wanted_until, window_features
from vmm_cli.encoders.stretches import cut, joined, stretches, stretches_are_stored
from vmm_cli.encoders.words import text_of
from vmm_cli.errors import ModelError
from vmm_cli.media.source import DEFAULT_MAX_PIXELS
from vmm_cli.trained import Trained, check, load_trained

if TYPE_CHECKING:
    from vmm_cli.networks.model import FusionNetwork

# A place that is said to be something with less is noise, and there are very many of them.
LEAST_SCORE = 1e-3


@dataclass(frozen=True, slots=True)
class StepsRequest:
    """What of a video is looked at, by which model.

    Attributes:
        bundle: folder of the model; bundle_digest: `Bundle.digest` of what was resolved.
        start, end: seconds; end None: to the video's end.
    """

    bundle: Path
    bundle_digest: str
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    use_store: bool = True
    max_pixels: int = DEFAULT_MAX_PIXELS


@dataclass(frozen=True, slots=True)
class Part:
    """The stretches [first, last) of an input, for splitting one video over workers."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, eq=False)
class StepsSeen:
    """Some stretches of a video as the head is given them.

    Attributes:
        fused: float32 [T, H]; mask: bool [T].
        streams: those that the video has.
        end_s: where the video ends, in seconds on its clock.
    """

    fused: np.ndarray
    mask: np.ndarray
    streams: frozenset[str]
    end_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What happens in a video, and how each label's score runs over time.

    Attributes:
        detections: of any score from the wanted one on, in no order.
        times_s: float64 [T]; curves: float64 [T, C].
    """

    detections: list[Detection]
    times_s: np.ndarray
    curves: np.ndarray


def check_model(bundle: Bundle) -> None:
    """Raise ModelError where a model cannot be run; needs no torch."""
    plan_of(bundle)
    check(bundle)
    if bundle.network.get("head") not in ("segments", "steps"):
        raise ModelError(f"model {bundle.name!r} has a head that finds no segments")


def plan(request: StepsRequest, path: Path, bundle: Bundle, workers: int) -> list[Part | None]:
    """Return the parts to run for one video: [None] for the whole, unless splitting it pays.

    Raises:
        InputError: the video cannot be read.
    """
    wanted = plan_of(bundle)
    layout, _ = _layout(request, path, wanted)
    parts = min(workers, len(layout))
    if parts < 2 or (request.use_store and stretches_are_stored(path, layout, wanted)):
        return [None]
    bounds = [i * len(layout) // parts for i in range(parts + 1)]
    return [Part(first, last) for first, last in pairwise(bounds)]


def run(
    request: StepsRequest, path: Path, part: Part | None, *, text: str | None = None
) -> StepsSeen:
    """Look at a video, or at a part of it.

    `text`: what is known to belong to it; None: its title, its description and its captions.

    Raises:
        InputError: the video cannot be read, or ends before the wanted time.
        ModelError: the model is damaged or was exchanged meanwhile.
    """
    from vmm_cli.judge import fused_steps

    model = load_trained(request.bundle, request.bundle_digest)
    layout, end_s = _layout(request, path, model.plan)
    words = ""
    if "text" in model.bundle.streams:
        until = None if request.end is None else float(request.end)
        words = text_of(text, path, start_s=float(request.start), end_s=until)
    tokens = None if model.tokens is None else model.tokens(words)
    fused, masks = [], []
    streams: set[str] = {"text"} if words and tokens is not None else set()
    own = layout if part is None else layout[part.first : part.last]
    progress.over(float(own[0].start), float(own[-1].end))
    for shown, before, steps in _pieces(request, path, model, layout, part, words):
        x, mask = fused_steps(model.network, shown, tokens)
        fused.append(x[before : before + steps])
        masks.append(mask[before : before + steps])
        streams |= {s for s, there in shown.masks.items() if there.any()}
    return StepsSeen(np.concatenate(fused), np.concatenate(masks), frozenset(streams), float(end_s))


def found(request: StepsRequest, parts: Sequence[StepsSeen], least: float = LEAST_SCORE) -> Found:
    """Return what happens in a video, from all its parts: actions of a score from `least` on.

    Raises:
        ModelError: as `run`.
    """
    model = load_trained(request.bundle, request.bundle_digest)
    until_s = parts[0].end_s
    if request.end is not None:
        until_s = min(until_s, float(request.end))
    return of_fused(
        model.network,
        model.bundle.labels,
        np.concatenate([part.fused for part in parts]),
        np.concatenate([part.mask for part in parts]),
        rate_hz=model.plan.rate_hz,
        start_s=float(request.start),
        until_s=until_s,
        least=least,
    )


def of_fused(
    network: FusionNetwork,
    labels: Sequence[str],
    fused: np.ndarray,
    mask: np.ndarray,
    *,
    rate_hz: Fraction,
    start_s: float,
    until_s: float,
    least: float = LEAST_SCORE,
) -> Found:
    """Return what happens, from what the network's head is given: float32 [T, H], bool [T]."""
    from vmm_cli.judge import said_of_steps
    from vmm_cli.networks.pyramid import Pyramid

    said = said_of_steps(network, fused, mask)
    step_s = float(1 / rate_hz)
    if isinstance(network.head, Pyramid):
        spans = start_s + said.spans * step_s
        detections = of_places(said.chances, spans.clip(start_s, until_s), labels, least)
    else:
        detections = of_steps(said.step_chances, start_s, step_s, labels, least)
    curves = moving_mean(said.step_chances, steps_to_smooth(step_s))
    times = start_s + np.arange(len(fused)) * step_s
    return Found(list(_ended(detections, until_s)), times, curves)


def _ended(detections: Sequence[Detection], until_s: float) -> Iterator[Detection]:
    """Cut what lasts beyond the end: the last step can be shorter than the others."""
    for one in detections:
        if one.start_s < until_s:
            yield Detection(one.start_s, min(one.end_s, until_s), one.label, one.score)


def _layout(request: StepsRequest, path: Path, wanted: StreamPlan) -> tuple[list[Window], Fraction]:
    """Return the stretches to look at, and where the video ends."""
    end_s = media_end_s(path, max_pixels=request.max_pixels)
    until = wanted_until(request.start, request.end, end_s)
    return stretches(request.start, until, wanted.rate_hz), end_s


def _pieces(
    request: StepsRequest,
    path: Path,
    model: Trained,
    layout: Sequence[Window],
    part: Part | None,
    text: str,
) -> Iterator[tuple[WindowFeatures, int, int]]:
    """Yield each stretch with what it depends on beside it: how many steps come before it, its own.

    Where a neighbour is another worker's, only so much of it is looked at.
    """
    beside = model.network.reach
    assert beside is not None  # see `Trained`
    first, last = (0, len(layout)) if part is None else (part.first, part.last)
    length = beside / model.plan.rate_hz

    def seen(window: Window, use_store: bool = request.use_store) -> WindowFeatures:
        (shown,) = window_features(
            path,
            [window],
            model.plan,
            text=text,
            use_store=use_store,
            max_pixels=request.max_pixels,
        )
        return shown

    before = after = None
    if first > 0:
        border = layout[first].start
        before = seen(Window(max(border - length, layout[0].start), border), use_store=False)
    if last < len(layout):
        border = layout[last].start
        after = Window(border, min(border + length, layout[-1].end))
    coming = chain(
        (seen(stretch) for stretch in layout[first:last]),
        (seen(window, use_store=False) for window in (after,) if window is not None),
    )
    here = next(coming)
    for _ in range(first, last):
        following = next(coming, None)
        parts = [here]
        if before is not None:
            parts.insert(0, cut(before, max(0, len(before.times) - beside), len(before.times)))
        if following is not None:
            parts.append(cut(following, 0, min(beside, len(following.times))))
        steps_before = len(parts[0].times) if before is not None else 0
        yield joined(parts), steps_before, len(here.times)
        if following is None:
            return
        before, here = here, following
