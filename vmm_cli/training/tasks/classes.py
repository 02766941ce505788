"""The task `classes`: labels of whole samples, one or several of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vmm_cli.errors import DataError
from vmm_cli.training.data.read_classes import CLASSES, read_classes
from vmm_cli.training.data.samples import NONE, DataSet, Sample, label_counts
from vmm_cli.training.data.truth import truth_of
from vmm_cli.training.model_labels import refuse_unknown
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.tasks.in_windows import Seen, cells_of, evidence_of, sightings_of
from vmm_cli.training.tasks.of_labels import (
    draw_certainty,
    group_rows,
    interval_row,
    label_rows,
    label_table,
    place_of,
)
from vmm_cli.training.tasks.task import (
    Cells,
    Files,
    Material,
    Metrics,
    Predictions,
    Report,
    Table,
    Task,
)
from vmm_cli.training.tasks.told import (
    Found,
    draw_operating,
    told_metrics,
    told_remark,
    told_rows,
)

if TYPE_CHECKING:
    import torch

    from vmm_cli.bundles import Bundle
    from vmm_cli.features.grid import Window
    from vmm_cli.features.windows import Encoded
    from vmm_cli.training.encoding import Means
    from vmm_cli.training.learnt import Learnt
    from vmm_cli.training.loop import Objective
    from vmm_cli.training.objectives.classes import Targets

# What a figure is called where it is shown; docs/training.md explains each.
FIGURES = {
    "accuracy": "accuracy",
    "top5": "accuracy of the five best",
    "balanced_accuracy": "balanced accuracy (mean recall of the labels)",
    "macro_f1": "macro F1 (mean F1 of the labels)",
    "ece": "calibration error (ECE: confidence off by, mean)",
}


# --- learning and predicting --------------------------------------------------------------------


def _network(data: DataSet, recipe: Recipe) -> dict[str, Any]:
    return {}  # the head is that of networks of which nothing else is said


def _objective(material: Material) -> Objective:
    from vmm_cli.training.objectives.classes import classes_objective

    return classes_objective(
        material.shown, material.watched, _targets(material), material.recipe.optimisation
    )


def _targets(material: Material) -> Targets:
    from vmm_cli.training.objectives.classes import targets_of

    data = material.data
    return targets_of(data.samples, data.labels, data.multi_label, material.weigh)


class Judged(NamedTuple):
    """What a model says of a sample.

    Attributes:
        probabilities: float64 [C] of its labels, the mean over the windows.
        windows: W of them, by time; none of a model that does not see windows.
        chances: float64 [W, C], the probabilities in each.
    """

    probabilities: np.ndarray
    windows: Sequence[Window] = ()
    chances: np.ndarray = np.zeros((0, 0))


def judged(learnt: Learnt, encoded: Sequence[Encoded], device: torch.device) -> list[Judged]:
    """Return the probabilities of the labels of samples."""
    from vmm_cli.training.objectives.classes import predict_windows

    assert learnt.network is not None  # see `Task.learn`
    network, several = learnt.network.to(device), learnt.about["multi_label"]
    shown = learnt.examples(encoded)
    chances = predict_windows(network, shown, device, several)  # [N, C]
    of_sample = [chances[shown.sample == i] for i in range(len(encoded))]
    return [
        Judged(own.mean(axis=0), [window.window for window in one.windows], own)
        for one, own in zip(encoded, of_sample, strict=True)
    ]


def _check(bundle: Bundle, data: DataSet, samples: Sequence[Sample]) -> None:
    from vmm_cli.exports import read as exports
    from vmm_cli.features.plan import plan_of
    from vmm_cli.inference.classify_request import sees_windows
    from vmm_cli.inference.load import check

    refuse_unknown(bundle, data, samples)
    if exports.is_for(bundle):
        exports.check(bundle)
    one = not bundle.network.get("multi_label")
    if one and any(len(sample.labels) > 1 for sample in samples):
        raise DataError(f"{data.source}: has several labels a sample, model {bundle.name!r} one")
    if sees_windows(bundle):
        plan_of(bundle)
        check(bundle)


def _predict_file(bundle: Bundle, sample: Sample, means: Means) -> Judged:
    """Return the probabilities of a model's labels for one sample."""
    from vmm_cli.batch.inputs import Input
    from vmm_cli.exports import read as exports
    from vmm_cli.inference import classify, classify_windows
    from vmm_cli.inference.classify_request import classify_request, sees_windows
    from vmm_cli.training.encoding import video_of

    video = video_of(sample, means.max_pixels)
    if exports.is_for(bundle):
        return Judged(exports.probabilities(bundle, video))
    input = Input(sample.path, sample.name, Path(sample.name).name)
    if sees_windows(bundle):
        wanted = classify_windows.windows_request(
            bundle,
            start=video.start,
            end=video.end,
            use_store=means.use_store,
            max_pixels=means.max_pixels,
        )
        scores = classify_windows.run(wanted, input, None, text=sample.text)
        classify_windows.require_streams(bundle, scores.streams)
        return Judged(scores.chances.mean(axis=0), scores.windows, scores.chances)
    request = classify_request(
        bundle,
        start=video.start,
        end=video.end,
        use_store=means.use_store,
        max_pixels=means.max_pixels,
        top_k=len(bundle.labels),
    )
    features, end_s = classify.joined(request, input, [classify.run(request, input, None)])
    shown = classify.classification(request, features, end_s)
    by_label = {label.label: label.score for label in shown.labels}
    return Judged(np.array([by_label[label] for label in bundle.labels]))


