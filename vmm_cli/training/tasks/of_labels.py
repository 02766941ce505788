"""What the tasks share that give labels to whole samples: tables of them, and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli.training.data.samples import Sample
from vmm_cli.training.tasks.task import Table

GROUPS_SHOWN = 20


def draw_certainty(
    folder: Path, labels: Sequence[str], probabilities: np.ndarray, truth: np.ndarray
) -> None:
    """Draw how well one label a sample is told: probabilities [N, C], true places int [N]."""
    from vmm_cli.pictures import plots
    from vmm_cli.training.metrics.classes import calibration_bins, calibration_error

    matrix = np.zeros((len(labels), len(labels)), int)
    np.add.at(matrix, (truth, probabilities.argmax(axis=1)), 1)
    plots.confusion_matrix(labels, matrix.tolist(), folder / "confusion.png")
    bins = calibration_bins(probabilities, truth)
    plots.calibration(bins, calibration_error(probabilities, truth), folder / "calibration.png")


def place_of(sample: Sample) -> tuple[object, ...]:
    """Return the first cells of a sample's row in a table: path, start and end."""
    return sample.name, sample.start_s or None, sample.end_s


def label_table(document: Mapping[str, Any], called: str) -> Table:
    """Return how many samples of a `summary` have each label, by split; `called`: the labels."""
    from vmm_cli.output.table import Column

    counts = document["labels"]
    splits = splits_shown(document, counts.values())
    columns = [Column(called), *(Column(split, number=True) for split in splits)]
    return Table(
        columns,
        [
            (label, *(str(numbers.get(split, 0)) for split in splits))
            for label, numbers in counts.items()
        ],
    )


def splits_shown(document: Mapping[str, Any], counts: Iterable[Mapping[str, int]]) -> list[str]:
    """Return which columns a table of counts by split has."""
    named = {split for numbers in counts for split in numbers} - {"n", "none"}
    # Where no row has a split, "none" would say again how many there are.
    return ["n", *sorted(named), *(["none"] if named and document["splits"].get("none") else [])]


def label_rows(labels: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield precision and recall of each label that occurs."""
    for label, numbers in labels.items():
        if numbers["support"]:
            document = f"precision {numbers['precision']:.3f}, recall {numbers['recall']:.3f}"
            yield f"{label} ({numbers['support']})", document


def group_rows(groups: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the groups with the lowest accuracy, of equal ones the largest first."""
    worst = sorted(groups.items(), key=lambda item: (item[1]["accuracy"], -item[1]["n"], item[0]))
    for name, numbers in worst[:GROUPS_SHOWN]:
        yield f"group {name} ({numbers['n']})", f"accuracy {numbers['accuracy']:.3f}"
    if len(worst) > GROUPS_SHOWN:
        yield f"{len(worst) - GROUPS_SHOWN} more groups", "no worse; all with --format json"


def interval_row(metrics: Mapping[str, Any], of: str) -> Iterator[tuple[str, str]]:
    """Yield the 95 % interval over groups where there is one."""
    if (ends := metrics.get("interval")) is not None:
        yield f"95 % interval of {of} over groups", f"{ends['low']:.3f} to {ends['high']:.3f}"
