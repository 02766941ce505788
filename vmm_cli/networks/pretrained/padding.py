"""TensorFlow's SAME padding, which networks that were trained there depend on."""

from __future__ import annotations


def same_padding(height: int, width: int, kernel: int, stride: int) -> list[int]:
    """Return how much to add left, right, above and below, as `torch.nn.functional.pad` takes it.

    What comes out has ceil(input / stride) rows and columns; where the amount is odd, one more is
    added to the bottom and the right.
    """
    rows = max((-(-height // stride) - 1) * stride + kernel - height, 0)
    columns = max((-(-width // stride) - 1) * stride + kernel - width, 0)
    return [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]
