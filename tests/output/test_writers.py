from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from vmm_cli.output.csv_table import CsvTable
from vmm_cli.output.json_array import JsonArray
from vmm_cli.output.json_document import write_document
from vmm_cli.output.jsonl import JsonLines, encode
from vmm_cli.output.table import Column, Row, TableOfRecords, print_table

HOSTILE = {"input": "a\x1b[31m\n\udcff.mp4", "title": "\x9b2J [bold]x[/bold]"}


def test_json_lines_are_written_one_by_one() -> None:
    stream = io.StringIO()
    writer = JsonLines(stream)
    writer.write({"input": "a"})
    assert stream.getvalue() == '{"input": "a"}\n'
    writer.write(HOSTILE)
    writer.close()
    lines = stream.getvalue().splitlines()
    assert [json.loads(line) for line in lines] == [{"input": "a"}, HOSTILE]


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode({"score": float("nan")})


@pytest.mark.parametrize("n", [0, 1, 3])
def test_json_array_is_json(n: int) -> None:
    stream = io.StringIO()
    writer = JsonArray(stream)
    for _ in range(n):
        writer.write(HOSTILE)
    writer.close()
    assert json.loads(stream.getvalue()) == [HOSTILE] * n
    stream.getvalue().encode("utf-8")


def test_csv_rows_are_lines_and_numbers_read_back() -> None:
    def rows(record: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
        yield (record["input"], 0.1 + 0.2, None)
        yield ('say "x", y', 7, "")

    stream = io.StringIO()
    writer = CsvTable(stream, ("input", "score", "error"), rows)
    writer.write(HOSTILE)
    writer.close()
    stream.getvalue().encode("utf-8")
    assert len(stream.getvalue().splitlines()) == 3
    read = list(csv.reader(io.StringIO(stream.getvalue())))
    assert read[0] == ["input", "score", "error"]
    assert read[1] == [r"a\x1b[31m\n\xff.mp4", "0.30000000000000004", ""]
    assert float(read[1][1]) == 0.1 + 0.2
    assert read[2][0] == 'say "x", y'


def test_table_shows_text_as_it_is() -> None:
    stream = io.StringIO()
    writer = TableOfRecords(
        stream,
        [Column("input"), Column("title")],
        lambda record: [Row((record["input"], record["title"]), failed=True)],
    )
    writer.write(HOSTILE)
    writer.close()
    text = stream.getvalue()
    assert r"a\x1b[31m\n\xff.mp4" in text
    assert r"\x9b2J [bold]x[/bold]" in text
    assert "\x1b" not in text


def test_long_cells_of_a_table_are_not_cut() -> None:
    stream = io.StringIO()
    writer = TableOfRecords(stream, [Column("input")], lambda record: [Row((record["input"],))])
    writer.write({"input": "x" * 500})
    writer.close()
    assert stream.getvalue().count("x") == 500


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [12, 20, 30, 60, 100])
def test_a_narrow_terminal_loses_nothing(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    columns = [Column("input"), Column("duration", number=True), Column("notes")]
    rows = [("videos/holiday/beach.mp4", "0:01:02.345", "2 bad packets skipped"), ("x.mp4", "", "")]
    print_table(stream, columns, [Row(rows[0]), Row(rows[1], failed=True)], title="what")
    text = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert max(map(len, text.splitlines())) <= width
    solid = re.sub(r"\s", "", text)
    for word in ("input", "duration", "notes", "0:01:02.345"):
        assert word in solid
    if width < 60:  # a few lines a row
        solid_cells = [re.sub(r"\s", "", cell) for row in rows for cell in row]
        assert all(cell in solid for cell in solid_cells)
        assert "input:x.mp4" in solid
    else:
        assert "input" in text.splitlines()[1]


@pytest.mark.parametrize("width", [30, 60, 100])
def test_a_column_with_a_least_width_stays_whole(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    stream, name = Terminal(), "torchvision/mvit_v2_s"
    row = Row((name, "actions", "a summary that goes on and on for many words " * 3))
    columns = [Column("name", min_width=len(name)), Column("labels"), Column("summary")]
    print_table(stream, columns, [row])
    assert name in stream.getvalue()


def test_document_reads_back() -> None:
    stream = io.StringIO()
    write_document(stream, {"problems": [HOSTILE]})
    assert json.loads(stream.getvalue()) == {"problems": [HOSTILE]}
    stream.getvalue().encode("utf-8")
