"""How well models for segments find actions: the tables of docs/results.md.

    python -m benchmarks.segments overhead             # each recording date left out in turn
    python -m benchmarks.segments overhead --by video  # videos in five random parts: dates leak
    python -m benchmarks.segments falls                # each person left out in turn

The data are $VMM_DATA/overhead and $VMM_DATA/falls. Nothing is chosen on what is left out: every
training runs all epochs of its recipe. --set and --recipes are for looking for better recipes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from tools.train_falls import merged
from vmm_cli.batch.capacity import default_workers
from vmm_cli.features.windows import Encoded
from vmm_cli.training.data.read_segments import read_segments
from vmm_cli.training.data.samples import DataSet, group_of, with_samples
from vmm_cli.training.encoding import Means, encode_samples
from vmm_cli.training.learn import learn
from vmm_cli.training.metrics.segments import recall_at_false_alarms, recall_interval
from vmm_cli.training.predictions import Measured, predict, together
from vmm_cli.training.prepare import plan_for
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.recipe import Recipe

CPU = torch.device("cpu")
WORKER_MEMORY_BYTES = 700 * 2**20
PARTS = 5  # of videos left out at random
FALL = "falling"
ALLOWED_ALARMS = (0, 1)


@dataclass(frozen=True, eq=False)
class Fit:
    """One training: on `train`, judged on `test`, by a recipe."""

    data: DataSet
    recipe: Recipe
    seed: int


def main() -> None:
    parser = argparse.ArgumentParser(description="Print how well actions are found.")
    parser.add_argument("data", choices=("overhead", "falls"))
    parser.add_argument("--by", choices=("group", "video"), default="group")
    parser.add_argument("--recipes", nargs="+", default=["segments", "steps"])
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=default_workers(WORKER_MEMORY_BYTES))
    arguments = parser.parse_args()
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds overhead/ and falls/")
    data = read_segments(
        Path(os.environ["VMM_DATA"]) / arguments.data / "annotations.json", group=None, fold=None
    )
    if arguments.data == "falls":
        data = merged(data)
    print("| recipe | mAP@0.3 | mAP@0.5 | mean mAP | by label, AP@0.3 |\n" + "| --- " * 5 + "|")
    for name in arguments.recipes:
        recipe = load_recipe(name, arguments.set)
        by_seed = left_out(data, recipe, arguments)
        say_precision(recipe.name, by_seed)
        if arguments.data == "falls":
            for allowed in ALLOWED_ALARMS:
                say_recall(recipe.name, by_seed, allowed)


def left_out(data: DataSet, recipe: Recipe, arguments: argparse.Namespace) -> list[Measured]:
    """Return, for each seed, what is said of all videos, each by a network that did not see it."""
    means = Means(arguments.jobs)
    encoded = encode_samples(data.samples, plan_for(recipe), means, with_text=False)
    if failed := [
        s.name for s, e in zip(data.samples, encoded, strict=True) if not isinstance(e, Encoded)
    ]:
        sys.exit(f"cannot be read: {', '.join(failed)}")
    seeds = range(arguments.seeds)
    homes = {seed: parts_of(data, arguments.by, seed) for seed in seeds}
    fits = [
        Fit(split_at(data, homes[seed], part), recipe, seed)
        for seed in seeds
        for part in sorted(set(homes[seed].values()))
    ]
    with ProcessPoolExecutor(
        arguments.jobs,
        multiprocessing.get_context("spawn"),
        initializer=_hold,
        initargs=(encoded,),
    ) as pool:
        found = list(pool.map(_measured, fits))
    return [
        together([j for fit, j in zip(fits, found, strict=True) if fit.seed == seed], data)
        for seed in seeds
    ]


def parts_of(data: DataSet, by: str, seed: int) -> dict[str, str]:
    """Return by video which part it is left out with."""
    if by == "group":
        return {sample.name: group_of(sample) for sample in data.samples}
    order = np.random.default_rng(seed).permutation(len(data.samples))
    return {data.samples[i].name: str(place % PARTS) for place, i in enumerate(order)}


def split_at(data: DataSet, homes: Mapping[str, str], part: str) -> DataSet:
    """Return the data set with one part as `test` and the others as `train`."""
    samples = (replace(s, split="test" if homes[s.name] == part else "train") for s in data.samples)
    return with_samples(data, samples)


_encoded: Sequence[Encoded] = ()  # in a process of the pool


def _hold(encoded: Sequence[Encoded]) -> None:
    global _encoded
    torch.set_num_threads(1)
    _encoded = encoded


def _measured(fit: Fit) -> Measured:
    data = fit.data
    learnt = learn(data, _encoded, fit.recipe, seed=fit.seed, device=CPU)
    return predict(learnt, data, _encoded, "test", CPU)


def say_precision(name: str, by_seed: Sequence[Measured]) -> None:
    """Print a row of the table."""
    cells = [
        mean_and_spread([judged.metrics["mAP"][key] for judged in by_seed])
        for key in ("0.3", "0.5", "mean")
    ]
    labels = by_seed[0].metrics["per_class"]
    each = {
        label: statistics.fmean(j.metrics["per_class"][label]["ap"]["0.3"] for j in by_seed)
        for label, numbers in labels.items()
        if numbers["ap"]
    }
    listed = ", ".join(f"{label} {value:.2f}" for label, value in each.items())
    print(f"| {name} | {' | '.join(cells)} | {listed} |", flush=True)


def say_recall(name: str, by_seed: Sequence[Measured], allowed: int) -> None:
    """Print which share of the falls is found with so many false alarms over all clips."""
    recalls, intervals = [], []
    for judged in by_seed:
        samples, values = judged.predictions.samples, judged.predictions.values
        said = {s.name: found.detections for s, found in zip(samples, values, strict=True)}
        truth = {s.name: s.segments or () for s in samples}
        recalls.append(recall_at_false_alarms(said, truth, FALL, allowed))
        intervals.append(recall_interval(said, truth, FALL, allowed))
    spans = ", ".join(f"{i['low']:.2f} to {i['high']:.2f}" for i in intervals if i)
    print(
        f"{name}: recall of {FALL} at {allowed} false alarms over all clips: "
        f"{mean_and_spread(recalls)}; 95 % interval over clips, by seed: {spans}",
        flush=True,
    )


def mean_and_spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation over seeds as text."""
    if len(values) < 2:
        return f"{values[0]:.3f}"
    return f"{statistics.fmean(values):.3f} ± {statistics.stdev(values):.3f}"


if __name__ == "__main__":
    main()
