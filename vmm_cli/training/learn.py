"""From encoded samples to a trained network."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vmm_cli.errors import DataError
from vmm_cli.features import catalogue
from vmm_cli.features.windows import Encoded
from vmm_cli.features.words import build_vocabulary
from vmm_cli.inference.examples import Examples, examples, tokens_from
from vmm_cli.inference.in_torch import CPU, batch_of, network_from
from vmm_cli.networks.image_tail import NetworkWithTail
from vmm_cli.networks.model import FusionNetwork
from vmm_cli.training import probe
from vmm_cli.training.checkpoint import load_checkpoint, save_checkpoint
from vmm_cli.training.data.samples import DataSet
from vmm_cli.training.learnt import Learnt
from vmm_cli.training.loop import Progress, begin, fit
from vmm_cli.training.processes import rank
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.tasks.catalogue import TASKS
from vmm_cli.training.tasks.task import Material

# Statistics of the features are taken from so many windows; more change them by less than noise.
STATISTICS_WINDOWS = 256
STATISTICS_STEPS = 8192  # of them in all; whole long videos would not fit
# A checkpoint costs a write to disk, which an epoch of some milliseconds should not wait for.
CHECKPOINT_EACH_S = 2.0


def learn(
    data: DataSet,
    encoded: Sequence[Encoded],
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    until: int | None = None,
    checkpoint: Path | None = None,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> Learnt:
    """Train on the samples whose split is `train`; those of `val` say when to stop.

    A recipe for a linear probe learns from `train` alone, with the streams that it chooses there.
    Without any of `val` the recipe's epochs are all run, or those up to the epoch `until`. With
    `checkpoint` the training goes on from that file where it is there, and leaves it there; of
    several processes the first writes it. `encoded`: of all samples of the data set.

    Raises:
        DataError: there is nothing to train on, or the loss is no number any more.
        OutputError: the checkpoint cannot be written.
    """
    train = [i for i, sample in enumerate(data.samples) if sample.split == "train"]
    held_out = [i for i, sample in enumerate(data.samples) if sample.split == "val"]
    if not train:
        raise DataError("no sample is left to train on")
    task = TASKS[data.task]
    if task.learn is not None:
        return task.learn(data, encoded, recipe, seed)
    assert task.objective is not None  # see `Task`
    if recipe.optimisation.probe:
        return _probed(data, encoded, train, held_out, recipe, seed)
    about = _about(data, [encoded[i] for i in train], recipe)
    torch.manual_seed(seed)
    network = _network(recipe, about)
    tokens = tokens_from(about)

    def seen(rows: Sequence[int]) -> Examples:
        return examples([encoded[i] for i in rows], rows, list(recipe.streams), tokens)

    shown, watched = seen(train), seen(held_out) if held_out else None
    _fit_statistics(network, shown, seed)
    network.to(device)
    material = Material(data, recipe, train, held_out, shown, watched)
    progress = begin(network, recipe.optimisation)
    if checkpoint is not None:
        on_epoch = _going_on(progress, checkpoint, on_epoch)
    fit(
        progress,
        task.objective(material),
        recipe.optimisation,
        seed=seed,
        device=device,
        until=until,
        on_epoch=on_epoch,
    )
    network.load_state_dict(progress.best)
    network.eval()
    return Learnt(network, about, data.labels, progress.history, progress.best_epoch, recipe)


def _going_on(
    progress: Progress, checkpoint: Path, on_epoch: Callable[[Progress], None]
) -> Callable[[Progress], None]:
    """Go on from a checkpoint, if there is one; return what keeps it, by the first process."""
    if checkpoint.exists():
        load_checkpoint(checkpoint, progress)
    return _with_checkpoints(checkpoint, on_epoch) if rank()[0] == 0 else on_epoch


def _probed(
    data: DataSet,
    encoded: Sequence[Encoded],
    train: Sequence[int],
    held_out: Sequence[int],
    recipe: Recipe,
    seed: int,
) -> Learnt:
    """Choose what a linear probe sees, solve for it, and look at what is held out."""
    seen = [encoded[i] for i in train]
    task = TASKS[data.task]
    # `read_recipe` refuses the others.
    assert task.targets is not None and task.objective is not None
    shown = examples(seen, train, list(recipe.streams))
    material = Material(data, recipe, train, held_out, shown, None)
    targets = task.targets(material)
    recipe, compared = probe.choose(data, train, shown, targets, recipe, seed)
    about = _about(data, seen, recipe)
    network = network_from(about)
    row = {"epoch": 1, "train_loss": probe.fit(network, shown, targets, recipe)}
    if held_out:
        watched = examples([encoded[i] for i in held_out], held_out, list(recipe.streams))
        judge = task.objective(replace(material, recipe=recipe, watched=watched)).held_out
        assert judge is not None
        row |= judge(network, CPU)
    network.eval()
    return Learnt(network, about, data.labels, [row], 1, recipe, compared)


def train_last(recipe: Recipe) -> int:
    """Return how many of the image encoder's last blocks learn."""
    return recipe.streams["image"].options.get("train_last", 0) if "image" in recipe.streams else 0


