"""What models are for: one entry a task. How each is learnt and measured: `training.tasks`.

Nothing is imported here, so that bundles and commands can ask before anything is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Purpose:
    """What the models of a task are for.

    Attributes:
        learns: what `vmm train` learns, as its help says it.
        recipe: the one it learns by unless another is given.
        run_by: a sentence on the command that runs such a model.
        few: the recipe where there are few samples a label; "": there is none.
    """

    learns: str
    recipe: str
    run_by: str
    few: str = ""


PURPOSES: dict[str, Purpose] = {
    "classes": Purpose(
        learns="labels of whole videos",
        recipe="default",
        run_by="`vmm classify` runs it",
        few="few",
    ),
    "segments": Purpose(
        learns="actions and when they happen",
        recipe="segments",
        run_by="`vmm detect-actions` runs it",
    ),
    "valence": Purpose(
        learns="how pleasant videos are, and which emotion they show",
        recipe="sentiment",
        run_by="`vmm sentiment --model` runs one that `vmm train` made",
    ),
    "normal": Purpose(
        learns="what is usual, without labels, to find what is not",
        recipe="normal",
        run_by="`vmm detect-actions` runs it",
    ),
}

# What models that vmm carries or fetches, and does not train, are for: what runs them.
CARRIED: dict[str, str] = {
    "objects": "`vmm detect-objects` runs it",
    "poses": "`vmm detect-objects --pose` runs it",
    "masks": "`vmm detect-objects --segment` runs it",
}

# The kind of network of a model that knows what is usual, and has no network of its own.
USUAL = "usual"
UNUSUAL = "unusual"  # what it calls all else: its one label
# The kind of network of a model that joins what others see and hear, and has none of its own.
TAGS = "tags"


def known() -> tuple[str, ...]:
    """Return all tasks that a model can be for."""
    return (*PURPOSES, *CARRIED)


def run_by(task: str) -> str:
    """Return a sentence on what runs the models of a task, one of `known`."""
    return PURPOSES[task].run_by if task in PURPOSES else CARRIED[task]
