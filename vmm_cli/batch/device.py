"""One process that owns a device, and computes for all workers whatever they work on.

The parent holds the socket at which it is asked, so that the process starts when somebody first
asks, and can be replaced: who waits for an answer then asks again. What runs in it is
`device_server.py`, what asks is `device_client.py`.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable
from multiprocessing.connection import wait

from vmm_cli.batch.executor import Device, Outcome, Task
from vmm_cli.batch.runner import WorkerPool
from vmm_cli.errors import DeviceError

# Importing torch, perhaps from a cold network disk, and setting the device up. Less than workers
# have for loading, who wait for it meanwhile.
OPEN_LIMIT_S = 60.0
# Connections that wait for the process to start, or for its successor.
BACKLOG = 1024

_OPENS, _SERVES = "device opens", "device serves"  # keys of the process's tasks

_log = logging.getLogger(__name__)


class DeviceProcess:
    """The process that owns a device, as the parent sees it.

    One that dies, hangs or fails is replaced; what it worked on is asked for again, each by itself,
    so that only what fails alone has failed.

    Raises:
        OSError: there is no such socket to be had.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._listener: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # In the abstract namespace of Linux: a name that ends with the last process that holds it.
        self.address = f"\0vmm-{os.getpid()}-{secrets.token_hex(16)}"
        self._listener.bind(self.address)
        self._listener.listen(BACKLOG)
        self.pool: WorkerPool | None = _pool(self._listener)
        self._is_running = False

    def attend(self) -> None:
        """Start the process if somebody asks and there is none. To be called often."""
        if self._listener is None or self._is_running:
            return
        if wait([self._listener], 0):
            from vmm_cli.batch.device_server import open_device

            try:
                self._submit(_OPENS, open_device, OPEN_LIMIT_S)
            except OSError as error:  # no process left for it
                self._lose(f"the device's process cannot be started: {error}")

    def take(self, outcome: Outcome) -> bool:
        """Take what came of the process; tell whether the outcome is of it.

        Raises:
            DeviceError: the device cannot be used, and nothing is to be done without it.
        """
        if outcome.key not in (_OPENS, _SERVES):
            return False
        from vmm_cli.batch.device_server import serve

        self._is_running = False
        if outcome.key == _SERVES:
            _log.warning("the device's process failed (%s); trying again", outcome.error)
            assert self._listener is not None and self.pool is not None
            self.pool.close()  # also where it lives: it is of no use after an error of the device
            self.pool = _pool(self._listener)
        elif outcome.error is None:
            self._submit(_SERVES, serve, None)
        elif outcome.error.code in ("timeout", "crashed", "memory", "internal"):
            self._lose(f"the device's process failed as it started: {outcome.error.message}")
        else:
            self._lose(outcome.error.message)
        return True

    def close(self) -> None:
        """End the process. Safe to call again."""
        if self.pool is not None and self._listener is not None:
            self.pool.close()
            self._listener.close()
        self.pool = self._listener = None

    def _submit(self, key: str, function: Callable[..., object], limit_s: float | None) -> None:
        assert self.pool is not None
        self._is_running = True
        self.pool.submit(Task(key, function, (self._device,), limit_s))

    def _lose(self, reason: str) -> None:
        """Refuse who asks, so that workers go on without the device; or give up."""
        if not self._device.optional:
            raise DeviceError(reason)
        _log.warning("%s; going on without it", reason)
        self.close()


def _pool(listener: socket.socket) -> WorkerPool:
    from vmm_cli.batch.device_server import hold_listener

    return WorkerPool(1, initializer=hold_listener, initargs=(listener,))
