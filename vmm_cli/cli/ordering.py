"""Records in the order of the inputs, where that costs little."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Record = Mapping[str, Any]

# Inputs are begun in order, so that a record waits for those that take longer than it alone.
MOST_HELD = 100
MOST_HELD_CHARACTERS = 16 * 2**20
# What waits is lost where the run is killed, and whoever reads it waits too.
LONGEST_HELD_S = 10.0


class InOrder:
    """Writes records in the order of `names`, those of the inputs.

    A record waits for those before it, `LONGEST_HELD_S` at most; where more than `MOST_HELD` wait,
    or `MOST_HELD_CHARACTERS` of JSON, the first of them goes ahead of what it waits for.
    """

    def __init__(
        self,
        names: Iterable[str],
        write: Callable[[Record], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._coming = deque(names)
        self._late: set[str] = set()
        self._held: dict[str, tuple[Record, int, float]] = {}  # with its size, and since when
        self._now = now
        self._characters = 0
        self._write = write

    def take(self, record: Record) -> None:
        """Take a record; write it, and what waited for it, if nothing before it is to come."""
        name = record["input"]
        if name in self._late:
            self._late.remove(name)
            self._write(record)
            return
        if self._coming and self._coming[0] == name:
            self._coming.popleft()
            self._write(record)
        else:
            size = len(json.dumps(record))
            self._held[name] = record, size, self._now()
            self._characters += size
        self._write_ready()
        while len(self._held) > MOST_HELD or self._characters > MOST_HELD_CHARACTERS:
            self._go_ahead()

    def release(self) -> None:
        """Write what has waited too long, and what stands before it."""
        while self._held:
            _, _, since = next(iter(self._held.values()))  # the one that waits longest
            if self._now() - since < LONGEST_HELD_S:
                return
            self._go_ahead()

    def flush(self) -> None:
        """Write what still waits: nothing before it comes any more."""
        while self._held:
            self._go_ahead()

    def _go_ahead(self) -> None:
        while self._coming and self._coming[0] not in self._held:
            self._late.add(self._coming.popleft())
        if self._coming:
            self._write_ready()
        else:  # of a name that nobody announced
            self._write_held(next(iter(self._held)))

    def _write_ready(self) -> None:
        while self._coming and self._coming[0] in self._held:
            self._write_held(self._coming.popleft())

    def _write_held(self, name: str) -> None:
        record, size, _ = self._held.pop(name)
        self._characters -= size
        self._write(record)
