"""When does what happen: a network over many scales of time that needs no anchor segments.

At each anchor point of each scale it says what happens there, and how far its begin and its end are
away. Long actions are seen at coarse scales, short ones at fine ones, so nothing has to be known of
how long actions last. Of this kind are ActionFormer (Zhang, Wu, Li 2022) and TriDet (Shi et al.
2023), after FCOS (Tian et al. 2019); here convolutions take the place of attention, so that the
prediction at a point depends on a limited part around it, and a long video can be gone through in
chunks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmm_cli.networks.reach import HEAD_LAYERS, KERNEL, coarsest, of_pyramid

RARE = 0.01  # a fresh network says of everything that it happens with this probability: focal loss


@dataclass(frozen=True, slots=True, eq=False)
class AnchorPoints:
    """Predictions at P anchor points, those of all scales, the finest first.

    Attributes:
        logits: float [B, P, C], of each label.
        offsets: float [B, P, 2], how far begin and end are away, in steps, both at least 0.
        mask: bool [B, P]: which points there are.
        steps: float [P], where each lies on the grid, in steps.
        strides: float [P], how far the points of its scale lie apart, in steps.
        step_logits: float [B, T, C], of each label at each step: whether it goes on just then. To
            be asked for that too makes what the scales are given much better.
    """

    logits: Tensor
    offsets: Tensor
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
    """The layers that all scales share: from what is seen at a point to the prediction there."""

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
    """Scales of time, each half as fine as the one before, and predictions at each."""

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
        """How many steps the points of the coarsest scale lie apart."""
        return coarsest(self.levels)

    @property
    def receptive_field(self) -> int:
        """How many steps to either side a prediction depends on."""
        return of_pyramid(self.levels)

    def forward(self, x: Tensor, mask: Tensor) -> AnchorPoints:
        """[B, T, H], [B, T] -> predictions at the anchor points of all scales."""
        parts = []
        grid = x.shape[1]
        absent = ~mask[..., None]
        x = x.masked_fill(absent, 0.0)
        step_logits = self.at_step(x)
        x = self.stem(x, absent)
        for level, norm in enumerate(self.norms):
            if level:
                mask = mask[:, ::2]  # each second point of the scale below is one of this
                absent = ~mask[..., None]
                x = _over_time(self.halve[level - 1], x).masked_fill(absent, 0.0)
                x = self.blocks[level - 1](x, absent)
            seen = norm(x).masked_fill(absent, 0.0)  # [B, T / 2**level, H]
            stride = 2.0**level
            away = F.softplus(self.how_far(seen, absent) + self.scale[level]) * stride
            parts.append((self.what(seen, absent), away, mask))
        logits, offsets, masks = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
        steps, strides = (each.to(x.device) for each in anchor_points(grid, self.levels))
        return AnchorPoints(logits, offsets, masks, steps, strides, step_logits)


def anchor_points(steps: int, levels: int) -> tuple[Tensor, Tensor]:
    """Return where the anchor points of all scales lie on T steps, and their strides: 2 x [P].

    >>> anchor_points(4, 2)
    (tensor([0., 1., 2., 3., 0., 2.]), tensor([1., 1., 1., 1., 2., 2.]))
    """
    scales = [torch.arange(0, steps, 2**level, dtype=torch.float32) for level in range(levels)]
    strides = [torch.full_like(at, 2.0**level) for level, at in enumerate(scales)]
    return torch.cat(scales), torch.cat(strides)


def _over_time(convolution: nn.Module, x: Tensor) -> Tensor:
    """[B, T, H] -> [B, T', H']."""
    y: Tensor = convolution(x.transpose(1, 2)).transpose(1, 2)
    return y
