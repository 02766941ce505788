"""How a video feels over time, from its faces, voices and words.

Three experts say what they see, hear and read, each at its own times; `analysis.sentiment.pool`
joins them on one grid. A trained network can take their place: see `vmm_cli.inference.valence`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm_cli import bundles, progress
from vmm_cli.analysis.classify import TIME_DIGITS
from vmm_cli.analysis.sentiment.curve import (
    Curve,
    Steps,
    mean_emotions,
    points,
    steps_between,
    summary,
)
from vmm_cli.analysis.sentiment.evidence import EMOTIONS, EXPERTS, Evidence, Missing
from vmm_cli.analysis.sentiment.pool import opinion_at, pooled
from vmm_cli.bundles import Bundle
from vmm_cli.encoders.listening import Span
from vmm_cli.encoders.transcript import recogniser_folder
from vmm_cli.errors import InputError, ModelError
from vmm_cli.inference.valence import RatedWindows, check_valence_model, rate_windows
from vmm_cli.media.source import DEFAULT_MAX_PIXELS
from vmm_cli.media.video import Video, past_end
from vmm_cli.plain_file import UnreadableError, read_regular
from vmm_cli.plain_yaml import YamlError
from vmm_cli.plain_yaml import load as load_yaml

if TYPE_CHECKING:
    from vmm_cli.analysis.sentiment.face import FacesSeen
    from vmm_cli.analysis.sentiment.text import TextRead
    from vmm_cli.analysis.sentiment.voice import VoiceHeard
    from vmm_cli.batch.inputs import Input

SCHEMA = "vmm.sentiment/1"
FUSION_SCHEMA = "vmm.fusion/1"
FUSION_FILE = "fusion.yaml"
MAX_FUSION_BYTES = 2**16
FAMILY = "sentiment"
# Expressions last half a second to four (Ekman 2003): at least one look at each; the smoothing of a
# second would blur what more looks add.
FACES_HZ = Fraction(2)
LONGEST_KERNEL_S = 3600.0
# A moment about which less is known has no point on the curve.
LEAST_WEIGHT = 0.05
PAST_END = Missing("past_end", "what there is of it ends before the wanted part")
TOO_WEAK = Missing("too_weak", "what there is of it is too little, or too unclear, to count")


@dataclass(frozen=True)
class Fusion:
    """How the experts are joined: what `fusion.yaml` says.

    Attributes:
        kernel_s: standard deviation of the smoothing over time, at least half a step of the curve.
        reliability: by expert, what its confidence is multiplied by.
        digest: SHA-256 of the file, hex.
    """

    kernel_s: float
    reliability: Mapping[str, float]
    digest: str


@dataclass(frozen=True)
class SentimentRequest:
    """What is wanted of every input; see `sentiment_request`.

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
            return self.model.digest
        parts = [f"{name} {bundle.digest}" for name, bundle in self.experts.items()]
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


