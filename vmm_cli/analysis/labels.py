"""The labels of a video: what pictures or windows say, pooled over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm_cli.digits import SCORE_DIGITS, TIME_DIGITS
from vmm_cli.features.clips import ROUNDING_S
from vmm_cli.media.sampling import Sampling, wanted_times

if TYPE_CHECKING:
    from vmm_cli.features.values import Features

SUPPORT_TIMES = 3  # how many times of supporting pictures a label is given
MOST_WORST, LEAST_WORST, WORST_APART_S = 5, 0.2, 5.0
HEAD_CHUNK = 512  # pictures whose probabilities are computed at once
# Probabilities of so many pictures are kept (64 MB for 1000 labels); longer videos compute them
# again for each question.
KEPT_PROBABILITIES = 16_000


@dataclass(frozen=True)
class LabelScore:
    """A label, its mean probability, and the times (s, ascending) that support it most.

    source: whether it is `seen` or `heard`, of a model that does both.
    """

    label: str
    score: float
    times: tuple[float, ...]
    source: str | None = None

    @property
    def shown(self) -> str:
        """The label, and that it is heard where it is."""
        return f"{self.label} (heard)" if self.source == "heard" else self.label


@dataclass(frozen=True)
class Moment:
    """A picture's probability of a label; its time in seconds."""

    time_s: float
    label: str
    score: float


