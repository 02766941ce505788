"""EfficientNet-Lite0: the convolutional image network for small devices.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019
(arXiv 1905.11946), in the Lite variant published with the TensorFlow TPU models: no squeeze and
excitation, ReLU6 for swish, stem and head of fixed width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmm_cli.networks.pretrained.padding import same_padding

STEM_CHANNELS = 32
FEATURE_CHANNELS = 1280
BATCH_NORM_EPS = 1e-3  # of the published training; the folded weights depend on it


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int  # of the first block; the others have 1
    expansion: int
    channels: int


LITE0_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


class ConvNorm(nn.Module):
    """Convolution and batch normalisation, then ReLU6 where `activate`.

    Padding is TensorFlow's SAME: the output has ceil(input / stride) rows and columns, and an odd
    amount of zeros goes to the bottom and the right.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        self.activate = activate
        self.conv = nn.Conv2d(
            channels_in,
            channels_out,
            kernel,
            stride,
            padding=(kernel - 1) // 2 if stride == 1 else 0,
            groups=groups,
            bias=False,
        )
        self.norm: nn.Module = nn.BatchNorm2d(channels_out, eps=BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', ceil(H / stride), ceil(W / stride)]."""
        if self.stride > 1:
            x = F.pad(x, same_padding(x.shape[-2], x.shape[-1], self.kernel, self.stride))
        x = self.norm(self.conv(x))
        return F.relu6(x, inplace=not torch.is_grad_enabled()) if self.activate else x

    @torch.no_grad()
    def fold(self) -> None:
        """Fold the normalisation, with its running statistics, into the convolution."""
        norm = self.norm
        if not isinstance(norm, nn.BatchNorm2d):
            return
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)  # [C']
        self.conv.weight.mul_(scale[:, None, None, None])
        self.conv.bias = nn.Parameter(norm.bias - norm.running_mean * scale)
        self.norm = nn.Identity()


class InvertedResidual(nn.Module):
    """Widen, filter each channel in space, narrow; added to its input where the shapes agree."""

    def __init__(
        self, channels_in: int, channels_out: int, *, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.residual = stride == 1 and channels_in == channels_out
        self.expand: nn.Module = ConvNorm(channels_in, hidden) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(hidden, hidden, kernel=kernel, stride=stride, groups=hidden)
        self.project = ConvNorm(hidden, channels_out, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', ceil(H / stride), ceil(W / stride)]."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return y + x if self.residual else y


class EfficientNetLite0(nn.Module):
    """The network up to its pooled features; a linear head on them gives the class logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM_CHANNELS, kernel=3, stride=2)
        blocks: list[nn.Module] = []
        channels = STEM_CHANNELS
        for stage in LITE0_STAGES:
            for i in range(stage.repeats):
                blocks.append(
                    InvertedResidual(
                        channels,
                        stage.channels,
                        kernel=stage.kernel,
                        stride=stage.stride if i == 0 else 1,
                        expansion=stage.expansion,
                    )
                )
                channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(channels, FEATURE_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """Return pooled features: [N, 3, H, W] -> [N, 1280]; trained at 224 x 224."""
        x = self.stem(x)  # [N, 3, H, W] -> [N, 32, H/2, W/2]
        x = self.blocks(x)  # -> [N, 320, H/32, W/32]
        x = self.head(x)  # -> [N, 1280, H/32, W/32]
        return x.mean(dim=(2, 3))  # -> [N, 1280]

    def fold_batch_norm(self) -> None:
        """Fold every normalisation into its convolution: same outputs in evaluation, faster."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fold()
