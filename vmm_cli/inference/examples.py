"""Windows as a network is shown them, in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vmm_cli.features.grid import pad
from vmm_cli.features.windows import Encoded
from vmm_cli.features.words import encode


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Windows to learn from or to predict, N of them.

    Attributes:
        values: by stream, N arrays [T_i, ...] float32, or [L_i] int64 for tokens.
        masks: by stream, N arrays bool [T_i] or [L_i].
        steps: int [N], T_i.
        sample: int [N], which sample each window is of.
        weight: float32 [N]; the windows of a sample add up to 1.
    """

    values: Mapping[str, Sequence[np.ndarray]]
    masks: Mapping[str, Sequence[np.ndarray]]
    steps: np.ndarray
    sample: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.steps)

    def batch(
        self, rows: Sequence[int] | np.ndarray
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
        """Return some windows padded to the longest: values, masks, and the grid bool [B, T]."""
        steps = self.steps[rows]
        values, masks = {}, {}
        for stream, parts in self.values.items():
            chosen = [parts[i] for i in rows]
            longest = max(1, max(len(part) for part in chosen))
            values[stream] = pad(chosen, longest)
            masks[stream] = pad([self.masks[stream][i] for i in rows], longest)
        return values, masks, np.arange(steps.max()) < steps[:, None]

    def pieces(self, chosen: Sequence[tuple[int, int, int]]) -> Examples:
        """Return parts of windows, each as one: (window, first step, last step)."""
        # Tokens are of the whole window: a part of it has all of them.
        whole = {stream for stream, parts in self.values.items() if parts[0].dtype == np.int64}

        def cut(stream: str, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
            return [parts[row] if stream in whole else parts[row][a:b] for row, a, b in chosen]

        rows = [row for row, _, _ in chosen]
        return Examples(
            {stream: cut(stream, parts) for stream, parts in self.values.items()},
            {stream: cut(stream, parts) for stream, parts in self.masks.items()},
            np.array([b - a for _, a, b in chosen]),
            self.sample[rows],
            self.weight[rows],
        )


def examples(
    encoded: Sequence[Encoded],
    numbers: Sequence[int],
    streams: Sequence[str],
    tokens: Callable[[str], np.ndarray] | None = None,
) -> Examples:
    """Gather the windows of some samples. `numbers` says which number each sample has.

    `tokens` makes int64 [L] of a sample's text, where the stream `text` is one of words.
    """
    values: dict[str, list[np.ndarray]] = {stream: [] for stream in streams}
    masks: dict[str, list[np.ndarray]] = {stream: [] for stream in streams}
    steps, sample, weight = [], [], []
    for number, one in zip(numbers, encoded, strict=True):
        words = tokens(one.text) if tokens is not None else np.zeros(0, np.int64)
        for window in one.windows:
            for stream in streams:
                if stream == "text" and tokens is not None:
                    values[stream].append(words)
                    masks[stream].append(np.ones(len(words), bool))
                else:
                    values[stream].append(window.values[stream])
                    masks[stream].append(window.masks[stream])
            steps.append(len(window.times))
            sample.append(number)
            weight.append(1 / len(one.windows))
    return Examples(values, masks, np.array(steps), np.array(sample), np.array(weight, np.float32))


def tokens_from(about: Mapping[str, Any]) -> Callable[[str], np.ndarray] | None:
    """Return what turns a text into tokens for a network with a vocabulary; else None."""
    vocabulary = about.get("vocabulary")
    if vocabulary is None:
        return None
    words = tuple(vocabulary)
    return lambda text: encode(text, words)
