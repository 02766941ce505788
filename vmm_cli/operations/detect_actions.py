"""`vmm detect-actions`: what happens from when to when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm_cli.batch.inputs import Input
from vmm_cli.batch.work import Work
from vmm_cli.errors import OptionError
from vmm_cli.operations.device import device_wanted
from vmm_cli.operations.operation import Operation, Prepared, formats
from vmm_cli.operations.options import (
    OUTPUT,
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
from vmm_cli.operations.parse import parse_hourly, parse_labels, parse_path, parse_score, parse_time
from vmm_cli.operations.remarks import remarks_on
from vmm_cli.operations.wanted_labels import wanted_labels
from vmm_cli.output.formats import Shown
from vmm_cli.output.rows import Cell, Column, Record, Sheet, Table, Value, span
from vmm_cli.output.subtitles import Cue

# What computes loads when a model is there to be run.
if TYPE_CHECKING:
    from vmm_cli.bundles import Bundle
    from vmm_cli.media.video import Video
    from vmm_cli.operations.action_models import Actions, Runner, Wanted

EITHER_OR = ("min_score", "false_alarms")
# As of `vmm classify`: the same networks look at the same pictures.
WORKER_MEMORY_BYTES = 600 * 2**20


def parse_length(text: object) -> float:
    """Return a length in seconds, written as `parse_time` reads times. ValueError otherwise."""
    return float(parse_time(text))


@dataclass(frozen=True)
class DetectOptions:
    """What `vmm detect-actions` can be asked for; times and lengths in seconds."""

    model: str | None = option(
        "--model",
        "-m",
        metavar="MODEL",
        complete=complete_model,
        help="A model from `vmm models list`, or its folder [required].",
        missing="no model given; choose one with -m MODEL: see `vmm models list`",
        counts="never",
    )
    labels: tuple[str, ...] | None = option(
        "--labels", metavar="A,B", parse=parse_labels, help="Look for these labels only."
    )
    min_score: float | None = option(
        "--min-score",
        metavar="0-1",
        parse=parse_score,
        help="Drop detections that score less [default: the model's own threshold].",
    )
    false_alarms: float | None = option(
        "--false-alarms",
        metavar="N",
        parse=parse_hourly,
        help="Use the thresholds at which each label had at most N false alarms an hour when the "
        "model was measured.",
        counts="given",
        key="false_alarms_per_hour",
    )
    min_duration: float = option(
        "--min-duration",
        default=0.0,
        metavar="S",
        parse=parse_length,
        help="Drop detections shorter than S seconds.",
        key="min_duration_s",
    )
    merge_gap: float = option(
        "--merge-gap",
        default=0.0,
        metavar="S",
        parse=parse_length,
        help="Merge detections of one label at most S seconds apart [default: do not merge].",
        key="merge_gap_s",
    )
    start: Fraction = start_option()
    end: Fraction | None = end_option()
    timeline: Path | None = option(
        "--timeline",
        metavar="DIR",
        parse=parse_path,
        help="Draw the detections into DIR, a picture per video.",
        group=OUTPUT,
        writes=True,
    )
    device: str = device_option()
    no_store: bool = no_store_option()
    overwrite: bool = overwrite_option()
    max_pixels: int = max_pixels_option()


@dataclass(frozen=True)
class Job:
    """What is wanted of every input, and what runs the model."""

    bundle: Bundle
    runner: Runner
    wanted: Wanted
    start: Fraction
    end: Fraction | None
    max_pixels: int

    def video(self, input: Input) -> Video:
        """Return an input's wanted part."""
        from vmm_cli.media.video import Video

        return Video(input.path, self.max_pixels, self.start, self.end)


# --- the work: prepare, plan, run, finish -------------------------------------------------------


def prepare(options: DetectOptions) -> Prepared[DetectOptions, Job, Any, Any]:
    """Load the model, and check the options against it."""
    from vmm_cli import bundles

    check(options, EITHER_OR)
    model = bundles.load(options.model or "")
    settled = settle(options, model)
    device = device_wanted(options.device)
    work = Work(job_of(settled, model), run=run, finish=finish, plan=plan, device=device)
    if options.timeline is not None:
        from vmm_cli.output.pictured import Pictures
        from vmm_cli.pictures.timeline import TIMELINE

        work = replace(work, beside=(Pictures(TIMELINE, options.timeline, options.overwrite),))
    return Prepared(
        settled,
        work,
        WORKER_MEMORY_BYTES,
        model.journal_digest,
        remarks=(*remarks_on(model, on_cpu=device is None), *remarks_on_rates(settled, model)),
    )


def job_of(options: DetectOptions, model: Bundle) -> Job:
    """Return what is wanted of every input, of a model that is loaded and options that are settled.

    Raises:
        ModelError: the model finds no actions, needs encoders that are not at hand, or its parts do
            not fit.
    """
    from vmm_cli.operations.action_models import Wanted, runner_of

    runner = runner_of(
        model,
        options.start,
        options.end,
        use_store=not options.no_store,
        max_pixels=options.max_pixels,
    )
    labels = options.labels or action_labels(model)
    wanted = Wanted(
        labels,
        min_duration_s=options.min_duration,
        merge_gap_s=options.merge_gap,
        scores=options.timeline is not None,
        min_scores={label: min_score_of(label, options, model) for label in labels},
    )
    return Job(model, runner, wanted, options.start, options.end, options.max_pixels)


