"""vmm without a shell: what its commands do, for one file at a time. See docs/python.md.

Each function takes a path, gives a dataclass, and raises a VmmError. What the commands would warn
of comes as a `VmmWarning`.
"""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from vmm_cli.errors import UsageError, VmmError
from vmm_cli.operations.options import declared
from vmm_cli.operations.parse import parse_time
from vmm_cli.suggest import did_you_mean

# Each loads when it is needed: a script that asks for shots needs no torch.
if TYPE_CHECKING:
    from vmm_cli.analysis.classify import Classification
    from vmm_cli.analysis.detect_actions import Actions
    from vmm_cli.analysis.sentiment.result import Sentiment
    from vmm_cli.analysis.shots import Shot
    from vmm_cli.bundles import Bundle
    from vmm_cli.media.frames import Frame
    from vmm_cli.media.probe import MediaInfo
    from vmm_cli.media.sampling import Sampling
    from vmm_cli.media.video import Video
    from vmm_cli.operations.operation import Operation, Prepared
    from vmm_cli.training.evaluation import Evaluation

AnyPath: TypeAlias = "str | os.PathLike[str]"
# Seconds, or a text such as "1:30".
Time: TypeAlias = "float | Fraction | str"

# One worker of a training, which holds torch and the pictures of a clip.
WORKER_BYTES = 600 * 2**20


class VmmWarning(UserWarning):
    """What of a file could not be read or believed."""


# --- a file --------------------------------------------------------------------------------------


def probe(path: AnyPath) -> MediaInfo:
    """Return what a media file holds: streams, times, tags; as `vmm info`.

    Raises:
        InputError: it is missing, refused or unreadable.
    """
    return _video(path).info


def frames(
    path: AnyPath,
    *,
    every: Time | None = None,
    fps: float | Fraction | None = None,
    count: int | None = None,
    at: Sequence[Time] | None = None,
    start: Time = 0,
    end: Time | None = None,
    short_side: int | None = None,
) -> Iterator[Frame]:
    """Yield frames in time order: `time_s` in seconds, `image` uint8 [H, W, 3] RGB as shown.

    Which ones: one `every` so many seconds, `fps` a second, `count` of them evenly spaced, those
    shown `at` some times; else all. `short_side`: scaled so that it has so many pixels.

    Raises:
        UsageError: more than one of these is given, or a time cannot be read.
        InputError: the file cannot be read, or has no pictures.
    """
    from vmm_cli.media.frames import FrameRequest
    from vmm_cli.media.geometry import Size

    asked = {"every": every, "fps": fps, "count": count, "at": at}
    sampling = _sampling({name: one for name, one in asked.items() if one is not None}, start, end)
    size = None if short_side is None else Size(short=short_side)
    video = _video(path)
    _warn_of(video)
    return video.frames([FrameRequest("frames", sampling, size)])


def _sampling(asked: Mapping[str, Any], start: Time, end: Time | None) -> Sampling:
    from vmm_cli.media import sampling

    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} contradict each other; give only one of them")
    span: dict[str, Any] = {"start": _seconds("start", start)}
    if end is not None:
        span["end"] = _seconds("end", end)
    try:
        for name, value in asked.items():
            if name == "count":
                return sampling.count(value, **span)
            if name == "fps":
                return sampling.fps(Fraction(str(value)), **span)
            if name == "at":
                return sampling.at([_seconds("at", time) for time in value], **span)
            return sampling.every(_seconds(name, value), **span)
        return sampling.all(**span)
    except ValueError as error:
        raise UsageError(str(error)) from None


def shots(path: AnyPath, *, start: Time = 0, end: Time | None = None) -> list[Shot]:
    """Return the shots of a video, in order: from when to when one camera's picture is shown.

    Raises:
        InputError: the file cannot be read, or has no pictures.
    """
    from vmm_cli.analysis.shots import find_shots

    video = _video(path)
    _warn_of(video)
    last = None if end is None else _seconds("end", end)
    return find_shots(video, start=_seconds("start", start), end=last)


def _video(path: AnyPath) -> Video:
    from vmm_cli.media.video import Video

    return Video(Path(path))


def _warn_of(video: Video) -> None:
    for line in video.extent.warnings() if video.extent is not None else ():
        warnings.warn(f"{video.path}: {line}", VmmWarning, stacklevel=3)


def _seconds(name: str, time: Time) -> Fraction:
    try:
        return parse_time(time if isinstance(time, str) else str(time))
    except ValueError:
        pass
    try:  # of floats such as 1e-05, and of exact numbers
        seconds = Fraction(time)
    except (ValueError, OverflowError, ZeroDivisionError):
        raise UsageError(
            f"{name}: {time!r} is not a valid time; give seconds, or a text such as '1:30'"
        ) from None
    if seconds < 0:
        raise UsageError(f"{name}: {time!r} lies before the start of the video")
    return seconds


