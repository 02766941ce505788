"""What earlier versions have done counts as done: what their journals say of it is still known."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from vmm_cli.batch.journal import fingerprint
from vmm_cli.cli.app import run
from vmm_cli.cli.running import marks
from vmm_cli.identity import file_identity
from vmm_cli.operations.classify import CLASSIFY, ClassifyOptions
from vmm_cli.operations.detect_actions import DETECT_ACTIONS, DetectOptions
from vmm_cli.operations.extract_frames import EXTRACT_FRAMES, ExtractOptions
from vmm_cli.operations.info import INFO, InfoOptions
from vmm_cli.operations.operation import Operation
from vmm_cli.operations.options import counted
from vmm_cli.operations.sentiment import SENTIMENT, SentimentOptions

PIXELS = 8192 * 8192


def sampling(kind: str, **said: str) -> str:
    """What vmm 0.1 wrote of wanted times."""
    fields = {
        "start": "Fraction(0, 1)",
        "end": "None",
        "step_s": "None",
        "n": "None",
        "offsets_s": "()",
    }
    listed = ", ".join(f"{name}={value}" for name, value in (fields | said).items())
    return f"Sampling(kind='{kind}', {listed})"


def frames(wanted: str, **said: object) -> dict[str, object]:
    fields = {"size": [], "image_format": "jpg", "quality": None, "contact_sheet": False}
    return {"sampling": wanted} | fields | said


def pictures(wanted: str, **said: object) -> dict[str, object]:
    return {"sampling": wanted, "top_k": 5, "windows_s": None, "max_pixels": PIXELS} | said


def windows(**said: object) -> dict[str, object]:
    fields = {"start": "0", "end": "None", "top_k": 5, "windows_s": None, "explain": False}
    return fields | {"strips": None, "max_pixels": PIXELS} | said


def actions(min_score: float, **said: object) -> dict[str, object]:
    fields: dict[str, object] = {"start": "0", "end": "None", "labels": None}
    fields |= {"min_score": min_score, "min_duration_s": 0.0, "merge_gap_s": 0.0}
    return fields | {"timeline": None, "max_pixels": PIXELS} | said


def mood(**said: object) -> dict[str, object]:
    fields: dict[str, object] = {"evidence": ["face", "voice", "text"], "every_s": "1", "faces": 0}
    fields |= {"start": "0", "end": "None", "asr_model": None, "keep_transcript": False}
    return fields | {"plot": None, "max_pixels": PIXELS} | said


EACH_SECOND = sampling("every", step_s="Fraction(1, 1)")
# Options, and what vmm 0.1 said that records depend on: taken from its journals.
CASES: list[tuple[Operation[Any, Any, Any, Any], Any, dict[str, object]]] = [
    (INFO, InfoOptions(), {"max_pixels": PIXELS}),
    (INFO, InfoOptions(shots=True), {"max_pixels": PIXELS, "shots": True}),
    (INFO, InfoOptions(max_pixels=10**6), {"max_pixels": 10**6}),
    (EXTRACT_FRAMES, ExtractOptions(output="F"), frames(EACH_SECOND)),
    (
        EXTRACT_FRAMES,
        ExtractOptions(output="F", fps=Fraction(2)),
        frames(sampling("every", step_s="Fraction(1, 2)")),
    ),
    (
        EXTRACT_FRAMES,
        ExtractOptions(output="F", every=Fraction(1, 2), start=Fraction(1), end=Fraction("62.5")),
        frames(
            sampling(
                "every", start="Fraction(1, 1)", end="Fraction(125, 2)", step_s="Fraction(1, 2)"
            )
        ),
    ),
    (
        EXTRACT_FRAMES,
        ExtractOptions(output="F", count=7, size=(64, 48), image_format="png"),
        frames(sampling("count", n="7"), size=[64, 48], image_format="png"),
    ),
    (
        EXTRACT_FRAMES,
        ExtractOptions(
            output="F", at=(Fraction(3), Fraction(5, 4)), quality=80, contact_sheet=True
        ),
        frames(
            sampling("at", offsets_s="(Fraction(5, 4), Fraction(3, 1))"),
            quality=80,
            contact_sheet=True,
        ),
    ),
    (
        EXTRACT_FRAMES,
        ExtractOptions(output="F", keyframes=True, size=(120,)),
        frames(sampling("keyframes"), size=[120]),
    ),
    (
        EXTRACT_FRAMES,
        ExtractOptions(output="F", all=True, end=Fraction(3), max_pixels=10**6),
        frames(sampling("all", end="Fraction(3, 1)")),
    ),
    (EXTRACT_FRAMES, ExtractOptions(output="F", shots=True), frames(sampling("shots"))),
    (CLASSIFY, ClassifyOptions(model="imagenet"), pictures(EACH_SECOND)),
    (
        CLASSIFY,
        ClassifyOptions(model="imagenet", top_k=3, every=Fraction(1, 10)),
        pictures(sampling("every", step_s="Fraction(1, 10)"), top_k=3),
    ),
    (
        CLASSIFY,
        ClassifyOptions(model="imagenet", count=4, start=Fraction(1), end=Fraction("9.5")),
        pictures(sampling("count", start="Fraction(1, 1)", end="Fraction(19, 2)", n="4")),
    ),
    (
        CLASSIFY,
        ClassifyOptions(model="imagenet", windows=Fraction(10)),
        pictures(EACH_SECOND, windows_s=10.0),
    ),
    (
        CLASSIFY,
        ClassifyOptions(model="imagenet", windows=Fraction(1, 2), device="cpu", no_store=True),
        pictures(sampling("every", step_s="Fraction(1, 2)"), windows_s=0.5),
    ),
    (
        CLASSIFY,
        ClassifyOptions(model="imagenet", max_pixels=10**6),
        pictures(EACH_SECOND, max_pixels=10**6),
    ),
    (CLASSIFY, ClassifyOptions(model="fights"), windows()),
    (
        CLASSIFY,
        ClassifyOptions(model="fights", top_k=1, windows=Fraction(4), start=Fraction(2)),
        windows(top_k=1, windows_s=4.0, start="2"),
    ),
    (CLASSIFY, ClassifyOptions(model="fights", explain=True), windows(explain=True)),
    (
        CLASSIFY,
        ClassifyOptions(model="fights", strips=Path("S")),
        windows(explain=True, strips="S"),
    ),
    (DETECT_ACTIONS, DetectOptions(model="imagenet"), actions(0.5)),
    (
        DETECT_ACTIONS,
        DetectOptions(model="falls", min_score=0.3, min_duration=1.0, merge_gap=2.0),
        actions(0.3, min_duration_s=1.0, merge_gap_s=2.0),
    ),
    (
        DETECT_ACTIONS,
        DetectOptions(model="fights", labels=("fight",), start=Fraction(1), end=Fraction(5)),
        actions(0.5, labels=["fight"], start="1", end="5"),
    ),
    (
        DETECT_ACTIONS,
        DetectOptions(model="fights", timeline=Path("T"), no_store=True),
        actions(0.5, timeline="T"),
    ),
    (SENTIMENT, SentimentOptions(), mood()),
    (
        SENTIMENT,
        SentimentOptions(evidence=("face", "text"), faces=2, every=Fraction(1, 2)),
        mood(evidence=["face", "text"], faces=2, every_s="1/2"),
    ),
    (
        SENTIMENT,
        SentimentOptions(
            keep_transcript=True, start=Fraction(3), end=Fraction(60), keep_features=True
        ),
        mood(keep_transcript=True, start="3", end="60"),
    ),
    (
        SENTIMENT,
        SentimentOptions(plot=Path("P"), max_pixels=10**6),
        mood(plot="P", max_pixels=10**6),
    ),
]


@pytest.mark.parametrize(("operation", "options", "content"), CASES)
def test_what_records_depend_on_is_known_as_it_was_said(
    operation: Operation[Any, Any, Any, Any], options: Any, content: dict[str, object]
) -> None:
    prepared = operation.prepare(options)
    said = marks(operation.schema, prepared)
    assert fingerprint(operation.schema, content, prepared.model_digest) in said
    # What is written now holds no representation of a class.
    assert "Fraction(" not in json.dumps(counted(prepared.options))


@pytest.mark.parametrize(
    ("line", "schema", "content"),
    [
        ("info --shots", INFO.schema, {"max_pixels": PIXELS, "shots": True}),
        ("extract-frames --fps 1", EXTRACT_FRAMES.schema, frames(EACH_SECOND)),
    ],
)
def test_a_journal_of_an_earlier_version_is_gone_on_from(
    bikes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    line: str,
    schema: str,
    content: dict[str, object],
) -> None:
    output = tmp_path / "out"
    journal = tmp_path / "out.journal.jsonl"
    record: dict[str, Any] = {"schema": schema, "input": str(bikes), "status": "ok", "n": 7}
    if line.startswith("extract-frames"):
        journal = output / "vmm.journal.jsonl"
        (output / bikes.name).mkdir(parents=True)
        (output / bikes.name / "frames.jsonl").touch()
        record |= {"folder": bikes.name, "skipped_packets": 0}
    entry = {
        "input": str(bikes),
        "identity": file_identity(bikes).to_dict(),
        "fingerprint": fingerprint(schema, content, None),
        "record": record,
    }
    journal.write_text(json.dumps(entry) + "\n")
    assert run([*line.split(), str(bikes), "-o", str(output), "--format", "jsonl"]) == 0
    said = capsys.readouterr().out if output.is_dir() else output.read_text()
    assert json.loads(said) == record, "it was not done again"


def test_what_changes_records_is_done_again() -> None:
    first = EXTRACT_FRAMES.prepare(ExtractOptions(output="F", every=Fraction(1, 2)))
    same = EXTRACT_FRAMES.prepare(ExtractOptions(output="G", fps=Fraction(2), overwrite=True))
    other = EXTRACT_FRAMES.prepare(ExtractOptions(output="F", every=Fraction(1, 3)))
    said = [set(marks(EXTRACT_FRAMES.schema, one)) for one in (first, same, other)]
    assert said[0] == said[1]
    assert not said[0] & said[2]
