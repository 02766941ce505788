"""A task made outside the package: to say a number from 0 to 1 of each video.

It is what CONTRIBUTING.md points to: all that a new task needs is in this file. Inside the package
`PURPOSE` would be an entry of `vmm_cli/tasks.py`, `Number` a head of `networks/heads.py`, and
`TASK` a row of `training/tasks/catalogue.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vmm_cli import tasks
from vmm_cli.bundles import Bundle
from vmm_cli.features.windows import Encoded
from vmm_cli.inference.examples import Examples, examples
from vmm_cli.inference.in_torch import batch_of, window_network
from vmm_cli.inference.load import check, load_trained
from vmm_cli.inference.network import WindowNetwork, window_outputs
from vmm_cli.networks.heads import HEADS
from vmm_cli.networks.temporal import masked_mean
from vmm_cli.training.data.manifest import splits_named
from vmm_cli.training.data.read_classes import read_classes
from vmm_cli.training.data.samples import DataSet, Kind, Sample, label_counts
from vmm_cli.training.encoding import Means, encode_sample
from vmm_cli.training.learnt import Learnt
from vmm_cli.training.loop import Objective
from vmm_cli.training.objectives.classes import mean_of_windows
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.tasks.catalogue import TASKS
from vmm_cli.training.tasks.task import Cells, Files, Material, Predictions, Report, Task

PURPOSE = tasks.Purpose(
    learns="a number from 0 to 1", recipe="default", run_by="no command runs it"
)

# --- what it is learnt from: manifests whose labels are numbers -----------------------------------


def lacking(data: DataSet, validated: bool) -> Iterator[str]:
    if len(data.labels) < 2:
        yield "all numbers are alike"


NUMBERS = Kind(
    "number",
    unit="sample",
    counts=label_counts,
    labelled=len,
    splits_named=splits_named,
    lacking=lacking,
    needs_all_labels=False,  # a number between others can be told
)


def read(source: Path, *, group: str | None = None, fold: str | None = None) -> DataSet:
    return replace(read_classes(source, group=group, fold=fold), kind=NUMBERS)


def true(samples: Sequence[Sample]) -> np.ndarray:
    return np.array([float(sample.labels[0]) for sample in samples], np.float32)


# --- learning -------------------------------------------------------------------------------------


class Number(nn.Module):
    """The mean over time and a linear map of it: [B, T, H], [B, T] -> [B, 1], from 0 to 1."""

    def __init__(self, width: int, outputs: int, *, dropout: float, levels: int = 1) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.linear(masked_mean(x, mask)).sigmoid()


def network(data: DataSet, recipe: Recipe) -> dict[str, Any]:
    return {"head": recipe.head}


def objective(material: Material) -> Objective:
    wanted = torch.from_numpy(true(material.data.samples))

    def loss(
        network: nn.Module, rows: np.ndarray, draw: np.random.Generator, device: torch.device
    ) -> tuple[Tensor, float]:
        return _loss(network, material.shown, rows, device), float(len(rows))

    def held_out(network: nn.Module, device: torch.device) -> dict[str, float]:
        network.eval()
        with torch.inference_mode():
            shown = material.watched
            return {"val_loss": float(_loss(network, shown, np.arange(len(shown)), device))}

    def _loss(
        network: nn.Module, shown: Examples, rows: np.ndarray, device: torch.device
    ) -> Tensor:
        said = network(*batch_of(shown, rows, device))[:, 0]
        return functional.mse_loss(said, wanted[shown.sample[rows]].to(device))

    examples = len(material.shown)
    return Objective(examples, loss, None if material.watched is None else held_out)


# --- predicting, and how good that is -------------------------------------------------------------


def predict(
    learnt: Learnt, encoded: Sequence[Encoded], device: torch.device
) -> Sequence[np.ndarray]:
    network = window_network(learnt.network.to(device), device)
    return _said(network, learnt.examples(encoded), len(encoded))


def _said(network: WindowNetwork, shown: Examples, samples: int) -> Sequence[np.ndarray]:
    return list(mean_of_windows(window_outputs(network, shown), shown, samples)[:, 0])


def check_bundle(bundle: Bundle, data: DataSet, samples: Sequence[Sample]) -> None:
    check(bundle)


def predict_file(bundle: Bundle, sample: Sample, means: Means) -> float:
    add()  # a worker is a process of its own
    model = load_trained(bundle.folder.resolve(), bundle.digest)
    encoded = encode_sample(sample, model.plan, means, with_text=False)
    (said,) = _said(model.windows, examples([encoded], [0], bundle.streams), 1)
    return float(said)


def score(predictions: Predictions, bundle: Bundle | None) -> dict[str, Any]:
    errors = np.abs(np.array(predictions.values) - true(predictions.samples))
    return {"n": len(errors), "mean_error": float(errors.mean())}


def rows(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "mean error", f"{metrics['mean_error']:.3f}"


def tables(predictions: Predictions) -> dict[str, list[Cells]]:
    pairs = zip(predictions.samples, predictions.values, strict=True)
    return {
        "numbers.csv": [
            ["path", "label", "predicted"],
            *([one.name, one.labels[0], f"{value:.3f}"] for one, value in pairs),
        ]
    }


TASK = Task(
    kind=NUMBERS,
    heads=("number",),
    read=read,
    network=network,
    objective=objective,
    predict=predict,
    check=check_bundle,
    predict_file=predict_file,
    score=score,
    unused=("mixup", "label_smoothing"),
    report=Report(
        headline=lambda metrics: {"mean_error": metrics["mean_error"]},
        rows=rows,
        says=lambda data, learnt: "It says a number from 0 to 1 of each video.",
        limits="It knows no other numbers.",
        counts=lambda labels, samples: {"number": len(samples)},
    ),
    files=Files(names=("numbers.csv",), tables=tables),
)


def add() -> None:
    """Add the task to the tables, as code of the package would have it there from the start."""
    tasks.PURPOSES["number"] = PURPOSE
    HEADS["number"] = Number
    TASKS["number"] = TASK
