"""A task that the package does not know is a row: it is trained, kept and measured like others."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.training.tasks import toy_task
from vmm_cli import bundles, tasks
from vmm_cli.errors import RecipeError
from vmm_cli.networks.heads import HEADS
from vmm_cli.training.data.inspection import inspect
from vmm_cli.training.encoding import Means
from vmm_cli.training.evaluation import evaluate
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.request import Listener, TrainRequest
from vmm_cli.training.run import train
from vmm_cli.training.run_files import write_evaluation
from vmm_cli.training.tasks.catalogue import TASKS

RECIPE = """
head: number
streams: [audio]
window_s: 1
width: 8
dropout: 0.1
optimisation: {epochs: 20, learning_rate: 0.02, batch: 4}
"""


@pytest.fixture
def number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VMM_CACHE_DIR", str(tmp_path / "cache"))
    for table in (tasks.PURPOSES, HEADS, TASKS):
        monkeypatch.setitem(table, "number", None)  # taken away again after the test
    toy_task.add()


@pytest.mark.usefixtures("number", "one_thread")
def test_a_task_from_outside_is_trained_and_measured(squares: Path, tmp_path: Path) -> None:
    rows = [
        f"{squares / kind / f'{i:02}.mp4'},{number}"
        for i in range(6)
        for kind, number in (("moving", 0), ("still", 1))
    ]
    (tmp_path / "numbers.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    (tmp_path / "number.yaml").write_text(RECIPE)
    data = TASKS["number"].read(tmp_path / "numbers.csv")
    looked_at = inspect(data, jobs=1, max_pixels=10**7)
    recipe = load_recipe(str(tmp_path / "number.yaml"))
    run = tmp_path / "run"
    metrics = train(looked_at, TrainRequest(run, "numbers", recipe), Listener())
    assert metrics["validation"]["mean_error"] < 0.3
    assert "It says a number from 0 to 1" in (run / "CARD.md").read_text()
    bundle = bundles.load(str(run))
    assert (bundle.task, bundle.network["head"]) == ("number", "number")

    found = evaluate(bundle, data, Means(jobs=1))
    assert found.document["n"] == 12
    assert found.document["metrics"]["mean_error"] < 0.3
    write_evaluation(tmp_path / "out", found)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == found.document
    with (tmp_path / "out" / "numbers.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 12


def test_what_a_task_has_no_use_for_is_refused(number: None, tmp_path: Path) -> None:
    (tmp_path / "number.yaml").write_text(RECIPE.replace("epochs", "mixup: 0.2, epochs"))
    with pytest.raises(RecipeError, match="the head 'number' has no use for it"):
        load_recipe(str(tmp_path / "number.yaml"))


def test_every_task_of_training_is_one_of_bundles_and_commands() -> None:
    assert TASKS.keys() == tasks.PURPOSES.keys()
    for name, task in TASKS.items():
        assert task.name == name
        recipe = load_recipe(tasks.PURPOSES[name].recipe)
        assert recipe.head in task.heads
