"""A whole training with negatives: what it leaves, and what the model does with them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.events import event_clip, tiny
from tests.squares import squares_clip
from vmm_cli import bundles
from vmm_cli.errors import OptionError, UsageError
from vmm_cli.inference.steps import find_segments, run_steps
from vmm_cli.library.models import load_model
from vmm_cli.media.video import Video
from vmm_cli.operations.detect_actions import DetectOptions, remarks_on_rates, settle
from vmm_cli.training.data.inspection import Inspection, inspect
from vmm_cli.training.data.read_classes import read_classes
from vmm_cli.training.data.read_segments import read_segments
from vmm_cli.training.data.samples import NONE
from vmm_cli.training.encoding import Means
from vmm_cli.training.evaluation import evaluate
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.request import Listener, TrainRequest, data_with_negatives
from vmm_cli.training.run import train
from vmm_cli.training.run_files import write_evaluation
from vmm_cli.training.summary import summary

RECIPE = load_recipe(
    "frames",
    [
        *("streams=[audio]", "width=8", "dropout=0.1", "window_s=1", "optimisation.patience=0"),
        *("optimisation.epochs=25", "optimisation.learning_rate=0.02"),
    ],
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clips of a high or a low tone in three folds; nine with noise, one of them wrong."""
    folder = tmp_path_factory.mktemp("clips")
    rows = ["path,label,fold"]
    for i in range(12):
        kind = ("moving", "still")[i % 2]
        squares_clip(folder / f"{i:02}.mp4", kind, seed=i, seconds=0.6, sound=True)
        rows.append(f"{i:02}.mp4,{kind},{'ABC'[i // 4]}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    for i in range(8):
        event_clip(folder / "noise" / f"{i}.mp4", seconds=1.6 if i else 3.2, seed=i, sound=True)
    squares_clip(folder / "noise" / "moves.mp4", "moving", seed=50, seconds=0.6, sound=True)
    return folder


def looked_at(clips: Path, *negatives: Path) -> Inspection:
    data = data_with_negatives(read_classes(clips / "clips.csv"), negatives)
    return inspect(data, jobs=1, max_pixels=10**7)


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What was warned of while the model was trained."""
    return []


@pytest.fixture(scope="module")
def model(clips: Path, said: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tones"
    request = TrainRequest(folder, "tones", RECIPE, folds=True)
    train(looked_at(clips, clips / "noise"), request, Listener(on_warning=said.append))
    return folder


def metrics_of(folder: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return metrics


def test_a_look_at_the_data_counts_negatives(clips: Path) -> None:
    found = summary(looked_at(clips, clips / "noise"))
    assert found["negatives"]["n"] == found["negatives"]["files"] == 9
    assert found["negatives"]["seconds"] == pytest.approx(15, abs=1.5)
    assert sum(found["folds"].values()) == 21
    assert summary(looked_at(clips))["negatives"] is None


def test_a_run_says_what_negatives_did(model: Path) -> None:
    metrics = metrics_of(model)
    assert metrics["negatives"] == 9
    test = metrics["folds"]["test"]
    assert test["negatives"]["n"] == 9, "each was left out once"
    assert set(test["negatives"]["false_alarms_per_hour"]) == {"moving", "still", "all"}
    assert test["labelled"]["n"] == 12 and test["labelled"]["accuracy"] > 0.9
    assert test["told"]["max_false_alarms_per_hour"] == 1, "the default where there are some"
    assert test["calibration"]["n"] == 21
    card = (model / "CARD.md").read_text()
    assert "- none of these: 9 samples" in card
    assert "On the 9 negatives among them" in card and "## Operating curve" in card
    assert (model / "operating.png").is_file()
    with (model / "split.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(row["label"] == NONE for row in rows) == 9
    for name in "ABC":
        held_out = metrics_of(model / "folds" / name)["test"]["negatives"]
        assert held_out["n"] == 3, name


def test_a_negative_that_shows_a_label_is_named(model: Path, said: list[str]) -> None:
    like = metrics_of(model)["folds"]["test"]["negatives"]["like_positives"]
    assert [Path(one["path"]).name for one in like] == ["moves.mp4"]
    (warning,) = (text for text in said if "moves.mp4" in text)
    assert "at 0.3 s 'moving' scores" in warning and "look whether it is a negative" in warning
    assert any("1 false alarms an hour cannot be measured on the" in text for text in said)


def test_a_label_s_threshold_is_its_own_and_above_the_false_alarms(model: Path) -> None:
    bundle = bundles.load(str(model))
    assert bundle.none == NONE and set(bundle.operating) == {"moving", "still"}
    test = metrics_of(model)["folds"]["test"]
    for label, curve in bundle.operating.items():
        assert curve.threshold == test["operating"][label]["threshold"]
        assert curve.at(0).threshold == pytest.approx(curve.threshold, abs=1e-6)
    # One clip of noise has the tone: above it there is none.
    told = {label: curve.threshold or 0 for label, curve in bundle.operating.items()}
    assert told["moving"] > test["negatives"]["like_positives"][0]["score"] - 1e-6
    assert bundle.thresholds["temperature"] == test["calibration"]["temperature"]


def test_none_of_these_is_an_answer_and_no_action(model: Path, clips: Path) -> None:
    loaded = load_model(model)
    assert loaded.classify(clips / "noise" / "1.mp4").labels[0].label == NONE
    assert loaded.classify(clips / "00.mp4").labels[0].label == "moving"
    for clip in ("noise/1.mp4", "00.mp4"):
        found = loaded.detect_actions(clips / clip, min_score=0.0).segments
        assert {one.label for one in found} == {"moving", "still"}
    with pytest.raises(OptionError, match="'none of these' is no action of model 'tones'"):
        loaded.detect_actions(clips / "00.mp4", labels=[NONE])


def test_evaluation_draws_the_curve_and_counts_what_training_did(
    model: Path, tmp_path: Path
) -> None:
    fold = model / "folds" / "A"
    data = read_classes(fold / "split.csv")
    found = evaluate(bundles.load(str(fold)), data, Means(jobs=1), split="test")
    trained = metrics_of(fold)["test"]
    for key in ("accuracy", "ece"):
        assert found.document["metrics"][key] == pytest.approx(trained[key], abs=1e-4)
    measured = found.document["metrics"]["negatives"]
    assert measured["n"] == 3
    assert measured["false_alarms_per_hour"] == pytest.approx(
        trained["negatives"]["false_alarms_per_hour"]
    )
    write_evaluation(tmp_path / "out", found)
    assert (tmp_path / "out" / "operating.png").is_file()


def test_other_negatives_are_another_training(model: Path, clips: Path) -> None:
    again = TrainRequest(model, "tones", RECIPE, folds=True, resume=True)
    assert train(looked_at(clips, clips / "noise"), again, Listener()) == metrics_of(model)
    with pytest.raises(UsageError, match="another samples"):
        train(looked_at(clips, clips / "noise" / "1.mp4"), again, Listener())


# --- along the curve -----------------------------------------------------------------------------


def options(model: Path, **more: Any) -> DetectOptions:
    bundle = bundles.load(str(model))
    return settle(DetectOptions(model=str(model), **more), bundle)


def test_false_alarms_move_along_the_curve(model: Path) -> None:
    bundle = bundles.load(str(model))
    hour = [*remarks_on_rates(options(model, false_alarms=1.0), bundle)]
    assert len(hour) == 2 and all("could not be seen in the" in text for text in hour)
    many = [*remarks_on_rates(options(model, false_alarms=1e6), bundle)]
    assert all("its curve ends at" in text for text in many)
    assert not [*remarks_on_rates(options(model, false_alarms=0.0), bundle)]


def test_a_model_without_a_curve_says_what_to_do() -> None:
    with pytest.raises(OptionError, match="model 'imagenet' has no operating curve; give min"):
        options(Path("imagenet"), false_alarms=1.0)


def test_what_was_saved_before_there_were_curves_is_told_as_it_was() -> None:
    bundle = replace(bundles.load("imagenet"), thresholds={"score": 0.25}, operating={})
    assert settle(DetectOptions(model="imagenet"), bundle).min_score == 0.25


# --- segments -----------------------------------------------------------------------------------


def test_of_segments_scores_are_calibrated_and_told_by_false_alarms(tmp_path: Path) -> None:
    rows = ["path,start,end,label,split"]
    for i in range(8):
        clip = event_clip(tmp_path / f"{i}.mp4", [(1 + i / 4, 3 + i / 4)], seconds=6, seed=i)
        rows.append(f"{clip.name},{1 + i / 4},{3 + i / 4},moves,{'val' if i > 4 else 'train'}")
    for i in range(5):
        event_clip(tmp_path / "still" / f"{i}.mp4", seconds=6, seed=20 + i)
    (tmp_path / "events.csv").write_text("\n".join(rows) + "\n")
    data = data_with_negatives(read_segments(tmp_path / "events.csv"), [tmp_path / "still"])
    recipe = tiny("optimisation.epochs=12")
    request = TrainRequest(tmp_path / "run", "events", recipe)
    metrics = train(inspect(data, jobs=1, max_pixels=10**7), request, Listener())
    found = metrics["validation"]
    assert metrics["negatives"] == 5 and found["negatives"]["n"] == 1
    assert found["negatives"]["false_alarms_per_hour"]["moves"] == 0
    bundle = bundles.load(str(tmp_path / "run"))
    assert bundle.none is None and bundle.operating["moves"].n == 3
    rows = (tmp_path / "run" / "split.csv").read_text().splitlines()
    assert sum(NONE in row for row in rows) == 5
    again = read_segments(tmp_path / "run" / "split.csv")
    assert sum(sample.negative for sample in again.samples) == 5

    video = Video(tmp_path / "6.mp4")
    seen = [run_steps(bundle, video, None, use_store=True)]
    best = max(one.score for one in find_segments(bundle, video, seen).detections)
    told = load_model(tmp_path / "run").detect_actions(tmp_path / "6.mp4", min_score=best / 2)
    assert max(one.score for one in told.segments) == pytest.approx(best, abs=1e-6)
