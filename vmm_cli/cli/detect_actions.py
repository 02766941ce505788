"""`vmm detect-actions`: what happens from when to when."""

from __future__ import annotations

import csv
import re
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
    parse_path,
    parse_time,
    takes_shared_options,
)

if TYPE_CHECKING:
    from vmm_cli.batch.inputs import Input
    from vmm_cli.output.subtitles import Cue
    from vmm_cli.output.table import Row, TableOfRecords

# As of `vmm classify`: the same networks look at the same pictures.
WORKER_MEMORY_BYTES = 600 * 2**20

CSV_HEADER = ("input", "status", "start_s", "end_s", "label", "score", "error")

_SHARE = re.compile(r"\d+\.?\d*|\.\d+", re.ASCII)


def parse_score(text: object) -> float:
    """Return a score from 0 to 1. ValueError otherwise."""
    word = str(text).strip()
    if not _SHARE.fullmatch(word) or float(word) > 1:
        raise ValueError(f"{word!r} is not a valid score; give a number from 0 to 1")
    return float(word)


def parse_length(text: object) -> float:
    """Return a length in seconds, written as `parse_time` reads times. ValueError otherwise."""
    return float(parse_time(text))


def parse_labels(text: object) -> tuple[str, ...]:
    """Return the labels of a comma-separated list; one that holds a comma stands in quotes.

    ValueError where there is none.

    >>> parse_labels('run, "stop, then go"')
    ('run', 'stop, then go')
    """
    (row,) = csv.reader([" ".join(str(text).split())], skipinitialspace=True)
    labels = tuple(dict.fromkeys(label.strip() for label in row if label.strip()))
    if not labels:
        raise ValueError("no label is given; give them as a,b")
    return labels


