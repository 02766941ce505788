"""When what happens in a video of any length.

A model for segments says where actions begin and end: see `vmm_cli.inference.steps`. A model for
classes is slid over the video: each half a window, or each picture, its labels have a probability,
and where that is high enough for a while something happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm_cli.analysis import classify, classify_windows
from vmm_cli.analysis.classify import SCORE_DIGITS, TIME_DIGITS
from vmm_cli.analysis.segments import Detection, from_cells, tidied
from vmm_cli.bundles import Bundle
from vmm_cli.encoders.plan import plan_of
from vmm_cli.errors import ModelError, UsageError
from vmm_cli.inference.steps import (
    MIN_SCORE,
    FusedSteps,
    check_segment_model,
    find_segments,
    plan_steps,
    run_steps,
)
from vmm_cli.media.source import DEFAULT_MAX_PIXELS
from vmm_cli.media.video import Video
from vmm_cli.spelling import spelling_of
from vmm_cli.suggest import did_you_mean

if TYPE_CHECKING:
    from vmm_cli.batch.inputs import Input

SCHEMA = "vmm.detect-actions/1"
CLASSES_THRESHOLD = 0.5  # of a model for classes, which has none of its own
MOST_LABELS_LISTED = 12
# Labels of a model for classes that never reach this are not drawn: there can be a thousand.
LEAST_DRAWN = 0.05


@dataclass(frozen=True)
class DetectRequest:
    """What is wanted of every input; see `detect_request`.

    Attributes:
        start, end: the part of the video to look at, seconds; end None: to its end.
        labels: those that count; None: all of the model.
        min_score: from which on an action counts; min_duration_s: how long it is at least.
        merge_gap_s: two of one label that are no further apart become one; 0: never.
        scores: whether each label's score over time is wanted, for drawing.
    """

    bundle: Bundle
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    labels: tuple[str, ...] | None = None
    min_score: float = CLASSES_THRESHOLD
    min_duration_s: float = 0.0
    merge_gap_s: float = 0.0
    scores: bool = False
    use_store: bool = True
    max_pixels: int = DEFAULT_MAX_PIXELS

    @property
    def bundle_digest(self) -> str:
        """What stands for the whole model."""
        return self.bundle.digest

    def video(self, input: Input) -> Video:
        """Return an input's wanted part."""
        return Video(input.path, self.max_pixels, self.start, self.end)


