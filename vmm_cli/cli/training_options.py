"""The options of `vmm train` and `vmm evaluate`, and what both do with them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vmm_cli import errors
from vmm_cli.batch.absent import MISSING, why_missing
from vmm_cli.cli import console
from vmm_cli.cli.standing import Stages
from vmm_cli.operations.options import INPUT, OUTPUT, RUN
from vmm_cli.operations.parse import parse_count, parse_file_name, parse_hourly
from vmm_cli.tasks import PURPOSES

if TYPE_CHECKING:
    from vmm_cli.training.data.inspection import Inspection
    from vmm_cli.training.data.samples import DataSet

    _Task = str
else:
    _Task = Literal[tuple(PURPOSES)]

LOOKING = "looking"  # what is said to be going on


def parse_name(text: object) -> str:
    """Return the name of a model. ValueError for what cannot be one."""
    word = str(text)
    from vmm_cli.bundles.bundle import FOLDER_NAME  # reads YAML, which --help need not

    if not FOLDER_NAME.fullmatch(word):
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
Negatives = Annotated[
    list[Path] | None,
    typer.Option(
        "--negatives",
        metavar="PATH",
        parser=parse_data,
        help="Videos in which nothing of the kind happens: a folder, a file or a manifest.",
        rich_help_panel=INPUT,
    ),
]
KeepFeatures = Annotated[
    bool,
    typer.Option(
        "--keep-features",
        help="Let the feature store keep features of faces, voices and skeletons.",
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


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="RUN",
        help="Output folder; usable as a model afterwards [required, except with --check].",
        rich_help_panel=OUTPUT,
    ),
]
TaskName = Annotated[
    _Task,
    typer.Option(
        "--task",
        metavar="|".join(PURPOSES),
        help=f"What to learn: {_listed(f'{name} ({p.learns})' for name, p in PURPOSES.items())}.",
        rich_help_panel="Training",
    ),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        "-r",
        metavar="R",
        help="A recipe from `vmm models list --recipes`, or a YAML file "
        f"[default: {_listed(p.recipe for p in PURPOSES.values())}, by task].",
        rich_help_panel="Training",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a value of the recipe, such as optimisation.learning_rate=0.001.",
        rich_help_panel="Training",
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        metavar="N",
        parser=parse_count,
        help="Train for at most N epochs.",
        rich_help_panel="Training",
    ),
]
MaxFalseAlarms = Annotated[
    float | None,
    typer.Option(
        "--max-false-alarms-per-hour",
        metavar="N",
        parser=parse_hourly,
        help="Choose thresholds so that each label has at most N false alarms an hour of held-out "
        "videos [default: 1 with --negatives].",
        rich_help_panel="Training",
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        parser=parse_name,
        help="Name of the model [default: that of its folder].",
        rich_help_panel=OUTPUT,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        parser=parse_seed,
        help="Random seed.",
        rich_help_panel="Training",
    ),
]
Seeds = Annotated[
    int,
    typer.Option(
        "--seeds",
        metavar="N",
        parser=parse_count,
        help="Measure with N seeds, starting from --seed.",
        rich_help_panel="Training",
    ),
]
Folds = Annotated[
    str | None,
    typer.Option(
        "--folds",
        metavar="COLUMN",
        help="Measure by leaving out each value of COLUMN in turn, then train on all rows.",
        rich_help_panel="Training",
    ),
]
LearningCurve = Annotated[
    bool,
    typer.Option(
        "--learning-curve",
        help="Also train on parts of the data, and draw what more samples bring.",
        rich_help_panel="Training",
    ),
]
Check = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Only inspect the data and report what is in it.",
        rich_help_panel=RUN,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Resume the training in RUN.",
        rich_help_panel=RUN,
    ),
]


def refuse_contradiction(keep_features: bool, no_store: bool) -> None:
    """Raise UsageError where features are to be kept and the store is not to be used."""
    if keep_features and no_store:
        raise errors.UsageError(
            "--keep-features writes to the feature store, which --no-store disables; leave one out"
        )


def model_name(folder: Path) -> str:
    """Return a model's name from its folder's. UsageError where none can be made of it."""
    from vmm_cli.training.request import name_of

    try:
        return name_of(folder)
    except errors.OptionError as error:
        raise errors.UsageError(error.worded("--{}".format)) from None


def looked_at(dataset: DataSet, jobs: int, max_pixels: int) -> Inspection:
    """Open each file of a data set once, and show at a terminal how far that is."""
    from vmm_cli.training.data.inspection import inspect

    with console.progress() as drawn:
        show = partial(Stages(drawn.update).show, LOOKING)
        return inspect(dataset, jobs=jobs, max_pixels=max_pixels, on_progress=show)
