"""Few samples a label: the recipe that is taken, what it is measured on, and learning curves."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.squares import KINDS, squares_clip
from tests.training import fabricated
from vmm_cli import bundles
from vmm_cli.training.data.inspection import Inspection, inspect
from vmm_cli.training.data.read_classes import read_classes
from vmm_cli.training.data.samples import DataSet, Sample, group_of, with_samples
from vmm_cli.training.data.splits import parts_of
from vmm_cli.training.learning_curve import learning_curve, says
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.request import (
    FEW_SAMPLES,
    Listener,
    TrainRequest,
    few_samples,
    recipe_for_few,
)
from vmm_cli.training.run import train

HEARD = "streams={audio: {front_end: identity-change}}"  # sound is encoded in no time


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    """Sixteen clips of eight groups."""
    folder = tmp_path_factory.mktemp("clips")
    rows = ["path,label,group"]
    for i in range(16):
        squares_clip(folder / f"{i:02}.mp4", KINDS[i % 2], seed=i, seconds=0.6, sound=True)
        rows.append(f"{i:02}.mp4,{KINDS[i % 2]},g{i // 2}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    return inspect(read_classes(folder / "clips.csv"), jobs=1, max_pixels=10**7)


def run(looked_at: Inspection, folder: Path, **more: Any) -> dict[str, Any]:
    wanted: dict[str, Any] = {"name": "tones", "recipe": load_recipe("few", [HEARD]), **more}
    listener = wanted.pop("listener", Listener())
    return train(looked_at, TrainRequest(folder, **wanted), listener)


# --- the recipe ---------------------------------------------------------------------------------


def many(count: int, labels: tuple[str, ...] = fabricated.LABELS, **more: object) -> DataSet:
    """A data set of so many samples of each label."""
    samples = [
        fabricated.sample(i, labels[i % len(labels)], None, **more)
        for i in range(count * len(labels))
    ]
    return fabricated.dataset(samples, multi_label=any("|" in label for label in labels))


def test_few_samples_a_label_have_a_recipe_of_their_own() -> None:
    few = recipe_for_few(many(FEW_SAMPLES))
    assert few is not None and few.name == "few" and few.optimisation.probe
    assert recipe_for_few(many(FEW_SAMPLES + 1)) is None
    assert few_samples(many(10, ("a|b", "c"))) == pytest.approx(10)


def test_what_is_for_testing_does_not_count() -> None:
    data = many(50)
    tested = (replace(s, split="test" if i >= 20 else "train") for i, s in enumerate(data.samples))
    assert recipe_for_few(with_samples(data, tested)) is not None


# --- what it is measured on ---------------------------------------------------------------------


def test_a_probe_learns_from_all_samples_and_is_measured_on_all(
    looked_at: Inspection, tmp_path: Path
) -> None:
    metrics = run(looked_at, tmp_path / "run", learning_curve=True)
    assert metrics["samples"] == {"train": 16, "val": 0, "test": 0}
    assert metrics["folds"]["names"] == ["1", "2", "3", "4", "5"]
    assert len(metrics["folds"]["test"]["per_group"]) == 8, "each group was judged"
    assert metrics["folds"]["test"]["accuracy"] == 1
    assert len(metrics["probe"]["views"]) == 3, "two views: both, and each alone"
    (curve, line) = metrics["learning_curve"], says(metrics["learning_curve"])
    assert [point["samples_a_label"] for point in curve["points"]] == [5, pytest.approx(6.4)]
    card = (tmp_path / "run" / "CARD.md").read_text()
    assert "linear probe" in card and "| audio (identity) |" in card and line in card
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert "learning_curve.png" in files and "curves.png" not in files
    bundle = bundles.load(str(tmp_path / "run"))
    assert bundle.graphs and bundle.labels == KINDS
    again = run(looked_at, tmp_path / "run", learning_curve=True, resume=True)
    assert again == metrics


def test_the_validation_that_the_user_gives_is_taken(looked_at: Inspection, tmp_path: Path) -> None:
    data = looked_at.dataset
    given = (replace(s, split="val" if i < 4 else "train") for i, s in enumerate(data.samples))
    metrics = run(replace(looked_at, dataset=with_samples(data, given)), tmp_path / "run")
    assert metrics["samples"] == {"train": 12, "val": 4, "test": 0}
    assert metrics["validation"]["accuracy"] == 1 and "folds" not in metrics


# --- parts --------------------------------------------------------------------------------------


def test_parts_keep_groups_whole_and_labels_on_both_sides() -> None:
    samples = [replace(s, group=f"g{i // 4}") for i, s in enumerate(many(20).samples)]
    data = fabricated.dataset(samples)
    parts = parts_of(data, 5, seed=0)
    assert parts is not None and set(parts) == set(range(5))
    home = {group_of(s): part for s, part in zip(samples, parts, strict=True)}
    assert parts == [home[group_of(s)] for s in samples]
    for part in range(5):
        rest = {s.labels[0] for s, p in zip(samples, parts, strict=True) if p != part}
        assert rest == set(fabricated.LABELS)
    assert max(Counter(parts).values()) == 8, "even where groups allow it"
    assert parts == parts_of(data, 5, seed=0)


@pytest.mark.parametrize("labels", [("a", "b"), ("a|b", "b")])
def test_a_label_of_one_group_cannot_be_left_out(labels: tuple[str, ...]) -> None:
    samples = [replace(s, group=s.labels[0]) for s in many(6, labels).samples]
    assert parts_of(fabricated.dataset(samples, multi_label=True), 5, seed=0) is None


# --- learning curves ----------------------------------------------------------------------------


def trials(heard: list[tuple[int, list[Sample]]], reached: float = 0.5) -> Any:
    def trial(data: DataSet, seed: int, what: str) -> dict[str, float]:
        learnt = [s for s in data.samples if s.split == "train"]
        tested = {group_of(s) for s in data.samples if s.split == "test"}
        assert tested and not tested & {group_of(s) for s in learnt}
        heard.append((seed, learnt))
        return {"balanced_accuracy": reached + len(learnt) / 1000}

    return trial


def test_a_curve_has_rising_parts_of_the_same_samples(tmp_path: Path) -> None:
    samples = [replace(s, group=f"g{i // 3}") for i, s in enumerate(many(30).samples)]
    data, heard = fabricated.dataset(samples), []
    curve = learning_curve(data, trials(heard), seed=0, contents={}, done=tmp_path / "done.json")
    assert curve is not None and curve["draws"] == 5
    assert [point["samples_a_label"] for point in curve["points"]] == [5, 10, 20, 24]
    for draw in range(5):
        learnt = [{s.name for s in found} for seed, found in heard if seed == draw]
        assert learnt == sorted(learnt, key=len) and learnt[0] < learnt[1] < learnt[2] < learnt[3]
    assert "more of the same kind will hardly help" in says(curve)

    # What is done is not done again.
    noted = json.loads((tmp_path / "done.json").read_text())
    del noted["curve 2 of 5, 10 a label"]
    (tmp_path / "done.json").write_text(json.dumps(noted))
    heard.clear()
    again = learning_curve(data, trials(heard), seed=0, contents={}, done=tmp_path / "done.json")
    assert again == curve and len(heard) == 1


def test_too_few_samples_have_no_curve() -> None:
    assert learning_curve(many(5), trials([]), seed=0, contents={}, done=None) is None
    assert learning_curve(many(1), trials([]), seed=0, contents={}, done=None) is None


@pytest.mark.parametrize(
    ("last", "end"),
    [
        ([0.7, 0.72, 0.71], "more of the kind are likely to help"),
        ([0.6, 0.61, 0.6], "more of the same kind will hardly help"),
        ([0.5, 0.75, 0.6], "whether more would help is not clear from this"),
    ],
)
def test_what_a_curve_says(last: list[float], end: str) -> None:
    points = [
        {"samples_a_label": 10, "values": [0.6, 0.61, 0.6]},
        {"samples_a_label": 20, "values": last},
    ]
    line = says({"draws": 3, "points": points})
    assert line.startswith("Going from 10 to 20 samples a label changed") and end in line
