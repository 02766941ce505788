"""What networks run with on a CPU: a compiled graph, where that is possible, or PyTorch."""

from __future__ import annotations

import importlib
import logging
import os
from functools import cache
from types import ModuleType
from typing import Any

from vmm_cli.errors import ModelError, UsageError

VARIABLE = "VMM_ENGINE"
# auto: a graph where the model has one and the runtime is there, else PyTorch.
AUTO, TORCH, ONNXRUNTIME = "auto", "torch", "onnxruntime"
ENGINES = (AUTO, TORCH, ONNXRUNTIME)

OLDEST = (1, 24)  # the first that takes weights from memory
INSTALL = "run: pip install --upgrade 'onnxruntime>=1.24'"

_log = logging.getLogger(__name__)


def chosen_engine() -> str:
    """Return which engine the user wants. UsageError, with the choices, where there is no such."""
    name = os.environ.get(VARIABLE) or AUTO
    if name not in ENGINES:
        raise UsageError(
            f"{VARIABLE} is {name!r}; it is {', '.join(ENGINES[:-1])} or {ENGINES[-1]}"
        )
    return name


def runtime() -> Any | None:
    """Return the module `onnxruntime`; None where it does not run here, which is said once.

    Raises:
        ModelError: the user wants it, and it does not run.
    """
    found = _runtime()
    if isinstance(found, ModuleType):
        return found
    if chosen_engine() == ONNXRUNTIME:
        raise ModelError(f"{VARIABLE} is {ONNXRUNTIME}, and {found}; {INSTALL}")
    return None


@cache
def _runtime() -> ModuleType | str:
    """Return the module, or what is wrong with it."""
    try:
        module = importlib.import_module("onnxruntime")
        version = tuple(int(part) for part in module.__version__.split(".")[:2])
        problem = f"onnxruntime {module.__version__} is too old" if version < OLDEST else ""
    except Exception as error:  # a damaged binary, or a CPU that it is not built for: anything
        problem = f"onnxruntime cannot be imported ({type(error).__name__}: {error})"
    if not problem:
        return module
    _log.warning("%s; networks run with PyTorch, which is slower. To mend it, %s", problem, INSTALL)
    return problem


def threads() -> int:
    """Return how many threads a network may use: in a worker those that the pool gave it."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() and int(told) else len(os.sched_getaffinity(0))
