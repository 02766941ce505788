"""What to compute on, decided without loading what computes."""

from __future__ import annotations

from pathlib import Path

from vmm_cli.batch.executor import Device
from vmm_cli.engines.choice import chosen_engine
from vmm_cli.errors import DeviceError

# What the drivers make: NVIDIA's (on Jetson boards the second), that of WSL, AMD's.
_DRIVERS = ("dev/nvidiactl", "dev/nvmap", "dev/dxg", "dev/kfd")


def device_wanted(text: str) -> Device | None:
    """Return the device that auto, cpu or cuda[:N] means; None: the CPU.

    Whether it can be used only the process finds out that is to own it; `auto` does without.

    Raises:
        DeviceError: a GPU is wanted and there is no driver for one.
        UsageError: $VMM_ENGINE is no engine.
    """
    chosen_engine()  # says now, not for each video, what is wrong with it
    name = chosen_device(text)
    return None if name == "cpu" else Device(name, open_device, optional=text == "auto")


def chosen_device(text: str, *, root: Path = Path("/")) -> str:
    """Return cpu or cuda[:N] for auto, cpu or cuda[:N]; `auto` is cuda where there is a GPU driver.

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


def open_device(name: str) -> None:
    """Try a device. DeviceError where this machine has none such, or it does not work."""
    try:
        import torch

        from vmm_cli.features.image import device_from
    except (ImportError, OSError) as error:  # a damaged library beside a driver that is there
        raise DeviceError(f"device {name}: PyTorch cannot be imported: {error}") from error
    device = device_from(name)
    try:
        torch.ones(1, device=device).add(1).item()
    except RuntimeError as error:  # of torch: no memory left there, a driver that is too old
        said = " ".join(str(error).split())[:300]
        raise DeviceError(f"device {name}: it does not work: {said}") from error
