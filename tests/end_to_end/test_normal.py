"""`vmm train --task normal`, `evaluate` and `detect-actions` with what was learnt."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import vmm_cli
from tests.events import event_clip
from tests.squares import squares_clip
from vmm_cli import bundles
from vmm_cli.inference.usual_model import load_usual

Vmm = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
# What moves is measured in no time.
MOTION = "streams={motion: {encoder: motion-energy}}"
EVENT = (2.0, 4.0)
SECONDS = 6.0


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos in which nothing moves."""
    folder = tmp_path_factory.mktemp("usual")
    for i in range(5):
        event_clip(folder / f"{i}.mp4", seconds=SECONDS, seed=i)
    return folder


@pytest.fixture(scope="module")
def model(usual: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "watch"
    vmm_cli.train(usual, folder, task="normal", changes=[MOTION], jobs=1, device="cpu")
    return folder


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video in which something moves for two seconds."""
    return event_clip(
        tmp_path_factory.mktemp("event") / "event.mp4", [EVENT], seconds=SECONDS, seed=9
    )


def records(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode in (0, 3), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_moves_is_found_with_a_reason_and_a_place(
    run_vmm: Vmm, model: Path, usual: Path, event: Path, tmp_path: Path
) -> None:
    words = ("detect-actions", event, usual / "0.mp4", "--model", model, "--timeline", "drawn")
    found, calm = records(run_vmm(*words, "--format", "jsonl"))
    (segment,) = found["segments"]
    assert segment["label"] == "unusual" and 0.99 < segment["score"] <= 1
    assert abs(segment["start_s"] - EVENT[0]) <= 1 and abs(segment["end_s"] - EVENT[1]) <= 1
    assert segment["reason"]["stream"] == "motion" and segment["reason"]["share"] == 1
    x, y, width, height = segment["reason"]["box"]
    assert 0 <= x < x + width <= 1 and 0 <= y < y + height <= 1
    assert height < 0.5  # it moves along a line
    assert calm["segments"] == [] and "warnings" not in calm
    assert (tmp_path / "drawn" / found["timeline"]).is_file()


@pytest.mark.parametrize("format", ["table", "csv", "vtt"])
def test_it_is_shown_in_any_format(run_vmm: Vmm, model: Path, event: Path, format: str) -> None:
    done = run_vmm("detect-actions", event, "--model", model, "--format", format)
    assert done.returncode == 0, done.stderr
    assert "unusual" in done.stdout


def test_from_python(model: Path, event: Path) -> None:
    loaded = vmm_cli.load_model(model)
    assert (loaded.task, loaded.labels) == ("normal", ("unusual",))
    (found,) = loaded.detect_actions(event, device="cpu").segments
    assert found.reason is not None and found.reason["stream"] == "motion"


def test_a_video_in_parts_is_as_one(run_vmm: Vmm, usual: Path, model: Path, tmp_path: Path) -> None:
    """Of what changes, the step before a part counts, too."""
    folder = tmp_path / "changes"
    change = "streams={motion: {encoder: motion-energy, front_end: change}}"
    trained = run_vmm(
        *("train", usual, "--task", "normal", "-o", folder, "--set", change),
        *("--set", "rate_hz=40", "--jobs", "1", "--quiet"),
    )
    assert trained.returncode == 0, trained.stderr
    clip = event_clip(tmp_path / "long.mp4", [(2.8, 3.2)], seconds=7, seed=3)
    found = []
    for jobs in ("1", "2"):
        words = ("detect-actions", clip, "--model", folder, "--format", "jsonl", "--no-store")
        found.append(records(run_vmm(*words, "--jobs", jobs))[0]["segments"])
    assert found[0] == found[1] and found[0]


def test_without_torch(run_vmm: Vmm, model: Path, event: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "no-torch"
    blocked.mkdir()
    for name in ("torch", "torchvision"):
        (blocked / f"{name}.py").write_text(f"raise ImportError('{name}')\n")
    env = {"PYTHONPATH": os.pathsep.join([str(blocked), str(ROOT)])}
    words = ("detect-actions", event, "--model", model, "--device", "cpu", "--format", "jsonl")
    (found,) = records(run_vmm(*words, "--no-store", env=env))
    assert len(found["segments"]) == 1


def test_evaluate(run_vmm: Vmm, model: Path, usual: Path, event: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text(
        "path,start,end,label\n"
        f"{event},{EVENT[0]},{EVENT[1]},moving\n{usual / '0.mp4'},,,\n{usual / '1.mp4'},,,\n"
    )
    done = run_vmm("evaluate", model, rows, "-o", tmp_path / "measured", "--format", "json")
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)["metrics"]
    assert metrics["auc"]["frame"] > 0.9 and metrics["auc"]["clip"] == 1
    assert metrics["events"] == {"n": 1, "found": 1, "recall": 1.0}
    assert metrics["false_alarms"] == 0
    with (tmp_path / "measured" / "videos.csv").open() as file:
        table = {row["path"]: row for row in csv.DictReader(file)}
    assert table[str(event)]["told"] == "1" and table[str(usual / "0.mp4")]["told"] == "0"


def test_evaluate_by_labels(run_vmm: Vmm, model: Path, usual: Path, event: Path) -> None:
    rows = event.parent / "labels.csv"
    rows.write_text(f"path,label\n{event},brawl\n{usual / '0.mp4'},normal\n")
    done = run_vmm("evaluate", model, rows, "--format", "table")
    assert done.returncode == 0, done.stderr
    assert "AUC by clip" in done.stdout and "1.000" in done.stdout


def test_the_run_says_how_it_was_calibrated(model: Path, run_vmm: Vmm) -> None:
    card = (model / "CARD.md").read_text()
    assert "4 parts videos were left out" in card and "1 false alarms an hour" in card
    assert "too short to see 1 an hour" in card
    shown = run_vmm("models", "show", model)
    assert shown.returncode == 0 and "unusual" in shown.stdout
    thresholds = json.loads(run_vmm("models", "show", model, "--format", "json").stdout)
    assert 0.99 < thresholds["thresholds"]["score"] < 1


def test_resume_of_a_finished_run(run_vmm: Vmm, usual: Path, tmp_path: Path) -> None:
    words = ("train", usual, "--task", "normal", "-o", tmp_path / "run", "--set", MOTION)
    first = run_vmm(*words, "--format", "json")
    assert first.returncode == 0, first.stderr
    again = run_vmm(*words, "--format", "json", "--resume")
    assert json.loads(again.stdout) == json.loads(first.stdout)
    tables = run_vmm(*words, "--resume", "--format", "table")
    assert "best epoch" not in tables.stdout and "false alarms per hour" in tables.stdout


def test_folds(run_vmm: Vmm, usual: Path, event: Path, tmp_path: Path) -> None:
    rows = ["path,start,end,label,fold"]
    rows += [f"{usual / f'{i}.mp4'},,,,{'ab'[i % 2]}" for i in range(4)]
    rows.append(f"{event},{EVENT[0]},{EVENT[1]},moving,b")
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n")
    words = ("train", tmp_path / "rows.csv", "--task", "normal", "-o", tmp_path / "run")
    done = run_vmm(*words, "--set", MOTION, "--folds", "fold", "--format", "json")
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert metrics["folds"]["test"]["auc"]["frame"] > 0.9
    assert metrics["samples"] == {"train": 5, "val": 0, "test": 0}


# --- what is wrong with videos, and with what is asked --------------------------------------------


def test_one_video_says_that_nothing_could_be_held_out(
    run_vmm: Vmm, usual: Path, event: Path, tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    shutil.copy(usual / "0.mp4", tmp_path / "one")
    words = ("train", tmp_path / "one", "--task", "normal", "-o", tmp_path / "run")
    done = run_vmm(*words, "--set", MOTION)
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "run" / "CARD.md").read_text()
    assert "nothing could be held out but stretches of it" in card
    found = run_vmm("detect-actions", event, "--model", tmp_path / "run", "--format", "jsonl")
    assert records(found)[0]["segments"]


def test_videos_that_are_too_short(run_vmm: Vmm, tmp_path: Path) -> None:
    for i in range(2):
        squares_clip(tmp_path / "short" / f"{i}.mp4", "still", seconds=0.5, seed=i)
    words = ("train", tmp_path / "short", "--task", "normal", "-o", tmp_path / "run")
    done = run_vmm(*words, "--set", MOTION)
    assert done.returncode == 4 or done.returncode == 1 or done.returncode == 2
    assert "too little is seen" in done.stderr and not (tmp_path / "run").exists()


def test_labels_are_refused(run_vmm: Vmm, usual: Path, event: Path, tmp_path: Path) -> None:
    (tmp_path / "all" / "normal").mkdir(parents=True)
    (tmp_path / "all" / "brawl").mkdir()
    shutil.copy(usual / "0.mp4", tmp_path / "all" / "normal")
    shutil.copy(event, tmp_path / "all" / "brawl")
    words = ("train", tmp_path / "all", "--task", "normal", "-o", tmp_path / "run")
    done = run_vmm(*words, "--set", MOTION)
    assert done.returncode != 0 and "needs no labels" in done.stderr
    assert not (tmp_path / "run").exists()


def test_what_networks_need_is_refused(run_vmm: Vmm, usual: Path, tmp_path: Path) -> None:
    words = ("train", usual, "--task", "normal", "-o", tmp_path / "run", "--epochs", "5")
    done = run_vmm(*words, "--set", "temporal=gru")
    assert done.returncode != 0
    assert "optimisation.epochs" in done.stderr and "temporal" in done.stderr
    assert "has no network" in done.stderr


def test_files_that_are_black_silent_or_broken(
    run_vmm: Vmm, model: Path, usual: Path, tmp_path: Path
) -> None:
    """Each costs itself alone, and no score is no number."""
    event_clip(tmp_path / "black.mp4", seconds=3, square=False)
    sound = squares_clip(tmp_path / "sound.mp4", picture=False, sound=True)
    large = event_clip(tmp_path / "large.mp4", seconds=3, size=(320, 240))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes((usual / "0.mp4").read_bytes()[:2000])
    files = (tmp_path / "black.mp4", sound, large, broken)
    done = run_vmm("detect-actions", *files, "--model", model, "--format", "jsonl")
    found = {Path(one["input"]).name: one for one in records(done)}
    assert done.returncode == 3
    assert found["black.mp4"]["segments"] == found["large.mp4"]["segments"] == []
    assert found["sound.mp4"]["error"]["code"] == "no_stream"
    assert found["broken.mp4"]["status"] == "failed"


def test_another_camera_is_said(run_vmm: Vmm, model: Path, tmp_path: Path) -> None:
    clip = event_clip(tmp_path / "other.mp4", [(0, 12)], seconds=12, seed=5)
    done = run_vmm("detect-actions", clip, "--model", model, "--format", "jsonl")
    (found,) = records(done)
    (warning,) = found["warnings"]
    assert "another camera" in warning and "another camera" in done.stderr


def hostile(model: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Save a model anew that says something else of itself; its digests are right."""
    document = yaml.safe_load((model / "bundle.yaml").read_text())
    change(document)
    return bundles.save(folder, document, bundles.load_tensors(bundles.read(model))).folder


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("smoothing", 10**9, "its smoothing"),
        ("streams", [], "it has 0 streams"),
        ("kind", "fusion", "another kind"),
        ("rate_hz", "fast", "its rate_hz is no number"),
        ("streams.width", 7, "12 x 16 places for 7 values"),
        ("streams.rows", 0, "its rows"),
        ("streams.front_end", "cnn", "a front end that there is not"),
    ],
)
def test_a_hostile_model_is_refused(
    run_vmm: Vmm, model: Path, event: Path, tmp_path: Path, key: str, value: Any, said: str
) -> None:
    def change(document: dict[str, Any]) -> None:
        where = document["network"]
        if key.startswith("streams."):
            where = where["streams"][0]
        where[key.split(".")[-1]] = value

    folder = hostile(model, tmp_path / "bad", change)
    done = run_vmm("detect-actions", event, "--model", folder)
    assert done.returncode != 0 and said in done.stderr
    assert "Traceback" not in done.stderr


def test_tensors_must_be_those_that_are_described(model: Path, tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["network"]["streams"][0] |= {"nearest": 3, "components": 8, "bank": 10}

    bundle = bundles.read(hostile(model, tmp_path / "bad", change))
    with pytest.raises(vmm_cli.ModelError, match="cannot be compared with"):
        load_usual(bundle.folder, bundle.digest)


def test_the_same_data_give_the_same_model(usual: Path, model: Path, tmp_path: Path) -> None:
    vmm_cli.train(usual, tmp_path / "watch", task="normal", changes=[MOTION], jobs=1, device="cpu")
    one, other = (bundles.load_tensors(bundles.read(f)) for f in (model, tmp_path / "watch"))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)
