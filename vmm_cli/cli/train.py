"""`vmm train`: a model of the user's own videos."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    Quiet,
    Verbose,
    wants_table,
)
from vmm_cli.cli.standing import Stages, summed_up
from vmm_cli.cli.training_options import (
    Check,
    Data,
    Epochs,
    Folds,
    Group,
    KeepFeatures,
    LearningCurve,
    MaxFalseAlarms,
    ModelName,
    Negatives,
    RecipeName,
    Resume,
    RunFolder,
    Seed,
    Seeds,
    Set,
    TaskName,
    looked_at,
    model_name,
    refuse_contradiction,
)
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.operations.device import device_wanted
from vmm_cli.training import WORKER_MEMORY_BYTES

if TYPE_CHECKING:
    from vmm_cli.output.table import Cell
    from vmm_cli.training.data.inspection import Inspection
    from vmm_cli.training.data.samples import DataSet
    from vmm_cli.training.loop import Progress
    from vmm_cli.training.recipe import Recipe
    from vmm_cli.training.request import Listener, TrainRequest
    from vmm_cli.training.tasks.task import Report

# What is said to be going on.
READING = "reading videos"
MAX_PROBLEMS = 20  # said before a training; with many thousand clips there can be thousands


# Typer reads the options off the signature: each is a parameter, and makes the function long.
def train(
    data: Data,
    output: RunFolder = None,
    task: TaskName = "classes",
    recipe: RecipeName = None,
    set: Set = None,
    epochs: Epochs = None,
    name: ModelName = None,
    seed: Seed = 0,
    seeds: Seeds = 1,
    folds: Folds = None,
    group: Group = None,
    negatives: Negatives = None,
    max_false_alarms_per_hour: MaxFalseAlarms = None,
    learning_curve: LearningCurve = False,
    check: Check = False,
    resume: Resume = False,
    device: Device = "auto",
    engine: Engine = "auto",
    no_store: NoStore = False,
    keep_features: KeepFeatures = False,
    format: DocumentFormat = None,
    jobs: Jobs = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    log_file: LogFile = None,
    config: Config = None,
) -> int:
    """Train a model on labelled videos.

    DATA is a folder with one folder of videos per class (optionally inside train/, val/ and test/),
    or a CSV or JSONL file with the columns path and label, and optionally split, group, fold,
    start, end and text. For --task segments it is a JSON file in ActivityNet's format, or a CSV or
    JSONL file with the columns path, start, end and label, and optionally split, group and fold.
    For --task valence it is a CSV or JSONL file with the column path and, instead of label, valence
    (from -1 to 1), emotion or both. For --task normal it is a folder of videos in which all is as
    usual, or a CSV or JSONL file with the column path.
    """
    from vmm_cli.training.request import TrainRequest
    from vmm_cli.training.run_folder import refuse_taken
    from vmm_cli.training.tasks.catalogue import TASKS

    start = time.monotonic()
    refuse_contradiction(keep_features, no_store)
    if output is None and not check:
        raise errors.UsageError(
            "no output folder given; name one with -o RUN, or only inspect the data with --check"
        )
    # What can be refused is refused before all files are looked at.
    chosen = _recipe(task, recipe, set or (), epochs, max_false_alarms_per_hour)
    if learning_curve and TASKS[task].targets is None:
        raise errors.UsageError(f"--learning-curve is not for --task {task}; leave it out")
    encode_on = None
    if output is not None and not check:
        name = name or model_name(output)
        refuse_taken(output, resume)
        encode_on = device_wanted(device)
    dataset = TASKS[task].read(data, group=group, fold=folds)
    workers = jobs or default_workers(WORKER_MEMORY_BYTES)
    inspection = _looked_at(dataset, negatives or (), workers, max_pixels)
    # The probe was not measured with negatives.
    if not (recipe or set or epochs or negatives or max_false_alarms_per_hour is not None):
        chosen = _recipe_for_few(inspection) or chosen
    request = TrainRequest(
        folder=output or Path(),
        name=name or "",
        recipe=chosen,
        seed=seed,
        seeds=seeds,
        folds=folds is not None,
        resume=resume,
        jobs=workers,
        use_store=not no_store,
        keep_features=keep_features,
        max_pixels=max_pixels,
        encode_on=encode_on,
        learning_curve=learning_curve,
    )
    if check or output is None:
        _tell(inspection, request, format)
        usable, left_out = len(inspection.dataset.samples), _rows_left_out(inspection)
        counts = {"samples can be used": usable, "left out": left_out}
        console.closing(summed_up(counts, time.monotonic() - start))
    else:
        _say_problems(inspection)
        metrics, read = _trained(inspection, request, device)
        if metrics:
            _report(metrics, output, task, format)
            console.closing(f"{_came_of(metrics, inspection, read, start)}; model in {output}")
    return 0


def _came_of(
    metrics: Mapping[str, Any], inspection: Inspection, read: int | None, start: float
) -> str:
    """Say what came of a training that began at `start`; `read`: see `_trained`."""
    if read is None:
        return "nothing to do: it is trained already"
    used = sum(metrics["samples"].values())
    counts = {"samples used": used, "left out": _rows_left_out(inspection) + read - used}
    return summed_up(counts, time.monotonic() - start)


def _looked_at(
    dataset: DataSet, negatives: Sequence[Path], jobs: int, max_pixels: int
) -> Inspection:
    """Look at all files, with those of the negatives. UsageError: the task has none."""
    from vmm_cli.training.data.read_negatives import require_some
    from vmm_cli.training.request import data_with_negatives

    try:
        whole = data_with_negatives(dataset, negatives)
    except errors.OptionError as error:
        raise errors.UsageError(error.worded("--{}".format)) from None
    inspection = looked_at(whole, jobs, max_pixels)
    require_some(inspection.dataset, negatives)
    return inspection


def _recipe(
    task: str,
    name: str | None,
    changes: Sequence[str],
    epochs: int | None,
    max_false_alarms: float | None,
) -> Recipe:
    """Return the recipe that is asked for. UsageError where it is for another task."""
    from vmm_cli.training.request import recipe_for

    more = [f"optimisation.epochs={epochs}"] if epochs else []
    if max_false_alarms is not None:
        more.append(f"max_false_alarms_per_hour={max_false_alarms}")
    try:
        return recipe_for(task, name, [*changes, *more])
    except errors.OptionError as error:
        raise errors.UsageError(error.worded("--{}".format)) from None


def _recipe_for_few(inspection: Inspection) -> Recipe | None:
    """Return the recipe for few samples, and say so, where there are few; else None."""
    from vmm_cli.training.request import FEW_SAMPLES, few_samples, recipe_for_few

    found = recipe_for_few(inspection.dataset)
    if found is not None:
        console.remark(
            f"{few_samples(inspection.dataset):.0f} samples a label, up to {FEW_SAMPLES} are few: "
            f"trains by the recipe {found.name!r} (give --recipe for another)"
        )
    return found


def _trained(
    inspection: Inspection, request: TrainRequest, device: str
) -> tuple[dict[str, Any], int | None]:
    """Train; return the metrics, and how many samples were read, None where none had to be."""
    with _processes(device) as torch_device, console.progress() as drawn:
        from vmm_cli.training.run import train as run

        stages = Stages(drawn.update)
        listener = _listener(stages, request.recipe.optimisation.epochs)
        try:
            metrics = run(inspection, replace(request, device=torch_device), listener)
        except KeyboardInterrupt:
            console.error("interrupted; run the same command with --resume to continue")
            raise
    return metrics, stages.totals.get(READING)


def _rows_left_out(inspection: Inspection) -> int:
    from vmm_cli.training.data.samples import left_out_of

    return sum(problem.rows for problem in left_out_of(inspection.dataset))


def _listener(stages: Stages, epochs: int) -> Listener:
    from vmm_cli.batch.tally import Standing
    from vmm_cli.training.request import Listener

    def on_epoch(what: str, progress: Progress) -> None:
        row = progress.history[-1]
        numbers = ("train_loss", "val_loss", "val_mae", "val_accuracy")
        numbers_shown = ", ".join(f"{key} {row[key]:.3f}" for key in numbers if key in row)
        share = progress.epoch / epochs
        stages.show(f"{what}: epochs", Standing(progress.epoch, epochs, share, None))
        console.info(f"{what}: epoch {progress.epoch}: {numbers_shown}")

    return Listener(
        on_encoded=partial(stages.show, READING),
        on_epoch=on_epoch,
        on_warning=console.warning,
    )


@contextmanager
def _processes(device: str) -> Iterator[str]:
    """Join the other processes where `torchrun` started several; give this one's device."""
    import torch

    from vmm_cli.features.image import device_from

    if not torch.distributed.is_torchelastic_launched():
        yield str(device_from(device))
        return
    if device in ("auto", "cuda") and torch.cuda.is_available():
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    chosen = device_from(device)
    torch.distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    if torch.distributed.get_rank() > 0:
        console.settings.quiet = True  # the first process says it
    try:
        yield str(chosen)
    finally:
        torch.distributed.destroy_process_group()


