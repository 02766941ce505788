"""How much memory a worker may take, and the watch that ends one which takes more.

What counts is resident memory, that which is really taken. The kernel's own limits (RLIMIT_AS,
RLIMIT_DATA) count what is reserved, of which torch and CUDA reserve a lot; and where an allocation
fails inside libav, pictures are missing without a word. A worker that is killed says so.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vmm_cli.batch.capacity import free_memory
from vmm_cli.batch.interruptions import INTERRUPTIONS

# The rest of 1 GB is what can be taken between two looks. Work on 8K pictures of 8 bits takes
# 800 MiB, mostly for the pictures that a decoder must keep.
DEFAULT_BYTES = 900 * 2**20
# The same pictures with 10 bits, as phones record them, take twice as much each.
DEEP_BYTES = 500 * 2**20
DEEP_PIXELS = 4096 * 2304
# What work is known to take is measured with usual files: half as much again may be.
SPARE = 1.5

# Memory is not taken faster than this: clearing fresh pages takes the kernel longer.
FASTEST_BYTES_PER_S = 4 * 2**30
SHORTEST_PAUSE_S = 0.002
LONGEST_PAUSE_S = 0.25
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@cache
def is_watched() -> bool:
    """Tell whether this system says how much memory a process takes, in a way known here."""
    if sys.platform != "linux" or not Path("/proc/self/statm").exists():
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))  # since Linux 5.3, and not in every sandbox
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """How many bytes a worker may take, and how many over large pictures of more than 8 bits.

    None: any.
    """

    usual: int | None = None
    deep: int | None = None

    def over(self, pixels: int, bits: int) -> int | None:
        """Return how much it is over pictures of so many pixels, with so many bits a sample."""
        return self.deep if pixels > DEEP_PIXELS and bits > 8 else self.usual


NO_LIMIT = MemoryLimit()


def default_limit(work_bytes: int, jobs: int) -> MemoryLimit:
    """Return what a worker may take where the user says nothing.

    `work_bytes`: what the work usually takes. All `jobs` together fit the free memory, unless that
    is too little for the work itself.
    """
    wanted = max(float(DEFAULT_BYTES), SPARE * work_bytes)
    least = max(free_memory() / jobs, work_bytes)
    return MemoryLimit(int(min(wanted, least)), int(min(wanted + DEEP_BYTES, least)))


def resident_bytes(pid: int) -> int:
    """Return how much memory a process takes, in bytes; 0 where it is gone or nobody knows."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 - many times a second
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


@dataclass(slots=True)
class _Watched:
    """A process, by a descriptor that never stands for another, and what it may take."""

    handle: int
    limit: int | None
    resident: int = 0  # bytes, when it was last looked at
    killed: bool = False


class MemoryWatch:
    """Kills each process that takes more memory than it may.

    It looks from a thread of its own, the sooner the closer a process is to its limit, so that it
    sees to workers also while the parent is busy.
    """

    def __init__(self) -> None:
        self._watched: dict[int, _Watched] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def limit(self, pid: int, limit: int | None) -> None:
        """Have a child that has not been waited for take at most `limit` bytes; None: any."""
        watched = self._watched.get(pid)
        if watched is None and (limit is None or not is_watched()):
            return
        if watched is not None and watched.limit == limit:
            return  # the next look comes in time
        with self._changed:
            if watched is None:
                watched = _Watched(os.pidfd_open(pid), limit, resident_bytes(pid))
                self._watched[pid] = watched
            watched.limit = limit
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()
            self._changed.notify()

    def resident(self, pid: int) -> int:
        """Return how many bytes a watched process took when it was last looked at."""
        watched = self._watched.get(pid)
        return 0 if watched is None else watched.resident

    def forget(self, pid: int) -> bool:
        """Watch a process no more; tell whether it was killed for its memory."""
        with self._changed:
            watched = self._watched.pop(pid, None)
            if watched is None:
                return False
            os.close(watched.handle)
            return watched.killed

    def close(self) -> None:
        """End the watch. Safe to call again."""
        with self._changed:
            self._closed = True
            for pid in tuple(self._watched):
                os.close(self._watched.pop(pid).handle)
            self._changed.notify()

    def _watch(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)  # they are for the main thread
        with self._changed:
            while not self._closed:
                self._changed.wait(self._look())

    def _look(self) -> float | None:
        """Kill what takes too much; return after how many seconds to look again, None: no need."""
        room = None
        for pid, watched in self._watched.items():
            if watched.limit is None or watched.killed:
                continue
            watched.resident = resident_bytes(pid)
            left = watched.limit - watched.resident
            if left < 0:
                watched.killed = True
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(watched.handle, signal.SIGKILL)
            elif room is None or left < room:
                room = left
        if room is None:
            return None
        return min(max(room / FASTEST_BYTES_PER_S, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)
