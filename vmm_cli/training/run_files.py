"""What a run leaves: a model bundle, and all that tells how it came about."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm_cli import bundle as bundles
from vmm_cli.bundle import EncoderSpec
from vmm_cli.encoders.catalogue import tensor_prefix
from vmm_cli.encoders.plan import StreamPlan
from vmm_cli.errors import OutputError
from vmm_cli.output import plots
from vmm_cli.training import card
from vmm_cli.training.metrics import calibration_bins, calibration_error
from vmm_cli.training.recipe import Recipe, to_yaml
from vmm_cli.training.run_folder import make_folder, write_json, write_text
from vmm_cli.training.samples import DataSet, Sample

if TYPE_CHECKING:
    from vmm_cli.training.evaluation import Evaluation
    from vmm_cli.training.learn import Learnt


@dataclass(frozen=True, slots=True, eq=False)
class RunFiles:
    """What is to be written: the network, and what it was made of."""

    name: str
    data: DataSet
    recipe: Recipe
    plan: StreamPlan
    learnt: Learnt


def write_model(
    folder: Path,
    run: RunFiles,
    metrics: Mapping[str, Any],
    judged: tuple[np.ndarray, np.ndarray],
) -> None:
    """Write a bundle and what tells how it came about; `bundle.yaml` comes last.

    `judged`: probabilities [N, C] of samples that were not learnt from, and what was right.
    OutputError where the folder cannot be written.
    """
    make_folder(folder)
    write_text(folder / "recipe.yaml", to_yaml(run.recipe))
    write_text(folder / "split.csv", _split_csv(run.data.samples, folder))
    rows = (json.dumps(row) + "\n" for row in run.learnt.history)
    write_text(folder / "history.jsonl", "".join(rows))
    write_json(folder / "metrics.json", metrics)
    write_text(folder / "CARD.md", card.text(run.name, run.data, run.recipe, metrics))
    plots.curves(run.learnt.history, folder / "curves.png")
    if not run.data.multi_label:
        _draw(folder, run.data.labels, *judged)
    encoders = dict(run.plan.encoders)
    tensors = {f"network.{k}": v.cpu().numpy() for k, v in run.learnt.fusion.state_dict().items()}
    if run.learnt.tail is not None:
        from vmm_cli.encoders.trained_image import learnt_encoder

        encoders["image"], learnt = learnt_encoder(encoders["image"], run.learnt.tail)
        tensors |= {f"{tensor_prefix('image')}{k}": v for k, v in learnt.items()}
    try:
        bundles.save(folder, _fields(run, encoders), tensors)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error


def _draw(folder: Path, labels: Sequence[str], chances: np.ndarray, truth: np.ndarray) -> None:
    matrix = np.zeros((len(labels), len(labels)), int)
    np.add.at(matrix, (truth, chances.argmax(axis=1)), 1)
    plots.confusion_matrix(labels, matrix.tolist(), folder / "confusion.png")
    bins = calibration_bins(chances, truth)
    plots.calibration(bins, calibration_error(chances, truth), folder / "calibration.png")


def _fields(run: RunFiles, specs: Mapping[str, EncoderSpec]) -> dict[str, Any]:
    """Return what `bundle.yaml` says."""
    encoders = {
        stream: {"name": spec.name, "sha256": spec.digest, "preprocess": dict(spec.preprocess)}
        for stream, spec in specs.items()
    }
    return {
        "name": run.name,
        "version": 1,
        "summary": card.summary(run.data, run.recipe),
        "task": "classes",
        "streams": list(run.recipe.streams),
        "encoders": encoders,
        "network": dict(run.learnt.about),
        "sampling": {"every_s": 1 / run.recipe.rate_hz, "free": False},
        "thresholds": {},
        "licence": {"code": "Apache-2.0", "weights": "the user's own", "data": "the user's own"},
        "labels": list(run.data.labels),
    }


def _split_csv(samples: Sequence[Sample], folder: Path) -> str:
    """Return a manifest in `folder` of what was learnt from and what was held out."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "split", "group", "fold", "start", "end", "text"])
    for s in samples:
        path = os.path.relpath(s.path.absolute(), folder.absolute())
        times = (s.start_s, "" if s.end_s is None else s.end_s)
        writer.writerow([path, "|".join(s.labels), s.split, s.group, s.fold, *times, s.text])
    return text.getvalue()


def write_evaluation(folder: Path, labels: Sequence[str], found: Evaluation) -> None:
    """Write metrics, each sample's scores, and pictures. OutputError where that is not possible."""
    make_folder(folder)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", *labels])
    for sample, chances in zip(found.samples, found.chances, strict=True):
        writer.writerow([sample.name, "|".join(sample.labels), *(f"{p:.6f}" for p in chances)])
    write_text(folder / "scores.csv", text.getvalue())
    write_json(folder / "metrics.json", found.document)
    if found.truth.ndim == 1:
        _draw(folder, labels, found.chances, found.truth)
