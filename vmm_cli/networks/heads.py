"""Heads: what a fused sequence says in the end."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from vmm_cli.networks.temporal import masked_mean


class Classes(nn.Module):
    """One logit a class for the whole sample: the mean over time and a linear map of it."""

    def __init__(self, width: int, outputs: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, outputs)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, T, H], [B, T] -> [B, C]; the bias alone for a row without a step."""
        y: Tensor = self.linear(self.dropout(masked_mean(x, mask)))
        return y


HEADS: dict[str, Callable[..., nn.Module]] = {"classes": Classes}
