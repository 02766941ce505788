"""To learn when what happens: what is right at each place, the loss, and what is seen on the way.

Long videos are learnt from by pieces of them that are drawn anew each time. The loss of a pyramid's
places is the focal loss of the labels and the distance IoU of the spans, as in ActionFormer (Zhang,
Wu, Li 2022); that of single steps is the cross-entropy of each label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vmm_cli.inference.examples import Examples
from vmm_cli.inference.in_torch import batch_of
from vmm_cli.networks.pyramid import AnchorPoints, anchor_points
from vmm_cli.training.augment import drop_streams
from vmm_cli.training.data.samples import Sample
from vmm_cli.training.loop import Objective
from vmm_cli.training.objectives.classes import outputs_of
from vmm_cli.training.processes import share
from vmm_cli.training.recipe import Recipe

# A place speaks for an action whose middle is so many strides away at most (Tian et al. 2019).
CENTRE_STRIDES = 1.5
# The scale whose strides go so often into the longer way to an end: the coarser ones begin at half.
REACH_STRIDES = 4.0
# Of the focal loss (Lin et al. 2017): how much what happens weighs, and how little what is clear.
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
# How much the steps count beside the places, each step with the sum over its labels.
STEPS_SHARE = 1 / 3
PIECES_PER_LENGTH = 2  # a video gives so many pieces an epoch for each time that one fits into it


@dataclass(frozen=True, slots=True, eq=False)
class TimedExamples:
    """Whole videos to learn from, V of them.

    Attributes:
        videos: their streams, one row a video.
        spans: by video, float64 [N, 2], begin and end of each action, in steps.
        labels: by video, int64 [N].
        outputs: how many labels there are.
        negative: bool [V], which are negatives.
    """

    videos: Examples
    spans: Sequence[np.ndarray]
    labels: Sequence[np.ndarray]
    outputs: int
    negative: np.ndarray


def timed_examples(
    videos: Examples, samples: Sequence[Sample], labels: Sequence[str], rate_hz: float
) -> TimedExamples:
    """Return what happens in the videos, one sample each, in steps of their grids."""
    number = {label: i for i, label in enumerate(labels)}
    spans, found = [], []
    for sample in samples:
        known = [one for one in sample.segments or () if one.label in number]
        seconds = np.array([[one.start_s, one.end_s] for one in known]).reshape(-1, 2)
        spans.append(_of_a_step((seconds - sample.start_s) * rate_hz))
        found.append(np.array([number[one.label] for one in known], np.int64))
    negative = np.array([sample.negative for sample in samples], bool)
    return TimedExamples(videos, spans, found, len(labels), negative)


def _of_a_step(spans: np.ndarray) -> np.ndarray:
    """Widen what is shorter than a step, which could lie between two and never be seen: [N, 2]."""
    middle = spans.mean(axis=1, keepdims=True)
    half = np.maximum(spans[:, 1:] - spans[:, :1], 1) / 2
    widened: np.ndarray = np.concatenate([middle - half, middle + half], axis=1)
    return widened


def timed_objective(
    train: TimedExamples, held_out: TimedExamples | None, recipe: Recipe
) -> Objective:
    """Return what the training loop needs to learn when what happens."""
    length = round(recipe.window_s * recipe.rate_hz)
    # A row is a piece of a video, drawn anew each time.
    video_of, quiet = _rows_of(train, length)
    usual = _usual_places(train, recipe, length) * float((video_of >= 0).mean())

    def loss(
        network: nn.Module, rows: np.ndarray, draw: np.random.Generator, device: torch.device
    ) -> tuple[Tensor, float]:
        pieces = []
        for video in video_of[rows]:
            if video < 0:
                video = draw.choice(len(quiet), p=quiet)
            steps = int(train.videos.steps[video])
            begin = int(draw.integers(0, max(0, steps - length) + 1))
            pieces.append((int(video), begin, min(steps, begin + length)))
        shown = train.videos.pieces(pieces)
        values, masks, grid = batch_of(shown, range(len(pieces)), device)
        drop_streams(masks, recipe.optimisation.stream_dropout, draw)
        mine = share(len(rows))
        if not len(rows[mine]):
            return torch.zeros((), device=device), float(len(rows))
        predicted = outputs_of(network, mine, values, masks, grid)
        counts = _Counts(usual * len(rows), float(grid.sum()))
        return _loss(predicted, train, pieces[mine], grid[mine], recipe, counts), float(len(rows))

    if held_out is None:
        return Objective(len(video_of), loss, None)
    return Objective(
        len(video_of), loss, lambda network, device: _held_out(network, held_out, recipe, device)
    )


def _rows_of(train: TimedExamples, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the video that each row is a piece of, -1 for any negative, and how likely which is.

    Negatives together have as many rows as all others at most, so that hours of them do not drown
    what happens: the longer one is, the likelier a piece is of it. int64 [N], float64 [V].
    """
    pieces = np.array(
        [max(1, round(PIECES_PER_LENGTH * steps / length)) for steps in train.videos.steps]
    )
    quiet = pieces * train.negative
    others = np.repeat(np.arange(len(pieces)), pieces - quiet)
    rows = min(int(quiet.sum()), len(others)) if len(others) else int(quiet.sum())
    return np.append(others, np.full(rows, -1)), quiet / max(1, quiet.sum())


