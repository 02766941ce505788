"""Runs of the command, and workers, that are spared to start Python and to import what they need.

That takes most of the time of a short run. Where it is to be part of what is tested, a test starts
a process itself; with TEST_FRESH_RUNS all are started so.
"""

from __future__ import annotations

import io
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import vmm_cli
from tests.forking import Child, Starter

# What short runs import. ONNX Runtime, once imported, has threads, which no fork has.
LIBRARIES = (
    *("numpy", "av", "rich.console", "typer._adapters", "yaml", "platformdirs.unix"),
    *("safetensors.numpy", "multiprocessing.popen_spawn_posix", "multiprocessing.resource_tracker"),
)
ROOMS = ("batch", "bundles", "cli", "media", "operations", "output")
# What training imports besides, and what computes with PyTorch.
TORCH_LIBRARIES = ("torch", "torch._dynamo", "sklearn.metrics", "matplotlib.backends.backend_agg")
TORCH_ROOMS = ("analysis", "features", "inference", "networks", "pictures", "training")
TORCH_COMMANDS = (["doctor"], ["evaluate"], ["export"], ["train"], ["models", "fetch"])
# What Python, or a library as it is imported, looks up in the environment needs a fresh start.
LOOKED_UP_LATER = frozenset({"COLUMNS", "HOME", "TERM", "XDG_DATA_HOME", "no_proxy"})
INPUT_LIMIT = 32768  # bytes: what any pipe holds


class Forking:
    """A process that forks and has imported some modules; it is started when it is first asked."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules
        self._process: subprocess.Popen[bytes] | None = None
        self._requests, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._starter = Starter(self._requests)

    @property
    def starter(self) -> Starter:
        """What asks it."""
        if self._process is None:
            number = self._theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forking", str(number), *self._modules],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(number,),
            )
            self._theirs.close()
        return self._starter

    def end(self) -> None:
        self._requests.close()
        self._theirs.close()
        if self._process is not None:
            self._process.wait()


class Warm:
    """A process to fork from for what computes with PyTorch, and one for all else.

    To be used as a context.
    """

    def __init__(self) -> None:
        modules = [*LIBRARIES, *modules_of(*ROOMS)]
        self.plain = Forking(modules)
        self.with_torch = Forking([*modules, *TORCH_LIBRARIES, *modules_of(*TORCH_ROOMS)])

    def __enter__(self) -> Warm:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.plain.end()
        self.with_torch.end()

    def start(
        self,
        args: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        fds: Sequence[int],
        new_session: bool = False,
    ) -> Child:
        """Start vmm with these standard descriptors."""
        words = [list(args[:1]), list(args[:2])]
        with_torch = env.get("VMM_ENGINE") == "torch" or any(w in TORCH_COMMANDS for w in words)
        forking = self.with_torch if with_torch else self.plain
        return forking.starter.run(args, env, os.fspath(cwd), fds, new_session=new_session)

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
        stdin, out, err = (os.pipe() for _ in range(3))
        theirs = (stdin[0] if input is not None else 0, out[1], err[1])
        run = self.start(args, cwd=cwd, env=env, fds=theirs)
        for descriptor in (stdin[0], out[1], err[1]):
            os.close(descriptor)
        os.write(stdin[1], (input or "").encode(errors="surrogateescape"))
        os.close(stdin[1])
        content = None
        try:
            content = _read_all((out[0], err[0]), time.monotonic() + timeout)
        finally:
            for descriptor in (out[0], err[0]):
                os.close(descriptor)
            if content is None:
                run.kill()
            code = run.wait()
        if content is None:
            raise subprocess.TimeoutExpired(list(args), timeout)
        return subprocess.CompletedProcess(list(args), code, *map(_text, content))


def _read_all(descriptors: Sequence[int], deadline: float) -> list[bytes] | None:
    """Read to the ends; None where these do not come in time."""
    content = dict.fromkeys(descriptors, b"")
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
                return None
    return list(content.values())


def _text(content: bytes) -> str:
    return io.TextIOWrapper(io.BytesIO(content), errors="surrogateescape").read()


def fits(env: Mapping[str, str], input: str | None) -> bool:
    """Tell whether a run with this environment and input may be forked."""
    late = all(name in LOOKED_UP_LATER or name.startswith("VMM_") for name in env)
    return late and len(input or "") <= INPUT_LIMIT // 4


def modules_of(*rooms: str) -> list[str]:
    package = Path(vmm_cli.__file__).parent
    files = (path for room in rooms for path in sorted((package / room).rglob("*.py")))
    return [
        ".".join(path.relative_to(package.parent).with_suffix("").parts)
        for path in files
        if path.name != "__init__.py"
    ]
