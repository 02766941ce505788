"""A training run: from a data set to a folder that is a model bundle and says how good it is.

While a run goes on its folder holds what was asked and checkpoints, in `.training`; `bundle.yaml`
is written last, so that a run which was stopped cannot be taken for a model.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vmm_cli import __version__
from vmm_cli.batch.lock import lock
from vmm_cli.errors import DataError, DeviceError, ModelError, OutputError
from vmm_cli.files import make_folder
from vmm_cli.inference.export import WINDOWS
from vmm_cli.training.data.inspection import Inspection
from vmm_cli.training.data.samples import SPLITS, DataSet, group_of, with_samples
from vmm_cli.training.data.splits import (
    check_for_training,
    parts_of,
    with_validation,
    without_folds,
)
from vmm_cli.training.learn import learn
from vmm_cli.training.learning_curve import FIRST, learning_curve
from vmm_cli.training.learnt import Learnt
from vmm_cli.training.predictions import Measured, predict, together
from vmm_cli.training.prepare import Prepared, prepare
from vmm_cli.training.processes import agreed, rank
from vmm_cli.training.recipe import MAX_FALSE_ALARMS_PER_HOUR, Recipe, to_yaml
from vmm_cli.training.request import Listener, TrainRequest
from vmm_cli.training.run_files import RunFiles, write_model
from vmm_cli.training.run_folder import (
    FOLDS_FOLDER,
    checkpoint_path,
    file_name,
    forget,
    open_folder,
    refuse_taken,
    tidy,
)
from vmm_cli.training.tasks.catalogue import TASKS
from vmm_cli.training.tasks.task import Task
from vmm_cli.training.tasks.told import warnings_of

SCHEMA = "vmm.train/1"
# These networks are small. Measured on two cores that others used too: with a second thread, which
# waits by spinning, an epoch took more than ten times as long.
CPU_THREADS = 1
PROBE_PARTS = 5  # a probe is measured on, in turn, where nothing is said of it
LONGEST_MODEL_NAME = 64  # see `bundle.save`


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
    if rank()[0] > 0:
        if not agreed(None):
            _work(inspection, request, Listener())
        return {}
    refuse_taken(request.folder, request.resume)
    make_folder(request.folder)
    try:
        with lock(request.folder):
            return _train_alone(inspection, request, listener)
    except (DataError, DeviceError, ModelError):
        if not request.resume:  # it would end so again
            forget(request.folder)
        raise
    except OutputError as error:
        raise OutputError(f"{error}; make room, and run the same again with --resume") from error


def _train_alone(
    inspection: Inspection, request: TrainRequest, listener: Listener
) -> dict[str, Any]:
    """Train while nobody else writes to the folder; or return what it says where it is done."""
    asked = _asked(inspection, request)
    done = open_folder(request.folder, asked, request.resume)
    agreed(done is not None)
    metrics = done if done is not None else _work(inspection, request, listener, asked)
    tidy(request.folder)
    return metrics


def _asked(inspection: Inspection, request: TrainRequest) -> dict[str, Any]:
    """Return what a run must share with the one it goes on with, as JSON types."""
    samples = [
        [inspection.contents.get(s.path), asdict(s) | {"path": s.name}]
        for s in inspection.dataset.samples
    ]
    return {
        "version": __version__,
        "recipe": hashlib.sha256(to_yaml(request.recipe).encode()).hexdigest(),
        "samples": hashlib.sha256(json.dumps(samples).encode()).hexdigest(),
        "seed": request.seed,
        "seeds": request.seeds,
        "folds": request.folds,
        "name": request.name,
        "learning_curve": request.learning_curve,
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
    prepared = prepare(inspection, request, listener)
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
        "negatives": sum(sample.negative for sample in prepared.data.samples),
    }
    parts = None if request.folds else _in_parts(work)
    if request.folds or parts is not None:
        work, learnt, measured = _with_folds(parts or work, metrics)
    else:
        work, learnt, measured = _with_validation(work, metrics)
    metrics["best_epoch"] = learnt.best_epoch
    if learnt.compared is not None:
        metrics["probe"] = dict(learnt.compared)
    if request.learning_curve:
        metrics["learning_curve"] = _learning_curve(work, learnt.best_epoch)
    metrics["seconds"] = {
        "encoding": round(encoded_after, 2),
        "training": round(time.monotonic() - began - encoded_after, 2),
    }
    metrics["asked"] = dict(asked or {})
    for warning in warnings_of(measured.metrics):
        listener.on_warning(warning)
    if metrics["negatives"] and not measured.metrics.get("negatives"):
        listener.on_warning(
            "no negative was held out, so that false alarms are measured on none: give negatives "
            "of more files or groups"
        )
    _write(work, request.folder, request.name, learnt, metrics, measured)
    return metrics


def _in_parts(work: _Work) -> _Work | None:
    """Return the work with folds that are drawn: what a probe of few samples is measured on.

    So the model is made of all samples, and each of them is measured on. None where the user says
    what is held out, the recipe is another, or the samples cannot be divided so.
    """
    data, seed = work.data, work.request.seed
    if not work.recipe.optimisation.probe or any(s.split == "val" for s in data.samples):
        return None
    parts = parts_of(data, PROBE_PARTS, seed=seed, contents=work.prepared.contents)
    if parts is None:
        return None
    pairs = zip(data.samples, parts, strict=True)
    return work.on(with_samples(data, (replace(s, fold=f"{part + 1}") for s, part in pairs)))


def _learning_curve(work: _Work, best_epoch: int) -> dict[str, Any] | None:
    """Train on parts of the data as `work` was, for as many epochs; None where they are too few."""

    def trial(data: DataSet, seed: int, what: str) -> Mapping[str, Any]:
        part = work.on(data)
        return _measured(part, _learn(part, seed, what, until=best_epoch), "test").metrics

    # Several processes must train the same: what one has noted another may not have read.
    alone = rank()[1] == 1
    done = checkpoint_path(work.request.folder, "curve").with_suffix(".json") if alone else None
    curve = learning_curve(
        work.data,
        trial,
        seed=work.request.seed,
        contents=work.prepared.contents,
        done=done,
    )
    if curve is None:
        work.listener.on_warning(
            f"{work.data.source}: no learning curve: it needs more than {FIRST} samples and two "
            f"{'groups' if work.data.has_groups else 'files'} of each label outside of what is "
            "left out"
        )
    return curve


def _with_validation(work: _Work, metrics: dict[str, Any]) -> tuple[_Work, Learnt, Measured]:
    """Train once, or with several seeds, and measure on validation; add it to `metrics`.

    Each seed draws its own validation, unless the user gave one.
    """
    request, given, task = work.request, work.data, TASKS[work.data.task]
    seeds = range(request.seed, request.seed + request.seeds)
    works = []
    for seed in seeds:
        divided = with_validation(given, seed=seed, contents=work.prepared.contents)
        check_for_training(divided)
        works.append(work.on(divided))
    learnt = _learn(works[0], request.seed, "model")
    measured = [_measured(works[0], learnt, "val")]
    for other, seed in zip(works[1:], seeds[1:], strict=True):
        measured.append(_measured(other, _learn(other, seed, f"seed {seed}"), "val"))
    metrics["samples"] = _counts(works[0].data)
    metrics["split"] = _how_split(given, works[0].data)
    metrics["validation"] = measured[0].metrics
    if request.seeds > 1:
        metrics["seeds"] = spread(task, [one.metrics for one in measured], request.seed)
    return works[0], learnt, measured[0]


def _with_folds(work: _Work, metrics: dict[str, Any]) -> tuple[_Work, Learnt, Measured]:
    """Leave out each fold in turn, then train on all samples; add what was reached to `metrics`.

    The last training holds nothing out. It stops after the median of the folds' best epochs, on the
    learning rates that theirs had.
    """
    metrics["folds"], epochs, measured = _folds(work)
    everything = (replace(sample, split="train") for sample in work.data.samples)
    whole = work.on(with_samples(work.data, everything))
    metrics["samples"] = _counts(whole.data)
    return whole, _learn(whole, work.request.seed, "all", until=epochs), measured


def _folds(work: _Work) -> tuple[dict[str, Any], int, Measured]:
    """Leave out each fold in turn; return metrics, the median best epoch, and all predictions."""
    request, data, contents = work.request, work.data, work.prepared.contents
    task = TASKS[data.task]
    seeds = range(request.seed, request.seed + request.seeds)
    # Divided before anything is trained: where one fold cannot be left out none is.
    stops_early = work.recipe.optimisation.patience > 0
    divided = [
        without_folds(data, seed=seed, contents=contents, stops_early=stops_early) for seed in seeds
    ]
    names = list(divided[0])
    by_seed: list[list[Measured]] = [[] for _ in seeds]
    best_epochs = []
    for name in names:
        for i, seed in enumerate(seeds):
            # What is left out is "test" here; when to stop is seen on a part of the others.
            fold = work.on(divided[i][name])
            learnt = _learn(fold, seed, f"fold {name}" + (f" seed {seed}" if i else ""))
            measured = _measured(fold, learnt, "test")
            by_seed[i].append(measured)
            if i == 0:
                best_epochs.append(learnt.best_epoch)
                counts = _counts(fold.data)
                if apart := len(data.samples) - sum(counts.values()):
                    work.listener.on_warning(
                        f"fold {name}: {apart} rows of other folds share a file or content with "
                        "it and are left out of its training"
                    )
                metrics: dict[str, Any] = {"schema": SCHEMA, "fold": name, "test": measured.metrics}
                metrics |= {"best_epoch": learnt.best_epoch, "samples": counts}
                folder = request.folder / FOLDS_FOLDER / file_name(name)
                called = f"{request.name}-{folder.name}"[:LONGEST_MODEL_NAME]
                _write(fold, folder, called, learnt, metrics, measured)
    whole = [together(measured, data) for measured in by_seed]
    how = "when to stop chosen on a part of the others" if stops_early else "all epochs run"
    if work.recipe.optimisation.probe:
        how = "its streams chosen on the others"
    numbers = [task.report.headline(measured.metrics) for measured in by_seed[0]]
    # What a model is known by first of all.
    first = next(iter(task.report.headline(whole[0].metrics)))
    result: dict[str, Any] = {
        "names": names,
        "split": f"each fold left out in turn; {how}",
        # A fold may have nothing that it could be measured on; JSON has no NaN.
        first: [_number(each.get(first)) for each in numbers],
        "best_epochs": best_epochs,
        "test": whole[0].metrics,
    }
    if request.seeds > 1:
        result["seeds"] = spread(task, [measured.metrics for measured in whole], request.seed)
    return result, max(1, round(statistics.median(best_epochs))), whole[0]


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _counts(data: DataSet) -> dict[str, int]:
    counts = Counter(sample.split for sample in data.samples if sample.split)
    return {split: counts[split] for split in SPLITS}


def _how_split(given: DataSet, divided: DataSet) -> str:
    """Say what validation is."""
    if any(sample.split == "val" for sample in given.samples):
        return "as given"
    groups = {group_of(sample) for sample in divided.samples}
    held_out = {group_of(sample) for sample in divided.samples if sample.split == "val"}
    return f"{len(held_out)} of {len(groups)} {'groups' if given.has_groups else 'files'}"


def spread(task: Task, runs: Sequence[Mapping[str, Any]], first_seed: int) -> dict[str, Any]:
    """Return mean and standard deviation of what several seeds reached."""
    numbers = [task.report.headline(run) for run in runs]
    # What one seed's validation has nothing to measure on has no mean over seeds.
    shared = [name for name in numbers[0] if all(name in run for run in numbers)]
    return {
        "seeds": [first_seed + i for i in range(len(runs))],
        **{
            name: {
                "mean": statistics.fmean(run[name] for run in numbers),
                "sd": statistics.stdev(run[name] for run in numbers),
                "values": [run[name] for run in numbers],
            }
            for name in shared
        },
    }


# --- one training ------------------------------------------------------------------------------


def _learn(work: _Work, seed: int, what: str, until: int | None = None) -> Learnt:
    return learn(
        work.data,
        work.prepared.encoded,
        work.recipe,
        seed=seed,
        device=torch.device(work.request.device),
        until=until,
        checkpoint=checkpoint_path(work.request.folder, what),
        on_epoch=lambda progress: work.listener.on_epoch(what, progress),
    )


def _measured(work: _Work, learnt: Learnt, split: str) -> Measured:
    device = torch.device(work.request.device)
    encoded, limit = work.prepared.encoded, work.recipe.max_false_alarms_per_hour
    if limit is None and any(sample.negative for sample in work.data.samples):
        limit = MAX_FALSE_ALARMS_PER_HOUR
    return predict(learnt, work.data, encoded, split, device, max_false_alarms=limit)


def _write(
    work: _Work,
    folder: Path,
    name: str,
    learnt: Learnt,
    metrics: Mapping[str, Any],
    measured: Measured,
) -> None:
    if rank()[0] == 0:
        shown = work.prepared.encoded[:WINDOWS]
        kept, plan = learnt.recipe, work.prepared.plan  # a probe may do without some streams
        specs = {stream: spec for stream, spec in plan.encoders.items() if stream in kept.streams}
        model = RunFiles(name, work.data, kept, replace(plan, encoders=specs), learnt, shown)
        write_model(folder, model, metrics, measured)
