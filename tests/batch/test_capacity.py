from __future__ import annotations

import os
from pathlib import Path

import pytest

from vmm_cli.batch.capacity import default_workers

GIB = 1 << 30


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_here() -> None:
    assert 1 <= default_workers(1) <= len(os.sched_getaffinity(0))
    assert default_workers(1 << 60) == 1


def test_affinity_counts() -> None:
    mine = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(mine)})
        assert default_workers(1) == 1
    finally:
        os.sched_setaffinity(0, mine)


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


@pytest.mark.usefixtures("eight_cores")
def test_free_memory_and_cgroup_limits(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {6 << 20} kB\n"})
    assert default_workers(GIB, root=root) == 6
    assert default_workers(GIB // 2, root=root) == 8
    write(
        root,
        {
            "proc/self/cgroup": "0::/user/job\n",
            "sys/fs/cgroup/user/cpu.max": "350000 100000\n",
            "sys/fs/cgroup/user/job/cpu.max": "max 100000\n",
            "sys/fs/cgroup/user/job/memory.max": "max\n",
        },
    )
    assert default_workers(GIB, root=root) == 3
    write(
        root,
        {
            "sys/fs/cgroup/user/job/memory.max": str(4 * GIB),
            "sys/fs/cgroup/user/job/memory.current": str(3 * GIB),
            "sys/fs/cgroup/user/job/memory.stat": f"anon 5\ninactive_file {GIB}\n",
        },
    )
    assert default_workers(GIB, root=root) == 2
    assert default_workers(3 * GIB, root=root) == 1


@pytest.mark.usefixtures("eight_cores")
def test_version_1_cgroups_of_a_container(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/1f\n3:cpu,cpuacct:/docker/1f\n1:name=systemd:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000",
        },
    )
    assert default_workers(GIB, root=root) == 2
    write(root, {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1"})
    assert default_workers(GIB, root=root) == 8


@pytest.mark.usefixtures("eight_cores")
def test_less_than_a_core_is_one_worker(tmp_path: Path) -> None:
    root = write(
        tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}
    )
    assert default_workers(GIB, root=root) == 1
