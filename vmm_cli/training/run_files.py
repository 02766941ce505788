"""What a run leaves: a model bundle, and all that tells how it came about."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm_cli import bundles
from vmm_cli.bundles import EncoderSpec
from vmm_cli.bundles.operating import as_fields
from vmm_cli.errors import OutputError
from vmm_cli.features.image_stream import tensor_prefix
from vmm_cli.features.plan import StreamPlan
from vmm_cli.files import make_folder
from vmm_cli.output.owned import NOTES_FILE, Written, foreign, noted_file
from vmm_cli.pictures import plots
from vmm_cli.training import card
from vmm_cli.training.data.samples import NONE, DataSet, Sample
from vmm_cli.training.evaluation_files import METRICS_FILE, evaluation_files
from vmm_cli.training.predictions import Measured
from vmm_cli.training.recipe import Recipe, to_yaml
from vmm_cli.training.run_folder import json_text, write_json, write_text
from vmm_cli.training.tasks.catalogue import TASKS
from vmm_cli.training.tasks.task import Files

if TYPE_CHECKING:
    from vmm_cli.bundles.saving import Graph
    from vmm_cli.features.windows import Encoded
    from vmm_cli.training.evaluation import Evaluation
    from vmm_cli.training.learnt import Learnt

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class RunFiles:
    """What is to be written: the network, and what it was made of.

    `shown`: some samples, encoded; graphs are tried with them.
    """

    name: str
    data: DataSet
    recipe: Recipe
    plan: StreamPlan
    learnt: Learnt
    shown: Sequence[Encoded]


def write_model(folder: Path, run: RunFiles, metrics: Mapping[str, Any], found: Measured) -> None:
    """Write a bundle and what tells how it came about; `bundle.yaml` comes last.

    `found`: of samples that were not learnt from. OutputError where the folder cannot be written.
    """
    task = TASKS[run.data.task]
    make_folder(folder)
    write_text(folder / "recipe.yaml", to_yaml(run.recipe))
    write_text(folder / "split.csv", _split_csv(run.data.samples, folder, task.files))
    rows = (json.dumps(row) + "\n" for row in run.learnt.history)
    write_text(folder / "history.jsonl", "".join(rows))
    write_json(folder / METRICS_FILE, metrics)
    write_text(folder / "CARD.md", card.text(run.name, run.data, run.recipe, metrics))
    if run.learnt.history and not run.recipe.optimisation.probe:  # which is solved for at once
        plots.curves(run.learnt.history, run.learnt.best_epoch, folder / "curves.png")
    if curve := metrics.get("learning_curve"):
        plots.learning_curve(curve["points"], curve["figure"], folder / "learning_curve.png")
    task.files.draw(folder, found.predictions, found.metrics)
    encoders = dict(run.plan.encoders)
    tensors = dict(run.learnt.tensors or {})
    if run.learnt.network is not None:
        network = run.learnt.fusion.state_dict()
        tensors |= {f"network.{k}": v.cpu().numpy() for k, v in network.items()}
    if run.learnt.tail is not None:
        from vmm_cli.features.trained_image import learnt_encoder

        encoders["image"], learnt = learnt_encoder(encoders["image"], run.learnt.tail)
        tensors |= {f"{tensor_prefix('image')}{k}": v for k, v in learnt.items()}
    from vmm_cli.training.graphs import graphs_of_run  # torch, and this is read without it

    graphs: Mapping[str, Graph] = {}
    try:
        if run.learnt.network is not None:
            graphs = graphs_of_run(run.learnt, encoders, tensors, run.shown)
    except Exception as error:  # whatever it is, what was learnt is not lost over it
        _log.warning("saved without a graph, so that PyTorch must run it: %s", error)
    try:
        fields = _fields(run, encoders, run.learnt.thresholds or task.thresholds(found.metrics))
        fields |= _operating(found.metrics)
        if task.as_negative is not None and NONE in run.data.labels:
            fields["none"] = NONE
        bundles.save(folder, fields, tensors, graphs)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error


def _fields(
    run: RunFiles, specs: Mapping[str, EncoderSpec], thresholds: Mapping[str, float]
) -> dict[str, Any]:
    """Return what `bundle.yaml` says."""
    learnt = [stream["name"] for stream in run.learnt.about["streams"]]
    encoders = {
        stream: {"name": spec.name, "sha256": spec.digest, "preprocess": dict(spec.preprocess)}
        for stream, spec in specs.items()
        if stream in learnt
    }
    return {
        "name": run.name,
        "version": 1,
        "summary": card.summary(run.data, run.recipe),
        "task": run.data.task,
        "streams": learnt,
        "encoders": encoders,
        "network": dict(run.learnt.about),
        "sampling": {"every_s": 1 / run.recipe.rate_hz, "free": False},
        "thresholds": dict(thresholds),
        "licence": {"code": "Apache-2.0", "weights": "the user's own", "data": "the user's own"},
        "labels": list(run.learnt.labels),
    }


def _operating(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the operating curves as `bundle.yaml` has them; {} where nothing was measured."""
    if not metrics.get("operating"):
        return {}
    chosen = metrics["told"]["max_false_alarms_per_hour"] is not None
    return {"operating": as_fields(metrics["operating"], told=chosen)}


def _split_csv(samples: Sequence[Sample], folder: Path, files: Files) -> str:
    """Return a manifest in `folder` of what was learnt from and what was held out."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    others = ["split", "group", "fold", "start", "end", "text"]
    writer.writerow(["path", *files.columns, *others])
    for s in samples:
        path = os.path.relpath(s.path.absolute(), folder.absolute())
        for label, start, end in _labelled_spans(s):
            cells = files.truth(s, label)
            writer.writerow([path, *cells, s.split, s.group, s.fold, start, end, s.text])
    return text.getvalue()


def _labelled_spans(sample: Sample) -> list[tuple[str, float | None, float | None]]:
    """Return label, start and end of each row that a manifest has of a sample."""
    if sample.segments is None:
        return [("|".join(sample.labels), sample.start_s, sample.end_s)]
    actions = [(one.label, one.start_s, one.end_s) for one in sample.segments]
    return [*actions] or [(NONE if sample.negative else "", None, None)]


def write_evaluation(folder: Path, found: Evaluation) -> None:
    """Write metrics, what was predicted for each sample, and pictures: see `evaluation_files`.

    What an earlier evaluation left under these names and this one does not write is removed.
    OutputError where that is not possible.
    """
    make_folder(folder)
    files = found.task.files
    tables = files.tables(found.predictions)
    written = Written(folder / NOTES_FILE)
    for name in evaluation_files():
        if foreign(folder / name, written) is None:
            (folder / name).unlink(missing_ok=True)
    for name, rows in tables.items():
        with noted_file(folder / name, partial(written.note, name)) as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    files.draw(folder, found.predictions, found.document["metrics"])
    with noted_file(folder / METRICS_FILE, partial(written.note, METRICS_FILE)) as file:
        file.write(json_text(found.document))
