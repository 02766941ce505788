"""`vmm train`: a model of the user's own classes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vmm_cli import errors
from vmm_cli.batch.absent import MISSING, why_missing
from vmm_cli.batch.capacity import default_workers
from vmm_cli.cli import console
from vmm_cli.cli.options import (
    Config,
    Device,
    DocumentFormat,
    Jobs,
    LogFile,
    MaxPixels,
    NoStore,
    Quiet,
    Verbose,
    wants_table,
)
from vmm_cli.cli.standing import Stages, summed_up
from vmm_cli.operations.options import DEFAULT_MAX_PIXELS, INPUT, OUTPUT, RUN
from vmm_cli.operations.parse import parse_count, parse_file_name

if TYPE_CHECKING:
    from vmm_cli.output.table import Cell
    from vmm_cli.training.inspection import Inspection
    from vmm_cli.training.loop import Progress
    from vmm_cli.training.run import Listener

# torch, the image network and the pictures of a window of 1080p video.
WORKER_MEMORY_BYTES = 700 * 2**20

DEFAULT_RECIPES = {"classes": "default", "segments": "segments", "valence": "sentiment"}
# What is said to be going on.
LOOKING = "looking"
READING = "reading videos"
LONGEST_BAR = 30  # characters
PAIRS_SHOWN = 3  # of labels that overlap most often
MAX_PROBLEMS = 20  # said before a training; with many thousand clips there can be thousands

# What the names of bundles are made of: see `bundle.save`.
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def parse_name(text: object) -> str:
    """Return the name of a model. ValueError for what cannot be one."""
    word = str(text)
    if not _MODEL_NAME.fullmatch(word):
        raise ValueError(
            f"{word!r} is not a valid model name; use letters, digits, '.', '_' and '-'"
        )
    return word


def parse_seed(text: object) -> int:
    """Return a whole number from 0. ValueError otherwise."""
    word = str(text).strip()
    if not re.fullmatch(r"[0-9]{1,9}", word, re.ASCII):
        raise ValueError(f"{word!r} is not a whole number of at least 0")
    return int(word)


def parse_data(text: object) -> Path:
    """Return where a data set is. ValueError for an address, and for no name at all."""
    name = parse_file_name(text)
    why = why_missing(name)
    if why != MISSING:
        raise ValueError(f"{name!r}: {why}")
    return Path(name)


Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        parser=parse_data,
        show_default=False,
        help="Labelled videos: a folder or a file.",
        rich_help_panel=INPUT,
    ),
]
KeepFeatures = Annotated[
    bool,
    typer.Option(
        "--keep-features",
        help="Let the feature store keep features of faces and voices.",
        rich_help_panel=RUN,
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="COLUMN",
        help="Keep rows with the same value in COLUMN together [default: the column 'group'].",
        rich_help_panel=INPUT,
    ),
]


def train(
    data: Data,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="RUN",
            help="Output folder; usable as a model afterwards [required, except with --check].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    task: Annotated[
        Literal["classes", "segments", "valence"],
        typer.Option(
            "--task",
            metavar="classes|segments|valence",
            help="What to learn: classes (labels of whole videos), segments (actions and when they "
            "happen) or valence (how pleasant videos are, and which emotion they show).",
            rich_help_panel="Training",
        ),
    ] = "classes",
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            "-r",
            metavar="R",
            help="A recipe from `vmm models list --recipes`, or a YAML file "
            "[default: default, segments or sentiment, by task].",
            rich_help_panel="Training",
        ),
    ] = None,
    set: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a value of the recipe, such as optimisation.learning_rate=0.001.",
            rich_help_panel="Training",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            metavar="N",
            parser=parse_count,
            help="Train for at most N epochs.",
            rich_help_panel="Training",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            parser=parse_name,
            help="Name of the model [default: that of its folder].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            metavar="N",
            parser=parse_seed,
            help="Random seed.",
            rich_help_panel="Training",
        ),
    ] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds",
            metavar="N",
            parser=parse_count,
            help="Measure with N seeds, starting from --seed.",
            rich_help_panel="Training",
        ),
    ] = 1,
    folds: Annotated[
        str | None,
        typer.Option(
            "--folds",
            metavar="COLUMN",
            help="Measure by leaving out each value of COLUMN in turn, then train on all rows.",
            rich_help_panel="Training",
        ),
    ] = None,
    group: Group = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Only inspect the data and report what is in it.",
            rich_help_panel=RUN,
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume the training in RUN.",
            rich_help_panel=RUN,
        ),
    ] = False,
    device: Device = "auto",
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
    (from -1 to 1), emotion or both.
    """
    from vmm_cli.training.inspection import inspect
    from vmm_cli.training.readers import READERS
    from vmm_cli.training.recipe import load_recipe

    start = time.monotonic()
    refuse_contradiction(keep_features, no_store)
    if output is None and not check:
        raise errors.UsageError(
            "no output folder given; name one with -o RUN, or only inspect the data with --check"
        )
    # What can be refused is refused before all files are looked at.
    overrides = [*(set or ()), *([f"optimisation.epochs={epochs}"] if epochs else [])]
    recipe = recipe or DEFAULT_RECIPES[task]
    chosen = load_recipe(recipe, overrides)
    if chosen.task != task:
        raise errors.UsageError(
            f"recipe {recipe!r} is for {chosen.task}; give --task {chosen.task}, or another recipe"
        )
    if output is not None and not check:
        from vmm_cli.training.run_folder import refuse_taken

        name = name or model_name(output)
        refuse_taken(output, resume)
    dataset = READERS[task](data, group=group, fold=folds)
    workers = jobs or default_workers(WORKER_MEMORY_BYTES)
    with console.progress() as drawn:
        inspection = inspect(
            dataset,
            jobs=workers,
            max_pixels=max_pixels,
            on_progress=partial(Stages(drawn.update).show, LOOKING),
        )
    if check or output is None:
        stops_early = chosen.optimisation.patience > 0
        code = _tell(inspection, format, seed, folds is not None, stops_early)
        usable, left_out = len(inspection.dataset.samples), _rows_left_out(inspection)
        counts = {"samples can be used": usable, "left out": left_out}
        console.closing(summed_up(counts, time.monotonic() - start))
        return code
    _say_problems(inspection)
    with _processes(device) as torch_device, console.progress() as drawn:
        from vmm_cli.training.run import TrainRequest
        from vmm_cli.training.run import train as run

        request = TrainRequest(
            folder=output,
            name=name or "",
            recipe=chosen,
            seed=seed,
            seeds=seeds,
            folds=folds is not None,
            resume=resume,
            device=torch_device,
            jobs=workers,
            use_store=not no_store,
            keep_features=keep_features,
            max_pixels=max_pixels,
        )
        stages = Stages(drawn.update)
        try:
            metrics = run(inspection, request, _listener(stages, chosen.optimisation.epochs))
        except KeyboardInterrupt:
            console.error("interrupted; run the same command with --resume to continue")
            raise
    if metrics:
        _report(metrics, output, format)
        came_of_it = "nothing to do: it is trained already"
        if stages.totals:
            used = sum(metrics["samples"].values())
            left_out = _rows_left_out(inspection) + stages.totals[READING] - used
            counts = {"samples used": used, "left out": left_out}
            came_of_it = summed_up(counts, time.monotonic() - start)
        console.closing(f"{came_of_it}; model in {output}")
    return 0


