"""How accurate trained models are: the tables of docs/results.md.

    python -m benchmarks.accuracy fights       # nested: recipe and epochs chosen inside
    python -m benchmarks.accuracy random       # with unlisted.csv, random folds that leak scenes
    python -m benchmarks.accuracy ablation     # every temporal network and fusion; exploratory
    python -m benchmarks.accuracy metadata     # what size, rate and duration alone reach

The data are those of $VMM_DATA/fights: clips.csv has 220 clips in five folds of whole source
recordings. A fold is looked at once, with what the other four chose.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold

from vmm_cli.batch.capacity import default_workers
from vmm_cli.encoders.streams import Encoded, StreamPlan, encoder_spec
from vmm_cli.media.probe import probe
from vmm_cli.networks.fusion import FUSION
from vmm_cli.networks.temporal import TEMPORAL
from vmm_cli.training.dataset import read_dataset
from vmm_cli.training.encoding import encode_samples
from vmm_cli.training.learn import learn, probabilities, with_epochs
from vmm_cli.training.recipe import Recipe, StreamRecipe, load_recipe
from vmm_cli.training.samples import DataSet, Sample, Split, make_dataset, with_samples
from vmm_cli.training.splits import with_validation

CPU = torch.device("cpu")
WORKER_MEMORY_BYTES = 700 * 2**20
MAX_PIXELS = 8192 * 8192
# What the nested run chooses among: recipes, and for how many epochs.
RECIPES = ("default", "motion")
EPOCHS = (20, 40)
STREAM_SETS = {
    "image": ("image",),
    "image + motion": ("image", "motion"),
    "image + motion + audio": ("image", "motion", "audio"),
}


@dataclass(frozen=True, eq=False)
class Clips:
    """Samples with everything that any recipe here wants of them."""

    data: DataSet
    encoded: Sequence[Encoded]


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the accuracy tables of docs/results.md.")
    parser.add_argument("table", choices=sorted(TABLES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=default_workers(WORKER_MEMORY_BYTES))
    arguments = parser.parse_args()
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds fights/")
    torch.set_num_threads(1)
    TABLES[arguments.table](Path(os.environ["VMM_DATA"]) / "fights", arguments)


# --- data --------------------------------------------------------------------------------------


def clips(data: DataSet, jobs: int) -> Clips:
    """Encode all samples for the grid of the recipe `default`."""
    recipe = load_recipe("default")
    window_s = Fraction(str(recipe.window_s))
    names = {"image": "efficientnet-lite0", "motion": "motion-crop", "audio": "log-mel-statistics"}
    plan = StreamPlan(
        {stream: encoder_spec(stream, name, window_s) for stream, name in names.items()},
        Fraction(str(recipe.rate_hz)),
        window_s,
    )
    found = encode_samples(
        data.samples, plan, with_text=False, jobs=jobs, use_store=True, max_pixels=MAX_PIXELS
    )
    failed = [
        s.name for s, one in zip(data.samples, found, strict=True) if not isinstance(one, Encoded)
    ]
    if failed:
        sys.exit(f"cannot be read: {', '.join(failed)}")
    return Clips(data, [one for one in found if isinstance(one, Encoded)])


def held_out(clips: Clips, fold: str) -> DataSet:
    """Return the data set with one fold as `test` and no other splits."""
    samples = (replace(s, split="test" if s.fold == fold else None) for s in clips.data.samples)
    return with_samples(clips.data, samples)


# --- one training ------------------------------------------------------------------------------


def judged(clips: Clips, data: DataSet, recipe: Recipe, seed: int) -> np.ndarray:
    """Train on `train`, stop by `val` where there is one; tell which of `test` come out right.

    bool [N]. Samples without a split have no part in it.
    """
    learnt = learn(
        data.samples, clips.encoded, data.labels, recipe, multi_label=False, seed=seed, device=CPU
    )
    chosen = [i for i, sample in enumerate(data.samples) if sample.split == "test"]
    chances = probabilities(
        learnt, [clips.encoded[i] for i in chosen], multi_label=False, device=CPU
    )
    truth = [data.labels.index(data.samples[i].labels[0]) for i in chosen]
    right: np.ndarray = chances.argmax(axis=1) == np.array(truth)
    return right


def with_test(data: DataSet, test: str, unseen: str | None = None) -> DataSet:
    """Return the data set with one fold as `test`, one without a split, and the rest as `train`."""
    names: dict[str | None, Split | None] = {test: "test", unseen: None}
    samples = (replace(s, split=names.get(s.fold, "train")) for s in data.samples)
    return with_samples(data, samples)


# --- the tables --------------------------------------------------------------------------------


def fights(folder: Path, arguments: argparse.Namespace) -> None:
    """Nested cross-validation on the given folds."""
    found = clips(read_dataset(folder / "clips.csv"), arguments.jobs)
    folds = fold_names(found.data)
    right: list[list[np.ndarray]] = [[] for _ in range(arguments.seeds)]
    for fold in folds:
        inner, name, epochs = chosen_inside(found, folds, fold)
        recipe = with_epochs(load_recipe(name), epochs)
        data = with_test(found.data, fold)
        for seed in range(arguments.seeds):
            right[seed].append(judged(found, data, recipe, seed))
        accuracies = ", ".join(f"{runs[-1].mean():.3f}" for runs in right)
        print(f"fold {fold}: inside {inner:.3f}, chose {name}, {epochs} epochs: {accuracies}")
    report("fights, nested", right)


def chosen_inside(found: Clips, folds: Sequence[str], test: str) -> tuple[float, str, int]:
    """Return which recipe and number of epochs do best when each other fold is left out in turn.

    With the accuracy that they reach there. What is in `test` has no part in it.
    """
    results = []
    for name in RECIPES:
        for epochs in EPOCHS:
            recipe = with_epochs(load_recipe(name), epochs)
            right = [
                judged(found, with_test(found.data, inner, unseen=test), recipe, 0)
                for inner in folds
                if inner != test
            ]
            results.append((float(np.concatenate(right).mean()), name, epochs))
    return max(results, key=lambda result: result[0])


def random(folder: Path, arguments: argparse.Namespace) -> None:
    """Random stratified folds over all 250 clips: scenes leak between them."""
    first, more = (read_dataset(folder / name) for name in ("clips.csv", "unlisted.csv"))
    samples = (*first.samples, *more.samples)
    data = make_dataset(first.source, samples, multi_label=False, problems=())
    found = clips(data, arguments.jobs)
    truth = [sample.labels[0] for sample in data.samples]
    right: list[list[np.ndarray]] = [[] for _ in range(arguments.seeds)]
    for seed in range(arguments.seeds):
        parts = StratifiedKFold(5, shuffle=True, random_state=seed)
        for _, test in parts.split(truth, truth):
            split = ("test" if i in set(test) else None for i in range(len(truth)))
            marked = (
                replace(s, split=name, group=None, fold=None)
                for s, name in zip(data.samples, split, strict=True)
            )
            divided = with_validation(with_samples(data, marked), seed=seed)
            right[seed].append(judged(found, divided, load_recipe("default"), seed))
    report("fights with unlisted.csv, random stratified 5-fold (scenes leak)", right)


def ablation(folder: Path, arguments: argparse.Namespace) -> None:
    """Every temporal network with every set of streams, then every fusion. Exploratory."""
    found = clips(read_dataset(folder / "clips.csv"), arguments.jobs)
    print("| streams | temporal | fusion | accuracy, mean of seeds | spread | each |")
    print("| --- | --- | --- | --- | --- | --- |")
    best = (0.0, "mean")
    for streams in STREAM_SETS:
        for temporal in TEMPORAL:
            mean = ablation_row(found, streams, temporal, "concat", arguments.seeds)
            if len(STREAM_SETS[streams]) == 2:
                best = max(best, (mean, temporal))
    for fusion in FUSION:
        if fusion != "concat":
            ablation_row(found, "image + motion", best[1], fusion, arguments.seeds)


def ablation_row(found: Clips, streams: str, temporal: str, fusion: str, seeds: int) -> float:
    """Print one row: five grouped folds, each left out once for each seed."""
    recipe = load_recipe("default", (f"temporal={temporal}", f"fusion={fusion}"))
    known = {**recipe.streams, "audio": StreamRecipe("log-mel-statistics", "identity")}
    recipe = replace(recipe, streams={name: known[name] for name in STREAM_SETS[streams]})
    accuracies = []
    for seed in range(seeds):
        right = []
        for fold in fold_names(found.data):
            data = with_validation(held_out(found, fold), seed=seed)
            right.append(judged(found, data, recipe, seed))
        accuracies.append(float(np.concatenate(right).mean()))
    mean, spread = statistics.fmean(accuracies), statistics.stdev(accuracies)
    each = ", ".join(f"{accuracy:.3f}" for accuracy in accuracies)
    print(f"| {streams} | {temporal} | {fusion} | {mean:.3f} | {spread:.3f} | {each} |", flush=True)
    return mean


def metadata(folder: Path, arguments: argparse.Namespace) -> None:
    """What size, frame rate, duration, bit rate and the presence of sound alone tell."""
    given = list(read_dataset(folder / "clips.csv").samples)
    more = list(read_dataset(folder / "unlisted.csv").samples)
    print_metadata("clips.csv, the given folds", given, [sample.fold for sample in given])
    rows = [*given, *more]
    labels = [sample.labels[0] for sample in rows]
    parts = StratifiedKFold(5, shuffle=True, random_state=0).split(labels, labels)
    folds = np.zeros(len(rows), int)
    for number, (_, left_out) in enumerate(parts):
        folds[left_out] = number
    print_metadata("with unlisted.csv, random folds", rows, folds)


def print_metadata(title: str, samples: Sequence[Sample], folds: Sequence[object]) -> None:
    table = np.array([list(numbers(sample.path)) for sample in samples])
    truth = np.array([sample.labels[0] for sample in samples])
    right = []
    for fold in sorted(set(folds), key=str):
        left_out = np.array([other == fold for other in folds])
        model = RandomForestClassifier(500, random_state=0)
        model.fit(table[~left_out], truth[~left_out])
        right.append(model.predict(table[left_out]) == truth[left_out])
    majority = max(float(np.mean(truth == label)) for label in set(truth))
    accuracy = float(np.concatenate(right).mean())
    print(f"metadata alone, {title}: {accuracy:.3f} (majority {majority:.3f})")


def numbers(path: Path) -> Iterator[float]:
    """Yield what a file's header says, without a look at its pictures."""
    info = probe(path)
    video = info.video[0]
    yield from (video.width, video.height, video.frame_rate or 0.0)
    yield from (info.duration_s or 0.0, path.stat().st_size / max(info.duration_s or 0.0, 0.1))
    yield float(bool(info.audio))


def fold_names(data: DataSet) -> list[str]:
    return sorted({sample.fold or "" for sample in data.samples})


def report(title: str, right: Sequence[Sequence[np.ndarray]]) -> None:
    """Print the mean over seeds of the accuracy over all folds, and its spread."""
    accuracies = [float(np.concatenate(runs).mean()) for runs in right]
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    each = ", ".join(f"{accuracy:.3f}" for accuracy in accuracies)
    print(
        f"{title}: accuracy {statistics.fmean(accuracies):.3f} ± {spread:.3f} over seeds ({each})"
    )


TABLES = {"fights": fights, "random": random, "ablation": ablation, "metadata": metadata}

if __name__ == "__main__":
    main()
