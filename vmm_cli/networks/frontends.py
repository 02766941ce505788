"""Front ends: the learned first layers of a stream, from what its encoder gives to width H.

Each is built as `FRONT_ENDS[name](width_in=, width=, dropout=, channels=, vocabulary=)`; what one
has no use for it leaves aside. It maps values and mask (True: there) to x and mask: x [B, T, H]
with mask [B, T], zero where nothing is there, or, of a stream without times, x [B, H] with mask
[B]. What lies behind the mask changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmm_cli.networks.pretrained.shapes import PERSON_NUMBERS, POINT_NUMBERS, POINTS
from vmm_cli.networks.temporal import masked_mean, places_of_present, run_over_present

# A dimension that hardly varies in training would be blown up where it does: none counts as varying
# less than this part of the mean over all dimensions.
MIN_SPREAD = 0.01
CNN_CHANNELS = (16, 32, 64)  # each layer halves height and width
CNN_CELLS = (4, 2)  # rows and columns that are told apart in the end; rows of log-mel: pitch
GRAPH_CHANNELS = 32  # of each point of a skeleton
# Which of COCO's 17 points are neighbours in the body.
BONES = (
    *((0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (0, 6)),  # the head, and to the shoulders
    *((5, 6), (5, 7), (7, 9), (6, 8), (8, 10)),  # arms
    *((5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16)),  # torso and legs
)
PADDING_TOKEN = 0
UNKNOWN_TOKEN = 1


class Standardise(nn.Module):
    """Mean 0 and standard deviation 1 in each dimension, as seen by `fit`; until then unchanged."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    @torch.no_grad()
    def fit(self, values: Tensor) -> None:
        """Take the statistics of [N, D]. With N = 0 there are none, and nothing changes."""
        if not len(values):
            return
        std, mean = torch.std_mean(values, dim=0, correction=0)  # [N, D] -> 2 x [D]
        minimum = MIN_SPREAD * std.mean()
        self.mean.copy_(mean)
        self.std.copy_(std.clamp(min=minimum) if minimum > 0 else torch.ones_like(std))

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return (x - self.mean) / self.std


def change(values: Tensor, mask: Tensor) -> Tensor:
    """Return how far each step is from the one before: [B, T, D], [B, T] -> [B, T, D].

    |x_t - x_p|, p being the last step before t that is there. The first step that is there has the
    change of the one that follows it; if none follows, zeros.
    """
    places, _ = places_of_present(mask)
    steps = torch.arange(mask.shape[1], device=mask.device).expand_as(places)
    ordered = torch.zeros_like(places).scatter(1, places, steps)  # those that are there first
    there = mask.long()
    following = there.cumsum(dim=1)  # at which place the next one is
    before = following - there - 1
    other = torch.where(before >= 0, before, following)
    # Where there is no other one each is compared with itself.
    other = torch.where(other < following[:, -1:], other, places)
    index = ordered.gather(1, other)[..., None].expand(-1, -1, values.shape[2])
    return (values - values.gather(1, index)).abs()