def refuse_contradiction(keep_features: bool, no_store: bool) -> None:
    """Raise UsageError where features are to be kept and the store is not to be used."""
    if keep_features and no_store:
        raise errors.UsageError(
            "--keep-features writes to the feature store, which --no-store disables; leave one out"
        )


def _rows_left_out(inspection: Inspection) -> int:
    from vmm_cli.training.samples import left_out_of

    return sum(problem.rows for problem in left_out_of(inspection.dataset))


def _listener(stages: Stages, epochs: int) -> Listener:
    from vmm_cli.batch.tally import Standing
    from vmm_cli.training.run import Listener

    def on_epoch(what: str, progress: Progress) -> None:
        row = progress.history[-1]
        numbers = ("train_loss", "val_loss", "val_mae", "val_accuracy")
        said = ", ".join(f"{key} {row[key]:.3f}" for key in numbers if key in row)
        share = progress.epoch / epochs
        stages.show(f"{what}: epochs", Standing(progress.epoch, epochs, share, None))
        console.info(f"{what}: epoch {progress.epoch}: {said}")

    return Listener(
        on_encoded=partial(stages.show, READING),
        on_epoch=on_epoch,
        on_warning=console.warning,
    )


@contextmanager
def _processes(device: str) -> Iterator[str]:
    """Join the other processes where `torchrun` started several; give this one's device."""
    import torch

    from vmm_cli.encoders.image import device_from

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


