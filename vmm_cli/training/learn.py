"""From encoded samples to a trained network."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vmm_cli.analysis.segments import Detection
from vmm_cli.encoders import catalogue
from vmm_cli.encoders.streams import Encoded
from vmm_cli.encoders.words import build_vocabulary
from vmm_cli.errors import DataError
from vmm_cli.inference.network import Examples, examples, fused_steps, network_from, tokens_from
from vmm_cli.inference.steps import segments_from_fused
from vmm_cli.inference.valence import valence_from, with_valence
from vmm_cli.networks.image_tail import ImageTail, NetworkWithTail
from vmm_cli.networks.model import FusionNetwork
from vmm_cli.training.checkpoint import load_checkpoint, save_checkpoint
from vmm_cli.training.classes import classes_objective, predict, targets_of
from vmm_cli.training.loop import Progress, begin, fit
from vmm_cli.training.processes import rank
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.samples import Sample
from vmm_cli.training.timed import timed_examples, timed_objective
from vmm_cli.training.valence import predict as predict_ratings
from vmm_cli.training.valence import ratings_of, valence_objective

# Statistics of the features are taken from so many windows; more change them by less than noise.
STATISTICS_WINDOWS = 256
STATISTICS_STEPS = 8192  # of them in all; whole long videos would not fit
# A checkpoint costs a write to disk, which an epoch of some milliseconds should not wait for.
CHECKPOINT_EACH_S = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """A trained network and how it came about.

    Attributes:
        network: with the weights of the best epoch, in evaluation mode.
        about: what `FusionNetwork` is built from again, as JSON types: see `network_from`.
        history: a row of numbers for each epoch.
        best_epoch: counted from 1.
    """

    network: FusionNetwork | NetworkWithTail
    about: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]
    best_epoch: int

    @property
    def fusion(self) -> FusionNetwork:
        """What judges features, without blocks of the image encoder that learnt too."""
        whole = self.network
        return whole.network if isinstance(whole, NetworkWithTail) else whole

    @property
    def tail(self) -> ImageTail | None:
        """The blocks of the image encoder that learnt too."""
        return self.network.tail if isinstance(self.network, NetworkWithTail) else None


def learn(
    samples: Sequence[Sample],
    encoded: Sequence[Encoded],
    labels: Sequence[str],
    recipe: Recipe,
    *,
    multi_label: bool,
    seed: int,
    device: torch.device,
    until: int | None = None,
    checkpoint: Path | None = None,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> Learnt:
    """Train on the samples whose split is `train`; those of `val` say when to stop.

    Without any of `val` the recipe's epochs are all run, or those up to the epoch `until`. With
    `checkpoint` the training goes on from that file where it is there, and leaves it there; of
    several processes the first writes it.

    Raises:
        DataError: there is nothing to train on, or the loss is no number any more.
        OutputError: the checkpoint cannot be written.
    """
    train = [i for i, sample in enumerate(samples) if sample.split == "train"]
    held_out = [i for i, sample in enumerate(samples) if sample.split == "val"]
    if not train:
        raise DataError("no sample is left to train on")
    about = _about(recipe, [encoded[i] for i in train], len(labels), multi_label)
    if recipe.task == "valence":
        rated = any(samples[i].valence is not None for i in train)
        about["valence_from"] = valence_from(labels, rated)
    torch.manual_seed(seed)
    network = _network(recipe, about)
    tokens = tokens_from(about)
    streams = list(recipe.streams)
    learnt_from = examples([encoded[i] for i in train], train, streams, tokens)
    judged = None
    if held_out:
        judged = examples([encoded[i] for i in held_out], held_out, streams, tokens)
    _fit_statistics(network, learnt_from, seed)
    network.to(device)
    weigh = train if recipe.optimisation.class_weights else []
    if recipe.task == "segments":
        rate_hz = recipe.rate_hz
        seen = None
        if judged is not None:
            seen = timed_examples(judged, [samples[i] for i in held_out], labels, rate_hz)
        shown = timed_examples(learnt_from, [samples[i] for i in train], labels, rate_hz)
        objective = timed_objective(shown, seen, recipe)
    elif recipe.task == "valence":
        ratings = ratings_of(samples, labels, weigh)
        objective = valence_objective(learnt_from, judged, ratings, recipe.optimisation)
    else:
        targets = targets_of(samples, labels, multi_label, weigh)
        objective = classes_objective(learnt_from, judged, targets, recipe.optimisation)
    progress = begin(network, recipe.optimisation)
    if checkpoint is not None:
        if checkpoint.exists():
            load_checkpoint(checkpoint, progress)
        if rank()[0] == 0:
            on_epoch = _with_checkpoints(checkpoint, on_epoch)
    fit(
        progress,
        objective,
        recipe.optimisation,
        seed=seed,
        device=device,
        until=until,
        on_epoch=on_epoch,
    )
    network.load_state_dict(progress.best)
    network.eval()
    return Learnt(network, about, progress.history, progress.best_epoch)


def probabilities(
    learnt: Learnt, encoded: Sequence[Encoded], *, multi_label: bool, device: torch.device
) -> np.ndarray:
    """Return the probabilities of samples, the mean over their windows: float64 [S, C].

    Of a network for classes.
    """
    streams = [stream["name"] for stream in learnt.about["streams"]]
    shown = examples(encoded, range(len(encoded)), streams, tokens_from(learnt.about))
    network = learnt.network.to(device)
    return predict(network, shown, len(encoded), device, multi_label)


def ratings(
    learnt: Learnt, encoded: Sequence[Encoded], labels: Sequence[str], device: torch.device
) -> np.ndarray:
    """Return valence and probabilities of samples: float64 [S, 1 + E]. Of a network for valence.

    The mean over their windows; no valence is NaN.
    """
    streams = [stream["name"] for stream in learnt.about["streams"]]
    shown = examples(encoded, range(len(encoded)), streams, tokens_from(learnt.about))
    said = predict_ratings(learnt.network.to(device), shown, len(encoded), device)
    return with_valence(said, labels, learnt.about["valence_from"])


def found(learnt: Learnt, encoded: Encoded, labels: Sequence[str]) -> list[Detection]:
    """Return the actions in a video, of any score. Of a network for segments."""
    (whole,) = encoded.windows
    tokens = tokens_from(learnt.about)
    network = learnt.fusion.to("cpu")
    x, mask = fused_steps(network, whole, None if tokens is None else tokens(encoded.text))
    return segments_from_fused(
        network,
        labels,
        x,
        mask,
        rate_hz=Fraction(str(learnt.about["rate_hz"])),
        start_s=float(whole.window.start),
        until_s=float(whole.window.end),
    ).detections


def train_last(recipe: Recipe) -> int:
    """Return how many of the image encoder's last blocks learn."""
    return recipe.streams["image"].options.get("train_last", 0) if "image" in recipe.streams else 0


def _about(
    recipe: Recipe, encoded: Sequence[Encoded], labels: int, multi_label: bool
) -> dict[str, Any]:
    """Return what the network is made of, as JSON types."""
    about: dict[str, Any] = {
        "kind": "fusion",
        "streams": [],
        "temporal": recipe.temporal,
        "fusion": recipe.fusion,
        "width": recipe.width,
        "layers": recipe.layers,
        "dropout": recipe.dropout,
        "outputs": labels,
        "multi_label": multi_label,
        "rate_hz": recipe.rate_hz,
        "window_s": recipe.window_s,
    }
    if recipe.head != "classes":  # what is not there is as it was before there were other heads
        about["head"] = recipe.head
    if recipe.task == "segments":
        about["levels"] = recipe.levels
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
    from vmm_cli.encoders.trained_image import load_tail

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
    values, masks, _ = train.pieces(pieces).batch(range(len(pieces)), torch.device("cpu"))
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