class ManyDropout(nn.Module):
    """Dropout for wide inputs: one random byte a number, which takes a quarter of PyTorch's time.

    The probability is rounded to 256ths. Srivastava et al. 2014.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.kept = round((1 - probability) * 256)  # of 256; the recipes' probabilities leave some

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same."""
        if not self.training or self.kept == 256:
            return x
        count = x.numel()
        words = torch.empty(-(-count // 8), dtype=torch.int64, device=x.device)
        words.random_(-(2**63), None)  # all 64 bits
        drawn = words.view(torch.uint8)[:count].view(x.shape)
        return x * (drawn < self.kept) * (256 / self.kept)


def _as_it_is(values: Tensor, mask: Tensor) -> Tensor:
    return values


class FeatureFrontEnd(nn.Module):
    """Views of a stream's features side by side, standardised, then a linear map of them.

    `views` are functions (values [B, T, D], mask [B, T]) -> [B, T, D] that treat each dimension by
    itself.
    """

    def __init__(
        self,
        *views: Callable[[Tensor, Tensor], Tensor],
        width_in: int,
        width: int,
        dropout: float,
        channels: int = 1,
        vocabulary: int = 0,
    ) -> None:
        super().__init__()
        self.views = views
        self.standardise = Standardise(len(views) * width_in)
        self.dropout = ManyDropout(dropout)
        self.linear = nn.Linear(len(views) * width_in, width)

    def fit(self, values: Tensor, mask: Tensor) -> None:
        """Take the statistics of the training data: [B, T, D], [B, T]."""
        self.standardise.fit(self._seen(values, mask)[mask])

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, D], [B, T] -> [B, T, H], [B, T]."""
        x = self.linear(self.dropout(self.standardise(self._seen(values, mask))))
        return x.masked_fill(~mask[..., None], 0.0), mask

    def _seen(self, values: Tensor, mask: Tensor) -> Tensor:
        """[B, T, D], [B, T] -> [B, T, views * D]."""
        values = values.masked_fill(~mask[..., None], 0.0)
        return torch.cat([view(values, mask) for view in self.views], dim=-1)


class PatchCNN(nn.Module):
    """A small convolutional network over the picture or the piece of spectrogram of each step.

    There is no batch normalisation: a sample's result must not depend on the others of its batch.
    """

    def __init__(
        self, *, width_in: int, width: int, dropout: float, channels: int = 1, vocabulary: int = 0
    ) -> None:
        """`width_in`: C * H * W of a patch; `channels`: its C."""
        super().__init__()
        self.standardise = Standardise(width_in)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1)
            for channels_in, channels_out in zip(
                (channels, *CNN_CHANNELS), CNN_CHANNELS, strict=False
            )
        )
        for layer in self.convolutions:
            assert isinstance(layer, nn.Conv2d)
            # Without a normalisation PyTorch's own start would halve the signal in each layer.
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(CNN_CHANNELS[-1] * CNN_CELLS[0] * CNN_CELLS[1], width)

    def fit(self, values: Tensor, mask: Tensor) -> None:
        """Take the statistics of the training data: [B, T, C, H, W], [B, T]."""
        self.standardise.fit(values[mask].flatten(1))

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, C, H, W], [B, T] -> [B, T, H], [B, T]."""
        absent = ~mask[..., None]
        x = values.flatten(2).masked_fill(absent, 0.0)  # [B, T, C, H, W] -> [B, T, C * H * W]
        x = self.standardise(x).reshape(-1, *values.shape[2:])  # -> [B * T, C, H, W]
        for convolution in self.convolutions:
            x = F.relu(convolution(x))
        x = _cells(x)  # [B * T, 64, H / 8, W / 8] -> [B * T, 64 * 4 * 2]
        x = self.linear(self.dropout(x))  # -> [B * T, H]
        return x.reshape(*mask.shape, -1).masked_fill(absent, 0.0), mask  # -> [B, T, H]


def _cells(x: Tensor) -> Tensor:
    """Return the mean over each of `CNN_CELLS`: [N, C, H, W] -> [N, C * rows * columns].

    Cells that do not divide the sides overlap, as PyTorch's `adaptive_avg_pool2d` has them.
    """
    bounds = (
        [(i * side // cells, ((i + 1) * side + cells - 1) // cells) for i in range(cells)]
        for side, cells in zip(x.shape[2:], CNN_CELLS, strict=True)
    )
    means = [
        x[:, :, top:bottom, left:right].mean(dim=(2, 3))
        for (top, bottom), (left, right) in product(*bounds)
    ]
    return torch.stack(means, dim=2).flatten(1)


class TokenLSTM(nn.Module):
    """Learned embeddings of words, read by an LSTM in both directions: one vector for a text.

    The mean over the LSTM's outputs is taken, not its last one: from a few hundred texts it learns
    far sooner. In training, words become the unknown word with probability `dropout` (Iyyer et al.
    2015): so the unknown word, which no training text holds, gets a meaning, too.
    """

    def __init__(
        self, *, width_in: int, width: int, dropout: float, channels: int = 1, vocabulary: int
    ) -> None:
        super().__init__()
        hidden = -(-width // 2)  # of each direction
        self.unknown = dropout
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=PADDING_TOKEN)
        self.recurrent = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * hidden, width)

    def fit(self, values: Tensor, mask: Tensor) -> None:
        """Do nothing: tokens have no statistics."""

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens int64 [B, L], [B, L] -> [B, H], [B]: it holds at every step."""
        there = mask.any(dim=1)
        tokens = values.masked_fill(~mask, PADDING_TOKEN)
        if self.training and self.unknown:
            dropped = torch.rand(tokens.shape, device=tokens.device) < self.unknown
            tokens = tokens.masked_fill(dropped & mask, UNKNOWN_TOKEN)
        x = run_over_present(self.recurrent, self.embedding(tokens), mask)  # [B, L] -> [B, L, 2h]
        x = self.linear(self.dropout(masked_mean(x, mask)))  # -> [B, H]
        return x.masked_fill(~there[:, None], 0.0), there


class SkeletonGraph(nn.Module):
    """A graph network over the points of skeletons, and three steps of time, for each person.

    Each point hears its neighbours in the body, then itself a step before and after. What points
    say together, with the numbers of the whole person, is that person's; of several people the
    strongest of each number counts. After Yan et al. 2018, "Spatial temporal graph convolutional
    networks for skeleton-based action recognition", much smaller, as clips of one's own are few.
    """

    bones: Tensor

    def __init__(
        self, *, width_in: int, width: int, dropout: float, channels: int = 1, vocabulary: int = 0
    ) -> None:
        """`width_in`: so many skeletons, times `PERSON_NUMBERS` and those of all points."""
        super().__init__()
        one = PERSON_NUMBERS + POINTS * POINT_NUMBERS
        if width_in % one:
            raise ValueError(f"skeletons are {one} numbers each, got {width_in}")
        self.people = width_in // one
        self.standardise = Standardise(width_in)
        self.register_buffer("bones", _bones())
        sides = ((POINT_NUMBERS, GRAPH_CHANNELS), (GRAPH_CHANNELS, GRAPH_CHANNELS))
        self.own = nn.ModuleList(nn.Linear(*side) for side in sides)
        self.heard = nn.ModuleList(nn.Linear(*side, bias=False) for side in sides)
        self.over_time = nn.Conv1d(GRAPH_CHANNELS, GRAPH_CHANNELS, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * GRAPH_CHANNELS + PERSON_NUMBERS, width)

    def fit(self, values: Tensor, mask: Tensor) -> None:
        """Take the statistics of the training data: [B, T, P x 101], [B, T]."""
        self.standardise.fit(values[mask])

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, P x 101], [B, T] -> [B, T, H], [B, T]."""
        rows, steps = mask.shape
        absent = ~mask[..., None]
        values = values.masked_fill(absent, 0.0)
        people = (rows, steps, self.people, -1)
        there = values.reshape(people).abs().amax(dim=-1, keepdim=True) > 0  # else all are zeros
        x = self.standardise(values).masked_fill(absent, 0.0).reshape(people)
        whole, points = x[..., :PERSON_NUMBERS], x[..., PERSON_NUMBERS:]
        x = points.reshape(rows, steps, self.people, POINTS, POINT_NUMBERS)
        for own, heard in zip(self.own, self.heard, strict=True):
            x = F.relu(own(x) + heard(self.bones @ x))  # [B, T, P, 17, C]
        x = x * there[..., None]
        x = x + self._beside_in_time(x)
        x = torch.cat([x.mean(dim=3), x.amax(dim=3), whole], dim=-1)  # [B, T, P, 2 C + 16]
        x = self.linear(self.dropout(x))  # [B, T, P, H]
        lowest = torch.finfo(x.dtype).min
        x = x.masked_fill(~there, lowest).amax(dim=2)
        return x.masked_fill(absent | (x == lowest), 0.0), mask

    def _beside_in_time(self, x: Tensor) -> Tensor:
        """Let each point hear itself a step before and after: [B, T, P, 17, C] -> the same."""
        rows, steps, people, points, channels = x.shape
        x = x.permute(0, 2, 3, 4, 1).reshape(-1, channels, steps)
        x = F.relu(self.over_time(x))
        return x.reshape(rows, people, points, channels, steps).permute(0, 4, 1, 2, 3)


def _bones() -> Tensor:
    """Return how much each point hears each other: [17, 17]; the mean over its neighbours."""
    joined = torch.zeros(POINTS, POINTS)
    for one, other in BONES:
        joined[one, other] = joined[other, one] = 1.0
    return joined / joined.sum(dim=1, keepdim=True)


FRONT_ENDS: dict[str, Callable[..., nn.Module]] = {
    "identity": partial(FeatureFrontEnd, _as_it_is),
    "change": partial(FeatureFrontEnd, change),
    "identity-change": partial(FeatureFrontEnd, _as_it_is, change),
    "cnn": PatchCNN,
    "lstm": TokenLSTM,
    "skeleton-graph": SkeletonGraph,
}