@dataclass(frozen=True)
class LabelledWindow:
    """The labels of [start_s, end_s); none where no time in it was sampled.

    Its pictures are those shown at the wanted times in it: the first can have appeared before.
    """

    start_s: float
    end_s: float
    labels: tuple[LabelScore, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the score of a label in one window rests on.

    Attributes:
        start_s, end_s: the window, in seconds.
        score: the label's probability.
        without: by stream, its probability when that stream is hidden.
        seconds: begin, end and by how much the probability falls when just that is hidden.
    """

    label: str
    start_s: float
    end_s: float
    score: float
    without: Mapping[str, float]
    seconds: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Classification:
    """What a video shows.

    Attributes:
        windows: of a timeline; None where none was asked for.
        frames: how many pictures were looked at, those of all clips added up; None where the model
            looks at streams.
        streams: those that the video has, of a model that looks at streams.
        explanation: what the best label rests on, where that was asked for.
        worst: the moments that a person should look at, the highest score first; None of a model
            that is not for finding such.
    """

    duration_s: float
    model: str
    version: int
    labels: tuple[LabelScore, ...]
    windows: tuple[LabelledWindow, ...] | None = None
    frames: int | None = None
    streams: tuple[str, ...] | None = None
    explanation: Explanation | None = None
    worst: tuple[Moment, ...] | None = None

    def __repr__(self) -> str:
        best = ", ".join(f"{one.shown} {one.score:.2f}" for one in self.labels)
        told = best or "nothing recognised"
        return f"Classification({told}; {self.duration_s:.1f} s, model {self.model!r})"

    def to_record(self) -> dict[str, Any]:
        """Return the fields of a record, rounded, as JSON types."""
        record: dict[str, Any] = {
            "duration_s": round(self.duration_s, TIME_DIGITS),
            "model": {"name": self.model, "version": self.version},
        }
        if self.frames is not None:
            record["frames"] = self.frames
        if self.streams is not None:
            record["streams"] = [*self.streams]
        record["labels"] = [label_record(label) for label in self.labels]
        if self.worst is not None:
            record["worst"] = [
                {
                    "time_s": round(moment.time_s, TIME_DIGITS),
                    "label": moment.label,
                    "score": round(moment.score, SCORE_DIGITS),
                }
                for moment in self.worst
            ]
        if self.windows is not None:
            record["windows"] = [
                {
                    "start_s": round(window.start_s, TIME_DIGITS),
                    "end_s": round(window.end_s, TIME_DIGITS),
                    "labels": [label_record(label) for label in window.labels],
                }
                for window in self.windows
            ]
        if self.explanation is not None:
            record["explain"] = _explanation_record(self.explanation)
        return record


def label_record(label: LabelScore) -> dict[str, Any]:
    """Return what a record says of a label, rounded, as JSON types."""
    source = {} if label.source is None else {"source": label.source}
    return {
        "label": label.label,
        "score": round(label.score, SCORE_DIGITS),
        **source,
        "times": [round(time_s, TIME_DIGITS) for time_s in label.times],
    }


def _explanation_record(found: Explanation) -> dict[str, Any]:
    return {
        "label": found.label,
        "start_s": round(found.start_s, TIME_DIGITS),
        "end_s": round(found.end_s, TIME_DIGITS),
        "score": round(found.score, SCORE_DIGITS),
        "without": {s: round(p, SCORE_DIGITS) for s, p in found.without.items()},
        "seconds": [
            {
                "start_s": round(begin, TIME_DIGITS),
                "end_s": round(end, TIME_DIGITS),
                "drop": round(drop, SCORE_DIGITS),
            }
            for begin, end, drop in found.seconds
        ],
    }


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Linear classes on features: weight float32 [L, D], bias float32 [L]."""

    weight: np.ndarray
    bias: np.ndarray


class Scores:
    """The probabilities of a video's labels, picture by picture."""

    def __init__(self, features: Features, head: LinearHead, names: tuple[str, ...]) -> None:
        self._features = features
        self._head = head
        self._names = names
        self._kept: np.ndarray | None = None
        if len(features) <= KEPT_PROBABILITIES:
            chunks = [self._probabilities(rows) for rows in _chunks(0, len(features))]
            self._kept = np.concatenate(chunks)

    def labels(self, first: int, last: int, top_k: int) -> tuple[LabelScore, ...]:
        """Return the best labels of the pictures [first, last), best first."""
        times = self._features.times
        if first == last:
            return ()
        total = np.zeros(len(self._names))
        for rows in _chunks(first, last):
            total += self._probabilities(rows).sum(axis=0, dtype=np.float64)
        mean = total / (last - first)  # [L]
        best = np.argsort(-mean, kind="stable")[:top_k]
        columns = np.concatenate(
            [self._probabilities(rows)[:, best] for rows in _chunks(first, last)]
        )  # [frames, top_k]
        scores = []
        for column, label in enumerate(best):
            strongest = np.argsort(-columns[:, column], kind="stable")[:SUPPORT_TIMES]
            support = tuple(float(times[first + i]) for i in sorted(strongest))
            scores.append(LabelScore(self._names[label], float(mean[label]), support))
        return tuple(scores)

    def curves(self, columns: Sequence[int], least: float) -> tuple[list[int], np.ndarray]:
        """See the function `curves`."""
        chunks = list(_chunks(0, len(self._features)))
        highest = np.max([self._probabilities(rows).max(axis=0) for rows in chunks], axis=0)
        chosen = [column for column in columns if highest[column] >= least]
        return chosen, np.concatenate([self._probabilities(rows)[:, chosen] for rows in chunks])

    def worst(self, columns: Sequence[int]) -> tuple[Moment, ...]:
        """Return the moments that score highest of some labels, each the highest of its seconds.

        None scores less than `LEAST_WORST`, and no two are nearer than `WORST_APART_S`.
        """
        found: list[Moment] = []
        columns, scores = self.curves(columns, LEAST_WORST)
        rows, places = np.nonzero(scores >= LEAST_WORST)
        for i in np.argsort(-scores[rows, places], kind="stable"):
            time_s = float(self._features.times[rows[i]])
            if all(abs(time_s - one.time_s) >= WORST_APART_S for one in found):
                label = self._names[columns[places[i]]]
                found.append(Moment(time_s, label, float(scores[rows[i], places[i]])))
            if len(found) == MOST_WORST:
                break
        return tuple(found)

    def _probabilities(self, rows: slice) -> np.ndarray:
        """Return softmax probabilities of some pictures: float32 [N, L]."""
        if self._kept is not None:
            return self._kept[rows]
        logits = self._features.values[rows] @ self._head.weight.T + self._head.bias  # [N, L]
        exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: np.ndarray = exponent / exponent.sum(axis=1, keepdims=True)
        return probabilities


def _chunks(first: int, last: int) -> Iterator[slice]:
    for begin in range(first, last, HEAD_CHUNK):
        yield slice(begin, min(begin + HEAD_CHUNK, last))


def windows_of(
    sampling: Sampling, length_s: float, times: np.ndarray, end_s: float
) -> Iterator[tuple[float, float, int, int]]:
    """Yield each window: start_s, end_s, and its pictures as a range [first, last) of `times`.

    A still picture can be shown through several windows and then belongs to each of them.
    """
    start_s = float(sampling.start)
    until_s = end_s if sampling.end is None else min(end_s, float(sampling.end))
    wanted = np.array([float(t) for t in wanted_times(sampling, Fraction(end_s))])
    step_s = (until_s - start_s) / max(1, len(wanted))
    shown_by = wanted + min(ROUNDING_S, step_s / 2)
    answers = np.maximum(np.searchsorted(times, shown_by, side="right") - 1, 0)
    # The last window ends with the video. One picture's rounding makes no window of its own.
    number = max(1, ceil((until_s - start_s) / length_s - 1e-6))
    for i in range(number):
        begin = start_s + i * length_s
        stop = min(begin + length_s, until_s)
        low, high = np.searchsorted(wanted, [begin - 1e-9, begin + length_s - 1e-9])
        first, last = (int(answers[low]), int(answers[high - 1]) + 1) if high > low else (0, 0)
        yield begin, stop, first, last
