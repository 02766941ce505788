"""When what happens in a video of any length, by models of four kinds.

A model for segments says where actions begin and end: see `vmm_cli.inference.steps`. A model for
classes is slid over the video: each half a window, or each picture, its labels have a probability,
and where that is high enough for a while something happens. A model of what is usual says where
something else happens: see `vmm_cli.operations.unusual_times`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vmm_cli.analysis.segments import Detection, from_cells, tidied
from vmm_cli.analysis.unusual import score_of
from vmm_cli.bundles import Bundle
from vmm_cli.digits import SCORE_DIGITS, TIME_DIGITS
from vmm_cli.errors import ModelError
from vmm_cli.features.plan import plan_of
from vmm_cli.inference import classify, classify_windows, steps, unusual_steps
from vmm_cli.inference.classify_request import ClassifyRequest, classify_request, sees_windows
from vmm_cli.inference.usual_model import check_usual, load_usual
from vmm_cli.media.video import Video
from vmm_cli.operations.unusual_times import unusual_times, warnings_of
from vmm_cli.tasks import run_by

if TYPE_CHECKING:
    from vmm_cli.batch.inputs import Input

CLASSES_THRESHOLD = 0.5  # of a model for classes, which has none of its own
# Labels of a model for classes that never reach this are not drawn: there can be a thousand.
LEAST_DRAWN = 0.05


@dataclass(frozen=True)
class Wanted:
    """Which actions count.

    Attributes:
        labels: those of the model that count.
        min_score: from which on an action counts.
        min_scores: the same for labels that have one of their own.
        min_duration_s: how long it is at least.
        merge_gap_s: two of one label that are no further apart become one; 0: never.
        scores: whether each label's score over time is wanted, for drawing.
    """

    labels: tuple[str, ...]
    min_score: float = CLASSES_THRESHOLD
    min_duration_s: float = 0.0
    merge_gap_s: float = 0.0
    scores: bool = False
    min_scores: Mapping[str, float] = field(default_factory=dict)

    def score_of(self, label: str) -> float:
        """Return the score from which on an action of a label counts."""
        return self.min_scores.get(label, self.min_score)

    @property
    def least(self) -> float:
        """Below it nothing counts."""
        return min(map(self.score_of, self.labels))


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """How labels' scores run: [T] times in seconds, [T, C] scores of `labels`."""

    times_s: np.ndarray
    labels: Sequence[str]
    scores: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a model predicts of a whole video, of which not all may be wanted.

    `warnings`: what must be said of the video.
    """

    detections: Sequence[Detection]
    streams: frozenset[str]
    curves: Curves
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Actions:
    """What happens in a video.

    Attributes:
        streams: those of the model that the video has.
        segments: sorted by time.
        curves: the scores of the labels that are wanted, where those are.
        warnings: what must be said of the video.
    """

    duration_s: float
    model: str
    version: int
    streams: tuple[str, ...]
    segments: tuple[Detection, ...]
    curves: Curves | None = None
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        found = ", ".join(f"{s.label} {s.start_s:.1f}-{s.end_s:.1f} s" for s in self.segments)
        return f"Actions({found or 'nothing'}; {self.duration_s:.1f} s, model {self.model!r})"

    def to_record(self) -> dict[str, Any]:
        """Return the fields of a record, rounded, as JSON types."""
        record: dict[str, Any] = {
            "duration_s": round(self.duration_s, TIME_DIGITS),
            "model": {"name": self.model, "version": self.version},
            "streams": [*self.streams],
            "segments": [_segment_record(one) for one in self.segments],
        }
        if (curves := self.curves) is not None:
            record["curves"] = {
                "times_s": [round(time_s, TIME_DIGITS) for time_s in curves.times_s.tolist()],
                "labels": {
                    label: [round(score, SCORE_DIGITS) for score in scores]
                    for label, scores in zip(curves.labels, curves.scores.T.tolist(), strict=True)
                },
            }
        if self.warnings:
            record["warnings"] = [*self.warnings]
        return record


def _segment_record(one: Detection) -> dict[str, Any]:
    record: dict[str, Any] = {
        "start_s": round(one.start_s, TIME_DIGITS),
        "end_s": round(one.end_s, TIME_DIGITS),
        "label": one.label,
        "score": round(one.score, SCORE_DIGITS),
    }
    return record if one.reason is None else record | {"reason": dict(one.reason)}


class Runner(Protocol):
    """Runs a model of one kind over videos; what its parts and their results are it knows alone."""

    def plan(self, input: Input, workers: int, /) -> Sequence[Any]:
        """Return the parts to run for one input: [None] for the whole, unless splitting it pays.

        Raises:
            InputError: the input cannot be read.
        """

    def run(self, input: Input, part: Any, /) -> Any:
        """Look at an input, or at a part of it.

        Raises:
            InputError: the input cannot be read, or ends before the wanted time.
            ModelError: the model is damaged or was exchanged meanwhile.
        """

    def predictions(self, input: Input, parts: Sequence[Any], wanted: Wanted, /) -> Predictions:
        """Return what the model predicts, of all parts.

        Raises:
            InputError: `no_stream`: the input has nothing that the model looks at.
        """


def runner_of(
    bundle: Bundle,
    start: Fraction,
    end: Fraction | None,
    *,
    use_store: bool,
    max_pixels: int,
) -> Runner:
    """Return what runs a model over the part of a video from `start` to `end`.

    Raises:
        ModelError: it finds no actions, needs encoders that are not at hand, or its parts do not
            fit.
    """
    if bundle.task == "normal":
        check_usual(bundle)
        return _OfUsual(bundle, start, end, use_store, max_pixels)
    if bundle.task not in ("segments", "classes") or not bundle.labels:
        hint = "" if bundle.task in ("segments", "classes") else f"; {run_by(bundle.task)}"
        raise ModelError(f"model {bundle.name!r} is for {bundle.task}, not for actions{hint}")
    if bundle.task == "segments":
        steps.check_segment_model(bundle)
        return _OfSteps(bundle, start, end, use_store, max_pixels)
    if sees_windows(bundle):
        request = classify_windows.windows_request(
            bundle, start=start, end=end, use_store=use_store, max_pixels=max_pixels
        )
        return _OfWindows(bundle, request)
    return _OfPictures(
        bundle,
        classify_request(bundle, start=start, end=end, use_store=use_store, max_pixels=max_pixels),
    )


@dataclass(frozen=True)
class _OfSteps:
    """A model for segments."""

    bundle: Bundle
    start: Fraction
    end: Fraction | None
    use_store: bool
    max_pixels: int

    def _video(self, input: Input) -> Video:
        return Video(input.path, self.max_pixels, self.start, self.end)

    def plan(self, input: Input, workers: int) -> Sequence[steps.Part | None]:
        video = self._video(input)
        return steps.plan_steps(self.bundle, video, workers, use_store=self.use_store)

    def run(self, input: Input, part: steps.Part | None) -> steps.FusedSteps:
        return steps.run_steps(self.bundle, self._video(input), part, use_store=self.use_store)

    def predictions(
        self, input: Input, parts: Sequence[steps.FusedSteps], wanted: Wanted
    ) -> Predictions:
        streams = frozenset().union(*(part.streams for part in parts))
        classify_windows.require_streams(self.bundle, streams)
        # Never all of them: suppression goes through each pair of those that it is given.
        found = steps.find_segments(self.bundle, self._video(input), parts, wanted.least)
        curves = Curves(found.times_s, self.bundle.labels, found.curves)
        return Predictions(found.detections, streams, curves)


@dataclass(frozen=True)
class _OfUsual:
    """A model of what is usual: what is not that happens."""

    bundle: Bundle
    start: Fraction
    end: Fraction | None
    use_store: bool
    max_pixels: int

    def _video(self, input: Input) -> Video:
        return Video(input.path, self.max_pixels, self.start, self.end)

    def plan(self, input: Input, workers: int) -> Sequence[steps.Part | None]:
        video = self._video(input)
        return steps.plan_steps(self.bundle, video, workers, use_store=self.use_store)

    def run(self, input: Input, part: steps.Part | None) -> unusual_steps.Compared:
        video = self._video(input)
        return unusual_steps.compare(self.bundle, video, part, use_store=self.use_store)

    def predictions(
        self, input: Input, parts: Sequence[unusual_steps.Compared], wanted: Wanted
    ) -> Predictions:
        streams = frozenset().union(*(part.streams for part in parts))
        classify_windows.require_streams(self.bundle, streams)
        usual = load_usual(self.bundle.folder.resolve(), self.bundle.digest).usual
        video = self._video(input)
        until_s = min(parts[0].end_s, float(video.until_s))
        found = unusual_steps.surprise_of_parts(self.bundle, video, parts)
        detections = unusual_times(
            found, wanted.score_of(self.bundle.labels[0]), until_s, usual.grids
        )
        scores = score_of(found.whole)[:, None]
        curves = Curves(found.times_s, self.bundle.labels, scores)
        return Predictions(
            detections, streams, curves, tuple(warnings_of(found, detections, until_s))
        )


@dataclass(frozen=True)
class _OfWindows:
    """A model that was trained on windows: each half a window has the mean of the two over it."""

    bundle: Bundle
    request: classify_windows.WindowsRequest

    def plan(self, input: Input, workers: int) -> Sequence[classify_windows.Part | None]:
        return classify_windows.plan(self.request, input, workers)

    def run(
        self, input: Input, part: classify_windows.Part | None
    ) -> classify_windows.WindowScores:
        return classify_windows.run(self.request, input, part)

    def predictions(
        self, input: Input, parts: Sequence[classify_windows.WindowScores], wanted: Wanted
    ) -> Predictions:
        bundle = self.bundle
        streams = frozenset().union(*(part.streams for part in parts))
        classify_windows.require_streams(bundle, streams)
        windows = [window for part in parts for window in part.windows]
        hop_s = float(plan_of(bundle).window_s / 2)
        by_window = np.concatenate([part.chances for part in parts])
        cells = list(classify_windows.cells(windows, hop_s))
        scores = np.stack([cell.shares @ by_window[cell.first : cell.last] for cell in cells])
        bounds = np.array([[cell.start_s, cell.end_s] for cell in cells])
        found = from_cells(bounds, scores, bundle.labels, wanted.score_of)
        return Predictions(found, streams, Curves(bounds.mean(axis=1), bundle.labels, scores))


@dataclass(frozen=True)
class _OfPictures:
    """A model that looks at single pictures: each counts until the next one."""

    bundle: Bundle
    request: ClassifyRequest

    def plan(self, input: Input, workers: int) -> Sequence[classify.Part | None]:
        return classify.plan(self.request, input, workers)

    def run(self, input: Input, part: classify.Part | None) -> classify.PartResult:
        return classify.run(self.request, input, part)

    def predictions(
        self, input: Input, parts: Sequence[classify.PartResult], wanted: Wanted
    ) -> Predictions:
        features, until_s = classify.joined(self.request, input, parts)
        start, end = self.request.sampling.start, self.request.sampling.end
        if end is not None:
            until_s = min(until_s, float(end))
        labels = self.bundle.labels
        columns = [i for i, label in enumerate(labels) if label in wanted.labels]
        least = min(wanted.least, LEAST_DRAWN) if wanted.scores else wanted.least
        chosen, probabilities = classify.curves(self.request, features, columns, least)
        last_s = max(until_s, np.nextafter(features.times[-1], np.inf))
        ends = np.append(features.times[1:], last_s)
        # The first picture that is shown can have come before what was asked for.
        begins = np.maximum(features.times, float(start))
        names = [labels[column] for column in chosen]
        bounds = np.stack([begins, ends], axis=1)
        found = from_cells(bounds, probabilities, names, wanted.score_of)
        return Predictions(found, frozenset({"image"}), Curves(begins, names, probabilities))


def actions(bundle: Bundle, predicted: Predictions, wanted: Wanted, duration_s: float) -> Actions:
    """Return what happens in a video of `duration_s` seconds, as far as it is wanted."""
    segments = tidied(
        (
            one
            for one in predicted.detections
            if one.label in wanted.labels and one.score >= wanted.score_of(one.label)
        ),
        min_score=wanted.least,
        min_duration_s=wanted.min_duration_s,
        merge_gap_s=wanted.merge_gap_s or None,
    )
    curves = None
    if wanted.scores:
        every = predicted.curves
        kept = [i for i, label in enumerate(every.labels) if label in wanted.labels]
        names = [every.labels[i] for i in kept]
        curves = Curves(every.times_s, names, every.scores[:, kept])
    return Actions(
        duration_s,
        bundle.name,
        bundle.version,
        tuple(stream for stream in bundle.streams if stream in predicted.streams),
        tuple(segments),
        curves,
        predicted.warnings,
    )
