"""vmm: make sense of folders of videos, from the shell or from Python.

    import vmm_cli as vmm

    vmm.load_model("imagenet").classify("clip.mp4")

See docs/python.md. What a name stands for loads when it is used: the import costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmm_cli.errors import (
        DataError,
        InputError,
        ModelError,
        OutputError,
        UsageError,
        VmmError,
    )
    from vmm_cli.library import (
        Model,
        Training,
        TrainingRun,
        VmmWarning,
        evaluate,
        frames,
        load_model,
        probe,
        sentiment,
        shots,
        train,
    )

__version__ = "0.1.0"

_ERRORS = ("DataError", "InputError", "ModelError", "OutputError", "UsageError", "VmmError")

__all__ = [
    "DataError",
    "InputError",
    "Model",
    "ModelError",
    "OutputError",
    "Training",
    "TrainingRun",
    "UsageError",
    "VmmError",
    "VmmWarning",
    "__version__",
    "evaluate",
    "frames",
    "load_model",
    "probe",
    "sentiment",
    "shots",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _ERRORS:
        from vmm_cli import errors

        return getattr(errors, name)
    from vmm_cli import library

    return getattr(library, name)


def __dir__() -> list[str]:
    return __all__