def _held_out(
    network: nn.Module, data: TimedExamples, recipe: Recipe, device: torch.device
) -> dict[str, float]:
    """Return the loss on videos that are not learnt from, each seen whole."""
    network.eval()
    steps = data.videos.steps
    videos = max(1, int((~data.negative).sum()))
    whole = _usual_places(data, recipe, int(steps.max())) * videos
    counts = _Counts(whole, float(steps.sum()))
    total = 0.0
    with torch.inference_mode():
        for video, last in enumerate(steps.tolist()):
            piece = [(video, 0, last)]
            values, masks, grid = batch_of(data.videos.pieces(piece), [0], device)
            total += float(_loss(network(values, masks, grid), data, piece, grid, recipe, counts))
    return {"val_loss": total}


@dataclass(frozen=True, slots=True)
class _Counts:
    """By what the losses of a batch are divided: its places with an action, and its steps."""

    places: float
    steps: float


def _loss(
    predicted: AnchorPoints | Tensor,
    data: TimedExamples,
    pieces: Sequence[tuple[int, int, int]],
    grid: Tensor,
    recipe: Recipe,
    counts: _Counts,
) -> Tensor:
    """Return the loss of a batch, or of a share of it."""
    if isinstance(predicted, Tensor):
        return _of_steps(predicted, data, pieces, grid) / counts.steps
    at, strides = predicted.steps.cpu().numpy(), predicted.strides.cpu().numpy()
    labels, reaches = zip(
        *(places_wanted(data, video, a, at, strides, recipe.levels) for video, a, _ in pieces),
        strict=True,
    )
    wanted, away = (
        torch.from_numpy(np.stack(x)).to(predicted.logits.device) for x in (labels, reaches)
    )
    right = wanted.any(dim=2) & predicted.mask
    of_places = _focal(predicted.logits[predicted.mask], wanted[predicted.mask])
    of_spans = _distance_iou(predicted.offsets[right], away[right])
    of_steps = _of_steps(predicted.step_logits, data, pieces, grid)
    return (of_places + of_spans) / counts.places + STEPS_SHARE * of_steps / counts.steps


def _of_steps(
    logits: Tensor, data: TimedExamples, pieces: Sequence[tuple[int, int, int]], grid: Tensor
) -> Tensor:
    """Return the cross-entropy of each label at each step, summed: [B, T, C]."""
    holds = np.stack([steps_wanted(data, video, a, logits.shape[1]) for video, a, _ in pieces])
    return functional.binary_cross_entropy_with_logits(
        logits[grid], torch.from_numpy(holds).to(logits.device)[grid], reduction="sum"
    )


def _usual_places(data: TimedExamples, recipe: Recipe, length: int) -> float:
    """Return how many places with an action a piece of so many steps has on average; at least 1.

    Of videos that are no negatives, whose pieces have none. The number in the very batch would make
    its loss jump where there are few.
    """
    count = 0.0
    for video, steps in enumerate(data.videos.steps.tolist()):
        at, strides = (x.numpy() for x in anchor_points(steps, recipe.levels))
        labels, _ = places_wanted(data, video, 0, at, strides, recipe.levels)
        count += float(labels.any(axis=1).sum()) * min(1.0, length / steps)
    return max(1.0, count / max(1, int((~data.negative).sum())))


def steps_wanted(data: TimedExamples, video: int, first: int, steps: int) -> np.ndarray:
    """Return which labels hold at each step of a piece that begins at `first`: float32 [T, C]."""
    wanted = np.zeros((steps, data.outputs), np.float32)
    at = first + np.arange(steps)
    for (begin, end), label in zip(data.spans[video], data.labels[video], strict=True):
        wanted[(at >= begin) & (at < end), label] = 1
    return wanted


def places_wanted(
    data: TimedExamples, video: int, first: int, at: np.ndarray, strides: np.ndarray, levels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what is right at the places [P] of a piece: labels float32 [P, C], ways [P, 2].

    A place speaks for the actions it lies in, near their middle, whose ends its scale reaches; the
    ways to begin and end, in steps, are those of the shortest such action.
    """
    labels = np.zeros((len(at), data.outputs), np.float32)
    ways = np.zeros((len(at), 2), np.float32)
    lowest = np.where(strides == 1, 0.0, REACH_STRIDES * strides / 2)
    highest = np.where(strides == 2 ** (levels - 1), np.inf, REACH_STRIDES * strides)
    spans = data.spans[video] - first
    for i in np.argsort(spans[:, 0] - spans[:, 1], kind="stable"):  # the shortest last
        begin, end = spans[i]
        back, ahead = at - begin, end - at
        longer = np.maximum(back, ahead)
        chosen = (
            (np.minimum(back, ahead) >= 0)
            & (np.abs(at - (begin + end) / 2) <= CENTRE_STRIDES * strides)
            & (longer >= lowest)
            & (longer < highest)
        )
        labels[chosen, data.labels[video][i]] = 1
        ways[chosen] = np.stack([back[chosen], ahead[chosen]], axis=1)
    return labels, ways


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the focal loss, summed: [N, C], [N, C]."""
    losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    unsure = 1 - torch.exp(-losses)  # one minus the probability of what is right
    weight = FOCAL_ALPHA * wanted + (1 - FOCAL_ALPHA) * (1 - wanted)
    return (weight * unsure**FOCAL_GAMMA * losses).sum()


def _distance_iou(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Return 1 - IoU plus the squared distance of the middles, by the hull: [N, 2] each, summed.

    Zheng et al. 2020, for spans around a common place.
    """
    shared = torch.minimum(predicted, wanted).sum(dim=1)
    hull = torch.maximum(predicted, wanted).sum(dim=1).clamp(min=1e-6)
    middles = ((predicted[:, 1] - predicted[:, 0]) - (wanted[:, 1] - wanted[:, 0])) / 2
    return (1 - shared / hull + (middles / hull) ** 2).sum()
