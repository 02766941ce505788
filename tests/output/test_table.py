"""Tables fit the terminal: what is left out, folded, cut and moved, and that nothing else is."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from typing import Literal

import pytest

from vmm_cli.output.table import Column, Row, Times, print_table, shortened, span


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(columns: list[Column], rows: list[Row], width: int, patch: pytest.MonkeyPatch) -> str:
    patch.setenv("COLUMNS", str(width))
    patch.setenv("TERM", "dumb")
    patch.setenv("NO_COLOR", "1")
    stream = Terminal()
    print_table(stream, columns, rows)
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= width
    return text


INPUT = Column("input", shorten="start")
LABEL = Column("label", shorten="end")


def test_times_have_no_empty_hours_and_are_alike_in_a_column(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = [Column("time", number=True), Column("seen at")]
    rows = [Row((span(0.5, 62.25), Times((3.0, ", ", 4.0)))), Row((span(None, 1.0), Times((7.0,))))]
    text = drawn(columns, rows, 80, monkeypatch)
    assert "0:00.500 - 1:02.250" in text
    assert "? - 0:01.000" in text
    rows.append(Row((span(0, 3600), Times((9.0,)))))
    text = drawn(columns, rows, 80, monkeypatch)
    assert "0:00:00.500 - 0:01:02.250" in text
    assert "0:00:00.000 - 1:00:00.000" in text
    assert "0:03.000, 0:04.000" in text  # the other column has no hours
    assert "0:00:03" not in text


def test_columns_in_which_nothing_stands_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [Column("input"), Column("sound"), Column("notes"), Column("fps", number=True)]
    rows = [Row(("a.mp4", "-", "", "25")), Row(("b.mp4", "-", "", "30"))]
    text = drawn(columns, rows, 80, monkeypatch)
    assert text.splitlines()[0].split() == ["input", "fps"]
    rows.append(Row(("c.mp4", "aac", "", "30")))
    assert drawn(columns, rows, 80, monkeypatch).splitlines()[0].split() == [
        "input",
        "sound",
        "fps",
    ]
    assert drawn(columns, [], 80, monkeypatch).splitlines()[0].split() == [
        *("input", "sound", "notes", "fps")
    ]


@pytest.mark.parametrize("width", [80, 60, 40])
def test_a_failure_takes_all_the_room_there_is(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    message = "unreadable: the file is incomplete: its index is missing; copy it again"
    columns = [INPUT, Column("duration", number=True), Column("video"), Column("notes")]
    rows = [
        Row(("videos/beach.mp4", Times((3.0,)), "h264", "")),
        Row(("videos/half.mp4", message), failed=True),
    ]
    text = drawn(columns, rows, width, monkeypatch)
    assert message in " ".join(text.split())
    assert "notes" not in text
    assert len(text.splitlines()) <= 6


def test_a_name_stands_above_its_rows_where_both_do_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "videos/holiday/the first day at the beach.mp4"
    columns = [INPUT, LABEL, Column("score", number=True), Column("seen at", shorten="end")]
    times = Times((1.0, ", ", 2.0, ", ", 3.0))
    rows = [
        Row((name, "sandbar", "0.500", times)),
        Row(("", "seashore", "0.250", times), rule=True),
        Row(("x.mp4", "missing: no such file or folder"), failed=True),
    ]
    wide = drawn(columns, rows, 120, monkeypatch).splitlines()
    assert wide[2].startswith(f"{name}  sandbar")
    lines = drawn(columns, rows, 60, monkeypatch).splitlines()
    assert [line.split() for line in lines[:2]] == [["input"], ["label", "score", "seen", "at"]]
    assert lines[3] == name
    assert lines[4] == "  sandbar   0.500  0:01.000, 0:02.000, 0:03.000"
    assert lines[5] == "  seashore  0.250  0:01.000, 0:02.000, 0:03.000"
    assert lines[7:] == ["x.mp4", "  missing: no such file or folder"]


def test_what_is_cut_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [INPUT, LABEL, Column("folder", shorten="start")]
    name = "videos/of/the/holiday/beach.mp4"
    rows = [Row((name, "a label, another", f"{name}.frames"))]
    text = drawn(columns, rows, 70, monkeypatch)
    assert len(text.splitlines()) == 3
    cells = text.splitlines()[2].split("  ")
    assert cells[0].startswith("…/")
    assert name.endswith(cells[0][1:])


@pytest.mark.parametrize(
    ("text", "width", "at", "expected"),
    [
        ("beach.mp4", 9, "start", "beach.mp4"),
        ("videos/beach.mp4", 12, "start", "…/beach.mp4"),
        ("seabeach.mp4", 6, "start", "…h.mp4"),
        ("one, two, three", 12, "end", "one, two, …"),
        ("sandbar", 5, "end", "sand…"),
        ("北京烤鸭", 5, "end", "北京…"),
        ("北京烤鸭", 5, "start", "…烤鸭"),
    ],
)
def test_shortened(text: str, width: int, at: Literal["start", "end"], expected: str) -> None:
    assert shortened(text, width, at) == expected


def test_columns_says_how_wide_the_output_of_a_pipe_is(
    run_vmm: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    listed = run_vmm("models", "list", "--format", "table", env={"COLUMNS": "60"})
    assert max(map(len, listed.stdout.splitlines())) <= 60
    for unbounded in ("", "0"):
        listed = run_vmm("models", "list", "--format", "table", env={"COLUMNS": unbounded})
        assert max(map(len, listed.stdout.splitlines())) > 80
