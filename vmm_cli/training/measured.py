"""How good a model is, as its folder says: the metrics and the card beside `bundle.yaml`.

Both may come from anywhere, and are read as such: what is not of the form that is known says
nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmm_cli.plain_file import UnreadableError, read_regular
from vmm_cli.training.evaluation_files import METRICS_FILE
from vmm_cli.training.tasks.catalogue import TASKS
from vmm_cli.training.tasks.task import Report

CARD_FILE = "CARD.md"
MAX_BYTES = 4 * 2**20
LONGEST_ACCURACY = 500  # characters; whole sentences of them
_HEADINGS = ("## How good it is", "## Accuracy")


def card_of(folder: Path) -> Path | None:
    """Return where a model's card is; None where it has none."""
    path = folder / CARD_FILE
    return path if path.is_file() else None


def accuracy_of(folder: Path) -> str | None:
    """Return what a model's card says of how good it is: the first sentences, on one line.

    None where it says nothing.
    """
    try:
        text = read_regular(folder / CARD_FILE, MAX_BYTES).decode("utf-8", "replace")
    except UnreadableError:
        return None
    for heading in _HEADINGS:
        _, found, after = f"\n{text}".partition(f"\n{heading}\n")
        section = re.split(r"\n#", after, maxsplit=1)[0].strip()
        if found and section:
            paragraph = " ".join(section.split("\n\n")[0].replace("**", "").split())
            return _shortened(paragraph)
    return None


def _shortened(text: str) -> str:
    if len(text) <= LONGEST_ACCURACY:
        return text
    kept = text[:LONGEST_ACCURACY]
    end = kept.rfind(". ")
    return kept[: end + 1] if end > 0 else f"{kept}..."


def measured_of(folder: Path, task: str) -> dict[str, Any] | None:
    """Return what was measured when `vmm train` made a model, as JSON types; None: it did not.

    `split` says on what, `folds` how many there were, `samples` how many were judged, `figures`
    what came out (with the first seed), `intervals` between which values each lies with 95 %, and
    `seeds` the mean and standard deviation over `n` seeds.
    """
    try:
        metrics = json.loads(read_regular(folder / METRICS_FILE, MAX_BYTES))
        found: dict[str, Any] = _finite(_measured(metrics, TASKS[task].report))
        return found
    except (UnreadableError, ValueError, RecursionError):
        return None
    except (AttributeError, KeyError, TypeError, IndexError):  # of another form
        return None


def _measured(metrics: Mapping[str, Any], report: Report) -> dict[str, Any]:
    folds = metrics.get("folds")
    measured, samples = ("test", "train") if folds else ("validation", "val")
    split = folds["split"] if folds else metrics.get("split")
    if "fold" in metrics:
        measured, samples, split = "test", "test", f"fold {metrics['fold']}, which was left out"
    of = folds or metrics
    seeds = of.get("seeds")
    return {
        "split": str(split),
        "folds": len(folds["names"]) if folds else None,
        "samples": metrics["samples"][samples],
        "figures": report.headline(of[measured]),
        "intervals": {
            name: {"low": ends["low"], "high": ends["high"]}
            for name, ends in report.intervals(of[measured]).items()
        },
        "seeds": {
            "n": len(seeds["seeds"]),
            **{
                name: {"mean": spread["mean"], "sd": spread["sd"]}
                for name, spread in seeds.items()
                if name != "seeds"
            },
        }
        if seeds
        else None,
    }


def _finite(value: Any) -> Any:
    """Return JSON types with null for what is no number."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return value
