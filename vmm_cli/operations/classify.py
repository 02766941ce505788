"""`vmm classify`: what each video shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm_cli.errors import OptionError
from vmm_cli.operations import labels_shown
from vmm_cli.operations.classify_models import CHOICES, of_pictures, of_sounds, of_tags, of_windows
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
from vmm_cli.operations.parse import (
    parse_count,
    parse_device,
    parse_path,
    parse_positive_seconds,
    parse_score,
)
from vmm_cli.operations.remarks import remarks_on
from vmm_cli.output.formats import Shown

# What computes loads when a model is there to be run.
if TYPE_CHECKING:
    from vmm_cli.analysis.labels import Classification, LabelScore
    from vmm_cli.batch.inputs import Input
    from vmm_cli.bundles import Bundle
    from vmm_cli.inference.classify_request import ClassifyRequest
    from vmm_cli.inference.classify_sounds import SoundsRequest
    from vmm_cli.inference.classify_tags import TagsRequest
    from vmm_cli.inference.classify_windows import WindowsRequest


@dataclass(frozen=True)
class ClassifyOptions:
    """What `vmm classify` can be asked for; times in seconds."""

    model: str = option(
        "--model",
        "-m",
        default="tags",
        metavar="MODEL",
        complete=complete_model,
        help="A model from `vmm models list`, or its folder.",
        show_default=True,
        counts="never",
    )
    top_k: int = option(
        "--top-k",
        "-k",
        default=5,
        metavar="K",
        parse=parse_count,
        help="How many labels to give.",
        show_default=True,
    )
    min_score: float | None = option(
        "--min-score",
        metavar="0-1",
        parse=parse_score,
        help="Drop labels that score less [default: the model's own threshold, if it has one].",
        counts="given",
    )
    every: Fraction | None = option(
        "--every",
        metavar="S",
        parse=parse_positive_seconds,
        help="Look at one frame every S seconds.",
        counts="given",
    )
    count: int | None = option(
        "--count",
        metavar="N",
        parse=parse_count,
        help="Look at N frames, evenly spaced.",
        counts="given",
    )
    windows: Fraction | None = option(
        "--windows",
        metavar="S",
        parse=parse_positive_seconds,
        help="Give labels for each S seconds: a timeline.",
        key="windows_s",
        as_json=lambda length: None if length is None else float(length),
    )
    start: Fraction = start_option()
    end: Fraction | None = end_option()
    explain: bool = option(
        "--explain",
        default=False,
        help="Say what each decision rests on (models made by `vmm train`).",
    )
    strips: Path | None = option(
        "--strips",
        parse=parse_path,
        metavar="DIR",
        help="Draw what each decision rests on into DIR, a picture per video.",
        group=OUTPUT,
        writes=True,
    )
    device: str = device_option()
    no_store: bool = no_store_option()
    overwrite: bool = overwrite_option()
    max_pixels: int = max_pixels_option()


# --- what is to be done -------------------------------------------------------------------------


def prepare(options: ClassifyOptions) -> Prepared[ClassifyOptions, Any, Any, Any]:
    """Load the model, and check the options against it: it looks at pictures, or at windows."""
    from vmm_cli import bundles
    from vmm_cli.inference.classify_request import hears_sounds, joins_networks, sees_windows

    check_options(options)
    model = bundles.load(options.model)
    prepared: Prepared[ClassifyOptions, Any, Any, Any]
    if sees_windows(model):
        prepared = of_windows(options, model)
    elif hears_sounds(model):
        prepared = of_sounds(options, model)
    elif joins_networks(model):
        prepared = of_tags(options, model)
    else:
        prepared = of_pictures(options, model)
    prepared = _with_threshold(prepared, model)
    remarks = remarks_on(model, on_cpu=prepared.work.device is None)
    digest = prepared.model_digest or model.journal_digest
    return replace(prepared, model_digest=digest, remarks=remarks)


def check_options(options: ClassifyOptions) -> None:
    """Raise OptionError where options contradict each other, or themselves."""
    check(options, CHOICES)
    if options.top_k < 1:
        raise OptionError(
            "{top_k} {number}: at least one label must be shown", number=options.top_k
        )
    if options.windows is not None and options.windows <= 0:
        raise OptionError("{windows}: a window must last some seconds")
    try:
        parse_device(options.device)
    except ValueError as error:
        raise OptionError("{device}: {said}", said=error) from None


def _with_threshold(
    prepared: Prepared[ClassifyOptions, Any, Any, Any], model: Bundle
) -> Prepared[ClassifyOptions, Any, Any, Any]:
    """Return the same, with labels left out that score too little."""
    least = prepared.options.min_score
    if least is None:
        least = model.thresholds.get("score", 0.0)
    if not least:
        return prepared
    finish: Any = prepared.work.finish  # of a classification, whatever the parts are
    work = replace(prepared.work, finish=partial(sure_ones, finish, least))
    return replace(prepared, work=work, options=replace(prepared.options, min_score=least))


def sure_ones(
    finish: Callable[..., Classification], least: float, job: Any, input: Input, parts: Any
) -> Classification:
    """Return what an input shows, without the labels that score less than `least`."""
    found = finish(job, input, parts)

    def sure(labels: Sequence[LabelScore]) -> tuple[LabelScore, ...]:
        return tuple(label for label in labels if label.score >= least)

    windows = found.windows
    if windows is not None:
        windows = tuple(replace(window, labels=sure(window.labels)) for window in windows)
    return replace(found, labels=sure(found.labels), windows=windows)


def shown(job: ClassifyRequest | WindowsRequest | SoundsRequest | TagsRequest) -> Shown:
    """Show the labels, by time where a timeline is wanted."""
    return labels_shown.shown(timeline=job.windows_s is not None, sources=job.tells_sources)


CLASSIFY = Operation(
    name="classify",
    schema="vmm.classify/1",
    help="""Label what is seen and heard in each video.

    Pictures and files of sound are taken, too; folders of them where there is no video.
    """,
    examples=(
        ("Label every video in a folder, into a table", "vmm classify clips -o labels.csv"),
        (
            "The three best labels of each ten seconds",
            "vmm classify clip.mp4 --windows 10 --top-k 3",
        ),
    ),
    options=ClassifyOptions,
    group="Labels",
    either_or=CHOICES,
    prepare=prepare,
    shown=shown,
    formats=formats("table", "jsonl", "json", "csv"),
)
