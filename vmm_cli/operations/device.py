"""Whether to compute on a GPU, decided without loading what computes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vmm_cli import errors

if TYPE_CHECKING:
    from vmm_cli.bundles import Bundle

# What the drivers make: NVIDIA's (on Jetson boards the second), that of WSL, AMD's.
_DRIVERS = ("dev/nvidiactl", "dev/nvmap", "dev/dxg", "dev/kfd")


def chosen_device(text: str, *, root: Path = Path("/")) -> str:
    """Return cpu or cuda[:N] for what `--device` says; `auto` is cuda where there is a GPU driver.

    Whether PyTorch can use the GPU only the process that is to use it finds out.

    Raises:
        DeviceError: a GPU is wanted and there is no driver for one.
    """
    if text == "cpu" or any((root / driver).exists() for driver in _DRIVERS):
        return "cuda" if text == "auto" else text
    if text == "auto":
        return "cpu"
    raise errors.DeviceError(
        f"--device {text}: this machine has no GPU driver; see `vmm doctor`, or leave --device out"
    )


def no_effect(device: str, model: Bundle) -> tuple[str, ...]:
    """Return what is said where a GPU is asked for that a model cannot use."""
    if not device.startswith("cuda"):
        return ()
    return (f"model {model.name!r} runs on the CPU only: --device has no effect",)
