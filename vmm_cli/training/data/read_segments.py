"""Read timed annotations: ActivityNet's JSON, or a table with a row for each action."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path

from vmm_cli.batch.inputs import looks_like_video
from vmm_cli.errors import DataError
from vmm_cli.spelling import column_name
from vmm_cli.training.data.manifest import (
    SPLIT_NAMES,
    Cells,
    Files,
    RowError,
    read_labels,
    require_file,
    spaced_labels,
    split_names,
)
from vmm_cli.training.data.rows import (
    READERS,
    Row,
    Table,
    is_empty,
    read_rows,
    read_text,
    require_columns,
)
from vmm_cli.training.data.samples import (
    NONE,
    DataSet,
    Kind,
    Problem,
    Problems,
    Sample,
    Segment,
    in_order,
    labels_of,
    make_dataset,
    nothing_left,
    segment_counts,
)

COLUMNS = ("path", "start", "end", "label")
FORMS = (
    "vmm reads .json as ActivityNet writes it, and .csv and .jsonl with the columns "
    f"{','.join(COLUMNS)}[,split,group,fold]"
)
JSON_FORM = (
    '{"database": {"ID": {"file": "a.mp4", "subset": "training", '
    '"annotations": [{"label": "walk", "segment": [1.5, 4.0]}]}}}'
)

# What is wrong with a video is wrong in many of its rows: they are counted, not listed.
_OF_THE_VIDEO = {"missing", "unreadable", "split", "group", "fold"}
# Errors for which one action is left out. Its video is not, or that is told besides.
_OF_AN_ACTION = {"times", "label", "label_name", "unlabelled", "split", "group", "fold"}


def _lacking(dataset: DataSet, validated: bool) -> Iterator[str]:
    """Yield why no network can learn when these actions happen."""
    if not dataset.labels:
        yield "no action is annotated in any video"
        return
    held_out = [sample for sample in dataset.samples if sample.split == "val"]
    if validated and held_out and not any(sample.labels for sample in held_out):
        yield "no sample for validation has an action; annotate more videos that have some"


def _splits_named(source: Path, wanted: Set[str]) -> dict[str, set[str]]:
    """Return which splits wanted rows, and videos by their names, name in any of their rows."""
    videos: defaultdict[str, set[str]] = defaultdict(set)
    video_of: dict[str, str] = {}
    for row in read_table(source).rows:
        name = str(row.cells.get("path", "")).strip()
        videos[name] |= split_names(row)
        if row.where in wanted:
            video_of[row.where] = name
    return {where: videos[name] for where, name in video_of.items()} | videos


def _labelled(samples: Iterable[Sample]) -> int:
    return segment_counts(samples).total()


SEGMENTS = Kind(
    "segments",
    unit="action",
    counts=segment_counts,
    labelled=_labelled,
    splits_named=_splits_named,
    lacking=_lacking,
    # An action is told from what is not it: one that was never seen costs no other.
    needs_all_labels=False,
    errors_of_parts=frozenset(_OF_AN_ACTION),
)


def read_segments(source: Path, *, group: str | None = None, fold: str | None = None) -> DataSet:
    """Read which actions happen when in videos: one sample a video, with its segments.

    ActivityNet's JSON is `{"database": {ID: {"file", "subset", "group", "fold", "annotations":
    [{"label", "segment": [start, end]}]}}}`; CSV and JSON lines have the columns
    `path,start,end,label[,split,group,fold]`, a row for each action, `|` between labels of the same
    time. Times are seconds on the file's clock; files are named relative to the source. Actions may
    overlap. A video in which nothing happens has the annotations `[]`, or a row with its path
    alone; the label "none of these" without times says so of negatives (see `Sample.negative`). One
    none of whose actions can be used is left out, as nothing is known of it. What
    cannot be used is listed in `problems`, and so are videos beside the annotated ones that
    nothing names. Whether times lie inside the videos is not looked at here: see
    `inspection.inspect`.

    Args:
        source: the `.json`, `.csv` or `.jsonl` file.
        group: the column, or the key of an entry, with the groups where it is not called so.
        fold: the same for folds.

    Raises:
        DataError: it cannot be read, does not have that form, or has not one usable video.
    """
    try:
        require_file(source, str(source))
    except RowError as error:
        raise DataError(f"the annotations {error}; give a file: {FORMS}") from None
    table = read_table(source)
    given = {"group": group, "fold": fold}
    renamed = {name: column_name(column) for name, column in given.items() if column}
    require_columns(source, table, tuple(renamed.values()))
    columns = {name: name for name in (*COLUMNS, "split", "group", "fold")} | renamed
    joined = _Joined(source.parent)
    for row in table.rows:
        joined.add(row.where, Cells(row, columns))
    samples = list(joined.samples())
    problems = [
        *table.problems,
        *joined.problems,
        *spaced_labels(joined.raw_labels),
        *_not_annotated(joined),
    ]
    if not samples:
        raise DataError(nothing_left(source, problems))
    return make_dataset(source, samples, kind=SEGMENTS, multi_label=True, problems=problems)


# --- videos from rows ---------------------------------------------------------------------------


@dataclass
class _Video:
    """What the rows of one file say.

    Attributes:
        told: split, group and fold, and the row that said so first.
        segments: and the row of each.
        lost: how many rows told of actions that cannot be used.
        nothing: the row that says that nothing happens in it, by the label `NONE`.
    """

    path: Path
    name: str
    where: str
    told: dict[str, tuple[str, str]] = field(default_factory=dict)
    segments: dict[Segment, str] = field(default_factory=dict)
    lost: int = 0
    nothing: str | None = None

    def tell(self, where: str, cells: Cells) -> None:
        """Add a row's split, group and fold; RowError where another row says otherwise."""
        for name, value in (
            ("split", cells.split()),
            ("group", cells.name("group")),
            ("fold", cells.name("fold")),
        ):
            if value is not None:
                known, first = self.told.setdefault(name, (value, where))
                if known != value:
                    message = f"gives {self.name!r} the {name} {value!r}, {first} gives {known!r}"
                    raise RowError(name, message)

    def said(self, name: str) -> str | None:
        return self.told.get(name, (None,))[0]


class _Joined:
    """The videos that rows name, by real path, and what was wrong with those rows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems = Problems()
        self.videos: dict[str, _Video] = {}
        self.raw_labels: set[str] = set()
        self._files = Files(folder)

    def add(self, where: str, cells: Cells) -> None:
        """Add what one row says."""
        name = video = None
        try:
            name = cells.text("path")
            if name is None:
                raise RowError("missing", "names no path")
            path = self._files.path(name)
            real = self._files.real(path)
            video = self.videos.get(real)
            if video is None:
                video = self.videos[real] = _Video(path, name, where)
            video.tell(where, cells)
            self._add_segments(video, where, cells)
        except RowError as error:
            if video is not None:
                video.lost += 1
            of_the_video = name is not None and error.kind in _OF_THE_VIDEO
            problem = Problem("error", error.kind, where, f"{error}; left out")
            self.problems.append(problem, same=(name, str(error)) if of_the_video else None)

    def _add_segments(self, video: _Video, where: str, cells: Cells) -> None:
        times = [cells.raw(name) for name in ("start", "end")]
        if cells.raw("label") is None and times == [None, None]:
            return
        if cells.raw("label") is not None and read_labels(cells, self.raw_labels) == (NONE,):
            if times != [None, None]:
                message = f"{NONE!r} is said of whole videos; leave its start and end empty"
                raise RowError("times", message)
            video.nothing = where
            return
        for segment in _segments(cells, self.raw_labels):
            first = video.segments.setdefault(segment, where)
            if first != where:
                message = f"repeats {first}: {segment.label!r} in {video.name!r}; left out"
                self.problems.append(Problem("warning", "duplicate", where, message))

    def samples(self) -> Iterator[Sample]:
        """Yield a sample for each video of which something is known."""
        for video in self.videos.values():
            if video.lost and not video.segments:
                message = f"of {video.name!r} no action can be used; the video is left out"
                self.problems.append(Problem("error", "no_segment", video.where, message))
                continue
            if video.nothing and video.segments:
                first = next(iter(video.segments.values()))
                message = f"{video.name!r} is {NONE!r} here, and {first} says what happens in it"
                message += "; the video is left out"
                self.problems.append(Problem("error", "contradiction", video.nothing, message))
                continue
            split = video.said("split")
            segments = tuple(in_order(video.segments))
            yield Sample(
                path=video.path,
                name=video.name,
                labels=labels_of(segments),
                split=None if split is None else SPLIT_NAMES[split],
                group=video.said("group"),
                fold=video.said("fold"),
                segments=segments,
                negative=video.nothing is not None,
            )


def _segments(cells: Cells, raw_labels: set[str]) -> list[Segment]:
    """Return the actions of a row, one for each of its labels."""
    labels = read_labels(cells, raw_labels)
    start_s, end_s = cells.seconds("start"), cells.seconds("end")
    if start_s is None or end_s is None:
        raise RowError("times", f"has no {'start' if start_s is None else 'end'}")
    if end_s <= start_s:
        raise RowError("times", f"its end {end_s:g} is not after its start {start_s:g}")
    return [Segment(start_s, end_s, label) for label in labels]


def _not_annotated(joined: _Joined) -> Iterator[Problem]:
    """Yield a warning where videos lie beside the annotated ones and nothing names them."""
    others = []
    for folder in dict.fromkeys(video.path.parent for video in joined.videos.values()):
        try:
            entries = sorted(folder.iterdir())
        except OSError:  # files can be opened in a folder that cannot be listed
            continue
        others += [
            path
            for path in entries
            if not path.name.startswith(".")
            and os.path.realpath(path) not in joined.videos
            and path.is_file()
            and looks_like_video(path)
        ]
    if others:
        count = "1 video" if len(others) == 1 else f"{len(others)} videos"
        message = f"{count} beside the annotated ones without annotations, this one first; not used"
        where = os.path.relpath(others[0], joined.folder)
        yield Problem("warning", "not_annotated", where, message)


# --- tables from files --------------------------------------------------------------------------


def read_table(source: Path) -> Table:
    """Return annotations as rows, one for each action and for each video without any.

    Raises:
        DataError: it cannot be read, or does not have one of the forms.
    """
    suffix = source.suffix.lower()
    if suffix == ".json":
        return _read_activitynet(source)
    if suffix not in READERS:
        raise DataError(f"{source}: holds no annotations; {FORMS}")
    table = read_rows(source)
    try:
        require_columns(source, table, COLUMNS)
    except DataError as error:
        raise DataError(
            f"{error}; labels without times are for classes, and not for segments"
        ) from None
    return table


def _read_activitynet(source: Path) -> Table:
    """Return the annotations as rows of a table, as if they were CSV."""
    repeated: set[str] = set()

    def pairs(found: list[tuple[str, object]]) -> dict[str, object]:
        counts = Counter(key for key, _ in found)
        repeated.update(key for key, n in counts.items() if n > 1)
        return dict(found)

    try:
        document = json.loads(read_text(source), object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DataError(f"{source}: is not readable as JSON: {reason}") from None
    database = document.get("database") if isinstance(document, dict) else None
    if not isinstance(database, dict):
        raise DataError(f'{source}: has no "database"; annotations look like {JSON_FORM}')
    table = Table()
    for entry in database.values():
        if isinstance(entry, dict):
            table.columns |= dict.fromkeys(column_name(key) for key in entry)

    def rows() -> Iterator[Row]:
        for name, entry in database.items():
            where = f"{source.name}[{name}]"
            try:
                yield from _rows_of_entry(source, where, entry, table)
            except RowError as error:
                table.problems.append(Problem("error", error.kind, where, f"{error}; left out"))
            if name in repeated:
                message = "is there more than once; only the last one counts"
                table.problems.append(Problem("error", "duplicate", where, message))

    table.rows = rows()
    return table


def _rows_of_entry(source: Path, where: str, entry: object, table: Table) -> Iterator[Row]:
    """Yield a row for each annotation of a video, one for a video without any."""
    if not isinstance(entry, dict):
        raise RowError("json", "is no JSON object")
    cells = {column_name(key): value for key, value in entry.items()}
    annotations = cells.pop("annotations", None)
    if not isinstance(annotations, list):
        hint = "[] says that nothing happens in the video"
        raise RowError("no_segment", f'has no list "annotations"; {hint}')
    file = cells.pop("file", None)
    if is_empty(file):
        raise RowError("missing", f'names no file; add "file": its path from {source.parent}/')
    common = {key: value for key, value in cells.items() if key not in COLUMNS}
    common |= {"path": file, "split": cells.get("subset", cells.get("split"))}
    common = {key: value for key, value in common.items() if not is_empty(value)}
    if not annotations:
        yield Row(where, common)
        return
    found = False
    for number, annotation in enumerate(annotations, start=1):
        place = f"{where} annotation {number}"
        match annotation:
            case {"segment": [start, end]}:
                timed = {"label": annotation.get("label"), "start": start, "end": end}
                timed = {key: value for key, value in timed.items() if not is_empty(value)}
                found = True
                yield Row(place, common | timed)
            case _:
                message = 'has no "segment": [start, end] in seconds; left out'
                table.problems.append(Problem("error", "times", place, message))
    if not found:
        raise RowError("no_segment", "has no annotation that can be used")
