"""Read a data set: a folder per class, or a manifest of files with their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from vmm_cli.batch.inputs import looks_like_sound, looks_like_video
from vmm_cli.errors import DataError
from vmm_cli.spelling import composed
from vmm_cli.training.data.folders import columns_of, entries, is_folder, media_in, name_in
from vmm_cli.training.data.manifest import (
    SPLIT_NAMES,
    Cells,
    Files,
    label_problem,
    located,
    read_labels,
    samples_of,
    spaced_labels,
    splits_named,
)
from vmm_cli.training.data.rows import OPTIONAL, RATINGS, REQUIRED, read_rows, require_columns
from vmm_cli.training.data.samples import (
    NONE,
    DataSet,
    Kind,
    Problem,
    Sample,
    Split,
    label_counts,
    make_dataset,
    nothing_left,
)


def _lacking(dataset: DataSet, validated: bool) -> Iterator[str]:
    """Yield why no network can learn to tell these labels apart."""
    if len(dataset.labels) < 2:
        listed = ", ".join(map(repr, dataset.labels)) or "none"
        yield f"training needs two labels or more; there is {listed}"


def _labelled(samples: Iterable[Sample]) -> int:
    return sum(bool(sample.labels) for sample in samples)


CLASSES = Kind(
    "classes",
    unit="sample",
    counts=label_counts,
    labelled=_labelled,
    splits_named=splits_named,
    lacking=_lacking,
)


def read_classes(source: Path, *, group: str | None = None, fold: str | None = None) -> DataSet:
    """Read a folder of class folders (train, val and test above them if there are), or a manifest.

    A manifest is CSV or JSON lines, with the columns `path,label[,split,group,fold,start,end,text]`
    and paths relative to it; `|` separates the labels of one row, and JSON may have a list. A
    folder's samples are its videos, or its files of sound where no class has a video. What
    cannot be used is left out and listed in `problems`. Whether files can be read as media is not
    looked at here: see `inspection.inspect`.

    Args:
        source: the folder, or the `.csv` or `.jsonl` file.
        group: the column of groups where it is not called so.
        fold: the column of folds where it is not called so.

    Raises:
        DataError: it cannot be read, has no such columns, or has not one usable sample.
    """
    columns = columns_of(source, group=group, fold=fold)
    if is_folder(source):
        dataset = _read_folder(source)
    else:
        dataset = _read_manifest(source, columns)
    if not dataset.samples:
        raise DataError(nothing_left(source, dataset.problems))
    return dataset


# --- folders ------------------------------------------------------------------------------------


def _read_folder(source: Path) -> DataSet:
    samples, problems = _folder_samples(source, looks_like_video)
    if not samples:
        # Only then: beside videos, sound is most often a copy of theirs.
        heard, others = _folder_samples(source, looks_like_sound)
        if heard:
            kept = [problem for problem in problems if problem.kind != "empty_class"]
            samples, problems = heard, list(dict.fromkeys((*kept, *others)))
    if not samples and not problems:
        raise DataError(
            f"{source}: no folder in it holds a video or a sound; vmm trains on a folder per "
            "class, or on a manifest that names the files and their labels"
        )
    return make_dataset(source, samples, kind=CLASSES, multi_label=False, problems=problems)


def _folder_samples(
    source: Path, is_wanted: Callable[[Path], bool]
) -> tuple[list[Sample], list[Problem]]:
    """Return the samples of all class folders, of the wanted files, and what is wrong there."""
    problems: list[Problem] = []
    samples: list[Sample] = []
    raw_labels: set[str] = set()
    tops = entries(source, problems, source)
    with_splits = _has_splits(source, tops)
    for top in tops:
        split = SPLIT_NAMES.get(top.name.strip().lower()) if with_splits else None
        if with_splits and split is None:
            message = f"lies beside {', '.join(SPLIT_NAMES)} and so in no split; left out"
            problems += _unclaimed(source, top, is_wanted, "no_split", message)
        elif split is not None:
            for inner in entries(top, problems, source):
                samples += _class_samples(source, inner, split, is_wanted, raw_labels, problems)
        else:
            samples += _class_samples(source, top, None, is_wanted, raw_labels, problems)
    problems += spaced_labels(raw_labels)
    return samples, problems


def _has_splits(source: Path, tops: Sequence[Path]) -> bool:
    """Tell whether the folders are splits: a class may be called "test" as well."""
    folders = [top for top in tops if is_folder(top)]
    named = [folder for folder in folders if folder.name.strip().lower() in SPLIT_NAMES]
    return bool(named) and (
        len(named) == len(folders)
        or any(is_folder(inner) for folder in named for inner in entries(folder, [], source))
    )


def _class_samples(
    source: Path,
    folder: Path,
    split: Split | None,
    is_wanted: Callable[[Path], bool],
    raw_labels: set[str],
    problems: list[Problem],
) -> Iterator[Sample]:
    """Yield the samples of one class folder; what lies in its place and is none is a problem."""
    if not is_folder(folder):
        message = "lies in no class folder, and so has no label; left out"
        problems += _unclaimed(source, folder, is_wanted, "unlabelled", message)
        return
    label = composed(folder.name)
    if (wrong := label_problem(label)) is not None:
        problems.append(Problem("error", "label_name", name_in(source, folder), wrong))
        return
    found = False
    for path in media_in(source, folder, is_wanted, problems):
        found = True
        name = name_in(source, path)
        yield Sample(path, name, (label,), split, None, None, negative=label == NONE)
    if found:
        raw_labels.add(folder.name)
        return
    message = "this class folder holds no video and no sound"
    if next(media_in(source, folder, looks_like_sound, []), None) is not None:
        message = (
            "this class folder holds sound alone, and others hold video; name the files in a "
            "manifest to train on both"
        )
    problems.append(Problem("error", "empty_class", name_in(source, folder), message))


def _unclaimed(
    source: Path, path: Path, is_wanted: Callable[[Path], bool], kind: str, message: str
) -> Iterator[Problem]:
    for file in media_in(source, path, is_wanted, []):
        yield Problem("error", kind, name_in(source, file), message)


# --- manifests ----------------------------------------------------------------------------------


def _read_manifest(source: Path, renamed: dict[str, str]) -> DataSet:
    table = read_rows(source)
    require_columns(source, table, tuple(renamed.values()))
    columns = {name: name for name in (*REQUIRED, *OPTIONAL)} | renamed
    raw_labels: set[str] = set()
    if rated := [name for name in RATINGS if name in table.columns]:
        message = f"what {' and '.join(rated)} say is for --task valence; not looked at"
        table.problems.append(Problem("warning", "other_task", source.name, message))

    def labelled(cells: Cells, files: Files) -> Sample:
        labels = read_labels(cells, raw_labels)
        return located(cells, files, labels, negative=labels == (NONE,))

    samples = samples_of(table, columns, source.parent, labelled)
    problems = [*table.problems, *spaced_labels(raw_labels)]
    multi_label = any(len(sample.labels) > 1 for sample in samples)
    return make_dataset(source, samples, kind=CLASSES, multi_label=multi_label, problems=problems)
