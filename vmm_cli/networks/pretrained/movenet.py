"""MoveNet Lightning: where the 17 points of one body are in a picture, 2.3 million parameters.

A MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) with a feature pyramid, and four heads after
CenterNet (Zhou et al., "Objects as Points", 2019, arXiv 1904.07850): heat maps of the points, a map
of the body's centre, at each place where the points of a body with its centre there are, and by how
much a point is off its cell. The person nearest to the middle of the picture is the one.

Source: MoveNet SinglePose Lightning, Google (tfhub.dev/google/movenet, Apache-2.0); here
its batch normalisations are folded into the convolutions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmm_cli.networks.pretrained.shapes import POINTS, POSE_SIDE

GRID = POSE_SIDE // 4  # cells of a side of the maps
STEM_CHANNELS = 32
# Expansion, repeats, stride of the first, channels.
STAGES = (
    (1, 1, 1, 16),
    (6, 2, 2, 24),
    (6, 3, 2, 32),
    (6, 4, 2, 64),
    (6, 3, 1, 96),
    (6, 3, 2, 160),
    (6, 1, 1, 320),
)
LAST_CHANNELS = 1280
PYRAMID_CHANNELS = (64, 32, 24)
LATERAL_STAGES = (3, 2, 1)  # whose outputs join the pyramid, the coarsest first
HEAD_CHANNELS = 96
NEARNESS = 1.8  # cells that are added to a distance before it divides a score


class _Same(nn.Module):
    """A convolution padded as TensorFlow does it: an odd pixel goes to the bottom and the right."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride, padding=0, groups=groups)
        self._padding = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)  # sides are even

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H / stride, W / stride]."""
        y: Tensor = self.conv(F.pad(x, self._padding))
        return y


class _InvertedResidual(nn.Module):
    """Widen, filter each channel in space, narrow; added to its input where the shapes agree."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.residual = stride == 1 and channels_in == channels_out
        self.expand = (
            nn.Sequential(nn.Conv2d(channels_in, hidden, 1), nn.ReLU6(inplace=True))
            if expansion > 1
            else nn.Identity()
        )
        self.depthwise = _Same(hidden, hidden, stride, groups=hidden)
        self.project = nn.Conv2d(hidden, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H / stride, W / stride]."""
        y: Tensor = self.project(F.relu6(self.depthwise(self.expand(x))))
        return y + x if self.residual else y


class _Separable(nn.Module):
    """A filter of 3 x 3 in each channel, then a mixture of the channels."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels_in, channels_in, 3, padding=1, groups=channels_in, bias=False
        )
        self.pointwise = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        return F.relu(self.pointwise(self.depthwise(x)))


class MoveNet(nn.Module):
    """Pictures of a person each -> the points of the body."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Same(3, STEM_CHANNELS, 2)
        self.stages = nn.ModuleList()
        channels = STEM_CHANNELS
        for expansion, repeats, stride, width in STAGES:
            blocks = []
            for i in range(repeats):
                blocks.append(_InvertedResidual(channels, width, 1 if i else stride, expansion))
                channels = width
            self.stages.append(nn.Sequential(*blocks))
        self.last = nn.Conv2d(channels, LAST_CHANNELS, 1)
        self.top = nn.Conv2d(LAST_CHANNELS, PYRAMID_CHANNELS[0], 1)
        self.laterals = nn.ModuleList(
            nn.Conv2d(STAGES[stage][3], width, 1)
            for stage, width in zip(LATERAL_STAGES, PYRAMID_CHANNELS, strict=True)
        )
        finer = (*PYRAMID_CHANNELS[1:], PYRAMID_CHANNELS[-1])
        self.smooths = nn.ModuleList(
            _Separable(*pair) for pair in zip(PYRAMID_CHANNELS, finer, strict=True)
        )
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(
                    _Separable(PYRAMID_CHANNELS[-1], HEAD_CHANNELS),
                    nn.Conv2d(HEAD_CHANNELS, outputs, 1),
                )
                for name, outputs in (
                    ("heat", POINTS),
                    ("centre", 1),
                    ("regression", 2 * POINTS),
                    ("offset", 2 * POINTS),
                )
            }
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Return points of people: uint8 [N, 192, 192, 3] RGB -> float32 [N, 17, 3].

        Each is x and y in shares of the picture (they may lie beyond it) and a score from 0 to 1.
        """
        x = pictures.permute(0, 3, 1, 2).float() / 127.5 - 1
        x = self._pyramid(x)  # [N, 24, 48, 48]
        maps = {name: head(x) for name, head in self.heads.items()}
        return _points(
            maps["heat"].sigmoid(), maps["centre"].sigmoid(), maps["regression"], maps["offset"]
        )

    def _pyramid(self, x: Tensor) -> Tensor:
        """[N, 3, 192, 192], -1 to 1 -> [N, 24, 48, 48]."""
        x = F.relu6(self.stem(x))
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        x = self.top(F.relu6(self.last(x)))  # [N, 64, 6, 6]
        for i, lateral, smooth in zip(LATERAL_STAGES, self.laterals, self.smooths, strict=True):
            finer = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = smooth(finer + lateral(outputs[i]))
        return x


def _points(heat: Tensor, centre: Tensor, regression: Tensor, offset: Tensor) -> Tensor:
    """Return the points of the person nearest to the middle: maps [N, ..., 48, 48] -> [N, 17, 3].

    What stands for a point at the body's centre says about where it is; there the heat map says in
    which cell, and the offset where in that.
    """
    along = torch.arange(GRID, dtype=heat.dtype, device=heat.device)
    middle = (along - GRID // 2) ** 2
    near = 1 / ((middle[:, None] + middle).sqrt() + NEARNESS)  # [48, 48]
    at = (centre * near).flatten(1).argmax(dim=1)  # [N]
    about = regression.flatten(2).gather(2, at[:, None, None].expand(-1, 2 * POINTS, 1))
    about = about.reshape(-1, POINTS, 2)  # y and x from the centre, in cells
    y = (at // GRID)[:, None] + about[..., 0]
    x = (at % GRID)[:, None] + about[..., 1]
    down, across = (along - y[..., None]) ** 2, (along - x[..., None]) ** 2  # [N, 17, 48]
    away = (down[..., :, None] + across[..., None, :]).sqrt() + NEARNESS  # [N, 17, 48, 48]
    cell = (heat / away).flatten(2).argmax(dim=2)  # [N, 17]
    score = heat.flatten(2).gather(2, cell[..., None])  # [N, 17, 1]
    within = offset.reshape(-1, POINTS, 2, GRID * GRID)
    within = within.gather(3, cell[..., None, None].expand(-1, -1, 2, 1))[..., 0]  # y and x
    places = torch.stack([cell % GRID, cell // GRID], dim=2) + within.flip(2)
    return torch.cat([places / GRID, score], dim=2)