def model_name(folder: Path) -> str:
    """Return a model's name from its folder's: letters, digits, '.', '_' and '-'."""
    name = folder.resolve().name
    if not _MODEL_NAME.fullmatch(name):
        raise errors.UsageError(
            f"{name!r} cannot be the name of a model (letters, digits, '.', '_', '-'); give --name"
        )
    return name


def _tell(
    inspection: Inspection, format: str | None, seed: int, folds: bool, stops_early: bool
) -> int:
    """Print what a data set holds."""
    from vmm_cli.training.summary import summary

    said = summary(inspection)
    if not wants_table(format):
        from vmm_cli.output.json_document import write_document

        write_document(console.stdout(data=True), said)
        _say_whether_trainable(inspection, seed, folds, stops_early)
        return 0
    from vmm_cli.output.table import Column, Row, print_table

    heads, lines = segment_table(said) if said["segments"] else label_table(said)
    called = "emotion" if said["valence"] else "label"
    columns = [Column(called), *(Column(head, number=True) for head in heads)]
    if lines:
        print_table(console.stdout(data=False), columns, [Row(line) for line in lines])
        console.stdout(data=False).write("\n")
    if said["valence"] and said["valence"]["n"]:
        valences = [Row(cells) for cells in valence_rows(said["valence"])]
        spans = (Column("valence"), Column("n", number=True), Column(""))
        print_table(console.stdout(data=False), spans, valences)
        console.stdout(data=False).write("\n")
    facts = [Row(cells) for cells in data_rows(said)]
    print_table(console.stdout(data=False), (Column("what"), Column("value")), facts)
    for problem in inspection.dataset.problems:
        console.warning(str(problem))
    _say_whether_trainable(inspection, seed, folds, stops_early)
    return 0


def label_table(said: Mapping[str, Any]) -> tuple[list[str], list[tuple[Cell, ...]]]:
    """Return how many samples have each label: the columns after it, and the rows."""
    counts = said["labels"]
    splits = _splits_shown(said, counts.values())
    return splits, [
        (label, *(str(numbers.get(split, 0)) for split in splits))
        for label, numbers in counts.items()
    ]


def segment_table(said: Mapping[str, Any]) -> tuple[list[str], list[tuple[Cell, ...]]]:
    """Return how many actions have each label, and how long they last: columns, and rows."""
    from vmm_cli.output.table import Times

    found = said["segments"]["labels"]
    splits = _splits_shown(said, [numbers["segments"] for numbers in found.values()])
    rows = []
    for label, numbers in found.items():
        counts, lengths = numbers["segments"], numbers["durations_s"]
        times = (f"{lengths[key]:.1f}" for key in ("min", "median", "max"))
        share = "?" if numbers["share"] is None else f"{100 * numbers['share']:.1f}"
        shown = (str(counts.get(split, 0)) for split in splits)
        total = Times((lengths["total"],))
        rows.append((label, *shown, str(numbers["videos"]), *times, total, share))
    return [*splits, "videos", "min s", "median s", "max s", "total", "% of time"], rows


def _splits_shown(said: Mapping[str, Any], counts: Iterable[Mapping[str, int]]) -> list[str]:
    named = {split for numbers in counts for split in numbers} - {"n", "none"}
    # Where no row has a split, "none" would say again how many there are.
    return ["n", *sorted(named), *(["none"] if named and said["splits"].get("none") else [])]


def data_rows(said: Mapping[str, Any]) -> Iterator[tuple[str, Cell]]:
    """Yield what a person wants to know of a data set's `summary` as a whole: name and value."""
    from vmm_cli.output.table import Times

    balance, lengths = said["balance"], said["durations_s"]
    yield "samples", f"{said['n']} in {said['files']} files"
    if balance is not None:
        share, times = 100 * balance["majority_share"], balance["largest_to_smallest"]
        yield "most frequent", f"{balance['majority']}: {share:.0f} %, {times:.1f} times the rarest"
    if said["segments"] is not None:
        yield from _segment_rows(said["segments"])
    if said["valence"] is not None:
        yield from _valence_facts(said["valence"])
    if lengths["min"] is None:
        yield "durations", "unknown"
    else:
        unknown = f", {lengths['unknown']} unknown" if lengths["unknown"] else ""
        least, middle, most = (f"{lengths[key]:.1f}" for key in ("min", "median", "max"))
        yield "durations", f"{least} to {most} s, median {middle} s{unknown}"
        yield "total", Times((lengths["total"],))
    if (groups := said["groups"]) is not None:
        yield "groups", f"{groups['n']}, of {groups['smallest']} to {groups['largest']} samples"
    if (folds := said["folds"]) is not None:
        yield "folds", ", ".join(f"{fold}: {n}" for fold, n in folds.items())