def settle(options: DetectOptions, model: Bundle) -> DetectOptions:
    """Return options with what the model says: how labels are spelt, and which scores count.

    OptionError where it does not know a label, or has no operating curve and is asked for one.
    """
    from vmm_cli.operations.action_models import CLASSES_THRESHOLD

    labels = wanted_labels(options.labels, model)
    if labels is not None and model.none in labels:
        raise OptionError(
            "{labels}: {none!r} is no action of model {name!r}; leave it out",
            none=model.none,
            name=model.name,
        )
    min_score = options.min_score
    if options.false_alarms is not None:
        _require_curves(labels or action_labels(model), model)
    elif min_score is None and not any(one.threshold for one in model.operating.values()):
        min_score = model.thresholds.get("score", CLASSES_THRESHOLD)
    return replace(options, labels=labels, min_score=min_score)


def action_labels(model: Bundle) -> tuple[str, ...]:
    """Return the labels of a model that can be actions: not that which says none of the others."""
    return tuple(label for label in model.labels if label != model.none)


def min_score_of(label: str, options: DetectOptions, model: Bundle) -> float:
    """Return the score from which on a label counts; options are settled."""
    from vmm_cli.operations.action_models import CLASSES_THRESHOLD

    if options.false_alarms is not None:
        return model.operating[label].at(options.false_alarms).threshold
    if options.min_score is not None:
        return options.min_score
    return model.told_from(label, CLASSES_THRESHOLD)


def _require_curves(labels: Sequence[str], model: Bundle) -> None:
    """Raise OptionError where a label has no operating curve."""
    lacking = [label for label in labels if label not in model.operating]
    if lacking:
        what = f"model {model.name!r} has no operating curve"
        if model.operating:
            what += f" of {lacking[0]!r}"
        raise OptionError(
            "{false_alarms}: {what}; give {min_score}, or train it again with this vmm", what=what
        )


def remarks_on_rates(options: DetectOptions, model: Bundle) -> Iterator[str]:
    """Yield what the operating curves do not tell of the false alarms that are asked for."""
    wanted = options.false_alarms
    for label in options.labels or action_labels(model) if wanted is not None else ():
        assert wanted is not None
        curve = model.operating[label]
        used = curve.at(wanted)
        hourly = used.false_alarms_per_hour
        told = f"taken is {used.threshold:g}, with {hourly:.3g} an hour"
        if hourly > wanted:
            yield f"{label!r}: no threshold has at most {wanted:g} false alarms an hour; {told}"
        elif 0 < wanted < curve.smallest_rate:
            yield (
                f"{label!r}: {wanted:g} false alarms an hour could not be seen in the "
                f"{curve.hours:.3g} hours that the model was measured on, but "
                f"{curve.smallest_rate:.3g}; {told}"
            )
        elif used is curve.points[-1] and hourly < wanted:
            yield f"{label!r}: its curve ends at {hourly:.3g} false alarms an hour; {told}"


def plan(job: Job, input: Input, workers: int) -> Sequence[Any]:
    """Return the parts to run for one input: see `Runner`."""
    return job.runner.plan(input, workers)


def run(job: Job, input: Input, part: Any) -> Any:
    """Look at an input, or at a part of it: see `Runner`."""
    return job.runner.run(input, part)


def finish(job: Job, input: Input, parts: Sequence[Any]) -> Actions:
    """Return what happens in one input, from all its parts.

    Raises:
        InputError: `no_stream`: it has nothing that the model looks at.
    """
    from vmm_cli.operations.action_models import actions

    predicted = job.runner.predictions(input, parts, job.wanted)
    return actions(job.bundle, predicted, job.wanted, max(part.end_s for part in parts))


# --- how records are shown ----------------------------------------------------------------------


def cues(record: Record) -> Iterator[Cue]:
    """Yield a cue for each segment of a record."""
    for segment in record["segments"]:
        text = f"{segment['label']} {segment['score']:.2f}"
        yield Cue(segment["start_s"], segment["end_s"], text)


def values(record: Record) -> Iterator[Sequence[Value]]:
    """Yield the CSV row for each segment."""
    for segment in record["segments"]:
        yield segment["start_s"], segment["end_s"], segment["label"], segment["score"]


def cells(record: Record) -> Iterator[Sequence[Cell]]:
    """Yield the table's row for each segment."""
    for segment in record["segments"]:
        time = span(segment["start_s"], segment["end_s"])
        yield time, segment["label"], f"{segment['score']:.3f}"
    if not record["segments"]:
        yield ("(nothing found)",)


TABLE = Table(
    (Column("time", number=True), Column("label", shorten="end"), Column("score", number=True)),
    cells,
)
SHEET = Sheet(("start_s", "end_s", "label", "score"), values)

DETECT_ACTIONS = Operation(
    name="detect-actions",
    schema="vmm.detect-actions/1",
    help="""Find what happens when in each video, of any length.

    Subtitles (srt, vtt) of several videos go to a folder: -o DIR.
    """,
    examples=(
        (
            "Find fights, and draw when they happen",
            "vmm detect-actions clips -m fights --timeline pictures",
        ),
        (
            "Only what is certain, as subtitles",
            "vmm detect-actions clip.mp4 -m fights --min-score 0.8 -o clip.srt",
        ),
    ),
    options=DetectOptions,
    group="Actions",
    prepare=prepare,
    shown=lambda job: Shown((TABLE,), SHEET, cues),
    formats=formats("table", "jsonl", "json", "csv", "srt", "vtt"),
    either_or=EITHER_OR,
)
