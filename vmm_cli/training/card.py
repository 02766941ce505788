"""The model card: what a trained model is for, what it saw, and how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmm_cli.training.headline import headline
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.samples import DataSet, label_counts, segment_counts


def summary(data: DataSet, recipe: Recipe) -> str:
    """Return one line for a list of models."""
    shown = ", ".join(data.labels[:6]) + (", ..." if len(data.labels) > 6 else "")
    learnt = sum(sample.split == "train" for sample in data.samples)
    return f"{shown}; from {' and '.join(recipe.streams)}, trained on {learnt} samples"


def text(name: str, data: DataSet, recipe: Recipe, metrics: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    learnt = [sample for sample in data.samples if sample.split == "train"]
    counts = segment_counts(learnt) if data.timed else label_counts(learnt)
    unit = "actions" if data.timed else "samples"
    if data.timed:
        kind = "It says from when to when something happens of"
    else:
        kind = "Each video can have several of" if data.multi_label else "Each video gets one of"
    windows = "" if data.timed else f" in windows of {recipe.window_s:g} s"
    gives = "finds no others" if data.timed else "gives one of them to any video"
    parts = [
        f"# {name}",
        f"{kind} {len(data.labels)} labels: " + ", ".join(data.labels) + ".",
        "## What it looks at",
        f"Recipe `{recipe.name}`: {recipe.rate_hz:g} steps a second{windows}; temporal network "
        f"`{recipe.temporal}`, fusion `{recipe.fusion}`, head `{recipe.head}`. `recipe.yaml` says "
        "it all. The streams:",
        "\n".join(
            f"- {stream}: encoder `{made.encoder}`, front end `{made.front_end}`"
            for stream, made in recipe.streams.items()
        ),
        "## What it was trained on",
        "\n".join(f"- {label}: {counts[label]} {unit}" for label in data.labels),
        "## How good it is",
        _accuracy(metrics, stops_early=recipe.optimisation.patience > 0),
        "## Limits",
        f"It knows nothing but these labels and {gives}. On recordings of "
        "another kind than those it was trained on it will do worse than the figures above say: "
        "measure with `vmm evaluate`.",
        "## Licence",
        "The videos and what was learnt from them are the user's own. Code of the networks: "
        "vmm-cli, Apache-2.0. Weights of the encoders: as in the cards of the models they come "
        "from (`vmm models list`).",
    ]
    return "\n\n".join(parts) + "\n"


def _accuracy(metrics: Mapping[str, Any], *, stops_early: bool) -> str:
    if "folds" in metrics:
        folds = metrics["folds"]
        said = f"Over {len(folds['names'])} folds ({folds['split']}): {_line(folds['test'])}"
        return said + _seeds(folds)
    counts = metrics["samples"]
    if "fold" in metrics:
        return (
            f"On the {counts['test']} samples of fold {metrics['fold']}, which were left out: "
            f"{_line(metrics['test'])}"
        )
    how = metrics["split"]
    if stops_early:
        how += "; when to stop was chosen on the same samples, so this is a little too good"
    line = _line(metrics["validation"])
    said = f"On {counts['val']} samples that were held out ({how}): {line}"
    return said + _seeds(metrics)


def _line(scores: Mapping[str, Any]) -> str:
    said = ", ".join(f"{_named(name)} {value:.3f}" for name, value in headline(scores).items())
    if scores.get("interval"):
        first = _named(next(iter(headline(scores))))
        low, high = scores["interval"]["low"], scores["interval"]["high"]
        said += f"; 95 % interval of the {first} over groups {low:.3f} to {high:.3f}"
    if "threshold" in scores:
        said += (
            f". From a score of {scores['threshold']:.2f} on, where F1 is highest on these very "
            f"samples, recall at IoU 0.5 is {_number(scores['recall_at']['0.5'])}, with "
            f"{scores['false_alarms_per_hour']['all']:.1f} false alarms an hour"
        )
    return said + "."


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _named(name: str) -> str:
    return name.replace("_", " ").replace("macro f1", "macro F1")


def _seeds(metrics: Mapping[str, Any]) -> str:
    if "seeds" not in metrics:
        return " One seed: another one gives a somewhat different figure."
    seeds = metrics["seeds"]
    first = next(name for name in seeds if name != "seeds")
    return (
        f" Over {len(seeds['seeds'])} seeds: {_named(first)} {seeds[first]['mean']:.3f} "
        f"± {seeds[first]['sd']:.3f} (standard deviation)."
    )
