"""The options of `vmm detect-actions`, and its records as rows and cues."""

from __future__ import annotations

from typing import Any

import pytest

from vmm_cli.cli.app import run
from vmm_cli.operations.detect_actions import (
    SHEET,
    TABLE,
    cues,
    parse_length,
)
from vmm_cli.operations.parse import parse_labels, parse_score
from vmm_cli.output.rows import span
from vmm_cli.output.subtitles import Cue

FOUND: dict[str, Any] = {
    "input": "a.mp4",
    "status": "ok",
    "segments": [
        {"start_s": 1.0, "end_s": 2.5, "label": "run", "score": 0.875},
        {"start_s": 2.0, "end_s": 3723.5, "label": "fall", "score": 0.5},
    ],
}
NOTHING: dict[str, Any] = {"input": "b.mp4", "status": "ok", "segments": []}
FAILED: dict[str, Any] = {
    "input": "c.mp4",
    "status": "failed",
    "error": {"code": "missing", "message": "no such file or folder"},
}


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("run", ("run",)),
        (" run , fall,,run", ("run", "fall")),
        ('"stop, then go",run', ("stop, then go", "run")),
        ("走る,歩く", ("走る", "歩く")),
        ('say "x"', ('say "x"',)),
    ],
)
def test_labels_are_a_list(text: str, labels: tuple[str, ...]) -> None:
    assert parse_labels(text) == labels


@pytest.mark.parametrize("text", ["", " ", ",", '""', "\n"])
def test_no_label_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="no label"):
        parse_labels(text)


def test_scores_and_lengths() -> None:
    assert [parse_score(text) for text in ("0", "1", ".5", "0.25")] == [0, 1, 0.5, 0.25]
    for text in ("1.01", "-0.1", "nan", "1e-1", "50%", ""):
        with pytest.raises(ValueError, match="0 to 1"):
            parse_score(text)
    assert [parse_length(text) for text in ("0", "1.5", "1:30")] == [0, 1.5, 90]
    with pytest.raises(ValueError, match="-1"):
        parse_length("-1")


def test_csv_has_a_row_for_each_segment() -> None:
    rows = [row for record in (FOUND, NOTHING, FAILED) for row in SHEET.rows(record)]
    assert rows == [
        ("a.mp4", "ok", 1.0, 2.5, "run", 0.875, ""),
        ("a.mp4", "ok", 2.0, 3723.5, "fall", 0.5, ""),
        ("b.mp4", "ok", None, None, None, None, ""),
        ("c.mp4", "failed", None, None, None, None, "missing: no such file or folder"),
    ]
    assert {len(row) for row in rows} == {len(SHEET.header)}


def test_a_table_says_each_input_once() -> None:
    rows = [row for record in (FOUND, NOTHING, FAILED) for row in TABLE.rows(record)]
    assert [tuple(row.cells) for row in rows] == [
        ("a.mp4", span(1.0, 2.5), "run", "0.875"),
        ("", span(2.0, 3723.5), "fall", "0.500"),
        ("b.mp4", "(nothing found)"),
        ("c.mp4", "missing: no such file or folder"),
    ]
    assert [row.rule for row in rows] == [False, True, True, True]
    assert [row.failed for row in rows] == [False, False, False, True]


def test_a_cue_says_label_and_score() -> None:
    assert list(cues(FOUND)) == [Cue(1.0, 2.5, "run 0.88"), Cue(2.0, 3723.5, "fall 0.50")]
    assert list(cues(NOTHING)) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x"], "vmm models list"),
        (["x", "-m", "fights", "--min-score", "2"], "--min-score: '2' is not a valid score"),
        (["x", "-m", "fights", "--min-duration", "-1"], "--min-duration: '-1' lies before"),
        (["x", "-m", "fights", "--merge-gap", "x"], "--merge-gap: 'x' is not a valid time"),
        (["x", "-m", "fights", "--labels", ","], "--labels: no label is given"),
        (["x", "-m", "fights", "--start", "3", "--end", "2"], "must lie after"),
        (["x", "-m", "fights", "--format", "ass"], "'ass' is not one of"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert run(["detect-actions", *arguments]) == 2
    assert said in capsys.readouterr().err
