"""What several experts say, joined: the properties that docs/sentiment.md promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.analysis.sentiment.evidence import EMOTIONS, VALENCE, Evidence, nothing, valence_of
from vmm_cli.analysis.sentiment.pool import KERNEL_REACH, Opinion, Pool, opinion_at, pooled

EQUAL = {"face": 1.0, "voice": 1.0, "text": 1.0}
SIX = tuple(emotion for emotion in EMOTIONS if emotion != "surprise")

shares = st.floats(0.05, 0.95)


@st.composite
def evidences(draw, expert="face", emotions=EMOTIONS, observations=5):
    count = draw(st.integers(1, observations))
    start = np.sort(draw(st.lists(st.floats(0, 20), min_size=count, max_size=count)))
    length = np.array(draw(st.lists(st.floats(0, 5), min_size=count, max_size=count)))
    cells = st.lists(st.floats(0.01, 1), min_size=len(emotions), max_size=len(emotions))
    odds = np.array(draw(st.lists(cells, min_size=count, max_size=count)))
    chances = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    confidence = np.array(draw(st.lists(shares, min_size=count, max_size=count)), np.float32)
    valence = valence_of(chances, emotions)
    return Evidence(expert, emotions, start, start + length, chances, valence, confidence)


def peaked(expert: str, emotion: str, top: float, confidence: float, emotions=EMOTIONS) -> Evidence:
    """One observation from 0 to 1 s: one emotion at `top`, the others alike."""
    rest = (1 - top) / (len(emotions) - 1)
    chances = np.array([[top if name == emotion else rest for name in emotions]], np.float32)
    spans = np.zeros(1), np.ones(1)
    sure = np.array([confidence], np.float32)
    return Evidence(expert, emotions, *spans, chances, valence_of(chances, emotions), sure)


def said(*experts: Evidence, at: float = 0.5, reliability=EQUAL) -> Pool:
    times = np.array([at])
    return pooled({one.expert: opinion_at(one, times, 1.0) for one in experts}, reliability)


GRID = np.arange(0.5, 25, 1.0)


@given(evidences())
def test_what_comes_out_is_a_distribution_and_within_bounds(evidence):
    pool = pooled({"face": opinion_at(evidence, GRID, 1.0)}, EQUAL)
    sums = pool.probabilities.sum(axis=1)
    assert np.all(np.isclose(sums, 1) | (sums == 0))
    assert np.all(pool.probabilities >= 0)
    assert np.all(np.abs(pool.valence) <= 1)
    assert np.all((pool.confidence >= 0) & (pool.confidence <= 1))
    assert np.all((sums > 0) == (pool.confidence > 0))


@given(evidences(), evidences("voice", SIX))
def test_absent_evidence_changes_nothing(face, voice):
    opinions = {one.expert: opinion_at(one, GRID, 1.0) for one in (face, voice)}
    alone = pooled(opinions, EQUAL)
    with_none = pooled({**opinions, "text": opinion_at(nothing("text", ()), GRID, 1.0)}, EQUAL)
    unreliable = pooled(
        {**opinions, "text": opinion_at(_read(-1.0), GRID, 1.0)}, {**EQUAL, "text": 0.0}
    )
    for other in (with_none, unreliable):
        assert np.allclose(other.probabilities, alone.probabilities)
        assert np.allclose(other.valence, alone.valence)
        assert np.allclose(other.confidence, alone.confidence)


def _read(valence: float, confidence: float = 0.5) -> Evidence:
    few = np.array([valence], np.float32), np.array([confidence], np.float32)
    return Evidence("text", (), np.zeros(1), np.ones(1), np.empty((1, 0), np.float32), *few)


@given(evidences(), evidences("voice", SIX))
def test_the_order_of_experts_does_not_matter(face, voice):
    one = pooled({e.expert: opinion_at(e, GRID, 1.0) for e in (face, voice)}, EQUAL)
    other = pooled({e.expert: opinion_at(e, GRID, 1.0) for e in (voice, face)}, EQUAL)
    assert np.allclose(one.probabilities, other.probabilities)
    assert np.allclose(one.confidence, other.confidence)


@given(st.sampled_from(SIX), st.floats(0.2, 0.98), shares, shares)
def test_agreement_says_it_more_clearly(emotion, top, sure, also_sure):
    face = peaked("face", emotion, top, sure)
    voice = peaked("voice", emotion, top, also_sure)
    alone, both = said(face), said(face, voice)
    place = EMOTIONS.index(emotion)
    assert both.probabilities[0, place] > alone.probabilities[0, place]
    assert both.confidence[0] > max(alone.confidence[0], said(voice).confidence[0])


@given(st.floats(0.3, 0.98), shares)
def test_conflict_says_it_less_clearly(top, sure):
    face = peaked("face", "happiness", top, sure)
    voice = peaked("voice", "sadness", top, sure)
    both, agreed = said(face, voice), said(face, peaked("voice", "happiness", top, sure))
    happy = EMOTIONS.index("happiness")
    assert both.probabilities[0].max() < agreed.probabilities[0].max()
    assert both.probabilities[0, happy] < said(face).probabilities[0, happy]
    assert both.confidence[0] < agreed.confidence[0]


@pytest.mark.parametrize("one", SIX)
@pytest.mark.parametrize("other", SIX)
@pytest.mark.parametrize("sure", [0.2, 0.7, 0.95])
def test_two_that_are_sure_of_different_emotions_leave_less_than_one(one, other, sure):
    face, voice = peaked("face", one, 0.95, sure), peaked("voice", other, 0.95, sure, SIX)
    both, alone = said(face, voice), said(face)
    if one == other:
        assert both.confidence[0] > alone.confidence[0]
    else:
        assert both.confidence[0] < alone.confidence[0]


@given(evidences(), evidences("voice", SIX))
def test_valence_lies_where_the_emotions_do(face, voice):
    opinions = {e.expert: opinion_at(e, GRID, 1.0) for e in (face, voice)}
    sure = {k: Opinion(o.covers, o.log_ratios, o.valence, o.weight) for k, o in opinions.items()}
    scale = sum(o.weight for o in sure.values())
    whole = {
        k: Opinion(o.covers, o.log_ratios, o.valence, o.weight / np.where(scale > 0, scale, 1))
        for k, o in sure.items()
    }
    pool, normal = pooled(opinions, EQUAL), pooled(whole, EQUAL)
    there = pool.confidence > 0
    assert np.allclose(
        pool.valence[there], valence_of(normal.probabilities, EMOTIONS)[there], atol=1e-5
    )


def test_a_crowd_that_hardly_counts_does_not_drown_a_clear_face():
    face = peaked("face", "happiness", 0.9, 0.9)
    row = np.repeat(peaked("face", "sadness", 0.9, 0.1).probabilities, 9, axis=0)
    for unclear in (0.0, 0.02):
        crowd = Evidence(
            "face",
            EMOTIONS,
            np.zeros(10),
            np.ones(10),
            np.concatenate([face.probabilities, row]),
            valence_of(np.concatenate([face.probabilities, row]), EMOTIONS),
            np.array([0.9, *[unclear] * 9], np.float32),
        )
        alone, among = said(face), said(crowd)
        if unclear == 0:
            assert np.allclose(alone.probabilities, among.probabilities)
            assert np.allclose(alone.confidence, among.confidence)
        assert among.confidence[0] == pytest.approx(float(alone.confidence[0]))
        assert among.probabilities[0].argmax() == EMOTIONS.index("happiness")


def test_many_observations_fade_as_one_does():
    times = np.arange(0, 5, 0.1)
    one = peaked("face", "happiness", 0.9, 0.8)
    many = Evidence(
        "face",
        EMOTIONS,
        times,
        times,
        np.repeat(one.probabilities, len(times), axis=0),
        np.repeat(one.valence, len(times)),
        np.full(len(times), 0.8, np.float32),
    )
    last_s = times[-1]
    weight = opinion_at(many, last_s + np.array([0.0, 1.0, 2.0]), 1.0).weight
    assert weight == pytest.approx(0.8 * np.exp([-0.0, -0.5, -2.0]), abs=1e-6)


@given(shares)
def test_valences_far_apart_leave_less_confidence_than_one_alone(sure):
    glad = peaked("face", "happiness", 0.98, sure)
    assert said(glad, _read(-0.6, sure)).confidence[0] < said(glad).confidence[0]


@given(shares, st.floats(-1, 1), st.floats(-1, 1))
def test_the_further_apart_the_less_confidence(sure, one, other):
    near = _valences(sure, one, one + (other - one) / 2)
    far = _valences(sure, one, other)
    assert far.confidence[0] <= near.confidence[0] + 1e-9


def _valences(sure: float, *valences: float) -> Pool:
    none = np.zeros(len(EMOTIONS), bool)
    opinions = {
        str(i): Opinion(none, np.zeros((1, 7)), np.array([valence]), np.array([sure]))
        for i, valence in enumerate(valences)
    }
    return pooled(opinions, {})


def test_a_certain_expert_alone_is_heard_as_it_speaks():
    chances = np.array([[0.05, 0.05, 0.1, 0.5, 0.1, 0.1, 0.1]], np.float32)
    one = np.ones(1, np.float32)
    face = Evidence(
        "face", EMOTIONS, np.zeros(1), np.ones(1), chances, valence_of(chances, EMOTIONS), one
    )
    pool = said(face)
    assert np.allclose(pool.probabilities, chances, atol=1e-6)
    assert pool.valence[0] == pytest.approx(
        sum(c * VALENCE[e] for c, e in zip(chances[0], EMOTIONS, strict=True))
    )
    assert pool.confidence[0] == 1


def test_two_experts_by_hand():
    # Weights 0.5 and 1, ratios to chance: (0.8, 0.2) * 2 ^ 0.5 and (0.4, 0.6) * 2 of two emotions.
    known = np.array([name in ("happiness", "sadness") for name in EMOTIONS])

    def opinion(happy: float, sad: float, weight: float, valence: float) -> Opinion:
        logs = np.zeros((1, 7))
        logs[0, EMOTIONS.index("happiness")] = np.log(2 * happy)
        logs[0, EMOTIONS.index("sadness")] = np.log(2 * sad)
        return Opinion(known, logs, np.array([valence]), np.array([weight]))

    pool = pooled(
        {"face": opinion(0.8, 0.2, 0.5, 0.6), "voice": opinion(0.4, 0.6, 1.0, -0.3)}, EQUAL
    )
    happy, sad = 1.6**0.5 * 0.8, 0.4**0.5 * 1.2
    assert pool.probabilities[0, EMOTIONS.index("happiness")] == pytest.approx(
        happy / (happy + sad)
    )
    glad = 1.6 ** (1 / 3) * 0.8 ** (2 / 3)  # with weights of 1/3 and 2/3
    unhappy = 0.4 ** (1 / 3) * 1.2 ** (2 / 3)
    expected = (glad * VALENCE["happiness"] + unhappy * VALENCE["sadness"]) / (glad + unhappy)
    assert pool.valence[0] == pytest.approx(expected)
    spread = (0.5 / 1.5 * 0.36 + 1 / 1.5 * 0.09) ** 0.5  # of the valences, whose mean is 0
    # The mean distribution is (0.8 + 2 * 0.4) / 3 happy; the two lie 0.8 / 3 and 0.4 / 3 from it.
    apart = 2 * (0.8 / 3 / 3 + 2 * 0.4 / 3 / 3)
    assert pool.confidence[0] == pytest.approx(1 - max(spread, apart))


def test_an_emotion_that_one_does_not_know_comes_in_by_degrees():
    angry = peaked("voice", "anger", 0.9, 0.9, SIX)
    surprise = EMOTIONS.index("surprise")
    assert said(angry).probabilities[0, surprise] == 0
    before = 0.0
    for sure in (1e-6, 0.01, 0.1, 0.5):
        now = said(angry, peaked("face", "neutral", 0.4, sure)).probabilities[0, surprise]
        assert before < now < 0.2 * sure + 1e-3
        before = now


def test_text_alone_gives_valence_and_no_emotions():
    pool = said(_read(-0.4))
    assert not pool.probabilities.any()
    assert pool.valence[0] == pytest.approx(-0.4)
    assert pool.confidence[0] == pytest.approx(0.5)


@given(evidences(), st.floats(0.2, 5))
def test_nothing_reaches_beyond_the_kernel(evidence, kernel_s):
    reach_s = KERNEL_REACH * kernel_s
    times = np.array([evidence.end_s.max() + reach_s + 1e-6])
    assert opinion_at(evidence, times, kernel_s).weight[0] == 0


@given(evidences(), st.floats(0.2, 5))
def test_weight_is_never_above_the_surest_observation(evidence, kernel_s):
    opinion = opinion_at(evidence, GRID, kernel_s)
    assert opinion.weight.max() <= evidence.confidence.max() + 1e-9


@given(evidences(observations=1))
def test_during_an_observation_it_counts_in_full_and_fades_after(evidence):
    end_s = float(evidence.end_s[0])
    during, after, later = opinion_at(evidence, np.array([end_s, end_s + 1, end_s + 2]), 1.0).weight
    assert during == pytest.approx(float(evidence.confidence[0]))
    assert during > after > later > 0
