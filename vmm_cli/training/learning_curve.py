"""How good a model gets with how many samples: trainings on rising parts of the data.

A part of the samples, whole groups, is left out in turn; of the others so many of each label are
learnt from, again whole groups first, and those that were learnt from with fewer samples are among
those with more.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli.training.data.samples import DataSet, Sample, group_of, label_counts, with_samples
from vmm_cli.training.data.splits import parts_of
from vmm_cli.training.run_folder import write_json

DRAWS = 5
FIRST = 5  # samples of each label; then twice as many, and so on
FIGURE = "balanced_accuracy"
# A gain that is less than this is of no use, even where it is sure.
LEAST_GAIN = 0.01

# (samples to learn from and to measure on, by their split; seed; its name) -> metrics
Trial = Callable[[DataSet, int, str], Mapping[str, Any]]


def learning_curve(
    data: DataSet,
    trial: Trial,
    *,
    seed: int,
    contents: Mapping[Path, str],
    done: Path | None,
) -> dict[str, Any] | None:
    """Return what was reached with how many samples a label, as JSON types.

    `points` has, in the order of their number, `samples_a_label`, the mean over `labels`, and of
    the figure `mean`, `sd` and `values`, one for each draw. None where the samples cannot be
    divided, or are too few for two points.

    Args:
        trial: trains on `train` and measures on `test`; a sample without a split has no part in it.
        contents: see `splits.with_validation`.
        done: file of trials that are done, which are not done again; None: they are not kept.
            OutputError where it cannot be written.
    """
    parts = parts_of(data, DRAWS, seed=seed, contents=contents)
    if parts is None:
        return None
    draws = range(max(parts) + 1)
    rest = [label_counts(_others(data.samples, parts, draw)) for draw in draws]
    fewest = min(counts[label] for counts in rest for label in data.labels)
    sizes = [size for k in range(20) if (size := FIRST * 2**k) < fewest]
    if not sizes:
        return None
    reached: dict[str, float] = json.loads(done.read_text()) if done and done.exists() else {}
    points = []
    for size in (*sizes, None):
        taken, values = [], []
        for draw in draws:
            drawn = _drawn(data, parts, draw, size, seed)
            counts = label_counts(s for s in drawn.samples if s.split == "train")
            taken.append(counts.total() / len(data.labels))
            what = f"curve {draw + 1} of {len(draws)}, {size or 'all'} a label"
            if what not in reached:
                reached[what] = float(trial(drawn, seed + draw, what)[FIGURE])
                if done is not None:
                    write_json(done, reached)
            values.append(reached[what])
        points.append(
            {
                "samples_a_label": round(statistics.fmean(taken), 1),
                "mean": statistics.fmean(values),
                "sd": statistics.stdev(values),
                "values": values,
            }
        )
    return {"figure": FIGURE, "draws": len(draws), "points": points}


def says(curve: Mapping[str, Any]) -> str:
    """Return a sentence on whether more samples are likely to help."""
    before, last = curve["points"][-2:]
    gains = [b - a for a, b in zip(before["values"], last["values"], strict=True)]
    gain, error = statistics.fmean(gains), statistics.stdev(gains) / len(gains) ** 0.5
    if gain >= LEAST_GAIN and gain > error:
        end = "more of the kind are likely to help"
    elif gain + error < LEAST_GAIN:
        end = "more of the same kind will hardly help"
    else:
        end = "whether more would help is not clear from this"
    return (
        f"Going from {before['samples_a_label']:g} to {last['samples_a_label']:g} samples a label "
        f"changed the balanced accuracy by {gain:+.3f} (standard error {error:.3f}, "
        f"{curve['draws']} draws): {end}."
    )


def _others(samples: Sequence[Sample], parts: Sequence[int], draw: int) -> list[Sample]:
    return [sample for sample, part in zip(samples, parts, strict=True) if part != draw]


def _drawn(data: DataSet, parts: Sequence[int], draw: int, size: int | None, seed: int) -> DataSet:
    """Return the data set with a part as `test`, and of the others so many a label as `train`.

    `size` None: all of the others. A sample that would bring more of all of its labels than are
    wanted is left out; one of several labels may bring more of some.
    """
    order = np.random.default_rng([seed, draw])
    groups = sorted({group_of(sample) for sample in data.samples})
    place = dict(zip(groups, order.permutation(len(groups)).tolist(), strict=True))
    found: list[Sample] = [replace(sample, split=None) for sample in data.samples]
    have: Counter[str] = Counter()
    for i in sorted(range(len(found)), key=lambda i: place[group_of(found[i])]):
        if parts[i] == draw:
            found[i] = replace(found[i], split="test")
        elif size is None or any(have[label] < size for label in found[i].labels):
            found[i] = replace(found[i], split="train")
            have.update(found[i].labels)
    return with_samples(data, found)
