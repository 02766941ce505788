"""A trained network as functions of arrays: windows in batches, or a video step by step.

What runs it, a graph or PyTorch, is not seen here: see `in_graph` and `in_torch`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vmm_cli.features.grid import pad
from vmm_cli.features.windows import WindowFeatures
from vmm_cli.inference.examples import Examples
from vmm_cli.networks import reach

# Steps of windows in one batch; with the features of two streams 26 MB of values.
BATCH_STEPS = 1280
# Steps of a long video that a head is given at once, a multiple of all strides that a
# recipe can ask for; what it depends on to either side comes on top.
HEAD_STEPS = 4096

OF_STEPS = ("steps", "segments")  # the heads of networks for a video step by step
# The head of a network that says of a window as a whole; what it is called in bundles of which
# nothing else is said.
DEFAULT_HEAD = "classes"

# By stream: values [B, T, ...] or tokens int64 [B, L], or their masks, bool [B, T] or [B, L].
Streams = Mapping[str, np.ndarray]
# Values, masks and the grid, bool [B, T], which says what steps a row has -> float32 [B, ...], what
# the head gives.
WindowNetwork = Callable[[Streams, Streams, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class StepNetwork:
    """A network that goes through a video step by step, in two parts.

    Attributes:
        fused: values, masks and grid as of a `WindowNetwork` -> what the head is given, float32
            [B, T, H], and a mask, bool [B, T].
        head: what it is given -> logits of the steps, float32 [B, T, C]; of a pyramid also logits
            [B, P, C] and offsets [B, P, 2] of its anchor points, see `networks.pyramid`.
        beside: on how many steps to either side depends what the head is given.
        levels: how many scales a pyramid has; 0: the head is another one.
    """

    fused: Callable[[Streams, Streams, np.ndarray], tuple[np.ndarray, np.ndarray]]
    head: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]
    beside: int
    levels: int


# --- windows ------------------------------------------------------------------------------------


def window_probabilities(
    network: WindowNetwork, examples: Examples, multi_label: bool
) -> np.ndarray:
    """Return each window's probabilities: float64 [N, C]; N >= 1."""
    logits = window_outputs(network, examples)
    return sigmoid(logits) if multi_label else softmax(logits)


def window_ratings(network: WindowNetwork, examples: Examples) -> np.ndarray:
    """Return each window's valence and the probabilities of the emotions: float64 [N, 1 + C].

    Of a network with the head `valence`; N >= 1.
    """
    outputs = window_outputs(network, examples)
    return np.concatenate([outputs[:, :1], softmax(outputs[:, 1:])], axis=1)


def window_outputs(network: WindowNetwork, examples: Examples) -> np.ndarray:
    """Return what the head gives for each window, batch by batch: float64 [N, ...]; N >= 1."""
    at_once = max(1, BATCH_STEPS // int(examples.steps.max()))
    parts = [
        network(*examples.batch(np.arange(first, min(first + at_once, len(examples)))))
        for first in range(0, len(examples), at_once)
    ]
    return np.concatenate(parts).astype(np.float64)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities that add up to 1: float64 [N, C], C may be 0."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, each by itself: float64 of any shape."""
    chances: np.ndarray = np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))
    return chances


# --- a video step by step -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class StepPredictions:
    """Predictions for a video of T steps.

    Attributes:
        step_probabilities: float32 [T, C], each label's at each step; 0 where no stream is.
        probabilities: float32 [P, C], at each anchor point of a pyramid; P is 0 for another head.
        spans: float64 [P, 2], begin and end of what happens there, in steps.
    """

    step_probabilities: np.ndarray
    probabilities: np.ndarray
    spans: np.ndarray


def fused_steps(
    network: StepNetwork, shown: WindowFeatures, tokens: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the head is given of a stretch: float32 [T, H] and a mask bool [T]."""
    values = {stream: value[None] for stream, value in shown.values.items()}
    masks = {stream: mask[None] for stream, mask in shown.masks.items()}
    if tokens is not None:
        length = max(1, len(tokens))  # a recurrent network refuses no step at all
        values["text"] = pad([tokens], length)
        masks["text"] = np.arange(length)[None] < len(tokens)
    x, mask = network.fused(values, masks, np.ones((1, len(shown.times)), bool))
    return x[0], mask[0]


def predict_steps(network: StepNetwork, x: np.ndarray, mask: np.ndarray) -> StepPredictions:
    """Return the predictions for a whole video, in pieces: float32 [T, H], bool [T]; T >= 1."""
    if not network.levels:
        (logits,) = network.head(x[None], mask[None])
        probabilities = _where_there(_of_steps(logits[0]), mask)
        return StepPredictions(probabilities, probabilities[:0], np.zeros((0, 2)))
    coarsest = reach.coarsest(network.levels)
    beside = -(-reach.of_pyramid(network.levels) // coarsest) * coarsest
    parts = [_piece(network, x, mask, first, beside) for first in range(0, len(x), HEAD_STEPS)]
    steps, probabilities, spans = (np.concatenate(part) for part in zip(*parts, strict=True))
    return StepPredictions(_where_there(steps, mask), probabilities, spans)


def _of_steps(logits: np.ndarray) -> np.ndarray:
    return sigmoid(logits).astype(np.float32)


def _where_there(probabilities: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return probabilities, 0 at steps at which no stream is there: [T, C], [T]."""
    probabilities[~mask] = 0
    return probabilities


def _piece(
    network: StepNetwork, x: np.ndarray, mask: np.ndarray, first: int, beside: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the predictions of HEAD_STEPS steps, and of the anchor points in them."""
    begin, end = max(0, first - beside), min(len(x), first + HEAD_STEPS + beside)
    there = mask[begin:end]
    given = network.head(x[None, begin:end], there[None])
    step_logits, logits, offsets = (part[0] for part in given)
    steps = anchor_steps(len(there), network.levels)
    at = steps + begin
    mine = (at >= first) & (at < first + HEAD_STEPS) & there[steps]
    ways = offsets[mine].astype(np.float64)
    spans = np.stack([at[mine] - ways[:, 0], at[mine] + ways[:, 1]], axis=1)
    own = step_logits[first - begin : first - begin + HEAD_STEPS]
    return _of_steps(own), _of_steps(logits[mine]), spans


def anchor_steps(steps: int, levels: int) -> np.ndarray:
    """Return at which of T steps the anchor points of all scales lie: int64 [P].

    >>> anchor_steps(4, 2).tolist()
    [0, 1, 2, 3, 0, 2]
    """
    return np.concatenate([np.arange(0, steps, 2**level) for level in range(levels)])