def _tell(inspection: Inspection, request: TrainRequest, format: str | None) -> None:
    """Print what a data set holds."""
    from vmm_cli.training.summary import summary

    document = summary(inspection)
    if not wants_table(format):
        from vmm_cli.output.json_document import write_document

        write_document(console.stdout(data=True), document)
        _say_whether_trainable(inspection, request)
        return
    from vmm_cli.output.table import Column, Row, print_table
    from vmm_cli.training.tasks.catalogue import TASKS

    report = TASKS[inspection.dataset.task].report
    for table in report.data_tables(document):
        if table.rows:
            rows = [Row(tuple(line)) for line in table.rows]
            print_table(console.stdout(data=False), table.columns, rows)
            console.stdout(data=False).write("\n")
    facts = [Row(cells) for cells in data_rows(document, report)]
    print_table(console.stdout(data=False), (Column("what"), Column("value")), facts)
    for problem in inspection.dataset.problems:
        console.warning(str(problem))
    _say_whether_trainable(inspection, request)


def data_rows(document: Mapping[str, Any], report: Report) -> Iterator[tuple[str, Cell]]:
    """Yield what a person wants to know of a data set's `summary` as a whole: name and value."""
    from vmm_cli.output.table import Times

    balance, lengths = document["balance"], document["durations_s"]
    yield "samples", f"{document['n']} in {document['files']} files"
    if balance is not None:
        share, times = 100 * balance["majority_share"], balance["largest_to_smallest"]
        yield "most frequent", f"{balance['majority']}: {share:.0f} %, {times:.1f} times the rarest"
    yield from report.data_facts(document)
    if (negatives := document["negatives"]) is not None:
        shown = f"{negatives['n']} in {negatives['files']} files, "
        yield "negatives", Times((shown, negatives["seconds"]))
    if lengths["min"] is None:
        yield "durations", "unknown"
    else:
        unknown = f", {lengths['unknown']} unknown" if lengths["unknown"] else ""
        least, middle, most = (f"{lengths[key]:.1f}" for key in ("min", "median", "max"))
        yield "durations", f"{least} to {most} s, median {middle} s{unknown}"
        yield "total", Times((lengths["total"],))
    if (groups := document["groups"]) is not None:
        yield "groups", f"{groups['n']}, of {groups['smallest']} to {groups['largest']} samples"
    if (folds := document["folds"]) is not None:
        yield "folds", ", ".join(f"{fold}: {n}" for fold, n in folds.items())


