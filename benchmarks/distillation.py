"""Whether distillation and pruning pay for small models: the tables of docs/results.md.

    python -m benchmarks.distillation DATA                    # all tables
    python -m benchmarks.distillation DATA --only costs       # one of them

DATA holds fights/: clips.csv has 220 clips in five folds of whole source recordings, unlisted.csv
thirty more. The teacher of a fold is the recipe `motion`, learnt on that fold's training clips
alone. How much the teacher counts, its temperature and how much is pruned were fixed beforehand.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # networks run in one thread, so that CPU seconds compare

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.accuracy import MAX_PIXELS, fold_names, with_inner_validation
from vmm_cli.features.windows import Encoded
from vmm_cli.inference.examples import examples
from vmm_cli.inference.in_torch import CPU, batch_of, network_from
from vmm_cli.networks.model import FusionNetwork
from vmm_cli.training.augment import drop_streams
from vmm_cli.training.data.read_classes import read_classes
from vmm_cli.training.data.samples import DataSet, Sample
from vmm_cli.training.encoding import Means, encode_sample
from vmm_cli.training.learn import learn
from vmm_cli.training.learnt import Learnt
from vmm_cli.training.loop import Objective, begin, fit
from vmm_cli.training.objectives.classes import classes_objective, outputs_of, targets_of
from vmm_cli.training.prepare import plan_for
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.tasks.classes import judged

SHARE, TEMPERATURE = 0.5, 2.0  # of the teacher in the loss; Hinton, Vinyals, Dean 2015
TUNING_EPOCHS = 10  # after pruning
TIMED_CLIPS = 12
TEACHER = "the recipe `motion`"
NARROW = "width 32"
FULL_RATE, HALF_RATE = 4.0, 2.0


@dataclass(frozen=True, eq=False)
class Clips:
    """The labelled clips, then those without labels; encoded by steps a second."""

    data: DataSet
    encoded: Mapping[float, Sequence[Encoded]]
    without: Mapping[float, Sequence[Encoded]]


def students() -> dict[str, Recipe]:
    """Return the recipes that are cheaper than the teacher's, and the teacher's own."""
    motion = load_recipe("motion")

    def of(stream: str) -> Recipe:
        return replace(motion, streams={stream: motion.streams[stream]})

    return {
        TEACHER: motion,
        "the crop alone": of("motion"),
        "the whole picture alone": of("image"),
        "two steps a second": replace(motion, rate_hz=HALF_RATE),
        NARROW: replace(motion, width=32),
    }


# --- distillation -------------------------------------------------------------------------------


def softened(chances: np.ndarray) -> Tensor:
    """Return a teacher's probabilities [N, C] at the temperature; its clips have one window."""
    logits = torch.from_numpy(chances).clamp(min=1e-7).log() / TEMPERATURE
    return logits.softmax(dim=1).float()


def distilled(
    clips: Clips,
    data: DataSet,
    recipe: Recipe,
    seed: int,
    plain: Learnt,
    teacher: Learnt,
    more: bool,
) -> Learnt:
    """Train the student `plain` from its beginning again, with the teacher beside the labels.

    more: with the clips that have no labels, too; of them the teacher alone says what is right.
    """
    encoded = clips.encoded[recipe.rate_hz]
    train, val = (
        [i for i, sample in enumerate(data.samples) if sample.split == split]
        for split in ("train", "val")
    )
    count, streams = len(data.samples), list(recipe.streams)
    shown = examples([encoded[i] for i in train], train, streams)
    seen = [*clips.encoded[FULL_RATE], *clips.without[FULL_RATE]]
    if more:
        both = [encoded[i] for i in train] + list(clips.without[recipe.rate_hz])
        shown = examples(both, [*train, *range(count, len(seen))], streams)
    watched = examples([encoded[i] for i in val], val, streams)
    targets = targets_of(data.samples, data.labels, False, train)
    soft = softened(np.stack([one.probabilities for one in judged(teacher, seen, CPU)]))  # [S, C]
    truth = torch.cat([targets.truth, torch.full((len(seen) - count,), -1)])  # [S]
    options = recipe.optimisation

    def loss(
        network: nn.Module, rows: np.ndarray, draw: np.random.Generator, device: torch.device
    ) -> tuple[Tensor, float]:
        values, masks, grid = batch_of(shown, rows, device)
        drop_streams(masks, options.stream_dropout, draw)
        logits = outputs_of(network, slice(None), values, masks, grid)
        numbers = shown.sample[rows]
        hard = functional.cross_entropy(
            logits, truth[numbers], targets.class_weight, ignore_index=-1, reduction="none"
        )
        likely = (logits / TEMPERATURE).log_softmax(dim=1)
        from_teacher = functional.kl_div(likely, soft[numbers], reduction="none").sum(dim=1)
        losses = (1 - SHARE) * hard + SHARE * TEMPERATURE**2 * from_teacher
        return losses.mean(), float(len(rows))

    torch.manual_seed(seed)
    network = network_from(plain.about)
    network.load_state_dict(dict(plain.fusion.named_buffers()), strict=False)  # the statistics
    held_out = classes_objective(shown, watched, targets, options).held_out
    return fitted(network, Objective(len(shown), loss, held_out), recipe, seed, plain)


