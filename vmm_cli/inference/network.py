"""A fusion network and what it is shown: windows in batches, or a video step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from vmm_cli.features.grid import pad
from vmm_cli.features.windows import Encoded, WindowFeatures
from vmm_cli.features.words import encode
from vmm_cli.networks.model import FusionNetwork, StreamShape
from vmm_cli.networks.pyramid import AnchorPoints, Pyramid

# Steps of windows in one batch; with the features of two streams 26 MB of values.
BATCH_STEPS = 1280
# Steps of a long video that a head is given at once, a multiple of all strides that a
# recipe can ask for; what it depends on to either side comes on top.
HEAD_STEPS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Windows to learn from or to predict, N of them.

    Attributes:
        values: by stream, N arrays [T_i, ...] float32, or [L_i] int64 for tokens.
        masks: by stream, N arrays bool [T_i] or [L_i].
        steps: int [N], T_i.
        sample: int [N], which sample each window is of.
        weight: float32 [N]; the windows of a sample add up to 1.
    """

    values: Mapping[str, Sequence[np.ndarray]]
    masks: Mapping[str, Sequence[np.ndarray]]
    steps: np.ndarray
    sample: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.steps)

    def batch(
        self, rows: Sequence[int] | np.ndarray, device: torch.device
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], torch.Tensor]:
        """Return some windows padded to the longest: values, masks, and the grid bool [B, T]."""
        steps = self.steps[rows]
        values, masks = {}, {}
        for stream, parts in self.values.items():
            chosen = [parts[i] for i in rows]
            longest = max(1, max(len(part) for part in chosen))
            values[stream] = torch.from_numpy(pad(chosen, longest)).to(device)
            mask = pad([self.masks[stream][i] for i in rows], longest)
            masks[stream] = torch.from_numpy(mask).to(device)
        grid = torch.from_numpy(np.arange(steps.max()) < steps[:, None]).to(device)
        return values, masks, grid

    def pieces(self, chosen: Sequence[tuple[int, int, int]]) -> Examples:
        """Return parts of windows, each as one: (window, first step, last step)."""
        # Tokens are of the whole window: a part of it has all of them.
        whole = {stream for stream, parts in self.values.items() if parts[0].dtype == np.int64}

        def cut(stream: str, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
            return [parts[row] if stream in whole else parts[row][a:b] for row, a, b in chosen]

        rows = [row for row, _, _ in chosen]
        return Examples(
            {stream: cut(stream, parts) for stream, parts in self.values.items()},
            {stream: cut(stream, parts) for stream, parts in self.masks.items()},
            np.array([b - a for _, a, b in chosen]),
            self.sample[rows],
            self.weight[rows],
        )


def examples(
    encoded: Sequence[Encoded],
    numbers: Sequence[int],
    streams: Sequence[str],
    tokens: Callable[[str], np.ndarray] | None = None,
) -> Examples:
    """Gather the windows of some samples. `numbers` says which number each sample has.

    `tokens` makes int64 [L] of a sample's text, where the stream `text` is one of words.
    """
    values: dict[str, list[np.ndarray]] = {stream: [] for stream in streams}
    masks: dict[str, list[np.ndarray]] = {stream: [] for stream in streams}
    steps, sample, weight = [], [], []
    for number, one in zip(numbers, encoded, strict=True):
        words = tokens(one.text) if tokens is not None else np.zeros(0, np.int64)
        for window in one.windows:
            for stream in streams:
                if stream == "text" and tokens is not None:
                    values[stream].append(words)
                    masks[stream].append(np.ones(len(words), bool))
                else:
                    values[stream].append(window.values[stream])
                    masks[stream].append(window.masks[stream])
            steps.append(len(window.times))
            sample.append(number)
            weight.append(1 / len(one.windows))
    return Examples(values, masks, np.array(steps), np.array(sample), np.array(weight, np.float32))


def network_from(about: Mapping[str, Any]) -> FusionNetwork:
    """Build the network that a bundle describes. ValueError, KeyError or TypeError if it cannot."""
    return FusionNetwork(
        [StreamShape(**shape) for shape in about["streams"]],
        temporal=about["temporal"],
        fusion=about["fusion"],
        width=about["width"],
        layers=about["layers"],
        dropout=about["dropout"],
        outputs=about["outputs"],
        head=about.get("head", "classes"),
        levels=about.get("levels", 1),
    )


def tokens_from(about: Mapping[str, Any]) -> Callable[[str], np.ndarray] | None:
    """Return what turns a text into tokens for a network with a vocabulary; else None."""
    vocabulary = about.get("vocabulary")
    if vocabulary is None:
        return None
    words = tuple(vocabulary)
    return lambda text: encode(text, words)


def window_probabilities(
    network: nn.Module, examples: Examples, device: torch.device, multi_label: bool
) -> np.ndarray:
    """Return each window's probabilities: float64 [N, C]; N >= 1. Leaves it in evaluation mode."""
    logits = _window_logits(network, examples, device)
    return (logits.sigmoid() if multi_label else logits.softmax(dim=1)).numpy()


def window_ratings(network: nn.Module, examples: Examples, device: torch.device) -> np.ndarray:
    """Return each window's valence and the probabilities of the emotions: float64 [N, 1 + C].

    Of a network with the head `valence`; N >= 1. Leaves it in evaluation mode.
    """
    outputs = _window_logits(network, examples, device)
    return torch.cat([outputs[:, :1], outputs[:, 1:].softmax(dim=1)], dim=1).numpy()


def _window_logits(network: nn.Module, examples: Examples, device: torch.device) -> torch.Tensor:
    """Return the outputs of the head for each window, batch by batch: float64 [N, ...]."""
    network.eval()
    at_once = max(1, BATCH_STEPS // int(examples.steps.max()))
    parts = []
    with torch.inference_mode():
        for first in range(0, len(examples), at_once):
            rows = np.arange(first, min(first + at_once, len(examples)))
            parts.append(network(*examples.batch(rows, device)).double().cpu())
    return torch.cat(parts)


# --- a video step by step ----------------------------------------------------------------------


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
    network: FusionNetwork, shown: WindowFeatures, tokens: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the head is given of a stretch: float32 [T, H] and a mask bool [T]."""
    values = {s: torch.from_numpy(v)[None] for s, v in shown.values.items()}
    masks = {s: torch.from_numpy(m)[None] for s, m in shown.masks.items()}
    if tokens is not None:
        length = max(1, len(tokens))  # a recurrent network refuses no step at all
        values["text"] = torch.from_numpy(pad([tokens], length))
        masks["text"] = torch.arange(length)[None] < len(tokens)
    grid = torch.ones(1, len(shown.times), dtype=torch.bool)
    with torch.inference_mode():
        x, mask = network.fused(values, masks, grid)
    return x[0].numpy(), mask[0].numpy()


def predict_steps(network: FusionNetwork, x: np.ndarray, mask: np.ndarray) -> StepPredictions:
    """Return the predictions for a whole video, in pieces: float32 [T, H], bool [T]; T >= 1."""
    head = network.head
    if not isinstance(head, Pyramid):
        with torch.inference_mode():
            logits = head(torch.from_numpy(x)[None], torch.from_numpy(mask)[None])[0]
        probabilities = _where_there(logits.sigmoid().numpy(), mask)
        return StepPredictions(probabilities, probabilities[:0], np.zeros((0, 2)))
    beside = -(-head.receptive_field // head.coarsest) * head.coarsest
    parts = [_piece(head, x, mask, first, beside) for first in range(0, len(x), HEAD_STEPS)]
    steps, probabilities, spans = (np.concatenate(part) for part in zip(*parts, strict=True))
    return StepPredictions(_where_there(steps, mask), probabilities, spans)


def _where_there(probabilities: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return probabilities, 0 at steps at which no stream is there: [T, C], [T]."""
    probabilities[~mask] = 0
    return probabilities


def _piece(
    head: Pyramid, x: np.ndarray, mask: np.ndarray, first: int, beside: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the predictions of HEAD_STEPS steps, and of the anchor points in them."""
    begin, end = max(0, first - beside), min(len(x), first + HEAD_STEPS + beside)
    with torch.inference_mode():
        shown, there = torch.from_numpy(x[begin:end])[None], torch.from_numpy(mask[begin:end])[None]
        output: AnchorPoints = head(shown, there)
    at = output.steps.double() + begin  # of hours, float32 would round to thousandths of a step
    mine = (at >= first) & (at < first + HEAD_STEPS) & output.mask[0]
    offsets = output.offsets[0][mine]
    spans = torch.stack([at[mine] - offsets[:, 0], at[mine] + offsets[:, 1]], dim=1)
    steps = output.step_logits[0][first - begin : first - begin + HEAD_STEPS]
    return steps.sigmoid().numpy(), output.logits[0][mine].sigmoid().numpy(), spans.numpy()
