"""`vmm classify`: what each video shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from vmm_cli import errors
from vmm_cli.cli import console
from vmm_cli.cli.demonstration import remark_on
from vmm_cli.cli.failure import failure_text
from vmm_cli.cli.help import OUTPUT
from vmm_cli.cli.options import (
    FORMAT_HELP,
    Device,
    End,
    NoStore,
    SharedOptions,
    Start,
    check_range,
    complete_model,
    parse_count,
    parse_path,
    parse_positive_seconds,
    takes_shared_options,
)

if TYPE_CHECKING:
    from vmm_cli.analysis.classify import ClassifyRequest
    from vmm_cli.analysis.classify_windows import WindowsRequest
    from vmm_cli.batch.inputs import Input
    from vmm_cli.cli.running import Formats
    from vmm_cli.output.table import Cell, Row, TableOfRecords

# torch, the network and a batch of pictures peak at 390 MB with a 720p file; the 16 reference
# pictures that H.264 allows in 4K take 200 MB more.
WORKER_MEMORY_BYTES = 600 * 2**20

CSV_HEADER = ("input", "status", "rank", "label", "score", "times", "start_s", "end_s", "error")


@takes_shared_options
def classify(
    shared: SharedOptions,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            autocompletion=complete_model,
            help="A model from `vmm models list`, or its folder.",
            rich_help_panel="Labels",
        ),
    ] = "imagenet",
    top_k: Annotated[
        int,
        typer.Option(
            "--top-k",
            "-k",
            metavar="K",
            parser=parse_count,
            help="How many labels to give.",
            rich_help_panel="Labels",
        ),
    ] = 5,
    every: Annotated[
        Fraction | None,
        typer.Option(
            "--every",
            metavar="S",
            parser=parse_positive_seconds,
            help="Look at one frame every S seconds.",
            rich_help_panel="Labels",
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            metavar="N",
            parser=parse_count,
            help="Look at N frames, evenly spaced.",
            rich_help_panel="Labels",
        ),
    ] = None,
    windows: Annotated[
        Fraction | None,
        typer.Option(
            "--windows",
            metavar="S",
            parser=parse_positive_seconds,
            help="Give labels for each S seconds: a timeline.",
            rich_help_panel="Labels",
        ),
    ] = None,
    start: Start = None,
    end: End = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Say what each decision rests on (models made by `vmm train`).",
            rich_help_panel="Labels",
        ),
    ] = False,
    strips: Annotated[
        Path | None,
        typer.Option(
            "--strips",
            parser=parse_path,
            metavar="DIR",
            help="Draw what each decision rests on into DIR, a picture per video.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    device: Device = "auto",
    no_store: NoStore = False,
    format: Annotated[
        Literal["table", "jsonl", "json", "csv"] | None,
        typer.Option(
            "--format",
            metavar="table|jsonl|json|csv",
            help=FORMAT_HELP,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> int:
    """Label what each video shows."""
    check_range(start, end)
    if every is not None and count is not None:
        raise errors.UsageError("--every and --count contradict each other; give only one of them")
    from vmm_cli import bundles
    from vmm_cli.analysis import classify_windows

    loaded = bundles.load(model)
    remark_on(loaded)
    timeline_s = None if windows is None else float(windows)
    if classify_windows.is_for(loaded):
        options = [
            name for name, given in (("--every", every), ("--count", count)) if given is not None
        ]
        wanted = classify_windows.windows_request(
            loaded,
            sampling_options=options,
            start=start or Fraction(0),
            end=end,
            top_k=top_k,
            cells_s=timeline_s,
            explain=explain or strips is not None,
            use_store=not no_store,
            max_pixels=shared.max_pixels,
        )
        if device.startswith("cuda"):
            console.warning(f"model {loaded.name!r} runs on the CPU only: --device has no effect")
        return _classify_windows(shared, wanted, strips, format)
    if explain or strips is not None:
        raise errors.UsageError(
            f"model {loaded.name!r} looks at single pictures: --explain and --strips need a model "
            "made by `vmm train`"
        )
    from vmm_cli.analysis import classify as analysis
    from vmm_cli.batch.device import Stage
    from vmm_cli.batch.work import Work
    from vmm_cli.cli.device import chosen_device
    from vmm_cli.cli.running import run_batch

    request = analysis.classify_request(
        loaded,
        every_s=None if every is None else float(every),
        frames=count,
        start=start or 0,
        end=end,
        top_k=top_k,
        windows_s=timeline_s,
        device=chosen_device(device),
        use_store=not no_store,
        max_pixels=shared.max_pixels,
    )
    stage = None
    if request.device != "cpu":
        stage = Stage(
            plan=analysis.plan_loads,
            load=analysis.load,
            open=analysis.open_device,
            compute=analysis.compute,
            area_bytes=analysis.area_bytes(request),
            optional=device == "auto",
        )
    return run_batch(
        shared,
        schema=analysis.SCHEMA,
        request=request,
        options=analysis_options(request),
        model_digest=request.bundle_digest,
        work=Work(run=analysis.run, finish=analysis.finish, plan=analysis.plan, stage=stage),
        work_memory_bytes=max(WORKER_MEMORY_BYTES, analysis.memory_bytes(request)),
        formats=_formats(timeline=windows is not None),
        wanted_format=format,
    )


def _classify_windows(
    shared: SharedOptions, wanted: WindowsRequest, strips: Path | None, format: str | None
) -> int:
    """Run a model that was trained on windows."""
    from vmm_cli.analysis import classify_windows
    from vmm_cli.analysis.classify import SCHEMA
    from vmm_cli.batch.work import Work
    from vmm_cli.cli.running import run_batch

    request: object = wanted
    refuse: Callable[[Sequence[Input]], None] | None = None
    work = Work(
        run=classify_windows.run, finish=classify_windows.finish, plan=classify_windows.plan
    )
    if strips is not None:
        from vmm_cli.output.explain_strip import STRIP
        from vmm_cli.output.pictured import (
            PicturesRequest,
            refuse_foreign_pictures,
            with_pictures,
        )

        request = PicturesRequest(wanted, strips, shared.overwrite)
        refuse = partial(refuse_foreign_pictures, STRIP, request)
        work = with_pictures(work, STRIP)
    return run_batch(
        shared,
        schema=SCHEMA,
        request=request,
        options={
            "start": str(wanted.start),
            "end": str(wanted.end),
            "top_k": wanted.top_k,
            "windows_s": wanted.cells_s,
            "explain": wanted.explain,
            "strips": None if strips is None else str(strips),
            "max_pixels": wanted.max_pixels,
        },
        model_digest=wanted.bundle_digest,
        work=work,
        work_memory_bytes=WORKER_MEMORY_BYTES,
        formats=_formats(timeline=wanted.cells_s is not None),
        wanted_format=format,
        pictures=strips,
        refuse=refuse,
    )


def _formats(*, timeline: bool) -> Formats:
    from vmm_cli.output.csv_table import CsvTable
    from vmm_cli.output.json_array import JsonArray
    from vmm_cli.output.jsonl import JsonLines

    return {
        "table": lambda stream: _table(stream, timeline=timeline),
        "jsonl": JsonLines,
        "json": JsonArray,
        "csv": lambda stream: CsvTable(stream, CSV_HEADER, csv_rows),
    }


def analysis_options(request: ClassifyRequest) -> dict[str, object]:
    """Return what a record depends on, as JSON types; the device and the store change nothing."""
    return {
        "sampling": repr(request.sampling),
        "top_k": request.top_k,
        "windows_s": request.windows_s,
        "max_pixels": request.max_pixels,
    }


def csv_rows(record: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Return one row for each label, of each window where there are some: see CSV_HEADER."""
    name, status = record["input"], record["status"]
    if status != "ok":
        yield name, status, None, None, None, None, None, None, failure_text(record)
        return
    for start_s, end_s, labels in _spans(record):
        for rank, label in enumerate(labels, start=1):
            times = " ".join(str(time_s) for time_s in label["times"])
            yield name, status, rank, label["label"], label["score"], times, start_s, end_s, ""


