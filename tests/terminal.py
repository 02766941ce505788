"""Runs the real command at a terminal of its own, and says what that was sent."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.forking import Child
from tests.warm import Warm

_SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


AtTerminal = Callable[..., "Session"]  # the type of the fixture `run_at_terminal`


@dataclass(frozen=True)
class Session:
    """What a command left: its exit code, what the terminal was sent, and its standard output.

    `stdout` is empty where that was the terminal too.
    """

    returncode: int
    sent: str
    stdout: str

    @property
    def drawn(self) -> list[str]:
        """All that was drawn, line by line, also what was drawn over; without control sequences."""
        plain = _SEQUENCES.sub("", self.sent).replace("\r", "\n")
        return [line.strip() for line in plain.split("\n") if line.strip()]

    @property
    def last(self) -> str:
        """The last line."""
        return self.drawn[-1] if self.drawn else ""


def run_at_terminal(
    warm: Warm | None,
    *args: str | Path,
    cwd: Path,
    env: dict[str, str] | None = None,
    columns: int = 100,
    stdout_too: bool = False,
    timeout_s: float = 300,
) -> Session:
    """Run vmm with stderr, and perhaps stdout, at a terminal `columns` wide."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("4H", 30, columns, 0, 0))
    printed, stdout = os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY)
    theirs = (nothing, child if stdout_too else stdout, child)
    environment = os.environ | {"TERM": "xterm", "COLUMNS": str(columns)} | (env or {})
    process = _started(warm, list(map(os.fspath, args)), cwd, environment, theirs)
    for descriptor in (nothing, child, stdout):
        os.close(descriptor)
    texts = {parent: b"", printed: b""}
    open_ones = set(texts)
    deadline = time.monotonic() + timeout_s
    try:
        while open_ones:
            assert time.monotonic() < deadline, texts
            for descriptor in select.select(open_ones, (), (), 1)[0]:
                try:
                    chunk = os.read(descriptor, 65536)
                except OSError:  # EIO: nobody holds the terminal any more
                    chunk = b""
                texts[descriptor] += chunk
                if not chunk:
                    open_ones.remove(descriptor)
        code = process.wait(10)
    finally:
        process.kill()
        process.wait()
        os.close(parent)
        os.close(printed)
    return Session(code, texts[parent].decode(errors="replace"), texts[printed].decode())


def _started(
    warm: Warm | None, args: list[str], cwd: Path, env: dict[str, str], fds: tuple[int, int, int]
) -> Child | subprocess.Popen[bytes]:
    if warm is not None:
        return warm.start(args, cwd=cwd, env=env, fds=fds, new_session=True)
    return subprocess.Popen(
        [sys.executable, "-m", "vmm_cli", *args],
        cwd=cwd,
        env=env,
        stdin=fds[0],
        stdout=fds[1],
        stderr=fds[2],
        start_new_session=True,
    )