def sentiment_request(
    *,
    experts: Sequence[str] = EXPERTS,
    model: Bundle | None = None,
    every: Fraction = Fraction(1),
    faces: int = 0,
    start: Fraction = Fraction(0),
    end: Fraction | None = None,
    asr_model: str | None = None,
    keep_features: bool = False,
    keep_transcript: bool = False,
    use_store: bool = True,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> SentimentRequest:
    """Check what the user asked for, and find the models for it.

    Raises:
        ModelError: a model is missing, damaged or for something else.
    """
    found: dict[str, Bundle] = {}
    fusion = None
    if model is None:
        found = {expert: _expert(expert) for expert in EXPERTS if expert in experts}
        if asr_model is not None:
            recogniser_folder(asr_model)  # says now what is wrong with it
        fusion = read_fusion(_fusion_file())
    else:
        check_valence_model(model, needs_valence=True)
    return SentimentRequest(
        experts=found,
        fusion=fusion,
        model=model,
        every=every,
        faces=faces,
        start=start,
        end=end,
        asr_model=asr_model,
        keep_features=keep_features,
        keep_transcript=keep_transcript,
        use_store=use_store,
        max_pixels=max_pixels,
    )


def _expert(name: str) -> Bundle:
    bundle = bundles.load(f"{FAMILY}/{name}")
    if bundle.task != "valence" or bundle.streams != (name,):
        raise ModelError(f"model {bundle.name!r}, at {bundle.folder}, is no expert for {name}")
    return bundle


def _fusion_file() -> Path:
    """Return the first there is where bundles are looked for: an expert of one's own needs none."""
    files = [folder / FAMILY / FUSION_FILE for folder in bundles.search_folders()]
    return next((file for file in files if os.path.lexists(file)), files[-1])


def read_fusion(path: Path) -> Fusion:
    """Read how the experts are joined.

    Raises:
        ModelError: the file is missing or says nothing usable.
    """
    try:
        data = read_regular(path, MAX_FUSION_BYTES)
        fields = load_yaml(data).value
    except UnreadableError as error:
        raise ModelError(f"{path}: {error}") from None
    except YamlError as error:
        raise ModelError(f"{path}: is not readable as YAML: {error}") from None
    if not isinstance(fields, dict) or fields.get("schema") != FUSION_SCHEMA:
        raise ModelError(f"{path}: its schema is not {FUSION_SCHEMA}")
    kernel_s, reliability = fields.get("kernel_s"), fields.get("reliability")
    if not _is_share(kernel_s, most=LONGEST_KERNEL_S) or not kernel_s:
        raise ModelError(f"{path}: kernel_s {kernel_s!r} is not a number of seconds")
    if (
        not isinstance(reliability, dict)
        or set(reliability) != set(EXPERTS)
        or not all(_is_share(value) for value in reliability.values())
    ):
        raise ModelError(f"{path}: reliability does not give {', '.join(EXPERTS)} from 0 to 1 each")
    return Fusion(float(kernel_s), reliability, hashlib.sha256(data).hexdigest())


def _is_share(value: object, most: float = 1.0) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= most


# --- the work: plan, run, finish ---------------------------------------------------------------


def plan(request: SentimentRequest, input: Input, workers: int) -> list[str | None]:
    """Return the parts to run for one input: its experts apart, or [None] for all in one."""
    if workers < 2 or len(request.experts) < 2:
        return [None]
    return [*request.experts]


def run(request: SentimentRequest, input: Input, part: str | None) -> PartResult:
    """Ask one expert, or all, or the trained network.

    Raises:
        InputError: the input cannot be read.
        ModelError: a model is damaged or was exchanged meanwhile.
    """
    video = request.video(input)
    if request.model is not None:
        rated = rate_windows(
            request.model,
            video,
            use_store=request.use_store,
            keep_features=request.keep_features,
        )
        return PartResult(rated.video_end_s, rated=rated)
    asked = tuple(request.experts) if part is None else (part,)
    said: dict[str, Any] = {}
    late = []
    progress.rounds(len(asked))
    last_s = video.duration_s if request.end is None else float(request.end)
    for expert in asked:
        try:
            progress.over(float(request.start), last_s)
            said[expert] = _ask(request, video, expert)
        except InputError as error:
            if error.code != "past_end":  # sound and pictures need not end together
                raise
            late.append(expert)
    return PartResult(video.duration_s, past_end=tuple(late), **said)


def _ask(request: SentimentRequest, video: Video, expert: str) -> FacesSeen | VoiceHeard | TextRead:
    bundle = request.experts[expert]
    if expert == "face":
        from vmm_cli.analysis.sentiment.face import face_evidence

        return face_evidence(video, bundle, rate_hz=FACES_HZ, keep_features=request.keep_features)
    if expert == "voice":
        from vmm_cli.analysis.sentiment.voice import voice_evidence

        return voice_evidence(video, bundle, keep_features=request.keep_features)
    from vmm_cli.analysis.sentiment.text import text_evidence

    return text_evidence(video, bundle, asr_model=request.asr_model)


def finish(request: SentimentRequest, input: Input, parts: Sequence[PartResult]) -> dict[str, Any]:
    """Return the record's fields of one input from all its parts.

    Raises:
        InputError: `past_end`: nothing lies at the wanted time.
    """
    if request.model is not None:
        return _record_of_network(request, parts[0])
    end_s = max(part.end_s for part in parts)
    late = {expert for part in parts for expert in part.past_end}
    if late == set(request.experts):
        raise past_end(request.start, end_s)
    found = {e: one for e in EXPERTS for part in parts if (one := getattr(part, e)) is not None}
    evidence = {expert: one.evidence for expert, one in found.items()}
    steps = _steps(request, end_s, evidence)
    face: FacesSeen | None = found.get("face")
    text: TextRead | None = found.get("text")
    curve = _curve(request, evidence, steps, _faces_at_once(face, steps, request.every))
    spoke = [expert for expert, weight in curve.weights.items() if weight[curve.known].any()]
    record: dict[str, Any] = {
        "duration_s": round(end_s, TIME_DIGITS),
        "experts": {expert: _expert_record(request, expert, found[expert]) for expert in spoke},
        "evidence": spoke,
        "missing": {
            expert: asdict(one.missing or TOO_WEAK)
            for expert, one in found.items()
            if expert not in spoke
        }
        | {expert: asdict(PAST_END) for expert in request.experts if expert in late},
        "curve": [*points(curve)],
        "summary": summary(curve),
    }
    if request.faces:
        record["people"] = [] if face is None else [*_people(request, face, steps)]
    if request.keep_transcript:
        record["transcript"] = [] if text is None else [*_transcript(text)]
    if text is not None and text.not_understood:
        record["not_understood"] = [*_spans(text.not_understood)]
    if text is not None and text.warnings:
        record["warnings"] = [*text.warnings]
    if text is not None and text.advice:
        record["advice"] = [*text.advice]
    return record


def _record_of_network(request: SentimentRequest, part: PartResult) -> dict[str, Any]:
    """Return the fields of what a trained network says of windows that overlap."""
    rated, model = part.rated, request.model
    assert rated is not None and model is not None
    steps = _steps(request, part.end_s, {})
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
    return {
        "duration_s": round(part.end_s, TIME_DIGITS),
        "model": {"name": model.name, "version": model.version},
        "evidence": found,
        "missing": {
            stream: {"code": "absent", "message": f"nothing was found for its stream {stream}"}
            for stream in rated.streams
            if stream not in found
        },
        "curve": [*points(curve)],
        "summary": summary(curve),
    }


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


def _steps(request: SentimentRequest, end_s: float, evidence: Mapping[str, Evidence]) -> Steps:
    """Return the steps of the wanted part; of all that was heard, where the sound is longer."""
    last_s = max([end_s, *(float(one.end_s.max(initial=0.0)) for one in evidence.values())])
    end = Fraction(last_s) if request.end is None else min(request.end, Fraction(last_s))
    return steps_between(request.start, end, request.every)


def _curve(
    request: SentimentRequest,
    evidence: Mapping[str, Evidence],
    steps: Steps,
    faces: np.ndarray | None = None,
) -> Curve:
    fusion = request.fusion
    assert fusion is not None  # only trained networks do without
    kernel_s = max(fusion.kernel_s, float(request.every) / 2)
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


def _people(request: SentimentRequest, seen: FacesSeen, steps: Steps) -> Iterator[dict[str, Any]]:
    """Yield the curve of each of those who are seen longest."""
    for person in range(min(request.faces, int(seen.face.max(initial=-1)) + 1)):
        own = _chosen(seen.evidence, seen.face == person)
        # Each look stands for the time until the next.
        last_s = min(float(own.end_s[-1] + 1 / FACES_HZ), float(steps.bounds_s[-1]))
        curve = _curve(request, {"face": own}, steps)
        there = (steps.bounds_s[1:] > own.start_s[0]) & (steps.bounds_s[:-1] < last_s)
        curve = replace(curve, known=curve.known & there)
        whole = summary(curve)
        yield {
            "person": person + 1,
            "start_s": round(float(own.start_s[0]), TIME_DIGITS),
            "end_s": round(last_s, TIME_DIGITS),
            "seen_s": round(len(np.unique(own.start_s)) / float(FACES_HZ), TIME_DIGITS),
            "valence": whole["valence"],
            "dominant": whole["dominant"],
            "emotions": mean_emotions(curve),
            "curve": [
                {"time_s": point["time_s"], "valence": point["valence"]} for point in points(curve)
            ],
        }


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


def _expert_record(request: SentimentRequest, expert: str, found: Any) -> dict[str, Any]:
    bundle = request.experts[expert]
    record: dict[str, Any] = {
        "model": f"{FAMILY}/{expert}",
        "version": bundle.version,
    }
    if expert == "text":
        return record | {"source": found.source, "reader": found.reader}
    return record | {"calibrated": bundle.thresholds.get("temperature", 1.0) != 1.0}


def _transcript(text: TextRead) -> Iterator[dict[str, Any]]:
    for caption in text.transcript:
        assert caption.start_s is not None  # `TextRead` promises both
        assert caption.end_s is not None
        yield {
            "start_s": round(caption.start_s, TIME_DIGITS),
            "end_s": round(caption.end_s, TIME_DIGITS),
            "text": caption.text,
            "source": caption.source,
        }


def _spans(spans: Sequence[Span]) -> Iterator[dict[str, float]]:
    for start_s, end_s in spans:
        yield {"start_s": round(start_s, TIME_DIGITS), "end_s": round(end_s, TIME_DIGITS)}
