"""Functions that the pool's tests run in workers: on a module of their own, quick to import."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from vmm_cli.errors import InputError

started: list[object] = []


def double(number: int) -> int:
    return 2 * number


def process_id() -> int:
    return os.getpid()


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def sleep_deaf(seconds: float) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    time.sleep(seconds)


def match_for_ever() -> object:
    """Stay in one C call that holds the interpreter lock."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return re.match(r"(a+)+$", "a" * 64 + "b")


def stop_itself() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def leave(code: int) -> None:
    os._exit(code)


def give_up() -> None:
    sys.exit("a library gave up")


def read_null() -> None:
    ctypes.string_at(0)


def kill_itself(number: int) -> None:
    os.kill(os.getpid(), number)


def refuse() -> None:
    raise InputError("refused", "a playlist")


def fail() -> None:
    raise ValueError("first line\nlast line")


def run_out_of_memory() -> None:
    raise MemoryError


class Unpicklable:
    def __reduce__(self) -> str:
        raise TypeError("not this one")


class Unreadable:
    def __reduce__(self) -> tuple[object, ...]:
        return int, ("no number",)


class AwkwardError(Exception):
    """Cannot be pickled and read back, and not even printed."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(lambda: None)

    def __str__(self) -> str:
        raise RuntimeError("no words")


def unpicklable() -> object:
    return Unpicklable()


def unreadable() -> object:
    return Unreadable()


def deep() -> object:
    nest: list[object] = []
    for _ in range(100_000):
        nest = [nest]
    return nest


def raise_awkward() -> None:
    raise AwkwardError(1, 2)


def frames(count: int) -> bytes:
    return bytes(count)


def length(content: bytes) -> int:
    return len(content)


def channel_to_parent() -> int:
    """Return this worker's end of the socket to the parent."""
    for descriptor in range(3, 64):
        try:
            with socket.socket(fileno=os.dup(descriptor)) as candidate:
                if candidate.family == socket.AF_UNIX:
                    return descriptor
        except OSError:
            continue
    raise LookupError("no socket found")


def send_half_and_die() -> None:
    os.write(channel_to_parent(), (1000).to_bytes(8, "big") + b"half a result")
    os.kill(os.getpid(), signal.SIGKILL)


def send_half_and_stop() -> None:
    os.write(channel_to_parent(), (1000).to_bytes(8, "big") + b"half a result")
    os.kill(os.getpid(), signal.SIGSTOP)


def send_nonsense() -> None:
    os.write(channel_to_parent(), (9).to_bytes(8, "big") + b"no pickle")
    time.sleep(60)


def hang_up() -> None:
    os.close(channel_to_parent())
    time.sleep(60)


def leave_child_and_die(seconds: float) -> None:
    """Die while a forked child holds every descriptor open."""
    if os.fork() == 0:
        time.sleep(seconds)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)


def answer_and_die_soon() -> str:
    threading.Timer(0.1, os._exit, (9,)).start()
    return "answer"


def print_to_stdout() -> None:
    print("from the worker", flush=True)
    subprocess.run(["echo", "from its child"], check=True)


def environment(name: str) -> str | None:
    return os.environ.get(name)


def main_module_files() -> list[str]:
    return sorted(name for name in ("torch", "av", "numpy", "rich", "typer") if name in sys.modules)


def note_start(value: object) -> None:
    started.append(value)


def starts() -> list[object]:
    return started


def fail_to_start() -> None:
    raise InputError("refused", "not with this model")


def die_at_first_start(mark: str) -> None:
    """Die unless a worker died here before."""
    try:
        Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return
    os._exit(5)


def wait_for(path: str) -> None:
    """Wait until a file is there."""
    while not Path(path).exists():
        time.sleep(0.02)


def meet(folder: str, count: int) -> int:
    """Wait until so many workers are in here at a time."""
    Path(folder, str(os.getpid())).touch()
    while len(os.listdir(folder)) < count:
        time.sleep(0.02)
    return os.getpid()


class DiesWhenRead:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (7,)


def take_memory(megabytes: int) -> int:
    """Take memory in one burst, in C, and give it back."""
    return len(b"x" * (megabytes << 20))


def keep_memory(megabytes: int) -> None:
    """Take memory and keep it for as long as the worker lives."""
    kept.append(b"x" * (megabytes << 20))


kept: list[bytes] = []
