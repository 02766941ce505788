"""A training run: from a data set to a folder that is a model bundle and says how good it is.

While a run goes on its folder holds what was asked and checkpoints, in `.training`; `bundle.yaml`
is written last, so that a run which was stopped cannot be taken for a model.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vmm_cli import __version__
from vmm_cli.batch.journal import lock
from vmm_cli.errors import DataError, ModelError, OutputError
from vmm_cli.media.source import DEFAULT_MAX_PIXELS
from vmm_cli.training.inspection import Inspection
from vmm_cli.training.learn import Learnt, learn, probabilities, targets_of
from vmm_cli.training.loop import Progress
from vmm_cli.training.metrics import score
from vmm_cli.training.prepare import Prepared, prepare
from vmm_cli.training.processes import agreed, rank
from vmm_cli.training.recipe import Recipe, to_yaml
from vmm_cli.training.run_files import RunFiles, write_model
from vmm_cli.training.run_folder import (
    checkpoint_path,
    file_name,
    forget,
    make_folder,
    open_folder,
    refuse_taken,
    tidy,
)
from vmm_cli.training.samples import DataSet, Sample, group_of, with_samples
from vmm_cli.training.splits import check_for_training, with_validation

SCHEMA = "vmm.train/1"
# These networks are small. Measured on two cores that others used too: with a second thread, which
# waits by spinning, an epoch took more than ten times as long.
CPU_THREADS = 1


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What is to be trained, and where it goes.

    Attributes:
        folder: the run's folder.
        name: of the model.
        seeds: how many seeds, from `seed` on, the accuracy is measured with; the model that is
            kept is of the first.
        folds: leave out each of the data set's folds in turn, then train on everything.
    """

    folder: Path
    name: str
    recipe: Recipe
    seed: int = 0
    seeds: int = 1
    folds: bool = False
    resume: bool = False
    device: str = "cpu"
    jobs: int = 1
    use_store: bool = True
    max_pixels: int = DEFAULT_MAX_PIXELS


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears how it goes: what is worked on, how far, and what must be said."""

    on_encoded: Callable[[int, int], None] = lambda done, total: None
    on_epoch: Callable[[str, Progress], None] = lambda what, progress: None
    on_warning: Callable[[str], None] = lambda text: None


def train(inspection: Inspection, request: TrainRequest, listener: Listener) -> dict[str, Any]:
    """Train, write the run's folder, and return its metrics as JSON types.

    Several processes under `torchrun`, on one machine, train together; the first one writes, the
    others return {}.

    Raises:
        UsageError: the folder is taken, or holds another run than the one to go on with.
        LockedError: another run holds the folder.
        DataError: there is nothing to train on.
        ModelError: an encoder's weights are not at hand.
        OutputError: the folder cannot be written.
    """
    if request.device == "cpu":
        torch.set_num_threads(CPU_THREADS)
    if request.folds:
        _check_folds(inspection.dataset)
    if rank()[0] > 0:
        if not agreed(None):
            _work(inspection, request, Listener())
        return {}
    refuse_taken(request.folder, request.resume)
    make_folder(request.folder)
    try:
        with lock(request.folder):
            return _train_alone(inspection, request, listener)
    except (DataError, ModelError):
        if not request.resume:  # it would end so again
            forget(request.folder)
        raise
    except OutputError as error:
        raise OutputError(f"{error}; make room, and run the same again with --resume") from error


def _train_alone(
    inspection: Inspection, request: TrainRequest, listener: Listener
) -> dict[str, Any]:
    """Train while nobody else writes to the folder; or return what it says where it is done."""
    asked = _asked(inspection.dataset, request)
    done = open_folder(request.folder, asked, request.resume)
    agreed(done is not None)
    metrics = done if done is not None else _work(inspection, request, listener, asked)
    tidy(request.folder)
    return metrics


def _check_folds(data: DataSet) -> None:
    """Raise DataError where the data set cannot be divided by its folds."""
    without = [sample.name for sample in data.samples if sample.fold is None]
    if without:
        raise DataError(f"{data.source}: {len(without)} samples have no fold, such as {without[0]}")
    if len({sample.fold for sample in data.samples}) < 2:
        raise DataError(f"{data.source}: there is one fold only, so nothing could be left out")
    homes: dict[str, set[str | None]] = {}
    for sample in data.samples:
        homes.setdefault(group_of(sample), set()).add(sample.fold)
    divided = [group for group, found in homes.items() if len(found) > 1]
    if divided:
        raise DataError(
            f"{data.source}: {len(divided)} groups lie in several folds, such as {divided[0]!r}; "
            "give all rows of a group one fold"
        )


def _asked(data: DataSet, request: TrainRequest) -> dict[str, Any]:
    """Return what a run must share with the one it goes on with, as JSON types."""
    samples = [
        [s.name, s.labels, s.split, s.group, s.fold, s.start_s, s.end_s, s.text]
        for s in data.samples
    ]
    return {
        "version": __version__,
        "recipe": hashlib.sha256(to_yaml(request.recipe).encode()).hexdigest(),
        "samples": hashlib.sha256(json.dumps(samples).encode()).hexdigest(),
        "seed": request.seed,
        "seeds": request.seeds,
        "folds": request.folds,
        "name": request.name,
    }


# --- one run ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """One training to be done: on which samples, by which recipe."""

    request: TrainRequest
    prepared: Prepared
    recipe: Recipe
    listener: Listener

    @property
    def data(self) -> DataSet:
        return self.prepared.data

    def on(self, data: DataSet) -> _Work:
        """Return the same work with other splits of the same samples."""
        return replace(self, prepared=replace(self.prepared, data=data))


def _work(
    inspection: Inspection,
    request: TrainRequest,
    listener: Listener,
    asked: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Encode, train, measure, and write what came of it."""
    began = time.monotonic()
    prepared = prepare(
        inspection,
        request.recipe,
        seed=request.seed,
        folds=request.folds,
        jobs=request.jobs,
        use_store=request.use_store,
        max_pixels=request.max_pixels,
        on_encoded=listener.on_encoded,
        on_warning=listener.on_warning,
    )
    encoded_after = time.monotonic() - began
    work = _Work(request, prepared, request.recipe, listener)
    metrics: dict[str, Any] = {
        "schema": SCHEMA,
        "name": request.name,
        "recipe": request.recipe.name,
        "seed": request.seed,
        "labels": list(prepared.data.labels),
        "multi_label": prepared.data.multi_label,
        "streams": dict(prepared.streams),
    }
    if request.folds:
        work, learnt, judged = _with_folds(work, metrics)
    else:
        learnt, judged = _with_validation(work, metrics, _how_split(inspection.dataset))
    metrics["best_epoch"] = learnt.best_epoch
    metrics["seconds"] = {
        "encoding": round(encoded_after, 2),
        "training": round(time.monotonic() - began - encoded_after, 2),
    }
    metrics["asked"] = dict(asked or {})
    _write(work, request.folder, learnt, metrics, judged)
    return metrics


