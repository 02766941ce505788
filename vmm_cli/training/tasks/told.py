"""From which score on a label is told, and what that gives: what tasks share that find things.

Thresholds, operating curves, and how often a label is told of negatives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vmm_cli.bundles import Bundle
from vmm_cli.bundles.operating import MOST_LABELS
from vmm_cli.training.metrics.operating import Evidence, curve_json, curve_of
from vmm_cli.training.tasks.task import Metrics

LEAST_FOUND = 3  # true actions, for a negative to be like the half of them
LEAST_LIKE = 0.2  # a place that is right less often is not worth a look
MOST_LIKE = 100  # negatives that are listed
MOST_WARNED = 10
CARD_RATES = (0.0, 1.0, 10.0, 100.0, 1000.0)  # false alarms an hour, that a card has recall at
CARD_LABELS = 20
MOST_DRAWN = 10


class Sighting(NamedTuple):
    """Where in a negative a label scores highest."""

    path: str
    time_s: float
    label: str
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What was found of each label in what was held out.

    Attributes:
        evidence: by label, of all; on_negatives: of the negatives alone.
        negatives: how many there are; seconds: how long they are.
        sightings: of labels in negatives.
    """

    evidence: Mapping[str, Evidence]
    on_negatives: Mapping[str, Evidence]
    negatives: int
    seconds: float
    sightings: Sequence[Sighting]


def told_metrics(
    found: Found, bundle: Bundle | None, max_false_alarms: float | None, otherwise: float
) -> dict[str, Any]:
    """Return operating curves with thresholds, and what is told of negatives, as JSON types.

    `operating`: see `curve_json`, by label. `told`: the most false alarms an hour that thresholds
    were chosen for (null: they were not), and the smallest number that could be seen. `negatives`:
    null where there are none. Nothing of all that where there is no time to measure it on.

    Args:
        bundle: that thresholds are of; None: they are chosen.
        max_false_alarms: for each label, an hour; None: `otherwise` is the threshold of all.
    """
    evidence = {label: one for label, one in found.evidence.items() if one.hours > 0}
    if not evidence or len(evidence) > MOST_LABELS:
        return {}
    curves = {label: curve_of(one) for label, one in evidence.items()}
    if bundle is not None:
        told = {label: bundle.told_from(label, otherwise) for label in curves}
        max_false_alarms = None
    elif max_false_alarms is None:
        told = dict.fromkeys(curves, otherwise)
    else:
        told = {label: curve.with_at_most(max_false_alarms) for label, curve in curves.items()}
    hours = min(curve.hours for curve in curves.values())
    return {
        "operating": {label: curve_json(curve, told[label]) for label, curve in curves.items()},
        "told": {
            "max_false_alarms_per_hour": max_false_alarms,
            "hours": hours,
            "smallest_rate": 1 / hours,
        },
        "negatives": _negatives(found, told) if found.negatives else None,
    }


def _negatives(found: Found, told: Mapping[str, float]) -> dict[str, Any]:
    each = {
        label: float(one.alarms_at(np.array([told[label]]))[0]) / one.hours
        for label, one in found.on_negatives.items()
        if label in told and one.hours > 0
    }
    like = sorted(_like_positives(found), key=lambda sighting: -sighting.score)
    return {
        "n": found.negatives,
        "seconds": found.seconds,
        "false_alarms_per_hour": {**each, "all": sum(each.values())},
        "like_positives": [sighting._asdict() for sighting in like[:MOST_LIKE]],
    }


def _like_positives(found: Found) -> Iterator[Sighting]:
    """Yield where negatives score as high as the half of what is right, by label."""
    middles = {}
    for label, one in found.evidence.items():
        scores = one.best[~np.isnan(one.best)]
        if len(scores) >= LEAST_FOUND:
            middles[label] = max(LEAST_LIKE, float(np.median(scores)))
    for sighting in found.sightings:
        if sighting.score >= middles.get(sighting.label, np.inf):
            yield sighting


def highest(sightings: Iterable[Sighting]) -> list[Sighting]:
    """Return, of each file and label, where it scores highest."""
    best: dict[tuple[str, str], Sighting] = {}
    for one in sightings:
        before = best.get((one.path, one.label))
        if before is None or one.score > before.score:
            best[one.path, one.label] = one
    return [*best.values()]


# --- telling ------------------------------------------------------------------------------------


def draw_operating(folder: Path, metrics: Metrics) -> None:
    """Draw the curves of the labels that are truly there, as far as colours can be told apart."""
    from vmm_cli.pictures import plots

    curves = {k: v for k, v in metrics.get("operating", {}).items() if v["n"]}
    shown = sorted(curves, key=lambda label: -curves[label]["n"])[:MOST_DRAWN]
    if shown:
        plots.operating(
            {label: curves[label]["points"] for label in shown},
            {label: curves[label]["threshold"] for label in shown},
            metrics["told"]["hours"],
            folder / "operating.png",
        )


