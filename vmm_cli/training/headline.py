"""The few numbers of a model's metrics that it is known by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def headline(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers that a model is known by, by name; of ratings those that there are."""
    if "emotions" in metrics:
        return _of_ratings(metrics["valence"] or {}, metrics["emotions"] or {})
    if "mAP" not in metrics:
        return {name: metrics[name] for name in ("accuracy", "balanced_accuracy", "macro_f1")}
    means = {f"mAP@{iou}": value for iou, value in metrics["mAP"].items() if iou != "mean"}
    known = {"mAP": metrics["mAP"]["mean"], **means}
    return {name: float("nan") if value is None else value for name, value in known.items()}


def intervals(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the intervals over groups that there are, by the name of what they are of."""
    if "emotions" in metrics:
        parts = {"mae": metrics["valence"], "emotion accuracy": metrics["emotions"]}
    else:
        parts = {"mAP" if "mAP" in metrics else "accuracy": metrics}
    return {name: part["interval"] for name, part in parts.items() if (part or {}).get("interval")}


def _of_ratings(valence: Mapping[str, Any], emotions: Mapping[str, Any]) -> dict[str, float]:
    known = {name: valence.get(name) for name in ("mae", "pearson")}
    known |= {f"acc2 {name}": value for name, value in valence.get("acc2", {}).items()}
    known |= {"uar": emotions.get("uar"), "emotion accuracy": emotions.get("accuracy")}
    return {name: value for name, value in known.items() if value is not None}
