"""The few numbers of a model's metrics that it is known by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def headline(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers that a model is known by, by name."""
    if "mAP" not in metrics:
        return {name: metrics[name] for name in ("accuracy", "balanced_accuracy", "macro_f1")}
    means = {f"mAP@{iou}": value for iou, value in metrics["mAP"].items() if iou != "mean"}
    known = {"mAP": metrics["mAP"]["mean"], **means}
    return {name: float("nan") if value is None else value for name, value in known.items()}