@takes_shared_options
def detect_actions(
    shared: SharedOptions,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            autocompletion=complete_model,
            help="A model from `vmm models list`, or its folder [required].",
            rich_help_panel="Actions",
        ),
    ] = None,
    labels: Annotated[
        Any,
        typer.Option(
            "--labels",
            metavar="A,B",
            parser=parse_labels,
            help="Look for these labels only.",
            rich_help_panel="Actions",
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score",
            metavar="0-1",
            parser=parse_score,
            help="Drop detections that score less [default: the model's own threshold].",
            rich_help_panel="Actions",
        ),
    ] = None,
    min_duration: Annotated[
        float,
        typer.Option(
            "--min-duration",
            metavar="S",
            show_default=False,
            parser=parse_length,
            help="Drop detections shorter than S seconds.",
            rich_help_panel="Actions",
        ),
    ] = 0.0,
    merge_gap: Annotated[
        float,
        typer.Option(
            "--merge-gap",
            metavar="S",
            show_default=False,
            parser=parse_length,
            help="Merge detections of one label at most S seconds apart [default: do not merge].",
            rich_help_panel="Actions",
        ),
    ] = 0.0,
    start: Start = None,
    end: End = None,
    timeline: Annotated[
        Path | None,
        typer.Option(
            "--timeline",
            metavar="DIR",
            parser=parse_path,
            help="Draw the detections into DIR, a picture per video.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    device: Device = "auto",
    no_store: NoStore = False,
    format: Annotated[
        Literal["table", "jsonl", "json", "csv", "srt", "vtt"] | None,
        typer.Option(
            "--format",
            metavar="table|jsonl|json|csv|srt|vtt",
            help=FORMAT_HELP,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> int:
    """Find what happens when in each video, of any length.

    Subtitles (srt, vtt) of several videos go to a folder: -o DIR.
    """
    check_range(start, end)
    if model is None:
        raise errors.UsageError("no model given; choose one with -m MODEL: see `vmm models list`")
    from vmm_cli import bundles
    from vmm_cli.analysis import detect_actions as analysis
    from vmm_cli.batch.work import Work
    from vmm_cli.cli.running import run_batch
    from vmm_cli.output.csv_table import CsvTable
    from vmm_cli.output.json_array import JsonArray
    from vmm_cli.output.jsonl import JsonLines
    from vmm_cli.output.subtitles import subtitle_formats

    loaded = bundles.load(model)
    remark_on(loaded)
    wanted = analysis.detect_request(
        loaded,
        labels=labels,
        min_score=min_score,
        min_duration_s=min_duration,
        merge_gap_s=merge_gap,
        start=start or Fraction(0),
        end=end,
        scores=timeline is not None,
        use_store=not no_store,
        max_pixels=shared.max_pixels,
    )
    if device.startswith("cuda"):
        console.warning(f"model {loaded.name!r} runs on the CPU only: --device has no effect")
    request: object = wanted
    refuse: Callable[[Sequence[Input]], None] | None = None
    work = Work(run=analysis.run, finish=analysis.finish, plan=analysis.plan)
    if timeline is not None:
        from vmm_cli.output.pictured import (
            PicturesRequest,
            refuse_foreign_pictures,
            with_pictures,
        )
        from vmm_cli.output.timeline import TIMELINE

        request = PicturesRequest(wanted, timeline, shared.overwrite)
        refuse = partial(refuse_foreign_pictures, TIMELINE, request)
        work = with_pictures(work, TIMELINE)
    return run_batch(
        shared,
        schema=analysis.SCHEMA,
        request=request,
        options={
            "start": str(wanted.start),
            "end": str(wanted.end),
            "labels": None if wanted.labels is None else list(wanted.labels),
            "min_score": wanted.min_score,
            "min_duration_s": wanted.min_duration_s,
            "merge_gap_s": wanted.merge_gap_s,
            "timeline": None if timeline is None else str(timeline),
            "max_pixels": wanted.max_pixels,
        },
        model_digest=loaded.digest,
        work=work,
        work_memory_bytes=WORKER_MEMORY_BYTES,
        formats={
            "table": _table,
            "jsonl": JsonLines,
            "json": JsonArray,
            "csv": lambda stream: CsvTable(stream, CSV_HEADER, csv_rows),
        },
        single_formats=subtitle_formats(cues),
        wanted_format=format,
        pictures=timeline,
        refuse=refuse,
    )


def cues(record: Mapping[str, Any]) -> Iterator[Cue]:
    """Yield a cue for each segment of a record."""
    from vmm_cli.output.subtitles import Cue

    for segment in record["segments"]:
        text = f"{segment['label']} {segment['score']:.2f}"
        yield Cue(segment["start_s"], segment["end_s"], text)


def csv_rows(record: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield one row for each segment; one without any where there is none: see CSV_HEADER."""
    name, status = record["input"], record["status"]
    if status != "ok":
        yield name, status, None, None, None, None, failure_text(record)
        return
    for segment in record["segments"]:
        span = segment["start_s"], segment["end_s"]
        yield name, status, *span, segment["label"], segment["score"], ""
    if not record["segments"]:
        yield name, status, None, None, None, None, ""


def table_rows(record: Mapping[str, Any]) -> Iterator[Row]:
    """Yield one row for each segment; the input stands in the first one only."""
    from vmm_cli.output.table import Row, span

    name = record["input"]
    if record["status"] != "ok":
        reason = failure_text(record)
        yield Row((name, reason or record["status"]), failed=bool(reason), rule=True)
        return
    segments = record["segments"]
    for i, segment in enumerate(segments, start=1):
        time = span(segment["start_s"], segment["end_s"])
        score = f"{segment['score']:.3f}"
        yield Row((name, time, segment["label"], score), rule=i == len(segments))
        name = ""
    if not segments:
        yield Row((name, "(nothing found)"), rule=True)


def _table(stream: TextIO) -> TableOfRecords:
    from vmm_cli.output.table import Column, TableOfRecords

    columns = [
        Column("input", shorten="start"),
        Column("time", number=True),
        Column("label", shorten="end"),
        Column("score", number=True),
    ]
    return TableOfRecords(stream, columns, table_rows)
