"""`vmm train --task segments`, `evaluate` and `detect-actions` with what was trained."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.events import event_clip

Vmm = Callable[..., subprocess.CompletedProcess[str]]

# What moves is measured in no time.
TINY = """
head: segments
streams: {motion: {encoder: motion-energy}}
window_s: 8
width: 16
levels: 4
dropout: 0.1
temporal: none
optimisation: {epochs: 25, batch: 4, learning_rate: 0.01, patience: 0}
"""
VAL = (3, 7)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[float, float]]]:
    """Ten videos with an event each, but for every fifth, and their spans."""
    folder = tmp_path_factory.mktemp("videos")
    draw = np.random.default_rng(1)
    spans = []
    for i in range(10):
        begin = round(float(draw.uniform(1, 5)), 2)
        spans.append((begin, round(begin + float(draw.uniform(1.2, 3)), 2)))
        event_clip(folder / f"{i}.mp4", spans[i : i + 1] if i % 5 else (), seconds=9, seed=i)
    return folder, spans


def table(folder: Path, rows: list[str]) -> Path:
    path = folder / "events.csv"
    path.write_text("\n".join(["path,start,end,label,split", *rows]) + "\n")
    return path


def rows_of(videos: tuple[Path, list[tuple[float, float]]]) -> list[str]:
    folder, spans = videos
    return [
        f"{folder / f'{i}.mp4'},{f'{begin},{end},moves' if i % 5 else ',,'},"
        + ("val" if i in VAL else "train")
        for i, (begin, end) in enumerate(spans)
    ]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def document(run: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_a_table_of_times_becomes_a_model_that_finds_others(
    run_vmm: Vmm, videos: tuple[Path, list[tuple[float, float]]], recipe: Path, tmp_path: Path
) -> None:
    data = table(tmp_path, rows_of(videos))
    asked = ("train", data, "--task", "segments", "-r", recipe, "-o", "run", "--jobs", "1")
    metrics = document(run_vmm(*asked))
    assert metrics["validation"]["mAP"]["0.5"] > 0.9
    assert metrics["samples"] == {"train": 8, "val": 2, "test": 0}

    event_clip(tmp_path / "new" / "a.mkv", [(3.2, 5.7)], seconds=9, seed=60, late_s=4.0)
    (tmp_path / "new" / "broken.mp4").write_bytes(b"\0" * 5000)
    event_clip(tmp_path / "new" / "still.mp4", seconds=9, seed=61)
    told = run_vmm("detect-actions", "new", "-m", "run", "--min-score", "0.3", "--jobs", "1")
    assert told.returncode == 3
    records = {r["input"]: r for r in map(json.loads, told.stdout.splitlines())}
    (segment,) = records["new/a.mkv"]["segments"]
    assert (segment["start_s"], segment["end_s"]) == pytest.approx((3.2, 5.7), abs=0.5)
    assert segment["label"] == "moves"
    assert records["new/still.mp4"]["segments"] == []
    assert records["new/broken.mp4"]["status"] == "failed"


@pytest.mark.slow
def test_what_was_trained_is_measured_as_far_as_it_can_be(
    run_vmm: Vmm, videos: tuple[Path, list[tuple[float, float]]], recipe: Path, tmp_path: Path
) -> None:
    data = table(tmp_path, rows_of(videos))
    asked = ("train", data, "--task", "segments", "-r", recipe, "-o", "run", "--jobs", "1")
    metrics = document(run_vmm(*asked))
    # A video that cannot be read costs itself alone.
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 5000)
    more = table(tmp_path, [*rows_of(videos), "broken.mp4,1,2,moves,val"])
    measured = run_vmm(
        *("evaluate", "run", more, "--split", "val", "-o", "measured", "--jobs", "1"),
        *("--format", "table"),
    )
    assert measured.returncode == 3 and "broken.mp4" in measured.stderr
    assert "mAP at IoU 0.5" in measured.stdout and "Traceback" not in measured.stderr
    found = json.loads((tmp_path / "measured" / "metrics.json").read_text())
    assert (found["n"], found["failed"]) == (2, 1)
    assert found["metrics"]["mAP"]["mean"] == pytest.approx(
        metrics["validation"]["mAP"]["mean"], abs=1e-3
    )
    with (tmp_path / "measured" / "detections.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = max(rows, key=lambda row: float(row["score"]))
    span = videos[1][int(Path(best["path"]).stem)]
    assert (float(best["start"]), float(best["end"])) == pytest.approx(span, abs=0.5)


@pytest.mark.slow
def test_activitynet_with_mistakes_is_learnt_from_as_far_as_it_goes(
    run_vmm: Vmm, videos: tuple[Path, list[tuple[float, float]]], recipe: Path, tmp_path: Path
) -> None:
    folder, spans = videos
    database: dict[str, Any] = {
        f"v{i}": {
            "file": str(folder / f"{i}.mp4"),
            "subset": "validation" if i in VAL else "training",
            "annotations": [{"label": "moves", "segment": list(span)}] if i % 5 else [],
        }
        for i, span in enumerate(spans)
    }
    far = [{"label": "moves", "segment": [60, 100]}]
    database["v1"]["annotations"] = far  # frame numbers
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 5000)
    late = [{"label": "moves", "segment": [1, 2]}]
    database["gone"] = {"file": "gone.mp4", "subset": "training", "annotations": late}
    database["broken"] = {"file": "broken.mp4", "subset": "training", "annotations": late}
    (tmp_path / "data.json").write_text(json.dumps({"database": database}))
    asked = ("train", "data.json", "--task", "segments", "-r", recipe, "--jobs", "1")
    done = run_vmm(*asked, "-o", "run", "--format", "table")
    assert done.returncode == 0, done.stderr
    assert "look like frame numbers" in done.stderr
    assert "gone.mp4" in done.stderr and "broken.mp4" in done.stderr
    assert "mAP" in done.stdout
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["samples"] == {"train": 7, "val": 2, "test": 0}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--task", "segments", "--recipe", "default"], "recipe 'default' is for classes"),
        (["--recipe", "segments"], "recipe 'segments' is for segments; give --task segments"),
        (["--task", "segments", "--set", "temporal=lstm"], "temporal: 'lstm' is none of none, tcn"),
        (["--task", "segments", "--set", "optimisation.mixup=0.2"], "has no use for it"),
        (["--task", "actions"], "'classes', 'segments'"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused_before_work(
    run_vmm: Vmm,
    videos: tuple[Path, list[tuple[float, float]]],
    tmp_path: Path,
    options: list[str],
    said: str,
) -> None:
    data = table(tmp_path, rows_of(videos))
    refused = run_vmm("train", data, "-o", "run", *options)
    assert refused.returncode in (1, 2) and refused.stdout == ""
    assert said in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["gone.mp4,1,2,moves,"], "gone.mp4"),
        (["0.mp4,20,35,moves,", "1.mp4,12,36,moves,"], "look like frame numbers"),
        pytest.param(["0.mp4,,,,", "1.mp4,,,,"], "no action is annotated", marks=pytest.mark.slow),
        (["0.mp4,2,1,moves,"], "not after its start"),
    ],
    ids=["missing", "frame numbers", "nothing happens", "backwards"],
)
def test_data_that_cannot_be_learnt_from_is_refused(
    run_vmm: Vmm, recipe: Path, tmp_path: Path, rows: list[str], said: str
) -> None:
    for name in ("0.mp4", "1.mp4"):
        event_clip(tmp_path / name, [(1, 2)], seconds=3)
    data = table(tmp_path, rows)
    refused = run_vmm("train", data, "--task", "segments", "-r", recipe, "-o", "run", "--jobs", "1")
    assert refused.returncode == 1 and refused.stdout == ""
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "run").exists()
