"""What was said of samples, and how good that is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vmm_cli.analysis.segments import Detection
from vmm_cli.training.headline import headline
from vmm_cli.training.samples import Sample, Segment, labels_of
from vmm_cli.training.scoring import DEFAULT_THRESHOLD, actions_judged, labels_judged, truth_of

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
    said = [np.array([0.9, 0.1]), np.array([0.2, 0.8]), np.array([0.6, 0.4])]
    judged = labels_judged(LABELS, samples, said, multi_label=False, has_groups=True)
    assert judged.metrics["accuracy"] == pytest.approx(2 / 3)
    assert judged.metrics["per_group"]["y"]["accuracy"] == 0.5
    assert judged.threshold is None and judged.seconds is None
    assert list(headline(judged.metrics)) == ["accuracy", "balanced_accuracy", "macro_f1"]
    alone = labels_judged(LABELS, samples, said, multi_label=False, has_groups=False)
    assert not alone.metrics.get("per_group")


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
SECONDS = [60.0, 60.0, 60.0]


def test_the_threshold_is_the_best_one_and_told_on() -> None:
    """From 0.6 on all three actions are found and nothing else is."""
    judged = actions_judged(LABELS, VIDEOS, SAID, SECONDS, has_groups=True)
    assert 0.3 < judged.threshold <= 0.6
    assert judged.metrics["threshold"] == judged.threshold
    assert judged.metrics["recall_at"]["0.5"] == 1
    assert judged.metrics["false_alarms_per_hour"]["all"] == 0
    assert judged.metrics["mAP"]["mean"] == pytest.approx(1)
    assert judged.metrics["per_group"]["y"]["n"] == 1


def test_a_threshold_that_is_given_is_kept() -> None:
    judged = actions_judged(LABELS, VIDEOS, SAID, SECONDS, has_groups=False, threshold=0.1)
    assert judged.threshold == 0.1 and judged.seconds == SECONDS
    # Two detections meet nothing, in three minutes.
    assert judged.metrics["false_alarms_per_hour"]["all"] == pytest.approx(2 * 20)
    assert "interval" not in judged.metrics
    strict = actions_judged(LABELS, VIDEOS, SAID, SECONDS, has_groups=False, threshold=0.85)
    assert strict.metrics["recall_at"]["0.5"] == pytest.approx(1 / 3)
    assert strict.metrics["mAP"] == judged.metrics["mAP"], "it is of any score"


def test_where_nothing_right_is_found_the_threshold_is_a_usual_one() -> None:
    nothing = actions_judged(LABELS, VIDEOS, [[], [], []], SECONDS, has_groups=False)
    assert nothing.threshold == DEFAULT_THRESHOLD
    assert nothing.metrics["mAP"]["mean"] == 0
    wrong = [[Detection(50, 51, "a", 0.7)], [], []]
    assert (
        actions_judged(LABELS, VIDEOS, wrong, SECONDS, has_groups=False).threshold
        == DEFAULT_THRESHOLD
    )


def test_what_a_model_is_known_by() -> None:
    judged = actions_judged(LABELS, VIDEOS, SAID, SECONDS, has_groups=False)
    numbers = headline(judged.metrics)
    assert next(iter(numbers)) == "mAP", "first of all"
    assert set(numbers) == {"mAP", *(f"mAP@{iou}" for iou in ("0.3", "0.4", "0.5", "0.6", "0.7"))}
    assert all(value == pytest.approx(1) for value in numbers.values())


def test_without_any_action_the_mean_cannot_be_said() -> None:
    quiet = actions_judged(LABELS, VIDEOS[2:], SAID[2:], SECONDS[2:], has_groups=False)
    assert quiet.metrics["mAP"]["mean"] is None
    assert np.isnan(headline(quiet.metrics)["mAP"])
    assert quiet.metrics["false_alarms_per_hour"]["all"] == 0, "0.2 is not told"
