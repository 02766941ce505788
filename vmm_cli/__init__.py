"""vmm: make sense of folders of videos, from the shell or from Python.

    import vmm_cli as vmm

    vmm.load_model().classify("clip.mp4")

See docs/python.md. What a name stands for loads when it is used: the import costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmm_cli.errors import (
        DataError,
        DeviceError,
        InputError,
        ModelError,
        OutputError,
        UsageError,
        VmmError,
    )
    from vmm_cli.library.files import frames, probe, shots
    from vmm_cli.library.models import Model, load_model, sentiment, transcribe
    from vmm_cli.library.training import Training, TrainingRun, evaluate, train
    from vmm_cli.library.warned import VmmWarning

__version__ = "0.1.0"

# By name, the module that has it.
_LIBRARY = {
    **dict.fromkeys(("frames", "probe", "shots"), "library.files"),
    **dict.fromkeys(("Model", "load_model", "sentiment", "transcribe"), "library.models"),
    **dict.fromkeys(("Training", "TrainingRun", "evaluate", "train"), "library.training"),
    "VmmWarning": "library.warned",
    **dict.fromkeys(
        (
            "DataError",
            "DeviceError",
            "InputError",
            "ModelError",
            "OutputError",
            "UsageError",
            "VmmError",
        ),
        "errors",
    ),
}

__all__ = [
    "DataError",
    "DeviceError",
    "InputError",
    "Model",
    "ModelError",
    "OutputError",
    "Training",
    "TrainingRun",
    "UsageError",
    "VmmError",
    "VmmWarning",
    "evaluate",
    "frames",
    "load_model",
    "probe",
    "sentiment",
    "shots",
    "train",
    "transcribe",
]


def __getattr__(name: str) -> Any:
    if name not in _LIBRARY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"vmm_cli.{_LIBRARY[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
