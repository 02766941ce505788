"""`vmm export`: a model with all that runs it elsewhere, without vmm."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vmm_cli import errors
from vmm_cli.cli import console
from vmm_cli.cli.options import Config, Jobs, LogFile, MaxPixels, Quiet, Verbose, wants_table
from vmm_cli.cli.standing import Stages, duration
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.operations.options import INPUT, OUTPUT, complete_model

if TYPE_CHECKING:
    from vmm_cli.batch.inputs import Discovery
    from vmm_cli.exports.export import Exported

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
Folder = Annotated[
    Path,
    typer.Option(
        *("--output", "-o"),
        metavar="DIR",
        help="Write the model and what belongs to it to this new folder.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
FormatName = Annotated[
    Literal["onnx", "openvino", "torch"],
    typer.Option(
        "--format",
        metavar="onnx|openvino|torch",
        help="For which runtime.",
        show_default=True,
        rich_help_panel=OUTPUT,
    ),
]
Precision = Annotated[
    Literal["fp32", "fp16", "int8"],
    typer.Option(
        "--precision",
        metavar="fp32|fp16|int8",
        help="How the numbers are kept: whole, halved, or as 8 bits, for which videos to "
        "calibrate with are needed.",
        show_default=True,
        rich_help_panel=OUTPUT,
    ),
]
Calibrate = Annotated[
    list[str] | None,
    typer.Option(
        "--calibrate",
        metavar="VIDEO",
        help="A video, or a folder of them, to calibrate int8 with and to compare the export with "
        "float32 on; may be given several times.",
        rich_help_panel=INPUT,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace an earlier export.", rich_help_panel=OUTPUT),
]


# Typer reads the options off the signature, so that each is a parameter.
def export(
    model: Model,
    output: Folder,
    format: FormatName = "onnx",
    precision: Precision = "fp32",
    calibrate: Calibrate = None,
    overwrite: Overwrite = False,
    jobs: Jobs = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    log_file: LogFile = None,
    config: Config = None,
) -> int:
    """Write a model with all that runs it without vmm: network, labels, example.

    What it costs against float32, and what it gains, is printed: as a table on a terminal, else as
    JSON. With --calibrate that is measured on pictures of the videos that nothing was calibrated
    with.
    """
    from vmm_cli import bundles
    from vmm_cli.exports.export import ExportRequest, Listener
    from vmm_cli.exports.export import export as run

    start = time.monotonic()
    found = _videos(calibrate or [])
    request = ExportRequest(
        bundle=bundles.load(model),
        output=output,
        format=format,
        precision=precision,
        videos=[(one.name, one.path) for one in found.inputs] if found else (),
        overwrite=overwrite,
        max_pixels=max_pixels,
        jobs=jobs,
    )
    with console.progress() as drawn:
        stages = Stages(drawn.update)
        exported = run(
            request,
            Listener(
                stage=lambda what: drawn.update(0, None, what),
                reading=lambda standing: stages.show("reading videos", standing),
            ),
        )
    for name, error in exported.failed.items():
        console.failure(f"{name}: {error.code}: {error.message}")
    _report(exported)
    videos = exported.document["videos"]
    if videos and videos["opened"] < videos["given"]:
        console.remark(
            f"looked at {videos['opened']} of {videos['given']} videos, evenly chosen: more are "
            "not needed"
        )
    console.closing(f"exported in {duration(time.monotonic() - start)}: {output}")
    missing = found is not None and (found.missing or found.unreadable or found.silent)
    return EXIT_SOME_FAILED if exported.failed or missing else 0


def _videos(arguments: list[str]) -> Discovery | None:
    """Find the videos to calibrate with; what is not there is said.

    Raises:
        NoInputError: there are none.
    """
    from vmm_cli.batch.inputs import discover

    if not arguments:
        return None
    found = discover(arguments)
    for name in (*found.missing, *found.unreadable, *found.silent):
        console.failure(f"{name}: missing: it is not there, or cannot be looked into")
    if not found.inputs:
        raise errors.NoInputError(f"there is no video to calibrate with in {', '.join(arguments)}")
    return found


def _report(exported: Exported) -> None:
    if not wants_table(None):
        from vmm_cli.output.json_document import write_document

        write_document(console.stdout(data=True), exported.document)
        return
    from vmm_cli.output.table import Column, Row, print_table

    document = exported.document
    columns = (
        Column("what"),
        Column("float32", number=True),
        Column(f"{document['format']} {document['precision']}", number=True),
    )
    print_table(console.stdout(data=False), columns, map(Row, report_rows(document)))


def report_rows(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield what a person wants to know: what, in float32, and as it was exported."""
    size, speed = document["bytes"], document["looks_per_second"]
    yield "size, MB", f"{size['before'] / 1e6:.1f}", f"{size['after'] / 1e6:.1f}"
    yield "looks a second", f"{speed['before']:.1f}", f"{speed['after']:.1f}"
    alike = document["agreement"]
    if alike is not None:
        yield f"first label equal, of {alike['pictures']}", "", f"{alike['first_label_equal']:.1%}"
        yield "a probability is off by, mean", "", f"{alike['mean_difference']:.6f}"
        yield "a probability is off by, at most", "", f"{alike['largest_difference']:.4f}"
    if document["calibrated_on"]:
        yield "calibrated on", "", str(document["calibrated_on"])
