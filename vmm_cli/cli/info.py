"""`vmm info`: what is inside each file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from vmm_cli.cli.clock import clock
from vmm_cli.cli.failure import failure_text
from vmm_cli.cli.options import SharedOptions, takes_shared_options

if TYPE_CHECKING:
    from vmm_cli.output.table import Row, TableOfRecords

COLUMNS = ("input", "duration", "size", "fps", "video", "sound", "captions", "notes")


@takes_shared_options
def info(
    shared: SharedOptions,
    shots: Annotated[
        bool, typer.Option("--shots", help="Also where cameras change; reads all pictures.")
    ] = False,
    format: Annotated[
        Literal["table", "json", "jsonl"] | None,
        typer.Option(
            "--format",
            metavar="table|json|jsonl",
            help="[default: table on a terminal, else jsonl].",
        ),
    ] = None,
) -> int:
    """Say what is inside each file.

    INPUT is a video file, or a folder that is searched for videos.
    """
    from vmm_cli.analysis import media_info
    from vmm_cli.batch.work import Work
    from vmm_cli.cli.running import run_batch
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
            "table": _table,
            "json": JsonArray,
            "jsonl": JsonLines,
        },
        wanted_format=format,
    )


def _table(stream: TextIO) -> TableOfRecords:
    from vmm_cli.output.table import Column, TableOfRecords  # loads rich

    columns = [Column(title, number=title in ("duration", "fps")) for title in COLUMNS]
    return TableOfRecords(stream, columns, table_rows)


def table_rows(record: Mapping[str, Any]) -> Iterator[Row]:
    """Return the table's row for one record."""
    from vmm_cli.output.table import Row

    blank = ("",) * (len(COLUMNS) - 2)
    if record["status"] != "ok":
        reason = failure_text(record)
        yield Row((record["input"], *blank, reason or record["status"]), failed=bool(reason))
    else:
        video = record["video"][0] if record["video"] else None
        yield Row(
            (
                record["input"],
                clock(record["duration_s"]),
                f"{video['display_width']}x{video['display_height']}" if video else "-",
                f"{video['frame_rate']:.5g}" if video and video["frame_rate"] else "-",
                _names(record["video"]),
                _names(record["audio"]),
                _names(record["captions"]),
                ", ".join(_notes(record, video)),
            )
        )


def _names(streams: list[dict[str, Any]]) -> str:
    words = []
    for stream in streams:
        language = f" ({stream['language']})" if stream.get("language") not in (None, "und") else ""
        words.append(f"{stream['codec'] or 'unknown'}{language}")
    return ", ".join(words) or "-"


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
        yield f"title {record['title']!r}"
