"""`vmm models`: the models that --model can name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmm_cli import errors
from vmm_cli.cli import console
from vmm_cli.cli.options import DocumentFormat, Verbose, complete_model, wants_table

if TYPE_CHECKING:
    from vmm_cli.bundle import BrokenBundle, Bundle

app = typer.Typer(help="Look at the models that --model can name.")

Name = Annotated[str, typer.Argument(metavar="NAME", hidden=True, autocompletion=complete_model)]


@app.command("list")
def list_models(format: DocumentFormat = None, verbose: Verbose = 0) -> int:
    """List the models that are found.

    They are looked for in the folders of VMM_MODELS, in the user's data folder and in vmm itself.
    """
    from vmm_cli import bundle

    found = bundle.list_bundles()
    if wants_table(format):
        from vmm_cli.output.table import Column, Row, print_table

        columns = [Column(t) for t in ("name", "version", "task", "labels", "summary")]
        print_table(console.stdout(data=False), columns, (Row(*_row(model)) for model in found))
    else:
        from vmm_cli.output.json_document import write_document

        write_document(console.stdout(data=True), [summary(model) for model in found])
    return 0


@app.command()
def show(name: Name, format: DocumentFormat = None, verbose: Verbose = 0) -> int:
    """Show what a model is: its labels, sampling, licence and digests.

    NAME is one of `vmm models list`, or the path of a model's folder.
    """
    from vmm_cli import bundle

    model = bundle.load(name)
    if wants_table(format):
        from vmm_cli.output.table import Column, Row, print_table

        rows = [Row((key, _shown(value))) for key, value in details(model).items()]
        print_table(console.stdout(data=False), (Column("field"), Column("value")), rows)
    else:
        from vmm_cli.output.json_document import write_document

        write_document(console.stdout(data=True), details(model))
    return 0


@app.command()
def path(name: Name, verbose: Verbose = 0) -> int:
    """Print the folder of a model.

    NAME is one of `vmm models list`, or the path of a model's folder.
    """
    from vmm_cli import bundle

    folder = str(bundle.find(name).resolve())
    if "\n" in folder:
        raise errors.ModelError(f"the folder of {name} has a line end in its name: {folder!r}")
    stream = console.stdout(data=False)
    stream.write(folder + "\n")
    stream.flush()
    return 0


def summary(model: Bundle | BrokenBundle) -> dict[str, Any]:
    """Return what a list says of a model; `problem` is None where it can be used."""
    from vmm_cli.bundle import BrokenBundle

    if isinstance(model, BrokenBundle):
        return {"name": model.name, "path": str(model.folder), "problem": model.problem}
    return {
        "name": model.name,
        "version": model.version,
        "task": model.task,
        "labels": len(model.labels),
        "summary": model.summary,
        "path": str(model.folder),
        "problem": None,
    }


def details(model: Bundle) -> dict[str, Any]:
    """Return all that a bundle says of itself."""
    return {
        "name": model.name,
        "version": model.version,
        "summary": model.summary,
        "task": model.task,
        "path": str(model.folder),
        "streams": list(model.streams),
        "encoders": {
            stream: {"name": encoder.name, "digest": encoder.digest}
            for stream, encoder in model.encoders.items()
        },
        "sampling": {"every_s": model.sampling.every_s, "free": model.sampling.free},
        "thresholds": dict(model.thresholds),
        "licence": dict(model.licence),
        "digest": model.digest,
        "weights_digest": model.weights_digest,
        "labels": list(model.labels),
    }


def _row(model: Bundle | BrokenBundle) -> tuple[tuple[str, ...], bool]:
    said = summary(model)
    if said["problem"] is not None:
        return (said["name"], "", "", "", said["problem"]), True
    columns = ("name", "version", "task", "labels", "summary")
    return tuple(str(said[key]) for key in columns), False


LABELS_SHOWN = 20


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_shown(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        more = f", and {len(value) - LABELS_SHOWN} more" if len(value) > LABELS_SHOWN else ""
        return ", ".join(map(str, value[:LABELS_SHOWN])) + more
    return str(value)
