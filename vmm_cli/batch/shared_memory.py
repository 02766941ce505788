"""Memory that the parent's workers share, in areas of one size, for what is too big to be sent.

It has no name, so nothing can be left behind: the kernel frees it when the last process that holds
it has ended, however that came about. Unlike /dev/shm, which containers cap at 64 MB, it is bounded
by its own size alone. Pages are taken when they are first written to.
"""

from __future__ import annotations

import mmap
import os
from multiprocessing.reduction import DupFd
from typing import Any

_PAGE = mmap.PAGESIZE


class SharedAreas:
    """`count` areas of `size` bytes, numbered from 0. The parent neither reads nor writes them.

    Passed to a worker as it starts (see `attach`); at other times it cannot be pickled.
    """

    def __init__(self, count: int, size: int) -> None:
        if count < 1 or size < 1:
            raise ValueError(f"{count} areas of {size} bytes make no shared memory")
        self.count = count
        self.size = -(-size // _PAGE) * _PAGE
        self._descriptor = os.memfd_create("vmm-areas", os.MFD_CLOEXEC)
        os.ftruncate(self._descriptor, self.count * self.size)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Attached, (self.count, self.size, DupFd(self._descriptor))

    def close(self) -> None:
        """Let go of the memory; workers that hold it keep it until they end."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _Attached:
    """What a `SharedAreas` is in a worker."""

    def __init__(self, count: int, size: int, descriptor: Any) -> None:
        number = descriptor.detach()
        try:
            self.memory = memoryview(mmap.mmap(number, count * size))
        finally:
            os.close(number)
        self.size = size


_attached: _Attached | None = None  # in a worker, from its start to its end


def attach(areas: SharedAreas) -> None:
    """Make `areas` the ones that `area` finds: a pool's initializer."""
    global _attached
    assert isinstance(areas, _Attached)  # as which they arrive in a worker
    _attached = areas


def area(index: int) -> memoryview:
    """Return an area, writable bytes; only in a worker that has attached them."""
    if _attached is None:
        raise RuntimeError("this process shares no memory")
    return _attached.memory[index * _attached.size : (index + 1) * _attached.size]