def _say_whether_trainable(inspection: Inspection, request: TrainRequest) -> None:
    """Warn of what `vmm train` would refuse."""
    from vmm_cli.training.data.splits import without_test
    from vmm_cli.training.request import check_divisible

    try:
        check_divisible(without_test(inspection.dataset, inspection.contents), inspection, request)
    except errors.DataError as error:
        console.warning(str(error))


def _say_problems(inspection: Inspection) -> None:
    problems = inspection.dataset.problems
    for problem in problems[:MAX_PROBLEMS]:
        console.warning(str(problem))
    if len(problems) > MAX_PROBLEMS:
        console.warning(f"and {len(problems) - MAX_PROBLEMS} more; --check lists all of them")


def _report(metrics: Mapping[str, Any], folder: Path, task: str, format: str | None) -> None:
    """Print how good the model is."""
    if not wants_table(format):
        from vmm_cli.output.json_document import write_document

        write_document(console.stdout(data=True), metrics)
        return
    from vmm_cli.output.table import Column, Row, print_table
    from vmm_cli.training.tasks.catalogue import TASKS

    rows = [Row(cells) for cells in report_rows(metrics, folder, TASKS[task].report)]
    print_table(console.stdout(data=False), (Column("what"), Column("value")), rows)


def report_rows(
    metrics: Mapping[str, Any], folder: Path, report: Report
) -> Iterator[tuple[str, str]]:
    """Yield what a person wants to know of a training: name and value."""
    scores = metrics["folds"]["test"] if "folds" in metrics else metrics["validation"]
    yield "model", str(folder)
    yield "samples", ", ".join(f"{n} {split}" for split, n in metrics["samples"].items() if n)
    if "folds" in metrics:
        yield "measured on", f"{len(metrics['folds']['names'])} folds, each left out in turn"
    else:
        yield "measured on", f"held-out samples ({metrics['split']})"
    numbers = report.headline(scores)
    for name, value in numbers.items():
        yield name.replace("_", " "), f"{value:.3f}"
    for name, ends in report.intervals(scores).items():
        what = "" if report.one_figure else f" of the {name}"
        yield f"95 % interval{what} over groups", f"{ends['low']:.3f} to {ends['high']:.3f}"
    seeds = metrics.get("seeds") or metrics.get("folds", {}).get("seeds")
    if seeds:
        for name in list(numbers)[:1] if report.one_figure else numbers:
            if name in seeds:
                spread = f"{seeds[name]['mean']:.3f} ± {seeds[name]['sd']:.3f}"
                yield f"{name} over {len(seeds['seeds'])} seeds", spread
    if "probe" in metrics:
        if views := metrics["probe"]["views"]:
            chosen = views[0]["streams"].items()
            yield "streams chosen", ", ".join(f"{stream} ({end})" for stream, end in chosen)
    elif metrics["best_epoch"]:  # where anything was trained epoch by epoch
        yield "best epoch", str(metrics["best_epoch"])
    if curve := metrics.get("learning_curve"):
        from vmm_cli.training.learning_curve import says

        yield "learning curve", says(curve)
