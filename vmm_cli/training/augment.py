"""What training changes in a batch so that the network does not learn it by heart."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def drop_streams(masks: dict[str, Tensor], chance: float, draw: np.random.Generator) -> None:
    """Hide single streams of single rows, but never a row's last one."""
    if chance <= 0 or len(masks) < 2:
        return
    names = list(masks)
    rows = len(masks[names[0]])
    hidden = draw.random((rows, len(names))) < chance
    there = np.stack([masks[name].any(dim=1).cpu().numpy() for name in names], axis=1)
    left = there & ~hidden
    spared = np.where(left.any(axis=1), -1, (draw.random(there.shape) * there).argmax(axis=1))
    for column, name in enumerate(names):
        keep = ~hidden[:, column] | (spared == column)
        masks[name] &= torch.from_numpy(keep).to(masks[name].device)[:, None]


def mix(
    values: dict[str, Tensor],
    masks: dict[str, Tensor],
    wanted: Tensor,
    alpha: float,
    draw: np.random.Generator,
) -> tuple[dict[str, Tensor], Tensor]:
    """Mix each row with another one, in what is seen and in what is right (Zhang et al. 2018).

    Values by stream, [B, T, ...], where both rows have some; and targets [B, C]. Tokens cannot be
    mixed: they stay the row's own. A row of which no value was mixed keeps its target.
    """
    share = float(draw.beta(alpha, alpha))
    share = max(share, 1 - share)  # a row stays mostly itself, as its tokens do
    other = torch.from_numpy(draw.permutation(len(wanted))).to(wanted.device)
    mixed = {}
    touched = torch.zeros(len(wanted), dtype=torch.bool, device=wanted.device)
    for stream, x in values.items():
        if not x.is_floating_point():
            mixed[stream] = x
            continue
        there = masks[stream]  # [B, T]
        both = there & there[other]
        touched |= both.any(dim=1)
        there, both = (m.reshape(*m.shape, *[1] * (x.ndim - 2)) for m in (there, both))
        x = torch.where(there, x, 0)
        mixed[stream] = torch.where(both, share * x + (1 - share) * x[other], x)
    target = share * wanted + (1 - share) * wanted[other]
    return mixed, torch.where(touched[:, None], target, wanted)
