"""`vmm evaluate`: how good a model is on labelled videos."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmm_cli import errors
from vmm_cli.batch.capacity import default_workers
from vmm_cli.cli import console
from vmm_cli.cli.help import INPUT, OUTPUT
from vmm_cli.cli.options import (
    DEFAULT_MAX_PIXELS,
    Config,
    DocumentFormat,
    Jobs,
    LogFile,
    MaxPixels,
    NoStore,
    Overwrite,
    Quiet,
    Verbose,
    complete_model,
    wants_table,
)
from vmm_cli.cli.standing import Stages, summed_up
from vmm_cli.cli.train import (
    LOOKING,
    WORKER_MEMORY_BYTES,
    Data,
    Group,
    KeepFeatures,
    refuse_contradiction,
)

if TYPE_CHECKING:
    from vmm_cli.training.evaluation import Evaluation

EXIT_SOME_FAILED = 3
GROUPS_SHOWN = 20


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            autocompletion=complete_model,
            show_default=False,
            help="A model from `vmm models list`, or its folder.",
            rich_help_panel=INPUT,
        ),
    ],
    data: Data,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="NAME",
            help="Evaluate only this split [default: all rows].",
            rich_help_panel=INPUT,
        ),
    ] = None,
    group: Group = None,
    format: DocumentFormat = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write metrics, predictions and plots to this folder.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    no_store: NoStore = False,
    keep_features: KeepFeatures = False,
    jobs: Jobs = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    log_file: LogFile = None,
    config: Config = None,
) -> int:
    """Measure a model on labelled videos.

    DATA has the same form as for `vmm train`: with timed actions for a model that finds actions,
    with valences and emotions for a model that predicts those. With groups, the accuracy of each
    and a confidence interval over them are reported too.
    """
    from vmm_cli import bundles
    from vmm_cli.training.readers import READERS
    from vmm_cli.training.samples import NO_DURATIONS

    start = time.monotonic()
    refuse_contradiction(keep_features, no_store)
    if output is not None:
        refuse_output(output, overwrite)
    bundle = bundles.load(model)
    dataset = READERS[bundle.task](data, group=group)
    workers = jobs or default_workers(WORKER_MEMORY_BYTES)
    durations = NO_DURATIONS
    if dataset.timed:  # actions are held against the files' ends, as before a training
        from vmm_cli.training.inspection import inspect

        with console.progress() as drawn:
            inspection = inspect(
                dataset,
                jobs=workers,
                max_pixels=max_pixels,
                on_progress=partial(Stages(drawn.update).show, LOOKING),
            )
        dataset, durations = inspection.dataset, inspection.durations
    for problem in dataset.problems:
        console.warning(str(problem))
    from vmm_cli.training import evaluation

    with console.progress() as drawn:
        found = evaluation.evaluate(
            bundle,
            dataset,
            split=split,
            jobs=workers,
            use_store=not no_store,
            keep_features=keep_features,
            max_pixels=max_pixels,
            durations=durations,
            on_progress=partial(Stages(drawn.update).show, "judging"),
        )
    for name, reason in found.failed.items():
        console.failure(f"{name}: {reason}")
    if output is not None:
        from vmm_cli.training.run_files import write_evaluation

        several = bool(bundle.network.get("multi_label"))
        rated = bundle.task == "valence"
        write_evaluation(output, bundle.labels, found, multi_label=several, rated=rated)
    _report(found, format)
    counts = {"judged": found.document["n"], "failed": found.document["failed"]}
    where = "" if output is None else f"; results in {output}"
    console.closing(summed_up(counts, time.monotonic() - start) + where)
    return EXIT_SOME_FAILED if found.document["failed"] else 0


def refuse_output(folder: Path, overwrite: bool) -> None:
    """Raise UsageError where what is measured would be written over what no evaluation wrote."""
    from vmm_cli.bundles import BUNDLE_FILE
    from vmm_cli.output.owned import NOTES_FILE, Written, refuse_foreign
    from vmm_cli.training.evaluation_files import EVALUATION_FILES
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
    for name in () if overwrite else EVALUATION_FILES:
        refuse_foreign(folder / name, written)


def _report(found: Evaluation, format: str | None) -> None:
    if not wants_table(format):
        from vmm_cli.output.json_document import write_document

        write_document(console.stdout(data=True), found.document)
        return
    from vmm_cli.output.table import Column, Row, print_table

    rows = [Row(cells) for cells in report_rows(found)]
    print_table(console.stdout(data=False), (Column("what"), Column("value", number=True)), rows)


# What a figure is called where it is shown; docs/training.md explains each.
FIGURES = {
    "accuracy": "accuracy",
    "top5": "accuracy of the five best",
    "balanced_accuracy": "balanced accuracy (mean recall of the labels)",
    "macro_f1": "macro F1 (mean F1 of the labels)",
    "ece": "calibration error (ECE: confidence off by, mean)",
}


def report_rows(found: Evaluation) -> Iterator[tuple[str, str]]:
    """Yield what a person wants to know: name and value."""
    metrics = found.document["metrics"]
    yield "samples", str(found.document["n"])
    if found.document.get("failed"):
        what = "videos" if "mAP" in metrics else "rows"
        yield f"{what} that could not be judged", str(found.document["failed"])
    if "mAP" in metrics:
        yield from _action_rows(metrics)
        return
    if "emotions" in metrics:
        yield from _valence_rows(metrics["valence"])
        yield from _emotion_rows(metrics["emotions"])
        return
    for key, name in FIGURES.items():
        if metrics.get(key) is not None:
            yield name, f"{metrics[key]:.3f}"
    if metrics.get("interval"):
        low, high = metrics["interval"]["low"], metrics["interval"]["high"]
        yield "95 % interval of the accuracy over groups", f"{low:.3f} to {high:.3f}"
    yield from _label_rows(metrics["per_class"])
    yield from _group_rows(metrics.get("per_group") or {})


def _label_rows(labels: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for label, numbers in labels.items():
        if numbers["support"]:
            said = f"precision {numbers['precision']:.3f}, recall {numbers['recall']:.3f}"
            yield f"{label} ({numbers['support']})", said


def _valence_rows(metrics: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """Yield what a person wants to know of valences: name and value."""
    if metrics is None:
        return
    yield "samples with a valence", str(metrics["n"])
    yield "mean absolute error", f"{metrics['mae']:.3f}"
    if (ends := metrics.get("interval")) is not None:
        yield "95 % interval of it over groups", f"{ends['low']:.3f} to {ends['high']:.3f}"
    yield "Pearson r", _shown(metrics["pearson"])
    for name, value in metrics["acc2"].items():
        f1 = _shown(metrics["f1"][name])
        yield f"Acc-2 {name} ({metrics['acc2_n'][name]})", f"{_shown(value)}, F1 {f1}"
    for name, reason in metrics["undefined"].items():
        yield f"no {name}", reason


def _emotion_rows(metrics: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """Yield what a person wants to know of emotions: name and value."""
    if metrics is None:
        return
    yield "samples with an emotion", str(metrics["n"])
    yield "unweighted average recall (UAR: mean of the emotions)", f"{metrics['uar']:.3f}"
    yield "accuracy of the emotions", f"{metrics['accuracy']:.3f}"
    if (ends := metrics.get("interval")) is not None:
        yield "95 % interval of it over groups", f"{ends['low']:.3f} to {ends['high']:.3f}"
    yield from _label_rows(metrics["per_class"])
    yield from _group_rows(metrics.get("per_group") or {})


def _action_rows(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a person wants to know of actions that were found: name and value."""
    for iou, value in metrics["mAP"].items():
        name = "mAP (mean over IoU 0.3 to 0.7)"
        yield name if iou == "mean" else f"mAP at IoU {iou}", _shown(value)
    if metrics.get("interval"):
        low, high = metrics["interval"]["low"], metrics["interval"]["high"]
        yield "95 % interval of the mAP over groups", f"{low:.3f} to {high:.3f}"
    yield "told from a score of", f"{metrics['threshold']:.3f}"
    yield "recall at IoU 0.5", _shown(metrics["recall_at"]["0.5"])
    yield "false alarms an hour", f"{metrics['false_alarms_per_hour']['all']:.1f}"
    for label, numbers in metrics["per_class"].items():
        if numbers["n"]:
            parts = (
                f"AP at 0.3 {_shown(numbers['ap']['0.3'])}",
                f"recall {_shown(numbers['recall'])}",
                f"{numbers['false_alarms_per_hour']:.1f} false alarms an hour",
            )
            yield f"{label} ({numbers['n']})", ", ".join(parts)
    groups = metrics.get("per_group") or {}
    worst = sorted(groups.items(), key=lambda item: (item[1]["recall"] or 0.0, item[0]))
    for name, numbers in worst[:GROUPS_SHOWN]:
        said = f"recall {_shown(numbers['recall'])}, {numbers['false_alarms']} false alarms"
        yield f"group {name} ({numbers['n']})", said


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _group_rows(groups: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the groups with the lowest accuracy, of equal ones the largest first."""
    worst = sorted(groups.items(), key=lambda item: (item[1]["accuracy"], -item[1]["n"], item[0]))
    for name, numbers in worst[:GROUPS_SHOWN]:
        yield f"group {name} ({numbers['n']})", f"accuracy {numbers['accuracy']:.3f}"
    if len(worst) > GROUPS_SHOWN:
        yield f"{len(worst) - GROUPS_SHOWN} more groups", "no worse; all with --format json"
