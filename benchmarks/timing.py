"""Run commands and time them, one side after the other, so that both meet the same machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

Argv = Sequence[str | Path]

POLL_S = 0.002
KEPT_STDERR = 2000


class CommandFailed(Exception):
    """A measured command did not end well; what it measured would mean nothing."""


class Spread(NamedTuple):
    """The middle of some repeated measurements, and the smallest and the largest of them."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median, the minimum and the maximum."""
    return Spread(median(values), min(values), max(values))


def print_row(what: str, values: Sequence[float], unit: str, *, digits: int = 1) -> None:
    """Print the median of some measurements, and their range, as a row of a Markdown table."""
    middle, low, high = (f"{value:.{digits}f}" for value in spread(values))
    span = f" ({low} to {high})" if len(values) > 1 else ""
    print(f"| {what} | {middle} {unit}{span} |", flush=True)


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the quotient of each pair of measurements."""
    return [a / b for a, b in zip(above, below, strict=True)]


def vmm_command() -> list[str]:
    """Return how this environment's vmm is run: its script, as a user would."""
    script = Path(sys.executable).with_name("vmm")
    return [str(script)] if script.exists() else [sys.executable, "-m", "vmm_cli"]


def environment(home: Path, **extra: str | Path) -> dict[str, str]:
    """Return variables under which no setting or store of the user's counts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VMM_")}
    folders = {f"XDG_{kind}_HOME": home / kind.lower() for kind in ("CACHE", "CONFIG", "DATA")}
    return kept | {name: str(value) for name, value in {**folders, **extra}.items()}


def run(argv: Argv, *, env: Mapping[str, str] | None = None, given: str = "") -> tuple[float, str]:
    """Run a command with `given` on its stdin; return its wall time in seconds and its stdout.

    What earlier runs wrote goes to the disk first, so that no run pays for another's pictures.

    Raises:
        CommandFailed: its exit code is not 0.
    """
    os.sync()
    words = [os.fspath(word) for word in argv]
    begin = time.perf_counter()
    done = subprocess.run(words, env=env, input=given, capture_output=True, text=True, check=False)
    wall_s = time.perf_counter() - begin
    if done.returncode != 0:
        raise CommandFailed(
            f"{' '.join(words[:6])} ... ended with {done.returncode}: {done.stderr[-KEPT_STDERR:]}"
        )
    return wall_s, done.stdout


def alternate(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure all sides in turn, `rounds` times: A B A B, not A A B B."""
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(1, rounds + 1):
        for name, measure in sides.items():
            value = measure()
            measured[name].append(value)
            print(f"  {number}/{rounds} {name}: {value:.3f}", flush=True)
    return measured


def until_file(argv: Argv, folder: Path, suffix: str, *, env: Mapping[str, str]) -> float:
    """Return the seconds from a command's start until a file of that suffix is under `folder`.

    Hidden folders are looked into as well. The command is ended then.

    Raises:
        CommandFailed: it ended before.
    """
    os.sync()
    begin = time.perf_counter()
    process = subprocess.Popen(
        [os.fspath(word) for word in argv],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not _holds(folder, suffix):
            if process.poll() is not None:
                raise CommandFailed(f"no {suffix} before the end, exit code {process.returncode}")
            time.sleep(POLL_S)
        return time.perf_counter() - begin
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # workers too: nothing writes there any more
        process.wait()


def _holds(folder: Path, suffix: str) -> bool:
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(suffix) and (Path(parent) / name).stat().st_size:
                return True
    return False


def fresh(folder: Path) -> Path:
    """Return `folder`, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def read_ahead(paths: Sequence[Path]) -> None:
    """Read files once, so that no side alone pays for the disk."""
    for path in paths:
        with path.open("rb") as file:
            while file.read(2**24):
                pass
