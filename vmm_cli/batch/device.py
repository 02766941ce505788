"""The one process that owns a device, and the shared memory through which workers feed it.

Workers load parts into areas of that memory; the process computes on all that lie there at the
time, of whatever inputs, while others are loaded. The areas are few, so that loading waits where
computing is slower. The parent passes their numbers on and never maps them.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vmm_cli.batch.inputs import Input
from vmm_cli.batch.runner import Outcome, WorkerPool
from vmm_cli.batch.shared_memory import SharedAreas, area, attach
from vmm_cli.errors import InputError

# Importing torch, perhaps from a cold network disk, and setting the device up.
OPEN_LIMIT_S = 180.0
# For each worker an area that it fills and one that waits or is computed on.
AREAS_PER_WORKER = 2

_log = logging.getLogger(__name__)

# start(pool, function, args, limit_s, then): have a pool call a function, `then` take the outcome.
Start = Callable[
    [WorkerPool, Callable[..., Any], tuple[Any, ...], float, Callable[[Outcome], None]], object
]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `Stage.load` says: `about` what lies in the area, picklable and small.

    `rest` is what did not fit, as another part; None where all did.
    """

    about: Any
    rest: Any = None


@dataclass(frozen=True, slots=True)
class Stage:
    """Work on a part in two steps of which one process alone may do the second: it owns a device.

    All functions are at module level. In a worker: plan(request, input, workers) gives an input's
    parts in order, none where `Work.run` has its result without the device; load(request, input,
    part, area) writes what is to be computed on to `area`, at least `area_bytes` of memory.

    In the device's process: open(request) comes first and raises a VmmError where the device
    cannot be used; compute(request, items) makes of (about, area) of several parts their results,
    each as `Work.run` would give it. It must keep no reference to an area.

    `optional`: where the device cannot be used, `Work.run` does the parts in the workers; else
    that ends the run.
    """

    plan: Callable[[Any, Input, int], list[Any]]
    load: Callable[[Any, Input, Any, memoryview], Loaded]
    open: Callable[[Any], None]
    compute: Callable[[Any, list[tuple[Any, memoryview]]], Sequence[Any]]
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


class Device:
    """The parent's view of the device's process, which starts with the first item.

    A process that dies, hangs or fails is replaced, and what it worked on is tried again one by
    one: only the item that fails alone has failed.

    Raises:
        OSError: there is no shared memory to be had.
    """

    def __init__(
        self, stage: Stage, request: Any, workers: int, start: Start, lost: Callable[[str], None]
    ) -> None:
        self.areas = SharedAreas(workers * AREAS_PER_WORKER, stage.area_bytes)
        self.free = list(range(self.areas.count))  # areas that hold nothing
        self.waiting: deque[Item] = deque()
        self.pool = self._new_pool()
        self._stage = stage
        self._request = request
        self._start = start
        self._lost = lost
        self._is_open = False
        self._is_busy = False

    def close(self) -> None:
        """End the process and let go of the memory."""
        self.pool.close()
        self.areas.close()

    def feed(self) -> None:
        """Have the process work on what waits, if it is free and anything does."""
        for item in [item for item in self.waiting if not item.is_wanted()]:
            self.waiting.remove(item)
            self.free.append(item.area)
        if self._is_busy or not self.waiting:
            return
        self._is_busy = True
        if not self._is_open:
            self._start(
                self.pool, self._stage.open, (self._request,), OPEN_LIMIT_S, self._take_opening
            )
            return
        items = [self.waiting.popleft()]
        while self.waiting and not items[0].is_suspect and not self.waiting[0].is_suspect:
            items.append(self.waiting.popleft())
        self._start(
            self.pool,
            _compute,
            (self._stage, self._request, [(item.about, item.area) for item in items]),
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
            self._replace_process()
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

    def _replace_process(self) -> None:
        """Start anew, also where the process still lives: after a CUDA error it is of no use."""
        self.pool.close()
        self.pool = self._new_pool()
        self._is_open = False

    def _new_pool(self) -> WorkerPool:
        return WorkerPool(1, initializer=attach, initargs=(self.areas,))


def load_part(stage: Stage, request: Any, input: Input, part: Any, index: int) -> Loaded:
    """Load a part into an area; for workers to which the areas are attached."""
    return stage.load(request, input, part, area(index))


def _compute(stage: Stage, request: Any, items: list[tuple[Any, int]]) -> list[Any]:
    results = list(stage.compute(request, [(about, area(index)) for about, index in items]))
    if len(results) != len(items):
        raise RuntimeError(f"{len(items)} parts gave {len(results)} results")
    return results
