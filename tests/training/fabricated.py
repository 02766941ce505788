"""Samples whose features were never in a video: training is tested on them in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from vmm_cli.features.grid import Window, grid_times
from vmm_cli.features.windows import Encoded, WindowFeatures
from vmm_cli.training.data.read_classes import CLASSES
from vmm_cli.training.data.samples import DataSet, Kind, Sample, make_dataset
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.recipe import Optimisation, Recipe

WIDTHS = {"image": 6, "motion": 10, "audio": 4}
LABELS = ("fight", "no_fight")


def sample(number: int, label: str, split: str | None = "train", **more: object) -> Sample:
    labels = tuple(sorted(label.split("|")))
    path = Path(f"{number}.mp4")
    return Sample(path, path.name, labels, split, None, None, **more)


def encoded(
    seed: int,
    shift: float,
    streams: Sequence[str] = ("image", "motion"),
    *,
    windows: int = 1,
    absent: Sequence[str] = (),
    text: str = "",
) -> Encoded:
    """Noise around `shift`, 3 to 5 steps a window."""
    draw = np.random.default_rng(seed)
    found = []
    for i in range(windows):
        span = Window(Fraction(i), Fraction(i) + Fraction(int(draw.integers(3, 6)), 4))
        times = grid_times(span, Fraction(4))
        values, masks = {}, {}
        for stream in streams:
            noise = draw.normal(size=(len(times), WIDTHS[stream])).astype(np.float32)
            values[stream] = noise * 0.5 + np.float32(shift)
            masks[stream] = np.full(len(times), stream not in absent)
        found.append(WindowFeatures(span, times, values, masks))
    return Encoded(tuple(found), text)


def data(
    count: int = 24, streams: Sequence[str] = ("image", "motion"), **more: object
) -> tuple[list[Sample], list[Encoded]]:
    """Two labels that the mean tells apart; every fourth sample is for validation."""
    samples, found = [], []
    for i in range(count):
        split = "val" if i % 4 == 3 else "train"
        samples.append(sample(i, LABELS[i % 2], split))
        found.append(encoded(i, 1.0 if i % 2 else -1.0, streams, **more))
    return samples, found


def dataset(
    samples: Sequence[Sample],
    kind: Kind = CLASSES,
    *,
    multi_label: bool = False,
    labels: Sequence[str] | None = None,
) -> DataSet:
    """The data set of some samples; `labels`: where these have not all."""
    made = make_dataset(Path("d"), samples, kind=kind, multi_label=multi_label, problems=())
    return made if labels is None else replace(made, labels=tuple(labels))


def small(
    streams: Sequence[str] = ("image", "motion"), *overrides: str, **optimisation: object
) -> Recipe:
    """A recipe that trains in some milliseconds."""
    listed = ", ".join(streams)
    recipe = load_recipe("frames", [f"streams=[{listed}]", "width=8", "dropout=0.1", *overrides])
    wanted: dict[str, object] = {"epochs": 8, "batch": 6, "learning_rate": 0.02, **optimisation}
    return replace(recipe, optimisation=replace(Optimisation(), **wanted))
