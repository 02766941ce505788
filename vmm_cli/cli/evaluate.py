"""`vmm evaluate`: how good a model is on labelled videos."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmm_cli import errors
from vmm_cli.batch.capacity import default_workers
from vmm_cli.cli import console
from vmm_cli.cli.options import (
    Config,
    Device,
    DocumentFormat,
    Engine,
    Jobs,
    LogFile,
    MaxPixels,
    NoStore,
    Overwrite,
    Quiet,
    Verbose,
    wants_table,
)
from vmm_cli.cli.standing import Stages, summed_up
from vmm_cli.cli.training_options import (
    Data,
    Group,
    KeepFeatures,
    looked_at,
    refuse_contradiction,
)
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.operations.device import device_wanted
from vmm_cli.operations.options import INPUT, OUTPUT, complete_model
from vmm_cli.training import WORKER_MEMORY_BYTES

if TYPE_CHECKING:
    from vmm_cli.bundles import Bundle
    from vmm_cli.training.encoding import Means
    from vmm_cli.training.evaluation import Evaluation

EXIT_SOME_FAILED = 3


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        autocompletion=complete_model,
        show_default=False,
        help="A model from `vmm models list`, or its folder.",
        rich_help_panel=INPUT,
    ),
]
SplitName = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="NAME",
        help="Evaluate only this split [default: all rows].",
        rich_help_panel=INPUT,
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Write metrics, predictions and plots to this folder.",
        rich_help_panel=OUTPUT,
    ),
]


# Typer reads the options off the signature, so that each is a parameter.
def evaluate(
    model: Model,
    data: Data,
    split: SplitName = None,
    group: Group = None,
    format: DocumentFormat = None,
    output: Folder = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    engine: Engine = "auto",
    no_store: NoStore = False,
    keep_features: KeepFeatures = False,
    jobs: Jobs = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    log_file: LogFile = None,
    config: Config = None,
) -> int:
    """Measure a model, or an export of one, on labelled videos.

    DATA has the same form as for `vmm train`: with timed actions for a model that finds actions,
    with valences and emotions for a model that predicts those. With groups, the accuracy of each
    and a confidence interval over them are reported too.
    """
    from vmm_cli import bundles
    from vmm_cli.exports import read
    from vmm_cli.training.encoding import Means

    start = time.monotonic()
    refuse_contradiction(keep_features, no_store)
    if output is not None:
        refuse_output(output, overwrite)
    bundle = read.load(model) if read.is_export(model) else bundles.load(model)
    workers = jobs or default_workers(WORKER_MEMORY_BYTES)
    means = Means(workers, not no_store, keep_features, max_pixels, device_wanted(device))
    found = _evaluated(bundle, data, group, split, means)
    for name, reason in found.failed.items():
        console.failure(f"{name}: {reason}")
    if output is not None:
        from vmm_cli.training.run_files import write_evaluation

        write_evaluation(output, found)
    _report(found, format)
    counts = {"judged": found.document["n"], "failed": found.document["failed"]}
    where = "" if output is None else f"; results in {output}"
    console.closing(summed_up(counts, time.monotonic() - start) + where)
    return EXIT_SOME_FAILED if found.document["failed"] else 0


def _evaluated(
    bundle: Bundle, data: Path, group: str | None, split: str | None, means: Means
) -> Evaluation:
    """Read a data set and measure a model on it; say what is wrong with the data, and how far."""
    from vmm_cli.training.data.samples import NO_DURATIONS
    from vmm_cli.training.tasks.catalogue import task_for

    task = task_for(bundle)
    dataset, durations = task.read(data, group=group), NO_DURATIONS
    if task.inspected:
        inspection = looked_at(dataset, means.jobs, means.max_pixels)
        dataset, durations = inspection.dataset, inspection.durations
    for problem in dataset.problems:
        console.warning(str(problem))
    from vmm_cli.training import evaluation

    with console.progress() as drawn:
        return evaluation.evaluate(
            bundle,
            dataset,
            means,
            split=split,
            durations=durations,
            on_progress=partial(Stages(drawn.update).show, "judging"),
        )


def refuse_output(folder: Path, overwrite: bool) -> None:
    """Raise UsageError where what is measured would be written over what no evaluation wrote."""
    from vmm_cli.bundles import BUNDLE_FILE
    from vmm_cli.output.owned import NOTES_FILE, Written, refuse_foreign
    from vmm_cli.training.evaluation_files import evaluation_files
    from vmm_cli.training.run_folder import WORK_FOLDER

    if folder.exists() and not folder.is_dir():
        raise errors.UsageError(f"{folder}: is not a folder; give another -o")
    for name, what in ((BUNDLE_FILE, "a model"), (WORK_FOLDER, "an unfinished training")):
        if (folder / name).exists():
            raise errors.UsageError(
                f"{folder}: holds {what}, whose metrics and plots would be overwritten; "
                "give another -o"
            )
    written = Written(folder / NOTES_FILE)
    for name in () if overwrite else evaluation_files():
        refuse_foreign(folder / name, written)


def _report(found: Evaluation, format: str | None) -> None:
    if not wants_table(format):
        from vmm_cli.output.json_document import write_document

        write_document(console.stdout(data=True), found.document)
        return
    from vmm_cli.output.table import Column, Row, print_table

    rows = [Row(cells) for cells in report_rows(found)]
    print_table(console.stdout(data=False), (Column("what"), Column("value", number=True)), rows)


def report_rows(found: Evaluation) -> Iterator[tuple[str, str]]:
    """Yield what a person wants to know: name and value."""
    report = found.task.report
    yield "samples", str(found.document["n"])
    if found.document.get("failed"):
        yield f"{report.sample}s that could not be judged", str(found.document["failed"])
    yield from report.rows(found.document["metrics"])
