"""YAMNet: which sounds there are in a second of a spectrogram; MobileNet v1, 3.2 million weights.

Sources: Howard et al. 2017, MobileNets (arXiv 1704.04861), for the network; Plakal and Ellis 2020,
YAMNet (github.com/tensorflow/models, research/audioset/yamnet, Apache-2.0), for what it learnt:
521 classes of AudioSet.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmm_cli.networks.pretrained.padding import same_padding
from vmm_cli.networks.pretrained.shapes import SOUND_WIDTH

# Of the layers after the first: stride of the depthwise convolution, channels of the pointwise one.
STEM_CHANNELS = 32
LAYERS = (
    *((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512)),
    *[(1, 512)] * 5,
    *((2, 1024), (1, SOUND_WIDTH)),
)
KERNEL = 3


class ScaledConv(nn.Module):
    """Convolution with TensorFlow's SAME padding, and ReLU.

    Its weights are whole numbers of 8 bits; `scale` says for each channel what one of them is
    worth. Normalisation is part of scale and bias.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, groups=groups, bias=False)
        self.scale = nn.Parameter(torch.ones(channels_out))
        self.bias = nn.Parameter(torch.zeros(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', ceil(H / stride), ceil(W / stride)]."""
        if self.kernel > 1:
            x = F.pad(x, same_padding(x.shape[-2], x.shape[-1], self.kernel, self.stride))
        x = self.conv(x) * self.scale[:, None, None] + self.bias[:, None, None]
        return F.relu(x)


class YAMNet(nn.Module):
    """The network up to its pooled features; a linear head on them gives the classes' logits."""

    def __init__(self) -> None:
        super().__init__()
        layers = [ScaledConv(1, STEM_CHANNELS, kernel=KERNEL, stride=2)]
        channels = STEM_CHANNELS
        for stride, channels_out in LAYERS:
            layers += [
                ScaledConv(channels, channels, kernel=KERNEL, stride=stride, groups=channels),
                ScaledConv(channels, channels_out),
            ]
            channels = channels_out
        self.layers = nn.Sequential(*layers)

    def forward(self, patches: Tensor) -> Tensor:
        """Return pooled features: log-mel patches [N, 96, 64] -> [N, 1024]."""
        x: Tensor = self.layers(patches[:, None])  # [N, 1, 96, 64] -> [N, 1024, 3, 2]
        return x.mean(dim=(2, 3))  # -> [N, 1024]
