"""When does what happen: a network over many scales of time that needs no anchors.

At each place of each scale it says what happens there, and how far the begin and the end of it are
away. Long actions are seen at coarse scales, short ones at fine ones, so nothing has to be known of
how long actions last. Of this kind are ActionFormer (Zhang, Wu, Li 2022) and TriDet (Shi et al.
2023), after FCOS (Tian et al. 2019); here convolutions take the place of attention, so that what is
said of a place depends on a limited stretch around it, and a long video can be judged piece by
piece.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KERNEL = 3
HEAD_LAYERS = 2  # convolutions before the one that gives the output
RARE = 0.01  # a fresh network says of everything that it happens with this probability: focal loss


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """What is said at P places, those of all scales, the finest first.

    Attributes:
        logits: float [B, P, C], of each label.
        reaches: float [B, P, 2], how far begin and end are away, in steps, both at least 0.
        mask: bool [B, P]: which places there are.
        steps: float [P], where each lies on the grid, in steps.
        strides: float [P], how far the places of its scale lie apart, in steps.
        step_logits: float [B, T, C], of each label at each step: whether it goes on just then. To
            be asked for that too makes what the scales are given much better.
    """

    logits: Tensor
    reaches: Tensor
    mask: Tensor
    steps: Tensor
    strides: Tensor
    step_logits: Tensor


class Block(nn.Module):
    """A convolution over time and a feed-forward network, each added to its input."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.over_time = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2)
        self.norm_feed = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, absent: Tensor) -> Tensor:
        """[B, T, H], [B, T, 1] -> [B, T, H]."""
        y = self.norm(x).masked_fill(absent, 0.0)
        x = x + self.dropout(F.gelu(_over_time(self.over_time, y)))
        z: Tensor = x + self.dropout(self.feed(self.norm_feed(x)))
        return z.masked_fill(absent, 0.0)


class Tower(nn.Module):
    """The layers that all scales share: from what is seen at a place to what is said of it."""

    def __init__(self, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2) for _ in range(HEAD_LAYERS)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(HEAD_LAYERS))
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Conv1d(width, outputs, KERNEL, padding=KERNEL // 2)

    def forward(self, x: Tensor, absent: Tensor) -> Tensor:
        """[B, T, H], [B, T, 1] -> [B, T, outputs]."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = F.relu(norm(_over_time(layer, x))).masked_fill(absent, 0.0)
        return _over_time(self.last, self.dropout(x))


class Pyramid(nn.Module):
    """Scales of time, each half as fine as the one before, and what is said at each."""

    def __init__(self, width: int, outputs: int, *, dropout: float, levels: int) -> None:
        super().__init__()
        self.at_step = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, outputs))
        self.stem = Block(width, dropout)
        self.halve = nn.ModuleList(
            nn.Conv1d(width, width, KERNEL, stride=2, padding=KERNEL // 2)
            for _ in range(levels - 1)
        )
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(levels - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(levels))
        self.what = Tower(width, outputs, dropout)
        self.how_far = Tower(width, 2, dropout)
        self.scale = nn.Parameter(torch.zeros(levels))
        self.levels: int = levels
        assert self.what.last.bias is not None
        nn.init.constant_(self.what.last.bias, -math.log((1 - RARE) / RARE))

    @property
    def coarsest(self) -> int:
        """How many steps the places of the coarsest scale lie apart."""
        return 1 << (self.levels - 1)

    @property
    def reach(self) -> int:
        """How many steps to either side a place depends on.

        Of each scale a convolution in its block and one on the way to it, which steps half as
        wide; of the coarsest one those of a tower too.
        """
        half = KERNEL // 2
        blocks = sum(half << level for level in range(self.levels))
        ways = sum(half << (level - 1) for level in range(1, self.levels))
        return blocks + ways + half * (HEAD_LAYERS + 1) * self.coarsest

    def forward(self, x: Tensor, mask: Tensor) -> Places:
        """[B, T, H], [B, T] -> what is said at the places of all scales."""
        parts = []
        grid = x.shape[1]
        absent = ~mask[..., None]
        x = x.masked_fill(absent, 0.0)
        step_logits = self.at_step(x)
        x = self.stem(x, absent)
        for level, norm in enumerate(self.norms):
            if level:
                mask = mask[:, ::2]  # a place of a scale lies on each second one of the scale below
                absent = ~mask[..., None]
                x = _over_time(self.halve[level - 1], x).masked_fill(absent, 0.0)
                x = self.blocks[level - 1](x, absent)
            seen = norm(x).masked_fill(absent, 0.0)  # [B, T / 2**level, H]
            stride = 2.0**level
            away = F.softplus(self.how_far(seen, absent) + self.scale[level]) * stride
            parts.append((self.what(seen, absent), away, mask))
        logits, reaches, masks = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
        steps, strides = (each.to(x.device) for each in places(grid, self.levels))
        return Places(logits, reaches, masks, steps, strides, step_logits)


def places(steps: int, levels: int) -> tuple[Tensor, Tensor]:
    """Return where the places of all scales lie on a grid of T steps, and their strides: 2 x [P].

    >>> places(4, 2)
    (tensor([0., 1., 2., 3., 0., 2.]), tensor([1., 1., 1., 1., 2., 2.]))
    """
    scales = [torch.arange(0, steps, 2**level, dtype=torch.float32) for level in range(levels)]
    strides = [torch.full_like(at, 2.0**level) for level, at in enumerate(scales)]
    return torch.cat(scales), torch.cat(strides)


def _over_time(convolution: nn.Module, x: Tensor) -> Tensor:
    """[B, T, H] -> [B, T', H']."""
    y: Tensor = convolution(x.transpose(1, 2)).transpose(1, 2)
    return y
