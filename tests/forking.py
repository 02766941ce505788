"""A process that forks what else would start Python anew: it has done the imports already.

What it forks are runs of the command, and what `multiprocessing` starts, workers above all. They
become children of whoever asked, as they would be, who can wait for them and see how they end. Each
has its own folder, environment, descriptors and exit code, and knows nothing of what others did: of
each run a process stays as it was before the run began, and its workers are forks of that.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import importlib
import io
import json
import multiprocessing.util
import os
import runpy
import select
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import resource_tracker
from typing import Any, NoReturn

Request = dict[str, Any]
MOST_BYTES, MOST_DESCRIPTORS = 1 << 20, 32  # of a request
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Starter:
    """Asks a process that forks, which `requests` leads to, to start a child of this one."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._lock = threading.Lock()

    def run(
        self,
        args: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        fds: Sequence[int],
        *,
        new_session: bool,
    ) -> Child:
        """Start `python -m vmm_cli ARGS` with these standard descriptors."""
        request = {"args": list(args), "env": dict(env), "cwd": cwd, "fds": [0, 1, 2]}
        return Child(self._start(request | {"new_session": new_session}, fds))

    def program(self, path: bytes, args: Sequence[str | bytes], fds: Sequence[int]) -> int:
        """Stand in for `multiprocessing.util.spawnv_passfds`, which is given `python -c ...`."""
        words = list(map(os.fsdecode, args))
        program, *rest = words[words.index("-c") + 1 :]
        request = {"program": program, "args": rest, "env": dict(os.environ), "fds": list(fds)}
        return self._start(request, fds)

    def _start(self, request: Request, fds: Sequence[int]) -> int:
        request["blocked"] = list(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        with self._lock:
            # What is orphaned below this process, as by the one between, becomes its child.
            _be_reaper(True)
            try:
                socket.send_fds(self._requests, [json.dumps(request).encode()], list(fds))
                pid = int(self._requests.recv(MOST_BYTES))
                self._requests.recv(MOST_BYTES)  # the one between has ended
            finally:
                _be_reaper(False)
        return pid


class Child:
    """A run that was started, with what is used of `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._handle = os.pidfd_open(pid)

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code. TimeoutError where it has not ended after `timeout` seconds."""
        if self.returncode is None:
            if not select.select([self._handle], [], [], timeout)[0]:
                raise TimeoutError(f"{self.pid} has not ended after {timeout} s")
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self._handle)
        return self.returncode

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)


def _be_reaper(on: bool) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


# --- in the process that forks


def serve(requests: socket.socket) -> Request:
    """Fork for each request until whoever asks has ended; return the request in what is forked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for those who ask
    while True:
        content, fds, _, _ = socket.recv_fds(requests, MOST_BYTES, MOST_DESCRIPTORS)
        if not content:
            os._exit(0)
        between = os.fork()
        if between == 0:
            pid = os.fork()
            if pid == 0:
                requests.close()
                signal.signal(signal.SIGINT, signal.default_int_handler)
                request: Request = json.loads(content)
                place(fds, request["fds"])
                return request
            requests.send(str(pid).encode())
            os._exit(0)
        for fd in fds:
            os.close(fd)
        os.waitpid(between, 0)
        requests.send(b"ended")


def place(fds: Sequence[int], numbers: Sequence[int]) -> None:
    """Have the descriptors stand at these numbers instead."""
    free_from = max(numbers, default=0) + 1
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD, free_from) for fd in fds]
    for fd in fds:
        os.close(fd)
    for fd, number in zip(aside, numbers, strict=True):
        os.dup2(fd, number)
        os.close(fd)


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


def fork_and_be(requests: socket.socket) -> None:
    """Serve; in what is forked, do what is asked for, and return or raise as it does."""
    while True:
        request = serve(requests)
        os.environ.clear()
        os.environ.update(request["env"])
        sys.argv[1:] = request["args"]
        if "program" in request:
            sys.argv[0] = "-c"
            signal.pthread_sigmask(signal.SIG_SETMASK, request["blocked"])
            exec(request["program"], {"__name__": "__main__"})
            return
        if request["new_session"]:
            os.setsid()
        os.chdir(request["cwd"])
        sys.path[0] = request["cwd"]
        sys.stdin, sys.stdout, sys.stderr = (
            opened_anew(stream, mode)
            for stream, mode in ((sys.stdin, "rb"), (sys.stdout, "wb"), (sys.stderr, "wb"))
        )
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            ours.close()
            requests = theirs  # and serve the run
            continue
        theirs.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, request["blocked"])
        multiprocessing.util.spawnv_passfds = Starter(ours).program
        try:
            runpy.run_module("vmm_cli", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            _end(end.code)
        return


def _end(code: Any) -> NoReturn:
    """End as Python does, but leave what was imported as it is: to take it apart takes long."""
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        code = 120
    os._exit(code or 0)


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    resource_tracker.ensure_running()  # one for all that is forked
    gc.freeze()  # what is there already is not looked through again in what is forked
    fork_and_be(socket.socket(fileno=int(sys.argv[1])))
