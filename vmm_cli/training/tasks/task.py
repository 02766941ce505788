"""What a task is: a row of `catalogue.TASKS`.

Everything that training and evaluation do differently for different tasks is a field of the row;
no other module asks which task it is. Rows are read by commands that load no torch, so what needs
torch or scikit-learn imports them when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vmm_cli.training.data.samples import DataSet, Kind, Sample, group_of
from vmm_cli.training.recipe import Recipe

if TYPE_CHECKING:
    import torch

    from vmm_cli.bundles import Bundle
    from vmm_cli.features.windows import Encoded
    from vmm_cli.inference.examples import Examples
    from vmm_cli.output.table import Cell, Column
    from vmm_cli.training.data.inspection import Inspection
    from vmm_cli.training.encoding import Means
    from vmm_cli.training.learnt import Learnt
    from vmm_cli.training.loop import Objective
    from vmm_cli.training.objectives.classes import Targets

Cells = Sequence[object]
Metrics = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What an objective is made of.

    Attributes:
        data: all samples of the training.
        train, held_out: places of those to learn from and of those to watch, in `data.samples`.
        shown: the windows of the first, as a network is shown them.
        watched: those of the others; None where there are none.
    """

    data: DataSet
    recipe: Recipe
    train: Sequence[int]
    held_out: Sequence[int]
    shown: Examples
    watched: Examples | None

    @property
    def weigh(self) -> Sequence[int]:
        """The samples whose counts make rare labels weigh more; none: all weigh the same."""
        return self.train if self.recipe.optimisation.class_weights else []


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a model predicts for samples that it did not learn from.

    Attributes:
        values: by sample, as `Task.predict` gives them.
        labels: those that the model knows.
        multi_label: whether it gives several of them to a sample.
        has_groups: whether samples name groups.
        max_false_alarms: how many an hour each label may have where thresholds are chosen; None:
            they are chosen otherwise.
    """

    samples: Sequence[Sample]
    values: Sequence[Any]
    labels: Sequence[str]
    multi_label: bool
    has_groups: bool
    max_false_alarms: float | None = None

    @property
    def groups(self) -> list[str] | None:
        """The group of each sample; None where samples name none."""
        return [group_of(sample) for sample in self.samples] if self.has_groups else None


class Table(NamedTuple):
    """A table for people: its columns and its rows."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


def _nothing(_: object) -> Iterator[Any]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Report:
    """How a task says what its data sets hold and how good its models are.

    Attributes:
        headline: metrics -> the few numbers that a model is known by, the first one first of all.
        rows: metrics -> what a person wants to know of an evaluation, name and value.
        says: (data set, samples learnt from) -> what a model says of a video, for its card.
        limits: what it does not know, for its card.
        counts: (labels, samples) -> how many units each output was learnt from, for the card.
        intervals: metrics -> the intervals over groups that there are, by the name of what they
            are of.
        one_figure: whether the first number of the headline stands for the others.
        figures: what the card calls numbers of the headline that are not called as they read.
        remark: metrics -> what the card says behind these numbers.
        sample: what a sample of an evaluation is called.
        made_of: a recipe -> what the card says of how a model is made; None: of which networks.
        data_section: an inspection -> what `summary` says under the task's name; None: nothing.
        data_tables: a `summary` -> the tables that `vmm train --check` shows first.
        data_facts: a `summary` -> what it says of the whole, name and value.
    """

    headline: Callable[[Metrics], dict[str, float]]
    rows: Callable[[Metrics], Iterator[tuple[str, str]]]
    says: Callable[[DataSet, Sequence[Sample]], str]
    limits: str
    counts: Callable[[Sequence[str], Sequence[Sample]], Mapping[str, int]]
    intervals: Callable[[Metrics], dict[str, Metrics]] = lambda metrics: {}
    one_figure: bool = True
    figures: Mapping[str, str] = field(default_factory=dict)
    remark: Callable[[Metrics], str] = lambda metrics: ""
    sample: str = "row"
    made_of: Callable[[Recipe], str] | None = None
    data_section: Callable[[Inspection], dict[str, Any]] | None = None
    data_tables: Callable[[Metrics], Iterator[Table]] = _nothing
    data_facts: Callable[[Metrics], Iterator[tuple[str, Cell]]] = _nothing


