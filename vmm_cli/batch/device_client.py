"""Where networks compute: in this process, or in the one that owns a device and is asked."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from vmm_cli import progress
from vmm_cli.batch.device_server import Answer, Question, peer_user
from vmm_cli.errors import InputError


class LostError(Exception):
    """There is no device any more: compute without it."""


@dataclass(frozen=True, slots=True)
class Here:
    """Computing in this process."""

    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class There:
    """Computing in the process that is asked at an address."""

    address: str


_here: ContextVar[Here | None] = ContextVar("_here", default=None)  # of a thread
_there: There | None = None  # of a worker


def attach(address: str) -> None:
    """Compute in the process that is asked at `address`, from now on. For workers."""
    global _there
    _there = There(address)


def where() -> Here | There:
    """Return where networks are to compute."""
    return _there or _here.get() or Here()


@contextmanager
def computing_on(device: str) -> Iterator[None]:
    """Compute on a device in this process meanwhile."""
    token = _here.set(Here(device))
    try:
        yield
    finally:
        _here.reset(token)


@dataclass(frozen=True, slots=True)
class RemoteNetwork:
    """A network in the device's process; see `Network`.

    Attributes:
        loader: pickled, what gives the network there: see `Question`.
    """

    address: str
    loader: bytes
    width: int
    batch: int

    def run(self, rows: np.ndarray) -> np.ndarray:
        """Return what the network makes of rows.

        Raises:
            LostError: there is no device any more.
            InputError: `crashed`: it ended the process; or what the network raised.
        """
        if not len(rows):
            return np.empty((0, self.width), np.float32)
        values = _asked(self.address, Question(self.loader, rows)).rows
        if len(values) != len(rows):
            raise RuntimeError(f"{len(rows)} rows gave {len(values)}")
        return values


@lru_cache(maxsize=64)
@progress.loading()
def remote_network(address: str, loader: bytes) -> RemoteNetwork:
    """Have the device's process load a network, and return it. Raises as `RemoteNetwork.run`."""
    answer = _asked(address, Question(loader, None))
    return RemoteNetwork(address, loader, answer.width, answer.batch)


def _asked(address: str, question: Question) -> Answer:
    """Return the answer to a question, put again where the process ends before it has come.

    From the second time on it is computed alone, and only if the process ends over it then it is to
    blame for that.
    """
    alone = begun = False
    while not begun:
        try:
            connection = _connection(address)
        except ConnectionRefusedError:
            raise LostError from None
        try:
            question.send(connection, alone=alone)
            answer = connection.recv()
            if answer is None:  # a question that is computed alone has its turn
                begun = True
                answer = connection.recv()
        except (EOFError, OSError):
            _disconnect()
            alone = True
            continue
        except BaseException:  # no memory for it, say: half a message must not meet the next one
            _disconnect()
            raise
        assert isinstance(answer, Answer)
        if answer.error is not None:
            raise answer.error
        return answer
    raise InputError("crashed", "the process that owns the device ended over it")


_local = threading.local()


def _connection(address: str) -> Connection[Any, Any]:
    """Return this thread's connection to the device's process."""
    known: tuple[str, Connection[Any, Any]] | None = getattr(_local, "connection", None)
    if known is not None and known[0] == address:
        return known[1]
    _disconnect()
    plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        plain.connect(address)
        if peer_user(plain) != os.getuid():  # the name is free again once the device is lost
            raise ConnectionRefusedError
    except BaseException:
        plain.close()
        raise
    connection: Connection[Any, Any] = Connection(plain.detach())
    _local.connection = address, connection
    return connection


def _disconnect() -> None:
    known = getattr(_local, "connection", None)
    if known is not None:
        with suppress(OSError):
            known[1].close()
        _local.connection = None