# --- models --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """A model that was loaded: see `load_model`."""

    bundle: Bundle

    @property
    def name(self) -> str:
        """What it is called."""
        return self.bundle.name

    @property
    def task(self) -> str:
        """What it is for: classes, segments or valence."""
        return self.bundle.task

    @property
    def labels(self) -> tuple[str, ...]:
        """What it tells apart."""
        return self.bundle.labels

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {self.task}, {len(self.labels)} labels)"

    def classify(self, path: AnyPath, **options: Any) -> Classification:
        """Return what a video shows.

        options: those of `vmm classify` by their names in Python, such as top_k, every or windows.

        Raises:
            UsageError: there is no such option, or it does not fit the model.
            ModelError: the model does not classify.
            InputError: the file cannot be read, or nothing of it is what the model looks at.
        """
        from vmm_cli.operations.classify import CLASSIFY

        return cast("Classification", _result(CLASSIFY, path, self._with(options)))

    def detect_actions(self, path: AnyPath, **options: Any) -> Actions:
        """Return what happens from when to when.

        options: those of `vmm detect-actions` by their names in Python, such as min_score.

        Raises:
            UsageError, ModelError, InputError: as `classify`.
        """
        from vmm_cli.operations.detect_actions import DETECT_ACTIONS

        return cast("Actions", _result(DETECT_ACTIONS, path, self._with(options)))

    def _with(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"model": os.fspath(self.bundle.folder), **options}


def load_model(name: AnyPath = "imagenet") -> Model:
    """Load a model by its name in `vmm models list`, or by its folder, and verify it.

    Raises:
        ModelError: it is not there, or damaged.
    """
    from vmm_cli import bundles

    return Model(bundles.load(os.fspath(name)))


def sentiment(path: AnyPath, **options: Any) -> Sentiment:
    """Return how a video feels over time.

    options: those of `vmm sentiment` by their names in Python, such as every, evidence or faces.

    Raises:
        UsageError: there is no such option, or options contradict each other.
        ModelError: a model is not there, or damaged.
        InputError: the file cannot be read.
    """
    from vmm_cli.operations.sentiment import SENTIMENT

    return cast("Sentiment", _result(SENTIMENT, path, options))


def _result(
    operation: Operation[Any, Any, Any, Any], path: AnyPath, given: Mapping[str, Any]
) -> Any:
    """Return what an operation finds out about one file, in this process."""
    from vmm_cli.batch.entry import Entry
    from vmm_cli.batch.inputs import Input
    from vmm_cli.batch.ledger import Known
    from vmm_cli.batch.work import Limits, Look, informed, prepare, run_part

    prepared = _prepared(operation.prepare, _options(operation, given))
    work = prepared.work
    input = Input(Path(path), os.fspath(path), Path(path).name)
    entry: Entry[Any] = Entry(input, None)
    look = Look(work, 1, Limits(prepared.options.max_pixels))
    entry.take(prepare(look, input, Known()))
    done = informed(input.path, entry.known, run_part, work, input, None)
    entry.gaps = done.gaps
    for line in entry.record({}).get("warnings", ()):
        warnings.warn(f"{input.name}: {line}", VmmWarning, stacklevel=4)
    return work.finish(work.job, input, [done.value])


@lru_cache(maxsize=8)
def _prepared(
    prepare: Callable[[Any], Prepared[Any, Any, Any, Any]], options: Any
) -> Prepared[Any, Any, Any, Any]:
    """Load the models for some options, and keep them for the next file."""
    return prepare(options)


