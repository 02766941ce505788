"""Runs of the command that are forked from a process which has imported what the command imports.

Each run is still a process of its own, with its own folder, environment, descriptors and exit code,
and runs `vmm_cli` as `python -m vmm_cli` does; its workers are started afresh. What it is spared is
to start Python and to import typer, numpy and av, which is most of what a short run takes.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import vmm_cli

LIBRARIES = (
    *("numpy", "av", "rich.console", "typer._adapters", "yaml", "platformdirs.unix"),
    *("safetensors.numpy", "multiprocessing.popen_spawn_posix"),
)
ROOMS = ("batch", "cli", "media", "output")  # none of them loads torch
# What Python, or a library as it is imported, looks up in the environment needs a fresh start.
LOOKED_UP_LATER = frozenset({"COLUMNS", "HOME", "no_proxy"})
INPUT_LIMIT = 32768  # bytes: what any pipe holds


class Warm:
    """The process that forks. To be used as a context."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )

    def __enter__(self) -> Warm:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._socket.close()
        self._process.wait()

    def run(
        self,
        args: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        input: str | None,
        timeout: float,
    ) -> subprocess.CompletedProcess[str]:
        """Run vmm as `subprocess.run` would, with text captured.

        Raises:
            subprocess.TimeoutExpired: the run was killed, as it took longer.
        """
        stdin, out, err, told = (os.pipe() for _ in range(4))
        theirs = (stdin[0] if input is not None else 0, out[1], err[1], told[1])
        request = {"args": list(args), "cwd": os.fspath(cwd), "env": dict(env)}
        socket.send_fds(self._socket, [json.dumps(request).encode()], theirs)
        for descriptor in (stdin[0], out[1], err[1], told[1]):
            os.close(descriptor)
        os.write(stdin[1], (input or "").encode(errors="surrogateescape"))
        os.close(stdin[1])
        try:
            content = _read_all((out[0], err[0], told[0]), time.monotonic() + timeout)
        finally:
            for descriptor in (out[0], err[0], told[0]):
                os.close(descriptor)
        if content is None:
            raise subprocess.TimeoutExpired(list(args), timeout)
        printed, said, code = content
        return subprocess.CompletedProcess(list(args), int(code), _text(printed), _text(said))


def _read_all(descriptors: tuple[int, int, int], deadline: float) -> list[bytes] | None:
    """Read to the end; the last one is told the process id and then the exit code."""
    content = dict.fromkeys(descriptors, b"")
    told = descriptors[-1]
    with selectors.DefaultSelector() as selector:
        for descriptor in descriptors:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(max(0, deadline - time.monotonic())):
                chunk = os.read(key.fd, 65536)
                content[key.fd] += chunk
                if not chunk:
                    selector.unregister(key.fd)
            if selector.get_map() and time.monotonic() >= deadline:
                with suppress(ProcessLookupError):
                    os.kill(int(content[told].split()[0]), signal.SIGKILL)
                return None
    return [*(content[d] for d in descriptors[:-1]), content[told].split()[1]]


def _text(content: bytes) -> str:
    return io.TextIOWrapper(io.BytesIO(content), errors="surrogateescape").read()


def fits(env: Mapping[str, str], input: str | None) -> bool:
    """Tell whether a run with this environment and input may be forked."""
    late = all(name in LOOKED_UP_LATER or name.startswith("VMM_") for name in env)
    return late and len(input or "") <= INPUT_LIMIT // 4


# --- in the process that forks


def modules_of(*rooms: str) -> list[str]:
    package = Path(vmm_cli.__file__).parent
    return [
        module.name
        for room in rooms
        for module in pkgutil.iter_modules([str(package / room)], f"vmm_cli.{room}.")
    ]


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork a run for each request. Return it in the forked one, and None at the end of all."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for the runs
    while True:
        content, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 4)
        if not content:
            return None
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            *standard, told = descriptors
            pid = os.fork()
            if pid == 0:
                os.close(told)
                for number, descriptor in enumerate(standard):
                    os.dup2(descriptor, number)
                    os.close(descriptor)
                request: dict[str, Any] = json.loads(content)
                return request
            for descriptor in standard:
                os.close(descriptor)
            os.write(told, f"{pid} ".encode())
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os.write(told, str(code).encode())
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def opened_anew(stream: Any, mode: str) -> Any:
    """Return a standard stream as Python opens it: what can be done with it is asked only then."""
    unbuffered = stream.write_through
    binary: Any = open(stream.fileno(), mode, 0 if unbuffered else -1, closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(
        binary,
        stream.encoding,
        stream.errors,
        newline="\n" if mode == "wb" else None,
        line_buffering=stream.line_buffering,
        write_through=unbuffered,
    )


if __name__ == "__main__":
    for name in (*LIBRARIES, *modules_of(*ROOMS)):
        importlib.import_module(name)
    gc.freeze()  # what is there already is not looked through again in each run
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    if asked is not None:
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["env"])
        sys.path[0] = asked["cwd"]
        sys.argv[1:] = asked["args"]
        sys.stdin, sys.stdout, sys.stderr = (
            opened_anew(stream, mode)
            for stream, mode in ((sys.stdin, "rb"), (sys.stdout, "wb"), (sys.stderr, "wb"))
        )
        runpy.run_module("vmm_cli", run_name="__main__", alter_sys=True)
