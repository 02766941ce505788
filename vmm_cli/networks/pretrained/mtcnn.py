"""MTCNN: three small convolutional networks that find faces, each among what the last one left.

Zhang, Zhang, Li and Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded
Convolutional Networks", IEEE Signal Processing Letters 23(10), 2016 (arXiv 1604.02878); widths as
in facenet-pytorch's networks, and without their outputs for landmarks. What lies between the
networks is in vmm_cli/features/face_detection.py.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = 16  # channels that ONNX Runtime holds together on a CPU with AVX-512, two of 8 with AVX2


class Judged(NamedTuple):
    """What a network says of N boxes, or of the positions in N pictures.

    Attributes:
        probabilities: [N] or [N, h, w], that there is a face.
        shifts: [N, 4] or [N, 4, h, w], by how much each edge of the box (left, top, right, bottom)
            is off, in shares of its width or height.
    """

    probabilities: Tensor
    shifts: Tensor


class Slopes(nn.Module):
    """PReLU (He et al. 2015), in steps of which each is fast everywhere.

    ONNX Runtime's operator for the whole goes from value to value, and takes a third of the first
    network's time.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, ...] -> the same, values below 0 times the slope of their channel."""
        slopes = self.weight.reshape(-1, *[1] * (x.dim() - 2))
        above = x.relu()
        return above + slopes * (x - above)


class ProposalNetwork(nn.Module):
    """P-Net: looks everywhere in a picture at once."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_convolution(3, 10, 3),
            nn.MaxPool2d(2, 2, ceil_mode=True),
            *_convolution(10, 16, 3),
            *_convolution(16, 32, 3),
        )
        self.face = nn.Conv2d(32, 2, 1)
        self.shift = nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> Judged:
        """Return each position's box of 12 x 12 pixels, 2 apart: [N, 3, H, W], H and W from 12."""
        x = _through(self.layers, x)  # -> [N, 32, h, w], about H / 2 - 5 by W / 2 - 5
        return Judged(_chance(self.face(x)), self.shift(x))


class RefineNetwork(nn.Module):
    """R-Net: leaves out most of what was proposed."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_convolution(3, 28, 3),  # [N, 3, 24, 24] -> [N, 28, 22, 22]
            nn.MaxPool2d(3, 2, ceil_mode=True),  # -> [N, 28, 11, 11]
            *_convolution(28, 48, 3),
            nn.MaxPool2d(3, 2, ceil_mode=True),  # -> [N, 48, 4, 4]
            *_convolution(48, 64, 2),  # -> [N, 64, 3, 3]
            nn.Flatten(),
            nn.Linear(576, 128),
            Slopes(128),
        )
        self.face = nn.Linear(128, 2)
        self.shift = nn.Linear(128, 4)

    def forward(self, x: Tensor) -> Judged:
        """[N, 3, 24, 24] -> of N boxes."""
        return _judged(self, x)


class OutputNetwork(nn.Module):
    """O-Net: has the last word."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_convolution(3, 32, 3),  # [N, 3, 48, 48] -> [N, 32, 46, 46]
            nn.MaxPool2d(3, 2, ceil_mode=True),  # -> [N, 32, 23, 23]
            *_convolution(32, 64, 3),
            nn.MaxPool2d(3, 2, ceil_mode=True),  # -> [N, 64, 10, 10]
            *_convolution(64, 64, 3),
            nn.MaxPool2d(2, 2, ceil_mode=True),  # -> [N, 64, 4, 4]
            *_convolution(64, 128, 2),  # -> [N, 128, 3, 3]
            nn.Flatten(),
            nn.Linear(1152, 256),
            Slopes(256),
        )
        self.face = nn.Linear(256, 2)
        self.shift = nn.Linear(256, 4)

    def forward(self, x: Tensor) -> Judged:
        """[N, 3, 48, 48] -> of N boxes."""
        return _judged(self, x)


def _convolution(channels_in: int, channels_out: int, kernel: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels_in, channels_out, kernel), Slopes(channels_out)


def _judged(network: RefineNetwork | OutputNetwork, x: Tensor) -> Judged:
    x = _through(network.layers, x)
    return Judged(_chance(network.face(x)), network.shift(x))


def _through(layers: nn.Sequential, x: Tensor) -> Tensor:
    """Return what layers make of pictures, the first three of them at once.

    Of most of the values between these nothing is left: a slope is applied before the pooling by
    scaled filters, as max(x, slope x), or from 1 on min(x, slope x) of the largest, as that rises.
    """
    convolution, sloping, pool, *rest = layers
    assert isinstance(convolution, nn.Conv2d) and isinstance(sloping, Slopes)
    assert convolution.bias is not None
    channels = convolution.out_channels
    # Filters of zeros fill up what a runtime holds together: else it would pool by single values.
    more = -channels % BLOCK
    filters = F.pad(convolution.weight, (0, 0, 0, 0, 0, 0, 0, more))
    bias, slopes = F.pad(convolution.bias, (0, more)), F.pad(sloping.weight, (0, more))
    both = torch.cat([filters, slopes[:, None, None, None] * filters])
    x = pool(F.conv2d(x, both, torch.cat([bias, slopes * bias])))
    plain, sloped = x.chunk(2, dim=1)
    steep = (slopes > 1)[:, None, None]
    x = torch.where(steep, torch.minimum(plain, sloped), torch.maximum(plain, sloped))
    x = x[:, :channels]
    for layer in rest:
        x = layer(x)
    return x


def _chance(logits: Tensor) -> Tensor:
    """Return the second one's softmax: [N, 2, ...] -> [N, ...]."""
    return torch.sigmoid(logits[:, 1] - logits[:, 0])
