"""The signals that end a run in order: Ctrl-C, those of supervisors and of a closed terminal."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What comes within this time of an interruption is part of it: a supervisor's second signal, or a
# key that is held down, must not break off what the first one has set going.
BURST_S = 1.0

_last = float("-inf")


def take_as_one() -> None:
    """Have each of the signals raise KeyboardInterrupt, once for a burst of them. For the shell."""
    for number in INTERRUPTIONS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup has SIGHUP ignored
            signal.signal(number, _interrupt)


def ignore() -> None:
    """Ignore them from here on: what the process returns is decided."""
    for number in INTERRUPTIONS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _last
    now = time.monotonic()
    if now - _last >= BURST_S:
        _last = now
        raise KeyboardInterrupt


@contextmanager
def held() -> Iterator[None]:
    """Put the signals off until the end of the block, so that it is never left half done.

    They are blocked in this thread: a process started meanwhile inherits that and so cannot be
    hit before it ignores Ctrl-C. Another thread may still take the signal, and Python would then
    raise here: so its handlers, where this is the thread they run in, only take note.
    """
    noted: list[int] = []
    handlers: dict[signal.Signals, Any] = {}

    def take_note(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
        if threading.current_thread() is threading.main_thread():
            for number in INTERRUPTIONS:
                if callable(handler := signal.getsignal(number)):
                    handlers[number] = handler
                    signal.signal(number, take_note)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for noted_number in noted:
            signal.raise_signal(noted_number)
