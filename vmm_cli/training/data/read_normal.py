"""Read videos in which all is as usual, and, to measure with, what is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace
from pathlib import Path

from vmm_cli.batch.inputs import looks_like_sound, looks_like_video
from vmm_cli.errors import DataError
from vmm_cli.spelling import composed
from vmm_cli.tasks import UNUSUAL
from vmm_cli.training.data.folders import columns_of, entries, is_folder, media_in
from vmm_cli.training.data.manifest import (
    SPLIT_NAMES,
    Cells,
    Files,
    located,
    read_labels,
    samples_of,
    splits_named,
)
from vmm_cli.training.data.read_segments import SEGMENTS, read_segments
from vmm_cli.training.data.rows import OPTIONAL, Table, read_rows, require_columns
from vmm_cli.training.data.samples import (
    DataSet,
    Kind,
    Problem,
    Sample,
    Segment,
    Split,
    label_counts,
    make_dataset,
    nothing_left,
    with_segments,
)

USUAL_LABEL = "normal"  # of rows and folders in which all is


def _lacking(dataset: DataSet, validated: bool) -> Iterator[str]:
    """Yield why nothing usual can be learnt."""
    labelled = [s for s in dataset.samples if s.split == "train" and is_unusual(s)]
    if labelled:
        yield (
            f"{len(labelled)} samples are labelled as something else than {USUAL_LABEL!r}, such as "
            f"{labelled[0].name}; --task normal learns from videos in which all is as usual, and "
            f"needs no labels: name the folder {USUAL_LABEL} alone, or give these rows the split "
            "test, to measure with"
        )


def _splits_named(source: Path, wanted: Set[str]) -> dict[str, set[str]]:
    of = SEGMENTS.splits_named if _is_annotated(source) else splits_named
    return of(source, wanted)


def _labelled(samples: Iterable[Sample]) -> int:
    return sum(bool(sample.labels) for sample in samples)


NORMAL = Kind(
    "normal",
    unit="video",
    counts=label_counts,
    labelled=_labelled,
    splits_named=_splits_named,
    lacking=_lacking,
    needs_all_labels=False,
    by_labels=False,
)


def is_unusual(sample: Sample) -> bool:
    """Tell whether a sample is unusual from begin to end."""
    return sample.segments is None and bool(sample.labels)


def read_normal(source: Path, *, group: str | None = None, fold: str | None = None) -> DataSet:
    """Read a folder of videos, a manifest or annotations: all is usual where nothing else is said.

    A folder's videos are usual, those in folders inside as well, each of which is a group; train,
    val and test may be above them. Where one of these folders is called `normal` the others hold
    what is unusual, for measuring. A manifest is CSV or JSON lines, with the columns
    `path[,label,split,group,fold,start,end,text]`: rows with the label `normal`, or without any,
    are usual, others unusual throughout. Annotations are those of `read_segments`: their actions
    are when something unusual happens, whatever they are called, but for those called `normal`. A
    table with times and labels none of which is `normal` is one of annotations.

    Args:
        source: the folder, or the `.csv`, `.jsonl` or `.json` file.
        group: the column of groups where it is not called so.
        fold: the column of folds where it is not called so.

    Raises:
        DataError: it cannot be read, or has not one usable sample.
    """
    columns = columns_of(source, group=group, fold=fold)
    if is_folder(source):
        dataset = _read_folder(source)
    else:
        if _is_annotated(source):
            return _annotated(read_segments(source, group=group, fold=fold))
        dataset = _read_manifest(source, columns)
    if not dataset.samples:
        raise DataError(nothing_left(source, dataset.problems))
    return dataset


# --- folders ------------------------------------------------------------------------------------


def _read_folder(source: Path) -> DataSet:
    problems: list[Problem] = []
    samples: list[Sample] = []
    tops = entries(source, problems, source)
    folders = [top for top in tops if is_folder(top)]
    has_splits = bool(folders) and all(
        top.name.strip().lower() in SPLIT_NAMES for top in (folders if folders == tops else tops)
    )
    if has_splits:
        for top in folders:
            split = SPLIT_NAMES[top.name.strip().lower()]
            samples += _in_folder(source, top, split, problems)
    else:
        samples += _in_folder(source, source, None, problems)
    if not samples and not problems:
        raise DataError(f"{source}: no video and no sound is in it, nor in a folder in it")
    return make_dataset(source, samples, kind=NORMAL, multi_label=False, problems=problems)


def _in_folder(
    source: Path, folder: Path, split: Split | None, problems: list[Problem]
) -> list[Sample]:
    """Return the samples below a folder; those of a folder inside are a group."""
    inside = entries(folder, problems, source)
    folders = [one for one in inside if is_folder(one)]
    named = {composed(one.name).lower() for one in folders}
    labelled = USUAL_LABEL in named and len(named) > 1
    wanted = looks_like_video
    if not any(next(media_in(source, one, wanted, []), None) for one in inside):
        wanted = looks_like_sound
    samples = []
    for one in inside:
        group = one.relative_to(source).as_posix() if one in folders else None
        usual = not labelled or composed(one.name).lower() == USUAL_LABEL
        for path in media_in(source, one, wanted, problems):
            name = path.relative_to(source).as_posix()
            samples.append(
                _sample(
                    Sample(path, name, (UNUSUAL,), split, None if labelled else group, None), usual
                )
            )
    if len(folders) > 1 and not labelled and split is None:
        listed = ", ".join(one.name for one in folders[:3]) + (", ..." if folders[3:] else "")
        message = (
            f"its {len(folders)} folders ({listed}) are taken as groups, such as cameras or days, "
            "and not as labels: all that is in them counts as usual"
        )
        problems.append(Problem("warning", "folders", source.name, message))
    return samples


def _sample(sample: Sample, usual: bool) -> Sample:
    """Return a sample as one in which all is usual, or nothing."""
    return replace(sample, labels=(), segments=()) if usual else replace(sample, labels=(UNUSUAL,))


# --- manifests ----------------------------------------------------------------------------------


def _is_annotated(source: Path) -> bool:
    """Tell whether a file has actions with times, and not samples that are called `normal`."""
    if source.suffix.lower() == ".json":
        return True
    table = read_rows(source, ("path",))
    if not {"start", "end", "label"} <= table.columns.keys():
        return False
    labels = [str(row.cells.get("label", "")).strip().lower() for row in table.rows]
    return USUAL_LABEL not in labels and any(labels)


def _read_manifest(source: Path, renamed: dict[str, str]) -> DataSet:
    table = read_rows(source, ("path",))
    require_columns(source, table, tuple(renamed.values()))
    columns = {name: name for name in ("path", "label", *OPTIONAL)} | renamed

    def labelled(cells: Cells, files: Files) -> Sample:
        labels = () if cells.raw("label") is None else read_labels(cells, set())
        usual = not labels or [label.lower() for label in labels] == [USUAL_LABEL]
        return _sample(located(cells, files, (UNUSUAL,)), usual)

    samples = samples_of(table, columns, source.parent, labelled)
    _refuse_labels(source, table, samples)
    problems = [*table.problems]
    return make_dataset(source, samples, kind=NORMAL, multi_label=False, problems=problems)


def _refuse_labels(source: Path, table: Table, samples: Sequence[Sample]) -> None:
    """Raise DataError where rows have labels, and nothing says which is the usual one."""
    if samples and all(map(is_unusual, samples)):
        raise DataError(
            f"{source}: has labels, and none is {USUAL_LABEL!r}; --task normal learns from videos "
            f"in which all is as usual: leave the column 'label' out, or call them {USUAL_LABEL!r}"
        )


def _annotated(dataset: DataSet) -> DataSet:
    """Return annotations as a data set of what is unusual."""
    samples = []
    for sample in dataset.samples:
        spans = {
            (one.start_s, one.end_s)
            for one in sample.segments or ()
            if one.label.lower() != USUAL_LABEL
        }
        samples.append(with_segments(sample, (Segment(*span, UNUSUAL) for span in spans)))
    kept = [problem for problem in dataset.problems if problem.kind not in _OF_LABELS]
    return make_dataset(dataset.source, samples, kind=NORMAL, multi_label=False, problems=kept)


# What is said of the labels of actions, which are all one here.
_OF_LABELS = {"label_case", "one_sample", "unseen_in_train", "nothing_annotated", "no_group"}
_OF_LABELS |= {"group_across_splits"}  # said again of what is made
