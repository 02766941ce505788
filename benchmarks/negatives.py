"""What negatives do: false alarms an hour on some that were held out, learnt from others and not.

    python -m benchmarks.negatives fights calm more.csv   # each of the given folds left out
    python -m benchmarks.negatives falls calm             # each person left out

The data are $VMM_DATA/fights (recipe `motion`) and $VMM_DATA/falls (recipe `segments`), the rest
negatives. Every fold leaves out a part of the negatives, and is learnt twice: from all that is
left, and from what of it is no negative. Both are judged on what the fold leaves out.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from tools.train_falls import merged
from vmm_cli.batch.capacity import default_workers
from vmm_cli.features.windows import Encoded
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.training.data.inspection import inspect
from vmm_cli.training.data.read_classes import read_classes
from vmm_cli.training.data.read_segments import read_segments
from vmm_cli.training.data.samples import NONE, DataSet, Sample, with_samples
from vmm_cli.training.data.splits import without_folds
from vmm_cli.training.encoding import Means, encode_samples
from vmm_cli.training.learn import learn
from vmm_cli.training.metrics.operating import Evidence, curve_of
from vmm_cli.training.prepare import plan_for
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.request import data_with_negatives
from vmm_cli.training.tasks import classes, segments
from vmm_cli.training.tasks.catalogue import TASKS
from vmm_cli.training.tasks.task import Predictions
from vmm_cli.training.tasks.told import Found

CPU = torch.device("cpu")
WORKER_MEMORY_BYTES = 700 * 2**20
RATES = (0.0, 10.0, 30.0)  # false alarms an hour, that recall is told at
USUAL = 0.5


@dataclass(frozen=True)
class Subject:
    """What is learnt: its data with folds, by which recipe, and the label that is looked for."""

    read: Callable[[Path], DataSet]
    recipe: str
    label: str
    found: Callable[[Predictions], Found]


SUBJECTS = {
    "fights": Subject(
        lambda folder: read_classes(folder / "clips.csv", fold="fold"),
        "motion",
        "fight",
        lambda predictions: classes.found_of(predictions, NONE),
    ),
    "falls": Subject(
        lambda folder: merged(read_segments(folder / "annotations.json", fold="group")),
        "segments",
        "falling",
        segments.found_of,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Print what negatives do.")
    parser.add_argument("data", choices=SUBJECTS)
    parser.add_argument("negatives", nargs="+", type=Path)
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=default_workers(WORKER_MEMORY_BYTES))
    arguments = parser.parse_args()
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds fights/ and falls/")
    torch.set_num_threads(1)
    subject = SUBJECTS[arguments.data]
    data = subject.read(Path(os.environ["VMM_DATA"]) / arguments.data)
    recipe = load_recipe(subject.recipe, arguments.set)
    whole = data_with_negatives(data, arguments.negatives)
    seen = inspect(whole, jobs=arguments.jobs, max_pixels=DEFAULT_MAX_PIXELS)
    kept, encoded = readable(seen.dataset, recipe, arguments.jobs)
    print("| learnt from | at | recall | false alarms an hour | of negatives, an hour |")
    print("| --- " * 5 + "|")
    for name, learns in (("labels alone", False), ("negatives too", True)):
        divided = folds(kept, recipe, arguments.seed, seen.contents)
        parts = [
            judged(part, encoded, recipe, arguments.seed, negatives=learns) for part in divided
        ]
        say(name, subject, joined(parts))


def readable(data: DataSet, recipe: Recipe, jobs: int) -> tuple[DataSet, list[Encoded]]:
    """Return the samples that can be seen, and what is seen of them."""
    seen = encode_samples(data.samples, plan_for(recipe), Means(jobs), with_text=False)
    pairs = [
        (sample, one)
        for sample, one in zip(data.samples, seen, strict=True)
        if isinstance(one, Encoded) and any(m.any() for w in one.windows for m in w.masks.values())
    ]
    return with_samples(data, (sample for sample, _ in pairs)), [one for _, one in pairs]


def folds(
    data: DataSet, recipe: Recipe, seed: int, contents: Mapping[Path, str]
) -> Iterator[DataSet]:
    """Yield the data with each fold left out, which is `test`."""
    stops = recipe.optimisation.patience > 0
    yield from without_folds(data, seed=seed, contents=contents, stops_early=stops).values()


def judged(
    part: DataSet, encoded: Sequence[Encoded], recipe: Recipe, seed: int, *, negatives: bool
) -> Predictions:
    """Learn from what is left of a fold, and say what is predicted for what it leaves out."""
    learns = part
    if not negatives:
        samples = (replace(s, split=None) if s.negative else s for s in part.samples)
        learns = with_samples(part, samples)
        labels = tuple(label for label in part.labels if label != NONE)
        learns = replace(learns, labels=labels)
    learnt = learn(learns, encoded, recipe, seed=seed, device=CPU)
    test = [i for i, sample in enumerate(part.samples) if sample.split == "test"]
    values = TASKS[part.task].predict(learnt, [encoded[i] for i in test], CPU)
    samples_of = [part.samples[i] for i in test]
    return Predictions(samples_of, values, learns.labels, part.multi_label, part.has_groups)


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Return what is predicted for all folds, calibrated by the samples that have labels."""
    samples: list[Sample] = [sample for part in parts for sample in part.samples]
    whole = replace(parts[0], samples=samples, values=[v for part in parts for v in part.values])
    task = TASKS["classes" if samples[0].segments is None else "segments"]
    labelled = [i for i, s in enumerate(samples) if NONE in whole.labels or not s.negative]
    fitted = task.fit(
        replace(
            whole,
            samples=[samples[i] for i in labelled],
            values=[whole.values[i] for i in labelled],
        )
    )
    return whole if fitted is None else task.calibrated(whole, fitted)


def say(name: str, subject: Subject, predictions: Predictions) -> None:
    """Print rows of the table: at 0.5, and at the lowest threshold with so many false alarms."""
    found = subject.found(predictions)
    evidence, quiet = found.evidence[subject.label], found.on_negatives[subject.label]
    print(row(name, f"{USUAL:g}", evidence, quiet, USUAL))
    for rate in RATES:
        threshold = curve_of(evidence).with_at_most(rate)
        print(row(name, f"at most {rate:g} an hour: {threshold:.3f}", evidence, quiet, threshold))
    high = [one.score >= USUAL for one in found.sightings if one.label == subject.label]
    print(
        f"{name}: {sum(high)} of {found.negatives} negatives ({found.seconds / 3600:.3f} hours) "
        f"score {USUAL:g} or more; {len(evidence.best)} true, in {evidence.hours:.3f} hours",
        flush=True,
    )
    if predictions.samples[0].segments is None:
        right = [
            predictions.labels[int(np.argmax(one.probabilities))] in sample.labels
            for sample, one in zip(predictions.samples, predictions.values, strict=True)
            if not sample.negative
        ]
        print(f"{name}: accuracy of {len(right)} labelled samples {np.mean(right):.3f}")


def row(name: str, at: str, evidence: Evidence, quiet: Evidence, threshold: float) -> str:
    """Return a row of the table."""
    place = np.array([threshold])
    recall = float(evidence.recall_at(place)[0])
    hourly = [float(one.alarms_at(place)[0]) / one.hours for one in (evidence, quiet)]
    return f"| {name} | {at} | {recall:.3f} | {hourly[0]:.1f} | {hourly[1]:.1f} |"


if __name__ == "__main__":
    main()
