"""Whether to compute on a GPU, decided without loading what computes."""

from __future__ import annotations

from pathlib import Path

from vmm_cli import errors

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
