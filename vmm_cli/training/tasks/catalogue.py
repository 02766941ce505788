"""Every task by name."""

from __future__ import annotations

from vmm_cli.training.tasks.classes import TASK as CLASSES
from vmm_cli.training.tasks.segments import TASK as SEGMENTS
from vmm_cli.training.tasks.task import Task
from vmm_cli.training.tasks.valence import TASK as VALENCE

TASKS: dict[str, Task] = {task.name: task for task in (CLASSES, VALENCE, SEGMENTS)}


def heads() -> tuple[str, ...]:
    """Return the heads that a recipe can ask for, the default first."""
    return tuple(head for task in TASKS.values() for head in task.heads)


def task_of(head: str) -> Task:
    """Return the task that a head is for."""
    return next(task for task in TASKS.values() if head in task.heads)