def _about(data: DataSet, encoded: Sequence[Encoded], recipe: Recipe) -> dict[str, Any]:
    """Return what the network is made of, as JSON types; `encoded`: what it learns from."""
    about: dict[str, Any] = {
        "kind": "fusion",
        "streams": [],
        "temporal": recipe.temporal,
        "fusion": recipe.fusion,
        "width": len(data.labels) if recipe.optimisation.probe else recipe.width,
        "layers": recipe.layers,
        "dropout": recipe.dropout,
        "outputs": len(data.labels),
        "multi_label": data.multi_label,
        "rate_hz": recipe.rate_hz,
        "window_s": recipe.window_s,
    }
    if (own := TASKS[data.task].network) is not None:
        about |= own(data, recipe)
    for name, stream in recipe.streams.items():
        shape: dict[str, Any] = {"name": name, "front_end": stream.front_end}
        encoder = catalogue.entry(stream.encoder)
        if encoder.gives_words:
            about["vocabulary"] = list(build_vocabulary([one.text for one in encoded]))
            shape |= {"kind": "tokens", "width": 1, "vocabulary": len(about["vocabulary"])}
        else:
            value = encoded[0].windows[0].values[name]  # [T, D] or [T, C, H, W]
            kind = "features" if value.ndim == 2 else "patches"
            shape |= {"kind": kind, "width": int(np.prod(value.shape[1:]))}
            shape["channels"] = value.shape[1] if kind == "patches" else 1
        if name == "image" and train_last(recipe):
            shape["width"] = encoder.width
        about["streams"].append(shape)
    return about


def _network(recipe: Recipe, about: Mapping[str, Any]) -> FusionNetwork | NetworkWithTail:
    network = network_from(about)
    if not (last := train_last(recipe)):
        return network
    from vmm_cli.features.trained_image import load_tail

    return NetworkWithTail(load_tail(recipe.streams["image"].encoder, last), network)


def _fit_statistics(network: FusionNetwork | NetworkWithTail, train: Examples, seed: int) -> None:
    """Tell the front ends the mean and the spread of what they will see."""
    draw = np.random.default_rng(seed)
    rows = np.sort(draw.permutation(len(train))[:STATISTICS_WINDOWS])
    most = max(1, STATISTICS_STEPS // len(rows))
    pieces = []
    for row in rows.tolist():
        steps = int(train.steps[row])
        begin = int(draw.integers(0, max(0, steps - most) + 1))
        pieces.append((row, begin, min(steps, begin + most)))
    values, masks, _ = batch_of(train.pieces(pieces), range(len(pieces)), CPU)
    network.fit_statistics(values, masks)


def _with_checkpoints(
    path: Path, on_epoch: Callable[[Progress], None]
) -> Callable[[Progress], None]:
    written = time.monotonic()

    def after(progress: Progress) -> None:
        nonlocal written
        if time.monotonic() - written >= CHECKPOINT_EACH_S:
            save_checkpoint(path, progress)
            written = time.monotonic()
        on_epoch(progress)

    return after
