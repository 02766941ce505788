"""HTTP whose every byte comes within a limit of time: all that is read goes through one clock.

It speaks HTTP and nothing else, neither ftp nor local files.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

# Less than this in such a time is no progress: a modem brings more.
SLOWEST_S = 60.0
SLOWEST_BYTES = 60 * 1024


class TooSlowError(Exception):
    """So little comes that nobody would wait for the rest."""


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        silent_s: to connect, until an answer has begun, and between two pieces of it.
        slowest_s, slowest_bytes: in so many seconds at least so many bytes must come.
    """

    silent_s: float
    slowest_s: float = SLOWEST_S
    slowest_bytes: int = SLOWEST_BYTES


class Clock:
    """Says how long the next byte may take; one for all attempts of a download."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._answer_by: float | None = None  # None: the answer has begun
        self._since = time.monotonic()
        self._bytes = 0  # since then

    def begin_answer(self) -> None:
        """Begin to wait for an answer: for all of its head, however slowly that comes."""
        self._answer_by = time.monotonic() + self.patience.silent_s

    def begin_body(self) -> None:
        """Note that an answer's head is there."""
        self._answer_by = None

    def came(self, number: int) -> None:
        """Note that so many bytes of the file came."""
        self._bytes += number

    def left(self) -> float:
        """Return seconds. TimeoutError or TooSlowError where there are none."""
        now = time.monotonic()
        if now - self._since >= self.patience.slowest_s:
            if self._bytes < self.patience.slowest_bytes:
                raise TooSlowError(
                    f"only {self._bytes} bytes came within {self.patience.slowest_s:g} s"
                )
            self._since, self._bytes = now, 0
        if self._answer_by is None:
            rest_s = self._since + self.patience.slowest_s - now
            enough = self._bytes >= self.patience.slowest_bytes
            return self.patience.silent_s if enough else min(self.patience.silent_s, rest_s)
        if now >= self._answer_by:
            raise TimeoutError("timed out")
        return self._answer_by - now


class _TimedReader(io.RawIOBase):
    """Reads from a socket, each time for as long as a clock allows."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase, clock: Clock) -> None:
        self._sock, self._raw, self._clock = sock, raw, clock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(max(self._clock.left(), 0.001))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """An answer whose head and body are read under a clock.

    The time limit of a socket is for one read: a server that sends a byte now and then, in its
    headers or in the lengths of chunks, keeps within it for ever.
    """

    def __init__(self, sock: socket.socket, *args: Any, clock: Clock, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_TimedReader(sock, raw, clock))


def _timed(connect: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    """Return what makes connections whose answers are read under a clock."""

    def connection(host: str, **options: Any) -> Any:
        made = connect(host, **options)
        made.response_class = partial(_TimedResponse, clock=clock)
        return made

    return connection


class _Http(urllib.request.HTTPHandler):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._connection = _timed(http.client.HTTPConnection, clock)

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._connection = _timed(http.client.HTTPSConnection, clock)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connection, req)


def opener(clock: Clock) -> urllib.request.OpenerDirector:
    """Return what speaks HTTP and nothing else, neither ftp nor local files, and goes nowhere else.

    Answers come as they are, redirections and refusals too.
    """
    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),  # as the environment says
        _Http(clock),
        _Https(clock),
        urllib.request.UnknownHandler(),
    ):
        director.add_handler(handler)
    return director
