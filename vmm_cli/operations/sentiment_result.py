"""How a video feels over time, from what its experts found or a trained network predicted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm_cli.analysis.sentiment.curve import (
    Curve,
    Steps,
    mean_emotions,
    points,
    steps_between,
    summary,
)
from vmm_cli.analysis.sentiment.evidence import EMOTIONS, EXPERTS, Evidence, Missing
from vmm_cli.analysis.sentiment.fusion import FAMILY, Fusion
from vmm_cli.analysis.sentiment.pool import opinion_at, pooled
from vmm_cli.bundles import Bundle
from vmm_cli.digits import TIME_DIGITS
from vmm_cli.features.listening import Span
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.media.video import Video, past_end

if TYPE_CHECKING:
    from vmm_cli.analysis.sentiment.face import FacesSeen
    from vmm_cli.analysis.sentiment.text import TextRead
    from vmm_cli.analysis.sentiment.voice import VoiceHeard
    from vmm_cli.batch.inputs import Input
    from vmm_cli.inference.valence import RatedWindows
    from vmm_cli.media.captions import Caption

# Expressions last half a second to four (Ekman 2003): at least one look at each; the smoothing of a
# second would blur what more looks add.
FACES_HZ = Fraction(2)
# A moment about which less is known has no point on the curve.
LEAST_WEIGHT = 0.05
PAST_END = Missing("past_end", "what there is of it ends before the wanted part")
TOO_WEAK = Missing("too_weak", "what there is of it is too little, or too unclear, to count")


@dataclass(frozen=True)
class Job:
    """What is wanted of every input.

    Attributes:
        experts: the bundle of each that is asked; empty for a trained network.
        fusion: how they are joined; None for a trained network.
        model: the trained network, in their place.
        every: step of the curve in seconds.
        faces: of how many people the curves are wanted apart.
        start, end: the part of the video to look at, seconds; end None: to its end.
        asr_model: folder of a speech recogniser; None: the one that is installed.
    """

    experts: Mapping[str, Bundle]
    fusion: Fusion | None
    model: Bundle | None = None
    every: Fraction = Fraction(1)
    faces: int = 0
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    asr_model: str | None = None
    keep_features: bool = False
    keep_transcript: bool = False
    use_store: bool = True
    max_pixels: int = DEFAULT_MAX_PIXELS

    def video(self, input: Input) -> Video:
        """Return an input's wanted part."""
        return Video(input.path, self.max_pixels, self.start, self.end)

    @property
    def digest(self) -> str:
        """What stands for all models and how they are joined."""
        if self.model is not None:
            return self.model.journal_digest
        parts = [f"{name} {bundle.journal_digest}" for name, bundle in self.experts.items()]
        fusion = "" if self.fusion is None else self.fusion.digest
        return hashlib.sha256("\n".join([*parts, fusion]).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class PartResult:
    """What some experts found, or a trained network: see the modules of each.

    Attributes:
        end_s: where the longer of pictures and sound ends, in seconds on the clock.
        past_end: the experts for which the video ends before the wanted part.
    """

    end_s: float
    face: FacesSeen | None = None
    voice: VoiceHeard | None = None
    text: TextRead | None = None
    past_end: tuple[str, ...] = ()
    rated: RatedWindows | None = None


@dataclass(frozen=True, eq=False)
class Person:
    """One of those who are seen longest, numbered from 1: from when to when, and for how long."""

    number: int
    start_s: float
    end_s: float
    seen_s: float
    curve: Curve

    def to_record(self) -> dict[str, Any]:
        """Return what a record says of somebody, rounded, as JSON types."""
        whole = summary(self.curve)
        return {
            "person": self.number,
            "start_s": round(self.start_s, TIME_DIGITS),
            "end_s": round(self.end_s, TIME_DIGITS),
            "seen_s": round(self.seen_s, TIME_DIGITS),
            "valence": whole["valence"],
            "dominant": whole["dominant"],
            "emotions": mean_emotions(self.curve),
            "curve": [
                {"time_s": point["time_s"], "valence": point["valence"]}
                for point in points(self.curve)
            ],
        }


@dataclass(frozen=True, eq=False)
class Sentiment:
    """How a video feels over time.

    Attributes:
        sources: what is said of the experts, or of the trained network, by field of the record.
        evidence: what the curve rests on; missing: why it does not rest on the rest.
        people: those who were asked for apart; transcript: the words, where they are kept.
        not_understood: spans of speech in seconds.
    """

    duration_s: float
    sources: Mapping[str, Any]
    evidence: Sequence[str]
    missing: Mapping[str, Missing]
    curve: Curve
    people: Sequence[Person] | None = None
    transcript: Sequence[Caption] | None = None
    not_understood: Sequence[Span] = ()
    warnings: Sequence[str] = ()
    advice: Sequence[str] = ()

    def __repr__(self) -> str:
        known = int(self.curve.known.sum())
        rests = ", ".join(self.evidence) or "nothing"
        return f"Sentiment({known} of {len(self.curve.known)} steps known, from {rests})"

    def to_record(self) -> dict[str, Any]:
        """Return the fields of a record, rounded, as JSON types."""
        record: dict[str, Any] = {
            "duration_s": round(self.duration_s, TIME_DIGITS),
            **self.sources,
            "evidence": [*self.evidence],
            "missing": {name: asdict(why) for name, why in self.missing.items()},
            "curve": [*points(self.curve)],
            "summary": summary(self.curve),
        }
        if self.people is not None:
            record["people"] = [person.to_record() for person in self.people]
        if self.transcript is not None:
            record["transcript"] = [*map(_caption_record, self.transcript)]
        if self.not_understood:
            record["not_understood"] = [
                {"start_s": round(start_s, TIME_DIGITS), "end_s": round(end_s, TIME_DIGITS)}
                for start_s, end_s in self.not_understood
            ]
        if self.warnings:
            record["warnings"] = [*self.warnings]
        if self.advice:
            record["advice"] = [*self.advice]
        return record


def _caption_record(caption: Caption) -> dict[str, Any]:
    assert caption.start_s is not None  # `TextRead` promises both
    assert caption.end_s is not None
    return {
        "start_s": round(caption.start_s, TIME_DIGITS),
        "end_s": round(caption.end_s, TIME_DIGITS),
        "text": caption.text,
        "source": caption.source,
    }


def finish(job: Job, input: Input, parts: Sequence[PartResult]) -> Sentiment:
    """Return how one input feels, from all its parts.

    Raises:
        InputError: `past_end`: nothing lies at the wanted time.
    """
    if job.model is not None:
        return _of_network(job, job.model, parts[0])
    end_s = max(part.end_s for part in parts)
    late = {expert for part in parts for expert in part.past_end}
    if late == set(job.experts):
        raise past_end(job.start, end_s)
    found = {e: one for e in EXPERTS for part in parts if (one := getattr(part, e)) is not None}
    evidence = {expert: one.evidence for expert, one in found.items()}
    steps = _steps(job, end_s, evidence)
    face: FacesSeen | None = found.get("face")
    text: TextRead | None = found.get("text")
    curve = _curve(job, evidence, steps, _faces_at_once(face, steps, job.every))
    spoke = [expert for expert, weight in curve.weights.items() if weight[curve.known].any()]
    missing = {e: one.missing or TOO_WEAK for e, one in found.items() if e not in spoke}
    missing |= {expert: PAST_END for expert in job.experts if expert in late}
    said = Sentiment(
        end_s,
        {"experts": {expert: _expert_record(job, expert, found[expert]) for expert in spoke}},
        spoke,
        missing,
        curve,
        people=None if not job.faces else [] if face is None else [*_people(job, face, steps)],
        transcript=None if not job.keep_transcript else () if text is None else text.transcript,
    )
    if text is None:
        return said
    return replace(
        said, not_understood=text.not_understood, warnings=text.warnings, advice=text.advice
    )


def _of_network(job: Job, model: Bundle, part: PartResult) -> Sentiment:
    """Return what a trained network says of windows that overlap."""
    rated = part.rated
    assert rated is not None
    steps = _steps(job, part.end_s, {})
    over = _WindowMeans(rated, steps)
    curve = Curve(
        steps,
        over.count > 0,
        over.mean(np.nan_to_num(rated.valence)),
        None,
        rated.emotions,
        over.mean(rated.probabilities),
        {stream: over.mean(share) for stream, share in rated.streams.items()},
    )
    found = [stream for stream, there in rated.streams.items() if there.any()]
    missing = {
        stream: Missing("absent", f"nothing was found for its stream {stream}")
        for stream in rated.streams
        if stream not in found
    }
    about = {"model": {"name": model.name, "version": model.version}}
    return Sentiment(part.end_s, about, found, missing, curve)


class _WindowMeans:
    """Means over the windows that cover the middle of each step, of those with something."""

    def __init__(self, rated: RatedWindows, steps: Steps) -> None:
        self._present = rated.present
        self._first = np.searchsorted(rated.end_s, steps.times_s, side="right")
        self._last = np.searchsorted(rated.start_s, steps.times_s, side="right")
        self.count = self._sum(rated.present.astype(np.float64))

    def mean(self, values: np.ndarray) -> np.ndarray:
        """[N] -> [G], or [N, E] -> [G, E]; 0 where no window covers a step."""
        told: np.ndarray = self._sum((values.T * self._present).T).T / np.maximum(self.count, 1)
        return told.T

    def _sum(self, values: np.ndarray) -> np.ndarray:
        until = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
        sums: np.ndarray = until[self._last] - until[self._first]
        return sums


def _steps(job: Job, end_s: float, evidence: Mapping[str, Evidence]) -> Steps:
    """Return the steps of the wanted part; of all that was heard, where the sound is longer."""
    last_s = max([end_s, *(float(one.end_s.max(initial=0.0)) for one in evidence.values())])
    end = Fraction(last_s) if job.end is None else min(job.end, Fraction(last_s))
    return steps_between(job.start, end, job.every)


def _curve(
    job: Job,
    evidence: Mapping[str, Evidence],
    steps: Steps,
    faces: np.ndarray | None = None,
) -> Curve:
    fusion = job.fusion
    assert fusion is not None  # only trained networks do without
    kernel_s = max(fusion.kernel_s, float(job.every) / 2)
    opinions = {e: opinion_at(one, steps.times_s, kernel_s) for e, one in evidence.items()}
    weights = {e: opinion.weight * fusion.reliability[e] for e, opinion in opinions.items()}
    known = sum(weights.values(), np.zeros(len(steps.times_s))) >= LEAST_WEIGHT
    pool = pooled(opinions, fusion.reliability)
    return Curve(
        steps,
        known,
        pool.valence,
        pool.confidence,
        EMOTIONS,
        pool.probabilities,
        weights,
        faces,
    )


def _faces_at_once(face: FacesSeen | None, steps: Steps, every: Fraction) -> np.ndarray | None:
    """Return how many faces are seen at once around each step, at most: int [G]."""
    if face is None:
        return None
    half_s = float(max(every, 1 / FACES_HZ)) / 2
    times, at_once = np.unique(face.evidence.start_s, return_counts=True)
    firsts = np.searchsorted(times, steps.times_s - half_s)
    lasts = np.searchsorted(times, steps.times_s + half_s, side="right")
    most = [at_once[i:j].max(initial=0) for i, j in zip(firsts, lasts, strict=True)]
    return np.array(most, np.int64)


def _people(job: Job, seen: FacesSeen, steps: Steps) -> Iterator[Person]:
    """Yield each of those who are seen longest."""
    for person in range(min(job.faces, int(seen.face.max(initial=-1)) + 1)):
        own = _chosen(seen.evidence, seen.face == person)
        # Each look stands for the time until the next.
        last_s = min(float(own.end_s[-1] + 1 / FACES_HZ), float(steps.bounds_s[-1]))
        curve = _curve(job, {"face": own}, steps)
        there = (steps.bounds_s[1:] > own.start_s[0]) & (steps.bounds_s[:-1] < last_s)
        yield Person(
            person + 1,
            float(own.start_s[0]),
            last_s,
            len(np.unique(own.start_s)) / float(FACES_HZ),
            replace(curve, known=curve.known & there),
        )


def _chosen(evidence: Evidence, chosen: np.ndarray) -> Evidence:
    return Evidence(
        evidence.expert,
        evidence.emotions,
        evidence.start_s[chosen],
        evidence.end_s[chosen],
        evidence.probabilities[chosen],
        evidence.valence[chosen],
        evidence.confidence[chosen],
    )


def _expert_record(job: Job, expert: str, found: Any) -> dict[str, Any]:
    bundle = job.experts[expert]
    record: dict[str, Any] = {
        "model": f"{FAMILY}/{expert}",
        "version": bundle.version,
    }
    if expert == "text":
        return record | {"source": found.source, "reader": found.reader}
    return record | {"calibrated": bundle.thresholds.get("temperature", 1.0) != 1.0}
