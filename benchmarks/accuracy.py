"""How accurate trained models are: the tables of docs/results.md.

    python -m benchmarks.accuracy fights       # nested: recipe and epochs chosen inside
    python -m benchmarks.accuracy random       # with unlisted.csv, random folds that leak scenes
    python -m benchmarks.accuracy ablation     # every temporal network and fusion; exploratory
    python -m benchmarks.accuracy people       # streams of objects and people; exploratory
    python -m benchmarks.accuracy metadata     # what size, rate and duration alone reach
    python -m benchmarks.accuracy few          # 5 to 40 clips a class, drawn by recording

The data are those of $VMM_DATA/fights: clips.csv has 220 clips in five folds of whole source
recordings. A fold is looked at once, with what the other four chose.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import combinations
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold

from vmm_cli.batch.capacity import default_workers
from vmm_cli.features.catalogue import entry
from vmm_cli.features.plan import StreamPlan, encoder_spec
from vmm_cli.features.windows import Encoded
from vmm_cli.media.probe import probe
from vmm_cli.networks.fusion import FUSION
from vmm_cli.networks.temporal import TEMPORAL
from vmm_cli.training.data.read_classes import read_classes
from vmm_cli.training.data.samples import (
    DataSet,
    Sample,
    Split,
    group_of,
    make_dataset,
    with_samples,
)
from vmm_cli.training.data.splits import with_validation
from vmm_cli.training.encoding import Means, encode_samples
from vmm_cli.training.learn import learn
from vmm_cli.training.metrics.classes import interval
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.recipe import Recipe, StreamRecipe
from vmm_cli.training.tasks.classes import judged

CPU = torch.device("cpu")
WORKER_MEMORY_BYTES = 700 * 2**20
MAX_PIXELS = 8192 * 8192
# What the nested run chooses among: recipes, and for how many epochs.
RECIPES = ("default", "motion", "people")
EPOCHS = (20, 40)
BOOTSTRAP = 10_000
FEW_RECIPES = ("few", "default", "motion")
FEW_SIZES = (5, 10, 20, 40)
# Draws 0 to 19 were looked at while the recipe `few` was made, from the folds 0, 1 and 2.
FIRST_DRAW, FEW_DRAWS = 100, 20
NEW_FOLDS = ("3", "4")
OVER_TIME = [name for name in TEMPORAL if name != "none"]  # which classes pool to the mean as well
# Changes to the recipe `default`, one by one.
OVERRIDES = (
    "streams.image.front_end=change",  # the recipe `motion`
    "optimisation.mixup=0.3",
    "optimisation.ema=0.98",
    "optimisation.label_smoothing=0.1",
)
ENCODERS = {
    "image": "efficientnet-lite0",
    "motion": "motion-crop",
    "audio": "log-mel-statistics",
    "pose": "people-statistics",
    "objects": "object-statistics",
}
STREAM_SETS = {
    "image": ("image",),
    "image + motion": ("image", "motion"),
    "image + motion + audio": ("image", "motion", "audio"),
}
OF_PEOPLE: dict[str, tuple[str, ...]] = {
    "pose": ("pose",),
    "objects": ("objects",),
    "image + motion + objects": ("image", "motion", "objects"),
    "image + motion + pose": ("image", "motion", "pose"),
    "image + motion + pose + objects": ("image", "motion", "pose", "objects"),
}
# Sets of streams with other encoders: what they are called, the streams, the encoders.
WITH_OTHERS = (
    ("image + motion", {"motion": "people-crop"}),
    ("image + motion + pose", {"motion": "people-crop"}),
    ("pose", {"pose": "skeletons"}),
    ("image + motion + pose", {"pose": "skeletons"}),
    ("image + motion", {"audio": "sounds"}),
    ("image + motion + audio", {"audio": "sounds"}),
)


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
    TABLES[arguments.table](Path(os.environ["VMM_DATA"]) / "fights", arguments)


# --- data --------------------------------------------------------------------------------------


def clips(data: DataSet, jobs: int, **others: str) -> Clips:
    """Encode all samples for the grid of the recipe `default`; `others`: encoders by stream."""
    recipe = load_recipe("default")
    window_s = Fraction(str(recipe.window_s))
    names = ENCODERS | others
    plan = StreamPlan(
        {stream: encoder_spec(stream, name, window_s) for stream, name in names.items()},
        Fraction(str(recipe.rate_hz)),
        window_s,
    )
    means = Means(jobs, max_pixels=MAX_PIXELS, keep_features=True)
    found = encode_samples(data.samples, plan, means, with_text=False)
    failed = [
        s.name for s, one in zip(data.samples, found, strict=True) if not isinstance(one, Encoded)
    ]
    if failed:
        sys.exit(f"cannot be read: {', '.join(failed)}")
    return Clips(data, [one for one in found if isinstance(one, Encoded)])


# --- trainings ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Fit:
    """One training: on `train`, stopped by `val` where there is one, judged on `test`.

    Samples without a split have no part in it.
    """

    data: DataSet
    recipe: Recipe
    seed: int


@dataclass(frozen=True, eq=False)
class Result:
    """What a network says of the samples of `test`, in order.

    right: bool [N]; fold: by sample, the one it belongs to; group: its recording; truth: its label.
    """

    right: np.ndarray
    fold: np.ndarray
    group: np.ndarray
    truth: np.ndarray


class Trainer:
    """Processes of one thread each, that hold the clips and train side by side."""

    def __init__(self, clips: Clips, jobs: int) -> None:
        self._pool = ProcessPoolExecutor(
            jobs, multiprocessing.get_context("spawn"), initializer=_hold, initargs=(clips,)
        )

    def results(self, fits: Sequence[Fit]) -> list[Result]:
        """Return what each training gives, in order."""
        return list(self._pool.map(_judged, fits))


_clips: Clips | None = None  # in a process of a `Trainer`


def _hold(clips: Clips) -> None:
    global _clips
    torch.set_num_threads(1)
    _clips = clips


def _judged(fit: Fit) -> Result:
    assert _clips is not None
    data, encoded = fit.data, _clips.encoded
    learnt = learn(data, encoded, fit.recipe, seed=fit.seed, device=CPU)
    chosen = [i for i, sample in enumerate(data.samples) if sample.split == "test"]
    found = judged(learnt, [encoded[i] for i in chosen], CPU)
    chances = np.stack([one.probabilities for one in found])
    truth = [data.labels.index(data.samples[i].labels[0]) for i in chosen]
    return Result(
        chances.argmax(axis=1) == np.array(truth),
        np.array([data.samples[i].fold for i in chosen]),
        np.array([group_of(data.samples[i]) for i in chosen]),
        np.array(truth),
    )


def without(data: DataSet, folds: Sequence[str]) -> DataSet:
    """Return the data set with these folds as `test` and the rest as `train`."""
    samples = (replace(s, split="test" if s.fold in folds else "train") for s in data.samples)
    return with_samples(data, samples)


def with_inner_validation(data: DataSet, fold: str, seed: int) -> DataSet:
    """Return the data set with one fold as `test`, and a part of the others as `val`."""
    samples = (replace(s, split="test" if s.fold == fold else None) for s in data.samples)
    return with_validation(with_samples(data, samples), seed=seed)


# --- the tables --------------------------------------------------------------------------------


def fights(folder: Path, arguments: argparse.Namespace) -> None:
    """Nested cross-validation on the given folds.

    What is chosen for a fold is what does best when each other fold is left out in turn: the mean
    accuracy over those four and all seeds. The fold itself has no part in it.
    """
    found = clips(read_classes(folder / "clips.csv"), arguments.jobs)
    trainer = Trainer(found, arguments.jobs)
    folds, seeds = fold_names(found.data), range(arguments.seeds)
    recipes = [
        (f"{name}, {epochs} epochs", load_recipe(name, (f"optimisation.epochs={epochs}",)))
        for name in RECIPES
        for epochs in EPOCHS
    ]
    # A training without two folds serves both: each is judged where the other one is the test.
    inner = [
        (name, pair, Fit(without(found.data, pair), recipe, seed))
        for name, recipe in recipes
        for pair in combinations(folds, 2)
        for seed in seeds
    ]
    reached: defaultdict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    results = trainer.results([fit for _, _, fit in inner])
    for (name, pair, _), result in zip(inner, results, strict=True):
        for test, other in (pair, pair[::-1]):
            reached[test, name].append(result.right[result.fold == other])
    by_seed: list[list[Result]] = [[] for _ in seeds]
    for fold in folds:
        inside = {name: float(np.concatenate(reached[fold, name]).mean()) for name, _ in recipes}
        chosen = max(inside, key=lambda name: inside[name])
        data, recipe = without(found.data, [fold]), dict(recipes)[chosen]
        outer = trainer.results([Fit(data, recipe, seed) for seed in seeds])
        for seed in seeds:
            by_seed[seed].append(outer[seed])
        listed = "; ".join(f"{name} {value:.3f}" for name, value in inside.items())
        each = ", ".join(f"{accuracy([result]):.3f}" for result in outer)
        print(f"fold {fold}: inside {listed}: chose {chosen}: {each}", flush=True)
    report("fights, nested", by_seed)


def random(folder: Path, arguments: argparse.Namespace) -> None:
    """Random stratified folds over all 250 clips: scenes leak between them.

    The recipe is chosen for each fold by leaving out quarters of the others, at random as well.
    """
    first, more = (read_classes(folder / name) for name in ("clips.csv", "unlisted.csv"))
    samples = (*first.samples, *more.samples)
    data = make_dataset(first.source, samples, kind=first.kind, multi_label=False, problems=())
    trainer = Trainer(clips(data, arguments.jobs), arguments.jobs)
    everything = range(len(data.samples))
    by_seed = []
    for seed in range(arguments.seeds):
        results = []
        for train, test in random_parts(data, everything, 5, seed):
            inner = random_parts(data, train, 4, seed)
            inside = {}
            for name in RECIPES:
                fits = [Fit(split_at(data, *part), load_recipe(name), seed) for part in inner]
                inside[name] = accuracy(trainer.results(fits))
            chosen = max(inside, key=lambda name: inside[name])
            outer = Fit(split_at(data, train, test), load_recipe(chosen), seed)
            results += trainer.results([outer])
            listed = "; ".join(f"{name} {value:.3f}" for name, value in inside.items())
            print(f"seed {seed}: inside {listed}: {accuracy(results[-1:]):.3f}", flush=True)
        by_seed.append(results)
    report("fights with unlisted.csv, random stratified 5-fold (scenes leak)", by_seed)


def random_parts(
    data: DataSet, chosen: Sequence[int], parts: int, seed: int
) -> list[tuple[list[int], list[int]]]:
    """Divide some samples at random: for each part, the samples outside of it and those in it."""
    labels = [data.samples[i].labels[0] for i in chosen]
    divided = StratifiedKFold(parts, shuffle=True, random_state=seed).split(labels, labels)
    return [([chosen[i] for i in rest], [chosen[i] for i in part]) for rest, part in divided]


def split_at(data: DataSet, train: Sequence[int], test: Sequence[int]) -> DataSet:
    """Return the data set with these samples as `train` and `test`; the others have no split."""
    splits: dict[int, Split] = {}
    for i in train:
        splits[i] = "train"
    for i in test:
        splits[i] = "test"
    samples = (replace(s, split=splits.get(i)) for i, s in enumerate(data.samples))
    return with_samples(data, samples)


def ablation(folder: Path, arguments: argparse.Namespace) -> None:
    """Every temporal network with every set of streams, every fusion, and more. Exploratory."""
    data, jobs = read_classes(folder / "clips.csv"), arguments.jobs
    row = partial(ablation_row, Trainer(clips(data, jobs), jobs), data, arguments.seeds)
    print("| streams | temporal | fusion | besides | accuracy, mean of seeds | spread | each |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    best = (0.0, "mean")
    for streams in STREAM_SETS:
        for temporal in OVER_TIME:
            mean = row(streams, temporal, "concat")
            if len(STREAM_SETS[streams]) == 2:
                best = max(best, (mean, temporal))
    chosen = load_recipe("default")
    for fusion in FUSION:
        if fusion != "concat":
            row("image + motion", best[1], fusion)
    for temporal in OVER_TIME:
        if temporal != best[1]:  # that one is above
            row("image + motion", temporal, chosen.fusion)
    for override in OVERRIDES:
        row("image + motion", chosen.temporal, chosen.fusion, override)
    others = {"motion": "motion-crops"}
    crops = Trainer(clips(data, jobs, **others), jobs)
    streams, temporal, fusion = "image + motion", chosen.temporal, chosen.fusion
    ablation_row(crops, data, arguments.seeds, streams, temporal, fusion, others=others)


def ablation_row(
    trainer: Trainer,
    data: DataSet,
    seeds: int,
    streams: str,
    temporal: str,
    fusion: str,
    override: str = "",
    others: Mapping[str, str] = MappingProxyType({}),
) -> float:
    """Print one row: five grouped folds, each left out once for each seed.

    others: encoders by stream, besides `ENCODERS`, with their own front ends.
    """
    changes = (f"temporal={temporal}", f"fusion={fusion}", *([override] if override else []))
    recipe = load_recipe("default", changes)
    known = {
        **{name: StreamRecipe(encoder, "identity") for name, encoder in ENCODERS.items()},
        **recipe.streams,
        **{n: StreamRecipe(one, entry(one).front_ends[0]) for n, one in others.items()},
    }
    recipe = replace(
        recipe, streams={name: known[name] for name in (STREAM_SETS | OF_PEOPLE)[streams]}
    )
    folds = fold_names(data)
    fits = [
        Fit(with_inner_validation(data, fold, seed), recipe, seed)
        for seed in range(seeds)
        for fold in folds
    ]
    results = trainer.results(fits)
    by_seed = [results[i : i + len(folds)] for i in range(0, len(results), len(folds))]
    mean, spread, each = accuracies(by_seed)
    besides = [override.partition(".")[2], *(f"{n}.encoder={one}" for n, one in others.items())]
    cells = (streams, temporal, fusion, ", ".join(part for part in besides if part))
    print(f"| {' | '.join(cells)} | {mean:.3f} | {spread:.3f} | {each} |", flush=True)
    return mean


def people(folder: Path, arguments: argparse.Namespace) -> None:
    """Streams of objects and people, alone and beside others. Exploratory."""
    data, jobs, seeds = read_classes(folder / "clips.csv"), arguments.jobs, arguments.seeds
    print("| streams | temporal | fusion | besides | accuracy, mean of seeds | spread | each |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    chosen = load_recipe("motion")
    changed = "streams.image.front_end=change"
    plain = Trainer(clips(data, jobs), jobs)
    for streams in ("image + motion", *OF_PEOPLE):
        ablation_row(plain, data, seeds, streams, chosen.temporal, chosen.fusion, changed)
    for streams, encoders in WITH_OTHERS:
        trainer = Trainer(clips(data, jobs, **encoders), jobs)
        ablation_row(
            trainer, data, seeds, streams, chosen.temporal, chosen.fusion, changed, encoders
        )


def metadata(folder: Path, arguments: argparse.Namespace) -> None:
    """What size, frame rate, duration, bit rate and the presence of sound alone tell."""
    given = list(read_classes(folder / "clips.csv").samples)
    more = list(read_classes(folder / "unlisted.csv").samples)
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
    reached = float(np.concatenate(right).mean())
    print(f"metadata alone, {title}: {reached:.3f} (majority {majority:.3f})")


def numbers(path: Path) -> Iterator[float]:
    """Yield what a file's header says, without a look at its pictures."""
    info = probe(path)
    video = info.video[0]
    yield from (video.width, video.height, video.frame_rate or 0.0)
    yield from (info.duration_s or 0.0, path.stat().st_size / max(info.duration_s or 0.0, 0.1))
    yield float(bool(info.audio))


