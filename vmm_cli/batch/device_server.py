"""What the process that owns a device does: it answers workers, many questions at a time."""

from __future__ import annotations

import os
import pickle
import queue
import socket
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np

from vmm_cli.errors import InputError, VmmError

if TYPE_CHECKING:
    from vmm_cli.batch.executor import Device

# Networks that stay loaded: of several models, and several streams of each.
MAX_NETWORKS = 16
# Reading weights from a cold network disk.
LOAD_LIMIT_S = 50.0
# Rows that are computed together are copied together: 77 MB of 224 x 224 pictures.
MAX_BYTES_AT_ONCE = 77 * 2**20

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid of a peer, as the kernel says


class Network(Protocol):
    """What computes; see `vmm_cli.features.encoder.Compute`."""

    @property
    def run(self) -> Callable[[np.ndarray], np.ndarray]:
        """From [N, ...] to [N, ...]: each row of the result belongs to that row alone."""

    @property
    def width(self) -> int:
        """How many values a row of the result has."""

    @property
    def batch(self) -> int:
        """How many rows are best computed at once."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a worker asks.

    Attributes:
        loader: pickled (load, args): load(*args, device) gives the network, a `Network`.
        rows: what it is to compute on, [N, ...]; None: only what kind of network it is.
    """

    loader: bytes
    rows: np.ndarray | None

    def send(self, connection: Connection[Any, Any], *, alone: bool) -> None:
        """Send it; `alone`: it must not be computed together with others.

        Where it is, None comes as its turn does; then, as always, its `Answer`.
        """
        about = None if self.rows is None else (self.rows.dtype.str, self.rows.shape)
        connection.send((self.loader, about, alone))
        if self.rows is not None:
            connection.send_bytes(np.ascontiguousarray(self.rows).data.cast("B"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker hears: float32 rows [N, width], or what kind of network it is, or an error."""

    rows: np.ndarray
    width: int = 0
    batch: int = 0
    error: InputError | None = None


def peer_user(connection: socket.socket) -> int:
    """Return the id of the user whose process is at the other end."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(peer)[1]
    return user


_NO_ROWS = np.empty((0, 0), np.float32)
_listener: socket.socket | None = None  # in the process, from its start to its end


def hold_listener(listener: socket.socket) -> None:
    """Take the socket at which workers ask. As the process starts."""
    global _listener
    _listener = listener


def open_device(device: Device) -> None:
    """Set the device up. Raises a VmmError where it cannot be used."""
    device.open(device.name)


def serve(device: Device) -> NoReturn:
    """Answer workers, until the parent ends this process or a network takes too long."""
    assert _listener is not None
    server = _Server(device)
    threading.Thread(target=server.accept, args=(_listener,), daemon=True).start()
    threading.Thread(target=server.watch, daemon=True).start()
    server.compute()


@dataclass(slots=True)
class _Asked:
    """A question as it was received, and whom to answer."""

    connection: Connection[Any, Any]
    loader: bytes
    rows: np.ndarray | None
    alone: bool

    def answer(self, answer: Answer | None) -> None:
        with suppress(OSError):  # the worker has been killed meanwhile
            self.connection.send(answer)


class _Server:
    """Threads receive, one thread computes, another sees that it comes back."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._asked: queue.Queue[_Asked] = queue.Queue()
        self._networks: OrderedDict[bytes, Network] = OrderedDict()
        self._until: float | None = None  # when what it is at must be over

    def accept(self, listener: socket.socket) -> None:
        """Take workers' connections."""
        try:
            while True:
                plain, _ = listener.accept()
                if peer_user(plain) != os.getuid():  # what is asked is unpickled
                    plain.close()
                    continue
                connection: Connection[Any, Any] = Connection(plain.detach())
                threading.Thread(target=self._receive, args=(connection,), daemon=True).start()
        finally:  # no file or thread left for it: let a successor try
            os._exit(1)

    def watch(self) -> None:
        """End this process where a network hangs: it cannot be stopped itself."""
        step_s = min(1.0, self._device.limit_s / 4)
        while True:
            began, until = time.monotonic(), self._until
            time.sleep(step_s)
            stopped_s = max(0.0, time.monotonic() - began - 2 * step_s)  # as by Ctrl-Z
            if until is not None and self._until == until:
                if stopped_s:
                    self._until = until + stopped_s
                elif time.monotonic() > until:
                    os._exit(1)

    def compute(self) -> NoReturn:
        """Answer questions as they come, those that wait for the same network together."""
        while True:
            asked = [self._asked.get()]
            with suppress(queue.Empty):
                while True:
                    asked.append(self._asked.get_nowait())
            for group in _together(asked):
                if group[0].alone:
                    group[0].answer(None)
                self._answer(group)
                self._until = None

    def _receive(self, connection: Connection[Any, Any]) -> None:
        with suppress(EOFError, OSError):
            while True:
                loader, about, alone = connection.recv()
                rows = None
                if about is not None:
                    dtype, shape = about
                    rows = np.empty(shape, dtype)
                    if connection.recv_bytes_into(rows.data.cast("B")) != rows.nbytes:
                        raise EOFError  # half of a question
                self._asked.put(_Asked(connection, loader, rows, alone))

    def _answer(self, asked: Sequence[_Asked]) -> None:
        """Answer questions about one network, or fail: they are then asked again, one by one."""
        try:
            self._until = time.monotonic() + LOAD_LIMIT_S
            network = self._network(asked[0].loader)
            self._until = time.monotonic() + self._device.limit_s
            answers = _answers(network, [one.rows for one in asked])
        except VmmError as error:  # such as a model that is damaged
            told = InputError(error.code, str(error))
            answers = [Answer(_NO_ROWS, error=told) for _ in asked]
        except Exception as error:
            if asked[0].alone:
                text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                asked[0].answer(Answer(_NO_ROWS, error=InputError("internal", text)))
            raise  # after an error of its own a device is of no use any more
        for one, answer in zip(asked, answers, strict=True):
            one.answer(answer)

    def _network(self, loader: bytes) -> Network:
        if loader not in self._networks:
            load, args = pickle.loads(loader)
            self._networks[loader] = load(*args, self._device.name)
            if len(self._networks) > MAX_NETWORKS:
                self._networks.popitem(last=False)
        self._networks.move_to_end(loader)
        return self._networks[loader]


def _together(asked: Sequence[_Asked]) -> list[list[_Asked]]:
    """Divide questions into those that are computed at once, of one network each."""
    groups: list[list[_Asked]] = []
    latest: dict[tuple[bytes, Any], list[_Asked]] = {}
    for one in asked:
        if one.rows is None or one.alone:
            groups.append([one])
            continue
        kind = (one.loader, (one.rows.dtype, one.rows.shape[1:]))
        group = latest.get(kind)
        if group is None or _bytes(group) + one.rows.nbytes > MAX_BYTES_AT_ONCE:
            group = latest[kind] = []
            groups.append(group)
        group.append(one)
    return groups


def _bytes(group: Sequence[_Asked]) -> int:
    return sum(one.rows.nbytes for one in group if one.rows is not None)


def _answers(network: Network, rows: Sequence[np.ndarray | None]) -> list[Answer]:
    about = network.width, network.batch
    given = [part for part in rows if part is not None]
    if not given:
        return [Answer(_NO_ROWS, *about) for _ in rows]
    whole = network.run(given[0] if len(given) == 1 else np.concatenate(given))
    if len(whole) != sum(map(len, given)):
        raise RuntimeError(f"{sum(map(len, given))} rows gave {len(whole)}")
    bounds = np.cumsum([len(part) for part in given])[:-1]
    return [Answer(part, *about) for part in np.split(whole, bounds)]