def _with_validation(
    work: _Work, metrics: dict[str, Any], how_split: str
) -> tuple[Learnt, _Judged]:
    """Train once, or with several seeds, and measure on validation; add it to `metrics`."""
    request = work.request
    learnt = _learn(work, request.seed, "model")
    judged = _judged(work, learnt, "val")
    metrics["samples"] = _counts(work.data)
    metrics["split"] = how_split
    metrics["validation"] = judged.metrics
    if request.seeds > 1:
        others = [
            _judged(work, _learn(work, seed, f"seed {seed}"), "val").metrics
            for seed in range(request.seed + 1, request.seed + request.seeds)
        ]
        metrics["seeds"] = spread([judged.metrics, *others], request.seed)
    return learnt, judged


def _with_folds(work: _Work, metrics: dict[str, Any]) -> tuple[_Work, Learnt, _Judged]:
    """Leave out each fold in turn, then train on all samples; add what was reached to `metrics`.

    The last training holds nothing out. It stops after the median of the folds' best epochs, on the
    learning rates that theirs had.
    """
    metrics["folds"], epochs, judged = _folds(work)
    everything = (replace(sample, split="train") for sample in work.data.samples)
    whole = work.on(with_samples(work.data, everything))
    metrics["samples"] = _counts(whole.data)
    return whole, _learn(whole, work.request.seed, "all", until=epochs), judged


