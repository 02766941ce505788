"""`vmm train --task valence` and `evaluate`, from sound alone: it is encoded in no time."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.squares import KINDS, squares_clip
from vmm_cli.bundles import load
from vmm_cli.training.data.read_valence import read_valence

Vmm = Callable[..., subprocess.CompletedProcess[str]]

TINY = """
head: valence
streams: [audio]
window_s: 2
width: 16
dropout: 0.1
optimisation: {epochs: 12, learning_rate: 0.02}
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen clips: a low tone is pleasant, a high one is not."""
    folder = tmp_path_factory.mktemp("clips")
    for i in range(16):
        squares_clip(folder / f"{i:02}.mp4", KINDS[i % 2], seed=i, picture=False, sound=True)
    return folder


def rows_of(clips: Path, *, valence: bool = True, emotion: bool = True) -> list[str]:
    rows = []
    for i in range(16):
        said = ("0.5" if i % 2 == 0 else "-0.5") if valence and i != 5 else ""
        named = ("happiness" if i % 2 == 0 else "anger") if emotion and i != 6 else ""
        rows.append(f"{clips / f'{i:02}.mp4'},{said},{named},g{i // 2}")
    return rows


def table(path: Path, rows: list[str], head: str = "path,valence,emotion,group") -> Path:
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def document(run: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path / "tiny.yaml"


@pytest.mark.slow
def test_a_table_of_ratings_becomes_a_model_that_is_measured(
    run_vmm: Vmm, clips: Path, recipe: Path, tmp_path: Path
) -> None:
    data = table(tmp_path / "rated.csv", rows_of(clips))
    asked = ("train", data, "--task", "valence", "-r", recipe, "-o", "run", "--jobs", "1")
    metrics = document(run_vmm(*asked))
    assert metrics["labels"] == ["anger", "happiness"]
    assert metrics["validation"]["valence"]["pearson"] > 0.9
    assert metrics["validation"]["emotions"]["uar"] == 1
    run = tmp_path / "run"
    bundle = load(str(run))
    assert (bundle.task, bundle.labels) == ("valence", ("anger", "happiness"))
    assert {"valence.png", "confusion.png", "calibration.png"} <= {p.name for p in run.iterdir()}
    card = (run / "CARD.md").read_text()
    assert "how pleasant" in card and "Pearson r" in card and "- valence: 1" in card
    again = read_valence(run / "split.csv")
    assert not again.problems and len(again.samples) == 16
    assert {s.valence for s in again.samples} == {0.5, -0.5, None}

    # Rows that cannot be judged cost themselves alone.
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 5000)
    squares_clip(tmp_path / "silent.mp4", "still", seconds=0.5)
    bad = ["broken.mp4,0.5,anger,x", "silent.mp4,0.5,anger,x", f"{clips}/00.mp4,3,,x"]
    squares_clip(tmp_path / "awed.mp4", picture=False, sound=True)
    bad.append("awed.mp4,0.5,awe,x")
    more = table(tmp_path / "more.csv", [*rows_of(clips), *bad])
    measured = run_vmm("evaluate", "run", more, "-o", "measured", "--jobs", "1")
    assert measured.returncode == 3 and "Traceback" not in measured.stderr
    assert "broken.mp4" in measured.stderr and "silent.mp4: no_stream" in measured.stderr
    assert "divide ratings from -3 to 3 by 3" in measured.stderr
    assert "awed.mp4: unknown_label: model 'run' does not know 'awe'" in measured.stderr
    found = json.loads(measured.stdout)
    assert (found["n"], found["failed"]) == (16, 4)
    assert found["metrics"]["valence"]["n"] == found["metrics"]["emotions"]["n"] == 15
    assert found["metrics"]["valence"]["acc2"] == {
        "negative/non-negative": 1,
        "negative/positive": 1,
    }
    assert found == json.loads((tmp_path / "measured" / "metrics.json").read_text())
    with (tmp_path / "measured" / "scores.csv").open() as file:
        scores = list(csv.DictReader(file))
    assert list(scores[0]) == ["path", "valence", "emotion", "predicted valence", *bundle.labels]
    assert scores[5]["valence"] == "" and scores[6]["emotion"] == ""
    assert (tmp_path / "measured" / "valence.png").is_file()

    awed = table(tmp_path / "awed.csv", ["awed.mp4,0.5,awe,x"])
    refused = run_vmm("evaluate", "run", awed)
    assert refused.returncode == 1 and "does not know the labels 'awe'" in refused.stderr
    table(tmp_path / "awed.csv", ["awed.mp4,0.5,awe,x", f"{clips}/00.mp4,0.5,,x"])
    measured = run_vmm("evaluate", "run", awed)
    assert (measured.returncode, json.loads(measured.stdout)["n"]) == (3, 1)

    # In a table its own emotions and streams have the columns.
    told = run_vmm("sentiment", "awed.mp4", "--model", "run", "--format", "csv")
    rows = list(csv.DictReader(told.stdout.splitlines()))
    assert list(rows[0])[5:] == ["anger", "happiness", "audio", "faces", "error"]
    assert float(rows[0]["anger"]) + float(rows[0]["happiness"]) == pytest.approx(1, abs=1e-4)
    assert float(rows[0]["audio"]) == 1

    # What it is not for names what it is for.
    for command in ("classify", "detect-actions"):
        refused = run_vmm(command, clips, "--model", "run")
        assert refused.returncode == 1 and "vmm sentiment --model" in refused.stderr
    labelled = table(tmp_path / "labelled.csv", [f"{clips}/00.mp4,anger"], "path,label")
    refused = run_vmm("evaluate", "run", labelled)
    assert refused.returncode == 1 and "no column 'valence'" in refused.stderr


def test_the_data_is_looked_at(run_vmm: Vmm, clips: Path, tmp_path: Path) -> None:
    data = table(tmp_path / "rated.csv", rows_of(clips, emotion=False))
    shown = run_vmm("train", data, "--task", "valence", "--check", "--format", "table")
    assert shown.returncode == 0 and "cannot be trained on" not in shown.stderr
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["-0.50", "to", "-0.25", "7"] in [line[:4] for line in lines]
    assert ["without", "a", "valence", "0"] in lines
    forgotten = run_vmm("train", data, "--check")
    assert forgotten.returncode == 1 and "--task valence" in forgotten.stderr
    folder = run_vmm("train", clips, "--task", "valence", "--check")
    assert folder.returncode == 1 and "is a folder" in folder.stderr
    other = run_vmm("train", data, "--task", "valence", "-r", "default", "--check")
    assert other.returncode == 2 and "--task classes" in other.stderr
    both = ("--keep-features", "--no-store")
    refused = run_vmm("train", data, "--task", "valence", "--check", *both)
    assert refused.returncode == 2 and "leave one out" in refused.stderr


@pytest.mark.slow
def test_a_model_of_valences_alone_draws_and_measures_no_emotions(
    run_vmm: Vmm, clips: Path, recipe: Path, tmp_path: Path
) -> None:
    data = table(tmp_path / "rated.csv", rows_of(clips, emotion=False))
    asked = ("train", data, "--task", "valence", "-r", recipe, "-o", "run", "--seeds", "2")
    metrics = document(run_vmm(*asked))
    assert metrics["labels"] == [] and metrics["validation"]["emotions"] is None
    assert metrics["seeds"]["mae"]["values"][0] == metrics["validation"]["valence"]["mae"]
    drawn = {path.name for path in (tmp_path / "run").glob("*.png")}
    assert drawn == {"curves.png", "valence.png"}
    # Emotions in the data are no hindrance: there is something to measure besides.
    named = table(tmp_path / "named.csv", rows_of(clips))
    assert document(run_vmm("evaluate", "run", named))["metrics"]["emotions"] is None
    emotions = table(tmp_path / "emotions.csv", rows_of(clips, valence=False))
    refused = run_vmm("evaluate", "run", emotions)
    assert refused.returncode == 1 and "no row has a valence" in refused.stderr


@pytest.mark.slow
def test_emotions_alone_in_folds(run_vmm: Vmm, clips: Path, recipe: Path, tmp_path: Path) -> None:
    rows = [f"{row},{'ab'[i // 8]}" for i, row in enumerate(rows_of(clips, valence=False))]
    data = table(tmp_path / "rated.csv", rows[:6] + rows[7:], "path,valence,emotion,group,fold")
    asked = ("train", data, "--task", "valence", "-r", recipe, "-o", "run", "--folds", "fold")
    metrics = document(run_vmm(*asked))
    assert metrics["folds"]["uar"] == [1, 1]
    assert metrics["folds"]["test"]["valence"] is None
    assert load(str(tmp_path / "run")).network["valence_from"] == "emotions"
