"""The task `segments`: which actions happen in a video, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Any, NamedTuple

from vmm_cli.analysis.calibration import platt_of
from vmm_cli.training.data.action_times import action_times
from vmm_cli.training.data.manifest import RowError
from vmm_cli.training.data.read_segments import SEGMENTS, read_segments
from vmm_cli.training.data.samples import DataSet, Sample, Segment, segment_counts
from vmm_cli.training.model_labels import refuse_unknown
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.tasks.of_labels import GROUPS_SHOWN, interval_row, splits_shown
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
    Sighting,
    draw_operating,
    highest,
    told_metrics,
    told_remark,
    told_rows,
)

if TYPE_CHECKING:
    import torch

    from vmm_cli.analysis.segments import Detection
    from vmm_cli.bundles import Bundle
    from vmm_cli.features.windows import Encoded
    from vmm_cli.inference.examples import Examples
    from vmm_cli.output.table import Cell
    from vmm_cli.training.data.inspection import Inspection
    from vmm_cli.training.encoding import Means
    from vmm_cli.training.learnt import Learnt
    from vmm_cli.training.loop import Objective
    from vmm_cli.training.objectives.segments import TimedExamples

# Where nothing that was found is right, so that nothing says which threshold is a good one.
DEFAULT_THRESHOLD = 0.5
PAIRS_SHOWN = 3  # of labels that overlap most often


class Actions(NamedTuple):
    """The actions found in a sample, of any score, and how many seconds were looked at."""

    detections: list[Detection]
    seconds: float


# --- learning and predicting --------------------------------------------------------------------


def _network(data: DataSet, recipe: Recipe) -> dict[str, Any]:
    return {"head": recipe.head, "levels": recipe.levels}


def _as_negative(sample: Sample) -> Sample:
    if sample.start_s or sample.end_s is not None:
        raise RowError("times", "has a start or an end; for segments a whole video is a negative")
    return replace(sample, labels=(), segments=())


def _objective(material: Material) -> Objective:
    from vmm_cli.training.objectives.segments import timed_examples, timed_objective

    samples, labels = material.data.samples, material.data.labels

    def timed(videos: Examples, places: Sequence[int]) -> TimedExamples:
        chosen = [samples[i] for i in places]
        return timed_examples(videos, chosen, labels, material.recipe.rate_hz)

    watched = None
    if material.watched is not None:
        watched = timed(material.watched, material.held_out)
    return timed_objective(timed(material.shown, material.train), watched, material.recipe)


def found_in(learnt: Learnt, encoded: Encoded) -> list[Detection]:
    """Return the actions in a video, of any score."""
    from vmm_cli.inference.examples import tokens_from
    from vmm_cli.inference.in_torch import step_network
    from vmm_cli.inference.network import fused_steps
    from vmm_cli.inference.steps import segments_from_fused

    (whole,) = encoded.windows
    tokens = tokens_from(learnt.about)
    network = step_network(learnt.fusion.to("cpu"))
    x, mask = fused_steps(network, whole, None if tokens is None else tokens(encoded.text))
    return segments_from_fused(
        network,
        learnt.labels,
        x,
        mask,
        rate_hz=Fraction(str(learnt.about["rate_hz"])),
        start_s=float(whole.window.start),
        until_s=float(whole.window.end),
    ).detections


def _predict(learnt: Learnt, encoded: Sequence[Encoded], device: torch.device) -> list[Actions]:
    return [
        Actions(
            found_in(learnt, one), sum(float(w.window.end - w.window.start) for w in one.windows)
        )
        for one in encoded
    ]


def _check(bundle: Bundle, data: DataSet, samples: Sequence[Sample]) -> None:
    from vmm_cli.inference.steps import check_segment_model

    refuse_unknown(bundle, data, samples)
    check_segment_model(bundle)


def _predict_file(bundle: Bundle, sample: Sample, means: Means) -> Actions:
    from vmm_cli.inference import classify_windows
    from vmm_cli.inference.steps import find_segments, run_steps
    from vmm_cli.training.encoding import video_of

    video = video_of(sample, means.max_pixels)
    seen = run_steps(
        bundle,
        video,
        None,
        use_store=means.use_store,
        text=sample.text,
    )
    classify_windows.require_streams(bundle, seen.streams)
    found = find_segments(bundle, video, [seen])
    return Actions(found.detections, float(video.until_s - video.start))


def _fit(predictions: Predictions) -> dict[str, Any] | None:
    from vmm_cli.training.metrics.calibration import fit_platt
    from vmm_cli.training.metrics.segments import rights_of

    scores, right, videos = rights_of(predictions.labels, *_by_video(predictions))
    groups = predictions.groups or [sample.name for sample in predictions.samples]
    names = (sample.name for sample in predictions.samples)
    group_of_video = dict(zip(names, groups, strict=True))
    return fit_platt(scores, right, [group_of_video[video] for video in videos])


def _calibrated(predictions: Predictions, fitted: Metrics) -> Predictions:
    from vmm_cli.analysis.segments import rescored

    to = platt_of(fitted)
    values = [
        Actions(rescored(found.detections, to), found.seconds) for found in predictions.values
    ]
    return replace(predictions, values=values)


def _by_video(
    predictions: Predictions,
) -> tuple[dict[str, list[Detection]], dict[str, Sequence[Segment]]]:
    """Return what was found, and what is true, by the name of the video."""
    pairs = zip(predictions.samples, predictions.values, strict=True)
    detections = {sample.name: found.detections for sample, found in pairs}
    return detections, {sample.name: sample.segments or () for sample in predictions.samples}


def _score(predictions: Predictions, bundle: Bundle | None) -> dict[str, Any]:
    """Compare the actions found with those of the samples, all of whose labels the model knows.

    Where thresholds are to be chosen they are the best for these very samples: by false alarms an
    hour where a number of them is asked for, else by F1.
    """
    from vmm_cli.training.metrics.segments import best_threshold, score_segments

    samples, labels = predictions.samples, predictions.labels
    detections, truth = _by_video(predictions)
    otherwise = DEFAULT_THRESHOLD
    if bundle is None and predictions.max_false_alarms is None:
        otherwise = best_threshold(labels, detections, truth) or DEFAULT_THRESHOLD
    told = told_metrics(found_of(predictions), bundle, predictions.max_false_alarms, otherwise)
    curves = told.get("operating", {})
    least = {
        label: curves[label]["threshold"]
        if label in curves
        else (bundle.told_from(label, otherwise) if bundle is not None else otherwise)
        for label in labels
    }
    groups = None
    if predictions.groups is not None:
        names = (sample.name for sample in samples)
        groups = dict(zip(names, predictions.groups, strict=True))
    hours = sum(found.seconds for found in predictions.values) / 3600
    metrics = score_segments(labels, detections, truth, hours, threshold=least, groups=groups)
    return {**metrics, "threshold": min(least.values(), default=otherwise), **told}


def found_of(predictions: Predictions) -> Found:
    """Return what was found of each label, of all videos and of the negatives among them."""
    from vmm_cli.training.metrics.segments import evidence_of

    labels, (detections, truth) = predictions.labels, _by_video(predictions)
    pairs = list(zip(predictions.samples, predictions.values, strict=True))
    quiet = {sample.name: found for sample, found in pairs if sample.negative}
    seconds = sum(found.seconds for found in quiet.values())
    of_quiet = {name: found.detections for name, found in quiet.items()}
    all_hours = sum(found.seconds for _, found in pairs) / 3600
    return Found(
        evidence_of(labels, detections, truth, all_hours),
        evidence_of(labels, of_quiet, dict.fromkeys(quiet, ()), seconds / 3600),
        len(quiet),
        seconds,
        highest(
            Sighting(name, (one.start_s + one.end_s) / 2, one.label, one.score)
            for name, found in of_quiet.items()
            for one in found
        ),
    )


def _thresholds(metrics: Metrics) -> dict[str, float]:
    # Rounded down: what has this very score is to be told.
    score = {"score": floor(metrics["threshold"] * 1e6) / 1e6}
    fitted = metrics.get("calibration") or {}
    return score | {key: fitted[key] for key in ("slope", "offset") if key in fitted}


# --- telling ------------------------------------------------------------------------------------


def _headline(metrics: Metrics) -> dict[str, float]:
    means = {f"mAP@{iou}": value for iou, value in metrics["mAP"].items() if iou != "mean"}
    known = {"mAP": metrics["mAP"]["mean"], **means}
    return {name: float("nan") if value is None else value for name, value in known.items()}


def _intervals(metrics: Metrics) -> dict[str, Metrics]:
    return {"mAP": metrics["interval"]} if metrics.get("interval") else {}


def _rows(metrics: Metrics) -> Iterator[tuple[str, str]]:
    for iou, value in metrics["mAP"].items():
        name = "mAP (mean over IoU 0.3 to 0.7)"
        yield name if iou == "mean" else f"mAP at IoU {iou}", _shown(value)
    yield from interval_row(metrics, "the mAP")
    curves = metrics.get("operating", {})
    least = {curve["threshold"] for curve in curves.values()} or {metrics["threshold"]}
    if len(least) == 1:
        yield "told from a score of", f"{least.pop():.3f}"
    yield "recall at IoU 0.5", _shown(metrics["recall_at"]["0.5"])
    yield "false alarms an hour", f"{metrics['false_alarms_per_hour']['all']:.1f}"
    yield from told_rows(metrics)
    for label, numbers in metrics["per_class"].items():
        if numbers["n"]:
            parts = (
                f"AP at 0.3 {_shown(numbers['ap']['0.3'])}",
                f"recall {_shown(numbers['recall'])}",
                f"{numbers['false_alarms_per_hour']:.1f} false alarms an hour",
                *([f"from {curves[label]['threshold']:.3f} on"] if least else []),
            )
            yield f"{label} ({numbers['n']})", ", ".join(parts)
    groups = metrics.get("per_group") or {}
    if metrics.get("negatives"):  # each file of them can be a group
        groups = {name: numbers for name, numbers in groups.items() if numbers["n"]}
    worst = sorted(groups.items(), key=lambda item: (item[1]["recall"] or 0.0, item[0]))
    for name, numbers in worst[:GROUPS_SHOWN]:
        document = f"recall {_shown(numbers['recall'])}, {numbers['false_alarms']} false alarms"
        yield f"group {name} ({numbers['n']})", document


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _remark(metrics: Metrics) -> str:
    recall = metrics["recall_at"]["0.5"]
    limit = (metrics.get("told") or {}).get("max_false_alarms_per_hour")
    if limit is None:
        how = f"From a score of {metrics['threshold']:.2f} on, where F1 is highest on these very "
        how += "samples"
    else:
        how = f"From the lowest scores on that let each label have {limit:g} false alarms an hour "
        how += "at most on these very samples"
    return (
        f". {how}, recall at IoU 0.5 is {'unknown' if recall is None else f'{recall:.3f}'}, with "
        f"{metrics['false_alarms_per_hour']['all']:.1f} false alarms an hour{told_remark(metrics)}"
    )


def _says(data: DataSet, learnt: Sequence[Sample]) -> str:
    listed = f"{len(data.labels)} labels: {', '.join(data.labels)}."
    return f"It says from when to when something happens of {listed}"


def _counts(labels: Sequence[str], samples: Sequence[Sample]) -> dict[str, int]:
    counts = segment_counts(samples)
    return {label: counts[label] for label in labels}


def _data_section(inspection: Inspection) -> dict[str, Any]:
    return action_times(inspection.dataset, inspection.durations)


def _data_tables(document: Metrics) -> Iterator[Table]:
    """Yield how many actions have each label, and how long they last."""
    from vmm_cli.output.table import Column, Times

    found = document["segments"]["labels"]
    splits = splits_shown(document, [numbers["segments"] for numbers in found.values()])
    rows: list[tuple[Cell, ...]] = []
    for label, numbers in found.items():
        counts, lengths = numbers["segments"], numbers["durations_s"]
        times = (f"{lengths[key]:.1f}" for key in ("min", "median", "max"))
        share = "?" if numbers["share"] is None else f"{100 * numbers['share']:.1f}"
        shown = (str(counts.get(split, 0)) for split in splits)
        total = Times((lengths["total"],))
        rows.append((label, *shown, str(numbers["videos"]), *times, total, share))
    heads = [*splits, "videos", "min s", "median s", "max s", "total", "% of time"]
    yield Table([Column("label"), *(Column(head, number=True) for head in heads)], rows)


def _data_facts(document: Metrics) -> Iterator[tuple[str, Cell]]:
    from vmm_cli.output.table import Times

    segments = document["segments"]
    yield "actions", str(segments["n"])
    yield "samples without any", str(segments["videos_without"])
    overlaps = segments["overlaps"]
    own = f"{overlaps['with_their_own_label']} with one of their own label"
    yield "overlaps", f"{overlaps['segments']} actions overlap another, {own}"
    if overlaps["pairs"]:
        yield "most often", ", ".join(map(_pair, overlaps["pairs"][:PAIRS_SHOWN]))
    if segments["share"] is not None:
        shared = f"{100 * segments['share']:.0f} %; "
        without = " without any action"
        yield "time with an action", Times((shared, segments["unlabelled_s"], without))


def _pair(pair: Mapping[str, Any]) -> str:
    return f"{' and '.join(pair['labels'])}: {pair['n']} ({pair['shared_s']:.1f} s)"


def _tables(predictions: Predictions) -> dict[str, list[Cells]]:
    """Return every action found, of any score, the most certain ones of a video first."""
    rows: list[Cells] = [["path", "start", "end", "label", "score"]]
    for sample, found in zip(predictions.samples, predictions.values, strict=True):
        for one in sorted(found.detections, key=lambda one: -one.score):
            times = (f"{one.start_s:.3f}", f"{one.end_s:.3f}")
            rows.append([sample.name, *times, one.label, f"{one.score:.6f}"])
    return {"detections.csv": rows}


TASK = Task(
    kind=SEGMENTS,
    heads=("steps", "segments"),
    read=read_segments,
    network=_network,
    objective=_objective,
    predict=_predict,
    check=_check,
    predict_file=_predict_file,
    score=_score,
    thresholds=_thresholds,
    windows=False,
    unused=("mixup", "label_smoothing"),
    inspected=True,
    as_negative=_as_negative,
    fit=_fit,
    calibrated=_calibrated,
    report=Report(
        headline=_headline,
        intervals=_intervals,
        rows=_rows,
        remark=_remark,
        says=_says,
        limits="It knows nothing but these labels and finds no others.",
        counts=_counts,
        sample="video",
        data_section=_data_section,
        data_tables=_data_tables,
        data_facts=_data_facts,
    ),
    files=Files(
        names=("detections.csv", "operating.png"),
        tables=_tables,
        draw=lambda folder, _, metrics: draw_operating(folder, metrics),
    ),
)