def _fit(predictions: Predictions) -> dict[str, Any] | None:
    from vmm_cli.training.metrics.calibration import fit_temperature

    samples = predictions.samples
    return fit_temperature(
        [one.chances for one in predictions.values],
        truth_of(samples, predictions.labels, predictions.multi_label),
        predictions.groups or [sample.name for sample in samples],
        predictions.multi_label,
    )


def _calibrated(predictions: Predictions, fitted: Metrics) -> Predictions:
    from vmm_cli.analysis.calibration import tempered

    def cooled(one: Judged) -> Judged:
        chances = tempered(one.chances, fitted["temperature"], predictions.multi_label)
        return one._replace(probabilities=chances.mean(axis=0), chances=chances)

    return replace(predictions, values=[cooled(one) for one in predictions.values])


def _thresholds(metrics: Metrics) -> dict[str, float]:
    fitted = metrics.get("calibration")
    return {"temperature": fitted["temperature"]} if fitted else {}


def _score(predictions: Predictions, bundle: Bundle | None) -> dict[str, Any]:
    """Compare probabilities with the labels of the samples, which the model knows all.

    Of the rows that are no negatives `labelled` has their number, accuracy and balanced accuracy.
    """
    from vmm_cli.training.metrics.classes import THRESHOLD, score

    probabilities = _stacked(predictions)
    truth = truth_of(predictions.samples, predictions.labels, predictions.multi_label)
    several = predictions.multi_label
    metrics = score(
        predictions.labels, probabilities, truth, groups=predictions.groups, multi_label=several
    )
    metrics["labelled"] = None
    rows = [i for i, sample in enumerate(predictions.samples) if not sample.negative]
    if 0 < len(rows) < len(truth):
        alone = score(
            predictions.labels, probabilities[rows], truth[rows], groups=None, multi_label=several
        )
        metrics["labelled"] = {"n": len(rows)}
        metrics["labelled"] |= {key: alone[key] for key in ("accuracy", "balanced_accuracy")}
    none = NONE if bundle is None else bundle.none
    found = found_of(predictions, none)
    return metrics | told_metrics(found, bundle, predictions.max_false_alarms, THRESHOLD)


def _stacked(predictions: Predictions) -> np.ndarray:
    """Return the probabilities of all samples: float64 [N, C]."""
    return np.stack([one.probabilities for one in predictions.values])


def found_of(predictions: Predictions, none: str | None) -> Found:
    """Return what is found of each label, as `vmm detect-actions` finds it in windows.

    A true action is a sample that has the label; false alarms are counted in those that do not.
    """
    seen = [
        Seen(sample, *cells_of(one.windows, one.chances))
        for sample, one in zip(predictions.samples, predictions.values, strict=True)
        if len(one.windows)
    ]
    quiet = [one for one in seen if one.sample.negative]
    labels = [label for label in predictions.labels if label != none]
    columns = {label: predictions.labels.index(label) for label in labels}
    return Found(
        {label: evidence_of(label, columns[label], seen) for label in labels},
        {label: evidence_of(label, columns[label], quiet) for label in labels},
        len(quiet),
        sum(one.seconds for one in quiet),
        [sighting for one in quiet for sighting in sightings_of(one, columns)],
    )


# --- telling ------------------------------------------------------------------------------------


def _headline(metrics: Metrics) -> dict[str, float]:
    known = {name: metrics[name] for name in ("accuracy", "balanced_accuracy", "macro_f1")}
    if (labelled := metrics.get("labelled")) is not None:
        known["accuracy_without_negatives"] = labelled["accuracy"]
    return known


def _intervals(metrics: Metrics) -> dict[str, Metrics]:
    return {"accuracy": metrics["interval"]} if metrics.get("interval") else {}


