"""What was said of samples, and how good that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vmm_cli import bundles
from vmm_cli.analysis.segments import Detection
from vmm_cli.training.data.samples import Sample, Segment, labels_of
from vmm_cli.training.data.truth import truth_of
from vmm_cli.training.tasks.catalogue import TASKS
from vmm_cli.training.tasks.classes import Judged
from vmm_cli.training.tasks.segments import DEFAULT_THRESHOLD, Actions
from vmm_cli.training.tasks.task import Predictions

LABELS = ("a", "b")


def sample(name: str, *labels: str, group: str | None = None) -> Sample:
    return Sample(Path(name), name, tuple(sorted(labels)), "val", group, None)


def video(name: str, *spans: tuple[float, float, str], group: str | None = None) -> Sample:
    segments = tuple(sorted(Segment(*span) for span in spans))
    return Sample(Path(name), name, labels_of(segments), "val", group, None, segments=segments)


# --- labels -------------------------------------------------------------------------------------


def test_truth_is_a_place_or_several() -> None:
    samples = [sample("1", "b"), sample("2", "a"), sample("3", "a", "b")]
    assert truth_of(samples[:2], LABELS, multi_label=False).tolist() == [1, 0]
    several = truth_of(samples, LABELS, multi_label=True)
    assert several.tolist() == [[False, True], [True, False], [True, True]]


def test_labels_are_compared() -> None:
    samples = [
        sample("1", "a", group="x"),
        sample("2", "b", group="y"),
        sample("3", "b", group="y"),
    ]
    said = [Judged(np.array(each)) for each in ([0.9, 0.1], [0.2, 0.8], [0.6, 0.4])]
    classes = TASKS["classes"]
    metrics = classes.score(Predictions(samples, said, LABELS, False, has_groups=True), None)
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["per_group"]["y"]["accuracy"] == 0.5
    assert classes.thresholds(metrics) == {}
    known = classes.report.headline(metrics)
    assert list(known) == ["accuracy", "balanced_accuracy", "macro_f1"]
    alone = classes.score(Predictions(samples, said, LABELS, False, has_groups=False), None)
    assert not alone.get("per_group")


# --- actions ------------------------------------------------------------------------------------

VIDEOS = [
    video("1", (0, 10, "a"), (20, 30, "b"), group="x"),
    video("2", (5, 9, "a"), group="y"),
    video("3", group="y"),
]
SAID = [
    [Detection(0, 10, "a", 0.9), Detection(40, 50, "a", 0.3), Detection(20, 29, "b", 0.6)],
    [Detection(5, 9, "a", 0.8)],
    [Detection(1, 2, "b", 0.2)],
]


def scored(
    found: Sequence[list[Detection]] = SAID,
    videos: Sequence[Sample] = VIDEOS,
    *,
    groups: bool = False,
    thresholds: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The metrics of what was found in a minute of each video."""
    values = [Actions(one, 60.0) for one in found]
    predictions = Predictions(videos, values, LABELS, True, has_groups=groups)
    bundle = None
    if thresholds is not None:
        bundle = replace(bundles.load("falls"), labels=LABELS, thresholds=thresholds)
    return TASKS["segments"].score(predictions, bundle)


def test_the_threshold_is_the_best_one_and_told_on() -> None:
    """From 0.6 on all three actions are found and nothing else is."""
    metrics = scored(groups=True)
    assert 0.3 < metrics["threshold"] <= 0.6
    told = TASKS["segments"].thresholds(metrics)["score"]
    assert metrics["threshold"] - 1.1e-6 < told <= metrics["threshold"]
    assert metrics["recall_at"]["0.5"] == 1
    assert metrics["false_alarms_per_hour"]["all"] == 0
    assert metrics["mAP"]["mean"] == pytest.approx(1)
    assert metrics["per_group"]["y"]["n"] == 1


def test_a_threshold_that_is_given_is_kept() -> None:
    metrics = scored(thresholds={"score": 0.1})
    assert metrics["threshold"] == 0.1
    # Two detections meet nothing, in three minutes.
    assert metrics["false_alarms_per_hour"]["all"] == pytest.approx(2 * 20)
    assert "interval" not in metrics
    strict = scored(thresholds={"score": 0.85})
    assert strict["recall_at"]["0.5"] == pytest.approx(1 / 3)
    assert strict["mAP"] == metrics["mAP"], "it is of any score"
    assert scored(thresholds={})["threshold"] == DEFAULT_THRESHOLD, "a bundle may have none"


def test_where_nothing_right_is_found_the_threshold_is_a_usual_one() -> None:
    nothing = scored([[], [], []])
    assert nothing["threshold"] == DEFAULT_THRESHOLD
    assert nothing["mAP"]["mean"] == 0
    wrong = [[Detection(50, 51, "a", 0.7)], [], []]
    assert scored(wrong)["threshold"] == DEFAULT_THRESHOLD


def test_what_a_model_is_known_by() -> None:
    numbers = TASKS["segments"].report.headline(scored())
    assert next(iter(numbers)) == "mAP", "first of all"
    assert set(numbers) == {"mAP", *(f"mAP@{iou}" for iou in ("0.3", "0.4", "0.5", "0.6", "0.7"))}
    assert all(value == pytest.approx(1) for value in numbers.values())


def test_without_any_action_the_mean_cannot_be_said() -> None:
    quiet = scored(SAID[2:], VIDEOS[2:])
    assert quiet["mAP"]["mean"] is None
    assert np.isnan(TASKS["segments"].report.headline(quiet)["mAP"])
    assert quiet["false_alarms_per_hour"]["all"] == 0, "0.2 is not told"
