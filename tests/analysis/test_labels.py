"""Labels of a video, of what its pictures say."""

from __future__ import annotations

import numpy as np

from vmm_cli.analysis.labels import (
    LEAST_WORST,
    MOST_WORST,
    WORST_APART_S,
    Classification,
    LabelScore,
    LinearHead,
    Scores,
)
from vmm_cli.features.values import Features

NAMES = ("safe", "explicit")


def scores(explicit: list[float]) -> Scores:
    """A picture a second, each with its probability of `explicit`."""
    odds = np.log(np.array(explicit) / (1 - np.array(explicit)))
    features = Features(np.arange(len(odds), dtype=np.float64), odds[:, None].astype(np.float32))
    head = LinearHead(np.array([[0], [1]], np.float32), np.zeros(2, np.float32))
    return Scores(features, head, NAMES)


def test_the_worst_moments_are_those_of_short_scenes() -> None:
    curve = [0.01] * 30
    curve[3:6] = [0.5, 0.9, 0.6]
    curve[20] = 0.3
    found = scores(curve).worst([1])
    assert [(one.time_s, one.label, round(one.score, 5)) for one in found] == [
        (4.0, "explicit", 0.9),
        (20.0, "explicit", 0.3),
    ]


def test_there_may_be_none() -> None:
    assert scores([LEAST_WORST - 0.01] * 4).worst([1]) == ()


def test_they_are_few_and_apart() -> None:
    found = scores([0.2 + 0.01 * i for i in range(60)]).worst([1])
    times = [one.time_s for one in found]
    assert len(times) == MOST_WORST
    assert times == [59, 54, 49, 44, 39]
    assert min(np.diff(sorted(times))) >= WORST_APART_S


def test_a_classification_says_what_is_heard_and_that_nothing_was_recognised() -> None:
    heard = LabelScore("Music", 0.8, (1.0,), "heard")
    both = Classification(2.0, "tags", 1, (LabelScore("cat", 0.9, (0.5,), "seen"), heard))
    assert repr(both) == "Classification(cat 0.90, Music (heard) 0.80; 2.0 s, model 'tags')"
    nothing = Classification(2.0, "tags", 1, ())
    assert repr(nothing) == "Classification(nothing recognised; 2.0 s, model 'tags')"
