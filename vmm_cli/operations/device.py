"""What to compute on, decided without loading what computes."""

from __future__ import annotations

from pathlib import Path

from vmm_cli.batch.gather import gather
from vmm_cli.errors import DeviceError, InputError

# What the drivers make: NVIDIA's (on Jetson boards the second), that of WSL, AMD's.
_DRIVERS = ("dev/nvidiactl", "dev/nvmap", "dev/dxg", "dev/kfd")
# Importing torch, perhaps from a cold network disk, and looking for the device.
LOOK_LIMIT_S = 180.0


def chosen_device(text: str, *, root: Path = Path("/")) -> str:
    """Return cpu or cuda[:N] for auto, cpu or cuda[:N]; `auto` is cuda where there is a GPU driver.

    Whether PyTorch can use the GPU only the process that is to use it finds out.

    Raises:
        DeviceError: a GPU is wanted and there is no driver for one.
    """
    if text == "cpu" or any((root / driver).exists() for driver in _DRIVERS):
        return "cuda" if text == "auto" else text
    if text == "auto":
        return "cpu"
    raise DeviceError(
        f"device {text}: this machine has no GPU driver; see `vmm doctor`, or compute on the CPU"
    )


def device_of_workers(text: str) -> str:
    """Return what each worker runs frozen encoders on: `auto` is the CPU.

    A worker that uses a GPU takes memory there for a context of its own, so that it is used only
    where somebody asks for it.

    Raises:
        DeviceError: a GPU is wanted that cannot be had.
    """
    if text == "auto":
        return "cpu"
    device = chosen_device(text)
    if device != "cpu":
        (said,) = gather(_look_for, [(device,)], [LOOK_LIMIT_S], jobs=1)
        if isinstance(said, InputError):
            raise DeviceError(said.message)
    return device


def _look_for(device: str) -> None:
    from vmm_cli.features.image import device_from

    device_from(device)
