"""open_nsfw: whether a picture is sexually explicit; ResNet-50 with half of its filters.

Sources: He et al. 2016, Deep Residual Learning for Image Recognition (arXiv 1512.03385), for the
network; Mahadeokar and Pesavento 2016, Open Sourcing a Deep Learning Solution for Detecting NSFW
Images (github.com/yahoo/open_nsfw, BSD-2-Clause), for what it learnt.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmm_cli.networks.pretrained.padding import same_padding

STEM_CHANNELS = 64
WIDENING = 4  # of a block's last convolution over its others


class _Stage(NamedTuple):
    channels: int
    blocks: int
    stride: int  # of the first block; the others have 1


STAGES = (_Stage(32, 3, 1), _Stage(64, 4, 2), _Stage(128, 6, 2), _Stage(256, 3, 2))


class Bottleneck(nn.Module):
    """Narrow, filter in space, widen; added to the input, which is projected where shapes differ.

    Normalisations are part of the convolutions.
    """

    def __init__(self, channels_in: int, channels: int, *, stride: int, project: bool) -> None:
        super().__init__()
        widened = WIDENING * channels
        self.project: nn.Module = (
            nn.Conv2d(channels_in, widened, 1, stride) if project else nn.Identity()
        )
        self.narrow = nn.Conv2d(channels_in, channels, 1, stride)
        self.filter = nn.Conv2d(channels, channels, 3, padding=1)
        self.widen = nn.Conv2d(channels, widened, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H / stride, W / stride]."""
        y = F.relu(self.narrow(x))
        y = F.relu(self.filter(y))
        return F.relu(self.widen(y) + self.project(x))


class OpenNSFW(nn.Module):
    """The network up to its pooled features; a linear head on them gives the two logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM_CHANNELS, 7, stride=2, padding=3)
        blocks: list[nn.Module] = []
        channels = STEM_CHANNELS
        for stage in STAGES:
            for i in range(stage.blocks):
                stride = stage.stride if i == 0 else 1
                blocks.append(Bottleneck(channels, stage.channels, stride=stride, project=i == 0))
                channels = WIDENING * stage.channels
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Return pooled features: RGB less its mean, [N, 3, 224, 224] -> [N, 1024]."""
        x = F.relu(self.stem(x))  # [N, 3, H, W] -> [N, 64, H/2, W/2]
        padding = same_padding(x.shape[-2], x.shape[-1], 3, 2)
        x = F.max_pool2d(F.pad(x, padding, value=-torch.inf), 3, 2)  # -> [N, 64, H/4, W/4]
        x = self.blocks(x)  # -> [N, 1024, H/32, W/32]
        return x.mean(dim=(2, 3))  # -> [N, 1024]
