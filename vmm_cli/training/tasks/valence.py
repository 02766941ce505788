"""The task `valence`: how pleasant samples are, and which emotion they show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm_cli.errors import DataError
from vmm_cli.training.data.read_valence import VALENCE, read_valence
from vmm_cli.training.data.rows import RATINGS as COLUMNS
from vmm_cli.training.data.samples import DataSet, Sample, label_counts
from vmm_cli.training.data.truth import ratings_truth
from vmm_cli.training.model_labels import knows, refuse_unknown
from vmm_cli.training.recipe import Recipe
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

if TYPE_CHECKING:
    import torch

    from vmm_cli.bundles import Bundle
    from vmm_cli.features.windows import Encoded
    from vmm_cli.training.data.inspection import Inspection
    from vmm_cli.training.encoding import Means
    from vmm_cli.training.learnt import Learnt
    from vmm_cli.training.loop import Objective

VALENCE_BINS = 8  # from -1 to 1: each a quarter wide
LONGEST_BAR = 30  # characters


# --- learning and predicting --------------------------------------------------------------------


def _network(data: DataSet, recipe: Recipe) -> dict[str, Any]:
    from vmm_cli.inference.valence import valence_from

    rated = any(s.valence is not None for s in data.samples if s.split == "train")
    return {"head": recipe.head, "valence_from": valence_from(data.labels, rated)}


def _objective(material: Material) -> Objective:
    from vmm_cli.training.objectives.valence import ratings_of, valence_objective

    wanted = ratings_of(material.data.samples, material.data.labels, material.weigh)
    return valence_objective(material.shown, material.watched, wanted, material.recipe.optimisation)


def ratings(
    learnt: Learnt, encoded: Sequence[Encoded], device: torch.device
) -> Sequence[np.ndarray]:
    """Return valence and the probabilities of emotions of samples: float64 [1 + E].

    The mean over their windows; no valence is NaN.
    """
    from vmm_cli.inference.valence import with_valence
    from vmm_cli.training.objectives.valence import predict

    assert learnt.network is not None  # see `Task.learn`
    network = learnt.network.to(device)
    predicted = predict(network, learnt.examples(encoded), len(encoded), device)
    return list(with_valence(predicted, learnt.labels, learnt.about["valence_from"]))


def without_empty(one: Encoded) -> Encoded:
    """Leave out windows in which nothing is there, unless its text holds in all of them.

    A clip is judged by the others: see `inference.valence`.
    """
    if one.text.strip():
        return one
    kept = (w for w in one.windows if any(mask.any() for mask in w.masks.values()))
    return replace(one, windows=tuple(kept))


def _check(bundle: Bundle, data: DataSet, samples: Sequence[Sample]) -> None:
    from vmm_cli.inference.valence import NOTHING, check_valence_model

    check_valence_model(bundle)
    # Without emotions of its own it knows all; beside emotions that it knows others fail alone.
    if bundle.labels and not any(knows(bundle, sample) for sample in samples):
        refuse_unknown(bundle, data, samples)
    tells = bundle.network.get("valence_from") != NOTHING
    rated = any(sample.valence is not None for sample in samples)
    if not (tells and rated) and not any(s.labels for s in samples if bundle.labels):
        told = "an emotion" if bundle.labels else "a valence"
        raise DataError(
            f"{data.source}: no row has {told}, which is all that model {bundle.name!r} tells"
        )


def _predict_file(bundle: Bundle, sample: Sample, means: Means) -> np.ndarray:
    """Return one sample's valence and the probabilities of a model's emotions: float64 [1 + E]."""
    from vmm_cli.inference import classify_windows
    from vmm_cli.inference.valence import rate_windows
    from vmm_cli.training.encoding import video_of

    rated = rate_windows(
        bundle,
        video_of(sample, means.max_pixels),
        text=sample.text,
        use_store=means.use_store,
        keep_features=means.keep_features,
    )
    there = frozenset(stream for stream, share in rated.streams.items() if share.any())
    classify_windows.require_streams(bundle, there)
    return rated.mean


def _score(predictions: Predictions, bundle: Bundle | None) -> dict[str, Any]:
    """Compare ratings with those of the samples; an emotion the model does not know is none."""
    from vmm_cli.training.metrics.valence import score_ratings

    valence, emotion = ratings_truth(predictions.samples, predictions.labels)
    values = np.stack(predictions.values)
    return score_ratings(predictions.labels, values, valence, emotion, groups=predictions.groups)


# --- telling ------------------------------------------------------------------------------------


def _headline(metrics: Metrics) -> dict[str, float]:
    """Return the numbers that there are: a model may know no valence, or no emotion."""
    valence, emotions = metrics["valence"] or {}, metrics["emotions"] or {}
    known = {name: valence.get(name) for name in ("mae", "pearson")}
    known |= {f"acc2 {name}": value for name, value in valence.get("acc2", {}).items()}
    known |= {"uar": emotions.get("uar"), "emotion accuracy": emotions.get("accuracy")}
    return {name: value for name, value in known.items() if value is not None}


def _intervals(metrics: Metrics) -> dict[str, Metrics]:
    parts = {"mae": metrics["valence"], "emotion accuracy": metrics["emotions"]}
    return {name: part["interval"] for name, part in parts.items() if (part or {}).get("interval")}


def _rows(metrics: Metrics) -> Iterator[tuple[str, str]]:
    if metrics["valence"] is not None:
        yield from _valence_rows(metrics["valence"])
    if metrics["emotions"] is not None:
        yield from _emotion_rows(metrics["emotions"])


def _valence_rows(metrics: Metrics) -> Iterator[tuple[str, str]]:
    yield "samples with a valence", str(metrics["n"])
    yield "mean absolute error", f"{metrics['mae']:.3f}"
    yield from interval_row(metrics, "it")
    yield "Pearson r", _shown(metrics["pearson"])
    for name, value in metrics["acc2"].items():
        f1 = _shown(metrics["f1"][name])
        yield f"Acc-2 {name} ({metrics['acc2_n'][name]})", f"{_shown(value)}, F1 {f1}"
    for name, reason in metrics["undefined"].items():
        yield f"no {name}", reason


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _emotion_rows(metrics: Metrics) -> Iterator[tuple[str, str]]:
    yield "samples with an emotion", str(metrics["n"])
    yield "unweighted average recall (UAR: mean of the emotions)", f"{metrics['uar']:.3f}"
    yield "accuracy of the emotions", f"{metrics['accuracy']:.3f}"
    yield from interval_row(metrics, "it")
    yield from label_rows(metrics["per_class"])
    yield from group_rows(metrics.get("per_group") or {})


def _says(data: DataSet, learnt: Sequence[Sample]) -> str:
    from vmm_cli.inference.valence import EMOTIONS, RATINGS, valence_from

    source = valence_from(data.labels, any(sample.valence is not None for sample in learnt))
    sentences = []
    if source == RATINGS:
        sentences.append("It says how pleasant a video is, from -1 (unpleasant) to 1 (pleasant).")
    if data.labels:
        listed = f"{len(data.labels)} labels: {', '.join(data.labels)}."
        sentences.append(f"It says how likely each emotion is of {listed}")
    if source == EMOTIONS:
        sentences.append(
            "How pleasant that is, from -1 to 1, follows from the emotions by the table of Russell "
            "and Mehrabian 1977."
        )
    return " ".join(sentences)


def _counts(labels: Sequence[str], samples: Sequence[Sample]) -> dict[str, int]:
    counts = label_counts(samples)
    rated = sum(sample.valence is not None for sample in samples)
    return {"valence": rated, **{label: counts[label] for label in labels}}


def _data_section(inspection: Inspection) -> dict[str, Any]:
    """Return how many samples have a valence and an emotion, and how the valences are spread."""
    samples = inspection.dataset.samples
    found = [sample.valence for sample in samples if sample.valence is not None]
    counts, edges = np.histogram(found, bins=VALENCE_BINS, range=(-1, 1))
    return {
        "n": len(found),
        "missing": len(samples) - len(found),
        "min": min(found, default=None),
        "mean": mean(found) if found else None,
        "max": max(found, default=None),
        "histogram": [
            {"from": float(low), "to": float(high), "n": int(n)}
            for low, high, n in zip(edges, edges[1:], counts, strict=False)
        ],
        "without_emotion": sum(not sample.labels for sample in samples),
    }


def _data_tables(document: Metrics) -> Iterator[Table]:
    """Yield how many samples have each emotion, and a histogram of the valences."""
    from vmm_cli.output.table import Column

    yield label_table(document, "emotion")
    valence = document["valence"]
    if valence["n"]:
        most = max(part["n"] for part in valence["histogram"])
        yield Table(
            (Column("valence"), Column("n", number=True), Column("")),
            [
                (
                    f"{part['from']:+.2f} to {part['to']:+.2f}",
                    str(part["n"]),
                    "█" * round(LONGEST_BAR * part["n"] / most),
                )
                for part in valence["histogram"]
            ],
        )


def _data_facts(document: Metrics) -> Iterator[tuple[str, str]]:
    valence = document["valence"]
    if valence["n"]:
        least, middle, most = (f"{valence[key]:+.2f}" for key in ("min", "mean", "max"))
        yield "valences", f"{least} to {most}, mean {middle}"
    yield "without a valence", str(valence["missing"])
    yield "without an emotion", str(valence["without_emotion"])


def _tables(predictions: Predictions) -> dict[str, list[Cells]]:
    head = ["path", "start", "end", *COLUMNS, "predicted valence", *predictions.labels]
    rows: list[Cells] = [head]
    for sample, values in zip(predictions.samples, predictions.values, strict=True):
        numbers = ("" if np.isnan(number) else f"{number:.6f}" for number in values)
        rows.append([*place_of(sample), *_truth(sample, "|".join(sample.labels)), *numbers])
    return {"scores.csv": rows}


def _truth(sample: Sample, label: str) -> Cells:
    return [sample.valence, label]


def _draw(folder: Path, predictions: Predictions, metrics: Metrics) -> None:
    from vmm_cli.pictures import plots

    predicted = np.array(predictions.values)
    valence, emotion = ratings_truth(predictions.samples, predictions.labels)
    there, named = ~np.isnan(valence) & ~np.isnan(predicted[:, 0]), emotion >= 0
    if there.any():
        path = folder / "valence.png"
        plots.valences(valence[there].tolist(), predicted[there, 0].tolist(), path)
    if named.any():
        draw_certainty(folder, predictions.labels, predicted[named, 1:], emotion[named])


TASK = Task(
    kind=VALENCE,
    heads=("valence",),
    read=read_valence,
    network=_network,
    objective=_objective,
    predict=ratings,
    check=_check,
    predict_file=_predict_file,
    score=_score,
    unused=("mixup",),
    trimmed=without_empty,
    report=Report(
        headline=_headline,
        intervals=_intervals,
        one_figure=False,
        figures={
            "mae": "mean absolute error of the valence",
            "pearson": "Pearson r of the valence",
            "uar": "unweighted average recall of the emotions",
            "acc2 negative/non-negative": "Acc-2 negative/non-negative",
            "acc2 negative/positive": "Acc-2 negative/positive",
        },
        rows=_rows,
        says=_says,
        limits=(
            "It tells what is expressed in the way of those it was trained on, not what somebody "
            "feels."
        ),
        counts=_counts,
        data_section=_data_section,
        data_tables=_data_tables,
        data_facts=_data_facts,
    ),
    files=Files(
        names=("scores.csv", "valence.png", "confusion.png", "calibration.png"),
        tables=_tables,
        draw=_draw,
        columns=COLUMNS,
        truth=_truth,
    ),
)
