"""A linear probe: for few samples, a linear map of features that stay as they are.

A view of a stream is averaged over time, standardised, and mapped to the labels by weights that are
solved for: the loss that the loop has, too, and the squares of the weights. Which views of which
streams it sees is chosen by leaving out parts of the training samples in turn, whole groups at a
time. With 5 to 20 clips a class that does better than the loop: see `python -m benchmarks.accuracy
few`. Guillaume Alain and Yoshua Bengio 2016, arXiv 1610.01644.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vmm_cli.inference.examples import Examples
from vmm_cli.inference.in_torch import CPU, batch_of
from vmm_cli.networks.frontends import FeatureFrontEnd, change
from vmm_cli.networks.model import FusionNetwork
from vmm_cli.training.data.samples import DataSet, with_samples
from vmm_cli.training.data.splits import parts_of
from vmm_cli.training.objectives.classes import Targets, losses_of, one_hot
from vmm_cli.training.recipe import PROBE_VIEWS, Recipe, StreamRecipe

# How little the weights cost: C of scikit-learn, for features whose squares add up to 1 a sample.
# Measured from 1 to 100 on fights, with 5 to 40 clips a class: accuracies differ by less than two
# points, and the loss on what is left out was least at this one.
STRENGTH = 5.0
MIN_SPREAD = 0.01  # as in `frontends`: what hardly varies is not blown up
INNER_PARTS = 5
LEAST_SQUARE = 1e-12  # of the largest: a direction in which nothing varies
BATCH = 64  # windows that are averaged over time at once
MOST_STEPS = 200  # of L-BFGS; it needs some 20

View = tuple[str, str]  # a stream and one of `PROBE_VIEWS` of it


@dataclass(frozen=True, slots=True, eq=False)
class _Views:
    """Windows averaged over time.

    Attributes:
        mean: by view, float64 [N, D]: over the steps at which any stream is there; a view counts as
            0 where its stream is not.
        share: by stream, float64 [N]: of these steps, those at which the stream is there.
    """

    mean: Mapping[View, Tensor]
    share: Mapping[str, Tensor]

    def of(self, chosen: Sequence[View], rows: Tensor) -> _Scaled:
        """Return how these views are standardised, by the windows `rows`."""
        centre, scale = {}, {}
        for view in chosen:
            values, share = self.mean[view][rows], self.share[view[0]][rows, None]
            centre[view] = values.sum(0) / share.sum().clamp(min=1e-9)
            spread = (values - share * centre[view]).square().mean(0).sqrt()
            spread = spread.clamp(min=MIN_SPREAD * float(spread.mean()) or 1.0)
            scale[view] = spread * (len(spread) * len(chosen)) ** 0.5
        return _Scaled(centre, scale)

    def scaled(self, by: _Scaled) -> Tensor:
        """Return the standardised views side by side, their squares adding up to about 1."""
        return torch.cat(
            [
                (self.mean[view] - self.share[view[0]][:, None] * by.centre[view]) / by.scale[view]
                for view in by.centre
            ],
            dim=1,
        )  # -> [N, sum of D]


@dataclass(frozen=True, slots=True, eq=False)
class _Scaled:
    """What views are standardised by, each float64 [D]: (values - centre) / scale."""

    centre: Mapping[View, Tensor]
    scale: Mapping[View, Tensor]


def choose(
    data: DataSet,
    train: Sequence[int],
    shown: Examples,
    targets: Targets,
    recipe: Recipe,
    seed: int,
) -> tuple[Recipe, dict[str, Any]]:
    """Return the recipe with the views that do best on groups left out, and what was compared.

    Each view alone is tried, all but one, and all. What is left out has no part in standardising.
    What was compared, as JSON types: `parts`, how many were left out in turn, 0 where the samples
    cannot be divided so, and all views are taken; `views` by loss, the chosen ones first, each with
    `streams` (stream: front end), `loss` and `accuracy`.

    Args:
        train: places in `data` of the samples that `shown` has the windows of.
    """
    everything = [
        (stream, view)
        for stream, made in recipe.streams.items()
        for view in PROBE_VIEWS[made.front_end]
    ]
    learnt_from = with_samples(data, (data.samples[i] for i in train))
    parts = parts_of(learnt_from, INNER_PARTS, seed=seed)
    if parts is None or len(everything) == 1:
        return recipe, {"parts": 0, "views": []}
    at = np.zeros(len(data.samples), int)  # the part of each sample of the data set
    at[list(train)] = parts
    views, found = _views(shown, everything), []
    for chosen in _candidates(everything):
        loss, accuracy = _left_out(views, chosen, shown, at, targets)
        found.append((loss, accuracy, _with_views(recipe, chosen)))
    found.sort(key=lambda one: one[0])
    compared = {
        "parts": int(max(parts)) + 1,
        "views": [
            {
                "streams": {name: made.front_end for name, made in tried.streams.items()},
                "loss": loss,
                "accuracy": accuracy,
            }
            for loss, accuracy, tried in found
        ],
    }
    return found[0][2], compared


def fit(network: FusionNetwork, shown: Examples, targets: Targets, recipe: Recipe) -> float:
    """Give a fresh network the weights of the probe; return the loss on what it learnt from.

    The network's width must be the number of labels: its front ends map the views to logits, its
    fusion adds these up, and its head leaves them.
    """
    chosen = [
        (s, view) for s, made in recipe.streams.items() for view in PROBE_VIEWS[made.front_end]
    ]
    views = _views(shown, chosen)
    scaled = views.of(chosen, torch.arange(len(shown)))
    x = views.scaled(scaled)
    weight, bias = _solve(x, shown, targets)
    with torch.no_grad():
        begin, eye = 0, torch.eye(len(bias))
        for stream in recipe.streams:
            mine = [view for view in chosen if view[0] == stream]
            front_end = network.front_ends[stream]
            assert isinstance(front_end, FeatureFrontEnd)
            centre = torch.cat([scaled.centre[view] for view in mine])
            front_end.standardise.mean.copy_(centre)
            front_end.standardise.std.copy_(torch.cat([scaled.scale[view] for view in mine]))
            front_end.linear.weight.copy_(weight[:, begin : begin + len(centre)])
            front_end.linear.bias.zero_()
            begin += len(centre)
        mix, head = network.fusion.mix, network.head.linear
        assert isinstance(mix, nn.Linear) and isinstance(head, nn.Linear)
        mix.weight.copy_(eye.repeat(1, len(recipe.streams)))
        mix.bias.zero_()
        head.weight.copy_(eye)
        head.bias.copy_(bias)
    return float(_mean_loss(x @ weight.T + bias, shown, targets))


# --- what is seen -------------------------------------------------------------------------------


def _candidates(views: Sequence[View]) -> list[tuple[View, ...]]:
    """Return the sets of views that are compared: all, all but one, each alone."""
    without = [tuple(other for other in views if other != view) for view in views]
    alone = [(view,) for view in views]
    return list(dict.fromkeys([tuple(views), *without, *alone]))


def _with_views(recipe: Recipe, chosen: Sequence[View]) -> Recipe:
    """Return the recipe with these views alone; a stream without any is left out."""
    front_ends = {views: name for name, views in PROBE_VIEWS.items()}
    streams: dict[str, StreamRecipe] = {}
    for stream, made in recipe.streams.items():
        if mine := tuple(view for name, view in chosen if name == stream):
            streams[stream] = replace(made, front_end=front_ends[mine])
    return replace(recipe, streams=streams)


def _views(shown: Examples, wanted: Sequence[View]) -> _Views:
    means: dict[View, list[Tensor]] = {view: [] for view in wanted}
    shares: dict[str, list[Tensor]] = {stream: [] for stream, _ in wanted}
    for begin in range(0, len(shown), BATCH):
        rows = range(begin, min(begin + BATCH, len(shown)))
        values, masks, grid = batch_of(shown, rows, CPU)
        there = {stream: masks[stream] & grid for stream in shares}
        count = torch.stack(list(there.values())).any(0).sum(1).clamp(min=1).double()  # [B]
        for stream, mask in there.items():
            shares[stream].append(mask.sum(1) / count)
        for stream, view in wanted:
            mask = there[stream]
            x = values[stream].masked_fill(~mask[..., None], 0.0)  # [B, T, D]
            x = change(x, mask) if view == "change" else x
            x = x.masked_fill(~mask[..., None], 0.0).sum(1, dtype=torch.float64)
            means[stream, view].append(x / count[:, None])  # -> [B, D]
    return _Views(
        {view: torch.cat(parts) for view, parts in means.items()},
        {stream: torch.cat(parts) for stream, parts in shares.items()},
    )


# --- solving ------------------------------------------------------------------------------------


def _left_out(
    views: _Views, chosen: Sequence[View], shown: Examples, at: np.ndarray, targets: Targets
) -> tuple[float, float]:
    """Return the mean loss and the accuracy over parts that were left out in turn."""
    loss = right = total = 0.0
    part_of = at[shown.sample]
    for part in range(int(part_of.max()) + 1):
        inside, outside = (
            torch.from_numpy(np.flatnonzero(x)) for x in (part_of != part, part_of == part)
        )
        x = views.scaled(views.of(chosen, inside))
        weight, bias = _solve(x[inside], _rows(shown, inside), targets)
        judged, logits = _rows(shown, outside), x[outside] @ weight.T + bias
        count = float(judged.weight.sum())
        loss += count * float(_mean_loss(logits, judged, targets))
        right += float((_right(logits, judged, targets) * torch.from_numpy(judged.weight)).sum())
        total += count
    return loss / total, right / total


def _rows(shown: Examples, rows: Tensor) -> Examples:
    """Return some windows without what they show."""
    chosen = rows.numpy()
    return Examples({}, {}, shown.steps[chosen], shown.sample[chosen], shown.weight[chosen])


def _right(logits: Tensor, shown: Examples, targets: Targets) -> Tensor:
    """Tell which windows are labelled rightly: bool [N]."""
    truth = targets.truth[shown.sample]
    if targets.multi_label:
        return ((logits > 0) == (truth > 0.5)).all(dim=1)
    return logits.argmax(dim=1) == truth


def _mean_loss(logits: Tensor, shown: Examples, targets: Targets) -> Tensor:
    counts = torch.from_numpy(shown.weight)
    losses = losses_of(logits, one_hot(targets, shown.sample).to(logits.dtype), targets, 0.0)
    return (losses * counts).sum() / counts.sum()


def _solve(x: Tensor, shown: Examples, targets: Targets) -> tuple[Tensor, Tensor]:
    """Return the weights [C, D] and biases [C] of least loss: float64 [N, D] -> float64."""
    # The best weights are sums of rows of x, so there are no more unknowns than rows.
    basis = None
    if len(x) < x.shape[1]:
        squares, u = torch.linalg.eigh(x @ x.T)
        kept = squares > LEAST_SQUARE * squares.max().clamp(min=LEAST_SQUARE)
        length = squares[kept].sqrt()
        basis = (u[:, kept] / length).T @ x  # orthonormal: [R, D], R <= N
        x = u[:, kept] * length  # [N, D] -> [N, R]
    samples = float(shown.weight.sum())
    weight = torch.zeros(len(targets.class_weight), x.shape[1], dtype=x.dtype, requires_grad=True)
    bias = torch.zeros(len(weight), dtype=x.dtype, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=MOST_STEPS, line_search_fn="strong_wolfe", tolerance_grad=1e-6
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = _mean_loss(x @ weight.T + bias, shown, targets)
        loss = loss + weight.square().sum() / (2 * STRENGTH * samples)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    found = weight.detach()
    return (found if basis is None else found @ basis), bias.detach()
