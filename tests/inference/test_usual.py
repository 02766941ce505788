"""What is usual of streams, and how far from it a step is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vmm_cli.analysis.unusual import alarms, events, level_for, score_of, surprise_of
from vmm_cli.errors import DataError
from vmm_cli.inference.usual import (
    MOST_SURPRISE,
    Neighbours,
    Places,
    Tail,
    Usual,
    seen_by,
    smoothed,
    surprises,
)
from vmm_cli.inference.usual_model import PREFIX, described, tensors_of, usual_from
from vmm_cli.training.fit_usual import Seen, Wanted, fit, thinned

GRID = (3, 4)
RATE_HZ = 4.0


def wanted(**streams: tuple[str, tuple[int, int] | None]) -> Wanted:
    return Wanted(streams, 3, 8, 64, 3, RATE_HZ, 0)


def seen(unit: str, seed: int, steps: int = 60, width: int = 12) -> Seen:
    """A video whose values are noise, the same in all videos."""
    values = np.random.default_rng(seed).normal(size=(steps, width)).astype(np.float32)
    return Seen({"a": values}, {"a": np.ones(steps, bool)}, np.ones(steps, bool), unit)


VIDEOS = [seen(str(i), i) for i in range(6)]
KINDS = {"neighbours": ("identity", None), "places": ("identity", GRID), "both": ("change", None)}


def scored(usual: Usual, values: np.ndarray) -> np.ndarray:
    (stream,) = usual.streams
    looked, there = seen_by(stream.front_end, values, np.ones(len(values), bool))
    scores = np.full(len(values), np.nan)
    scores[there] = stream.model.distances(looked[there])
    return surprises(usual, {"a": scores})[1]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_never_seen_surprises_and_the_rest_does_not(kind: str) -> None:
    usual = fit(VIDEOS, wanted(a=KINDS[kind])).usual
    values = np.random.default_rng(99).normal(size=(60, 12)).astype(np.float32)
    values[20:30] *= 8
    surprise = scored(usual, values)
    assert surprise[22:28].min() > 3
    assert np.median(surprise[:18]) < 1
    assert surprise.min() >= 0 and surprise.max() <= MOST_SURPRISE


def test_a_score_is_one_less_the_share_of_usual_time_that_is_as_surprising() -> None:
    fitted = fit(VIDEOS, wanted(a=("identity", None)))
    for score in (0.5, 0.8):
        share = np.mean(score_of(np.concatenate(fitted.held_out)) >= score)
        assert share == pytest.approx(1 - score, abs=0.03)


def test_one_video_is_compared_with_other_stretches_of_itself() -> None:
    fitted = fit(VIDEOS[:1], wanted(a=("identity", None)))
    assert fitted.stretches and fitted.parts == 5
    assert sum(map(len, fitted.held_out)) == 60
    assert not fit(VIDEOS[:2], wanted(a=("identity", None))).stretches


def test_what_is_unusual_is_not_learnt_from() -> None:
    odd = VIDEOS[0].values["a"].copy()
    odd[:30] += 50
    usual = np.arange(60) >= 30
    video = replace(VIDEOS[0], values={"a": odd}, usual=usual)
    model = fit([video, *VIDEOS[1:]], wanted(a=("identity", None))).usual
    assert scored(model, odd)[:28].min() > 3


def test_nothing_that_moves_gives_numbers() -> None:
    """A frozen or black video: no value ever changes."""
    still = [
        replace(video, values={"a": np.zeros((60, 12), np.float32)}, unit=str(i))
        for i, video in enumerate(VIDEOS)
    ]
    for kind in KINDS.values():
        fitted = fit(still, wanted(a=kind))
        assert np.concatenate(fitted.held_out).max() == 0
        surprise = scored(fitted.usual, np.zeros((20, 12), np.float32))
        assert np.isfinite(surprise).all() and surprise.max() == 0
        moved = np.zeros((20, 12), np.float32)
        moved[10:] = np.arange(10)[:, None]
        assert scored(fitted.usual, moved)[12] > 1


def test_a_stream_that_is_not_there_says_nothing() -> None:
    fitted = fit(VIDEOS, wanted(a=("identity", None)))
    by_stream, whole = surprises(fitted.usual, {"a": np.full(9, np.nan)})
    assert by_stream.shape == (9, 1) and whole.max() == 0


def test_too_little_is_refused() -> None:
    with pytest.raises(DataError, match="too little is seen"):
        fit([seen("a", 0, steps=5)], wanted(a=("identity", None)))
    absent = replace(VIDEOS[0], masks={"a": np.zeros(60, bool)})
    with pytest.raises(DataError, match="too little is seen"):
        fit([absent], wanted(a=("identity", None)))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_same_from_its_tensors(kind: str) -> None:
    usual = fit(VIDEOS, wanted(a=KINDS[kind])).usual
    tensors = {name.removeprefix(PREFIX): one for name, one in tensors_of(usual).items()}
    again = usual_from(described(usual, RATE_HZ, 5.0), tensors)
    values = np.random.default_rng(7).normal(size=(40, 12)).astype(np.float32) * 2
    assert scored(again, values) == pytest.approx(scored(usual, values), abs=1e-3)
    assert type(again.streams[0].model) is (Places if kind == "places" else Neighbours)


def test_tensors_of_another_shape_are_refused() -> None:
    usual = fit(VIDEOS, wanted(a=("identity", None))).usual
    tensors = {name.removeprefix(PREFIX): one for name, one in tensors_of(usual).items()}
    about = described(usual, RATE_HZ, 5.0)
    for name, bad in (
        ("a.bank", tensors["a.bank"][:, :1]),
        ("a.scale", -tensors["a.scale"]),
        ("tail", tensors["tail"][::-1]),
        ("a.centre", tensors["a.centre"].astype(np.float64)),
    ):
        with pytest.raises(ValueError, match=r"its|a spread"):
            usual_from(about, tensors | {name: bad})


def test_a_tail_goes_on_where_nothing_was_seen() -> None:
    scores = np.random.default_rng(0).exponential(size=20_000)
    tail = Tail.of(scores)
    for share in (0.5, 0.05, 1e-3, 1e-6):
        assert tail.surprise(np.array([-np.log(share)])) == pytest.approx(
            -np.log10(share), rel=0.1, abs=0.02
        )
    assert tail.surprise(np.array([np.nan, 1e9])).tolist() == [0, MOST_SURPRISE]


def test_means_are_of_what_is_there() -> None:
    scores = np.array([np.nan, 1.0, 3.0, np.nan, 5.0])
    assert smoothed(scores, 3) == pytest.approx([np.nan, 2, 2, np.nan, 5], nan_ok=True)
    assert smoothed(scores, 1) == pytest.approx(scores, nan_ok=True)


def test_thinned_points_are_far_apart() -> None:
    draw = np.random.default_rng(0)
    points = np.concatenate([draw.normal(size=(500, 2)) * 0.01, [[9.0, 9.0], [-9.0, 9.0]]])
    kept = thinned(points, 3, draw)
    assert {tuple(point) for point in kept} >= {(9.0, 9.0), (-9.0, 9.0)}


def test_events_and_levels() -> None:
    surprise = np.array([0.0, 2.0, 3.0, 1.6, 0.0, 2.0, 0.0])
    assert list(events(surprise, 3.0)) == [(1, 4)]
    assert list(events(surprise, 2.0)) == [(1, 4), (5, 6)]
    assert not list(events(surprise, float("inf")))
    assert surprise_of(0.999) == pytest.approx(3) and surprise_of(1) == float("inf")


def test_a_threshold_keeps_to_its_false_alarms() -> None:
    draw = np.random.default_rng(0)
    hour = [-np.log10(draw.uniform(size=14_400)) for _ in range(2)]
    level = level_for(hour, 4.0, alarms_per_hour=5, span_s=0.25)
    assert 0 < alarms(hour, level) <= 10
    # A minute cannot show one an hour: it is no lower than what is to be expected.
    short = level_for([hour[0][:240]], 4.0, alarms_per_hour=1, span_s=0.25)
    assert short >= -np.log10(0.25 / 3600) - 1e-9
