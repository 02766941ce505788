"""A small convolutional network that tells seven expressions of a face: mini-Xception.

Arriaga, Ploeger and Valdenegro, "Real-time Convolutional Neural Networks for Emotion and Gender
Classification", 2017 (arXiv 1710.07557): residual blocks of depth-wise separable convolutions, no
dense layer, 56 thousand parameters.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from vmm_cli.networks.pretrained.shapes import EXPRESSION_CHANNELS

BLOCK_CHANNELS = (16, 32, 64, EXPRESSION_CHANNELS)


class MiniXception(nn.Module):
    """The network with its batch normalisations folded into the convolutions before them."""

    def __init__(self, outputs: int = 7) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())
        channels = (8, *BLOCK_CHANNELS)
        self.blocks = nn.Sequential(*(Block(*pair) for pair in pairwise(channels)))
        self.head = nn.Conv2d(EXPRESSION_CHANNELS, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [N, 7] and pooled features [N, 128] of grey faces [N, 1, 64, 64], -1..1."""
        x = self.stem(x)  # [N, 1, 64, 64] -> [N, 8, 60, 60]
        x = self.blocks(x)  # -> [N, 128, 4, 4]
        return self.head(x).mean(dim=(2, 3)), x.mean(dim=(2, 3))


class Block(nn.Module):
    """Two separable convolutions, pooled; added to the input at every second pixel."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first = Separable(channels_in, channels_out)
        self.second = Separable(channels_out, channels_out)
        self.short = nn.Conv2d(channels_in, channels_out, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', ceil(H / 2), ceil(W / 2)]."""
        y = self.second(F.relu(self.first(x)))
        # TensorFlow's SAME: an odd amount of padding goes to the bottom and the right.
        top, left = (side % 2 for side in y.shape[-2:])
        y = F.pad(y, [left, 1, top, 1], value=float("-inf"))
        short: Tensor = self.short(x)
        return F.max_pool2d(y, 3, stride=2) + short


class Separable(nn.Module):
    """A filter of 3 x 3 in each channel, then a mixture of the channels."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels_in, channels_in, 3, padding=1, groups=channels_in, bias=False
        )
        self.pointwise = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y
