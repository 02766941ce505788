"""To learn valence and emotions of whole samples: what is right, the loss, and what is seen.

A sample may lack a valence or an emotion: what it lacks has no part in the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vmm_cli.inference.examples import Examples
from vmm_cli.inference.in_torch import batch_of, window_network
from vmm_cli.inference.network import window_ratings
from vmm_cli.training.augment import drop_streams
from vmm_cli.training.data.samples import Sample
from vmm_cli.training.data.truth import NO_EMOTION, ratings_truth
from vmm_cli.training.loop import Objective
from vmm_cli.training.objectives.classes import mean_of_windows, outputs_of, weights_of
from vmm_cli.training.processes import share
from vmm_cli.training.recipe import Optimisation

# From this error on the loss grows linearly, so that a few odd ratings do not rule.
LINEAR_FROM = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """What is right, by sample.

    Attributes:
        valence: float32 [S], NaN where there is none.
        emotion: int64 [S], `NO_EMOTION` where there is none.
        class_weight: float32 [E], how much a mistake on each emotion costs.
    """

    valence: Tensor
    emotion: Tensor
    class_weight: Tensor


def ratings_of(
    samples: Sequence[Sample], labels: Sequence[str], weigh: Sequence[int] = ()
) -> Ratings:
    """Return what is right for the samples; an emotion that is not in `labels` counts as none.

    `weigh`: the samples whose counts make rare emotions weigh more; none: all weigh 1.
    """
    valence, emotion = ratings_truth(samples, labels)
    weight = np.ones(len(labels), np.float32)
    if weigh:
        counts = np.bincount(
            [place for place in emotion[list(weigh)] if place != NO_EMOTION],
            minlength=len(labels),
        )
        weight = weights_of(counts, int(counts.sum()))
    return Ratings(
        torch.from_numpy(valence.astype(np.float32)),
        torch.from_numpy(emotion),
        torch.from_numpy(weight),
    )


def valence_objective(
    train: Examples, held_out: Examples | None, ratings: Ratings, recipe: Optimisation
) -> Objective:
    """Return what the training loop needs to learn the ratings of windows."""

    def loss(
        network: nn.Module, rows: np.ndarray, draw: np.random.Generator, device: torch.device
    ) -> tuple[Tensor, float]:
        values, masks, grid = batch_of(train, rows, device)
        drop_streams(masks, recipe.stream_dropout, draw)
        counts = torch.from_numpy(train.weight[rows])
        valence = ratings.valence[train.sample[rows]]
        emotion = ratings.emotion[train.sample[rows]]
        rated, named = ~valence.isnan(), emotion != NO_EMOTION
        # Of the whole batch, of which this process has a share.
        by_valence = _portions(counts, rated) * recipe.valence_weight
        by_emotion = _portions(counts * _weights(ratings, emotion), named)
        counted = float(counts.sum())
        mine = share(len(rows))
        if not len(rows[mine]):
            return torch.zeros((), device=device), counted
        predicted = outputs_of(network, mine, values, masks, grid)
        off = _off(predicted[:, 0], valence[mine].nan_to_num().to(device))
        total = (off * by_valence[mine].to(device)).sum()
        if len(ratings.class_weight):
            wrong = functional.cross_entropy(
                predicted[:, 1:],
                emotion[mine].clamp(min=0).to(device),
                reduction="none",
                label_smoothing=recipe.label_smoothing,
            )
            total = total + (wrong * by_emotion[mine].to(device)).sum()
        return total, counted

    if held_out is None:
        return Objective(len(train), loss, None)
    return Objective(
        len(train),
        loss,
        lambda network, device: _held_out(network, held_out, ratings, recipe, device),
    )


def predict(
    network: nn.Module, examples: Examples, samples: int, device: torch.device
) -> np.ndarray:
    """Return each sample's valence and probabilities, the mean over its windows: [samples, 1 + E].

    Rows of samples that `examples` has no window of are NaN.
    """
    return mean_of_windows(
        window_ratings(window_network(network, device), examples), examples, samples
    )


def _held_out(
    network: nn.Module,
    examples: Examples,
    ratings: Ratings,
    recipe: Optimisation,
    device: torch.device,
) -> dict[str, float]:
    """Return the loss on samples that were not learnt from, as in training, and what it is of."""
    there = np.unique(examples.sample)
    predicted = torch.from_numpy(predict(network, examples, len(ratings.emotion), device)[there])
    valence, emotion = ratings.valence[there].double(), ratings.emotion[there]
    rated, named = ~valence.isnan(), emotion != NO_EMOTION
    loss, found = 0.0, {}
    if rated.any():
        loss += recipe.valence_weight * float(_off(predicted[rated, 0], valence[rated]).mean())
        found["val_mae"] = float((predicted[rated, 0] - valence[rated]).abs().mean())
    if named.any():
        likely = predicted[named, 1:].clamp(1e-7, 1)
        weight = ratings.class_weight.double()[emotion[named]]
        right = likely.log().gather(1, emotion[named][:, None])[:, 0]
        loss -= float((right * weight).sum() / weight.sum())
        found["val_accuracy"] = float((likely.argmax(1) == emotion[named]).double().mean())
    return {"val_loss": loss, **found}


def _off(predicted: Tensor, valence: Tensor) -> Tensor:
    return functional.smooth_l1_loss(predicted, valence, reduction="none", beta=LINEAR_FROM)


def _weights(ratings: Ratings, emotion: Tensor) -> Tensor:
    """Return how much each row's emotion weighs; 0 where it has none."""
    if not len(ratings.class_weight):
        return torch.zeros(len(emotion))
    weight = ratings.class_weight[emotion.clamp(min=0)]
    return torch.where(emotion != NO_EMOTION, weight, 0.0)


def _portions(counts: Tensor, chosen: Tensor) -> Tensor:
    """Return which part of the sum of the chosen rows each one has; zeros where none is."""
    kept = torch.where(chosen, counts, 0.0)
    total = kept.sum()
    return kept / total if total > 0 else kept
