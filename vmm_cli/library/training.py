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
from vmm_cli.suggest import did_you_mean

if TYPE_CHECKING:
    from vmm_cli.library.files import AnyPath
    from vmm_cli.training.evaluation import Evaluation

# One worker of a training, which holds torch and the pictures of a clip.
WORKER_BYTES = 600 * 2**20


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
        group, folds: columns of the data; with folds each is left out in turn.
        jobs: processes that read files; None: as many as fit the machine.
    """

    task: str = "classes"
    recipe: str | None = None
    changes: tuple[str, ...] = ()
    name: str | None = None
    seed: int = 0
    seeds: int = 1
    folds: str | None = None
    group: str | None = None
    resume: bool = False
    device: str = "cpu"
    jobs: int | None = None


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
    from vmm_cli.media.source import DEFAULT_MAX_PIXELS
    from vmm_cli.tasks import PURPOSES
    from vmm_cli.training import run
    from vmm_cli.training.data.inspection import inspect
    from vmm_cli.training.read_recipe import load_recipe
    from vmm_cli.training.request import Listener, TrainRequest
    from vmm_cli.training.run_folder import refuse_taken
    from vmm_cli.training.tasks.catalogue import TASKS

    names = [one.name for one in fields(Training)]
    for name in changed:
        if name not in names:
            hint = did_you_mean(name, names) or f"; there are {', '.join(names)}"
            raise UsageError(f"train has no option {name!r}{hint}")
    how = replace(how or Training(), **changed)
    if how.task not in TASKS:
        raise UsageError(f"there is no task {how.task!r}; there are {', '.join(TASKS)}")
    target = Path(folder)
    refuse_taken(target, how.resume)
    recipe = load_recipe(how.recipe or PURPOSES[how.task].recipe, list(how.changes))
    workers = how.jobs or default_workers(WORKER_BYTES)
    dataset = TASKS[how.task].read(Path(data), group=how.group, fold=how.folds)
    inspection = inspect(dataset, jobs=workers, max_pixels=DEFAULT_MAX_PIXELS)
    for problem in inspection.dataset.problems:
        warn(str(problem))
    request = TrainRequest(
        folder=target,
        name=how.name or target.resolve().name,
        recipe=recipe,
        seed=how.seed,
        seeds=how.seeds,
        folds=how.folds is not None,
        resume=how.resume,
        device=how.device,
        jobs=workers,
    )
    told = Listener(on_warning=warn)
    return TrainingRun(target, run.train(inspection, request, told))


def evaluate(
    model: Model | AnyPath,
    data: AnyPath,
    *,
    split: str | None = None,
    group: str | None = None,
    jobs: int | None = None,
) -> Evaluation:
    """Measure a model on labelled videos; as `vmm evaluate`. See `train` for scripts.

    Raises:
        DataError: there is nothing to measure on, or its labels are not the model's.
        ModelError: the model is damaged or cannot be run.
    """
    from vmm_cli.batch.capacity import default_workers
    from vmm_cli.media.source import DEFAULT_MAX_PIXELS
    from vmm_cli.training import evaluation
    from vmm_cli.training.data.inspection import inspect
    from vmm_cli.training.encoding import Means
    from vmm_cli.training.tasks.catalogue import TASKS

    bundle = (model if isinstance(model, Model) else load_model(model)).bundle
    workers = jobs or default_workers(WORKER_BYTES)
    means = Means(workers, True, False, DEFAULT_MAX_PIXELS)
    task = TASKS[bundle.task]
    dataset = task.read(Path(data), group=group)
    if task.inspected:
        dataset = inspect(dataset, jobs=workers, max_pixels=DEFAULT_MAX_PIXELS).dataset
    for problem in dataset.problems:
        warn(str(problem))
    return evaluation.evaluate(bundle, dataset, means, split=split)