@dataclass(frozen=True, slots=True)
class Files:
    """What a task leaves in a run's folder and in that of an evaluation, beside the metrics.

    Attributes:
        names: of all files that `tables` and `draw` can make.
        tables: predictions -> the rows of each table, the head first, by the file's name.
        draw: (folder, predictions, metrics) -> None: draws how good they are, as far as they tell.
        columns: what a manifest calls that which is right.
        truth: (sample, label) -> the cells of these columns.
    """

    names: tuple[str, ...]
    tables: Callable[[Predictions], dict[str, list[Cells]]]
    draw: Callable[[Path, Predictions, Metrics], None] = lambda folder, predictions, metrics: None
    columns: tuple[str, ...] = ("label",)
    truth: Callable[[Sample, str], Cells] = lambda sample, label: [label]


@dataclass(frozen=True, slots=True)
class Task:
    """Something to learn: how it is read, learnt, predicted, measured and told.

    Attributes:
        kind: of its data sets; the task has its name.
        heads: of networks that learn it.
        read: (source, group=column, fold=column) -> data set. DataError where it cannot be read.
        network: what its networks are made of besides what all are, as JSON types.
        objective: what the training loop needs.
        learn: (data set, encoded samples, recipe, seed) -> what is learnt, of a task without
            networks and their training: then there is no `network` and no `objective`. DataError
            as `training.learn`.
        predict: (learnt, samples, device) -> what it predicts for each sample.
        check: (bundle, data set, samples) -> None. ModelError where the bundle cannot be run,
            DataError where it cannot be measured on these samples.
        predict_file: (bundle, sample, means) -> what a bundle predicts for a sample, as `predict`
            does; runs in a worker. InputError where the file cannot be read.
        score: (predictions, the bundle that gave them) -> metrics as JSON types. Bundle None: it
            is to be made, and its thresholds are chosen.
        fit: predictions -> what they are calibrated with, as JSON types; None: nothing.
        calibrated: (predictions, what `fit` gave) -> those of a bundle that carries that.
        windows: whether videos are cut into windows; else they are seen whole, step by step.
        unused: keys of a recipe's `optimisation` that it has no use for.
        inspected: whether files are looked at before a model is measured on them.
        trimmed: what is learnt from of an encoded sample.
        thresholds: metrics -> those of the bundle.
        as_negative: (sample labelled `NONE`) -> a sample of a video in which nothing happens of
            what is learnt; RowError where it cannot be one. None: there is no such thing.
        targets: what is right for each sample, where a linear probe can learn that.
    """

    kind: Kind
    heads: tuple[str, ...]
    read: Callable[..., DataSet]
    network: Callable[[DataSet, Recipe], dict[str, Any]] | None
    objective: Callable[[Material], Objective] | None
    predict: Callable[[Learnt, Sequence[Encoded], torch.device], Sequence[Any]]
    check: Callable[[Bundle, DataSet, Sequence[Sample]], None]
    predict_file: Callable[[Bundle, Sample, Means], Any]
    score: Callable[[Predictions, Bundle | None], dict[str, Any]]
    report: Report
    files: Files
    windows: bool = True
    unused: tuple[str, ...] = ()
    inspected: bool = False
    trimmed: Callable[[Encoded], Encoded] = lambda encoded: encoded
    thresholds: Callable[[Metrics], dict[str, float]] = lambda metrics: {}
    as_negative: Callable[[Sample], Sample] | None = None
    fit: Callable[[Predictions], dict[str, Any] | None] = lambda predictions: None
    calibrated: Callable[[Predictions, Metrics], Predictions] = lambda predictions, _: predictions
    learn: Callable[[DataSet, Sequence[Encoded], Recipe, int], Learnt] | None = None
    targets: Callable[[Material], Targets] | None = None

    @property
    def name(self) -> str:
        """Its name: one of `tasks.PURPOSES`."""
        return self.kind.name
