"""`vmm info`: what is inside each file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from vmm_cli.cli.failure import failure_text
from vmm_cli.cli.help import OUTPUT
from vmm_cli.cli.options import FORMAT_HELP, SharedOptions, takes_shared_options

if TYPE_CHECKING:
    from vmm_cli.output.table import Row

COLUMNS = ("input", "duration", "size", "fps", "video", "sound", "captions", "notes")
SHOT_COLUMNS = ("input", "shot", "start", "end", "length")
CSV_HEADER = (
    *("input", "status", "duration_s", "width", "height", "fps"),
    *("video", "sound", "captions", "title", "error"),
)
CSV_SHOTS_HEADER = ("input", "status", "shot", "start_s", "end_s", "error")
LONGEST_TITLE = 40  # characters in a table; the records have all of it


@takes_shared_options
def info(
    shared: SharedOptions,
    shots: Annotated[
        bool,
        typer.Option(
            "--shots",
            help="Also find the shots, from cut to cut (decodes every frame).",
            rich_help_panel="Facts",
        ),
    ] = False,
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
    """Show what is inside each file."""
    from vmm_cli.analysis import media_info
    from vmm_cli.batch.work import Work
    from vmm_cli.cli.running import run_batch
    from vmm_cli.output.csv_table import CsvTable
    from vmm_cli.output.json_array import JsonArray
    from vmm_cli.output.jsonl import JsonLines

    return run_batch(
        shared,
        schema=media_info.SCHEMA,
        request=media_info.InfoRequest(max_pixels=shared.max_pixels, shots=shots),
        options={"max_pixels": shared.max_pixels} | ({"shots": True} if shots else {}),
        work=Work(run=media_info.run, finish=media_info.finish),
        work_memory_bytes=(
            media_info.SHOTS_WORKER_MEMORY_BYTES if shots else media_info.WORKER_MEMORY_BYTES
        ),
        formats={
            "table": partial(_Tables, shots=shots),
            "jsonl": JsonLines,
            "json": JsonArray,
            "csv": partial(
                CsvTable,
                header=CSV_SHOTS_HEADER if shots else CSV_HEADER,
                rows=csv_shot_rows if shots else csv_rows,
            ),
        },
        wanted_format=format,
    )


class _Tables:
    """What is inside each file, and under it the shots, where they were looked for."""

    def __init__(self, stream: TextIO, *, shots: bool) -> None:
        from vmm_cli.output.table import Column, TableOfRecords  # loads rich

        numbers = ("duration", "fps")
        facts = [Column("input", shorten="start")]
        facts += [Column(title, number=title in numbers) for title in COLUMNS[1:]]
        spans = [Column("input", shorten="start")]
        spans += [Column(title, number=True) for title in SHOT_COLUMNS[1:]]
        self._stream = stream
        self._facts = TableOfRecords(stream, facts, table_rows)
        self._shots = TableOfRecords(stream, spans, shot_rows) if shots else None

    def write(self, record: Mapping[str, Any]) -> None:
        """Keep the rows of one record."""
        self._facts.write(record)
        if self._shots is not None:
            self._shots.write(record)

    def close(self) -> None:
        """Draw the tables."""
        self._facts.close()
        if self._shots is not None and self._shots.rows:
            self._stream.write("\n")
            self._shots.close()


def table_rows(record: Mapping[str, Any]) -> Iterator[Row]:
    """Return the table's row for one record."""
    from vmm_cli.output.table import Row, Times

    if record["status"] != "ok":
        reason = failure_text(record)
        yield Row((record["input"], reason or record["status"]), failed=bool(reason))
        return
    video = record["video"][0] if record["video"] else None
    yield Row(
        (
            record["input"],
            Times((record["duration_s"],)),
            f"{video['display_width']}x{video['display_height']}" if video else "-",
            f"{video['frame_rate']:.5g}" if video and video["frame_rate"] else "-",
            *(_names(record[kind]) or "-" for kind in ("video", "audio", "captions")),
            ", ".join(_notes(record, video)),
        )
    )


def shot_rows(record: Mapping[str, Any]) -> Iterator[Row]:
    """Yield a row for each shot; the input stands in the first one only."""
    from vmm_cli.output.table import Row, Times

    name = record["input"]
    shots = record.get("shots", ())
    for number, shot in enumerate(shots, start=1):
        lasts_s = shot["end_s"] - shot["start_s"]
        times = (Times((seconds,)) for seconds in (shot["start_s"], shot["end_s"], lasts_s))
        yield Row((name, str(number), *times), rule=number == len(shots))
        name = ""


def csv_rows(record: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield a row of what is inside one file: see CSV_HEADER."""
    name, status = record["input"], record["status"]
    if status != "ok":
        yield name, status, *[None] * 8, failure_text(record)
        return
    video = record["video"][0] if record["video"] else {}
    numbers = (video.get(key) for key in ("display_width", "display_height", "frame_rate"))
    streams = (_names(record[kind]) for kind in ("video", "audio", "captions"))
    yield name, status, record["duration_s"], *numbers, *streams, record["title"], ""


def csv_shot_rows(record: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each shot; one without any where there is none: see CSV_SHOTS_HEADER."""
    name, status, shots = record["input"], record["status"], record.get("shots", ())
    for number, shot in enumerate(shots, start=1):
        yield name, status, number, shot["start_s"], shot["end_s"], ""
    if not shots:
        yield name, status, None, None, None, failure_text(record)


def _names(streams: list[dict[str, Any]]) -> str:
    words = []
    for stream in streams:
        language = f" ({stream['language']})" if stream.get("language") not in (None, "und") else ""
        words.append(f"{stream['codec'] or 'unknown'}{language}")
    return ", ".join(words)


def _notes(record: Mapping[str, Any], video: Mapping[str, Any] | None) -> Iterator[str]:
    if video:
        if video["rotation"]:
            yield f"turned {video['rotation']} degrees"
        if video["interlaced"]:
            yield "interlaced"
        if video["hdr"]:
            yield f"HDR {video['hdr']}"
        if video["timestamps_vary"]:
            yield "uneven times"
        if not video["decodable"]:
            yield "no picture could be decoded"
    if "shots" in record:
        n = len(record["shots"])
        yield f"{n} shot{'' if n == 1 else 's'}"
    if record["title"]:
        from vmm_cli.output.table import shortened

        yield f"title {shortened(record['title'], LONGEST_TITLE)!r}"
