from __future__ import annotations

from pathlib import Path

import pytest

from vmm_cli.errors import DeviceError
from vmm_cli.operations.device import chosen_device


def test_without_a_driver_only_the_cpu_is_chosen(tmp_path: Path) -> None:
    assert chosen_device("auto", root=tmp_path) == "cpu"
    assert chosen_device("cpu", root=tmp_path) == "cpu"
    for device in ("cuda", "cuda:1"):
        with pytest.raises(DeviceError, match=f"device {device}: .*no GPU driver"):
            chosen_device(device, root=tmp_path)


def test_with_a_driver_the_gpu_is_chosen(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidiactl").touch()
    assert chosen_device("auto", root=tmp_path) == "cuda"
    assert chosen_device("cuda:1", root=tmp_path) == "cuda:1"
    assert chosen_device("cpu", root=tmp_path) == "cpu"