def table_rows(record: Mapping[str, Any], *, timeline: bool) -> Iterator[Row]:
    """Return one row for each label; the input stands in the first one only."""
    from vmm_cli.output.table import Row, Times, span

    name = record["input"]
    if record["status"] != "ok":
        reason = failure_text(record)
        yield Row((name, reason or record["status"]), failed=bool(reason), rule=True)
        return
    rows: list[tuple[Cell, ...]] = []
    for start_s, end_s, labels in _spans(record):
        time: Cell = span(start_s, end_s) if timeline else ""
        shown: list[tuple[Cell, ...]] = [
            (label["label"], f"{label['score']:.3f}", Times(_listed(label["times"])))
            for label in labels
        ]
        for cells in shown or [("(no frame)", "", "")]:
            rows.append((name, *((time,) if timeline else ()), *cells))
            name = time = ""
    if "explain" in record:
        blank = ("", "") if timeline else ("",)
        rows += [(*blank, *cells) for cells in _explained(record["explain"])]
    for i, row in enumerate(rows):
        yield Row(row, rule=i == len(rows) - 1)


def _listed(times_s: Sequence[float]) -> tuple[str | float, ...]:
    """Return times with commas between them."""
    return tuple(part for time_s in times_s for part in (", ", time_s))[1:]


def _explained(explain: Mapping[str, Any]) -> Iterator[tuple[Cell, ...]]:
    """Yield what becomes of the best label's score without a stream, and without some seconds."""
    from vmm_cli.output.table import span

    window = span(explain["start_s"], explain["end_s"])
    yield f"{explain['label']}, in its best window", f"{explain['score']:.3f}", window
    for stream, score in explain["without"].items():
        yield f"  without {stream}", f"{score:.3f}", window
    if explain["seconds"]:
        most = max(explain["seconds"], key=lambda part: part["drop"])
        without = f"{explain['score'] - most['drop']:.3f}"
        yield "  without its strongest part", without, span(most["start_s"], most["end_s"])


def _spans(
    record: Mapping[str, Any],
) -> Iterator[tuple[float | None, float | None, list[dict[str, Any]]]]:
    if "windows" not in record:
        yield None, None, record["labels"]
    for window in record.get("windows", ()):
        yield window["start_s"], window["end_s"], window["labels"]


def _table(stream: TextIO, *, timeline: bool) -> TableOfRecords:
    from vmm_cli.output.table import Column, TableOfRecords

    columns = [
        Column("input", shorten="start"),
        Column("label", shorten="end"),
        Column("score", number=True),
        Column("seen at", shorten="end"),
    ]
    if timeline:
        columns.insert(1, Column("time", number=True))
    return TableOfRecords(stream, columns, partial(table_rows, timeline=timeline))
