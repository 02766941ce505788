"""Labels found in the windows of samples, as `vmm detect-actions` finds them with such a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vmm_cli.training.data.samples import Sample
from vmm_cli.training.metrics.operating import Evidence, alarms_of_runs
from vmm_cli.training.tasks.told import Sighting

if TYPE_CHECKING:
    from vmm_cli.features.grid import Window


class Seen(NamedTuple):
    """What was seen of a sample: stretches of cells that abut.

    Attributes:
        bounds: of each stretch float64 [K, 2], begin and end of its cells in seconds.
        scores: of each float64 [K, C].
    """

    sample: Sample
    bounds: Sequence[np.ndarray]
    scores: Sequence[np.ndarray]

    @property
    def seconds(self) -> float:
        """How much was looked at."""
        return sum(float(cells[-1, 1] - cells[0, 0]) for cells in self.bounds)


def cells_of(
    windows: Sequence[Window], chances: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return bounds and scores of the stretches that windows make: see `Seen`.

    In windows that overlap each half one has the mean of the two over it; one that is alone, as
    those of a long sample are from which some were taken, is a cell.

    windows: W of them, by time; chances: [W, C].
    """
    from vmm_cli.inference.classify_windows import cells

    bounds, scores = [], []
    first = 0
    for last in range(1, len(windows) + 1):
        if last < len(windows) and windows[last].start < windows[last - 1].end:
            continue
        run, own = windows[first:last], chances[first:last]
        length_s = float((run[1] if len(run) > 1 else run[0]).start - run[0].start)
        found = list(cells(run, length_s or float(run[0].end - run[0].start)))
        bounds.append(np.array([[cell.start_s, cell.end_s] for cell in found]))
        scores.append(np.stack([cell.shares @ own[cell.first : cell.last] for cell in found]))
        first = last
    return bounds, scores


def evidence_of(label: str, column: int, seen: Sequence[Seen]) -> Evidence:
    """Return what was found of a label: the best score of each sample that has it, and alarms."""
    there = [one for one in seen if label in one.sample.labels]
    others = [one for one in seen if label not in one.sample.labels]
    best = [max(float(scores[:, column].max()) for scores in one.scores) for one in there]
    alarms, merged = alarms_of_runs([scores[:, column] for one in others for scores in one.scores])
    hours = sum(one.seconds for one in others) / 3600
    return Evidence(np.array(best), alarms, merged, hours)


def sightings_of(one: Seen, columns: Mapping[str, int]) -> Iterator[Sighting]:
    """Yield where each label scores highest in a sample; `columns`: by label."""
    bounds, scores = np.concatenate(one.bounds), np.concatenate(one.scores)
    for label, column in columns.items():
        place = int(scores[:, column].argmax())
        time_s = float(bounds[place].mean())
        yield Sighting(one.sample.name, time_s, label, float(scores[place, column]))
