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
    """How far a task is: which share of it is done, and which seconds of a video it goes over.

    The seconds are (0, 0) where nobody knows how long it is.
    """

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


def over(first_s: float, last_s: float) -> None:
    """Begin to go over these seconds, once, in however many pieces and streams they are read."""
    _task.begun += 1
    _task.whole = first_s, last_s


def begin(first: float, last: float, *, seconds: bool = True) -> Watch:
    """Begin to go over a video from `first` to `last`: seconds, or bytes of its file.

    Returns what to call with the place that is reached, as often as one likes.
    """
    task, listener = _task, _listener
    if listener is None:
        return _ignore
    if task.whole is not None and seconds:
        first, last = task.whole
    elif task.whole is None:
        task.begun += 1
    if last <= first:
        return _ignore
    before, length = min(task.begun, task.rounds) - 1, last - first
    span = (first, last) if seconds else (0.0, 0.0)

    def watch(at: float) -> None:
        now = time.monotonic()
        if now < task.due:
            return
        task.due = now + INTERVAL_S
        share = (before + min(max((at - first) / length, 0.0), 1.0)) / task.rounds
        task.share = max(task.share, share)
        listener.went(Stand(task.share, *span))

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
