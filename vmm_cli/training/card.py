"""The model card: what a trained model is for, what it saw, and how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vmm_cli.inference.valence import EMOTIONS, RATINGS, valence_from
from vmm_cli.training.headline import headline, intervals
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.samples import DataSet, Sample, label_counts, segment_counts


def summary(data: DataSet, recipe: Recipe) -> str:
    """Return one line for a list of models."""
    named = ["valence", *data.labels] if data.rated else data.labels
    shown = ", ".join(named[:6]) + (", ..." if len(named) > 6 else "")
    learnt = sum(sample.split == "train" for sample in data.samples)
    return f"{shown}; from {' and '.join(recipe.streams)}, trained on {learnt} samples"


def text(name: str, data: DataSet, recipe: Recipe, metrics: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    learnt = [sample for sample in data.samples if sample.split == "train"]
    counts = segment_counts(learnt) if data.timed else label_counts(learnt)
    unit = "actions" if data.timed else "samples"
    windows = "" if data.timed else f" in windows of {recipe.window_s:g} s"
    seen = [f"- {label}: {counts[label]} {unit}" for label in data.labels]
    if data.rated:
        seen.insert(0, f"- valence: {sum(s.valence is not None for s in learnt)} {unit}")
    parts = [
        f"# {name}",
        _kind(data, learnt),
        "## What it looks at",
        f"Recipe `{recipe.name}`: {recipe.rate_hz:g} steps a second{windows}; temporal network "
        f"`{recipe.temporal}`, fusion `{recipe.fusion}`, head `{recipe.head}`. `recipe.yaml` says "
        "it all. The streams:",
        "\n".join(
            f"- {stream}: encoder `{made.encoder}`, front end `{made.front_end}`"
            for stream, made in recipe.streams.items()
        ),
        "## What it was trained on",
        "\n".join(seen),
        "## How good it is",
        _accuracy(metrics, stops_early=recipe.optimisation.patience > 0),
        "## Limits",
        f"{_limits(data)} On recordings of another"
        " kind than those it was trained on it will do worse than the figures above say: "
        "measure with `vmm evaluate`.",
        "## Licence",
        "The videos and what was learnt from them are the user's own. Code of the networks: "
        "vmm-cli, Apache-2.0. Weights of the encoders: as in the cards of the models they come "
        "from (`vmm models list`).",
    ]
    return "\n\n".join(parts) + "\n"


def _kind(data: DataSet, learnt: Sequence[Sample]) -> str:
    """Say what a model of this data set says of a video."""
    listed = f"{len(data.labels)} labels: {', '.join(data.labels)}."
    if data.timed:
        return f"It says from when to when something happens of {listed}"
    if not data.rated:
        return f"Each video {'can have several' if data.multi_label else 'gets one'} of {listed}"
    source = valence_from(data.labels, any(sample.valence is not None for sample in learnt))
    said = []
    if source == RATINGS:
        said.append("It says how pleasant a video is, from -1 (unpleasant) to 1 (pleasant).")
    if data.labels:
        said.append(f"It says how likely each emotion is of {listed}")
    if source == EMOTIONS:
        said.append(
            "How pleasant that is, from -1 to 1, follows from the emotions by the table of Russell "
            "and Mehrabian 1977."
        )
    return " ".join(said)


def _limits(data: DataSet) -> str:
    if data.rated:
        return (
            "It tells what is expressed in the way of those it was trained on, not what somebody "
            "feels."
        )
    gives = "finds no others" if data.timed else "gives one of them to any video"
    return f"It knows nothing but these labels and {gives}."


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
    for name, ends in intervals(scores).items():
        low, high = ends["low"], ends["high"]
        said += f"; 95 % interval of the {_named(name)} over groups {low:.3f} to {high:.3f}"
    if "threshold" in scores:
        said += (
            f". From a score of {scores['threshold']:.2f} on, where F1 is highest on these very "
            f"samples, recall at IoU 0.5 is {_number(scores['recall_at']['0.5'])}, with "
            f"{scores['false_alarms_per_hour']['all']:.1f} false alarms an hour"
        )
    return said + "."


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


NAMES = {
    "macro_f1": "macro F1",
    "mae": "mean absolute error of the valence",
    "pearson": "Pearson r of the valence",
    "uar": "unweighted average recall of the emotions",
}


def _named(name: str) -> str:
    return NAMES.get(name, name.replace("_", " ").replace("acc2", "Acc-2"))


def _seeds(metrics: Mapping[str, Any]) -> str:
    if "seeds" not in metrics:
        return " One seed: another one gives a somewhat different figure."
    seeds = metrics["seeds"]
    first = next(name for name in seeds if name != "seeds")
    return (
        f" Over {len(seeds['seeds'])} seeds: {_named(first)} {seeds[first]['mean']:.3f} "
        f"± {seeds[first]['sd']:.3f} (standard deviation)."
    )