def fitted(
    network: FusionNetwork, objective: Objective, recipe: Recipe, seed: int, plain: Learnt
) -> Learnt:
    """Return what the training of a network gives; `plain`: what is made of the same streams."""
    progress = begin(network, recipe.optimisation)
    fit(progress, objective, recipe.optimisation, seed=seed, device=CPU)
    network.load_state_dict(progress.best)
    network.eval()
    return replace(plain, network=network, history=progress.history, best_epoch=progress.best_epoch)


def right(learnt: Learnt, data: DataSet, encoded: Sequence[Encoded]) -> np.ndarray:
    """Tell which clips of the fold that was left out are judged rightly."""
    chosen = [i for i, sample in enumerate(data.samples) if sample.split == "test"]
    chances = np.stack(
        [one.probabilities for one in judged(learnt, [encoded[i] for i in chosen], CPU)]
    )
    truth = [data.labels.index(data.samples[i].labels[0]) for i in chosen]
    return np.asarray(chances.argmax(axis=1) == np.array(truth))


class Table:
    """Which clips each way to train judged rightly, by seed over all folds."""

    def __init__(self) -> None:
        self._right: dict[str, dict[int, list[np.ndarray]]] = {}

    def add(self, way: str, seed: int, found: np.ndarray) -> None:
        """Add what one fold and seed gave."""
        self._right.setdefault(way, {}).setdefault(seed, []).append(found)

    def has(self, way: str) -> bool:
        """Tell whether there is anything of it."""
        return way in self._right

    def latest(self) -> str:
        """Return how accurate each way was on the fold that was judged last."""
        last = {way: list(seeds.values())[-1][-1] for way, seeds in self._right.items()}
        return ", ".join(f"{way} {found.mean():.3f}" for way, found in last.items())

    def cell(self, way: str) -> str:
        """Return the mean and the standard deviation over seeds."""
        each = [float(np.concatenate(found).mean()) for found in self._right[way].values()]
        return f"{statistics.fmean(each):.3f} ± {statistics.stdev(each):.3f}"


def trained(clips: Clips, seeds: int) -> None:
    """Print how accurate each student is, by labels alone and with the teacher; and if pruned."""
    recipes, table = students(), Table()
    pruned = ""
    for data, seed in folds(clips.data, seeds):
        teacher = learn(data, clips.encoded[FULL_RATE], recipes[TEACHER], seed=seed, device=CPU)
        table.add(TEACHER, seed, right(teacher, data, clips.encoded[FULL_RATE]))
        for name, recipe in recipes.items():
            if name == TEACHER:
                continue
            encoded = clips.encoded[recipe.rate_hz]
            plain = learn(data, encoded, recipe, seed=seed, device=CPU)
            table.add(name, seed, right(plain, data, encoded))
            # A narrower network saves next to nothing: it is not worth a third training.
            for more in (False,) if name == NARROW else (False, True):
                student = distilled(clips, data, recipe, seed, plain, teacher, more)
                table.add(f"{name} {more}", seed, right(student, data, encoded))
            if name == NARROW:
                pruned = add_pruned(table, clips, data, seed, teacher, recipe.width)
        print(f"seed {seed}, fold {fold_of(data)}: {table.latest()}", file=sys.stderr)
    print("| student | labels alone | with the teacher | and with 30 clips without labels |")
    print("| --- | --- | --- | --- |")
    print(f"| {TEACHER} | {table.cell(TEACHER)} | | |")
    for name in recipes:
        if name != TEACHER:
            ways = (name, f"{name} False", f"{name} True")
            cells = (table.cell(way) if table.has(way) else "" for way in ways)
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"\npruned to {NARROW}: {table.cell('cut')}; then tuned: {table.cell('tuned')}")
    print(f"the network alone: {pruned}", flush=True)


def fold_of(data: DataSet) -> str | None:
    """Return the fold that is left out."""
    return next(sample.fold for sample in data.samples if sample.split == "test")


def folds(data: DataSet, seeds: int) -> list[tuple[DataSet, int]]:
    """Return each fold left out in turn, with each seed; a part of the others is `val`."""
    return [
        (with_inner_validation(data, fold, seed), seed)
        for seed in range(seeds)
        for fold in fold_names(data)
    ]


# --- a narrower network -------------------------------------------------------------------------


