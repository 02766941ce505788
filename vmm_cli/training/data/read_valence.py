"""Read a data set for valence: a manifest of files with a valence, an emotion or both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from vmm_cli.errors import DataError
from vmm_cli.spelling import column_name
from vmm_cli.training.data.manifest import (
    Cells,
    Files,
    RowError,
    label_problem,
    located,
    require_file,
    samples_of,
    spaced_labels,
    splits_named,
)
from vmm_cli.training.data.rows import OPTIONAL, RATINGS, READERS, Table, read_rows, require_columns
from vmm_cli.training.data.samples import (
    DataSet,
    Kind,
    Problem,
    Sample,
    label_counts,
    make_dataset,
    nothing_left,
)

FORM = (
    "vmm reads .csv and .jsonl with the columns "
    f"path,{','.join(RATINGS)}[,{','.join(OPTIONAL)}]; one of valence and emotion is enough"
)


def _lacking(dataset: DataSet, validated: bool) -> Iterator[str]:
    """Yield why no network can learn from these ratings."""
    train = [sample for sample in dataset.samples if sample.split == "train"]
    valences = {sample.valence for sample in train} - {None}
    emotions = {label for sample in train for label in sample.labels}
    if len(valences) < 2 and len(emotions) < 2:
        yield "training needs two emotions or more, or valences that are not all alike"
    held_out = [sample for sample in dataset.samples if sample.split == "val"]
    if validated and held_out:
        rated = valences and any(sample.valence is not None for sample in held_out)
        named = emotions and any(sample.labels for sample in held_out)
        if not (rated or named):
            yield "no sample for validation has what those in train have: a valence, or an emotion"


def _labelled(samples: Iterable[Sample]) -> int:
    return sum(bool(sample.labels) for sample in samples)


VALENCE = Kind(
    "valence",
    unit="sample",
    counts=label_counts,
    labelled=_labelled,
    splits_named=splits_named,
    lacking=_lacking,
)


def read_valence(source: Path, *, group: str | None = None, fold: str | None = None) -> DataSet:
    """Read how pleasant clips are and which emotion they show: one sample a row.

    A manifest is CSV or JSON lines, with the columns
    `path,valence,emotion[,split,group,fold,start,end,text]`, one of valence and emotion at least. A
    valence is a number from -1 to 1, an emotion one word of the data's own. A row may lack one of
    them. What cannot be used is left out and listed in `problems`. Whether files can be read as
    media is not looked at here: see `inspection.inspect`.

    Args:
        source: the `.csv` or `.jsonl` file.
        group: the column of groups where it is not called so.
        fold: the column of folds where it is not called so.

    Raises:
        DataError: it cannot be read, has no such columns, or has not one usable sample.
    """
    try:
        require_file(source, str(source))
    except RowError as error:
        raise DataError(f"the ratings {error}; give a file: {FORM}") from None
    if source.suffix.lower() not in READERS:
        raise DataError(f"{source}: is no manifest; {FORM}")
    table = read_rows(source, ("path",))
    _require_ratings(source, table)
    given = {"group": group, "fold": fold}
    renamed = {name: column_name(column) for name, column in given.items() if column}
    require_columns(source, table, tuple(renamed.values()))
    columns = {name: name for name in ("path", *RATINGS, *OPTIONAL)} | renamed
    if "label" in table.columns:
        wanted = "" if "emotion" in table.columns else "; call it 'emotion' where it names emotions"
        message = f"the column 'label' is for other tasks and not looked at{wanted}"
        table.problems.append(Problem("warning", "other_task", source.name, message))
    raw_emotions: set[str] = set()
    samples = samples_of(
        table, columns, source.parent, lambda cells, files: _sample(cells, files, raw_emotions)
    )
    problems = [*table.problems, *spaced_labels(raw_emotions)]
    if not samples:
        raise DataError(nothing_left(source, problems))
    return make_dataset(source, samples, kind=VALENCE, multi_label=False, problems=problems)


def _require_ratings(source: Path, table: Table) -> None:
    """Raise DataError where there is neither a column of valence nor one of emotions."""
    if any(name in table.columns for name in RATINGS):
        return
    if "label" in table.columns:
        raise DataError(
            f"{source}: has no column 'valence' and no column 'emotion', but 'label': call that "
            "'emotion' where it names emotions; a model of other labels is trained and measured "
            "without valence"
        )
    found = ", ".join(table.columns) or "none"
    raise DataError(
        f"{source}: has no column 'valence' and no column 'emotion'; found: {found}; {FORM}"
    )


def _sample(cells: Cells, files: Files, raw_emotions: set[str]) -> Sample:
    """Return the sample of a row; RowError where it cannot be used."""
    valence, emotion = _valence(cells), cells.name("emotion")
    if valence is None and emotion is None:
        raise RowError("unlabelled", "has neither a valence nor an emotion")
    if emotion is None:
        return located(cells, files, (), valence=valence)
    if (wrong := label_problem(emotion)) is not None:
        raise RowError("label_name", wrong)
    raw_emotions.add(str(cells.raw("emotion")))
    return located(cells, files, (emotion,), valence=valence)


def _valence(cells: Cells) -> float | None:
    """Return a row's valence; None where the cell is empty."""
    cell = cells.raw("valence")
    if cell is None:
        return None
    try:
        if isinstance(cell, bool) or not isinstance(cell, str | int | float):
            raise ValueError
        valence = float(cell)
        if not -1 <= valence <= 1:  # no number is not either
            raise ValueError
    except (ValueError, OverflowError):
        raise RowError(
            "valence",
            f"its valence {cell!r} is not a number from -1 (unpleasant) to 1 (pleasant); divide "
            "ratings from -3 to 3 by 3",
        ) from None
    return valence
