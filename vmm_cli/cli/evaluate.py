"""`vmm evaluate`: how good a model is on labelled videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmm_cli import errors
from vmm_cli.batch.capacity import default_workers
from vmm_cli.cli import console
from vmm_cli.cli.options import (
    DEFAULT_MAX_PIXELS,
    Config,
    DocumentFormat,
    Jobs,
    LogFile,
    MaxPixels,
    NoStore,
    Quiet,
    Verbose,
    complete_model,
    wants_table,
)
from vmm_cli.cli.train import WORKER_MEMORY_BYTES, Data, Group

if TYPE_CHECKING:
    from vmm_cli.training.evaluation import Evaluation

EXIT_SOME_FAILED = 3


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", hidden=True, autocompletion=complete_model)
    ],
    data: Data,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="NAME", help="Only this split [default: every row]."),
    ] = None,
    group: Group = None,
    format: DocumentFormat = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Write metrics, scores and pictures here."
        ),
    ] = None,
    no_store: NoStore = False,
    jobs: Jobs = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    log_file: LogFile = None,
    config: Config = None,
) -> int:
    """Measure a model on labelled videos.

    MODEL is a name from `vmm models list`, or a folder; DATA is a folder or a file as for
    `vmm train`. With groups the accuracy of each, and an interval over them, is given too.
    """
    from vmm_cli import bundle as bundles
    from vmm_cli.training.dataset import read_dataset

    bundle = bundles.load(model)
    dataset = read_dataset(data, group=group)
    for problem in dataset.problems:
        console.warning(str(problem))
    if output is not None and output.exists() and not output.is_dir():
        raise errors.UsageError(f"{output}: is not a folder")
    from vmm_cli.training import evaluation

    with console.progress() as bar:
        found = evaluation.evaluate(
            bundle,
            dataset,
            split=split,
            jobs=jobs or default_workers(WORKER_MEMORY_BYTES),
            use_store=not no_store,
            max_pixels=max_pixels,
            on_progress=lambda done, total: bar.update(done, total, "judging"),
        )
    for name, reason in found.failed.items():
        console.failure(f"{name}: {reason}")
    if output is not None:
        from vmm_cli.training.run_files import write_evaluation

        write_evaluation(output, bundle.labels, found)
    _report(found, format)
    return EXIT_SOME_FAILED if found.failed else 0


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
    metrics = found.document["metrics"]
    yield "samples", str(found.document["n"])
    for name in ("accuracy", "top5", "balanced_accuracy", "macro_f1", "ece"):
        if metrics.get(name) is not None:
            yield name.replace("_", " "), f"{metrics[name]:.3f}"
    if metrics.get("interval"):
        low, high = metrics["interval"]["low"], metrics["interval"]["high"]
        yield "95 % interval of the accuracy over groups", f"{low:.3f} to {high:.3f}"
    for label, numbers in metrics["per_class"].items():
        if numbers["support"]:
            said = f"precision {numbers['precision']:.3f}, recall {numbers['recall']:.3f}"
            yield f"{label} ({numbers['support']})", said
