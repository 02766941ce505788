"""`vmm models`: the models that --model can name."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmm_cli import errors
from vmm_cli.batch.tally import Standing
from vmm_cli.cli import console
from vmm_cli.cli.options import DocumentFormat, Quiet, Verbose, wants_table
from vmm_cli.cli.standing import Stages, duration
from vmm_cli.operations.options import INPUT, RUN, complete_model

if TYPE_CHECKING:
    from vmm_cli.bundles import BrokenBundle, Bundle
    from vmm_cli.fetching.fetch import Fetched
    from vmm_cli.output.table import Row
    from vmm_cli.training.recipe import Recipe

MEGABYTE = 10**6

app = typer.Typer(help="List the models on this machine, and fetch more.")

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        autocompletion=complete_model,
        show_default=False,
        help="A model from `vmm models list`, or its folder.",
        rich_help_panel=INPUT,
    ),
]


def complete_fetchable(incomplete: str) -> list[str]:
    """Return the names of models to fetch that start so, for the shell to complete."""
    from vmm_cli.bundles.published import FETCHABLE

    return [name for name in FETCHABLE if name.startswith(incomplete)]


@app.command("list")
def list_models(
    fetchable: Annotated[
        bool,
        typer.Option(
            "--fetchable",
            help="List what `vmm models fetch` can download.",
            rich_help_panel="What to list",
        ),
    ] = False,
    recipes: Annotated[
        bool,
        typer.Option(
            "--recipes",
            help="List the recipes for `vmm train`.",
            rich_help_panel="What to list",
        ),
    ] = False,
    format: DocumentFormat = None,
    verbose: Verbose = 0,
) -> int:
    """List the models on this machine.

    They are searched for in the folders of VMM_MODELS, in your data folder and in vmm itself.
    """
    if fetchable and recipes:
        raise errors.UsageError(
            "--fetchable and --recipes are different lists; give only one of them"
        )
    if fetchable:
        found = _fetchable()
        columns: tuple[str, ...] = (
            *("name", "accuracy_percent", "measure", "download_mib", "here", "summary"),
        )
    elif recipes:
        from vmm_cli.training.read_recipe import list_recipes, load_recipe

        found = [
            {"name": name, "description": text, "encoders": _encoders(load_recipe(name))}
            for name, text in list_recipes()
        ]
        columns = ("name", "description")
    else:
        from vmm_cli import bundles

        found = [summary(model) for model in bundles.list_bundles()]
        columns = ("name", "task", "labels", "engine", "summary")
    if wants_table(format):
        _print_table(found, columns)
    else:
        from vmm_cli.output.json_document import write_document

        write_document(console.stdout(data=True), found)
    return 0


def _print_table(found: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    from rich.cells import cell_len

    from vmm_cli.output.table import Column, print_table

    longest = max((cell_len(entry["name"]) for entry in found), default=0)
    least = {"name": longest, "summary": LEAST_TEXT_WIDTH, "description": LEAST_TEXT_WIDTH}
    shown = [
        # A name is copied from here: it is whole, where need be above its row.
        Column(
            TITLES.get(c, c),
            number=c in NUMBERS,
            min_width=least.get(c),
            shorten="end" if c == "name" else None,
        )
        for c in columns
    ]
    print_table(console.stdout(data=False), shown, (_row(entry, columns) for entry in found))


@app.command()
def show(name: Name, format: DocumentFormat = None, verbose: Verbose = 0) -> int:
    """Show what a model is: its labels, sampling, licence and digests."""
    from vmm_cli import bundles

    model = bundles.load(name)
    if wants_table(format):
        from vmm_cli.output.table import Column, Row, print_table

        told = {key: value for key, value in details(model).items() if key != "measured"}
        # Without their digests, which JSON has: nobody reads a line of several.
        told["encoders"] = {stream: encoder.name for stream, encoder in model.encoders.items()}
        rows = [Row((key, _shown(value))) for key, value in told.items() if value not in EMPTY]
        print_table(console.stdout(data=False), (Column("field"), Column("value")), rows)
    else:
        from vmm_cli.output.json_document import write_document

        write_document(console.stdout(data=True), details(model))
    return 0


@app.command()
def path(name: Name, verbose: Verbose = 0) -> int:
    """Print the folder of a model."""
    from vmm_cli import bundles

    folder = str(bundles.find(name).resolve())
    if "\n" in folder:
        raise errors.ModelError(f"the folder of {name} has a line break in its name: {folder!r}")
    stream = console.stdout(data=False)
    stream.write(folder + "\n")
    stream.flush()
    return 0


@app.command()
def fetch(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            autocompletion=complete_fetchable,
            show_default=False,
            help="A model from `vmm models list --fetchable`.",
            rich_help_panel=INPUT,
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="URL|FILE",
            help="Take the weights from here [default: where they are published].",
            rich_help_panel=INPUT,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Fetch the model even if it is here, and replace all its files.",
            rich_help_panel=RUN,
        ),
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Download a published model, check it, install it, and write its graph.

    With its graph a model runs on a CPU without PyTorch; one that is here without it is given it.
    An interrupted download continues where it stopped. On a machine without a network, give the
    file that another machine downloaded to --from.
    """
    from vmm_cli.fetching import fetch as fetching

    start = time.monotonic()
    with console.progress() as drawn:
        stages = Stages(drawn.update)

        def on_progress(what: str, done: int, total: int | None) -> None:
            if not total:  # nobody knows how long it takes
                drawn.update(0, None, what)
                return
            standing = Standing(done // MEGABYTE, -(-total // MEGABYTE), done / total, None)
            stages.show(f"{what} (MB)", standing)

        try:
            fetched = fetching.fetch(name, source, force=force, on_progress=on_progress)
        except KeyboardInterrupt:
            console.warning("interrupted; run the same command again to continue")
            raise
    _say_fetched(name, fetched, time.monotonic() - start)
    return 0


def _say_fetched(name: str, fetched: Fetched, seconds: float) -> None:
    if not fetched.already and not fetched.is_original:
        console.warning(
            f"{name}: these are not the weights that torchvision publishes under this name"
        )
    if fetched.no_graph:
        console.warning(
            f"{name}: no graph could be written, so PyTorch runs it: {fetched.no_graph}"
        )
    said = "is here already" if fetched.already else "is here now"
    stream = console.stdout(data=False)
    stream.write(f"{name} {said}: {fetched.bundle.folder}\n")
    stream.flush()
    if not fetched.already:
        console.closing(f"fetched in {duration(seconds)}")
    elif fetched.graphed:
        console.closing(f"its graph was written in {duration(seconds)}")


def _encoders(recipe: Recipe) -> dict[str, str]:
    """Return the encoder of each stream of a recipe."""
    return {stream: chosen.encoder for stream, chosen in recipe.streams.items()}


def _fetchable() -> list[dict[str, Any]]:
    """Return what a list says of the models that can be fetched."""
    from vmm_cli import bundles
    from vmm_cli.bundles.published import FETCHABLE

    here = {one.name for one in bundles.list_bundles() if isinstance(one, bundles.Bundle)}
    return [
        {
            "name": name,
            "task": model.task,
            "labels": model.labels,
            "summary": model.summary,
            "accuracy_percent": model.accuracy_percent,
            "measure": model.measure,
            "download_mib": model.download_mib,
            "here": name in here,
        }
        for name, model in FETCHABLE.items()
    ]


def summary(model: Bundle | BrokenBundle) -> dict[str, Any]:
    """Return what a list says of a model; `problem` is None where it can be used.

    `engine`: what runs it on a CPU, see `engines.of_model`.
    """
    from vmm_cli.bundles import BrokenBundle
    from vmm_cli.engines.of_model import engine_of

    if isinstance(model, BrokenBundle):
        return {"name": model.name, "path": str(model.folder), "problem": model.problem}
    return {
        "name": model.name,
        "version": model.version,
        "task": model.task,
        "labels": len(model.labels),
        "engine": engine_of(model).name,
        "summary": model.summary,
        "demonstration": model.demonstration or None,
        "path": str(model.folder),
        "problem": None,
    }


def details(model: Bundle) -> dict[str, Any]:
    """Return all that a bundle says of itself; `accuracy` is what its card says of that."""
    from vmm_cli.engines.of_model import engine_of
    from vmm_cli.training.measured import accuracy_of, card_of, measured_of

    card = card_of(model.folder)
    return {
        "name": model.name,
        "version": model.version,
        "summary": model.summary,
        "demonstration": model.demonstration or None,
        "accuracy": accuracy_of(model.folder),
        "measured": measured_of(model.folder, model.task),
        "card": None if card is None else str(card.absolute()),
        "task": model.task,
        "path": str(model.folder),
        "streams": list(model.streams),
        "encoders": {
            stream: {"name": encoder.name, "digest": encoder.digest}
            for stream, encoder in model.encoders.items()
        },
        "engine": asdict(engine_of(model)),
        "sampling": {"every_s": model.sampling.every_s, "free": model.sampling.free},
        "thresholds": dict(model.thresholds),
        "licence": dict(model.licence),
        "source": dict(model.source),
        "digest": model.digest,
        "weights_digest": model.weights_digest,
        "labels": list(model.labels),
    }


TITLES = {"download_mib": "MiB", "accuracy_percent": "%", "measure": "of"}
NUMBERS = ("labels", "download_mib", "accuracy_percent")
LEAST_TEXT_WIDTH = 24  # of what models and recipes are for; narrower, names stand above it


def _row(entry: dict[str, Any], columns: tuple[str, ...]) -> Row:
    """Return a list's entry as a row; of a model that cannot be used, what is wrong with it."""
    from vmm_cli.output.table import Row

    if entry.get("problem") is not None:
        blank = [""] * (len(columns) - 2)
        return Row((entry["name"], *blank, entry["problem"]), failed=True)
    cells = {column: _shown(entry[column]) for column in columns}
    if entry.get("demonstration"):
        cells["summary"] += f"; a demonstration: {entry['demonstration']}"
    return Row(tuple(cells.values()))


LABELS_SHOWN = 20
EMPTY: tuple[Any, ...] = (None, "", {}, [])


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_shown(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        more = f", and {len(value) - LABELS_SHOWN} more" if len(value) > LABELS_SHOWN else ""
        return ", ".join(map(str, value[:LABELS_SHOWN])) + more
    return str(value)