def few(folder: Path, arguments: argparse.Namespace) -> None:
    """Train on 5 to 40 clips a class, drawn by recording; judge all clips of the other recordings.

    The recipe `few` was designed on other draws from the folds 0, 1 and 2, so that those of the
    clips judged which are in the folds 3 and 4 are new to it.
    """
    found = clips(read_classes(folder / "clips.csv"), arguments.jobs)
    trainer = Trainer(found, arguments.jobs)
    print("| recipe | clips a class | balanced accuracy | spread | accuracy | new folds alone |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in FEW_RECIPES:
        recipe = load_recipe(name)
        for size in FEW_SIZES:
            fits = [
                Fit(drawn(found.data, size, seed, recipe.optimisation.patience > 0), recipe, seed)
                for seed in range(FIRST_DRAW, FIRST_DRAW + FEW_DRAWS)
            ]
            results = trainer.results(fits)
            reached = [balanced(one, np.full(len(one.right), True)) for one in results]
            new = [balanced(one, np.isin(one.fold, NEW_FOLDS)) for one in results]
            numbers = statistics.fmean(reached), statistics.stdev(reached), accuracy(results)
            shown = " | ".join(f"{number:.3f}" for number in (*numbers, float(np.nanmean(new))))
            print(f"| {name} | {size} | {shown} |", flush=True)


def drawn(data: DataSet, size: int, seed: int, validated: bool) -> DataSet:
    """Return the data set with so many clips of each class as `train`, whole recordings first.

    validated: a part of them is `val` instead. The clips of recordings that none was taken of are
    `test`; what else there is of the others has no part.
    """
    draw = np.random.default_rng(seed)
    order = draw.permutation(sorted({group_of(sample) for sample in data.samples})).tolist()
    place = {group: number for number, group in enumerate(order)}
    have = dict.fromkeys(data.labels, 0)
    taken: list[int] = []
    for i in sorted(range(len(data.samples)), key=lambda i: place[group_of(data.samples[i])]):
        label = data.samples[i].labels[0]
        if have[label] < size:
            have[label] += 1
            taken.append(i)
    mine = with_samples(data, (replace(data.samples[i], split=None) for i in taken))
    if validated:
        mine = with_validation(mine, seed=seed)
    splits = {i: one.split or "train" for i, one in zip(taken, mine.samples, strict=True)}
    used = {group_of(sample) for sample in mine.samples}
    rest: dict[int, Split] = {
        i: "test" for i, sample in enumerate(data.samples) if group_of(sample) not in used
    }
    splits |= rest
    samples = (replace(s, split=splits.get(i)) for i, s in enumerate(data.samples))
    return with_samples(data, samples)


def balanced(result: Result, chosen: np.ndarray) -> float:
    """Return the mean over classes of the share of clips that are right; NaN without a class."""
    shares = [result.right[chosen & (result.truth == k)] for k in np.unique(result.truth)]
    return float(np.mean([share.mean() if len(share) else np.nan for share in shares]))


def fold_names(data: DataSet) -> list[str]:
    return sorted({sample.fold or "" for sample in data.samples})


def accuracy(results: Sequence[Result]) -> float:
    """Return the accuracy over all that some trainings were judged on."""
    return float(np.concatenate([result.right for result in results]).mean())


def accuracies(by_seed: Sequence[Sequence[Result]]) -> tuple[float, float, str]:
    """Return the mean over seeds of the accuracy over all folds, its spread, and each seed's."""
    found = [accuracy(results) for results in by_seed]
    spread = statistics.stdev(found) if len(found) > 1 else 0.0
    return statistics.fmean(found), spread, ", ".join(f"{value:.3f}" for value in found)


def report(title: str, by_seed: Sequence[Sequence[Result]]) -> None:
    """Print the accuracy, and where it would lie with other recordings of the kind."""
    mean, spread, each = accuracies(by_seed)
    every = [result for results in by_seed for result in results]
    groups = [str(group) for result in every for group in result.group]
    drawn = interval(groups, np.concatenate([result.right for result in every]), 0, BOOTSTRAP)
    assert drawn is not None  # there are tens of recordings
    print(
        f"{title}: accuracy {mean:.3f} ± {spread:.3f} over seeds ({each}); "
        f"95 % interval over recordings {drawn['low']:.3f} to {drawn['high']:.3f}"
    )


TABLES = {
    "fights": fights,
    "random": random,
    "ablation": ablation,
    "people": people,
    "metadata": metadata,
    "few": few,
}

if __name__ == "__main__":
    main()