def _folds(work: _Work) -> tuple[dict[str, Any], int, _Judged]:
    """Leave out each fold in turn: what was reached, the median best epoch, and all judgements."""
    request, data = work.request, work.data
    names = sorted({sample.fold or "" for sample in data.samples})
    by_seed: list[list[_Judged]] = [[] for _ in range(request.seeds)]
    best_epochs = []
    for name in names:
        # What is left out is "test" here; when to stop is seen on a part of the others.
        left_out = with_samples(
            data, (replace(s, split="test" if s.fold == name else None) for s in data.samples)
        )
        divided = with_validation(left_out, seed=request.seed, contents=work.prepared.contents)
        try:
            check_for_training(divided)
        except DataError as error:
            raise DataError(f"without fold {name!r}: {error}") from error
        fold = work.on(divided)
        for i in range(request.seeds):
            what = f"fold {name}" + (f" seed {request.seed + i}" if i else "")
            learnt = _learn(fold, request.seed + i, what)
            judged = _judged(fold, learnt, "test")
            by_seed[i].append(judged)
            if i == 0:
                best_epochs.append(learnt.best_epoch)
                metrics: dict[str, Any] = {"schema": SCHEMA, "fold": name, "test": judged.metrics}
                metrics |= {"best_epoch": learnt.best_epoch, "samples": _counts(divided)}
                _write(fold, request.folder / "folds" / file_name(name), learnt, metrics, judged)
    whole = [_together(judged, data) for judged in by_seed]
    result: dict[str, Any] = {
        "names": names,
        "split": "each fold left out in turn; when to stop chosen on a part of the others",
        "accuracy": [judged.metrics["accuracy"] for judged in by_seed[0]],
        "best_epochs": best_epochs,
        "test": whole[0].metrics,
    }
    if request.seeds > 1:
        result["seeds"] = spread([judged.metrics for judged in whole], request.seed)
    return result, max(1, round(statistics.median(best_epochs))), whole[0]


def _counts(data: DataSet) -> dict[str, int]:
    counts = {"train": 0, "val": 0, "test": 0}
    for sample in data.samples:
        counts[sample.split or "train"] += 1
    return counts


def _how_split(data: DataSet) -> str:
    if any(sample.split == "val" for sample in data.samples):
        return "as given"
    return "20 % of the groups" if data.has_groups else "20 % of the files"


def spread(runs: Sequence[Mapping[str, Any]], first_seed: int) -> dict[str, Any]:
    """Return mean and standard deviation of what several seeds reached."""
    names = ("accuracy", "balanced_accuracy", "macro_f1")
    return {
        "seeds": [first_seed + i for i in range(len(runs))],
        **{
            name: {
                "mean": statistics.fmean(run[name] for run in runs),
                "sd": statistics.stdev(run[name] for run in runs),
                "values": [run[name] for run in runs],
            }
            for name in names
        },
    }


# --- one training ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """What a network says of samples it did not learn from."""

    samples: Sequence[Sample]
    chances: np.ndarray
    truth: np.ndarray
    metrics: dict[str, Any]


def _learn(work: _Work, seed: int, what: str, until: int | None = None) -> Learnt:
    return learn(
        work.data.samples,
        work.prepared.encoded,
        work.data.labels,
        work.recipe,
        multi_label=work.data.multi_label,
        seed=seed,
        device=torch.device(work.request.device),
        until=until,
        checkpoint=checkpoint_path(work.request.folder, what),
        on_epoch=lambda progress: work.listener.on_epoch(what, progress),
    )


def _judged(work: _Work, learnt: Learnt, split: str) -> _Judged:
    data = work.data
    chosen = [i for i, sample in enumerate(data.samples) if sample.split == split]
    samples = [data.samples[i] for i in chosen]
    chances = probabilities(
        learnt,
        [work.prepared.encoded[i] for i in chosen],
        multi_label=data.multi_label,
        device=torch.device(work.request.device),
    )
    truth = targets_of(samples, data.labels, data.multi_label).truth.numpy()
    return _Judged(samples, chances, truth, _scored(data, samples, chances, truth))


def _together(folds: Sequence[_Judged], data: DataSet) -> _Judged:
    """Judge what all folds' networks say of the samples that each did not see."""
    samples = [sample for judged in folds for sample in judged.samples]
    truth = np.concatenate([judged.truth for judged in folds])
    chances = np.concatenate([judged.chances for judged in folds])
    return _Judged(samples, chances, truth, _scored(data, samples, chances, truth))


def _scored(
    data: DataSet, samples: Sequence[Sample], chances: np.ndarray, truth: np.ndarray
) -> dict[str, Any]:
    return score(
        data.labels,
        chances,
        truth.astype(bool) if data.multi_label else truth,
        groups=[group_of(sample) for sample in samples] if data.has_groups else None,
        multi_label=data.multi_label,
    )


def _write(
    work: _Work, folder: Path, learnt: Learnt, metrics: Mapping[str, Any], judged: _Judged
) -> None:
    if rank()[0] == 0:
        model = RunFiles(work.request.name, work.data, work.recipe, work.prepared.plan, learnt)
        write_model(folder, model, metrics, (judged.chances, judged.truth))
