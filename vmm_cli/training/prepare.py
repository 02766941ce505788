"""What a training works on: the samples that could be read, encoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch

from vmm_cli.errors import DataError, InputError
from vmm_cli.features.catalogue import entry
from vmm_cli.features.plan import StreamPlan, encoder_spec
from vmm_cli.features.windows import Encoded
from vmm_cli.training.data.inspection import Inspection
from vmm_cli.training.data.samples import DataSet, with_samples
from vmm_cli.training.data.splits import without_test
from vmm_cli.training.encoding import encode_samples
from vmm_cli.training.learn import train_last
from vmm_cli.training.processes import rank
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.request import Listener, TrainRequest, check_divisible
from vmm_cli.training.tasks.catalogue import TASKS


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Samples of a data set with all that a recipe wants of them.

    Attributes:
        data: with the splits that the user gave.
        encoded: by sample.
        contents: what stands for a file's content, by path; see `splits.with_validation`.
        streams: how many samples have each stream of the recipe.
    """

    data: DataSet
    encoded: Sequence[Encoded]
    contents: Mapping[Path, str]
    plan: StreamPlan
    streams: Mapping[str, int]


def plan_for(recipe: Recipe) -> StreamPlan:
    """Return what a recipe wants of a video. ModelError: an encoder's weights are not at hand."""
    window_s = Fraction(str(recipe.window_s))
    encoders = {
        stream: encoder_spec(stream, chosen.encoder, window_s)
        for stream, chosen in recipe.streams.items()
        if not entry(chosen.encoder).gives_words
    }
    rate_hz = Fraction(str(recipe.rate_hz))
    return StreamPlan(encoders, rate_hz, window_s, train_last=train_last(recipe))


def prepare(inspection: Inspection, request: TrainRequest, listener: Listener) -> Prepared:
    """Encode what is trained with and measured on: all but what is `test`.

    Raises:
        DataError: it cannot be trained on.
        ModelError: an encoder's weights are not at hand.
    """
    recipe = request.recipe
    data = without_test(inspection.dataset, inspection.contents)
    check_divisible(data, inspection, request)
    plan = plan_for(recipe)
    found = _encoded(data, plan, inspection, request, listener)
    trimmed = TASKS[data.task].trimmed
    samples, encoded, left_out = [], [], []
    streams: Counter[str] = Counter(dict.fromkeys(recipe.streams, 0))
    for sample, one in zip(data.samples, found, strict=True):
        there = present(one) & recipe.streams.keys() if isinstance(one, Encoded) else set()
        if there and isinstance(one, Encoded):
            samples.append(sample)
            encoded.append(trimmed(one))
            streams.update(there)
            continue
        reason = f"has no {', '.join(recipe.streams)}"
        if isinstance(one, InputError):
            reason = f"{one.code}: {one.message}"
        left_out.append(f"{sample.name}: left out: {reason}")
        listener.on_warning(left_out[-1])
    if not samples:
        raise DataError(f"{data.source}: no sample can be used: {left_out[0]}")
    for stream in (stream for stream, count in streams.items() if not count):
        listener.on_warning(f"no sample has {stream}: the model learns nothing from it")
    data = with_samples(data, samples)
    check_divisible(data, inspection, request)
    return Prepared(data, encoded, inspection.contents, plan, streams)


def _encoded(
    data: DataSet,
    plan: StreamPlan,
    inspection: Inspection,
    request: TrainRequest,
    listener: Listener,
) -> list[Encoded | InputError]:
    """Encode all samples; of several processes the first fills the store for all."""
    several = torch.distributed.is_initialized()
    if several and rank()[0] > 0:
        torch.distributed.barrier()
    found = encode_samples(
        data.samples,
        plan,
        request.means,
        with_text="text" in request.recipe.streams,
        durations=inspection.durations,
        on_progress=listener.on_encoded,
    )
    if several and rank()[0] == 0:
        torch.distributed.barrier()
    return found


def present(one: Encoded) -> set[str]:
    """Return the streams that a sample has."""
    streams = {s for window in one.windows for s, mask in window.masks.items() if mask.any()}
    return streams | {"text"} if one.text.strip() else streams
