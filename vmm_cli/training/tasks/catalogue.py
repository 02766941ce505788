"""Every task by name."""

from __future__ import annotations

from vmm_cli.bundles import Bundle
from vmm_cli.errors import ModelError
from vmm_cli.tasks import run_by
from vmm_cli.training.tasks.classes import TASK as CLASSES
from vmm_cli.training.tasks.normal import TASK as NORMAL
from vmm_cli.training.tasks.segments import TASK as SEGMENTS
from vmm_cli.training.tasks.task import Task
from vmm_cli.training.tasks.valence import TASK as VALENCE

TASKS: dict[str, Task] = {task.name: task for task in (CLASSES, VALENCE, SEGMENTS, NORMAL)}


def heads() -> tuple[str, ...]:
    """Return the heads that a recipe can ask for, the default first."""
    return tuple(head for task in TASKS.values() for head in task.heads)


def task_for(bundle: Bundle) -> Task:
    """Return the task that a model is measured as. ModelError where vmm measures no such models."""
    if bundle.task not in TASKS:
        raise ModelError(
            f"model {bundle.name!r} is for {bundle.task}, which `vmm evaluate` does not measure; "
            f"{run_by(bundle.task)}"
        )
    return TASKS[bundle.task]


def task_of(head: str) -> Task:
    """Return the task that a head is for."""
    return next(task for task in TASKS.values() if head in task.heads)
