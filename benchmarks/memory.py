"""Peak memory of a command and all its descendants, from Linux's own accounts."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.timing import Argv, CommandFailed

SAMPLE_EVERY_S = 0.05
PROC = Path("/proc")


def is_measurable() -> bool:
    """Tell whether the kernel sums up a process's memory."""
    return (PROC / "self/smaps_rollup").exists()


def peak_pss(argv: Argv, *, env: Mapping[str, str]) -> int:
    """Run a command; return the largest summed proportional set size seen, in bytes.

    A page that several processes share counts in each by its share, so that the sum is what the
    processes take together. Sampled: a shorter peak than `SAMPLE_EVERY_S` can be missed.

    Raises:
        CommandFailed: its exit code is not 0.
    """
    process = subprocess.Popen(
        [os.fspath(word) for word in argv], env=env, stdout=subprocess.DEVNULL
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(_pss, _tree(process.pid))))
        time.sleep(SAMPLE_EVERY_S)
    if process.returncode != 0:
        raise CommandFailed(f"{argv[0]} ended with {process.returncode}")
    return peak


def _tree(root: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            parent = _parent(int(entry.name))
            if parent is not None:
                children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for process in found:  # grows while it is read
        found += children.get(process, [])
    return found


def _parent(process: int) -> int | None:
    try:
        # pid (name) state parent ...: the name may hold anything, parentheses too.
        return int((PROC / str(process) / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):  # it has ended
        return None


def _pss(process: int) -> int:
    try:
        lines = (PROC / str(process) / "smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
