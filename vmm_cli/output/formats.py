"""The formats that records can be written in, one row each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from vmm_cli.output.rows import Sheet, Table

if TYPE_CHECKING:
    from vmm_cli.output.subtitles import Cue

Record = Mapping[str, Any]


class RecordWriter(Protocol):
    """Writes records in one format, to the stream that it was made for."""

    def write(self, record: Record, /) -> None:
        """Write one record, or keep it until `close`."""

    def close(self) -> None:
        """Write what must come last."""


@dataclass(frozen=True)
class Shown:
    """How an operation's records are shown.

    Attributes:
        tables: for people; one after the other.
        sheet: as rows for programs.
        cues: a record's subtitles.
        labels: of the model that found a record's objects, in its order.
        objects: gives those, which may lie in a file of their own.
        text: what a record says, in a paragraph.
    """

    tables: Sequence[Table]
    sheet: Sheet | None = None
    cues: Callable[[Record], Iterable[Cue]] | None = None
    labels: Sequence[str] = ()
    objects: Callable[[Record], Iterable[Record]] | None = None
    text: Callable[[Record], str] | None = None


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        begin: makes a writer.
        suffixes: of the files that hold it.
        one_input: whether a text holds the record of one input alone.
        own_files: whether it may: in a folder each input has a text of its own.
    """

    begin: Callable[[TextIO, Shown], RecordWriter]
    suffixes: tuple[str, ...] = ()
    one_input: bool = False
    own_files: bool = False


def _table(stream: TextIO, shown: Shown) -> RecordWriter:
    from vmm_cli.output.table import Tables  # loads rich

    return Tables(stream, shown.tables)


def _json_lines(stream: TextIO, shown: Shown) -> RecordWriter:
    from vmm_cli.output.jsonl import JsonLines

    return JsonLines(stream)


def _json(stream: TextIO, shown: Shown) -> RecordWriter:
    from vmm_cli.output.json_array import JsonArray

    return JsonArray(stream)


def _csv(stream: TextIO, shown: Shown) -> RecordWriter:
    from vmm_cli.output.csv_table import CsvTable

    assert shown.sheet is not None, "an operation with CSV says what its rows are"
    return CsvTable(stream, shown.sheet.header, shown.sheet.rows)


def _txt(stream: TextIO, shown: Shown) -> RecordWriter:
    from vmm_cli.output.plain_text import PlainText

    assert shown.text is not None, "an operation with plain text says what it is"
    return PlainText(stream, shown.text)


def _srt(stream: TextIO, shown: Shown) -> RecordWriter:
    from vmm_cli.output.subtitles import Subtitles, write_srt

    assert shown.cues is not None, "an operation with subtitles says what its cues are"
    return Subtitles(stream, cues_of=shown.cues, write_cues=write_srt)


def _vtt(stream: TextIO, shown: Shown) -> RecordWriter:
    from vmm_cli.output.subtitles import Subtitles, write_vtt

    assert shown.cues is not None, "an operation with subtitles says what its cues are"
    return Subtitles(stream, cues_of=shown.cues, write_cues=write_vtt)


def _coco(stream: TextIO, shown: Shown) -> RecordWriter:
    from vmm_cli.output.coco import CocoDocument

    assert shown.objects is not None, "an operation with objects says where they are"
    return CocoDocument(stream, shown.labels, shown.objects)


def _mot(stream: TextIO, shown: Shown) -> RecordWriter:
    from vmm_cli.output.mot import MotText

    assert shown.objects is not None, "an operation with objects says where they are"
    return MotText(stream, shown.labels, shown.objects)


FORMATS: Mapping[str, Format] = {
    "table": Format(_table),
    "jsonl": Format(_json_lines, (".jsonl", ".ndjson")),
    "json": Format(_json, (".json",)),
    "csv": Format(_csv, (".csv",)),
    "txt": Format(_txt, (".txt",), own_files=True),
    "srt": Format(_srt, (".srt",), one_input=True),
    "vtt": Format(_vtt, (".vtt",), one_input=True),
    "coco": Format(_coco),
    "mot": Format(_mot, (".mot",), one_input=True),
}
