"""What the experts of `vmm sentiment` say: emotions, valence and confidence at their own times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

EXPERTS = ("face", "voice", "text")
EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")

# How pleasant each is, from -1 to 1: the means of Russell and Mehrabian 1977, "Evidence for a
# three-factor theory of emotions", for angry, disgusted, fearful, happy, sad and surprised; they
# give none for neutral, the middle of the scale.
VALENCE: Mapping[str, float] = {
    "anger": -0.51,
    "disgust": -0.60,
    "fear": -0.64,
    "happiness": 0.81,
    "sadness": -0.63,
    "surprise": 0.40,
    "neutral": 0.0,
}

# Why an expert says nothing of a video.
MISSING = (
    "no_video",
    "no_face",
    "no_audio",
    "no_speech",
    "no_text",
    "no_feeling",
    "other_language",
    "not_installed",
    "unusable",
    "too_weak",
    "past_end",
    "absent",  # a trained network found nothing of it
)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one expert says of a video: N observations, in order of their start.

    Attributes:
        expert: one of `EXPERTS`.
        emotions: those it covers, E of `EMOTIONS`; none where it gives valence alone.
        start_s, end_s: float64 [N], seconds on the video's clock: what is said holds from one to
            the other; of a single picture they are the same.
        probabilities: float32 [N, E], each row sums to 1.
        valence: float32 [N], from -1 to 1.
        confidence: float32 [N], from 0 (counts for nothing) to 1.

    Raises:
        ValueError: the shapes do not fit each other.
    """

    expert: str
    emotions: tuple[str, ...]
    start_s: np.ndarray
    end_s: np.ndarray
    probabilities: np.ndarray
    valence: np.ndarray
    confidence: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.start_s)
        shapes = [self.end_s.shape, self.valence.shape, self.confidence.shape]
        if self.start_s.ndim != 1 or any(shape != (count,) for shape in shapes):
            raise ValueError(f"{self.expert}: its observations do not have one length")
        if self.probabilities.shape != (count, len(self.emotions)):
            raise ValueError(
                f"{self.expert}: probabilities {self.probabilities.shape} are not for {count} "
                f"observations of {len(self.emotions)} emotions"
            )

    def __repr__(self) -> str:
        return f"Evidence({self.expert}, {len(self.start_s)} observations)"


@dataclass(frozen=True)
class Missing:
    """Why an expert has nothing to say: a code of `MISSING`, and in words what to do about it.

    Raises:
        ValueError: there is no such code.
    """

    code: str
    message: str

    def __post_init__(self) -> None:
        if self.code not in MISSING:
            raise ValueError(f"{self.code!r} is none of {', '.join(MISSING)}")


def valence_of(probabilities: np.ndarray, emotions: Sequence[str]) -> np.ndarray:
    """Return the expected valence of distributions over emotions: [N, E] -> float32 [N].

    >>> valence_of(np.array([[0.5, 0.5]]), ["happiness", "neutral"]).tolist()
    [0.4050000011920929]
    """
    table = np.array([VALENCE[emotion] for emotion in emotions])
    expected: np.ndarray = (probabilities @ table).astype(np.float32)
    return expected


def nothing(expert: str, emotions: tuple[str, ...]) -> Evidence:
    """Return the evidence of an expert that has observed nothing."""
    none = np.empty(0)
    few = none.astype(np.float32)
    probabilities = np.empty((0, len(emotions)), np.float32)
    return Evidence(expert, emotions, none, none, probabilities, few, few)
