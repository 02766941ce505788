"""The whole network: a front end and a temporal network for each stream, fusion, and a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from vmm_cli.networks.frontends import (
    FRONT_ENDS,
    FeatureFrontEnd,
    PatchCNN,
    SkeletonGraph,
    TokenLSTM,
)
from vmm_cli.networks.fusion import FUSION
from vmm_cli.networks.heads import HEADS
from vmm_cli.networks.pyramid import AnchorPoints
from vmm_cli.networks.reach import CHANGE
from vmm_cli.networks.temporal import TEMPORAL

T = TypeVar("T")

# What a front end reads, by its name.
READS = {
    "identity": "features",
    "change": "features",
    "identity-change": "features",
    "cnn": "patches",
    "lstm": "tokens",
    "skeleton-graph": "features",
}


@dataclass(frozen=True)
class StreamShape:
    """What one stream looks like. ValueError if its front end cannot read it.

    Attributes:
        kind: "features": values float32 [B, T, D]; "patches": float32 [B, T, C, H, W]; "tokens":
            int64 [B, L], a text that holds at every step.
        width: D, or C * H * W; of no meaning for tokens.
        front_end: one of `FRONT_ENDS`.
        vocabulary: how many tokens there are.
        channels: C.
    """

    name: str
    kind: str
    width: int
    front_end: str
    vocabulary: int = 0
    channels: int = 1

    def __post_init__(self) -> None:
        if _chosen(READS, self.front_end, "front end") != self.kind:
            fitting = ", ".join(name for name, kind in READS.items() if kind == self.kind)
            raise ValueError(
                f"stream {self.name!r}: front end {self.front_end!r} cannot read {self.kind}"
                + (f"; {fitting} can" if fitting else "")
            )


class FusionNetwork(nn.Module):
    """Streams on one grid of T steps -> what the head makes of them: see `HEADS`.

    A stream may be absent from a row or from some of its steps; it then counts for nothing. A row
    in which every stream is absent gives the head's bias.
    """

    def __init__(
        self,
        streams: Sequence[StreamShape],
        *,
        temporal: str,
        fusion: str,
        width: int,
        layers: int,
        dropout: float,
        outputs: int,
        head: str = "classes",
        levels: int = 1,
    ) -> None:
        """Build it with fresh weights. ValueError for a name that is none of the choices."""
        super().__init__()
        names = [shape.name for shape in streams]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"streams must be there and have names of their own: {names}")
        over_time = _chosen(TEMPORAL, temporal, "temporal network")
        fuse = _chosen(FUSION, fusion, "fusion")
        say = _chosen(HEADS, head, "head")
        self.shapes = tuple(streams)
        self.front_ends = nn.ModuleDict(
            {
                shape.name: FRONT_ENDS[shape.front_end](
                    width_in=shape.width,
                    width=width,
                    dropout=dropout,
                    channels=shape.channels,
                    vocabulary=shape.vocabulary,
                )
                for shape in streams
            }
        )
        self.temporal = nn.ModuleDict(
            {
                shape.name: over_time(width, layers=layers, dropout=dropout)
                for shape in streams
                if shape.kind != "tokens"  # a text is the same at every step
            }
        )
        self.fusion = fuse(len(streams), width, dropout=dropout)
        self.head = say(width, outputs, dropout=dropout, levels=levels)

    def fit_statistics(self, values: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
        """Tell the front ends mean and spread of the training data; once, before training."""
        for shape in self.shapes:
            front_end = self.front_ends[shape.name]
            assert isinstance(front_end, FeatureFrontEnd | PatchCNN | SkeletonGraph | TokenLSTM)
            front_end.fit(values[shape.name], masks[shape.name])

    def forward(
        self, values: Mapping[str, Tensor], masks: Mapping[str, Tensor], grid: Tensor
    ) -> Tensor | AnchorPoints:
        """Return what the head says.

        Args:
            values: by stream, as its `StreamShape` says.
            masks: by stream, bool [B, T] or for tokens [B, L]; True: there.
            grid: bool [B, T], which steps a row has.
        """
        return cast(Tensor | AnchorPoints, self.head(*self.fused(values, masks, grid)))

    def fused(
        self, values: Mapping[str, Tensor], masks: Mapping[str, Tensor], grid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what the head is given: x [B, T, H] and mask [B, T]; see `forward`."""
        x, there = self._streams(values, masks, grid)
        return self.fusion(x, there), there.any(dim=1)

    @property
    def receptive_field(self) -> int | None:
        """How many steps to either side `fused` depends on; None: on all of them.

        Where a stream is absent for longer than that, the change at its return is another one.
        """
        over_time = [_receptive_field(module) for module in self.temporal.values()]
        if None in over_time:
            return None
        widest = max((field for field in over_time if field), default=0)
        return CHANGE + widest + (_receptive_field(self.fusion) or 0)

    def _streams(
        self, values: Mapping[str, Tensor], masks: Mapping[str, Tensor], grid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return each stream after its temporal network: [B, S, T, H], and which are there."""
        shown, there = [], []
        for shape in self.shapes:
            x, mask = values[shape.name], masks[shape.name]
            front_end = self.front_ends[shape.name]
            if shape.kind == "tokens":
                x, mask = front_end(x, mask)  # [B, L] -> [B, H], [B]
                x = x[:, None].expand(-1, grid.shape[1], -1)  # -> [B, T, H]
                mask = mask[:, None] & grid  # -> [B, T]
            else:
                x, mask = front_end(x, mask & grid)  # -> [B, T, H], [B, T]
                x = self.temporal[shape.name](x, mask)
            shown.append(x)
            there.append(mask)
        return torch.stack(shown, dim=1), torch.stack(there, dim=1)


def _receptive_field(module: nn.Module) -> int | None:
    return cast(int | None, module.receptive_field)


def _chosen(choices: Mapping[str, T], name: str, what: str) -> T:
    """Return a choice by its name. ValueError that lists them and the nearest name."""
    if name in choices:
        return choices[name]
    near = get_close_matches(name, choices, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"no {what} named {name!r}{hint} There are {', '.join(choices)}")
