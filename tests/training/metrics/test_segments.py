"""What detected actions are worth, against cases worked by hand and what must hold of any."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vmm_cli.training.data.samples import Segment
from vmm_cli.training.metrics.segments import (
    IOUS,
    Detection,
    Detections,
    Truth,
    _average_precisions,
    _match,
    average_precision,
    recall_at_false_alarms,
    recall_interval,
    score_segments,
    temporal_iou,
)


def fall(start_s: float, end_s: float, label: str = "fall") -> Segment:
    return Segment(start_s, end_s, label)


def found(start_s: float, end_s: float, score: float, label: str = "fall") -> Detection:
    return Detection(start_s, end_s, label, score)


def spans(*rows: tuple[float, float]) -> np.ndarray:
    return np.array(rows, float)


# --- temporal IoU -------------------------------------------------------------------------------


def test_temporal_iou_by_hand() -> None:
    iou = temporal_iou(
        spans((0, 10), (5, 6)),
        # the same, half of it, shifted (5 of 15 s), around it, touching, apart
        spans((0, 10), (0, 5), (5, 15), (-5, 15), (10, 20), (30, 40)),
    )
    assert iou.shape == (2, 6)
    assert iou[0].tolist() == [1, 0.5, pytest.approx(1 / 3), 0.5, 0, 0]
    assert iou[1].tolist() == [0.1, 0, 0.1, 0.05, 0, 0]
    assert temporal_iou(spans((0, 1)), np.zeros((0, 2))).shape == (1, 0)


# --- average precision --------------------------------------------------------------------------


def test_a_second_detection_of_a_segment_is_wrong() -> None:
    """The case of the docstring: right, wrong, right give precisions 1, 1/2, 2/3."""
    truth = {"v": [fall(0, 10), fall(20, 30)]}
    detections = {"v": [found(0, 9, 0.9), found(1, 10, 0.8), found(20, 26, 0.7)]}
    ap = average_precision(detections, truth, "fall", (0.5,))
    assert ap == pytest.approx([(1 + 2 / 3) / 2])
    # At 0.7 the last one, of IoU 0.6, is wrong too: 1 for A, 0 for B.
    assert average_precision(detections, truth, "fall", (0.7,)) == pytest.approx([0.5])


def test_where_its_best_segment_is_taken_a_detection_takes_the_next() -> None:
    # Both truths are met by both detections: [0, 10) with [0, 10) 1, with [2, 12) 8/12 = 2/3;
    # [1, 10) with [0, 10) 9/10, with [2, 12) 8/11 = 0.73.
    truth = {"v": [fall(0, 10), fall(2, 12)]}
    detections = {"v": [found(0, 10, 0.9), found(1, 10, 0.8)]}
    assert average_precision(detections, truth, "fall", (0.5, 0.7, 0.75)) == pytest.approx(
        [1, 1, 0.5]
    )


def test_precision_is_that_of_the_best_rank_from_here_down() -> None:
    # Ranks: wrong, right, right, right, wrong; precisions 0, 1/2, 2/3, 3/4, 3/5. Of four true
    # segments three are found, each at the best precision from there down, 3/4: 3 * 3/4 / 4.
    truth = {"v": [fall(t, t + 1) for t in (10, 20, 30, 40)]}
    detections = {
        "v": [found(0, 1, 0.9), *(found(t, t + 1, 0.9 - t / 100) for t in (10, 20, 30))],
        "empty": [found(0, 1, 0.1)],
    }
    assert average_precision(detections, truth, "fall") == pytest.approx([9 / 16] * 5)


def test_scores_are_ordered_over_all_videos_and_a_video_has_its_own_truth() -> None:
    truth = {"a": [fall(0, 10)], "b": [fall(50, 60)]}
    # The span of b's fall, told in a, is wrong there: wrong (0.9), right (0.8), right (0.7).
    detections = {"a": [found(50, 60, 0.9), found(0, 10, 0.7)], "b": [found(50, 60, 0.8)]}
    # Precisions 0, 1/2, 2/3; both segments count the 2/3.
    assert average_precision(detections, truth, "fall", (0.5,)) == pytest.approx([2 / 3])


def test_other_labels_and_missing_videos_change_nothing() -> None:
    truth = {"a": [fall(0, 10), fall(0, 10, "sit")], "b": [fall(0, 10)]}
    detections = {"a": [found(0, 10, 0.9), found(0, 10, 1.0, "walk")]}
    assert average_precision(detections, truth, "fall") == pytest.approx([0.5] * 5)
    assert average_precision({}, truth, "sit").tolist() == [0] * 5
    with pytest.raises(ValueError, match="no true segment is 'walk'"):
        average_precision(detections, truth, "walk")


# --- properties ---------------------------------------------------------------------------------

times = st.integers(0, 40).map(lambda t: t / 2)
lengths = st.integers(1, 20).map(lambda t: t / 2)
names = st.sampled_from(["a", "b", "c"])
labels = st.sampled_from(["fall", "sit"])
segments = st.builds(lambda t, d, name: Segment(t, t + d, name), times, lengths, labels)
truths = st.dictionaries(names, st.lists(segments, min_size=1, max_size=4), min_size=1)
detected = st.builds(
    lambda t, d, name, n: Detection(t, t + d, name, n / 64),
    *(times, lengths, labels, st.integers(0, 64)),
)
detections_of_all = st.dictionaries(names, st.lists(detected, max_size=6))


def some_label(truth: Truth) -> str:
    return next(s.label for found in truth.values() for s in found)


@given(detections_of_all, truths, st.randoms())
def test_the_order_in_which_all_is_given_says_nothing(
    detections: Detections, truth: Truth, random: Random
) -> None:
    def shuffled(by_video: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        items = [(video, random.sample(list(rows), len(rows))) for video, rows in by_video.items()]
        random.shuffle(items)
        return dict(items)

    found, true = shuffled(detections), shuffled(truth)
    first = score_segments(["fall", "sit"], detections, truth, 1, threshold=0.5)
    assert score_segments(["fall", "sit"], found, true, 1, threshold=0.5) == first


@given(truths)
def test_perfect_detections_are_worth_one(truth: Truth) -> None:
    perfect = {
        video: [Detection(s.start_s, s.end_s, s.label, 0.5) for s in rows]
        for video, rows in truth.items()
    }
    said = score_segments(["fall", "sit"], perfect, truth, 2, threshold=0.5)
    assert set(said["mAP"].values()) == {1.0} == set(said["recall_at"].values())
    assert said["false_alarms_per_hour"] == {"fall": 0, "sit": 0, "all": 0}


@given(detections_of_all, truths)
def test_the_precision_falls_with_the_iou_and_lies_between_0_and_1(
    detections: Detections, truth: Truth
) -> None:
    """Where each IoU has one segment to take only: a greedy choice may win by a stricter one."""
    alone = {video: rows[:1] for video, rows in truth.items()}
    ap = average_precision(detections, alone, some_label(alone))
    assert ((ap >= 0) & (ap <= 1)).all()
    assert (np.diff(ap) <= 1e-12).all()


@given(detections_of_all, truths, detected)
def test_one_more_false_alarm_below_all_others_never_helps_and_one_above_never_does(
    detections: Detections, truth: Truth, extra: Detection
) -> None:
    label = some_label(truth)
    before = average_precision(detections, truth, label)
    for score in (-1.0, 2.0):
        alarm = replace(extra, label=label, score=score)
        after = average_precision({**detections, "elsewhere": [alarm]}, truth, label)
        assert (after <= before + 1e-12).all()
        if score < 0:
            assert after == pytest.approx(before), "what comes last is divided by nothing"


@given(detections_of_all, truths)
def test_only_the_order_of_scores_counts(detections: Detections, truth: Truth) -> None:
    label = some_label(truth)
    stretched = {
        video: [replace(d, score=math.exp(3 * d.score) - 7) for d in rows]
        for video, rows in detections.items()
    }
    same = average_precision(stretched, truth, label)
    assert same == pytest.approx(average_precision(detections, truth, label))


@given(detections_of_all, truths, st.integers(0, 5))
def test_more_false_alarms_allowed_never_find_less(
    detections: Detections, truth: Truth, allowed: int
) -> None:
    label = some_label(truth)
    few, more = (recall_at_false_alarms(detections, truth, label, n) for n in (allowed, 99))
    assert 0 <= few <= more <= 1
    said = score_segments(["fall", "sit"], detections, truth, 1, threshold=0)
    assert more == said["per_class"][label]["recall"]


# --- all numbers together -----------------------------------------------------------------------


def test_the_numbers_of_a_small_evaluation() -> None:
    truth = {"a": [fall(0, 10), fall(20, 30, "sit")], "b": [fall(0, 10)], "quiet": []}
    detections = {
        "a": [
            found(0, 8, 0.9),  # IoU 0.8
            found(2, 12, 0.8),  # IoU 8/12: the same fall again, no false alarm
            found(40, 50, 0.7),  # a false alarm
            found(20, 24, 0.6, "sit"),  # IoU 0.4
        ],
        "b": [found(0, 10, 0.4)],  # right, but below the threshold
        "quiet": [found(0, 10, 0.5), found(0, 10, 0.2, "sit")],  # false alarms, one is not told
    }
    said = score_segments(
        ["fall", "sit", "walk"],
        detections,
        truth,
        2.0,
        threshold={"fall": 0.5, "sit": 0.5, "walk": 1},
    )
    assert json.loads(json.dumps(said)) == said
    # fall, at every IoU: right, wrong, wrong, wrong, right: (1 + 2/5) / 2 = 0.7; sit: 1 up to 0.4.
    assert said["per_class"]["fall"] == {
        "n": 2,
        "ap": pytest.approx({"0.3": 0.7, "0.4": 0.7, "0.5": 0.7, "0.6": 0.7, "0.7": 0.7}),
        "recall": 0.5,
        "precision": 0.5,  # two of the four told are false alarms
        "false_alarms_per_hour": 1.0,  # in two hours
    }
    assert said["per_class"]["sit"]["ap"] == {"0.3": 1, "0.4": 1, "0.5": 0, "0.6": 0, "0.7": 0}
    assert said["per_class"]["walk"] == {
        "n": 0,
        "ap": dict.fromkeys(said["recall_at"]),
        "recall": None,
        "precision": None,
        "false_alarms_per_hour": 0.0,
    }
    # The mean over fall and sit, which occur; walk does not.
    assert said["mAP"] == pytest.approx(
        {"0.3": 0.85, "0.4": 0.85, "0.5": 0.35, "0.6": 0.35, "0.7": 0.35, "mean": 0.55}
    )
    # Of three true segments a's fall is told at every IoU, the sitting down up to 0.4.
    assert said["recall_at"] == pytest.approx(
        {"0.3": 2 / 3, "0.4": 2 / 3, "0.5": 1 / 3, "0.6": 1 / 3, "0.7": 1 / 3}
    )
    assert said["false_alarms_per_hour"] == {"fall": 1.0, "sit": 0.0, "walk": 0.0, "all": 1.0}


def test_nothing_true_and_nothing_detected() -> None:
    said = score_segments(["fall"], {"v": [found(0, 1, 0.9)]}, {"v": []}, 0.5, threshold=0.5)
    assert set(said["mAP"].values()) == {None} == set(said["recall_at"].values())
    assert said["false_alarms_per_hour"] == {"fall": 2.0, "all": 2.0}
    missed = score_segments(["fall"], {}, {"v": [fall(0, 1)]}, 0.5, threshold=0.0)
    assert set(missed["mAP"].values()) == {0.0} == set(missed["recall_at"].values())


def test_groups_are_told_apart() -> None:
    truth = {f"v{i}": [fall(0, 10)] for i in range(24)}
    groups = {f"v{i}": f"g{i // 2}" for i in range(24)}
    detections = {f"v{i}": [found(0, 10, 0.9)] for i in range(12)} | {"v23": [found(50, 60, 0.8)]}
    said = score_segments(["fall"], detections, truth, 1, threshold=0.5, groups=groups)
    assert said["per_group"]["g0"] == {"n": 2, "recall": 1.0, "false_alarms": 0}
    assert said["per_group"]["g11"] == {"n": 2, "recall": 0.0, "false_alarms": 1}
    assert said["mAP"]["mean"] == pytest.approx(0.5)
    assert 0.1 < said["interval"]["low"] < 0.5 < said["interval"]["high"] < 0.9
    same = score_segments(["fall"], detections, truth, 1, threshold=0.5, groups=groups)
    assert same == said
    few = dict.fromkeys(truth, "one")
    alone = score_segments(["fall"], detections, truth, 1, threshold=0.5, groups=few)
    assert alone["interval"] is None


@given(detections_of_all, truths, st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_a_video_that_is_drawn_twice_counts_as_two(
    detections: Detections, truth: Truth, weights: list[int]
) -> None:
    """What the bootstrap rests on."""
    label = some_label(truth)
    scores = [d.score for rows in detections.values() for d in rows]
    drawn = dict(zip("abc", weights, strict=True))
    assume(len(set(scores)) == len(scores))  # the copies of equal ones would come one by one
    assume(any(s.label == label for v, rows in truth.items() if drawn[v] for s in rows))
    copied = [
        {f"{v}{i}": rows for v, rows in by_video.items() for i in range(drawn[v])}
        for by_video in (detections, truth)
    ]
    found = _match(detections, truth, label, list("abc"), IOUS)
    assert _average_precisions(found, np.array(weights)) == pytest.approx(
        average_precision(*copied, label)
    )


# --- recall at so many false alarms -------------------------------------------------------------


def test_recall_with_so_many_false_alarms_by_hand() -> None:
    truth = {"a": [fall(0, 10), fall(20, 30)], "b": [fall(0, 10), fall(20, 30)], "quiet": []}
    detections = {
        "a": [found(0, 10, 0.9), found(20, 30, 0.6)],
        "b": [found(0, 10, 0.7), found(1, 10, 0.65), found(20, 22, 0.55)],  # the last: IoU 0.2
        "quiet": [found(0, 10, 0.8), found(20, 30, 0.6)],
    }

    def recall(allowed: int, iou: float = 0.3) -> float:
        return recall_at_false_alarms(detections, truth, "fall", allowed, iou)

    assert recall(0) == 0.25  # above 0.8: a's first
    assert recall(1) == 0.5  # above 0.6, which is a false alarm as well as a's second
    assert recall(2) == 0.75  # above 0.55
    assert recall(3) == recall(99) == 0.75  # b's second is never met
    assert recall(2, iou=0.2) == 1.0
    with pytest.raises(ValueError, match="cannot be allowed"):
        recall(-1)
    with pytest.raises(ValueError, match="no true segment"):
        recall_at_false_alarms(detections, truth, "sit", 1)


def test_the_interval_of_the_recall_is_drawn_over_videos() -> None:
    truth = {f"v{i}": [fall(0, 10)] for i in range(40)}
    detections = {f"v{i}": [found(0, 10, 0.9)] for i in range(30)}
    assert recall_at_false_alarms(detections, truth, "fall", 0) == 0.75
    said = recall_interval(detections, truth, "fall", 0, seed=1)
    assert said is not None and said == recall_interval(detections, truth, "fall", 0, seed=1)
    # 40 draws of 0.75 have a standard deviation of 0.068: 0.75 -+ 1.96 * 0.068.
    assert (said["low"], said["high"]) == pytest.approx((0.616, 0.884), abs=0.03)
    assert recall_interval({}, {"v": [fall(0, 1)]}, "fall", 0) is None


# --- what is refused ----------------------------------------------------------------------------


def test_what_is_no_detection_is_refused() -> None:
    for start_s, end_s in ((1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (0.0, math.inf)):
        with pytest.raises(ValueError, match="no span"):
            found(start_s, end_s, 0.5)
    with pytest.raises(ValueError, match="no score"):
        found(0, 1, math.nan)
    with pytest.raises(ValueError, match="no labels of the model: 'walk'"):
        score_segments(["fall"], {"v": [found(0, 1, 1, "walk")]}, {}, 1, threshold=0)
    with pytest.raises(ValueError, match="hours"):
        score_segments(["fall"], {}, {}, 0, threshold=0)


def test_ious_are_those_of_the_protocol() -> None:
    assert IOUS == (0.3, 0.4, 0.5, 0.6, 0.7)
