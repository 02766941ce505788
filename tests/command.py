"""The type of the fixture `run_vmm`, which runs the real command."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

Vmm = Callable[..., subprocess.CompletedProcess[str]]
