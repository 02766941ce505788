"""A whole run, from videos to a bundle, with sound alone: it is encoded in no time."""

from __future__ import annotations

import csv
import json
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.squares import KINDS, squares_clip
from vmm_cli import bundles
from vmm_cli.batch.lock import lock
from vmm_cli.errors import (
    DataError,
    LockedError,
    ModelError,
    OutputError,
    RecipeError,
    UsageError,
)
from vmm_cli.training.data.inspection import Inspection, inspect
from vmm_cli.training.data.read_classes import read_classes
from vmm_cli.training.data.samples import with_samples
from vmm_cli.training.loop import Progress
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.request import Listener, TrainRequest
from vmm_cli.training.run import spread, train
from vmm_cli.training.run_folder import file_name
from vmm_cli.training.tasks.catalogue import TASKS

FILES = {
    "CARD.md",
    "bundle.yaml",
    "calibration.png",
    "confusion.png",
    "curves.png",
    "graph.onnx",
    "history.jsonl",
    "metrics.json",
    "operating.png",
    "recipe.yaml",
    "split.csv",
    "weights.safetensors",
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clips and a manifest with groups and folds."""
    folder = tmp_path_factory.mktemp("clips")
    rows = ["path,label,group,fold"]
    for i in range(12):
        kind = KINDS[i % 2]
        squares_clip(folder / f"{i:02}.mp4", kind, seed=i, seconds=0.6, sound=True)
        rows.append(f"{i:02}.mp4,{kind},g{i // 2},{'ABC'[i // 4]}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def looked_at(clips: Path) -> Inspection:
    return inspect(read_classes(clips / "clips.csv"), jobs=1, max_pixels=10**7)


def recipe(*overrides: str) -> Recipe:
    small = ("streams=[audio]", "width=8", "dropout=0.1", "window_s=1", "optimisation.epochs=8")
    return load_recipe("frames", [*small, "optimisation.learning_rate=0.02", *overrides])


def run(
    looked_at: Inspection, folder: Path, listener: Listener | None = None, **more: Any
) -> dict[str, Any]:
    wanted: dict[str, Any] = {"name": "tones", "recipe": recipe(), **more}
    return train(looked_at, TrainRequest(folder, **wanted), listener or Listener())


# --- what it leaves -----------------------------------------------------------------------------


def test_a_run_is_a_bundle_and_tells_how_it_came_about(
    looked_at: Inspection, tmp_path: Path
) -> None:
    heard: list[str] = []
    listener = Listener(on_epoch=lambda what, progress: heard.append(f"{what} {progress.epoch}"))
    metrics = run(looked_at, tmp_path / "run", listener, seeds=2)
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    assert heard == [f"{what} {i}" for what in ("model", "seed 1") for i in range(1, 9)]
    bundle = bundles.load(str(tmp_path / "run"))
    assert bundle.labels == KINDS and bundle.streams == ("audio",)
    assert not bundle.sampling.free
    assert metrics["schema"] == "vmm.train/1"
    assert metrics["samples"]["train"] + metrics["samples"]["val"] == 12
    assert metrics["split"] == "1 of 6 groups"
    assert metrics["streams"] == {"audio": 12}
    assert metrics["validation"]["interval"] is None or "low" in metrics["validation"]["interval"]
    assert metrics["seeds"]["seeds"] == [0, 1]
    assert metrics["seeds"]["accuracy"]["values"][0] == metrics["validation"]["accuracy"]
    assert metrics["seconds"]["encoding"] > 0 and metrics["seconds"]["training"] > 0
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert written == metrics
    history = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert len(history) == 8 and json.loads(history[0])["epoch"] == 1
    with (tmp_path / "run" / "split.csv").open() as file:
        split = {row["path"]: row["split"] for row in csv.DictReader(file)}
    assert set(split.values()) == {"train", "val"}
    assert len({split[path] for path in split if path.endswith(("00.mp4", "01.mp4"))}) == 1
    manifest = read_classes(tmp_path / "run" / "split.csv")
    assert not manifest.problems and len(manifest.samples) == 12
    assert load_recipe(str(tmp_path / "run" / "recipe.yaml")) == recipe()
    card = (tmp_path / "run" / "CARD.md").read_text()
    assert "held out" in card and "2 seeds" in card and "`log-mel-statistics`" in card
    kinds = Counter(s.labels[0] for s in manifest.samples if s.split == "train")
    assert all(f"- {kind}: {kinds[kind]} samples" in card for kind in KINDS)
    assert "trained on 10 samples" in bundle.summary


def test_a_run_without_the_packages_that_write_graphs(
    looked_at: Inspection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    absent: Any = None
    monkeypatch.setitem(sys.modules, "onnx", absent)
    with caplog.at_level("WARNING"):
        run(looked_at, tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES - {"graph.onnx"}
    assert not bundles.load(str(tmp_path / "run")).graphs
    assert "saved without a graph" in caplog.text
    assert "run: pip install onnx onnxscript" in caplog.text


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(looked_at: Inspection, tmp_path: Path) -> None:
    digests = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        run(looked_at, tmp_path / name, seed=seed)
        digests.append(bundles.load(str(tmp_path / name)).weights_digest)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.slow
def test_folds_are_left_out_in_turn_and_then_all_is_learnt(
    looked_at: Inspection, tmp_path: Path
) -> None:
    metrics = run(looked_at, tmp_path / "run", folds=True, seeds=2)
    folds = metrics["folds"]
    assert folds["names"] == ["A", "B", "C"]
    assert len(folds["accuracy"]) == len(folds["best_epochs"]) == 3
    assert len(folds["test"]["per_group"]) == 6, "each group was judged once"
    assert folds["seeds"]["seeds"] == [0, 1]
    assert metrics["samples"] == {"train": 12, "val": 0, "test": 0}
    assert metrics["best_epoch"] == round(np.median(folds["best_epochs"]))
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES | {"folds"}
    assert len((tmp_path / "run" / "history.jsonl").read_text().split()) >= metrics["best_epoch"]
    assert load_recipe(str(tmp_path / "run" / "recipe.yaml")) == recipe(), "not what was reached"
    for name in folds["names"]:
        inner = tmp_path / "run" / "folds" / name
        assert bundles.load(str(inner)).labels == KINDS
        assert bundles.load(str(inner)).name == f"tones-{name}"
        assert f"fold {name}" in (inner / "CARD.md").read_text()
        counts = json.loads((inner / "metrics.json").read_text())["samples"]
        assert counts["test"] == 4 and counts["val"] >= 2
    assert "3 folds" in (tmp_path / "run" / "CARD.md").read_text()


def test_what_two_folds_share_is_neither_learnt_from_nor_judged_twice(
    looked_at: Inspection, tmp_path: Path
) -> None:
    # Spans of one file, each a group of its own, in two folds; and equal content in two folds.
    samples = [replace(s, group=None) for s in looked_at.dataset.samples]
    halves = [replace(samples[0], start_s=x, end_s=x + 0.3, group=f"{x}") for x in (0.0, 0.3)]
    samples[:1] = [halves[0], replace(halves[1], fold="B")]
    contents = {**looked_at.contents, samples[2].path: "same", samples[-1].path: "same"}
    data = with_samples(looked_at.dataset, samples)
    heard: list[str] = []
    wanted = {"folds": True, "recipe": recipe("optimisation.epochs=1")}
    listener = Listener(on_warning=heard.append)
    metrics = run(
        replace(looked_at, dataset=data, contents=contents), tmp_path / "run", listener, **wanted
    )
    assert np.sum(metrics["folds"]["test"]["confusion"]["matrix"]) == len(samples) == 13
    assert sum("share a file or content" in said for said in heard) == 3, heard


def test_what_is_test_is_left_out_of_folds_too(looked_at: Inspection, tmp_path: Path) -> None:
    first, *others = looked_at.dataset.samples
    data = with_samples(looked_at.dataset, [replace(first, split="test", group=None), *others])
    metrics = run(
        replace(looked_at, dataset=data),
        tmp_path / "run",
        folds=True,
        recipe=recipe("optimisation.epochs=1"),
    )
    assert metrics["samples"] == {"train": 11, "val": 0, "test": 0}


@pytest.mark.slow
def test_seeds_draw_their_own_validation(looked_at: Inspection, tmp_path: Path) -> None:
    seen = set()
    for seed in range(3):
        run(looked_at, tmp_path / f"{seed}", seed=seed, recipe=recipe("optimisation.epochs=1"))
        seen.add((tmp_path / f"{seed}" / "split.csv").read_text())
    metrics = run(looked_at, tmp_path / "all", seeds=3, recipe=recipe("optimisation.epochs=1"))
    assert len(seen) > 1
    each = [
        json.loads((tmp_path / f"{seed}" / "metrics.json").read_text())["validation"]["accuracy"]
        for seed in range(3)
    ]
    assert metrics["seeds"]["accuracy"]["values"] == each


def test_a_group_in_two_folds_is_refused(looked_at: Inspection, tmp_path: Path) -> None:
    first, *others = looked_at.dataset.samples
    data = with_samples(looked_at.dataset, [replace(first, fold="B"), *others])
    with pytest.raises(DataError, match="1 groups lie in several folds, such as 'g0'"):
        run(replace(looked_at, dataset=data), tmp_path / "run", folds=True)
    assert not (tmp_path / "run").exists()


def test_a_fold_that_holds_all_of_a_label_is_named(looked_at: Inspection, tmp_path: Path) -> None:
    samples = [
        replace(sample, fold="AB"[KINDS.index(sample.labels[0])], group=None)
        for sample in looked_at.dataset.samples
    ]
    data = with_samples(looked_at.dataset, samples)
    never = Listener(on_encoded=lambda standing: pytest.fail("it is said before"))
    with pytest.raises(DataError, match=r"without fold 'A': .*no sample in train has"):
        run(replace(looked_at, dataset=data), tmp_path / "run", never, folds=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_several_labels_have_a_run_too(clips: Path, tmp_path: Path) -> None:
    rows = [f"{clips / f'{i:02}.mp4'},{KINDS[i % 2]}|clip" for i in range(12)]
    (tmp_path / "many.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    found = inspect(read_classes(tmp_path / "many.csv"), jobs=1, max_pixels=10**7)
    metrics = run(found, tmp_path / "run")
    assert metrics["multi_label"] and metrics["labels"] == ["clip", *KINDS]
    assert bundles.load(str(tmp_path / "run")).network["multi_label"]


def test_spread_is_over_seeds() -> None:
    runs = [dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1"), x) for x in (0.5, 0.7)]
    assert spread(TASKS["classes"], runs, 4)["seeds"] == [4, 5]
    assert spread(TASKS["classes"], runs, 4)["accuracy"]["mean"] == pytest.approx(0.6)
    assert spread(TASKS["classes"], runs, 4)["accuracy"]["sd"] == pytest.approx(0.1414, abs=1e-4)


@pytest.mark.parametrize("name", ["a b", "ä", "../x", "x/y", "", "x" * 300])
def test_names_of_folds_become_names_of_folders(name: str) -> None:
    assert file_name(name) == file_name(name)
    assert file_name(name).replace("-", "").replace("_", "").isalnum()
    assert file_name("plain-1") == "plain-1"
    assert file_name("a b") != file_name("a_b") != file_name("a?b")


# --- stopping and going on ----------------------------------------------------------------------


class Stopped(Exception):
    """What ends a run in the middle."""


def stop_at(what: str, epoch: int) -> Listener:
    def after(now: str, progress: Progress) -> None:
        if (now, progress.epoch) == (what, epoch):
            raise Stopped

    return Listener(on_epoch=after)


@pytest.mark.parametrize("folds", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_that_was_stopped_is_no_model_and_goes_on(
    looked_at: Inspection, tmp_path: Path, folds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmm_cli.training.learn.CHECKPOINT_EACH_S", 0.0)
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        run(looked_at, folder, stop_at("fold B" if folds else "model", 4), folds=folds)
    with pytest.raises(ModelError, match=r"without bundle\.yaml"):
        bundles.load(str(folder))
    with pytest.raises(UsageError, match="--resume"):
        run(looked_at, folder, folds=folds)
    with pytest.raises(UsageError, match="begun with another recipe"):
        run(looked_at, folder, folds=folds, resume=True, recipe=recipe("dropout=0.2"))
    path = looked_at.dataset.samples[0].path
    exchanged = replace(looked_at, contents={**looked_at.contents, path: "another file"})
    with pytest.raises(UsageError, match="begun with another samples"):
        run(exchanged, folder, folds=folds, resume=True)
    heard: list[tuple[str, int]] = []
    listener = Listener(on_epoch=lambda what, progress: heard.append((what, progress.epoch)))
    run(looked_at, folder, listener, folds=folds, resume=True)
    assert heard[0] == ("fold B" if folds else "model", 5), "what was done is not done again"
    run(looked_at, tmp_path / "whole", folds=folds)
    digests = {bundles.load(str(f)).weights_digest for f in (folder, tmp_path / "whole")}
    assert len(digests) == 1
    assert not (folder / ".training").exists()
    never = Listener(on_encoded=lambda standing: pytest.fail("it works"))
    run(looked_at, folder, never, resume=True, folds=folds)
    with pytest.raises(UsageError, match="another seed"):
        run(looked_at, folder, never, resume=True, folds=folds, seed=1)
    (folder / "weights.safetensors").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(ModelError, match="pickle"):
        run(looked_at, folder, never, resume=True, folds=folds)


def test_a_folder_that_is_taken_is_left_alone(looked_at: Inspection, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for resume in (False, True):
        with pytest.raises(UsageError):
            run(looked_at, tmp_path / "mine", resume=resume)
    with pytest.raises(UsageError, match="is a file"):
        run(looked_at, tmp_path / "mine" / "thesis.txt", resume=True)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_two_runs_do_not_share_a_folder(looked_at: Inspection, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with lock(folder), pytest.raises(LockedError):
        run(looked_at, folder, resume=True)


# --- what cannot be done ------------------------------------------------------------------------


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing more to a file fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_no_model_and_the_run_goes_on_later(
    looked_at: Inspection, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    full = Listener(on_epoch=lambda what, progress: None)
    with files_of_at_most(4000), pytest.raises(OutputError, match="--resume"):
        run(looked_at, folder, full)
    with pytest.raises(ModelError):
        bundles.load(str(folder))
    assert not [p for p in folder.rglob("*") if p.name.startswith((".bundle", ".weights"))]
    run(looked_at, folder, resume=True)
    assert bundles.load(str(folder)).labels == KINDS


def test_a_folder_that_cannot_be_made_is_named(looked_at: Inspection, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        run(looked_at, tmp_path / "file" / "run")


def test_a_loss_that_is_no_number_leaves_nothing(
    looked_at: Inspection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot = recipe()
    hot = replace(hot, optimisation=replace(hot.optimisation, learning_rate=1e30, epochs=40))
    with pytest.raises(DataError, match="epoch"):
        run(looked_at, tmp_path / "run", recipe=hot)
    assert not (tmp_path / "run").exists()


def test_one_class_only_is_refused(clips: Path, tmp_path: Path) -> None:
    rows = [f"{clips / f'{i:02}.mp4'},x" for i in range(4)]
    (tmp_path / "one.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    found = inspect(read_classes(tmp_path / "one.csv"), jobs=1, max_pixels=10**7)
    with pytest.raises(DataError, match="two labels"):
        run(found, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_folds_must_be_there_and_be_several(looked_at: Inspection, tmp_path: Path) -> None:
    for fold, message in ((None, "have no fold"), ("A", "one fold only")):
        samples = tuple(replace(s, fold=fold) for s in looked_at.dataset.samples)
        data = replace(looked_at.dataset, samples=samples)
        with pytest.raises(DataError, match=message):
            run(replace(looked_at, dataset=data), tmp_path / "run", folds=True)
    samples = tuple(replace(s, group="one") for s in looked_at.dataset.samples)
    data = replace(looked_at.dataset, samples=samples)
    with pytest.raises(DataError, match="lie in several folds, such as 'one'"):
        run(replace(looked_at, dataset=data), tmp_path / "run", folds=True)
    assert not (tmp_path / "run").exists()


def test_what_nothing_can_be_learnt_from_is_left_out(tmp_path: Path) -> None:
    rows = ["path,label"]
    for i in range(8):
        squares_clip(tmp_path / f"{i}.mp4", KINDS[i % 2], seed=i, seconds=0.6, sound=i != 3)
        rows.append(f"{i}.mp4,{KINDS[i % 2]}")
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    found = inspect(read_classes(tmp_path / "clips.csv"), jobs=1, max_pixels=10**7)
    said: list[str] = []
    metrics = run(found, tmp_path / "run", Listener(on_warning=said.append))
    assert said == ["3.mp4: left out: has no audio"]
    assert sum(metrics["samples"].values()) == 7


@pytest.mark.slow
def test_videos_without_anything_that_the_recipe_wants_are_refused(tmp_path: Path) -> None:
    rows = ["path,label"]
    for i in range(6):
        squares_clip(tmp_path / f"{i}.mp4", KINDS[i % 2], seed=i, seconds=0.5)
        rows.append(f"{i}.mp4,{KINDS[i % 2]}")
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    found = inspect(read_classes(tmp_path / "clips.csv"), jobs=1, max_pixels=10**7)
    with pytest.raises(DataError, match="no sample can be used"):
        run(found, tmp_path / "run")


@pytest.mark.slow
def test_text_alone_is_enough(clips: Path, tmp_path: Path) -> None:
    said = ("a bright square runs to the right", "nothing happens here")
    rows = [f"{clips / f'{i:02}.mp4'},{KINDS[i % 2]},{said[i % 2]}" for i in range(12)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,text", *rows]) + "\n")
    found = inspect(read_classes(tmp_path / "t.csv"), jobs=1, max_pixels=10**7)
    metrics = run(
        found, tmp_path / "run", recipe=recipe("streams=[text]", "optimisation.epochs=30")
    )
    assert metrics["validation"]["accuracy"] == 1
    assert "square" in bundles.load(str(tmp_path / "run")).network["vocabulary"]


def test_blocks_that_cannot_learn_are_refused() -> None:
    with pytest.raises(RecipeError, match="train_last"):
        load_recipe("frames", ["streams.image.train_last=17"])
    with pytest.raises(RecipeError, match="only blocks of 'efficientnet-lite0' can learn"):
        load_recipe(
            "frames",
            ["streams.image.train_last=1", "streams.image.encoder=torchvision/resnet18"],
        )
