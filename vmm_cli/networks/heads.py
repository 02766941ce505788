"""Heads: what a fused sequence says in the end.

Each is built as `HEADS[name](width, outputs, dropout=, levels=)`; what one has no use for it leaves
aside. It maps x [B, T, H] with mask [B, T] (True: there) to logits: `classes` to [B, C], `valence`
to [B, 1 + C], `steps` to [B, T, C], `segments` to `AnchorPoints`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vmm_cli.networks.pyramid import Pyramid
from vmm_cli.networks.temporal import masked_mean


class Classes(nn.Module):
    """One logit a class for the whole sample: the mean over time and a linear map of it."""

    def __init__(self, width: int, outputs: int, *, dropout: float, levels: int = 1) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, outputs)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, T, H], [B, T] -> [B, C]; the bias alone for a row without a step."""
        y: Tensor = self.linear(self.dropout(masked_mean(x, mask)))
        return y


class Valence(nn.Module):
    """A valence from -1 to 1 and a logit an emotion, of which there may be none; as `Classes`."""

    def __init__(self, width: int, outputs: int, *, dropout: float, levels: int = 1) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, 1 + outputs)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, T, H], [B, T] -> [B, 1 + C], valence first; of the bias alone without a step."""
        mean = masked_mean(x, mask)
        # Without dropout: tanh of a noisy number lies nearer to 0 on average, so that in training
        # the number would grow, and without the noise all valences would be too far from 0.
        valence = self.linear(mean)[:, :1].tanh()
        return torch.cat([valence, self.linear(self.dropout(mean))[:, 1:]], dim=1)


class Steps(nn.Module):
    """One logit a class at each step: a linear map of it."""

    def __init__(self, width: int, outputs: int, *, dropout: float, levels: int = 1) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, outputs)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, T, H], [B, T] -> [B, T, C]; the bias alone where nothing is there."""
        y: Tensor = self.linear(self.dropout(x.masked_fill(~mask[..., None], 0.0)))
        return y


HEADS: dict[str, Callable[..., nn.Module]] = {
    "classes": Classes,
    "valence": Valence,
    "steps": Steps,
    "segments": Pyramid,
}
