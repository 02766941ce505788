"""Memory that a parent's workers share, in areas of one size, for what is too big to be sent.

It has no name, so nothing can be left behind: the kernel frees it when the last process that holds
it has ended, however that came about. Unlike /dev/shm, which containers cap at 64 MB, it is bounded
by its own size alone. Pages are taken when they are first written to.
"""

from __future__ import annotations

import mmap
import os
from multiprocessing.reduction import DupFd
from typing import Any


class SharedAreas:
    """`count` areas of `size` bytes, numbered from 0; the parent itself never maps them.

    They reach a worker as it starts, by `attach` as the pool's initializer; at other times they
    cannot be pickled.

    Raises:
        OSError: the system gives no such memory.
    """

    def __init__(self, count: int, size: int, descriptor: int | None = None) -> None:
        self.count = count
        self.size = size
        if descriptor is None:
            descriptor = os.memfd_create("vmm-areas", os.MFD_CLOEXEC)
            os.ftruncate(descriptor, count * size)
        self._descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self.count, self.size, DupFd(self._descriptor))

    def map(self) -> memoryview:
        """Return all areas, one after the other, as writable bytes."""
        return memoryview(mmap.mmap(self._descriptor, self.count * self.size))

    def close(self) -> None:
        """Let go of the memory, but for what is mapped or held by workers. Safe to call again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _received(count: int, size: int, descriptor: Any) -> SharedAreas:
    return SharedAreas(count, size, descriptor.detach())


_attached: tuple[memoryview, int] | None = None  # in a worker, from its start to its end


def attach(areas: SharedAreas) -> None:
    """Make `areas` the ones in which `area` finds its own. For workers."""
    global _attached
    _attached = areas.map(), areas.size
    areas.close()


def area(index: int) -> memoryview:
    """Return one of the attached areas: writable bytes."""
    if _attached is None:
        raise RuntimeError("no shared memory is attached to this process")
    memory, size = _attached
    return memory[index * size : (index + 1) * size]
