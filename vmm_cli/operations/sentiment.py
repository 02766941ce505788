"""`vmm sentiment`: how a video feels over time, from its faces, voices and words.

Three experts say what they see, hear and read, each at its own times; `analysis.sentiment.pool`
joins them on one grid. A trained network can take their place: see `vmm_cli.inference.valence`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm_cli import progress
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.work import Work
from vmm_cli.errors import InputError, OptionError
from vmm_cli.operations.device import device_wanted
from vmm_cli.operations.operation import Operation, Prepared, formats
from vmm_cli.operations.options import (
    OUTPUT,
    RUN,
    check,
    complete_model,
    device_option,
    end_option,
    max_pixels_option,
    no_store_option,
    option,
    overwrite_option,
    start_option,
)
from vmm_cli.operations.parse import parse_path, parse_time
from vmm_cli.operations.remarks import remarks_on
from vmm_cli.output.escape import escape_controls
from vmm_cli.output.formats import Shown
from vmm_cli.output.rows import Cell, Column, Record, Sheet, Table, Times, Value
from vmm_cli.output.sentiment_text import NO_EVIDENCE, cues, missing_words, valence_text
from vmm_cli.suggest import did_you_mean

# What computes loads when a model is there to be run.
if TYPE_CHECKING:
    from vmm_cli.analysis.sentiment.face import FacesSeen
    from vmm_cli.analysis.sentiment.text import TextRead
    from vmm_cli.analysis.sentiment.voice import VoiceHeard
    from vmm_cli.bundles import Bundle
    from vmm_cli.media.video import Video
    from vmm_cli.operations.sentiment_result import Job, PartResult, Sentiment

WORKER_MEMORY_BYTES = 900 * 2**20
LEAST_STEP_S, LONGEST_STEP_S = Fraction(1, 10), Fraction(3600)
MOST_FACES = 20


def parse_evidence(text: object) -> tuple[str, ...]:
    """Return the experts in a comma-separated list, each once, in the order of `EXPERTS`.

    ValueError where there is none, or one of another name.

    >>> parse_evidence("text, face,text")
    ('face', 'text')
    """
    from vmm_cli.analysis.sentiment.evidence import EXPERTS

    words = [word for part in str(text).split(",") if (word := part.strip().lower())]
    for word in words:
        if word not in EXPERTS:
            hint = did_you_mean(word, EXPERTS) or f"; there are {', '.join(EXPERTS)}"
            raise ValueError(f"{word!r} is not a kind of evidence{hint}")
    if not words:
        raise ValueError(f"no evidence is named; give some of {','.join(EXPERTS)}")
    return tuple(kind for kind in EXPERTS if kind in words)


def parse_step(text: object) -> Fraction:
    """Return the step of the curve in seconds, from 0.1 to 3600. ValueError otherwise."""
    step = parse_time(text)
    if not LEAST_STEP_S <= step <= LONGEST_STEP_S:
        raise ValueError(f"{str(text).strip()!r} is not from 0.1 to 3600 seconds")
    return step


def parse_faces(text: object) -> int:
    """Return a number of people from 0 to 20. ValueError otherwise."""
    word = str(text).strip()
    if not re.fullmatch(r"\d{1,3}", word, re.ASCII) or int(word) > MOST_FACES:
        raise ValueError(f"{word!r} is not a whole number from 0 to {MOST_FACES}")
    return int(word)


@dataclass(frozen=True)
class SentimentOptions:
    """What `vmm sentiment` can be asked for; times in seconds."""

    evidence: tuple[str, ...] | None = option(
        "--evidence",
        "-e",
        metavar="face,voice,text",
        parse=parse_evidence,
        help="Use only these kinds of evidence [default: all].",
    )
    model: str | None = option(
        "--model",
        "-m",
        metavar="MODEL",
        complete=complete_model,
        help="Use a model of `vmm train --task valence` instead of the experts.",
        counts="never",
    )
    every: Fraction = option(
        "--every",
        default=Fraction(1),
        metavar="S",
        parse=parse_step,
        help="Step of the curve, 0.1 to 3600 seconds [default: 1].",
        key="every_s",
    )
    faces: int = option(
        "--faces",
        default=0,
        metavar="N",
        parse=parse_faces,
        help="Also follow the N people seen longest, one by one (at most 20).",
    )
    asr_model: Path | None = option(
        "--asr-model",
        metavar="PATH",
        parse=parse_path,
        help="Recognise speech with the faster-whisper model in PATH [default: tiny.en].",
    )
    keep_features: bool = option(
        "--keep-features",
        default=False,
        help="Let the feature store keep features of faces and voices.",
        group=RUN,
        counts="never",
    )
    keep_transcript: bool = option(
        "--keep-transcript",
        default=False,
        help="Show the words: in records, tables and subtitles.",
        group=OUTPUT,
    )
    start: Fraction = start_option()
    end: Fraction | None = end_option()
    device: str = device_option()
    plot: Path | None = option(
        "--plot",
        metavar="DIR",
        parse=parse_path,
        help="Draw the curve into DIR, a picture per video.",
        group=OUTPUT,
        writes=True,
    )
    no_store: bool = no_store_option()
    overwrite: bool = overwrite_option()
    max_pixels: int = max_pixels_option()


# --- the work: prepare, plan, run, finish -------------------------------------------------------


def prepare(
    options: SentimentOptions,
) -> Prepared[SentimentOptions, Job, str, PartResult]:
    """Check the options against each other, and find the models."""
    from vmm_cli import bundles
    from vmm_cli.analysis.sentiment.evidence import EXPERTS

    _check(options, EXPERTS)
    job = job_of(options, None if options.model is None else bundles.load(options.model))
    device = device_wanted("cpu" if options.model is None else options.device)
    work = Work(job, run=run, finish=finish, plan=plan, device=device)
    if options.plot is not None:
        from vmm_cli.output.pictured import Pictures
        from vmm_cli.pictures.sentiment_plot import PLOT

        work = replace(work, beside=(Pictures(PLOT, options.plot, options.overwrite),))
    settled = options
    if options.model is None:
        settled = replace(options, evidence=options.evidence or EXPERTS)
    warnings = []
    if options.model is None and options.device.startswith("cuda"):
        warnings.append(
            f"device {options.device} is for models of `vmm train`; the experts run on the CPU"
        )
    used = [*job.experts.values()] if job.model is None else [job.model]
    remarks = [line for model in used for line in remarks_on(model, on_cpu=device is None)]
    return Prepared(
        settled,
        work,
        WORKER_MEMORY_BYTES,
        job.digest,
        remarks=remarks,
        warnings=warnings,
        takes_sound=True,
    )


def _check(options: SentimentOptions, experts: Sequence[str]) -> None:
    """Raise OptionError where options contradict each other."""
    check(options)
    asked = options.evidence or experts
    if options.model is not None:  # a model has learnt what it looks at
        for name in ("evidence", "faces", "asr_model", "keep_transcript"):
            if getattr(options, name):
                raise OptionError(
                    f"{{{name}}} is for the experts, which {{model}} replaces; "
                    "leave one of them out"
                )
    needs = {
        "faces": ("faces", "face"),
        "asr_model": ("text", "text"),
        "keep_transcript": ("text", "text"),
    }
    for name, (what, kind) in needs.items():
        if getattr(options, name) and kind not in asked:
            raise OptionError(
                f"{{{name}}} needs {what}; add {kind} to {{evidence}}, or leave {{{name}}} out"
            )
    if options.keep_features and options.no_store:
        raise OptionError(
            "{keep_features} writes to the feature store, which {no_store} disables; leave one out"
        )
    if options.asr_model is not None and not options.asr_model.is_dir():
        raise OptionError(
            "{path}: is not a folder; {asr_model} takes the folder of a faster-whisper model",
            path=options.asr_model,
        )


def job_of(options: SentimentOptions, model: Bundle | None = None) -> Job:
    """Return what is wanted of every input, by a trained model or by the experts.

    Raises:
        ModelError: a model is missing, damaged or for something else.
    """
    from vmm_cli.analysis.sentiment import fusion as fusions
    from vmm_cli.analysis.sentiment.evidence import EXPERTS
    from vmm_cli.features.transcript import recogniser_folder
    from vmm_cli.inference.valence import check_valence_model
    from vmm_cli.operations.sentiment_result import Job

    experts: dict[str, Bundle] = {}
    fusion = None
    asr_model = None if options.asr_model is None else str(options.asr_model)
    if model is None:
        asked = options.evidence or EXPERTS
        experts = {name: fusions.expert(name) for name in EXPERTS if name in asked}
        if asr_model is not None:
            recogniser_folder(asr_model)  # says now what is wrong with it
        fusion = fusions.read_fusion(fusions.fusion_file())
    else:
        check_valence_model(model, needs_valence=True)
    return Job(
        experts=experts,
        fusion=fusion,
        model=model,
        every=options.every,
        faces=options.faces,
        start=options.start,
        end=options.end,
        asr_model=asr_model,
        keep_features=options.keep_features,
        keep_transcript=options.keep_transcript,
        use_store=not options.no_store,
        max_pixels=options.max_pixels,
    )


def plan(job: Job, input: Input, workers: int) -> list[str | None]:
    """Return the parts to run for one input: its experts apart, or [None] for all in one."""
    if workers < 2 or len(job.experts) < 2:
        return [None]
    return [*job.experts]


def run(job: Job, input: Input, part: str | None) -> PartResult:
    """Ask one expert, or all, or the trained network.

    Raises:
        InputError: the input cannot be read.
        ModelError: a model is damaged or was exchanged meanwhile.
    """
    from vmm_cli.inference.valence import rate_windows
    from vmm_cli.operations.sentiment_result import PartResult

    video = job.video(input)
    if job.model is not None:
        rated = rate_windows(
            job.model,
            video,
            use_store=job.use_store,
            keep_features=job.keep_features,
        )
        return PartResult(rated.video_end_s, rated=rated)
    asked = tuple(job.experts) if part is None else (part,)
    said: dict[str, Any] = {}
    late = []
    progress.rounds(len(asked))
    last_s = video.duration_s if job.end is None else float(job.end)
    for expert in asked:
        try:
            progress.over(float(job.start), last_s)
            said[expert] = _ask(job, video, expert)
        except InputError as error:
            if error.code != "past_end":  # sound and pictures need not end together
                raise
            late.append(expert)
    return PartResult(video.duration_s, past_end=tuple(late), **said)


def _ask(job: Job, video: Video, expert: str) -> FacesSeen | VoiceHeard | TextRead:
    bundle = job.experts[expert]
    if expert == "face":
        from vmm_cli.analysis.sentiment.face import face_evidence
        from vmm_cli.operations.sentiment_result import FACES_HZ

        return face_evidence(video, bundle, rate_hz=FACES_HZ, keep_features=job.keep_features)
    if expert == "voice":
        from vmm_cli.analysis.sentiment.voice import voice_evidence

        return voice_evidence(video, bundle, keep_features=job.keep_features)
    from vmm_cli.analysis.sentiment.text import text_evidence

    return text_evidence(video, bundle, asr_model=job.asr_model)


def finish(job: Job, input: Input, parts: Sequence[PartResult]) -> Sentiment:
    """Return how one input feels, from all its parts.

    Raises:
        InputError: `past_end`: nothing lies at the wanted time.
    """
    from vmm_cli.operations import sentiment_result

    return sentiment_result.finish(job, input, parts)


# --- how records are shown ----------------------------------------------------------------------


def sheet(emotions: Sequence[str], kinds: Sequence[str]) -> Sheet:
    """Return a CSV row for each point of the curve, of these emotions and kinds of evidence."""
    names = (escape_controls(name) for name in (*emotions, *kinds))
    own = "time_s", "valence", "confidence", *names, "faces"
    return Sheet(own, partial(values, emotions=emotions, kinds=kinds))


def values(
    record: Record, emotions: Sequence[str], kinds: Sequence[str]
) -> Iterator[Sequence[Value]]:
    """Yield the CSV row for each point of the curve."""
    for point in record["curve"]:
        shares = (point["emotions"].get(emotion) for emotion in emotions)
        weights = (point["evidence"].get(kind) for kind in kinds)
        curve = point["time_s"], point["valence"], point["confidence"]
        yield *curve, *shares, *weights, point.get("faces")


def cells(record: Record) -> Iterator[Sequence[Cell]]:
    """Yield a few rows of the table: what was found, and from what."""
    yield from _summed_up(record["summary"], record["duration_s"])
    for person in record.get("people", ()):
        words = [person["dominant"], "seen "]
        if person["valence"] is not None:
            words.insert(0, valence_text(person["valence"]))
        seen = Times((", ".join(filter(None, words)), person["seen_s"]))
        yield f"person {person['person']}", seen
    if record["evidence"]:
        yield "evidence", ", ".join(record["evidence"])
    missing = missing_words(record)
    if missing:
        yield "missing", ", ".join(f"{kind}: {reason}" for kind, reason in missing.items())
    label = "words"
    for part in record.get("transcript", ()):
        yield label, Times((part["start_s"], f" {' '.join(part['text'].split())}"))
        label = ""


def _summed_up(summary: Mapping[str, Any], duration_s: float) -> Iterator[Sequence[Cell]]:
    if summary["valence"] is None:
        yield "valence", f"({NO_EVIDENCE})"
    else:
        bounds = f"{valence_text(summary['min'])} to {valence_text(summary['max'])}"
        yield "valence", f"{valence_text(summary['valence'])} ({bounds})"
        if summary["dominant"]:
            yield "mostly", summary["dominant"]
        yield "covered", Times((f"{summary['covered']:.0%} of ", duration_s))
        # Records of earlier versions have none, nor those of models that do not measure it.
        if summary.get("confidence") is not None:
            yield "confidence", f"{summary['confidence']:.2f}"
    peaks = [
        part
        for one in summary["peaks"]
        for part in (", ", one["time_s"], f" {valence_text(one['valence'])}")
    ]
    if peaks:
        yield "peaks", Times(tuple(peaks[1:]))


TABLE = Table((Column("what", min_width=8), Column("value")), cells)


def shown(job: Job) -> Shown:
    """Show a few facts, and the curve by the emotions and the evidence that there can be."""
    from vmm_cli.analysis.sentiment.curve import LEAST_CONFIDENCE
    from vmm_cli.analysis.sentiment.evidence import EMOTIONS, EXPERTS

    model = job.model
    emotions, kinds = (EMOTIONS, EXPERTS) if model is None else (model.labels, model.streams)
    subtitles = partial(
        cues,
        start_s=float(job.start),
        every_s=float(job.every),
        least_confidence=LEAST_CONFIDENCE,
    )
    return Shown((TABLE,), sheet(emotions, kinds), subtitles)


SENTIMENT = Operation(
    name="sentiment",
    schema="vmm.sentiment/1",
    help="""Estimate the mood of each video over time.

    INPUT is a file of video or sound, or a folder that is searched for such. Subtitles (srt, vtt)
    of several go to a folder: -o DIR. Expression is not feeling: docs/sentiment.md says what this
    cannot tell.
    """,
    examples=(
        ("Draw the curve of each talk", "vmm sentiment talks --plot pictures -o talks.jsonl"),
        ("By faces alone, two people apart", "vmm sentiment talk.mp4 --evidence face --faces 2"),
    ),
    options=SentimentOptions,
    group="Evidence",
    prepare=prepare,
    shown=shown,
    formats=formats("table", "jsonl", "json", "csv", "srt", "vtt"),
)
