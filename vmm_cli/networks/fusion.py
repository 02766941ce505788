"""Fusion: what the streams show at a step becomes one vector.

Each is built as `FUSION[name](streams, width, dropout=)`, says with `receptive_field` how many
steps to either side a step depends on, and maps x [B, S, T, H] with mask [B, S, T] (True: there)
to [B, T, H], zero where no stream is there. An absent stream contributes exactly nothing: a row
without it comes out as from a network that was built without it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmm_cli.networks.reach import GRAPH_ROUNDS, of_fusion


def _shares(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the streams that are there: [B, S, T], [B, S, T] -> [B, S, T]; 0 for absent."""
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=1).masked_fill(~mask, 0.0)  # all are absent: even shares, so zeroed


def _side_by_side(x: Tensor) -> Tensor:
    """[B, S, T, H] -> [B, T, S * H]."""
    return x.transpose(1, 2).flatten(2)


class Concat(nn.Module):
    """The streams side by side, zeros for absent ones, and a linear map of them."""

    receptive_field = 0

    def __init__(self, streams: int, width: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.mix = nn.Linear(streams * width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, S, T, H], [B, S, T] -> [B, T, H]."""
        x = _side_by_side(x.masked_fill(~mask[..., None], 0.0))  # -> [B, T, S * H]
        y: Tensor = self.mix(self.dropout(x))  # -> [B, T, H]
        return y.masked_fill(~mask.any(dim=1)[..., None], 0.0)


class Weighted(nn.Module):
    """A mean with one learned weight a stream, the same at all steps; they start equal."""

    receptive_field = 0

    def __init__(self, streams: int, width: int, *, dropout: float) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(streams))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, S, T, H], [B, S, T] -> [B, T, H]."""
        x = self.dropout(x.masked_fill(~mask[..., None], 0.0))
        shares = _shares(self.scores[:, None].expand_as(mask), mask)  # [B, S, T]
        return torch.einsum("bst,bsth->bth", shares, x)


class Gated(nn.Module):
    """A sum in which all streams together open and close each channel of each stream.

    The gated multimodal unit of Arevalo et al. 2017 (arXiv 1702.01992) for any number of streams.
    """

    receptive_field = 0

    def __init__(self, streams: int, width: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.shown = nn.ModuleList(nn.Linear(width, width) for _ in range(streams))
        self.gates = nn.Linear(streams * width, streams * width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, S, T, H], [B, S, T] -> [B, T, H]."""
        absent = ~mask[..., None]
        x = self.dropout(x.masked_fill(absent, 0.0))
        shown = torch.stack([layer(x[:, s]) for s, layer in enumerate(self.shown)], dim=2).tanh()
        gates = self.gates(_side_by_side(x)).sigmoid().view(shown.shape)
        y: Tensor = (gates * shown).masked_fill(absent.transpose(1, 2), 0.0)  # [B, T, S, H]
        return y.sum(dim=2)


class Attention(nn.Module):
    """A mean whose weights follow at each step from what the streams show.

    Hori et al. 2017, "Attention-based multimodal fusion for video description", without the
    decoder's state: there is none here.
    """

    receptive_field = 0

    def __init__(self, streams: int, width: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.look = nn.ModuleList(nn.Linear(width, width) for _ in range(streams))
        self.score = nn.Linear(width, 1, bias=False)
        self.read = nn.ModuleList(nn.Linear(width, width) for _ in range(streams))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, S, T, H], [B, S, T] -> [B, T, H]."""
        x = self.dropout(x.masked_fill(~mask[..., None], 0.0))
        looks = torch.stack([layer(x[:, s]) for s, layer in enumerate(self.look)], dim=1)
        shares = _shares(self.score(looks.tanh()).squeeze(-1), mask)  # [B, S, T]
        reads = torch.stack([layer(x[:, s]) for s, layer in enumerate(self.read)], dim=1)
        return torch.einsum("bst,bsth->bth", shares, reads)


class MessageRound(nn.Module):
    """Each node hears the other streams of its step, and its stream a step before and after.

    A relational graph network (Schlichtkrull et al. 2018): every kind of edge has its own weights,
    and messages of one kind are averaged.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.hear = nn.Linear(4 * width, width)  # a node's own state and the three kinds of edges
        self.dropout = nn.Dropout(dropout)
        self.update = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, S, T, H], zero where absent, and [B, S, T, 1] -> [B, S, T, H], zero where absent."""
        own = self.norm(x) * mask
        others = mask.sum(dim=1, keepdim=True) - mask.to(x.dtype)  # how many: [B, S, T, 1]
        beside = (own.sum(dim=1, keepdim=True) - own) / others.clamp(min=1)
        before = F.pad(own[:, :, :-1], (0, 0, 1, 0))
        after = F.pad(own[:, :, 1:], (0, 0, 0, 1))
        heard = self.hear(torch.cat([own, beside, before, after], dim=-1))  # -> [B, S, T, H]
        y: Tensor = x + self.update(self.dropout(F.gelu(heard))) * mask
        return y


class Graph(nn.Module):
    """Streams and steps as nodes of a graph that pass messages; then their mean at each step."""

    receptive_field = of_fusion("graph")

    def __init__(self, streams: int, width: int, *, dropout: float) -> None:
        super().__init__()
        self.stream = nn.Parameter(torch.randn(streams, width) * 0.02)  # which stream a node is of
        self.rounds = nn.ModuleList(MessageRound(width, dropout) for _ in range(GRAPH_ROUNDS))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, S, T, H], [B, S, T] -> [B, T, H]."""
        there = mask[..., None]
        x = (x + self.stream[:, None]).masked_fill(~there, 0.0)
        for round_ in self.rounds:
            x = round_(x, there)
        return x.sum(dim=1) / there.sum(dim=1).clamp(min=1)  # [B, S, T, H] -> [B, T, H]


FUSION: dict[str, Callable[..., nn.Module]] = {
    "concat": Concat,
    "weighted": Weighted,
    "gated": Gated,
    "attention": Attention,
    "graph": Graph,
}
