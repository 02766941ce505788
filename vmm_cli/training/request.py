"""What is asked of a training, and who hears how it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vmm_cli.batch.executor import Device
from vmm_cli.batch.tally import Standing
from vmm_cli.bundles.bundle import FOLDER_NAME
from vmm_cli.errors import OptionError
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.tasks import PURPOSES
from vmm_cli.training.data import splits
from vmm_cli.training.data.inspection import Inspection
from vmm_cli.training.data.read_negatives import with_negatives
from vmm_cli.training.data.samples import DataSet, label_counts
from vmm_cli.training.encoding import Means
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.tasks.catalogue import TASKS, task_of

if TYPE_CHECKING:
    from vmm_cli.training.loop import Progress


# Samples a label up to which the recipe for few is taken where none is named. With 5 to 40 it does
# better than the recipe `default`: `python -m benchmarks.accuracy few`.
FEW_SAMPLES = 40


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What is to be trained, and where it goes.

    Attributes:
        folder: the run's folder.
        name: of the model.
        seeds: how many seeds, from `seed` on, the accuracy is measured with; the model that is
            kept is of the first.
        folds: leave out each of the data set's folds in turn, then train on everything.
        learning_curve: whether to train on parts of the data too, to see what more would bring.
        keep_features: let the store hold what is of faces and voices, too.
        device: that learns; encode_on: that frozen encoders run on; None: the CPU.
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
    keep_features: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS
    encode_on: Device | None = None
    learning_curve: bool = False

    @property
    def means(self) -> Means:
        """With what its files are read."""
        return Means(self.jobs, self.use_store, self.keep_features, self.max_pixels, self.encode_on)


def name_of(folder: Path) -> str:
    """Return a model's name from its folder's. OptionError where none can be made of it."""
    return named(folder.resolve().name)


def named(name: str) -> str:
    """Return the name of a model. OptionError where it cannot be one."""
    if not FOLDER_NAME.fullmatch(name):
        raise OptionError(
            "{said!r} cannot be the name of a model (letters, digits, '.', '_', '-'); give {name}",
            said=name,
        )
    return name


def recipe_for(task: str, name: str | None, changes: Sequence[str]) -> Recipe:
    """Return a recipe, that of the task where `name` is None, with changes.

    Raises:
        OptionError: it is for another task.
        RecipeError: it is not there, or says what cannot be.
    """
    name = name or PURPOSES[task].recipe
    recipe = load_recipe(name, list(changes))
    if (wanted := task_of(recipe.head).name) != task:
        raise OptionError(
            "recipe {recipe_name!r} is for {wanted}; give {task} {wanted}, or another recipe",
            recipe_name=name,
            wanted=wanted,
        )
    return recipe


def data_with_negatives(data: DataSet, negatives: Sequence[Path]) -> DataSet:
    """Return a data set with negatives beside its samples: see `read_negatives.with_negatives`.

    Raises:
        OptionError: its task has no use for them.
        DataError: they cannot be read, or there are none.
    """
    if not negatives:
        return data
    as_negative = TASKS[data.task].as_negative
    if as_negative is None:
        raise OptionError(
            "{negatives} is of no use for {task} {name}: such a model says something of any video; "
            "leave it out",
            name=data.task,
        )
    return with_negatives(data, negatives, as_negative)


def recipe_for_few(data: DataSet) -> Recipe | None:
    """Return the recipe for few samples a label where there are few; None where there are more."""
    name = PURPOSES[data.task].few
    if not name or few_samples(data) > FEW_SAMPLES:
        return None
    return load_recipe(name)


def few_samples(data: DataSet) -> float:
    """Return how many samples that may be learnt from there are a label, on average."""
    counts = label_counts(sample for sample in data.samples if sample.split in ("train", None))
    return counts.total() / max(1, len(data.labels))


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears how it goes: what is worked on, how far, and what must be said."""

    on_encoded: Callable[[Standing], None] = lambda standing: None
    on_epoch: Callable[[str, Progress], None] = lambda what, progress: None
    on_warning: Callable[[str], None] = lambda text: None


def check_divisible(data: DataSet, inspection: Inspection, request: TrainRequest) -> None:
    """Raise DataError where a data set cannot be divided as is asked and trained on."""
    splits.check_divisible(
        data,
        seed=request.seed,
        folds=request.folds,
        contents=inspection.contents,
        stops_early=request.recipe.optimisation.patience > 0,
    )
