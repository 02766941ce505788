"""The training loop: one network, what it is to learn, AdamW.

Everything random follows from the seed and the number of the epoch, so a run that was stopped goes
on as if it never had been. Several processes (`torchrun --nproc-per-node 2 -m vmm_cli train ...`)
each take a share of every batch; but for what dropout draws they learn what one would.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vmm_cli.errors import DataError
from vmm_cli.training.processes import add_up_shares, rank
from vmm_cli.training.recipe import Optimisation

# Blocks of the image encoder that learn too were trained on a million pictures: they are to move
# little while what is new learns.
TAIL_PREFIX, TAIL_PART = "tail.", 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """What is to be learnt.

    Attributes:
        examples: how many there are to learn from.
        loss: (network, rows, draw, device) -> the loss of this process's share of a batch of rows,
            and how much the whole batch counts for. What is drawn at random is drawn from `draw`,
            alike in all processes.
        held_out: (network, device) -> numbers from what is not learnt from, `val_loss` among them;
            None: there is nothing to see it by.
    """

    examples: int
    loss: Callable[[nn.Module, np.ndarray, np.random.Generator, torch.device], tuple[Tensor, float]]
    held_out: Callable[[nn.Module, torch.device], dict[str, float]] | None


@dataclass(slots=True)
class Progress:
    """How far a training is; what a checkpoint holds besides the optimiser.

    Attributes:
        epoch: how many are done.
        best_epoch: the one, counted from 1, that `best` is from; 0: none yet.
        history: a row of numbers for each epoch.
    """

    network: nn.Module
    average: dict[str, Tensor] | None
    optimiser: torch.optim.Optimizer
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def begin(network: nn.Module, recipe: Optimisation) -> Progress:
    """Return a training that has not begun."""
    average = {k: v.clone() for k, v in network.state_dict().items()} if recipe.ema else None
    groups = _parameter_groups(network, recipe.weight_decay)
    optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
    return Progress(network, average, optimiser)


def fit(
    progress: Progress,
    objective: Objective,
    recipe: Optimisation,
    *,
    seed: int,
    device: torch.device,
    until: int | None = None,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Train until the recipe's last epoch, or until what is held out has not got better for long.

    Or until the epoch `until`, with the learning rate still on its way down.

    `progress.best` then holds the weights of the epoch with the lowest loss on what is held out;
    where nothing is, or the recipe's patience is 0, those of the last epoch. `on_epoch` is called
    after each.

    Raises:
        DataError: the loss or the gradient is no number any more; the message names the epoch and
            the batch.
    """
    steps = math.ceil(objective.examples / recipe.batch)
    last = recipe.epochs if until is None else min(until, recipe.epochs)
    stops_early = objective.held_out is not None and recipe.patience > 0
    while progress.epoch < last:
        idle = progress.epoch - progress.best_epoch
        if stops_early and progress.best_epoch and idle >= recipe.patience:
            break
        began = time.monotonic()
        loss = _epoch(progress, objective, recipe, steps, seed, device)
        progress.epoch += 1
        row = {"epoch": progress.epoch, "train_loss": loss}
        judge = _averaged(progress)
        if objective.held_out is not None:
            row |= objective.held_out(judge, device)
        row["seconds"] = round(time.monotonic() - began, 4)
        progress.history.append(row)
        watched = row.get("val_loss", 0.0)
        if math.isnan(watched):
            raise _no_number("loss", watched, f"on the samples of val after epoch {progress.epoch}")
        if not stops_early:
            watched = -progress.epoch
        if watched < progress.best_loss:
            progress.best_loss, progress.best_epoch = watched, progress.epoch
            progress.best = {k: v.detach().cpu().clone() for k, v in judge.state_dict().items()}
        on_epoch(progress)


def _epoch(
    progress: Progress,
    objective: Objective,
    recipe: Optimisation,
    steps: int,
    seed: int,
    device: torch.device,
) -> float:
    """Run one epoch; return the mean training loss."""
    # Spread, as neighbouring seeds give PyTorch's generator related numbers.
    fresh = int(np.random.SeedSequence([seed, progress.epoch]).generate_state(1)[0])
    torch.manual_seed(fresh + rank()[0])  # dropout: the shares of a batch are not to be alike
    draw = np.random.default_rng(fresh)
    order = draw.permutation(objective.examples)
    progress.network.train()
    total = weight = 0.0
    for step in range(steps):
        rate = _learning_rate(progress.epoch * steps + step, recipe.epochs * steps, recipe)
        for group in progress.optimiser.param_groups:
            group["lr"] = rate * group["part"]
        rows = order[step * recipe.batch : (step + 1) * recipe.batch]
        where = f"in epoch {progress.epoch + 1}, batch {step + 1} of {steps}"
        loss, counted = _step(progress, objective, recipe, rows, draw, device, where)
        total += loss * counted
        weight += counted
    return total / weight


def _no_number(what: str, value: float, where: str) -> DataError:
    return DataError(
        f"the {what} is {value} {where}; try --set optimisation.learning_rate with less than the "
        "recipe says, and look at the data with --check"
    )


def _step(
    progress: Progress,
    objective: Objective,
    recipe: Optimisation,
    rows: np.ndarray,
    draw: np.random.Generator,
    device: torch.device,
    where: str,
) -> tuple[float, float]:
    """Learn from one batch; return its loss and how much it counts for.

    DataError where the loss or the gradient is no number; `where` is the batch, for the message.
    """
    progress.optimiser.zero_grad(set_to_none=True)
    loss, counted = objective.loss(progress.network, rows, draw, device)
    if loss.requires_grad:  # a last, small batch may have nothing for some of many processes
        loss.backward()  # type: ignore[no-untyped-call]
    value = add_up_shares(progress.network, loss)
    if not math.isfinite(value):
        raise _no_number("loss", value, where)
    norm = float(nn.utils.clip_grad_norm_(progress.network.parameters(), recipe.clip))
    # A loss can be a number and its gradient none: after the last batch no loss would show it.
    if not math.isfinite(norm):
        raise _no_number("norm of the gradient", norm, where)
    progress.optimiser.step()
    if progress.average is not None:
        _move_average(progress.average, progress.network, recipe.ema)
    return value, counted


def _averaged(progress: Progress) -> nn.Module:
    """Return the network with averaged weights where there are some."""
    if progress.average is None:
        return progress.network
    network = copy.deepcopy(progress.network)
    network.load_state_dict(progress.average)
    return network


# --- the parts of a step -----------------------------------------------------------------------


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return AdamW's groups; `part`: of the learning rate.

    Only matrices decay: biases and gains gain nothing by it.
    """
    groups = []
    for is_tail in (False, True):
        for is_matrix in (True, False):
            chosen = [
                parameter
                for name, parameter in network.named_parameters()
                if parameter.requires_grad
                and name.startswith(TAIL_PREFIX) == is_tail
                and (parameter.ndim > 1) == is_matrix
            ]
            decay, part = weight_decay if is_matrix else 0.0, TAIL_PART if is_tail else 1.0
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay, "part": part})
    return groups


def _learning_rate(step: int, steps: int, recipe: Optimisation) -> float:
    """Rise linearly, then fall along half a cosine to zero (Loshchilov, Hutter 2017)."""
    rising = max(1, round(recipe.warmup * steps))
    if step < rising:
        return recipe.learning_rate * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _move_average(average: dict[str, Tensor], network: nn.Module, keep: float) -> None:
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1 - keep)
            else:
                average[name].copy_(value)
