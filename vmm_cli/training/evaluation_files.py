"""The files that an evaluation leaves; `metrics.json`, the last one, says that vmm wrote them."""

from __future__ import annotations

from vmm_cli.training.tasks.catalogue import TASKS

METRICS_FILE = "metrics.json"


def evaluation_files() -> tuple[str, ...]:
    """Return the names of all files that an evaluation of any task can leave."""
    of_tasks = (name for task in TASKS.values() for name in task.files.names)
    return (METRICS_FILE, *dict.fromkeys(of_tasks))
