"""Features: what an encoder made of one stream, on the video's clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Features:
    """Values at times; T may be 0: a stream can be absent.

    Attributes:
        times: float64 [T], seconds, ascending, none twice.
        values: float32 [T, D] or [T, C, H, W], or int64 [T] tokens.

    Raises:
        ValueError: shapes, dtypes or the order of times are others.
    """

    times: np.ndarray
    values: np.ndarray

    def __post_init__(self) -> None:
        times, values = self.times, self.values
        if times.dtype != np.float64 or times.ndim != 1:
            raise ValueError(f"times must be float64 [T], got {times.dtype} {list(times.shape)}")
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise ValueError("times must be finite and ascending")
        pictures = values.dtype == np.float32 and values.ndim in (2, 4)
        tokens = values.dtype == np.int64 and values.ndim == 1
        if not (pictures or tokens):
            raise ValueError(
                "values must be float32 [T, D] or [T, C, H, W] or int64 [T], "
                f"got {values.dtype} {list(values.shape)}"
            )
        if len(values) != len(times):
            raise ValueError(f"{len(times)} times but {len(values)} values")

    def __len__(self) -> int:
        return len(self.times)

    def __repr__(self) -> str:
        span = f", {self.times[0]:.3f} to {self.times[-1]:.3f} s" if len(self) else ""
        return f"Features({self.values.dtype} {list(self.values.shape)}{span})"


def join(parts: Sequence[Features]) -> Features:
    """Return the parts of one stream as a whole, in time order.

    A time that two parts share counts once: where a video is split, the picture on the border can
    be the answer to a wanted time on either side. ValueError if `parts` is empty.
    """
    if not parts:
        raise ValueError("there are no parts to join")
    times, first = np.unique(np.concatenate([p.times for p in parts]), return_index=True)
    return Features(times, np.concatenate([p.values for p in parts])[first])
