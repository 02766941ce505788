"""What a run leaves: a model bundle, and all that tells how it came about."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm_cli import bundles
from vmm_cli.bundles import EncoderSpec
from vmm_cli.encoders.image_stream import tensor_prefix
from vmm_cli.encoders.plan import StreamPlan
from vmm_cli.errors import OutputError
from vmm_cli.files import make_folder
from vmm_cli.output import plots
from vmm_cli.output.owned import NOTES_FILE, Written, foreign, noted_file
from vmm_cli.training import card
from vmm_cli.training.evaluation_files import EVALUATION_FILES, METRICS_FILE
from vmm_cli.training.metrics import THRESHOLD, calibration_bins, calibration_error
from vmm_cli.training.recipe import Recipe, to_yaml
from vmm_cli.training.run_folder import json_text, write_json, write_text
from vmm_cli.training.samples import DataSet, Sample
from vmm_cli.training.scoring import Judged, ratings_truth, truth_of

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
    judged: Judged,
) -> None:
    """Write a bundle and what tells how it came about; `bundle.yaml` comes last.

    `judged`: samples that were not learnt from. OutputError where the folder cannot be written.
    """
    make_folder(folder)
    write_text(folder / "recipe.yaml", to_yaml(run.recipe))
    write_text(folder / "split.csv", _split_csv(run.data.samples, folder, run.data.rated))
    rows = (json.dumps(row) + "\n" for row in run.learnt.history)
    write_text(folder / "history.jsonl", "".join(rows))
    write_json(folder / METRICS_FILE, metrics)
    write_text(folder / "CARD.md", card.text(run.name, run.data, run.recipe, metrics))
    plots.curves(run.learnt.history, run.learnt.best_epoch, folder / "curves.png")
    if run.data.rated:
        _draw_ratings(folder, run.data.labels, judged)
    elif not run.data.multi_label:
        _draw(folder, run.data.labels, np.array(judged.said), _places(judged, run.data.labels))
    encoders = dict(run.plan.encoders)
    tensors = {f"network.{k}": v.cpu().numpy() for k, v in run.learnt.fusion.state_dict().items()}
    if run.learnt.tail is not None:
        from vmm_cli.encoders.trained_image import learnt_encoder

        encoders["image"], learnt = learnt_encoder(encoders["image"], run.learnt.tail)
        tensors |= {f"{tensor_prefix('image')}{k}": v for k, v in learnt.items()}
    try:
        bundles.save(folder, _fields(run, encoders, judged.threshold), tensors)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error


def _places(judged: Judged, labels: Sequence[str]) -> np.ndarray:
    return truth_of(judged.samples, labels, multi_label=False)


def _draw_ratings(folder: Path, labels: Sequence[str], judged: Judged) -> None:
    """Draw what tells how good a model for valence is, as far as the samples tell."""
    said = np.array(judged.said)
    valence, emotion = ratings_truth(judged.samples, labels)
    there, named = ~np.isnan(valence) & ~np.isnan(said[:, 0]), emotion >= 0
    if there.any():
        plots.valences(valence[there].tolist(), said[there, 0].tolist(), folder / "valence.png")
    if named.any():
        _draw(folder, labels, said[named, 1:], emotion[named])


def _draw(folder: Path, labels: Sequence[str], chances: np.ndarray, truth: np.ndarray) -> None:
    """Draw what tells how good a model for one label a sample is: [N, C], places int [N]."""
    matrix = np.zeros((len(labels), len(labels)), int)
    np.add.at(matrix, (truth, chances.argmax(axis=1)), 1)
    plots.confusion_matrix(labels, matrix.tolist(), folder / "confusion.png")
    bins = calibration_bins(chances, truth)
    plots.calibration(bins, calibration_error(chances, truth), folder / "calibration.png")


def _fields(
    run: RunFiles, specs: Mapping[str, EncoderSpec], threshold: float | None
) -> dict[str, Any]:
    """Return what `bundle.yaml` says."""
    encoders = {
        stream: {"name": spec.name, "sha256": spec.digest, "preprocess": dict(spec.preprocess)}
        for stream, spec in specs.items()
    }
    return {
        "name": run.name,
        "version": 1,
        "summary": card.summary(run.data, run.recipe),
        "task": run.recipe.task,
        "streams": list(run.recipe.streams),
        "encoders": encoders,
        "network": dict(run.learnt.about),
        "sampling": {"every_s": 1 / run.recipe.rate_hz, "free": False},
        # Rounded down: what has this very score is to be told.
        "thresholds": {} if threshold is None else {"score": floor(threshold * 1e6) / 1e6},
        "licence": {"code": "Apache-2.0", "weights": "the user's own", "data": "the user's own"},
        "labels": list(run.data.labels),
    }


def _split_csv(samples: Sequence[Sample], folder: Path, rated: bool) -> str:
    """Return a manifest in `folder` of what was learnt from and what was held out."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    others = ["split", "group", "fold", "start", "end", "text"]
    writer.writerow(["path", *(["valence", "emotion"] if rated else ["label"]), *others])
    for s in samples:
        path = os.path.relpath(s.path.absolute(), folder.absolute())
        for label, start, end in _labelled_spans(s):
            said = [s.valence, label] if rated else [label]
            writer.writerow([path, *said, s.split, s.group, s.fold, start, end, s.text])
    return text.getvalue()


