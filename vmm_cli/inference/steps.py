"""Predictions of a model for segments, for a video of any length, chunk by chunk.

An output depends on a known number of steps to either side: the receptive field. So the video is
gone through in pieces that overlap by those, and the result hangs neither on the pieces nor on
which worker did which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, pairwise

import numpy as np

from vmm_cli import progress
from vmm_cli.analysis.calibration import Platt, platt_of
from vmm_cli.analysis.segments import (
    Detection,
    from_anchors,
    from_steps,
    moving_mean,
    rescored,
    steps_to_smooth,
)
from vmm_cli.bundles import Bundle
from vmm_cli.errors import ModelError
from vmm_cli.features.chunks import chunks_are_stored, chunks_of, cut, joined
from vmm_cli.features.grid import Window
from vmm_cli.features.plan import StreamPlan, plan_of
from vmm_cli.features.windows import WindowFeatures
from vmm_cli.inference.load import Trained, check, load_trained
from vmm_cli.inference.network import OF_STEPS, StepNetwork, fused_steps, predict_steps
from vmm_cli.inference.windows import Reader, reader
from vmm_cli.media.video import Video

# Less at an anchor point is noise, and there are very many of them.
MIN_SCORE = 1e-3
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Part:
    """The chunks [first, last) of an input, for splitting one video over workers."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, eq=False)
class FusedSteps:
    """Some chunks of a video as the head is given them.

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


def check_segment_model(bundle: Bundle) -> None:
    """Raise ModelError where a model cannot be run; needs no torch."""
    plan_of(bundle)
    check(bundle)
    if bundle.network.get("head") not in OF_STEPS:
        raise ModelError(f"model {bundle.name!r} has a head that finds no segments")


def plan_steps(bundle: Bundle, video: Video, workers: int, *, use_store: bool) -> list[Part | None]:
    """Return the parts to run for one video: [None] for the whole, unless splitting it pays.

    Raises:
        InputError: the video cannot be read.
    """
    wanted = plan_of(bundle)
    layout = _layout(video, wanted)
    parts = min(workers, len(layout))
    if parts < 2 or (use_store and chunks_are_stored(video, layout, wanted)):
        return [None]
    bounds = [i * len(layout) // parts for i in range(parts + 1)]
    return [Part(first, last) for first, last in pairwise(bounds)]


def run_steps(
    bundle: Bundle,
    video: Video,
    part: Part | None,
    *,
    use_store: bool,
    text: str | None = None,
) -> FusedSteps:
    """Look at the wanted part of a video, or at a part of that.

    `text`: what is known to belong to it; None: its title, its description and its captions.

    Raises:
        InputError: the video cannot be read, or ends before the wanted time.
        ModelError: the model is damaged or was exchanged meanwhile.
    """
    model = load_trained(bundle.folder.resolve(), bundle.digest)
    layout = _layout(video, model.plan)
    look = reader(model, video, text=text, use_store=use_store)
    tokens = None if model.tokens is None else model.tokens(look.text)
    fused, masks = [], []
    streams: set[str] = {"text"} if look.text and tokens is not None else set()
    own = layout if part is None else layout[part.first : part.last]
    progress.over(float(own[0].start), float(own[-1].end))
    for shown, before, steps in _pieces(look, layout, part):
        x, mask = fused_steps(_steps_of(model), shown, tokens)
        fused.append(x[before : before + steps])
        masks.append(mask[before : before + steps])
        streams |= {s for s, there in shown.masks.items() if there.any()}
    return FusedSteps(
        np.concatenate(fused), np.concatenate(masks), frozenset(streams), float(video.end_s)
    )


def find_segments(
    bundle: Bundle, video: Video, parts: Sequence[FusedSteps], min_score: float = 0.0
) -> Found:
    """Return what happens in a video, from all its parts: actions of a score from `min_score` on.

    Scores are calibrated where the model says how; below `MIN_SCORE` before that there is none.

    Raises:
        ModelError: as `run`.
    """
    model = load_trained(bundle.folder.resolve(), bundle.digest)
    until_s = parts[0].end_s
    if video.end is not None:
        until_s = min(until_s, float(video.end))
    calibration = platt_of(model.bundle.thresholds)
    if calibration != Platt():
        # A rounding lower, as there and back again gives not the very number.
        min_score = calibration.before(min_score) * (1 - ROUNDING)
    found = segments_from_fused(
        _steps_of(model),
        model.bundle.labels,
        np.concatenate([part.fused for part in parts]),
        np.concatenate([part.mask for part in parts]),
        rate_hz=model.plan.rate_hz,
        start_s=float(video.start),
        until_s=until_s,
        min_score=max(MIN_SCORE, min_score),
    )
    return replace(found, detections=rescored(found.detections, calibration))


def segments_from_fused(
    network: StepNetwork,
    labels: Sequence[str],
    fused: np.ndarray,
    mask: np.ndarray,
    *,
    rate_hz: Fraction,
    start_s: float,
    until_s: float,
    min_score: float = MIN_SCORE,
) -> Found:
    """Return what happens, from what the network's head is given: float32 [T, H], bool [T]."""
    predictions = predict_steps(network, fused, mask)
    step_s = float(1 / rate_hz)
    if network.levels:
        spans = start_s + predictions.spans * step_s
        detections = from_anchors(
            predictions.probabilities, spans.clip(start_s, until_s), labels, min_score
        )
    else:
        detections = from_steps(predictions.step_probabilities, start_s, step_s, labels, min_score)
    curves = moving_mean(predictions.step_probabilities, steps_to_smooth(step_s))
    times = start_s + np.arange(len(fused)) * step_s
    return Found(list(_ended(detections, until_s)), times, curves)


def _ended(detections: Sequence[Detection], until_s: float) -> Iterator[Detection]:
    """Cut what lasts beyond the end: the last step can be shorter than the others."""
    for one in detections:
        if one.start_s < until_s:
            yield Detection(one.start_s, min(one.end_s, until_s), one.label, one.score)


def _steps_of(model: Trained) -> StepNetwork:
    assert model.steps is not None  # see `check_segment_model`
    return model.steps


def _layout(video: Video, wanted: StreamPlan) -> list[Window]:
    """Return the chunks to look at."""
    return chunks_of(video.start, video.until_s, wanted.rate_hz)


def _pieces(
    look: Reader, layout: Sequence[Window], part: Part | None
) -> Iterator[tuple[WindowFeatures, int, int]]:
    """Yield each chunk with what it depends on beside it: how many steps come before it, its own.

    Where a neighbour is another worker's, only so much of it is looked at.
    """
    model = look.model
    beside = _steps_of(model).beside
    first, last = (0, len(layout)) if part is None else (part.first, part.last)
    length = beside / model.plan.rate_hz

    # What lies beside a part is kept by its neighbour.
    look_beside = replace(look, use_store=False)

    before = after = None
    if first > 0:
        border = layout[first].start
        (before,) = look_beside.see([Window(max(border - length, layout[0].start), border)])
    if last < len(layout):
        border = layout[last].start
        after = Window(border, min(border + length, layout[-1].end))
    coming = chain(
        (look.see([chunk])[0] for chunk in layout[first:last]),
        (look_beside.see([window])[0] for window in (after,) if window is not None),
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