def _rows(metrics: Metrics) -> Iterator[tuple[str, str]]:
    for key, name in FIGURES.items():
        if metrics.get(key) is not None:
            yield name, f"{metrics[key]:.3f}"
    if (labelled := metrics.get("labelled")) is not None:
        yield f"accuracy without negatives ({labelled['n']})", f"{labelled['accuracy']:.3f}"
        value = f"{labelled['balanced_accuracy']:.3f}"
        yield "balanced accuracy without negatives", value
    yield from interval_row(metrics, "the accuracy")
    yield from told_rows(metrics)
    yield from label_rows(metrics["per_class"])
    yield from group_rows(metrics.get("per_group") or {})


def _says(data: DataSet, learnt: Sequence[Sample]) -> str:
    gets = "can have several" if data.multi_label else "gets one"
    sentence = f"Each video {gets} of {len(data.labels)} labels: {', '.join(data.labels)}."
    if NONE in data.labels:
        sentence += f" {NONE!r} says that it shows none of the others; it is never an action."
    return sentence


def _counts(labels: Sequence[str], samples: Sequence[Sample]) -> dict[str, int]:
    counts = label_counts(samples)
    return {label: counts[label] for label in labels}


def _data_tables(document: Metrics) -> Iterator[Table]:
    yield label_table(document, "label")


def _tables(predictions: Predictions) -> dict[str, list[Cells]]:
    return {"scores.csv": _scores(predictions), "mistakes.csv": mistakes(predictions)}


def _scores(predictions: Predictions) -> list[Cells]:
    rows: list[Cells] = [["path", "start", "end", "label", "predicted", *predictions.labels]]
    for sample, (probabilities, *_) in zip(predictions.samples, predictions.values, strict=True):
        predicted = _predicted(predictions, probabilities)
        told = "|".join(sample.labels), "|".join(predicted)
        rows.append([*place_of(sample), *told, *(f"{p:.6f}" for p in probabilities)])
    return rows


def _predicted(predictions: Predictions, probabilities: np.ndarray) -> tuple[str, ...]:
    from vmm_cli.training.metrics.classes import THRESHOLD

    labels = predictions.labels
    if not predictions.multi_label:
        return (labels[int(np.argmax(probabilities))],)
    pairs = zip(labels, probabilities, strict=True)
    return tuple(sorted(label for label, chance in pairs if chance >= THRESHOLD))


def mistakes(predictions: Predictions) -> list[Cells]:
    """Return the rows that were predicted wrongly, the surest mistakes first.

    The score says how sure: the probability of a label that was predicted and is not true, or, of
    several labels, one less the probability of a label that is true and was not predicted.
    """
    found = []
    for sample, (probabilities, *_) in zip(predictions.samples, predictions.values, strict=True):
        of_label = dict(zip(predictions.labels, map(float, probabilities), strict=True))
        true, predicted = set(sample.labels), set(_predicted(predictions, probabilities))
        if true == predicted:
            continue
        wrong = [of_label[one] for one in predicted - true]
        if predictions.multi_label:
            wrong += [1 - of_label[one] for one in true - predicted]
        row = [*place_of(sample), "|".join(sample.labels), "|".join(sorted(predicted))]
        found.append((max(wrong), row))
    found.sort(key=lambda mistake: -mistake[0])
    head: Cells = ["path", "start", "end", "label", "predicted", "score"]
    return [head, *([*row, f"{score:.6f}"] for score, row in found)]


def _draw(folder: Path, predictions: Predictions, metrics: Metrics) -> None:
    """Draw operating curves, and how well one label a sample is told.

    Of several labels there is no such picture.
    """
    draw_operating(folder, metrics)
    if not predictions.multi_label:
        truth = truth_of(predictions.samples, predictions.labels, multi_label=False)
        draw_certainty(folder, predictions.labels, _stacked(predictions), truth)


TASK = Task(
    kind=CLASSES,
    heads=("classes",),
    read=read_classes,
    network=_network,
    objective=_objective,
    predict=judged,
    targets=_targets,
    check=_check,
    predict_file=_predict_file,
    score=_score,
    thresholds=_thresholds,
    as_negative=lambda sample: sample,
    fit=_fit,
    calibrated=_calibrated,
    report=Report(
        headline=_headline,
        intervals=_intervals,
        rows=_rows,
        remark=told_remark,
        says=_says,
        limits="It knows nothing but these labels and gives one of them to any video.",
        counts=_counts,
        figures={"macro_f1": "macro F1"},
        data_tables=_data_tables,
    ),
    files=Files(
        names=(
            "scores.csv",
            "mistakes.csv",
            "confusion.png",
            "calibration.png",
            "operating.png",
        ),
        tables=_tables,
        draw=_draw,
    ),
)
