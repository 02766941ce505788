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

from vmm_cli.analysis.evidence import EMOTIONS, Evidence

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
    while it holds, of the standard deviation `kernel_s`, cut at three of them. The opinion's weight
    is the mean confidence of what counts, and fades where only distant observations are.
    """
    sums = np.zeros((len(times_s), len(EMOTIONS)))
    valence, counted, nearness = (np.zeros(len(times_s)) for _ in range(3))
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
        kernel = np.exp(-0.5 * (distance / kernel_s) ** 2)
        share = kernel * evidence.confidence[i]
        sums[first:last] += share[:, None] * ratios[i]
        valence[first:last] += share * evidence.valence[i]
        counted[first:last] += share
        nearness[first:last] += kernel
    divisor = np.where(counted > 0, counted, 1.0)
    covers = np.isin(np.arange(len(EMOTIONS)), columns)
    return Opinion(
        covers,
        sums / divisor[:, None],
        valence / divisor,
        counted / np.maximum(nearness, 1.0),
    )


def pooled(opinions: Mapping[str, Opinion], reliability: Mapping[str, float]) -> Pool:
    """Return what experts hold together; each counts with its weight times its reliability.

    With weights w, emotion c has a probability in proportion to the product of
    (probability x number of emotions) ^ w over the experts that know c, times their share of the
    weight of all that know any: so one that hardly speaks hardly brings in an emotion of its own.
    Valence is the weighted mean. Confidence is 1 - the product of (1 - w), as of independent
    witnesses, times 1 - the weighted standard deviation of their valences.
    """
    weights = {
        name: opinion.weight * reliability.get(name, 1.0) for name, opinion in opinions.items()
    }
    return _pooled([(opinions[name], weights[name].clip(0, 1)) for name in opinions])


def _pooled(weighted: Sequence[tuple[Opinion, np.ndarray]]) -> Pool:
    count = len(weighted[0][1]) if weighted else 0
    logs, known = np.zeros((count, len(EMOTIONS))), np.zeros((count, len(EMOTIONS)))
    speaks, total, mean, square, silent = (np.zeros(count) for _ in range(5))
    silent += 1
    for opinion, weight in weighted:
        logs += weight[:, None] * opinion.log_ratios
        known += weight[:, None] * opinion.covers
        speaks += weight * opinion.covers.any()
        total += weight
        mean += weight * opinion.valence
        square += weight * opinion.valence**2
        silent *= 1 - weight
    coverage = known / np.where(speaks > 0, speaks, 1.0)[:, None]
    odds = coverage * np.exp(logs - logs.max(axis=1, keepdims=True, initial=0.0))
    sums = odds.sum(axis=1, keepdims=True)
    divisor = np.where(total > 0, total, 1.0)
    valence = mean / divisor
    spread = np.sqrt(np.maximum(square / divisor - valence**2, 0.0))
    return Pool(
        odds / np.where(sums > 0, sums, 1.0),
        valence.clip(-1, 1),
        (1 - silent) * (1 - spread).clip(0, 1),
    )
