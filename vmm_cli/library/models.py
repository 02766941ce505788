"""Models, and what they find in a file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vmm_cli.batch.inputs import Input
from vmm_cli.batch.work import Work, run_part
from vmm_cli.errors import UsageError, VmmError
from vmm_cli.library.warned import warn
from vmm_cli.operations.options import declared
from vmm_cli.suggest import did_you_mean

# Each loads when it is needed.
if TYPE_CHECKING:
    from vmm_cli.analysis.labels import Classification
    from vmm_cli.analysis.objects import ObjectsFound
    from vmm_cli.bundles import Bundle
    from vmm_cli.library.files import AnyPath
    from vmm_cli.operations.action_models import Actions
    from vmm_cli.operations.operation import Operation, Prepared
    from vmm_cli.operations.sentiment_result import Sentiment
    from vmm_cli.operations.transcribe import Transcription


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
        """What it is for, such as classes, segments, valence or objects."""
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

        return cast("Classification", self._result(CLASSIFY, path, options))

    def detect_actions(self, path: AnyPath, **options: Any) -> Actions:
        """Return what happens from when to when.

        options: those of `vmm detect-actions` by their names in Python, such as min_score.

        Raises:
            UsageError, ModelError, InputError: as `classify`.
        """
        from vmm_cli.operations.detect_actions import DETECT_ACTIONS

        return cast("Actions", self._result(DETECT_ACTIONS, path, options))

    def detect_objects(self, path: AnyPath, **options: Any) -> ObjectsFound:
        """Return what people and things there are, where and when.

        options: those of `vmm detect-objects` by their names in Python, such as every, labels or
        pose.

        Raises:
            UsageError, ModelError, InputError: as `classify`.
        """
        from vmm_cli.operations.detect_objects import DETECT_OBJECTS

        return cast("ObjectsFound", self._result(DETECT_OBJECTS, path, options))

    def _result(
        self, operation: Operation[Any, Any, Any, Any], path: AnyPath, options: Mapping[str, Any]
    ) -> Any:
        if "model" in options:
            raise UsageError("another model is another `load_model`")
        own = {**options, "model": os.fspath(self.bundle.folder)}
        return _result(operation, path, own, self.bundle.digest)


def load_model(name: AnyPath = "tags") -> Model:
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


def transcribe(path: AnyPath, **options: Any) -> Transcription:
    """Return what is said in a file of video or sound, and when.

    options: those of `vmm transcribe` by their names in Python: model, language, start and end.

    Raises:
        UsageError: there is no such option, or options contradict each other.
        ModelError: the extra `speech` is not installed, or a recogniser not there, or damaged.
        InputError: the file cannot be read, or has no sound.
    """
    from vmm_cli.operations.transcribe import TRANSCRIBE

    return cast("Transcription", _result(TRANSCRIBE, path, options))


def _result(
    operation: Operation[Any, Any, Any, Any],
    path: AnyPath,
    given: Mapping[str, Any],
    digest: str = "",
) -> Any:
    """Return what an operation finds out about one file, in this process.

    digest: of the model, so that one that was trained again in its place is another.
    """
    from vmm_cli.batch.entry import Entry
    from vmm_cli.batch.ledger import Known
    from vmm_cli.batch.work import Limits, Look, informed, prepare

    prepared = _prepared(operation.prepare, _options(operation, given), digest)
    work = prepared.work
    input = Input(Path(path), os.fspath(path), Path(path).name)
    entry: Entry[Any] = Entry(input, None)
    look = Look(work, 1, Limits(prepared.options.max_pixels))
    entry.take(prepare(look, input, Known()))
    done = informed(input.path, entry.known, _result_of, work, input)
    entry.gaps = done.gaps
    found = work.finish(work.job, input, [done.value])
    for line in entry.record(found.to_record()).get("warnings", ()):
        warn(f"{input.name}: {line}")
    return found


def _result_of(work: Work[Any, Any, Any], input: Input) -> Any:
    """Return what comes of one input, on the work's device where it has one that can be used."""
    device = work.device
    if device is None:
        return run_part(work, input, None)
    from vmm_cli.batch.device_client import computing_on

    try:
        device.open(device.name)
    except VmmError as error:
        if not device.optional:
            raise
        warn(f"{error}; going on without it")
        return run_part(work, input, None)
    with computing_on(device.name):
        return run_part(work, input, None)


@lru_cache(maxsize=8)
def _prepared(
    prepare: Callable[[Any], Prepared[Any, Any, Any, Any]], options: Any, digest: str
) -> Prepared[Any, Any, Any, Any]:
    """Load the models for some options, and keep them for the next file."""
    prepared = prepare(options)
    for line in (*prepared.remarks, *prepared.warnings):
        warn(line)
    return prepared


def _options(operation: Operation[Any, Any, Any, Any], given: Mapping[str, Any]) -> Any:
    """Return an operation's options from Python values.

    UsageError where one is not known, or its value is none for it.
    """
    choices = {one.name: option for one, option in declared(operation.options) if not option.writes}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in choices:
            hint = did_you_mean(name, choices) or f"; there are {', '.join(choices)}"
            raise UsageError(f"{operation.name} has no option {name!r}{hint}")
        parse = choices[name].parse
        if value is None:  # as if it had not been given
            continue
        if parse is None or isinstance(value, Fraction):
            values[name] = value
            continue
        try:
            values[name] = parse(_word(value))
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from None
    return operation.options(**values)


def _word(value: Any) -> str:
    """Return a value as it would be written in a shell."""
    if isinstance(value, float) and isfinite(value):
        return f"{Decimal(repr(value)):f}"  # 1e-05 in digits
    if isinstance(value, str) or not isinstance(value, Sequence):
        return str(value)
    row = io.StringIO()
    csv.writer(row).writerow(value)
    return row.getvalue().strip()
