"""What a worker tells its parent while it works: how far it is, and that it is only loading.

Whatever goes through a video calls this, the worker's side of the pool listens. Where nobody does,
as in a process of the user's own, it does nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

# More often nobody reads it; a call in between costs a tenth of a microsecond.
INTERVAL_S = 0.5

Watch = Callable[[float], None]


class Stand(NamedTuple):
    """How far a task is: which share of it is done, and which seconds of a video it goes over."""

    share: float
    first_s: float
    last_s: float


class Listener(Protocol):
    """Who wants to know."""

    def went(self, stand: Stand) -> None:
        """Hear how far the task is, at most each `INTERVAL_S`."""

    def load(self) -> None:
        """Hear that the task begins to load what later ones find loaded."""

    def loaded(self, seconds: float) -> None:
        """Hear that it has, and how long that took."""


class _Task:
    """The task that is under way: how many times it goes over its video, and how far it is."""

    def __init__(self) -> None:
        self.rounds = 1
        self.begun = 0
        self.whole: tuple[float, float] | None = None
        self.share = 0.0
        self.due = 0.0
        self.loading = 0


_listener: Listener | None = None
_task = _Task()


def listen(listener: Listener | None) -> None:
    """Have `listener` hear of what comes from now on; it is another task's."""
    global _listener, _task
    _listener, _task = listener, _Task()


def rounds(number: int) -> None:
    """Say that this task goes `number` times over its video, where that is more than once."""
    _task.rounds = number


@contextmanager
def over(first_s: float, last_s: float) -> Iterator[Watch]:
    """Go over the seconds from `first_s` to `last_s` once, however often parts of it are read.

    What `watch` is called with inside counts towards this span.
    """
    task = _task
    watch = begin(first_s, last_s)
    before, task.whole = task.whole, task.whole or (first_s, last_s)
    try:
        yield watch
    finally:
        task.whole = before


def begin(first_s: float, last_s: float | None) -> Watch:
    """Begin to go over the seconds from `first_s` to `last_s`; None: nobody knows where it ends.

    Returns what to call with the seconds reached, as often as one likes.
    """
    task, listener = _task, _listener
    if listener is None:
        return _ignore
    if task.whole is not None:
        first_s, last_s = task.whole
    else:
        task.begun += 1
    if last_s is None or last_s <= first_s:
        return _ignore
    before, length_s, end_s = min(task.begun, task.rounds) - 1, last_s - first_s, last_s

    def watch(at_s: float) -> None:
        now = time.monotonic()
        if now < task.due:
            return
        task.due = now + INTERVAL_S
        share = (before + min(max((at_s - first_s) / length_s, 0.0), 1.0)) / task.rounds
        task.share = max(task.share, share)
        listener.went(Stand(task.share, first_s, end_s))

    return watch


@contextmanager
def loading() -> Iterator[None]:
    """Load what the worker keeps for later tasks: a network, a library. It counts for no limit."""
    task, listener = _task, _listener
    task.loading += 1
    start = time.monotonic()
    if listener is not None and task.loading == 1:
        listener.load()
    try:
        yield
    finally:
        task.loading -= 1
        if listener is not None and task.loading == 0:
            listener.loaded(time.monotonic() - start)


def _ignore(at_s: float) -> None:
    pass
