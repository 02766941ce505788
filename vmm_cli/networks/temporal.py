"""Temporal networks: how what a stream shows at one time is read with what it shows at others.

Each is built as `TEMPORAL[name](width, layers=, dropout=)`, says with `receptive_field` how
many steps to either side a step depends on (None: on all of them), and maps x [B, T, H] with mask
[B, T] (True: there) to [B, T, H], zero where nothing is there. What lies behind the mask
changes nothing, whatever it is and wherever it lies: at the end, at the start, or between two steps
that are there.

All but `none` and `mean` add what they find to their input (He et al. 2016), so that they start
near the mean over time and depart from it as far as the data tell them to; few clips are enough for
that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmm_cli.networks.reach import TCN_DILATIONS, TCN_KERNEL, of_temporal

LONGEST_WAVE = 10_000.0  # of the positions, in steps over 2 pi; as published
HEADS = 4  # of the attention, where the width can be divided so


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the steps that are there: [B, T, H], [B, T] -> [B, H]; 0 for none."""
    count = mask.sum(dim=1, keepdim=True).clamp(min=1)
    return x.masked_fill(~mask[..., None], 0.0).sum(dim=1) / count


def places_of_present(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return where each step comes if those that are there come first: bool [B, T] -> 2 x int64.

    First in their order, then in the reverse one; those that are not there follow in theirs.
    """
    present, absent = mask.long().cumsum(dim=1), (~mask).long().cumsum(dim=1)
    count = present[:, -1:]
    behind = count + absent - 1
    return torch.where(mask, present - 1, behind), torch.where(mask, count - present, behind)


def run_over_present(network: nn.LSTM | nn.GRU, x: Tensor, mask: Tensor) -> Tensor:
    """Run a recurrent network over the steps that are there, as if there were no others.

    [B, T, D], [B, T] -> [B, T, D'], zero where nothing is there. Layer by layer and direction by
    direction: each reads what is there first, so that no length needs to be known. Sequences packed
    by their lengths would be the same, but cannot be written as a graph.
    """
    absent = ~mask[..., None]
    weights = cast(list[Tensor], network._flat_weights)
    ways = places_of_present(mask)
    each = len(weights) // (network.num_layers * len(ways))  # of a layer in a direction
    x = x.masked_fill(absent, 0.0)
    for layer in range(network.num_layers):
        if layer:
            x = F.dropout(x, network.dropout, network.training)
        first = layer * len(ways) * each
        x = torch.cat(
            [
                _read(network, weights[first + way * each : first + (way + 1) * each], x, places)
                for way, places in enumerate(ways)
            ],
            dim=-1,
        )
    return x.masked_fill(absent, 0.0)


def _read(network: nn.LSTM | nn.GRU, weights: list[Tensor], x: Tensor, places: Tensor) -> Tensor:
    """Read the steps in one direction, in the order of their places: [B, T, D] -> [B, T, D']."""
    ordered = torch.zeros_like(x).scatter(1, _each_channel(places, x.shape[2]), x)
    start = x.new_zeros(1, x.shape[0], network.hidden_size)
    # With biases, of one layer, without dropout, in one direction, the batch first.
    training = network.training
    if isinstance(network, nn.LSTM):
        y = torch.lstm(ordered, (start, start), weights, True, 1, 0.0, training, False, True)[0]
    else:
        y = torch.gru(ordered, start, weights, True, 1, 0.0, training, False, True)[0]
    return y.gather(1, _each_channel(places, network.hidden_size))


def _each_channel(places: Tensor, width: int) -> Tensor:
    """[B, T] -> [B, T, width]."""
    return places[..., None].expand(-1, -1, width)


class Alone(nn.Module):
    """Each step as it is; `layers` and `dropout` are not used."""

    receptive_field = 0

    def __init__(self, width: int, *, layers: int, dropout: float) -> None:
        super().__init__()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, T, H], [B, T] -> [B, T, H]."""
        return x.masked_fill(~mask[..., None], 0.0)


class Mean(nn.Module):
    """The mean over time, at each step; nothing is learned. `layers` and `dropout` are not used."""

    receptive_field = None

    def __init__(self, width: int, *, layers: int, dropout: float) -> None:
        super().__init__()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, T, H], [B, T] -> [B, T, H]."""
        mean = masked_mean(x, mask)[:, None]  # [B, 1, H]
        return mean.expand_as(x).masked_fill(~mask[..., None], 0.0)


class Recurrent(nn.Module):
    """An LSTM or a GRU that reads the present steps in both directions.

    Hochreiter and Schmidhuber 1997; Cho et al. 2014; in both directions Schuster and Paliwal 1997.
    """

    receptive_field = None

    def __init__(
        self, cell: type[nn.LSTM] | type[nn.GRU], width: int, *, layers: int, dropout: float
    ) -> None:
        super().__init__()
        hidden = -(-width // 2)  # of each direction
        self.norm = nn.LayerNorm(width)
        self.recurrent = cell(
            width,
            hidden,
            layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(2 * hidden, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, T, H], [B, T] -> [B, T, H]."""
        absent = ~mask[..., None]
        x = x.masked_fill(absent, 0.0)
        y = run_over_present(self.recurrent, self.norm(x), mask)  # [B, T, H] -> [B, T, 2h]
        x = x + self.project(self.dropout(y))  # -> [B, T, H]
        return x.masked_fill(absent, 0.0)


class AttentionLayer(nn.Module):
    """Self-attention over the present steps, then a feed-forward network; both normalised first.

    Vaswani et al. 2017 in the order of Xiong et al. 2020. Positions are added to queries and keys
    only, not to what is read: the mean over time then does not depend on how long a sample is.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.heads = math.gcd(width, HEADS)
        self.norm_attention = nn.LayerNorm(width)
        self.query_key = nn.Linear(width, 2 * width)
        self.value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)
        self.norm_feed = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, keys: Tensor, positions: Tensor) -> Tensor:
        """[B, T, H], bool [B, 1, 1, T], [T, H] -> [B, T, H]."""
        y = self.norm_attention(x)
        query, key = self.query_key(y + positions).chunk(2, dim=-1)  # [B, T, 2H] -> 2 x [B, T, H]
        read = F.scaled_dot_product_attention(
            self._split(query), self._split(key), self._split(self.value(y)), attn_mask=keys
        )  # [B, heads, T, H / heads]
        x = x + self.dropout(self.project(read.transpose(1, 2).flatten(2)))  # -> [B, T, H]
        z: Tensor = x + self.dropout(self.feed(self.norm_feed(x)))
        return z

    def _split(self, x: Tensor) -> Tensor:
        """[B, T, H] -> [B, heads, T, H / heads]."""
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Transformer(nn.Module):
    """Layers of self-attention; positions are sine waves by the number of the step."""

    receptive_field = None

    def __init__(self, width: int, *, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(AttentionLayer(width, dropout) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, T, H], [B, T] -> [B, T, H]."""
        absent = ~mask[..., None]
        x = x.masked_fill(absent, 0.0)
        positions = sine_positions(x.shape[1], x.shape[2]).to(x)
        # Softmax over no key at all is not defined: a row without a step attends to its zeros.
        keys = (mask | ~mask.any(dim=1, keepdim=True))[:, None, None]  # [B, 1, 1, T]
        for layer in self.layers:
            x = layer(x, keys, positions)
        return x.masked_fill(absent, 0.0)


def sine_positions(steps: int, width: int) -> Tensor:
    """Return a vector for each step: float32 [T, H]; section 3.5 of Vaswani et al. 2017."""
    pairs = -(-width // 2)
    rates = LONGEST_WAVE ** (-torch.arange(pairs, dtype=torch.float64) / pairs)
    angles = torch.arange(steps, dtype=torch.float64)[:, None] * rates  # [T, pairs]
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width].float()


class DilatedBlock(nn.Module):
    """A dilated convolution over time and one over the channels, added to their input.

    Lea et al. 2017; in this form Abu Farha and Gall 2019.
    """

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        padding = dilation * (TCN_KERNEL - 1) // 2
        self.over_time = nn.Conv1d(width, width, TCN_KERNEL, padding=padding, dilation=dilation)
        self.over_channels = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, absent: Tensor) -> Tensor:
        """[B, T, H], [B, T, 1] -> [B, T, H]."""
        # An absent step is to a convolution what lies beyond the end: zeros.
        y = self.norm(x).masked_fill(absent, 0.0)
        y = F.relu(self.over_time(y.transpose(1, 2)).transpose(1, 2))
        z: Tensor = x + self.dropout(self.over_channels(y))
        return z


class TemporalConvolution(nn.Module):
    """Residual convolutions over time; in each layer they reach further, then further still."""

    def __init__(self, width: int, *, layers: int, dropout: float) -> None:
        super().__init__()
        self.receptive_field = of_temporal("tcn", layers)
        self.blocks = nn.ModuleList(
            DilatedBlock(width, dilation, dropout)
            for _ in range(layers)
            for dilation in TCN_DILATIONS
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, T, H], [B, T] -> [B, T, H]."""
        absent = ~mask[..., None]
        x = x.masked_fill(absent, 0.0)
        for block in self.blocks:
            x = block(x, absent)
        return x.masked_fill(absent, 0.0)


TEMPORAL: dict[str, Callable[..., nn.Module]] = {
    "mean": Mean,
    "lstm": partial(Recurrent, nn.LSTM),
    "gru": partial(Recurrent, nn.GRU),
    "transformer": Transformer,
    "tcn": TemporalConvolution,
    "none": Alone,
}
