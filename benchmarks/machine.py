"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "vmm-cli", "av", "numpy", "torch", "torchvision", "pillow", "typer", "decord",
    "opencv-python-headless",
)  # fmt: skip


def machine() -> dict[str, object]:
    """Return the processor, its cores, the memory and the system, as JSON types."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str | None]:
    """Return the version of everything that takes part; None where it is not installed."""
    found = {name: _version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "ffmpeg": _ffmpeg(), **found}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _ffmpeg() -> str | None:
    if shutil.which("ffmpeg") is None:
        return None
    shown = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True)
    return shown.stdout.split()[2]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
