"""Work in two steps: workers load, one process that owns a device computes.

Workers load parts into areas of shared memory; the process computes on all that lie there at the
time, of whatever inputs, while others are loaded. The areas are few, so that loading waits where
computing is slower. The parent passes their numbers on and never maps them.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vmm_cli.batch.executor import DeviceProcess, Outcome
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.shared_memory import area
from vmm_cli.errors import InputError

Job = TypeVar("Job")  # what is wanted of every input
Part = TypeVar("Part")  # what an input may be split into
Result = TypeVar("Result")  # what comes of a part

# Importing torch, perhaps from a cold network disk, and setting the device up.
OPEN_LIMIT_S = 180.0

_log = logging.getLogger(__name__)

# start(function, args, limit_s, then): have the device's process call a function, `then` take the
# outcome.
Start = Callable[[Callable[..., object], tuple[Any, ...], float, Callable[[Outcome], None]], object]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `Stage.load` says: `about` what lies in the area, picklable and small.

    `rest` is what did not fit, as another part; None where all did.
    """

    about: Any
    rest: Any = None


@dataclass(frozen=True, slots=True)
class Stage(Generic[Job, Part, Result]):
    """Work on a part in two steps of which one process alone may do the second: it owns a device.

    All functions are at module level. In a worker: plan(job, input, workers) gives an input's
    parts in order, none where `Work.run` has its result without the device; load(job, input,
    part, area) writes what is to be computed on to `area`, at least `area_bytes` of memory.

    In the device's process: open(job) comes first and raises a VmmError where the device
    cannot be used; compute(job, items) makes of (about, area) of several parts their results,
    each as `Work.run` would give it. It must keep no reference to an area.

    `optional`: where the device cannot be used, `Work.run` does the parts in the workers; else
    that ends the run.
    """

    plan: Callable[[Job, Input, int], Sequence[Part]]
    load: Callable[[Job, Input, Part, memoryview], Loaded]
    open: Callable[[Job], None]
    compute: Callable[[Job, list[tuple[Any, memoryview]]], Sequence[Result]]
    area_bytes: int
    optional: bool = False


@dataclass(slots=True, eq=False)
class Item:
    """A loaded part; settle(value, error) takes its result, or why there is none."""

    area: int
    about: Any
    limit_s: float
    is_wanted: Callable[[], bool]
    settle: Callable[[Any, InputError | None], None]
    run_without: Callable[[], None]
    is_suspect: bool = False  # computing failed on it and others together


class Device(Generic[Job, Part, Result]):
    """The parent's view of the device's process, which starts with the first item.

    A process that dies, hangs or fails is replaced, and what it worked on is tried again one by
    one: only the item that fails alone has failed.
    """

    def __init__(
        self,
        stage: Stage[Job, Part, Result],
        job: Job,
        process: DeviceProcess,
        start: Start,
        lost: Callable[[str], None],
    ) -> None:
        self.free = list(range(process.areas))  # areas that hold nothing
        self.waiting: deque[Item] = deque()
        self._process = process
        self._stage = stage
        self._job = job
        self._start = start
        self._lost = lost
        self._is_open = False
        self._is_busy = False

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def feed(self) -> None:
        """Have the process work on what waits, if it is free and anything does."""
        for item in [item for item in self.waiting if not item.is_wanted()]:
            self.waiting.remove(item)
            self.free.append(item.area)
        if self._is_busy or not self.waiting:
            return
        self._is_busy = True
        if not self._is_open:
            self._start(self._stage.open, (self._job,), OPEN_LIMIT_S, self._take_opening)
            return
        items = [self.waiting.popleft()]
        while self.waiting and not items[0].is_suspect and not self.waiting[0].is_suspect:
            items.append(self.waiting.popleft())
        self._start(
            _compute,
            (self._stage, self._job, [(item.about, item.area) for item in items]),
            max(item.limit_s for item in items),
            lambda outcome: self._take_results(items, outcome),
        )

    def _take_opening(self, outcome: Outcome) -> None:
        self._is_busy = False
        if outcome.error is None:
            self._is_open = True
        elif outcome.error.code in ("timeout", "crashed", "memory", "internal"):
            self._lost(f"the device's process failed as it started: {outcome.error.message}")
        else:
            self._lost(outcome.error.message)

    def _take_results(self, items: list[Item], outcome: Outcome) -> None:
        self._is_busy = False
        if outcome.error is not None:
            self._process.renew()
            self._is_open = False
            if len(items) > 1 or not items[0].is_suspect:
                _log.warning(
                    "the device's process failed (%s); trying again, one by one", outcome.error
                )
                for item in items:
                    item.is_suspect = True
                self.waiting.extendleft(reversed(items))
                return
        self.free.extend(item.area for item in items)
        results = [None] * len(items) if outcome.error else outcome.value
        assert isinstance(results, list)
        for item, result in zip(items, results, strict=True):
            if item.is_wanted():
                item.settle(result, outcome.error)


def load_part(
    stage: Stage[Job, Part, Result], job: Job, input: Input, part: Part, index: int
) -> Loaded:
    """Load a part into an area; for workers to which the areas are attached."""
    return stage.load(job, input, part, area(index))


def _compute(
    stage: Stage[Job, Part, Result], job: Job, items: list[tuple[Any, int]]
) -> list[Result]:
    results = list(stage.compute(job, [(about, area(index)) for about, index in items]))
    if len(results) != len(items):
        raise RuntimeError(f"{len(items)} parts gave {len(results)} results")
    return results