def valence_rows(valence: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the histogram of the valences: a span of them, how many there are, and a bar."""
    most = max(part["n"] for part in valence["histogram"])
    for part in valence["histogram"]:
        bar = "█" * round(LONGEST_BAR * part["n"] / most)
        yield f"{part['from']:+.2f} to {part['to']:+.2f}", str(part["n"]), bar


def _valence_facts(valence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if valence["n"]:
        least, middle, most = (f"{valence[key]:+.2f}" for key in ("min", "mean", "max"))
        yield "valences", f"{least} to {most}, mean {middle}"
    yield "without a valence", str(valence["missing"])
    yield "without an emotion", str(valence["without_emotion"])


def _segment_rows(segments: Mapping[str, Any]) -> Iterator[tuple[str, Cell]]:
    from vmm_cli.output.table import Times

    yield "actions", str(segments["n"])
    yield "samples without any", str(segments["videos_without"])
    overlaps = segments["overlaps"]
    own = f"{overlaps['with_their_own_label']} with one of their own label"
    yield "overlaps", f"{overlaps['segments']} actions overlap another, {own}"
    if overlaps["pairs"]:
        yield "most often", ", ".join(map(_pair, overlaps["pairs"][:PAIRS_SHOWN]))
    if segments["share"] is not None:
        shared = f"{100 * segments['share']:.0f} %; "
        without = " without any action"
        yield "time with an action", Times((shared, segments["unlabelled_s"], without))


def _pair(pair: Mapping[str, Any]) -> str:
    return f"{' and '.join(pair['labels'])}: {pair['n']} ({pair['shared_s']:.1f} s)"


def _say_whether_trainable(
    inspection: Inspection, seed: int, folds: bool, stops_early: bool
) -> None:
    """Warn of what `vmm train` would refuse."""
    from vmm_cli.training.splits import check_divisible, without_test

    contents = inspection.contents
    try:
        data = without_test(inspection.dataset, contents)
        check_divisible(data, seed=seed, folds=folds, contents=contents, stops_early=stops_early)
    except errors.DataError as error:
        console.warning(str(error))


def _say_problems(inspection: Inspection) -> None:
    problems = inspection.dataset.problems
    for problem in problems[:MAX_PROBLEMS]:
        console.warning(str(problem))
    if len(problems) > MAX_PROBLEMS:
        console.warning(f"and {len(problems) - MAX_PROBLEMS} more; --check lists all of them")


def _report(metrics: Mapping[str, Any], folder: Path, format: str | None) -> None:
    """Print how good the model is."""
    if not wants_table(format):
        from vmm_cli.output.json_document import write_document

        write_document(console.stdout(data=True), metrics)
        return
    from vmm_cli.output.table import Column, Row, print_table

    rows = [Row(cells) for cells in report_rows(metrics, folder)]
    print_table(console.stdout(data=False), (Column("what"), Column("value")), rows)


def report_rows(metrics: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what a person wants to know of a training: name and value."""
    from vmm_cli.training.headline import headline, intervals

    scores = metrics["folds"]["test"] if "folds" in metrics else metrics["validation"]
    yield "model", str(folder)
    yield "samples", ", ".join(f"{n} {split}" for split, n in metrics["samples"].items() if n)
    if "folds" in metrics:
        yield "measured on", f"{len(metrics['folds']['names'])} folds, each left out in turn"
    else:
        yield "measured on", f"held-out samples ({metrics['split']})"
    numbers = headline(scores)
    for name, value in numbers.items():
        yield name.replace("_", " "), f"{value:.3f}"
    for name, ends in intervals(scores).items():
        what = f" of the {name}" if "emotions" in scores else ""
        yield f"95 % interval{what} over groups", f"{ends['low']:.3f} to {ends['high']:.3f}"
    seeds = metrics.get("seeds") or metrics.get("folds", {}).get("seeds")
    if seeds:
        # Ratings are known by several numbers, of which none stands for the others.
        shown = list(numbers) if "emotions" in scores else list(numbers)[:1]
        for name in shown:
            if name in seeds:
                spread = f"{seeds[name]['mean']:.3f} ± {seeds[name]['sd']:.3f}"
                yield f"{name} over {len(seeds['seeds'])} seeds", spread
    yield "best epoch", str(metrics["best_epoch"])
