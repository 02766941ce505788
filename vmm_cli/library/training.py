"""Training and evaluation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm_cli.errors import UsageError
from vmm_cli.library.models import Model, load_model
from vmm_cli.library.warned import warn
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.suggest import did_you_mean
from vmm_cli.tasks import PURPOSES
from vmm_cli.training import WORKER_MEMORY_BYTES

if TYPE_CHECKING:
    from vmm_cli.library.files import AnyPath
    from vmm_cli.training.data.inspection import Inspection
    from vmm_cli.training.evaluation import Evaluation


@dataclass(frozen=True)
class TrainingRun:
    """What a training left: a folder that is a model, and how good that is."""

    folder: Path
    metrics: Mapping[str, Any]

    @property
    def model(self) -> Model:
        """The model that was trained."""
        return load_model(self.folder)

    def to_record(self) -> dict[str, Any]:
        """Return the metrics, as metrics.json has them."""
        return dict(self.metrics)

    def __repr__(self) -> str:
        return f"TrainingRun({os.fspath(self.folder)!r}, {self.metrics.get('task', 'classes')})"


@dataclass(frozen=True)
class Training:
    """How to train; see `train`.

    Attributes:
        recipe: the name of a recipe, or its file; None: that of the task.
        changes: of the recipe, such as "optimisation.epochs=20".
        name: of the model; None: that of the folder.
        seeds: how many, from `seed` on, the accuracy is measured with.
        learning_curve: whether to train on parts of the data too, to see what more would bring.
        group, folds: columns of the data; with folds each is left out in turn.
        negatives: folders, files or manifests of videos in which nothing of the kind happens.
        max_false_alarms_per_hour: of each label, on what is held out; None: as the recipe says.
        device: auto, cpu or cuda[:N], for frozen encoders as well.
        jobs: processes that read files; None: as many as fit the machine.
        use_store, keep_features: whether the feature store is used, and may hold what is of faces
            and voices.
    """

    task: str = "classes"
    recipe: str | None = None
    changes: tuple[str, ...] = ()
    name: str | None = None
    seed: int = 0
    seeds: int = 1
    folds: str | None = None
    group: str | None = None
    negatives: tuple[AnyPath, ...] = ()
    max_false_alarms_per_hour: float | None = None
    learning_curve: bool = False
    resume: bool = False
    device: str = "auto"
    jobs: int | None = None
    use_store: bool = True
    keep_features: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS


def train(
    data: AnyPath, folder: AnyPath, how: Training | None = None, **changed: Any
) -> TrainingRun:
    """Train a model on labelled videos, into a folder; as `vmm train`.

    Files are read in processes of their own: a script that trains needs
    `if __name__ == "__main__":`.

    how: or its fields by name.

    Raises:
        UsageError: the folder is taken, or what is wanted contradicts itself.
        DataError: there is nothing to train on.
        ModelError: an encoder's weights are not at hand.
    """
    from vmm_cli.batch.capacity import default_workers
    from vmm_cli.features.image import device_from
    from vmm_cli.operations.device import device_wanted
    from vmm_cli.training import run
    from vmm_cli.training.request import (
        Listener,
        TrainRequest,
        name_of,
        named,
        recipe_for,
        recipe_for_few,
    )
    from vmm_cli.training.run_folder import refuse_taken

    how = _checked(how or Training(), changed)
    target = Path(folder)
    # What can be refused is refused before all files are looked at.
    recipe = recipe_for(how.task, how.recipe, _changes(how))
    name = name_of(target) if how.name is None else named(how.name)
    refuse_taken(target, how.resume)
    device, encode_on = str(device_from(how.device)), device_wanted(how.device)
    workers = how.jobs or default_workers(WORKER_MEMORY_BYTES)
    inspection = _looked_at(Path(data), how, workers)
    for problem in inspection.dataset.problems:
        warn(str(problem))
    if how.recipe is None and not (_changes(how) or how.negatives):
        recipe = recipe_for_few(inspection.dataset) or recipe
    request = TrainRequest(
        folder=target,
        name=name,
        recipe=recipe,
        seed=how.seed,
        seeds=how.seeds,
        folds=how.folds is not None,
        resume=how.resume,
        device=device,
        jobs=workers,
        use_store=how.use_store,
        keep_features=how.keep_features,
        max_pixels=how.max_pixels,
        encode_on=encode_on,
        learning_curve=how.learning_curve,
    )
    return TrainingRun(target, run.train(inspection, request, Listener(on_warning=warn)))


def _checked(how: Training, changed: Mapping[str, Any]) -> Training:
    """Return how to train, with some fields changed. UsageError where it cannot be so."""
    names = [one.name for one in fields(Training)]
    for name in changed:
        if name not in names:
            hint = did_you_mean(name, names) or f"; there are {', '.join(names)}"
            raise UsageError(f"train has no option {name!r}{hint}")
    how = replace(how, **changed)
    if how.task not in PURPOSES:
        raise UsageError(f"there is no task {how.task!r}; there are {', '.join(PURPOSES)}")
    if isinstance(how.negatives, str | os.PathLike):
        raise UsageError("negatives: give a list of paths, such as ['calm']")
    if how.learning_curve:
        from vmm_cli.training.tasks.catalogue import TASKS

        if TASKS[how.task].targets is None:
            raise UsageError(f"learning_curve is not for the task {how.task}; leave it out")
    if isinstance(how.changes, str):
        raise UsageError("changes: give a list of texts, such as ['optimisation.epochs=20']")
    least = {"seed": 0, "seeds": 1, "jobs": 1, "max_false_alarms_per_hour": 0}
    for name, smallest in least.items():
        value = getattr(how, name)
        if value is not None and value < smallest:
            raise UsageError(f"{name}: {value} is less than {smallest}")
    return how


def _looked_at(data: Path, how: Training, jobs: int) -> Inspection:
    """Read the data and the negatives, and look at all files."""
    from vmm_cli.training.data.inspection import inspect
    from vmm_cli.training.data.read_negatives import require_some
    from vmm_cli.training.request import data_with_negatives
    from vmm_cli.training.tasks.catalogue import TASKS

    negatives = tuple(map(Path, how.negatives))
    dataset = TASKS[how.task].read(data, group=how.group, fold=how.folds)
    dataset = data_with_negatives(dataset, negatives)
    inspection = inspect(dataset, jobs=jobs, max_pixels=how.max_pixels)
    require_some(inspection.dataset, negatives)
    return inspection


def _changes(how: Training) -> tuple[str, ...]:
    """Return the changes of the recipe."""
    if how.max_false_alarms_per_hour is None:
        return tuple(how.changes)
    return (*how.changes, f"max_false_alarms_per_hour={how.max_false_alarms_per_hour}")


def evaluate(
    model: Model | AnyPath,
    data: AnyPath,
    *,
    split: str | None = None,
    group: str | None = None,
    device: str = "auto",
    jobs: int | None = None,
    use_store: bool = True,
) -> Evaluation:
    """Measure a model on labelled videos; as `vmm evaluate`. See `train` for scripts.

    device: as of `Training`, for encoding.

    Raises:
        DataError: there is nothing to measure on, or its labels are not the model's.
        ModelError: the model is damaged or cannot be run.
    """
    from vmm_cli.batch.capacity import default_workers
    from vmm_cli.operations.device import device_wanted
    from vmm_cli.training import evaluation
    from vmm_cli.training.data.inspection import inspect
    from vmm_cli.training.encoding import Means
    from vmm_cli.training.tasks.catalogue import task_for

    bundle = (model if isinstance(model, Model) else load_model(model)).bundle
    workers = jobs or default_workers(WORKER_MEMORY_BYTES)
    means = Means(workers, use_store, device=device_wanted(device))
    task = task_for(bundle)
    dataset = task.read(Path(data), group=group)
    if task.inspected:
        dataset = inspect(dataset, jobs=workers, max_pixels=means.max_pixels).dataset
    for problem in dataset.problems:
        warn(str(problem))
    return evaluation.evaluate(bundle, dataset, means, split=split)
