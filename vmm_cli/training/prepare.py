"""What a training works on: the samples that could be read, encoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch

from vmm_cli.batch.tally import Standing
from vmm_cli.encoders.catalogue import entry
from vmm_cli.encoders.plan import StreamPlan, encoder_spec
from vmm_cli.encoders.streams import Encoded
from vmm_cli.errors import DataError, InputError
from vmm_cli.training.encoding import encode_samples
from vmm_cli.training.inspection import Inspection
from vmm_cli.training.learn import train_last
from vmm_cli.training.processes import rank
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.samples import DataSet, with_samples
from vmm_cli.training.splits import check_divisible, without_test


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


def prepare(
    inspection: Inspection,
    recipe: Recipe,
    *,
    seed: int,
    folds: bool,
    jobs: int,
    use_store: bool,
    keep_features: bool = False,
    max_pixels: int,
    on_encoded: Callable[[Standing], None],
    on_warning: Callable[[str], None],
) -> Prepared:
    """Encode what is trained with and measured on: all but what is `test`.

    seed, folds: how it will be divided, to say at once where that cannot be.

    Raises:
        DataError: it cannot be trained on.
        ModelError: an encoder's weights are not at hand.
    """
    contents = inspection.contents
    data = without_test(inspection.dataset, contents)
    stops_early = recipe.optimisation.patience > 0
    check_divisible(data, seed=seed, folds=folds, contents=contents, stops_early=stops_early)
    plan = plan_for(recipe)
    several = torch.distributed.is_initialized()
    if several and rank()[0] > 0:
        torch.distributed.barrier()  # the first process fills the store for all
    found = encode_samples(
        data.samples,
        plan,
        with_text="text" in recipe.streams,
        jobs=jobs,
        use_store=use_store,
        keep_features=keep_features,
        max_pixels=max_pixels,
        durations=inspection.durations,
        on_progress=on_encoded,
    )
    if several and rank()[0] == 0:
        torch.distributed.barrier()
    samples, encoded, left_out = [], [], []
    streams: Counter[str] = Counter(dict.fromkeys(recipe.streams, 0))
    for sample, one in zip(data.samples, found, strict=True):
        there = present(one) & recipe.streams.keys() if isinstance(one, Encoded) else set()
        if there and isinstance(one, Encoded):
            samples.append(sample)
            encoded.append(without_empty(one) if data.rated else one)
            streams.update(there)
            continue
        reason = f"has no {', '.join(recipe.streams)}"
        if isinstance(one, InputError):
            reason = f"{one.code}: {one.message}"
        left_out.append(f"{sample.name}: left out: {reason}")
        on_warning(left_out[-1])
    if not samples:
        raise DataError(f"{data.source}: no sample can be used: {left_out[0]}")
    for stream in (stream for stream, count in streams.items() if not count):
        on_warning(f"no sample has {stream}: the model learns nothing from it")
    data = with_samples(data, samples)
    check_divisible(data, seed=seed, folds=folds, contents=contents, stops_early=stops_early)
    return Prepared(data, encoded, contents, plan, streams)


def present(one: Encoded) -> set[str]:
    """Return the streams that a sample has."""
    streams = {s for window in one.windows for s, mask in window.masks.items() if mask.any()}
    return streams | {"text"} if one.text.strip() else streams


def without_empty(one: Encoded) -> Encoded:
    """Leave out windows in which nothing is there, unless its text holds in all of them.

    A clip is judged by the others: see `inference.valence`.
    """
    if one.text.strip():
        return one
    kept = (w for w in one.windows if any(mask.any() for mask in w.masks.values()))
    return Encoded(tuple(kept), one.text)
