"""How well models of what is usual find what is not: the tables of docs/results.md.

    python -m benchmarks.normal fights            # calm clips of other folds are what is usual
    python -m benchmarks.normal fights --known    # calm clips of the same recordings are, too
    python -m benchmarks.normal falls             # each person left out; usual: all but falls
    python -m benchmarks.normal overhead          # each date left out; usual: all but falls

The data are those in $VMM_DATA. No label is learnt from, but to leave out what is unusual. Beside
each recipe stands how much moves in the picture, the mean of `motion-energy`, without any model.
The last row is of the recipe that is best on the other parts, for each part: what is left out has
chosen nothing there.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vmm_cli.batch.capacity import default_workers
from vmm_cli.features.windows import Encoded
from vmm_cli.inference.usual import smoothed
from vmm_cli.tasks import UNUSUAL
from vmm_cli.training.data.read_classes import read_classes
from vmm_cli.training.data.read_normal import NORMAL, is_unusual
from vmm_cli.training.data.read_segments import read_segments
from vmm_cli.training.data.samples import (
    DataSet,
    Sample,
    Segment,
    Split,
    make_dataset,
    with_segments,
)
from vmm_cli.training.encoding import Means, encode_samples
from vmm_cli.training.learn import learn
from vmm_cli.training.predictions import predict
from vmm_cli.training.prepare import plan_for
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.tasks.catalogue import TASKS
from vmm_cli.training.tasks.normal import Steps
from vmm_cli.training.tasks.task import Predictions

CPU = torch.device("cpu")
WORKER_MEMORY_BYTES = 700 * 2**20
MAX_PIXELS = 8192 * 8192
PARTS = 5  # of clips whose recordings are known
IMAGE, MOTION = (
    "image: {{encoder: efficientnet-lite0, front_end: {}}}",
    "motion: {encoder: motion-energy}",
)
RECIPES: Mapping[str, str | None] = {
    "normal": None,
    "image, change": f"streams={{{IMAGE.format('change')}}}",
    "image, identity": f"streams={{{IMAGE.format('identity')}}}",
    "image, both, and motion": f"streams={{{IMAGE.format('identity-change')}, {MOTION}}}",
    "motion": f"streams={{{MOTION}}}",
}
# Which areas under a curve the best recipe is chosen by, the first one that there is.
CHOSEN_BY = ("clip", "frame")


@dataclass(frozen=True, eq=False)
class Videos:
    """What is measured on: `part`: by sample, which part it is left out with."""

    data: DataSet
    part: Sequence[str]
    encoded: Sequence[Encoded]


def main() -> None:
    parser = argparse.ArgumentParser(description="Print how well what is unusual is found.")
    parser.add_argument("data", choices=("fights", "falls", "overhead"))
    parser.add_argument("--known", action="store_true", help="fights: of the same recordings")
    parser.add_argument("--rate", type=float, help="steps a second [default: 4; overhead: 2]")
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--jobs", type=int, default=default_workers(WORKER_MEMORY_BYTES))
    arguments = parser.parse_args()
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds fights/ and more")
    rate = arguments.rate or (2 if arguments.data == "overhead" else 4)
    more = [f"rate_hz={rate:g}", *arguments.set]
    videos = _videos(Path(os.environ["VMM_DATA"]) / arguments.data, arguments, more)
    print("| what | AUC by frame | by event | by clip | events found | false alarms an hour |")
    print("| --- " * 6 + "|")
    _say("how much moves", videos, _moving(videos))
    found = {}
    for name, override in RECIPES.items():
        recipe = load_recipe("normal", [*more, *([override] if override else [])])
        found[name] = left_out(videos, recipe)
        _say(name, videos, found[name])
    _say("chosen on the other parts", videos, _nested(videos, found))


# --- data ---------------------------------------------------------------------------------------


def _videos(folder: Path, arguments: argparse.Namespace, more: Sequence[str]) -> Videos:
    if arguments.data == "fights":
        samples, part = _fights(folder, arguments.known)
    else:
        samples, part = _timed(folder)
    data = make_dataset(folder, samples, kind=NORMAL, multi_label=False, problems=())
    # Encoded whole, step by step, whatever is unusual in them.
    whole = [replace(sample, labels=(), segments=()) for sample in samples]
    plan = plan_for(load_recipe("normal", more))
    means = Means(arguments.jobs, max_pixels=MAX_PIXELS)
    encoded = encode_samples(whole, plan, means, with_text=False)
    failed = [s.name for s, e in zip(samples, encoded, strict=True) if not isinstance(e, Encoded)]
    if failed:
        sys.exit(f"cannot be read: {', '.join(failed)}")
    return Videos(data, part, [one for one in encoded if isinstance(one, Encoded)])


def _fights(folder: Path, known: bool) -> tuple[list[Sample], list[str]]:
    read = read_classes(folder / "clips.csv").samples
    parts = np.random.default_rng(0).permutation(len(read)) % PARTS
    part = [str(parts[i]) if known else s.fold or "" for i, s in enumerate(read)]
    usual = {"labels": (), "segments": ()}
    changes: list[dict[str, Any]] = [
        {"labels": (UNUSUAL,)} if s.labels == ("fight",) else usual for s in read
    ]
    return [replace(s, **one) for s, one in zip(read, changes, strict=True)], part


def _timed(folder: Path) -> tuple[list[Sample], list[str]]:
    samples = []
    for sample in read_segments(folder / "annotations.json").samples:
        falls = [
            Segment(one.start_s, one.end_s, UNUSUAL)
            for one in sample.segments or ()
            if one.label.lower().startswith("falling")
        ]
        samples.append(with_segments(sample, dict.fromkeys(falls)))
    return samples, [sample.group or sample.name for sample in samples]


# --- scores -------------------------------------------------------------------------------------


def left_out(videos: Videos, recipe: Recipe) -> list[Steps]:
    """Return how surprising each video is to a model that did not see its part."""
    found: list[Steps | None] = [None] * len(videos.part)
    for part in sorted(set(videos.part)):
        splits: list[Split | None] = [
            "test" if home == part else None if is_unusual(sample) else "train"
            for sample, home in zip(videos.data.samples, videos.part, strict=True)
        ]
        samples = [replace(s, split=x) for s, x in zip(videos.data.samples, splits, strict=True)]
        data = replace(videos.data, samples=tuple(samples))
        learnt = learn(data, videos.encoded, recipe, seed=0, device=CPU)
        values = iter(predict(learnt, data, videos.encoded, "test", CPU).predictions.values)
        for i, split in enumerate(splits):
            if split == "test":
                found[i] = next(values)
    return [one for one in found if one is not None]


def _moving(videos: Videos) -> list[Steps]:
    """Return how much moves in each video, averaged over a second, as if it were a surprise."""
    found = []
    for one in videos.encoded:
        (whole,) = one.windows
        step_s = float(whole.times[1] - whole.times[0]) if len(whole.times) > 1 else 1.0
        mask = whole.masks["motion"]
        moving = np.where(mask, whole.values["motion"].mean(axis=1), np.nan)
        scores = np.nan_to_num(smoothed(moving, max(1, round(1 / step_s)) | 1))
        found.append(Steps(scores, mask, whole.times, step_s, float("inf")))
    return found


def _nested(videos: Videos, found: Mapping[str, Sequence[Steps]]) -> list[Steps]:
    """Return for each part what the recipe says that is best on the others."""
    chosen: list[Steps] = [*next(iter(found.values()))]
    for part in sorted(set(videos.part)):
        others = [i for i, home in enumerate(videos.part) if home != part]
        best = max(found, key=lambda name: _area(_metrics(videos, found[name], others)))
        for i, home in enumerate(videos.part):
            if home == part:
                chosen[i] = found[best][i]
        print(f"part {part}: {best}", file=sys.stderr)
    return chosen


def _area(metrics: Mapping[str, Any]) -> float:
    return next((metrics["auc"][by] for by in CHOSEN_BY if metrics["auc"][by] is not None), 0.0)


def _metrics(
    videos: Videos, found: Sequence[Steps], places: Sequence[int] | None = None
) -> dict[str, Any]:
    places = range(len(found)) if places is None else places
    samples = [videos.data.samples[i] for i in places]
    values = [found[i] for i in places]
    predictions = Predictions(samples, values, (UNUSUAL,), False, videos.data.has_groups)
    return TASKS[NORMAL.name].score(predictions, None)


def _say(name: str, videos: Videos, found: Sequence[Steps]) -> None:
    """Print a row of the table."""
    metrics = _metrics(videos, found)
    areas = ["-" if area is None else f"{area:.3f}" for area in metrics["auc"].values()]
    events = f"{metrics['events']['found']} of {metrics['events']['n']}"
    alarms = f"{metrics['false_alarms_per_hour']:.0f} ({metrics['false_alarms']})"
    told = [events, alarms] if np.isfinite(found[0].level) else ["-", "-"]
    print(f"| {name} | {' | '.join([*areas, *told])} |", flush=True)


if __name__ == "__main__":
    main()