def warnings_of(metrics: Metrics) -> Iterator[str]:
    """Yield what a user should know: what could not be measured, and what is doubtful."""
    told, negatives = metrics.get("told") or {}, metrics.get("negatives")
    if (limit := told.get("max_false_alarms_per_hour")) is not None:
        if limit < told["smallest_rate"]:
            yield unmeasurable(told)
        for label, curve in metrics["operating"].items():
            if curve["points"][0][2] > limit and curve["threshold"] == curve["points"][0][0]:
                yield (
                    f"{label!r} has {curve['points'][0][2]:.1f} false alarms an hour even at its "
                    f"highest threshold, {curve['threshold']:g}: more than the {limit:g} asked for"
                )
    like = (negatives or {}).get("like_positives", [])
    for one in like[:MOST_WARNED]:
        yield (
            f"{one['path']}: at {one['time_s']:.1f} s {one['label']!r} scores {one['score']:.2f}, "
            "as high as half of what truly is; look whether it is a negative there"
        )
    if len(like) > MOST_WARNED:
        yield f"and {len(like) - MOST_WARNED} more negatives like that; metrics.json lists them"


def unmeasurable(told: Mapping[str, Any]) -> str:
    """Say that a number of false alarms an hour is smaller than what could be seen."""
    return (
        f"{told['max_false_alarms_per_hour']:g} false alarms an hour cannot be measured on the "
        f"{told['hours']:.3g} hours that were held out: the smallest rate above none that can be "
        f"told there is {told['smallest_rate']:.3g}; thresholds are the lowest without any false "
        "alarm there"
    )


def told_rows(metrics: Metrics) -> Iterator[tuple[str, str]]:
    """Yield what a person wants to know of negatives and of calibration: name and value."""
    if (found := metrics.get("negatives")) is not None:
        hourly = found["false_alarms_per_hour"]["all"]
        name = f"negatives ({found['n']}, {found['seconds'] / 3600:.3g} hours)"
        yield name, f"{hourly:.1f} false alarms an hour"
    if (fitted := metrics.get("calibration")) is not None:
        value = f"{fitted['ece_before']:.3f}, {fitted['ece_after']:.3f} on others afterwards"
        yield "calibration error before", value


def told_remark(metrics: Metrics) -> str:
    """Return sentences on negatives and calibration for a card, each with a full stop before it."""
    sentence = ""
    if (found := metrics.get("negatives")) is not None:
        hourly = found["false_alarms_per_hour"]
        listed = ", ".join(
            f"{label} {rate:.1f}" for label, rate in hourly.items() if label != "all"
        )
        sentence += (
            f". On the {found['n']} negatives among them ({found['seconds'] / 3600:.3g} hours) "
            f"there are {hourly['all']:.1f} false alarms an hour ({listed})"
        )
        if like := found["like_positives"]:
            sentence += f"; {len(like)} places in them score like the half of what is right"
    if (fitted := metrics.get("calibration")) is not None:
        sentence += (
            f". Scores are calibrated on these samples: the calibration error is "
            f"{fitted['ece_before']:.3f} before, and {fitted['ece_after']:.3f} after, each part of "
            "the groups judged by a map of the others"
        )
    return sentence


def card_table(metrics: Metrics) -> str:
    """Return operating curves as a Markdown section; "" where there are none."""
    curves = metrics.get("operating") or {}
    if not curves:
        return ""
    told = metrics["told"]
    lines = ["| label | false alarms an hour | from a score of | recall |", "| --- " * 4 + "|"]
    for label, curve in [*curves.items()][:CARD_LABELS]:
        rows = [[p for p in curve["points"] if p[2] <= rate] for rate in CARD_RATES]
        shown = dict.fromkeys(tuple(points[-1]) for points in rows if points)
        for threshold, recall, hourly in shown or [tuple(curve["points"][0])]:
            seen = "-" if recall is None else f"{recall:.2f}"
            lines.append(f"| {label} | {hourly:.1f} | {threshold:.3f} | {seen} |")
    sentence = (
        f"Measured on what was held out, {told['hours']:.3g} hours or more for each label: the "
        f"smallest number of false alarms an hour above none that could be seen is "
        f"{told['smallest_rate']:.3g}. `vmm detect-actions --false-alarms N` takes the thresholds "
        "from this curve; `operating.png` draws it."
    )
    if (limit := told["max_false_alarms_per_hour"]) is not None and limit < told["smallest_rate"]:
        said = unmeasurable(told)
        sentence += f" {said[0].upper()}{said[1:]}."
    return f"## Operating curve\n\n{sentence}\n\n" + "\n".join(lines)
