"""What every network over masked steps must keep."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def changes_nothing_behind_the_mask(
    net: nn.Module, x: Tensor, mask: Tensor, garbage: float
) -> None:
    """Check that neither output nor gradients hang on what lies behind the mask.

    x: [..., T, H], mask: [..., T].
    """
    spoilt = x.masked_fill(~mask[..., None], garbage).requires_grad_()
    y = net(spoilt, mask)
    torch.testing.assert_close(y, net(x, mask), rtol=0, atol=0)
    y.square().sum().backward()
    assert spoilt.grad is not None
    assert spoilt.grad.isfinite().all()
    assert not spoilt.grad[~mask].any()
