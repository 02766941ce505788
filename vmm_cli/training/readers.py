"""How a data set is read, by the task it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vmm_cli.training.annotations import read_annotations
from vmm_cli.training.dataset import read_dataset
from vmm_cli.training.ratings import read_ratings
from vmm_cli.training.samples import DataSet

READERS: Mapping[str, Callable[..., DataSet]] = {
    "classes": read_dataset,
    "segments": read_annotations,
    "valence": read_ratings,
}
