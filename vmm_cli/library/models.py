"""Models, and what they find in a file."""

from __future__ import annotations

import csv
import io
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
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
    from vmm_cli.bundles import Bundle
    from vmm_cli.library.files import AnyPath
    from vmm_cli.operations.action_models import Actions
    from vmm_cli.operations.operation import Operation, Prepared
    from vmm_cli.operations.sentiment_result import Sentiment


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
    from vmm_cli.batch.ledger import Known
    from vmm_cli.batch.work import Limits, Look, informed, prepare

    prepared = _prepared(operation.prepare, _options(operation, given))
    work = prepared.work
    input = Input(Path(path), os.fspath(path), Path(path).name)
    entry: Entry[Any] = Entry(input, None)
    look = Look(work, 1, Limits(prepared.options.max_pixels))
    entry.take(prepare(look, input, Known()))
    done = informed(input.path, entry.known, _results, work, input)
    entry.gaps = done.gaps
    for line in entry.record({}).get("warnings", ()):
        warn(f"{input.name}: {line}")
    return work.finish(work.job, input, done.value)


def _results(work: Work[Any, Any, Any], input: Input) -> list[Any]:
    """Return what comes of one input, on the device where the work has one."""
    stage = work.stage
    parts: deque[Any] = deque() if stage is None else deque(stage.plan(work.job, input, 1))
    if stage is None or not parts:
        return [run_part(work, input, None)]
    try:
        stage.open(work.job)
    except VmmError:
        if not stage.optional:
            raise
        return [run_part(work, input, None)]
    results: list[Any] = []
    while parts:
        area = memoryview(bytearray(stage.area_bytes))
        loaded = stage.load(work.job, input, parts.popleft(), area)
        results += stage.compute(work.job, [(loaded.about, area)])
        if loaded.rest is not None:
            parts.appendleft(loaded.rest)
    return results


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