def _options(operation: Operation[Any, Any, Any, Any], given: Mapping[str, Any]) -> Any:
    """Return an operation's options from Python values.

    UsageError where one is not known, or its value is none for it.
    """
    said = {one.name: option for one, option in declared(operation.options)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in said:
            hint = did_you_mean(name, said) or f"; there are {', '.join(said)}"
            raise UsageError(f"{operation.name} has no option {name!r}{hint}")
        parse = said[name].parse
        if parse is None or value is None:
            values[name] = value
            continue
        try:
            values[name] = parse(_word(value))
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from None
    return operation.options(**values)


def _word(value: Any) -> str:
    """Return a value as it would be written in a shell."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return str(value if not isinstance(value, Fraction) else float(value))
    row = io.StringIO()
    csv.writer(row).writerow(value)
    return row.getvalue().strip()


# --- training ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingRun:
    """What a training left: a folder that is a model, and how good that is."""

    folder: Path
    metrics: Mapping[str, Any]

    @property
    def model(self) -> Model:
        """The model that was trained."""
        return load_model(self.folder)

    def to_record(self) -> dict[str, Any]:
        """Return the metrics, as metrics.json has them."""
        return dict(self.metrics)

    def __repr__(self) -> str:
        return f"TrainingRun({os.fspath(self.folder)!r}, {self.metrics.get('task', 'classes')})"


@dataclass(frozen=True)
class Training:
    """How to train; see `train`.

    Attributes:
        recipe: the name of a recipe, or its file; None: that of the task.
        changes: of the recipe, such as "optimisation.epochs=20".
        name: of the model; None: that of the folder.
        seeds: how many, from `seed` on, the accuracy is measured with.
        group, folds: columns of the data; with folds each is left out in turn.
        jobs: processes that read files; None: as many as fit the machine.
    """

    task: str = "classes"
    recipe: str | None = None
    changes: tuple[str, ...] = ()
    name: str | None = None
    seed: int = 0
    seeds: int = 1
    folds: str | None = None
    group: str | None = None
    resume: bool = False
    device: str = "cpu"
    jobs: int | None = None


def train(
    data: AnyPath, folder: AnyPath, how: Training | None = None, **changed: Any
) -> TrainingRun:
    """Train a model on labelled videos, into a folder; as `vmm train`.

    Files are read in processes of their own: a script that trains needs
    `if __name__ == "__main__":`.

    how: or its fields by name.

    Raises:
        UsageError: the folder is taken, or what is wanted contradicts itself.
        DataError: there is nothing to train on.
        ModelError: an encoder's weights are not at hand.
    """
    from dataclasses import fields, replace

    from vmm_cli.batch.capacity import default_workers
    from vmm_cli.media.source import DEFAULT_MAX_PIXELS
    from vmm_cli.tasks import PURPOSES
    from vmm_cli.training import run
    from vmm_cli.training.data.inspection import inspect
    from vmm_cli.training.read_recipe import load_recipe
    from vmm_cli.training.request import Listener, TrainRequest
    from vmm_cli.training.run_folder import refuse_taken
    from vmm_cli.training.tasks.catalogue import TASKS

    names = [one.name for one in fields(Training)]
    for name in changed:
        if name not in names:
            hint = did_you_mean(name, names) or f"; there are {', '.join(names)}"
            raise UsageError(f"train has no option {name!r}{hint}")
    how = replace(how or Training(), **changed)
    if how.task not in TASKS:
        raise UsageError(f"there is no task {how.task!r}; there are {', '.join(TASKS)}")
    target = Path(folder)
    refuse_taken(target, how.resume)
    recipe = load_recipe(how.recipe or PURPOSES[how.task].recipe, list(how.changes))
    workers = how.jobs or default_workers(WORKER_BYTES)
    dataset = TASKS[how.task].read(Path(data), group=how.group, fold=how.folds)
    inspection = inspect(dataset, jobs=workers, max_pixels=DEFAULT_MAX_PIXELS)
    for problem in inspection.dataset.problems:
        warnings.warn(str(problem), VmmWarning, stacklevel=2)
    request = TrainRequest(
        folder=target,
        name=how.name or target.resolve().name,
        recipe=recipe,
        seed=how.seed,
        seeds=how.seeds,
        folds=how.folds is not None,
        resume=how.resume,
        device=how.device,
        jobs=workers,
    )
    told = Listener(on_warning=lambda text: warnings.warn(text, VmmWarning, stacklevel=2))
    return TrainingRun(target, run.train(inspection, request, told))


def evaluate(
    model: Model | AnyPath,
    data: AnyPath,
    *,
    split: str | None = None,
    group: str | None = None,
    jobs: int | None = None,
) -> Evaluation:
    """Measure a model on labelled videos; as `vmm evaluate`. See `train` for scripts.

    Raises:
        DataError: there is nothing to measure on, or its labels are not the model's.
        ModelError: the model is damaged or cannot be run.
    """
    from vmm_cli.batch.capacity import default_workers
    from vmm_cli.media.source import DEFAULT_MAX_PIXELS
    from vmm_cli.training import evaluation
    from vmm_cli.training.data.inspection import inspect
    from vmm_cli.training.encoding import Means
    from vmm_cli.training.tasks.catalogue import TASKS

    bundle = (model if isinstance(model, Model) else load_model(model)).bundle
    workers = jobs or default_workers(WORKER_BYTES)
    means = Means(workers, True, False, DEFAULT_MAX_PIXELS)
    task = TASKS[bundle.task]
    dataset = task.read(Path(data), group=group)
    if task.inspected:
        dataset = inspect(dataset, jobs=workers, max_pixels=DEFAULT_MAX_PIXELS).dataset
    for problem in dataset.problems:
        warnings.warn(str(problem), VmmWarning, stacklevel=2)
    return evaluation.evaluate(bundle, dataset, means, split=split)


__all__ = [
    "Model",
    "Training",
    "TrainingRun",
    "VmmError",
    "VmmWarning",
    "evaluate",
    "frames",
    "load_model",
    "probe",
    "sentiment",
    "shots",
    "train",
]
