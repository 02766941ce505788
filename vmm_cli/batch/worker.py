"""The worker's side of the pool: take a task, run it, pass back what came of it, until told to end.

Both sides speak in messages over a stream socket: 8 bytes of length, big-endian, then that many
bytes of content. The parent sends a pickle of (function, args) and closes the socket to end the
worker. Of each task the worker sends messages whose first byte says what they are: `BEGUN` when
the function is there to be called, perhaps `WENT`, `LOADS` and `LOADED` (see `vmm_cli.progress`),
and `REPORT`, the last.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.abc
import importlib.machinery
import os
import pickle
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any, NamedTuple

from vmm_cli import progress
from vmm_cli.batch.interruptions import INTERRUPTIONS
from vmm_cli.errors import VmmError

HEADER_BYTES = 8
BEGUN = b"B"
WENT, STAND = b"W", struct.Struct("<3d")  # a `progress.Stand`
LOADS = b"L"
LOADED, SECONDS = b"D", struct.Struct("<d")
REPORT = b"R"  # and a pickle of a `Report`
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Report(NamedTuple):
    """What came of one task: a value, or an error's code and message."""

    value: object | None
    code: str | None = None
    message: str = ""
    traceback: str | None = None


def header(length: int) -> bytes:
    """Return what goes before `length` bytes of content."""
    return length.to_bytes(HEADER_BYTES, "big")


def work(
    channel: socket.socket,
    parent_pid: int,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
) -> None:
    """Serve tasks from `channel` until the parent closes it; never returns to the caller."""
    _live_and_die_with(parent_pid)
    _leave_signals_and_stdout_to_the_parent()
    channel.set_inheritable(False)
    sys.meta_path.insert(0, _Imports())
    unready = _attempt(initializer, initargs) if initializer is not None else None
    parent = _Parent(channel)
    with suppress(OSError):  # the parent has gone or closed the channel
        while (task := _receive(channel)) is not None:
            if unready is not None and unready.code:
                report = unready
            else:
                report = _run(task, parent)
            parent.send(REPORT, _pickled(report))
            del task, report  # not held while waiting for the next one
    # Nobody waits for this process any more: threads a task left behind must not keep it.
    os._exit(0)


def import_ahead(modules: Sequence[str]) -> None:
    """Import what tasks will need. What cannot be imported, the task that needs it says better."""
    for module in modules:
        with suppress(Exception):
            importlib.import_module(module)


class _Imports(importlib.abc.MetaPathFinder):
    """Has the import of a package count as loading: torch takes seconds, in some task or other."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a package, whose parts come with it."""
        if "." in fullname:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.abc.Loader):
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                with progress.loading():
                    execute(module)

            # On the loader itself: others ask it for more than this.
            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


class _Parent:
    """The parent, as the one who hears what a task says."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def send(self, kind: bytes, content: bytes = b"") -> None:
        """Send one message, whole."""
        self._channel.sendall(header(len(kind) + len(content)) + kind)
        if content:
            self._channel.sendall(content)

    def went(self, stand: progress.Stand) -> None:
        """See `progress.Listener`."""
        self.send(WENT, STAND.pack(*stand))

    def load(self) -> None:
        """See `progress.Listener`."""
        self.send(LOADS)

    def loaded(self, seconds: float) -> None:
        """See `progress.Listener`."""
        self.send(LOADED, SECONDS.pack(seconds))


def _live_and_die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however that ends."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it ended before the kernel knew
        os._exit(0)


def _leave_signals_and_stdout_to_the_parent() -> None:
    # Ctrl-C reaches the whole process group, and what a supervisor or a closed terminal sends may,
    # too; it is the parent who decides what it means.
    for number in INTERRUPTIONS:
        signal.signal(number, signal.SIG_IGN)
    # The parent blocked some signals while it started this process: see runner.py.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # Results are the parent's to print: what a library prints must not get between them.
    with suppress(OSError):
        os.dup2(2, 1)


def _receive(channel: socket.socket) -> bytes | None:
    """Return the next message's content, or None where the parent has closed the channel."""
    length = _receive_bytes(channel, HEADER_BYTES)
    return None if length is None else _receive_bytes(channel, int.from_bytes(length, "big"))


def _receive_bytes(channel: socket.socket, count: int) -> bytes | None:
    received = bytearray()
    while len(received) < count:
        chunk = channel.recv(min(count - len(received), 1 << 20))
        if not chunk:
            return None
        received += chunk
    return bytes(received)


def _run(task: bytes, parent: _Parent) -> Report:
    def unpickle_and_call() -> object:
        function, args = pickle.loads(task)  # imports the function's module
        parent.send(BEGUN)
        progress.listen(parent)
        return function(*args)

    try:
        return _attempt(unpickle_and_call, ())
    finally:
        progress.listen(None)


def _attempt(function: Callable[..., object], args: tuple[Any, ...]) -> Report:
    try:
        return Report(function(*args))
    except VmmError as error:  # as a rule an InputError
        return Report(None, error.code, str(error), traceback.format_exc())
    except MemoryError:
        return Report(None, "memory", "there was not enough memory for it", traceback.format_exc())
    except BaseException as error:  # SystemExit too: a library that gives up must not end the run
        return Report(None, "internal", _last_line(error), traceback.format_exc())


def _pickled(report: Report) -> bytes:
    try:
        return pickle.dumps(report, pickle.HIGHEST_PROTOCOL)
    except MemoryError:
        failed = Report(None, "memory", "there was not enough memory to pass its result on")
    except Exception as error:
        what = f"its result cannot be passed between processes: {_last_line(error)}"
        failed = Report(None, "internal", what, traceback.format_exc())
    return pickle.dumps(failed, pickle.HIGHEST_PROTOCOL)


def _last_line(error: BaseException) -> str:
    lines = "".join(traceback.format_exception_only(error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