def detect_request(
    bundle: Bundle,
    *,
    labels: Sequence[str] | None = None,
    min_score: float | None = None,
    min_duration_s: float = 0.0,
    merge_gap_s: float = 0.0,
    start: Fraction = Fraction(0),
    end: Fraction | None = None,
    scores: bool = False,
    use_store: bool = True,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> DetectRequest:
    """Check what the user asked for against the model.

    `min_score` None: the model's own threshold.

    Raises:
        UsageError: the model does not know a label.
        ModelError: the model finds no actions, needs encoders that are not at hand, or its parts do
            not fit.
    """
    if bundle.task not in ("segments", "classes") or not bundle.labels:
        hint = classify.RUN_BY["valence"] if bundle.task == "valence" else ""
        raise ModelError(f"model {bundle.name!r} is for {bundle.task}, not for actions{hint}")
    if labels is not None:
        labels = [*dict.fromkeys(map(spelling_of(bundle.labels), labels))]
    for label in labels or ():
        if label not in bundle.labels:
            raise UsageError(_unknown(bundle, label))
    request = DetectRequest(
        bundle=bundle,
        start=start,
        end=end,
        labels=None if labels is None else tuple(labels),
        min_score=bundle.thresholds.get("score", CLASSES_THRESHOLD)
        if min_score is None
        else min_score,
        min_duration_s=min_duration_s,
        merge_gap_s=merge_gap_s,
        scores=scores,
        use_store=use_store,
        max_pixels=max_pixels,
    )
    if bundle.task == "segments":
        check_segment_model(bundle)
    elif classify_windows.is_for(bundle):
        _windows(request)  # says now what is wrong with the model
    else:
        _pictures(request)
    return request


def _unknown(bundle: Bundle, label: str) -> str:
    there = ", ".join(bundle.labels[:MOST_LABELS_LISTED])
    more = len(bundle.labels) - MOST_LABELS_LISTED
    listed = f"{there} and {more} more" if more > 0 else there
    hint = did_you_mean(label, bundle.labels) or ";"
    return f"model {bundle.name!r} has no label {label!r}{hint} it knows {listed}"


def _windows(request: DetectRequest) -> classify_windows.WindowsRequest:
    return classify_windows.windows_request(
        request.bundle,
        start=request.start,
        end=request.end,
        use_store=request.use_store,
        max_pixels=request.max_pixels,
    )


def _pictures(request: DetectRequest) -> classify.ClassifyRequest:
    return classify.classify_request(
        request.bundle,
        start=request.start,
        end=request.end,
        device="cpu",
        use_store=request.use_store,
        max_pixels=request.max_pixels,
    )


# --- the work: plan, run, finish ---------------------------------------------------------------


def plan(request: DetectRequest, input: Input, workers: int) -> list[Any]:
    """Return the parts to run for one input: [None] for the whole, unless splitting it pays.

    Raises:
        InputError: the input cannot be read.
    """
    if request.bundle.task == "segments":
        return [
            *plan_steps(request.bundle, request.video(input), workers, use_store=request.use_store)
        ]
    if classify_windows.is_for(request.bundle):
        return [*classify_windows.plan(_windows(request), input, workers)]
    return [*classify.plan(_pictures(request), input, workers)]


def run(request: DetectRequest, input: Input, part: Any) -> Any:
    """Look at an input, or at a part of it.

    Raises:
        InputError: the input cannot be read, or ends before the wanted time.
        ModelError: the model is damaged or was exchanged meanwhile.
    """
    if request.bundle.task == "segments":
        return run_steps(request.bundle, request.video(input), part, use_store=request.use_store)
    if classify_windows.is_for(request.bundle):
        return classify_windows.run(_windows(request), input, part)
    return classify.run(_pictures(request), input, part)


def finish(request: DetectRequest, input: Input, parts: Sequence[Any]) -> dict[str, Any]:
    """Return the record's fields of one input from all its parts.

    Raises:
        InputError: `no_stream`: it has nothing that the model looks at.
    """
    bundle = request.bundle
    if bundle.task == "segments":
        said = _from_steps(request, input, parts)
    elif classify_windows.is_for(bundle):
        said = _from_windows(request, parts)
    else:
        said = _from_pictures(request, input, parts)
    wanted = set(bundle.labels if request.labels is None else request.labels)
    segments = tidied(
        (one for one in said.detections if one.label in wanted),
        min_score=request.min_score,
        min_duration_s=request.min_duration_s,
        merge_gap_s=request.merge_gap_s or None,
    )
    record: dict[str, Any] = {
        "duration_s": round(max(part.end_s for part in parts), TIME_DIGITS),
        "model": {"name": bundle.name, "version": bundle.version},
        "streams": [stream for stream in bundle.streams if stream in said.streams],
        "segments": [_segment_record(one) for one in segments],
    }
    if request.scores:
        record["curves"] = {
            "times_s": [round(time_s, TIME_DIGITS) for time_s in said.times_s.tolist()],
            "labels": {
                label: [round(score, SCORE_DIGITS) for score in said.curves[:, i].tolist()]
                for i, label in enumerate(said.labels)
                if label in wanted
            },
        }
    return record


def _segment_record(one: Detection) -> dict[str, Any]:
    return {
        "start_s": round(one.start_s, TIME_DIGITS),
        "end_s": round(one.end_s, TIME_DIGITS),
        "label": one.label,
        "score": round(one.score, SCORE_DIGITS),
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Said:
    """What a model says of a whole video: [T] times in seconds, [T, C] scores of `labels`."""

    detections: Sequence[Detection]
    streams: frozenset[str]
    times_s: np.ndarray
    labels: Sequence[str]
    curves: np.ndarray


def _from_steps(request: DetectRequest, input: Input, parts: Sequence[FusedSteps]) -> _Said:
    streams = frozenset().union(*(part.streams for part in parts))
    classify_windows.require_streams(request.bundle, streams)
    # Never all of them: suppression goes through each pair of those that it is given.
    least = max(request.min_score, MIN_SCORE)
    found = find_segments(request.bundle, request.video(input), parts, least)
    return _Said(found.detections, streams, found.times_s, request.bundle.labels, found.curves)


def _from_windows(request: DetectRequest, parts: Sequence[classify_windows.WindowScores]) -> _Said:
    """Each half a window has the mean of the two windows that cover it."""
    bundle = request.bundle
    streams = frozenset().union(*(part.streams for part in parts))
    classify_windows.require_streams(bundle, streams)
    windows = [window for part in parts for window in part.windows]
    hop_s = float(plan_of(bundle).window_s / 2)
    by_window = np.concatenate([part.chances for part in parts])
    cells = list(classify_windows.cells(windows, hop_s))
    chances = np.stack([cell.shares @ by_window[cell.first : cell.last] for cell in cells])
    bounds = np.array([[cell.start_s, cell.end_s] for cell in cells])
    found = from_cells(bounds, chances, bundle.labels, request.min_score)
    return _Said(found, streams, bounds.mean(axis=1), bundle.labels, chances)


def _from_pictures(
    request: DetectRequest, input: Input, parts: Sequence[classify.PartResult]
) -> _Said:
    """Each picture counts until the next one."""
    features, until_s = classify.joined(_pictures(request), input, parts)
    if request.end is not None:
        until_s = min(until_s, float(request.end))
    labels = request.bundle.labels
    columns = [i for i, label in enumerate(labels) if label in (request.labels or labels)]
    least = min(request.min_score, LEAST_DRAWN) if request.scores else request.min_score
    chosen, chances = classify.curves(_pictures(request), features, columns, least)
    ends = np.append(features.times[1:], max(until_s, np.nextafter(features.times[-1], np.inf)))
    # The first picture that is shown can have come before what was asked for.
    begins = np.maximum(features.times, float(request.start))
    bounds = np.stack([begins, ends], axis=1)
    names = [labels[column] for column in chosen]
    found = from_cells(bounds, chances, names, request.min_score)
    return _Said(found, frozenset({"image"}), begins, names, chances)
