"""What does not go together in a recipe: of a head, and of a linear probe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vmm_cli.training.recipe import (
    PROBE_FUSION,
    PROBE_TEMPORAL,
    PROBE_VIEWS,
    Optimisation,
    StreamRecipe,
)
from vmm_cli.training.tasks.catalogue import task_of
from vmm_cli.training.tasks.task import Task


def only_for_others(
    streams: Mapping[str, StreamRecipe], optimisation: Optimisation, head: str
) -> Iterator[str]:
    """Yield what a head has no use for."""
    task = task_of(head)
    for key in task.unused:
        if getattr(optimisation, key):
            yield f"optimisation.{key}: the head {head!r} has no use for it; leave it out"
    if task.windows:
        return
    for stream, recipe in streams.items():
        if recipe.options.get("train_last"):
            yield f"streams.{stream}.train_last: not with the head {head!r}; leave it out"


def no_probe(
    streams: Mapping[str, StreamRecipe], temporal: str, fusion: str, task: Task
) -> Iterator[str]:
    """Yield why a recipe cannot be that of a linear probe."""
    if task.targets is None:
        yield f"optimisation.probe: is not for {task.name}; leave it out"
    for key, value, only in (
        ("temporal", temporal, PROBE_TEMPORAL),
        ("fusion", fusion, PROBE_FUSION),
    ):
        if value != only:
            yield f"{key}: {value!r} does not go with optimisation.probe; give {only!r}"
    for stream, recipe in streams.items():
        if recipe.front_end not in PROBE_VIEWS:
            yield (
                f"streams.{stream}.front_end: {recipe.front_end!r} does not go with "
                f"optimisation.probe; {', '.join(PROBE_VIEWS)} do"
            )
        if recipe.options.get("train_last"):
            yield f"streams.{stream}.train_last: not with optimisation.probe; leave it out"