def narrowed(full: FusionNetwork, about: Mapping[str, Any], width: int) -> FusionNetwork:
    """Return the network `motion` with the channels of the largest magnitudes alone.

    What a channel counts for is the norm of what makes it times the norm of what reads it. Li et
    al. 2017, "Pruning filters for efficient ConvNets".
    """
    state = full.state_dict()
    numbers = range(len(full.shapes))
    looks = [state[f"fusion.look.{i}.weight"] for i in numbers]
    reads = [state[f"fusion.read.{i}.weight"] for i in numbers]
    seen = {}
    for i, shape in zip(numbers, full.shapes, strict=True):
        made = state[f"front_ends.{shape.name}.linear.weight"].norm(dim=1)
        seen[i] = largest(made * torch.cat([looks[i], reads[i]]).norm(dim=0), width)
    look = largest(
        torch.cat(looks, dim=1).norm(dim=1) * state["fusion.score.weight"][0].abs(), width
    )
    read = largest(
        torch.cat(reads, dim=1).norm(dim=1) * state["head.linear.weight"].norm(dim=0), width
    )
    for i, shape in zip(numbers, full.shapes, strict=True):
        for part in ("weight", "bias"):
            name = f"front_ends.{shape.name}.linear.{part}"
            state[name] = state[name][seen[i]]
            for layer, rows in (("look", look), ("read", read)):
                name = f"fusion.{layer}.{i}.{part}"
                state[name] = state[name][rows]
                if part == "weight":
                    state[name] = state[name][:, seen[i]]
    state["fusion.score.weight"] = state["fusion.score.weight"][:, look]
    state["head.linear.weight"] = state["head.linear.weight"][:, read]
    network = network_from({**about, "width": width})
    network.load_state_dict(state)
    return network


def largest(magnitudes: Tensor, count: int) -> Tensor:
    """Return the places of so many of the largest, in order."""
    return magnitudes.topk(count).indices.sort().values


def tuned(narrow: FusionNetwork, clips: Clips, data: DataSet, seed: int, full: Learnt) -> Learnt:
    """Train a pruned network a little further on what the whole one learnt from."""
    recipe, encoded = load_recipe("motion"), clips.encoded[FULL_RATE]
    train, val = (
        [i for i, sample in enumerate(data.samples) if sample.split == split]
        for split in ("train", "val")
    )
    streams = list(recipe.streams)
    targets = targets_of(data.samples, data.labels, False, train)
    shown = examples([encoded[i] for i in train], train, streams)
    watched = examples([encoded[i] for i in val], val, streams)
    objective = classes_objective(shown, watched, targets, recipe.optimisation)
    short = replace(recipe, optimisation=replace(recipe.optimisation, epochs=TUNING_EPOCHS))
    return fitted(narrow, objective, short, seed, full)


def add_pruned(
    table: Table, clips: Clips, data: DataSet, seed: int, whole: Learnt, width: int
) -> str:
    """Judge the teacher pruned to a width, before and after tuning; return what both cost."""
    encoded = clips.encoded[FULL_RATE]
    narrow = narrowed(whole.fusion, whole.about, width)
    cut = replace(whole, network=narrow.eval())
    table.add("cut", seed, right(cut, data, encoded))
    after = tuned(narrow, clips, data, seed, whole)
    table.add("tuned", seed, right(after, data, encoded))
    return f"whole: {cost_of(whole, encoded)}; pruned: {cost_of(after, encoded)}"


def cost_of(learnt: Learnt, encoded: Sequence[Encoded]) -> str:
    """Return what a network takes: bytes, and milliseconds of CPU a clip."""
    size = sum(t.numel() * t.element_size() for t in learnt.fusion.state_dict().values())
    began = time.process_time()
    for one in encoded[:TIMED_CLIPS]:
        judged(learnt, [one], CPU)
    milliseconds = (time.process_time() - began) / TIMED_CLIPS * 1000
    return f"{size / 1e6:.2f} MB, {milliseconds:.1f} ms of CPU a clip"


# --- what it costs to encode --------------------------------------------------------------------


def encode(samples: Sequence[Sample], recipe: Recipe, *, stored: bool = True) -> list[Encoded]:
    """Encode clips, one after the other. InputError: one cannot be read."""
    means = Means(use_store=stored, max_pixels=MAX_PIXELS)
    return [encode_sample(sample, plan_for(recipe), means, False) for sample in samples]


def costs(clips: Clips, seeds: int) -> None:
    """Print the CPU seconds that a clip takes with each recipe."""
    samples = clips.data.samples[:: len(clips.data.samples) // TIMED_CLIPS][:TIMED_CLIPS]
    print("| recipe | CPU seconds a clip, encoding |")
    print("| --- | --- |")
    for name, recipe in students().items():
        encode(samples[:1], recipe, stored=False)  # loads the networks
        began = time.process_time()
        encode(samples, recipe, stored=False)
        print(f"| {name} | {(time.process_time() - began) / len(samples):.3f} |", flush=True)


# --- main ---------------------------------------------------------------------------------------


TABLES: dict[str, Callable[[Clips, int], None]] = {
    "costs": costs,
    "trained": trained,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--only", choices=TABLES)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.data / "fights"
    data = read_classes(folder / "clips.csv")
    more = read_classes(folder / "unlisted.csv").samples
    encoded, without = {}, {}
    for rate_hz in (FULL_RATE, HALF_RATE):
        recipe = replace(load_recipe("motion"), rate_hz=rate_hz)
        encoded[rate_hz], without[rate_hz] = encode(data.samples, recipe), encode(more, recipe)
    clips = Clips(data, encoded, without)
    for name, table in TABLES.items():
        if arguments.only in (None, name):
            print(f"\n{name}\n", flush=True)
            table(clips, arguments.seeds)


if __name__ == "__main__":
    main()
