"""A whole training for segments: from rendered videos to a model that says when, on the clock."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.events import event_clip, tiny
from vmm_cli import bundles
from vmm_cli.analysis.segments import Detection, tidied
from vmm_cli.errors import DataError
from vmm_cli.inference.steps import find_segments, run_steps
from vmm_cli.media.video import Video
from vmm_cli.output.owned import NOTES_FILE
from vmm_cli.training.data.inspection import Inspection, inspect
from vmm_cli.training.data.read_segments import read_segments
from vmm_cli.training.encoding import Means
from vmm_cli.training.evaluation import Evaluation, evaluate
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.request import Listener, TrainRequest
from vmm_cli.training.run import train
from vmm_cli.training.run_files import write_evaluation

FILES = {
    "CARD.md",
    "bundle.yaml",
    "curves.png",
    "graph.fused.onnx",
    "graph.head.onnx",
    "history.jsonl",
    "metrics.json",
    "operating.png",
    "recipe.yaml",
    "split.csv",
    "weights.safetensors",
}
EVENT = (3.2, 5.7)


@pytest.fixture(scope="module", autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VMM_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve videos with one event or none, of even and of uneven pace; the last fold has none."""
    folder = tmp_path_factory.mktemp("videos")
    draw = np.random.default_rng(1)
    rows = ["path,start,end,label,split,group,fold"]
    for i in range(12):
        begin = round(float(draw.uniform(1, 5)), 2)
        end = round(begin + float(draw.uniform(1.2, 3)), 2)
        empty = i % 5 == 0 or i == 11
        clip = folder / f"{i:02}.mp4"
        pace = ("steady", "variable")[i % 2]
        event_clip(clip, [] if empty else [(begin, end)], seconds=9, pace=pace, seed=i)
        fold = "C" if empty else "AB"[i // 6]
        home = f"{'val' if i in (3, 7, 10) else 'train'},g{i},{fold}"
        action = ",," if empty else f"{begin},{end},moves"
        rows.append(f"{clip.name},{action},{home}")
    (folder / "events.csv").write_text("\n".join(rows) + "\n")
    return folder / "events.csv"


@pytest.fixture(scope="module")
def looked_at(annotated: Path) -> Inspection:
    return inspect(read_segments(annotated), jobs=1, max_pixels=10**7)


def trained(looked_at: Inspection, folder: Path, recipe: Recipe, **more: Any) -> dict[str, Any]:
    return train(looked_at, TrainRequest(folder, "events", recipe, **more), Listener())


@pytest.fixture(scope="module")
def model(looked_at: Inspection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "events"
    metrics = trained(looked_at, folder, tiny())
    assert metrics["validation"]["mAP"]["0.5"] > 0.9
    return folder


def said_of(model: Path, clip: Path) -> list[Detection]:
    """What is told of a video from a third on: a threshold from three videos is a chance one."""
    bundle = bundles.load(str(model))
    seen = run_steps(bundle, Video(clip), None, use_store=True)
    found = find_segments(bundle, Video(clip), [seen])
    return tidied(found.detections, min_score=1 / 3)


# --- on the clock -------------------------------------------------------------------------------

KINDS: dict[str, dict[str, Any]] = {
    "steady.mp4": {},
    "variable.mp4": {"pace": "variable"},
    "variable.mkv": {"pace": "variable"},
    "late.mkv": {"late_s": 7.3},
    "late.ts": {"late_s": 5000.0, "pace": "variable"},
    "after-sound.mp4": {"late_s": 1.7, "sound": True},
    "portrait.mp4": {"rotation": 180},
}


@pytest.mark.parametrize("kind", KINDS)
def test_begin_and_end_are_on_the_clock_of_the_file(model: Path, tmp_path: Path, kind: str) -> None:
    clip = event_clip(tmp_path / kind, [EVENT], seconds=9, seed=50, **KINDS[kind])
    (one,) = said_of(model, clip)
    assert (one.start_s, one.end_s) == pytest.approx(EVENT, abs=0.5)
    assert one.label == "moves"


def test_two_events_are_two_and_none_is_none(model: Path, tmp_path: Path) -> None:
    events = [(2.0, 4.0), (8.0, 10.5)]
    clip = event_clip(tmp_path / "two.mp4", events, seconds=13, seed=51)
    found = said_of(model, clip)
    assert len(found) == 2
    for one, event in zip(found, events, strict=True):
        assert (one.start_s, one.end_s) == pytest.approx(event, abs=0.5)
    assert said_of(model, event_clip(tmp_path / "none.mp4", seconds=9, seed=52)) == []


# --- the run ------------------------------------------------------------------------------------


def test_a_run_leaves_a_model_and_how_it_came_about(model: Path, annotated: Path) -> None:
    assert {path.name for path in model.iterdir()} == FILES
    bundle = bundles.load(str(model))
    assert (bundle.task, bundle.labels, bundle.streams) == ("segments", ("moves",), ("motion",))
    metrics = json.loads((model / "metrics.json").read_text())
    told_from = metrics["validation"]["threshold"]
    assert 0 <= told_from - bundle.thresholds["score"] < 1e-6
    assert metrics["best_epoch"] == 25, "without patience the last one"
    assert metrics["samples"] == {"train": 9, "val": 3, "test": 0}
    card = (model / "CARD.md").read_text()
    assert "from when to when" in card and "moves: 6 actions" in card
    assert "mAP" in card and "false alarms an hour" in card


def test_the_split_is_annotations_again(model: Path, annotated: Path) -> None:
    again, given = read_segments(model / "split.csv"), read_segments(annotated)
    assert again.problems == given.problems == ()

    def known(data: Any) -> list[tuple[object, ...]]:
        return [(s.path.resolve(), s.split, s.group, s.fold, s.segments) for s in data.samples]

    assert known(again) == known(given)


def evaluated(model: Path, data: Path, split: str | None = None) -> Evaluation:
    return evaluate(bundles.load(str(model)), read_segments(data), Means(jobs=1), split=split)


def test_evaluation_measures_what_training_measured(
    model: Path, annotated: Path, tmp_path: Path
) -> None:
    found = evaluated(model, annotated, "val")
    metrics = json.loads((model / "metrics.json").read_text())["validation"]
    assert found.document["n"] == 3 and found.document["failed"] == 0
    for key in ("mAP", "recall_at", "false_alarms_per_hour"):
        for name, value in metrics[key].items():
            assert found.document["metrics"][key][name] == pytest.approx(value, abs=1e-4), key
    write_evaluation(tmp_path / "out", found)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "detections.csv",
        "metrics.json",
        "operating.png",
        NOTES_FILE,
    }
    with (tmp_path / "out" / "detections.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "start", "end", "label", "score"]
    assert {row["path"] for row in rows} <= {"03.mp4", "07.mp4", "10.mp4"}
    of_one = [float(row["score"]) for row in rows if row["path"] == "03.mp4"]
    assert of_one == sorted(of_one, reverse=True)


def test_a_label_that_the_model_does_not_know_is_named(
    model: Path, annotated: Path, tmp_path: Path
) -> None:
    other = annotated.parent / "other.csv"
    other.write_text("path,start,end,label\n01.mp4,1,2,rests\n")
    with pytest.raises(DataError, match="does not know the labels 'rests'"):
        evaluated(model, other)


def test_the_model_of_single_steps_is_trained_too(looked_at: Inspection, tmp_path: Path) -> None:
    recipe = tiny("head=steps", "temporal=tcn", "optimisation.epochs=15")
    metrics = trained(looked_at, tmp_path / "steps", recipe)
    assert metrics["validation"]["mAP"]["0.3"] > 0.6
    clip = event_clip(tmp_path / "a.mkv", [EVENT], seconds=9, seed=50, late_s=3.0)
    best = max(said_of(tmp_path / "steps", clip), key=lambda one: one.score)
    # Smoothed over two seconds: its ends are softer than those of the other head.
    assert (best.start_s, best.end_s) == pytest.approx(EVENT, abs=1)


# --- folds --------------------------------------------------------------------------------------


def test_in_folds_nothing_is_held_out_for_stopping_where_nothing_stops(
    looked_at: Inspection, tmp_path: Path
) -> None:
    """Fold C has no action: what cannot be measured there is no number."""
    metrics = trained(looked_at, tmp_path / "run", tiny("optimisation.epochs=3"), folds=True)
    folds = metrics["folds"]
    assert folds["names"] == ["A", "B", "C"]
    assert folds["best_epochs"] == [3, 3, 3] and metrics["best_epoch"] == 3
    assert "all epochs run" in folds["split"]
    assert folds["mAP"][2] is None and None not in folds["mAP"][:2]
    for path in tmp_path.rglob("metrics.json"):
        text = path.read_text()
        assert "NaN" not in text, "JSON has none"
    for name in folds["names"]:
        fold = json.loads((tmp_path / "run" / "folds" / name / "metrics.json").read_text())
        assert fold["samples"]["val"] == 0
        assert fold["samples"]["train"] + fold["samples"]["test"] == 12
        history = (tmp_path / "run" / "folds" / name / "history.jsonl").read_text()
        assert "val_loss" not in history


@pytest.mark.slow
def test_in_folds_patience_holds_some_out(looked_at: Inspection, tmp_path: Path) -> None:
    recipe = tiny("optimisation.epochs=3")
    recipe = replace(recipe, optimisation=replace(recipe.optimisation, patience=2))
    metrics = trained(looked_at, tmp_path / "run", recipe, folds=True)
    assert "chosen on a part of the others" in metrics["folds"]["split"]
    fold = json.loads((tmp_path / "run" / "folds" / "A" / "metrics.json").read_text())
    assert fold["samples"]["val"] > 0