def _labelled_spans(sample: Sample) -> list[tuple[str, float | None, float | None]]:
    """Return label, start and end of each row that a manifest has of a sample."""
    if sample.segments is None:
        return [("|".join(sample.labels), sample.start_s, sample.end_s)]
    actions = [(one.label, one.start_s, one.end_s) for one in sample.segments]
    return [*actions] or [("", None, None)]


def write_evaluation(
    folder: Path,
    labels: Sequence[str],
    found: Evaluation,
    *,
    multi_label: bool,
    rated: bool = False,
) -> None:
    """Write metrics, what was said of each sample, and pictures: some of `EVALUATION_FILES`.

    What an earlier evaluation left under these names and this one does not write is removed.
    OutputError where that is not possible.
    """
    make_folder(folder)
    judged = found.judged
    tables = _tables(labels, judged, multi_label=multi_label, rated=rated)
    written = Written(folder / NOTES_FILE)
    for name in EVALUATION_FILES:
        if foreign(folder / name, written) is None:
            (folder / name).unlink(missing_ok=True)
    for name, rows in tables.items():
        with noted_file(folder / name, partial(written.note, name)) as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    if rated:
        _draw_ratings(folder, labels, judged)
    elif judged.threshold is None and not multi_label:
        _draw(folder, labels, np.array(judged.said), _places(judged, labels))
    with noted_file(folder / METRICS_FILE, partial(written.note, METRICS_FILE)) as file:
        file.write(json_text(found.document))


Cells = Sequence[object]


def _tables(
    labels: Sequence[str], judged: Judged, *, multi_label: bool, rated: bool
) -> dict[str, list[Cells]]:
    """Return the rows of each table of an evaluation, by its file's name."""
    if judged.threshold is not None:
        return {"detections.csv": _detections(judged)}
    if rated:
        return {"scores.csv": _ratings(labels, judged)}
    return {
        "scores.csv": _scores(labels, judged, multi_label),
        "mistakes.csv": _mistakes(labels, judged, multi_label),
    }


def _scores(labels: Sequence[str], judged: Judged, multi_label: bool) -> list[Cells]:
    rows: list[Cells] = [["path", "start", "end", "label", "predicted", *labels]]
    for sample, chances in zip(judged.samples, judged.said, strict=True):
        predicted = _predicted(labels, chances, multi_label)
        told = "|".join(sample.labels), "|".join(predicted)
        rows.append([*_span(sample), *told, *(f"{p:.6f}" for p in chances)])
    return rows


def _span(sample: Sample) -> tuple[object, ...]:
    return sample.name, sample.start_s or None, sample.end_s


def _predicted(labels: Sequence[str], chances: np.ndarray, multi_label: bool) -> tuple[str, ...]:
    if not multi_label:
        return (labels[int(np.argmax(chances))],)
    pairs = zip(labels, chances, strict=True)
    return tuple(sorted(label for label, chance in pairs if chance >= THRESHOLD))


def _mistakes(labels: Sequence[str], judged: Judged, multi_label: bool) -> list[Cells]:
    """Return the rows that were predicted wrongly, the surest mistakes first.

    The score says how sure: the probability of a label that was predicted and is not true, or, of
    several labels, one less the probability of a label that is true and was not predicted.
    """
    mistakes = []
    for sample, chances in zip(judged.samples, judged.said, strict=True):
        of_label = dict(zip(labels, map(float, chances), strict=True))
        true, predicted = set(sample.labels), set(_predicted(labels, chances, multi_label))
        if true == predicted:
            continue
        wrong = [of_label[one] for one in predicted - true]
        if multi_label:
            wrong += [1 - of_label[one] for one in true - predicted]
        row = [*_span(sample), "|".join(sample.labels), "|".join(sorted(predicted))]
        mistakes.append((max(wrong), row))
    mistakes.sort(key=lambda mistake: -mistake[0])
    head: Cells = ["path", "start", "end", "label", "predicted", "score"]
    return [head, *([*row, f"{score:.6f}"] for score, row in mistakes)]


def _ratings(labels: Sequence[str], judged: Judged) -> list[Cells]:
    head = ["path", "start", "end", "valence", "emotion", "predicted valence", *labels]
    rows: list[Cells] = [head]
    for sample, said in zip(judged.samples, judged.said, strict=True):
        numbers = ("" if np.isnan(number) else f"{number:.6f}" for number in said)
        rows.append([*_span(sample), sample.valence, "|".join(sample.labels), *numbers])
    return rows


def _detections(judged: Judged) -> list[Cells]:
    """Return every action found, of any score, the most certain ones of a video first."""
    rows: list[Cells] = [["path", "start", "end", "label", "score"]]
    for sample, found in zip(judged.samples, judged.said, strict=True):
        for one in sorted(found, key=lambda one: -one.score):
            times = (f"{one.start_s:.3f}", f"{one.end_s:.3f}")
            rows.append([sample.name, *times, one.label, f"{one.score:.6f}"])
    return rows
