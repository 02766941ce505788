"""What an export costs and gains: measured against the same model in float32."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vmm_cli.exports.network import Run

ROUNDS = 15  # of each, in turn, since a machine may be busy
WARM_UPS = 3


@dataclass(frozen=True, slots=True)
class Agreement:
    """How alike two ways to run a model are.

    Attributes:
        pictures: how many were compared, or clips.
        first_label_equal: the share of those whose most probable label is the same.
        mean_difference: of a probability, the mean over labels and pictures, absolute.
        largest_difference: of any probability, absolute.
    """

    pictures: int
    first_label_equal: float
    mean_difference: float
    largest_difference: float

    def to_record(self) -> dict[str, Any]:
        """Return the same, rounded, as JSON types."""
        return {
            "pictures": self.pictures,
            "first_label_equal": round(self.first_label_equal, 4),
            "mean_difference": round(self.mean_difference, 7),
            "largest_difference": round(self.largest_difference, 5),
        }


@dataclass(frozen=True, slots=True)
class Speed:
    """Pictures, or clips, a second of one model and of another: one at a time, on one core."""

    before: float
    after: float

    def to_record(self) -> dict[str, Any]:
        """Return the same, rounded, as JSON types."""
        return {name: round(value, 2) for name, value in asdict(self).items()}


def agreement(reference: np.ndarray, found: np.ndarray) -> Agreement:
    """Compare probabilities, float32 [N, L] each, N >= 1."""
    apart = np.abs(reference - found)
    return Agreement(
        pictures=len(reference),
        first_label_equal=float(np.mean(reference.argmax(axis=1) == found.argmax(axis=1))),
        mean_difference=float(apart.mean()),
        largest_difference=float(apart.max()),
    )


def run_all(run: Run, pictures: np.ndarray) -> np.ndarray:
    """Return probabilities, float32 [N, L], of pictures or clips, one at a time."""
    return np.concatenate([run(pictures[i : i + 1]) for i in range(len(pictures))])


def speed(before: Run, after: Run, picture: np.ndarray) -> Speed:
    """Time two models by turns on one picture, or clip: uint8 [1, ...].

    The median of the processor's time counts: what else runs on a machine does not.
    """
    seconds: dict[Run, list[float]] = {before: [], after: []}
    for turn in range(WARM_UPS + ROUNDS):
        for run, times in seconds.items():
            begin = time.process_time()
            run(picture)
            if turn >= WARM_UPS:
                times.append(time.process_time() - begin)
    return Speed(*(1 / statistics.median(seconds[run]) for run in (before, after)))
