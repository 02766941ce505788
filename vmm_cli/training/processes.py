"""Several processes that train one network: `torchrun` starts them, each has a share of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def rank() -> tuple[int, int]:
    """Return the number of this process, from 0, and how many there are."""
    if not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def share(rows: int) -> slice:
    """Return which rows of a batch are this process's."""
    number, count = rank()
    return slice(number * rows // count, (number + 1) * rows // count)


def add_up_shares(network: nn.Module, loss: Tensor) -> float:
    """Add up loss and gradients over the processes; each has divided by the whole batch."""
    if not torch.distributed.is_initialized():
        return float(loss.detach())
    parameters = [p for p in network.parameters() if p.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([loss.detach().reshape(1), *(g.reshape(-1) for g in gradients)])
    torch.distributed.all_reduce(flat)
    at = 1
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = flat[at : at + gradient.numel()].reshape(gradient.shape).clone()
        at += gradient.numel()
    return float(flat[0])


def agreed(decision: bool | None) -> bool:
    """Return what the first process decided; the others give None and wait for it."""
    if not torch.distributed.is_initialized():
        return bool(decision)
    decisions = [decision]
    torch.distributed.broadcast_object_list(decisions, src=0)
    return bool(decisions[0])
