"""The options of `vmm sentiment`, and its records as rows, cues and warnings."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from vmm_cli.analysis.sentiment.evidence import EMOTIONS, EXPERTS
from vmm_cli.batch.inputs import Discovery
from vmm_cli.cli.app import run
from vmm_cli.cli.results import Results
from vmm_cli.operations.sentiment import TABLE, parse_evidence, parse_faces, parse_step, sheet
from vmm_cli.output.table import Column, TableOfRecords, Times

NOT_INSTALLED = {"code": "not_installed", "message": "pip install 'vmm-cli[speech]'"}

FOUND: dict[str, Any] = {
    "input": "a.mp4",
    "status": "ok",
    "duration_s": 62.5,
    "experts": {},
    "evidence": ["face", "voice"],
    "missing": {"text": NOT_INSTALLED},
    "curve": [
        {
            "time_s": 0.5,
            "valence": 0.42,
            "confidence": 0.6,
            "emotions": {"happiness": 0.7, "neutral": 0.3},
            "evidence": {"face": 0.5, "voice": 0.25},
            "faces": 2,
        },
        {
            "time_s": 1.5,
            "valence": -0.1,
            "confidence": 0.1,
            "emotions": {},
            "evidence": {"voice": 0.1},
            "faces": 0,
        },
    ],
    "summary": {
        "valence": 0.346,
        "min": -0.1,
        "max": 0.42,
        "peaks": [{"time_s": 0.5, "valence": 0.42}, {"time_s": 1.5, "valence": -0.1}],
        "dominant": "happiness",
        "covered": 0.032,
        "confidence": 0.0112,
    },
}
NOTHING: dict[str, Any] = {
    "input": "b.mp4",
    "status": "ok",
    "duration_s": 2.0,
    "experts": {},
    "evidence": [],
    "missing": {
        "face": {"code": "no_video", "message": "it has no pictures"},
        "voice": {"code": "no_speech", "message": "nobody speaks"},
    },
    "curve": [],
    "summary": {
        "valence": None,
        "min": None,
        "max": None,
        "peaks": [],
        "dominant": None,
        "covered": 0.0,
        "confidence": 0.0,
    },
}
FAILED: dict[str, Any] = {
    "input": "c.mp4",
    "status": "failed",
    "error": {"code": "missing", "message": "no such file or folder"},
}


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("face", ("face",)),
        ("text,face", ("face", "text")),
        (" Voice , voice,,TEXT", ("voice", "text")),
        ("text,voice,face", ("face", "voice", "text")),
    ],
)
def test_evidence_is_a_list_in_any_order(text: str, kinds: tuple[str, ...]) -> None:
    assert parse_evidence(text) == kinds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("faces", "did you mean 'face'"),
        ("face,vioce", "did you mean 'voice'"),
        ("smell", "there are face, voice, text"),
        ("", "no evidence is named"),
        (" , ", "no evidence is named"),
    ],
)
def test_what_is_no_evidence_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_evidence(text)


def test_steps_and_numbers_of_faces() -> None:
    assert [parse_step(text) for text in ("0.1", "1", "1:00:00")] == [Fraction(1, 10), 1, 3600]
    for text in ("0", "0.099", "3600.1", "-1", "x", ""):
        with pytest.raises(ValueError, match=r"0.1 to 3600|lies before|is not a valid time"):
            parse_step(text)
    assert [parse_faces(text) for text in ("0", "3", " 20 ")] == [0, 3, 20]
    for text in ("21", "-1", "1.5", "x", "", "٣"):
        with pytest.raises(ValueError, match="from 0 to 20"):
            parse_faces(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--evidence", "smell"], "--evidence: 'smell' is not a kind of evidence"),
        (["--every", "0"], "--every: '0' is not from 0.1 to 3600 seconds"),
        (["--faces", "21"], "--faces: '21' is not a whole number from 0 to 20"),
        (["--faces", "2", "--evidence", "voice,text"], "add face to --evidence"),
        (["--asr-model", ".", "-e", "face"], "add text to --evidence"),
        (["--keep-transcript", "-e", "face"], "add text to --evidence"),
        (["--keep-features", "--no-store"], "leave one out"),
        (["--asr-model", "none"], "none: is not a folder"),
        (["--model", "m", "--faces", "2"], "--faces is for the experts"),
        (["--model", "m", "--evidence", "face"], "--evidence is for the experts"),
        (["--model", "m", "--keep-transcript"], "--keep-transcript is for the experts"),
        (["--model", "m", "--asr-model", "."], "--asr-model is for the experts"),
        (["--start", "3", "--end", "2"], "must lie after"),
        (["--format", "ass"], "'ass' is not one of"),
    ],
)
def test_wrong_usage(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["sentiment", "x", *arguments]) == 2
    assert said in capsys.readouterr().err


def as_read(
    *records: dict[str, Any], emotions: Sequence[str] = EMOTIONS, kinds: Sequence[str] = EXPERTS
) -> list[dict[str, Any]]:
    """The rows of a CSV file, by its columns."""
    made = sheet(emotions, kinds)
    rows = [row for record in records for row in made.rows(record)]
    return [dict(zip(made.header, row, strict=True)) for row in rows]


def test_csv_has_columns_for_the_emotions_of_a_model() -> None:
    point = {
        "time_s": 0.5,
        "valence": 0.1,
        "confidence": None,
        "emotions": {"tense": 0.75, "bo\tred": 0.25},
        "evidence": {"motion": 0.5},
    }
    record = {**FOUND, "curve": [point]}
    names = {"emotions": ("bo\tred", "calm", "tense"), "kinds": ("image", "motion")}
    (row,) = as_read(record, **names)
    assert list(row) == [
        *("input", "status", "time_s", "valence", "confidence"),
        *("bo\\tred", "calm", "tense", "image", "motion", "faces", "error"),
    ]
    assert (row["bo\\tred"], row["calm"], row["tense"]) == (0.25, None, 0.75)
    assert (row["image"], row["motion"], row["faces"]) == (None, 0.5, None)
    assert as_read(FAILED, **names)[0]["error"] == "missing: no such file or folder"


def test_csv_has_a_row_for_each_point() -> None:
    cells = as_read(FOUND, NOTHING, FAILED)
    said = [{key: cell for key, cell in row.items() if cell not in (None, "")} for row in cells]
    assert said == [
        {
            "input": "a.mp4",
            "status": "ok",
            "time_s": 0.5,
            "valence": 0.42,
            "confidence": 0.6,
            "happiness": 0.7,
            "neutral": 0.3,
            "face": 0.5,
            "voice": 0.25,
            "faces": 2,
        },
        {
            "input": "a.mp4",
            "status": "ok",
            "time_s": 1.5,
            "valence": -0.1,
            "confidence": 0.1,
            "voice": 0.1,
            "faces": 0,
        },
        {"input": "b.mp4", "status": "ok"},
        {"input": "c.mp4", "status": "failed", "error": "missing: no such file or folder"},
    ]


def test_a_table_says_what_was_found_and_from_what() -> None:
    rows = [row for record in (FOUND, NOTHING, FAILED) for row in TABLE.rows(record)]
    assert [tuple(row.cells) for row in rows] == [
        ("a.mp4", "valence", "+0.35 (-0.10 to +0.42)"),
        ("", "mostly", "happiness"),
        ("", "covered", Times(("3% of ", 62.5))),
        ("", "confidence", "0.01"),
        ("", "peaks", Times((0.5, " +0.42", ", ", 1.5, " -0.10"))),
        ("", "evidence", "face, voice"),
        ("", "missing", "text: recogniser not installed"),
        ("b.mp4", "valence", "(no evidence)"),
        ("", "missing", "face: no pictures, voice: no speech"),
        ("c.mp4", "missing: no such file or folder"),
    ]
    assert [row.rule for row in rows] == [*[False] * 6, True, False, True, True]
    assert [row.failed for row in rows] == [*[False] * 9, True]


def test_a_table_shows_records_without_a_confidence() -> None:
    known = {**FOUND, "summary": {**FOUND["summary"], "confidence": None}}
    old = {key: value for key, value in FOUND["summary"].items() if key != "confidence"}
    for record in (known, {**FOUND, "summary": old}):
        assert "confidence" not in [row.cells[1] for row in TABLE.rows(record)]


def test_a_table_says_who_is_seen() -> None:
    person = {"seen_s": 1.5, "start_s": 0.0, "end_s": 2.0, "emotions": {}, "curve": []}
    people = [
        {**person, "person": 1, "valence": 0.3, "dominant": "happiness"},
        {**person, "person": 2, "valence": None, "dominant": None},
    ]
    rows = [tuple(row.cells) for row in TABLE.rows({**FOUND, "people": people})]
    assert ("", "person 1", Times(("+0.30, happiness, seen ", 1.5))) in rows
    assert ("", "person 2", Times(("seen ", 1.5))) in rows


def test_a_table_shows_the_words_where_they_were_kept() -> None:
    said = [
        {"start_s": 1.25, "end_s": 2.0, "text": "I love\nit.", "source": "speech"},
        {"start_s": 61.0, "end_s": 62.0, "text": "Really.", "source": "speech"},
    ]
    rows = [tuple(row.cells) for row in TABLE.rows({**FOUND, "transcript": said})]
    assert rows[-2:] == [
        ("", "words", Times((1.25, " I love it."))),
        ("", "", Times((61.0, " Really."))),
    ]


def test_a_table_can_be_read_in_a_narrow_window(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    table = TableOfRecords(stream, [Column("input"), Column(""), Column("")], TABLE.rows)
    table.write(FOUND)
    table.write({**NOTHING, "input": "a/long/way/to/a/video/of/a/talk.mp4"})
    table.close()
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in stream.getvalue().splitlines()]
    assert max(map(len, lines)) <= 60
    assert any("+0.35 (-0.10 to +0.42)" in line for line in lines), "not broken within a number"
    assert len(lines) < 20


def test_what_the_installation_lacks_is_said_once_a_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = Results(Discovery(()))
    advice = [NOT_INSTALLED["message"], "another is damaged"]
    for name, number in (("a.mp4", 1), ("b.mp4", 2)):
        said = {"warnings": ["its captions are broken"], "advice": advice[:number]}
        results.take({**FOUND, "input": name, **said})
    results.take(NOTHING)
    results.take(FAILED)
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if line in advice] == advice
    assert sum("its captions are broken" in line for line in told) == 2
