"""How many workers this process has room for: cores and memory, inside its container's limits."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath


def default_workers(bytes_per_worker: int, *, root: Path = Path("/")) -> int:
    """Return how many workers of `bytes_per_worker` bytes fit cores and free memory, at least 1.

    Counts the cores this process may run on and the CPU time and memory its cgroups (version 1 or
    2) leave it. `root` is where `proc` and `sys` are mounted.
    """
    cores = min((_usable_cores(), *_cpu_quotas(root)))
    return max(1, int(min(cores, free_memory(root=root) // max(1, bytes_per_worker))))


def free_memory(*, root: Path = Path("/")) -> float:
    """Return how many bytes can be had, inside this process's limits; infinite where unknown."""
    return min((_available_memory(root), *_memory_left(root)))


def open_files_allowed(*, at_least: int) -> int:
    """Return how many files this process may have open, after asking for `at_least` so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < at_least:  # RLIM_INFINITY is negative
        wanted = at_least if hard < 0 else min(at_least, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return at_least if soft < 0 else soft


def _usable_cores() -> float:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _available_memory(root: Path) -> float:
    """Return what the kernel says can be had without swapping, bytes; infinite where unknown."""
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return float("inf")


def _cpu_quotas(root: Path) -> Iterator[float]:
    """Yield each limit on CPU time, in cores, that stands over this process."""
    for folder in _cgroup_folders(root, "cpu"):
        limit = _words(folder / "cpu.max") or [
            *_words(folder / "cpu.cfs_quota_us"),
            *_words(folder / "cpu.cfs_period_us"),
        ]
        if len(limit) == 2 and limit[0] not in ("max", "-1"):
            yield int(limit[0]) / int(limit[1])


def _memory_left(root: Path) -> Iterator[float]:
    """Yield what each memory limit over this process leaves, in bytes."""
    for folder in _cgroup_folders(root, "memory"):
        limit = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
        used = _words(folder / "memory.current") or _words(folder / "memory.usage_in_bytes")
        if limit and used and limit[0] != "max":
            yield max(0, int(limit[0]) - int(used[0]) + _reclaimable(folder))


def _reclaimable(folder: Path) -> int:
    """Return the bytes of file cache that count as used but are given up on demand."""
    for line in _lines(folder / "memory.stat"):
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's cgroup and all above it.

    A line of /proc/self/cgroup is `0::PATH` (version 2) or `N:CONTROLLERS:PATH` (version 1). In a
    container PATH may be the host's and not exist below the mount; its parents then do.
    """
    mount = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.rstrip("\n").split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = mount / controller if controllers else mount
        inside = PurePosixPath(path.lstrip("/"))
        yield from (base / part for part in (inside, *inside.parents))


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
