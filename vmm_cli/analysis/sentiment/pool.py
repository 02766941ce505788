"""What several experts say at one time, as one opinion: a log-linear pool. numpy only.

Each expert's distribution over emotions, as ratios to chance, counts with the power of its weight,
and the product is renormalised (Genest and Zidek 1986, "Combining probability distributions: a
critique and an annotated bibliography"). So an expert of weight 0 changes nothing, two that agree
say it more clearly than one, and two that contradict each other less clearly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vmm_cli.analysis.sentiment.evidence import EMOTIONS, Evidence, valence_of

KERNEL_REACH = 3  # standard deviations; beyond, a Gaussian has 0.3 % of its mass
LEAST_PROBABILITY = 1e-4  # no expert is so sure that another one could not change it


@dataclass(frozen=True, eq=False)
class Opinion:
    """What one expert holds at G times.

    Attributes:
        covers: bool [7], which of `EMOTIONS` it knows.
        log_ratios: float64 [G, 7]: logarithms of probability over chance; 0 where it knows nothing.
        valence: float64 [G], from -1 to 1.
        weight: float64 [G], from 0 to 1; 0 where it says nothing.
    """

    covers: np.ndarray
    log_ratios: np.ndarray
    valence: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True, eq=False)
class Pool:
    """What all experts hold together at G times.

    Attributes:
        probabilities: float64 [G, 7], each row sums to 1 or, where no expert of emotions speaks, is
            0; an emotion that none of those who speak knows has 0.
        valence: float64 [G]; 0 where nobody speaks.
        confidence: float64 [G], from 0 to 1; 0 where nobody speaks.
    """

    probabilities: np.ndarray
    valence: np.ndarray
    confidence: np.ndarray


def opinion_at(evidence: Evidence, times_s: np.ndarray, kernel_s: float) -> Opinion:
    """Return what an expert holds at each of G ascending times: the observations near it, averaged.

    An observation counts by its confidence times a Gaussian of its distance in time, which is 0
    while it holds, of the standard deviation `kernel_s`, cut at three of them. So are averaged
    valences and logarithms of probabilities. The opinion's weight is that of what counts most: so a
    clear observation is not drowned by many unclear ones, and fades as it goes by.
    """
    sums = np.zeros((len(times_s), len(EMOTIONS)))
    valence, counted, weight = (np.zeros(len(times_s)) for _ in range(3))
    columns = [EMOTIONS.index(emotion) for emotion in evidence.emotions]
    ratios = np.zeros((len(evidence.start_s), len(EMOTIONS)))
    floored = np.maximum(evidence.probabilities.astype(np.float64), LEAST_PROBABILITY)
    ratios[:, columns] = np.log(floored * len(columns))
    reach_s = KERNEL_REACH * kernel_s
    firsts = np.searchsorted(times_s, evidence.start_s - reach_s)
    lasts = np.searchsorted(times_s, evidence.end_s + reach_s, side="right")
    for i, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        near = times_s[first:last]
        distance = np.maximum(evidence.start_s[i] - near, near - evidence.end_s[i]).clip(min=0)
        share = np.exp(-0.5 * (distance / kernel_s) ** 2) * evidence.confidence[i]
        sums[first:last] += share[:, None] * ratios[i]
        valence[first:last] += share * evidence.valence[i]
        counted[first:last] += share
        np.maximum(weight[first:last], share, out=weight[first:last])
    divisor = np.where(counted > 0, counted, 1.0)
    covers = np.isin(np.arange(len(EMOTIONS)), columns)
    return Opinion(covers, sums / divisor[:, None], valence / divisor, weight)


def pooled(opinions: Mapping[str, Opinion], reliability: Mapping[str, float]) -> Pool:
    """Return what experts hold together; each counts with its weight times its reliability.

    With weights w, emotion c has a probability in proportion to the product of
    (probability x number of emotions) ^ w over the experts that know c, times their share of the
    weight of all that know any: so one that hardly speaks hardly brings in an emotion of its own.

    Valence is the weighted mean of what the experts of valence alone say and of what the others'
    emotions come to: the expectation over the same product with weights that add up to 1, which one
    expert's low weight does not flatten.

    Confidence is 1 - the product of (1 - w), as of independent witnesses, times 1 - conflict: the
    weighted standard deviation of the valences, or, where it is more, twice the weighted mean of
    how far (in total variation) each expert's distribution lies from their mean.
    """
    weighted = [
        (opinion, (opinion.weight * reliability.get(name, 1.0)).clip(0, 1))
        for name, opinion in opinions.items()
    ]
    count = len(weighted[0][1]) if weighted else 0
    of_emotions = [(opinion, weight) for opinion, weight in weighted if opinion.covers.any()]
    speaks = sum((weight for _, weight in of_emotions), np.zeros(count))
    probabilities = _product(of_emotions, np.ones(count))
    mean = speaks * valence_of(_product(of_emotions, _inverse(speaks)), EMOTIONS)
    mean += sum(
        (weight * opinion.valence for opinion, weight in weighted if not opinion.covers.any()),
        np.zeros(count),
    )
    total = sum((weight for _, weight in weighted), np.zeros(count))
    valence = (mean * _inverse(total)).clip(-1, 1)
    conflict = np.maximum(_spread(weighted, total), 2 * _disagreement(of_emotions, speaks))
    silent = np.prod([1 - weight for _, weight in weighted], axis=0) if weighted else np.ones(count)
    return Pool(probabilities, valence, (1 - silent) * (1 - conflict).clip(0, 1))


Weighted = Sequence[tuple[Opinion, np.ndarray]]


def _inverse(values: np.ndarray) -> np.ndarray:
    """Return 1 / values, and 0 where they are 0."""
    inverse: np.ndarray = np.where(values > 0, 1 / np.where(values > 0, values, 1.0), 0.0)
    return inverse


def _product(weighted: Weighted, scale: np.ndarray) -> np.ndarray:
    """Return the renormalised product of experts, of weights times `scale` [G]: [G, 7], or 0."""
    logs, known = np.zeros((len(scale), len(EMOTIONS))), np.zeros((len(scale), len(EMOTIONS)))
    for opinion, weight in weighted:
        logs += (weight * scale)[:, None] * opinion.log_ratios
        known += weight[:, None] * opinion.covers
    coverage = known * _inverse(known.max(axis=1, initial=0.0))[:, None]
    odds = coverage * np.exp(logs - logs.max(axis=1, keepdims=True, initial=0.0))
    product: np.ndarray = odds * _inverse(odds.sum(axis=1))[:, None]
    return product


def _spread(weighted: Weighted, total: np.ndarray) -> np.ndarray:
    """Return the weighted standard deviation of the valences: [G]."""
    nothing = np.zeros(len(total))
    mean = sum((w * o.valence for o, w in weighted), nothing) * _inverse(total)
    square = sum((w * o.valence**2 for o, w in weighted), nothing) * _inverse(total)
    spread: np.ndarray = np.sqrt(np.maximum(square - mean**2, 0.0))
    return spread


def _disagreement(weighted: Weighted, total: np.ndarray) -> np.ndarray:
    """Return how far experts lie from their mean, over the emotions that all know: [G], to 1/2.

    Total variation, weighted: a half where two of equal weight are sure of different emotions.
    """
    nothing = np.zeros(len(total))
    if not weighted:
        return nothing
    shared = np.logical_and.reduce([opinion.covers for opinion, _ in weighted])
    odds = [np.exp(opinion.log_ratios[:, shared]) for opinion, _ in weighted]
    own = [probabilities * _inverse(probabilities.sum(axis=1))[:, None] for probabilities in odds]
    share = [weight * _inverse(total) for _, weight in weighted]
    mean = sum((s[:, None] * p for s, p in zip(share, own, strict=True)), np.zeros_like(own[0]))
    apart = [np.abs(p - mean).sum(axis=1) / 2 for p in own]
    far: np.ndarray = sum((s * d for s, d in zip(share, apart, strict=True)), nothing)
    return far
