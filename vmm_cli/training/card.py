"""The model card: what a trained model is for, what it saw, and how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmm_cli.training.recipe import Recipe
from vmm_cli.training.samples import DataSet, label_counts


def summary(data: DataSet, recipe: Recipe) -> str:
    """Return one line for a list of models."""
    shown = ", ".join(data.labels[:6]) + (", ..." if len(data.labels) > 6 else "")
    learnt = sum(sample.split == "train" for sample in data.samples)
    return f"{shown}; from {' and '.join(recipe.streams)}, trained on {learnt} samples"


def text(name: str, data: DataSet, recipe: Recipe, metrics: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    counts = label_counts(sample for sample in data.samples if sample.split == "train")
    kind = "Each video can have several of" if data.multi_label else "Each video gets one of"
    parts = [
        f"# {name}",
        f"{kind} {len(data.labels)} labels: " + ", ".join(data.labels) + ".",
        "## What it looks at",
        f"Recipe `{recipe.name}`: {recipe.rate_hz:g} steps a second in windows of "
        f"{recipe.window_s:g} s; temporal network `{recipe.temporal}`, fusion `{recipe.fusion}`. "
        "`recipe.yaml` says it all. The streams:",
        "\n".join(
            f"- {stream}: encoder `{made.encoder}`, front end `{made.front_end}`"
            for stream, made in recipe.streams.items()
        ),
        "## What it was trained on",
        "\n".join(f"- {label}: {counts[label]} samples" for label in data.labels),
        "## How good it is",
        _accuracy(metrics),
        "## Limits",
        "It knows nothing but these labels and gives one of them to any video. On recordings of "
        "another kind than those it was trained on it will do worse than the figures above say: "
        "measure with `vmm evaluate`.",
        "## Licence",
        "The videos and what was learnt from them are the user's own. Code of the networks: "
        "vmm-cli, Apache-2.0. Weights of the encoders: as in the cards of the models they come "
        "from (`vmm models list`).",
    ]
    return "\n\n".join(parts) + "\n"


def _accuracy(metrics: Mapping[str, Any]) -> str:
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
    said = (
        f"On {counts['val']} samples that were held out ({metrics['split']}; when to stop was "
        f"chosen on the same samples, so this is a little too good): {_line(metrics['validation'])}"
    )
    return said + _seeds(metrics)


def _line(scores: Mapping[str, Any]) -> str:
    said = (
        f"accuracy {scores['accuracy']:.3f}, balanced accuracy {scores['balanced_accuracy']:.3f}, "
        f"macro F1 {scores['macro_f1']:.3f}"
    )
    if scores.get("interval"):
        low, high = scores["interval"]["low"], scores["interval"]["high"]
        said += f"; 95 % interval of the accuracy over groups {low:.3f} to {high:.3f}"
    return said + "."


def _seeds(metrics: Mapping[str, Any]) -> str:
    if "seeds" not in metrics:
        return " One seed: another one gives a somewhat different figure."
    accuracy = metrics["seeds"]["accuracy"]
    return (
        f" Over {len(metrics['seeds']['seeds'])} seeds: accuracy {accuracy['mean']:.3f} "
        f"± {accuracy['sd']:.3f} (standard deviation)."
    )
