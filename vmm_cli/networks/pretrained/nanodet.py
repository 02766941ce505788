"""NanoDet-g: a one-stage detector of the 80 kinds of objects of COCO, 3.8 million parameters.

A backbone of cross stage partial blocks (Wang et al., "CSPNet", 2019, arXiv 1911.11929), a path
aggregation network (Liu et al. 2018, arXiv 1803.01534) and, at each of three strides, a head that
gives for each cell scores of all kinds and how far each side of a box is from the cell's centre: a
distribution over 11 distances (Li et al., "Generalized Focal Loss", 2020, arXiv 2006.04388).

Source: github.com/RangiLyu/nanodet (Apache-2.0), config `nanodet_g`; here its batch normalisations
are folded into the convolutions, and it takes RGB.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmm_cli.networks.pretrained.shapes import CANDIDATES, KINDS, OBJECT_MEAN

STRIDES = (8, 16, 32)
BINS = 11  # distances from a cell's centre to a side: 0 to 10 strides
DEVIATION = (58.395, 57.12, 57.375)  # of red, green, blue in 0..255
_WIDTH = 128  # channels of the pyramid
_SLOPE = 0.1


class _Residual(nn.Module):
    """Two convolutions; what the first gives lies beside what the second gives."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels // 2)
        self.second = _convolution(channels // 2, channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        x = self.first(x)
        return torch.cat([self.second(x), x], dim=1)


class _CrossStage(nn.Module):
    """Blocks whose input lies beside their output."""

    def __init__(self, channels_in: int, channels: int, blocks: int, stride: int) -> None:
        super().__init__()
        self.enter = _convolution(channels_in, channels, stride)
        self.blocks = nn.Sequential(*(_Residual(channels) for _ in range(blocks)))
        self.leave = _convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, 2 C', H / stride, W / stride]."""
        x = self.enter(x)
        return torch.cat([self.leave(self.blocks(x)), x], dim=1)


class NanoDet(nn.Module):
    """Pictures -> their best candidates; one object has several, which overlap."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _convolution(3, 32, 2), nn.MaxPool2d(3, 2, padding=1), _CrossStage(32, 32, 1, 1)
        )
        self.stages = nn.ModuleList(
            _CrossStage(channels, channels, blocks, 2)
            for channels, blocks in ((64, 2), (128, 2), (256, 3))
        )
        self.laterals = nn.ModuleList(nn.Conv2d(c, _WIDTH, 1) for c in (128, 256, 512))
        self.heads = nn.ModuleList(
            nn.Sequential(_convolution(_WIDTH, _WIDTH), nn.Conv2d(_WIDTH, KINDS + 4 * BINS, 1))
            for _ in STRIDES
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Return candidates of pictures: uint8 [N, H, W, 3] RGB -> float32 [N, 300, 6].

        H and W are multiples of 32. The highest scores first, of all cells and kinds: left, top,
        right and bottom in pixels of what is given (they may lie beyond it), score, and number of
        the kind.
        """
        x = pictures.permute(0, 3, 1, 2).float()
        x = (x - x.new_tensor(OBJECT_MEAN)[:, None, None]) / x.new_tensor(DEVIATION)[:, None, None]
        levels = zip(self.heads, self._pyramid(x), strict=True)
        maps = [head(level) for head, level in levels]
        cells = torch.cat([one.flatten(2) for one in maps], dim=2)
        scores, distances = cells[:, :KINDS], cells[:, KINDS:]  # [N, 80 or 44, C]
        best, at = scores.transpose(1, 2).flatten(1).topk(CANDIDATES)  # [N, 300], cell by cell
        cell, kind = at // KINDS, at % KINDS
        chosen = distances.gather(2, cell[:, None].expand(-1, 4 * BINS, -1))  # [N, 44, 300]
        shares = chosen.reshape(-1, 4, BINS, CANDIDATES).softmax(dim=2)  # [N, 4, 11, 300]
        steps = torch.arange(BINS, dtype=x.dtype, device=x.device)
        away = (shares * steps[:, None]).sum(dim=2).transpose(1, 2)  # [N, 300, 4], in strides
        centres, strides = _cells(maps)
        away = away * strides[cell]
        middle = centres[cell]  # [N, 300, 2]
        corners = [middle - away[..., :2], middle + away[..., 2:]]
        told = [best.sigmoid()[..., None], kind.to(x.dtype)[..., None]]
        return torch.cat([*corners, *told], dim=2)

    def _pyramid(self, x: Tensor) -> list[Tensor]:
        """[N, 3, H, W], normalised -> of each stride s [N, 128, H / s, W / s]."""
        x = self.stem(x)
        levels = []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            x = stage(x)
            levels.append(lateral(x))
        fine, middle, coarse = levels
        middle = middle + _finer(coarse)
        fine = fine + _finer(middle)
        middle = middle + _coarser(fine)
        coarse = coarse + _coarser(middle)
        return [fine, middle, coarse]


def _convolution(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    """Padded evenly, unlike TensorFlow's."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, padding=1),
        nn.LeakyReLU(_SLOPE, inplace=True),
    )


def _finer(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _coarser(x: Tensor) -> Tensor:
    """Bilinear at half the size: each new pixel lies in the middle of four."""
    return F.avg_pool2d(x, 2)


def _cells(maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the cells' centres, [C, 2] x and y in pixels, and their strides, [C, 1]."""
    centres, strides = [], []
    for stride, one in zip(STRIDES, maps, strict=True):
        along = [
            (torch.arange(length, dtype=one.dtype, device=one.device) + 0.5) * stride
            for length in one.shape[2:]
        ]
        y, x = torch.meshgrid(along, indexing="ij")
        centres.append(torch.stack([x.flatten(), y.flatten()], dim=1))
        strides.append(torch.full_like(centres[-1][:, :1], float(stride)))
    return torch.cat(centres), torch.cat(strides)
