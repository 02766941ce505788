"""To learn the labels of whole samples: what is right, the loss, and what is seen on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vmm_cli.inference.examples import Examples
from vmm_cli.inference.in_torch import batch_of, window_network
from vmm_cli.inference.network import window_probabilities
from vmm_cli.training.augment import drop_streams, mix
from vmm_cli.training.data.samples import Sample
from vmm_cli.training.loop import Objective
from vmm_cli.training.processes import share
from vmm_cli.training.recipe import Optimisation

# A rare label weighs at most so much more than it would without weights.
MOST_WEIGHT = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What is right.

    Attributes:
        truth: by sample, int64 [S] of one label each, or float32 [S, C] of several.
        class_weight: float32 [C], how much a mistake on each label costs.
    """

    truth: Tensor
    class_weight: Tensor

    @property
    def multi_label(self) -> bool:
        """Tell whether a sample can have several labels."""
        return self.truth.ndim == 2


def classes_objective(
    train: Examples, held_out: Examples | None, targets: Targets, recipe: Optimisation
) -> Objective:
    """Return what the training loop needs to learn the labels of windows."""

    def loss(
        network: nn.Module, rows: np.ndarray, draw: np.random.Generator, device: torch.device
    ) -> tuple[Tensor, float]:
        values, masks, grid = batch_of(train, rows, device)
        drop_streams(masks, recipe.stream_dropout, draw)
        wanted = one_hot(targets, train.sample[rows]).to(device)  # [B, C]
        counts = torch.from_numpy(train.weight[rows]).to(device)
        if recipe.mixup > 0:
            values, wanted = mix(values, masks, wanted, recipe.mixup, draw)
        mine = share(len(rows))
        counted = float(counts.sum())
        if not len(rows[mine]):
            return torch.zeros((), device=device), counted
        logits = outputs_of(network, mine, values, masks, grid)
        losses = losses_of(logits, wanted[mine], targets, recipe.label_smoothing)
        return (losses * counts[mine]).sum() / counted, counted

    if held_out is None:
        return Objective(len(train), loss, None)
    return Objective(
        len(train), loss, lambda network, device: _held_out(network, held_out, targets, device)
    )


def targets_of(
    samples: Sequence[Sample], labels: Sequence[str], multi_label: bool, weigh: Sequence[int] = ()
) -> Targets:
    """Return what is right for the samples.

    `weigh`: the samples whose counts make rare labels weigh more; none: all labels weigh 1.
    """
    number = {label: i for i, label in enumerate(labels)}
    several = np.zeros((len(samples), len(labels)), np.float32)
    for row, sample in zip(several, samples, strict=True):
        row[[number[label] for label in sample.labels if label in number]] = 1
    weight = np.ones(len(labels), np.float32)
    if weigh:
        counts = np.maximum(1, several[list(weigh)].sum(axis=0))
        if multi_label:
            weight = (len(weigh) - counts).clip(1) / counts
            weight = weight.clip(1 / MOST_WEIGHT, MOST_WEIGHT).astype(np.float32)
        else:
            weight = weights_of(counts, len(weigh))
    truth = torch.from_numpy(several if multi_label else several.argmax(axis=1))
    return Targets(truth, torch.from_numpy(weight))


def weights_of(counts: np.ndarray, samples: int) -> np.ndarray:
    """Return how much a mistake on each label costs, the more the rarer it is: float32 [C].

    `counts`: [C], how many of the samples have each.
    """
    weight: np.ndarray = samples / (len(counts) * np.maximum(1, counts))
    return weight.clip(1 / MOST_WEIGHT, MOST_WEIGHT).astype(np.float32)


def outputs_of(
    network: nn.Module,
    rows: slice,
    values: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    grid: Tensor,
) -> Any:
    """Return what a network says of some rows of a batch that `batch_of` gave."""
    return network(
        {stream: value[rows] for stream, value in values.items()},
        {stream: mask[rows] for stream, mask in masks.items()},
        grid[rows],
    )


def predict(
    network: nn.Module, examples: Examples, samples: int, device: torch.device, multi_label: bool
) -> np.ndarray:
    """Return each sample's probabilities, the mean over its windows: float64 [samples, C].

    Rows of samples that `examples` has no window of are NaN.
    """
    probabilities = predict_windows(network, examples, device, multi_label)
    return mean_of_windows(probabilities, examples, samples)


def predict_windows(
    network: nn.Module, examples: Examples, device: torch.device, multi_label: bool
) -> np.ndarray:
    """Return each window's probabilities: float64 [N, C]."""
    return window_probabilities(window_network(network, device), examples, multi_label)


def mean_of_windows(predicted: np.ndarray, examples: Examples, samples: int) -> np.ndarray:
    """Return the mean over each sample's windows: [N, C] -> float64 [samples, C]; NaN without."""
    total = np.zeros((samples, predicted.shape[1]))
    weight = np.zeros(samples)
    np.add.at(total, examples.sample, predicted * examples.weight[:, None])
    np.add.at(weight, examples.sample, examples.weight)
    with np.errstate(invalid="ignore"):
        mean: np.ndarray = total / weight[:, None]
    return mean


def _held_out(
    network: nn.Module, examples: Examples, targets: Targets, device: torch.device
) -> dict[str, float]:
    """Return loss and accuracy on samples that were not learnt from."""
    probabilities = predict(network, examples, len(targets.truth), device, targets.multi_label)
    there = np.unique(examples.sample)
    likely = torch.from_numpy(probabilities[there]).clamp(1e-7, 1 - 1e-7)
    truth = targets.truth[there]
    if targets.multi_label:
        # Weighted as in training: else it would rise while training does what it should.
        weight = 1 + (targets.class_weight.double() - 1) * truth.double()
        loss = functional.binary_cross_entropy(likely, truth.double(), weight=weight)
        right = ((likely > 0.5) == (truth > 0.5)).all(dim=1)
    else:
        weight = targets.class_weight.double()[truth]
        loss = -(likely.log()[torch.arange(len(truth)), truth] * weight).sum() / weight.sum()
        right = likely.argmax(dim=1) == truth
    return {"val_loss": float(loss), "val_accuracy": float(right.double().mean())}


def one_hot(targets: Targets, samples: np.ndarray) -> Tensor:
    """Return what is right for some samples, by their numbers: float32 [N, C]."""
    truth = targets.truth[samples]
    if targets.multi_label:
        return truth
    return functional.one_hot(truth, len(targets.class_weight)).float()


def losses_of(logits: Tensor, wanted: Tensor, targets: Targets, smoothing: float) -> Tensor:
    """Return the loss of each row: cross-entropy, or its mean over labels if there are several."""
    weight = targets.class_weight.to(logits.device)
    if targets.multi_label:
        wanted = wanted * (1 - smoothing) + smoothing / 2
        losses = functional.binary_cross_entropy_with_logits(
            logits, wanted, pos_weight=weight, reduction="none"
        )
        return losses.mean(dim=1)
    wanted = wanted * (1 - smoothing) + smoothing / wanted.shape[1]
    return -(wanted * weight * logits.log_softmax(dim=1)).sum(dim=1)
