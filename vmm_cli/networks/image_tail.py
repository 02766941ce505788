"""The last blocks of the image encoder, as a network that learns with all the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from vmm_cli.networks.model import FusionNetwork
from vmm_cli.networks.pretrained.efficientnet_lite import FEATURE_CHANNELS, EfficientNetLite0

STREAM = "image"
# Pictures at a time where no gradient is wanted: memory does not grow with their number.
PICTURES_AT_ONCE = 64


class ImageTail(nn.Module):
    """The last blocks of EfficientNet-Lite0 and what follows them, named as in the whole network.

    Normalisation keeps the statistics it was trained with: those of a few clips would be noise.
    """

    def __init__(self, network: EfficientNetLite0, last: int, shape: tuple[int, ...]) -> None:
        """`last`: how many blocks; `shape`: (C, H, W) of what comes before them."""
        super().__init__()
        self.blocks = network.blocks[-last:]
        self.head = network.head
        self.shape = shape

    def train(self, mode: bool = True) -> ImageTail:
        """Stay in evaluation mode: see above. There is no dropout in these blocks."""
        super().train(False)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """[N, C * H * W] -> [N, 1280]."""
        if torch.is_grad_enabled():
            return self._features(x)
        return torch.cat([self._features(part) for part in torch.split(x, PICTURES_AT_ONCE)])

    def _features(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.blocks(x.reshape(-1, *self.shape)))  # -> [N, 1280, h, w]
        return y.mean(dim=(2, 3))


class NetworkWithTail(nn.Module):
    """A fusion network whose image stream comes from blocks that learn as well."""

    def __init__(self, tail: ImageTail, network: FusionNetwork) -> None:
        super().__init__()
        self.tail = tail
        self.network = network

    @torch.no_grad()
    def fit_statistics(self, values: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
        """See `FusionNetwork.fit_statistics`."""
        self.network.fit_statistics(self._with_features(values, masks), masks)

    def forward(
        self, values: Mapping[str, Tensor], masks: Mapping[str, Tensor], grid: Tensor
    ) -> Tensor:
        """See `FusionNetwork.forward`; of images float32 [B, T, C * H * W]."""
        return cast(Tensor, self.network(self._with_features(values, masks), masks, grid))

    def _with_features(
        self, values: Mapping[str, Tensor], masks: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        x, there = values[STREAM], masks[STREAM]
        features = x.new_zeros(*there.shape, FEATURE_CHANNELS)  # [B, T, 1280]
        if there.any():
            features = features.masked_scatter(there[..., None], self.tail(x[there]))
        return {**values, STREAM: features}
