"""The model card: what a trained model is for, what it saw, and how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vmm_cli.training import learning_curve
from vmm_cli.training.data.samples import NONE, DataSet, Sample
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.tasks.catalogue import TASKS, task_of
from vmm_cli.training.tasks.task import Report
from vmm_cli.training.tasks.told import card_table


def summary(data: DataSet, recipe: Recipe) -> str:
    """Return one line for a list of models."""
    named = list(TASKS[data.task].report.counts(data.labels, ()))
    shown = ", ".join(named[:6]) + (", ..." if len(named) > 6 else "")
    learnt = sum(sample.split == "train" for sample in data.samples)
    return f"{shown}; from {' and '.join(recipe.streams)}, trained on {learnt} samples"


def text(name: str, data: DataSet, recipe: Recipe, metrics: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    task = TASKS[data.task]
    learnt = [sample for sample in data.samples if sample.split == "train"]
    counts = task.report.counts(data.labels, learnt)
    parts = [
        f"# {name}",
        task.report.says(data, learnt),
        "## What it looks at",
        f"Recipe `{recipe.name}`: {(task.report.made_of or _of_networks)(recipe)}. `recipe.yaml` "
        "says it all. The streams:",
        "\n".join(
            f"- {stream}: encoder `{made.encoder}`, front end `{made.front_end}`"
            for stream, made in recipe.streams.items()
        ),
        *_probe(recipe, metrics),
        "## What it was trained on",
        "\n".join(f"- {output}: {n} {data.kind.unit}s" for output, n in counts.items())
        + _negatives(learnt, data),
        "## How good it is",
        _accuracy(metrics, task.report, stops_early=recipe.optimisation.patience > 0),
        *filter(None, [card_table(_scores(metrics))]),
        *([learning_curve.says(curve)] if (curve := metrics.get("learning_curve")) else []),
        "## Limits",
        f"{task.report.limits} On recordings of another"
        " kind than those it was trained on it will do worse than the figures above say: "
        "measure with `vmm evaluate`.",
        "## Licence",
        "The videos and what was learnt from them are the user's own. Code of the networks: "
        "vmm-cli, Apache-2.0. Weights of the encoders: as in the cards of the models they come "
        "from (`vmm models list`).",
    ]
    return "\n\n".join(parts) + "\n"


def _negatives(learnt: Sequence[Sample], data: DataSet) -> str:
    """Return a line on the negatives; "" where there are none, or a label counts them."""
    number = sum(sample.negative for sample in learnt)
    return f"\n- {NONE}: {number} negatives" if number and NONE not in data.labels else ""


def _scores(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what was measured on samples that were held out."""
    found: Mapping[str, Any]
    if "folds" in metrics:
        found = metrics["folds"]["test"]
    else:
        found = metrics["test" if "fold" in metrics else "validation"]
    return found


def _of_networks(recipe: Recipe) -> str:
    windows = f" in windows of {recipe.window_s:g} s" if task_of(recipe.head).windows else ""
    return (
        f"{recipe.rate_hz:g} steps a second{windows}; temporal network `{recipe.temporal}`, "
        f"fusion `{recipe.fusion}`, head `{recipe.head}`"
    )


def _probe(recipe: Recipe, metrics: Mapping[str, Any]) -> list[str]:
    """Return the paragraphs on a linear probe: that it is one, and what was compared for it."""
    if not recipe.optimisation.probe:
        return []
    said = (
        "It is a linear probe: what the frozen encoders give is averaged over time and weighed for "
        "each label. With few samples that does better than a network that learns more."
    )
    compared = metrics.get("probe")
    if compared is None:
        return [said]
    if not compared["views"]:
        return [f"{said} It sees all streams of its recipe: nothing could be compared."]
    rows = "\n".join(
        f"| {_views(tried['streams'])} | {tried['loss']:.3f} | {tried['accuracy']:.3f} |"
        for tried in compared["views"]
    )
    return [
        f"{said} Which streams it sees was chosen by leaving out {compared['parts']} parts of the "
        "training samples in turn; the first row was taken, for its loss:",
        f"| streams (front end) | loss | accuracy |\n| --- | --- | --- |\n{rows}",
    ]


def _views(streams: Mapping[str, str]) -> str:
    return ", ".join(f"{stream} ({front_end})" for stream, front_end in streams.items())


def _accuracy(metrics: Mapping[str, Any], report: Report, *, stops_early: bool) -> str:
    if "folds" in metrics:
        folds = metrics["folds"]
        sentence = (
            f"Over {len(folds['names'])} folds ({folds['split']}): {_line(folds['test'], report)}"
        )
        return sentence + _seeds(folds, report)
    counts = metrics["samples"]
    if "fold" in metrics:
        return (
            f"On the {counts['test']} samples of fold {metrics['fold']}, which were left out: "
            f"{_line(metrics['test'], report)}"
        )
    how = metrics["split"]
    if stops_early:
        how += "; when to stop was chosen on the same samples, so this is a little too good"
    line = _line(metrics["validation"], report)
    sentence = f"On {counts['val']} samples that were held out ({how}): {line}"
    return sentence + _seeds(metrics, report)


def _line(scores: Mapping[str, Any], report: Report) -> str:
    numbers = report.headline(scores).items()
    sentence = ", ".join(f"{_named(name, report)} {value:.3f}" for name, value in numbers)
    for name, ends in report.intervals(scores).items():
        low, high = ends["low"], ends["high"]
        sentence += (
            f"; 95 % interval of the {_named(name, report)} over groups {low:.3f} to {high:.3f}"
        )
    return f"{sentence}{report.remark(scores)}."


def _named(name: str, report: Report) -> str:
    return report.figures.get(name, name.replace("_", " "))


def _seeds(metrics: Mapping[str, Any], report: Report) -> str:
    if "seeds" not in metrics:
        return " One seed: another one gives a somewhat different figure."
    seeds = metrics["seeds"]
    first = next(name for name in seeds if name != "seeds")
    return (
        f" Over {len(seeds['seeds'])} seeds: {_named(first, report)} {seeds[first]['mean']:.3f} "
        f"± {seeds[first]['sd']:.3f} (standard deviation)."
    )
